#include "dnsel/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "dnsel/file.h"
#include "dnsel/memory.h"

/* dns_json is jansson's json_t under a name of our own, so that its header stays in here. */
static json_t *tree_of(const dns_json *value)
{
    return (json_t *)(uintptr_t)value;
}

static dns_json *wrap(json_t *tree)
{
    return (dns_json *)(uintptr_t)tree;
}

dns_status dns_json_parse(dns_json **out, const char *text, size_t size, const char *source)
{
    json_error_t error;
    json_t *root =
        json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    *out = wrap(root);
    if (root == NULL)
        return dns_status_set(DNS_ERR_FORMAT, "%s: line %d: %s", source, error.line, error.text);
    return DNS_OK;
}

dns_status dns_json_read(dns_json **out, const char *path)
{
    enum { LIMIT = 1 << 30 };
    char *text;
    size_t size;
    *out = NULL;
    dns_status status = dns_file_read(&text, &size, path, LIMIT);
    if (status == DNS_OK)
        status = dns_json_parse(out, text, size, path);
    dns_free(text);
    return status;
}

void dns_json_free(dns_json *root)
{
    json_decref(tree_of(root));
}

dns_json_kind dns_json_kind_of(const dns_json *value)
{
    if (value == NULL)
        return DNS_JSON_NULL;
    switch (json_typeof(tree_of(value))) {
    case JSON_OBJECT:
        return DNS_JSON_OBJECT;
    case JSON_ARRAY:
        return DNS_JSON_ARRAY;
    case JSON_STRING:
        return DNS_JSON_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return DNS_JSON_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return DNS_JSON_BOOL;
    case JSON_NULL:
        break;
    }
    return DNS_JSON_NULL;
}

const dns_json *dns_json_get(const dns_json *object, const char *key)
{
    return wrap(json_object_get(tree_of(object), key));
}

size_t dns_json_size(const dns_json *value)
{
    json_t *tree = tree_of(value);
    return json_is_array(tree) ? json_array_size(tree) : json_object_size(tree);
}

const dns_json *dns_json_at(const dns_json *array, size_t index)
{
    return wrap(json_array_get(tree_of(array), index));
}

dns_status dns_json_each(const dns_json *object,
                         dns_status (*visit)(void *payload, const char *key, const dns_json *value),
                         void *payload)
{
    const char *key;
    json_t *value;
    json_object_foreach(tree_of(object), key, value)
    {
        dns_status status = visit(payload, key, wrap(value));
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}

const char *dns_json_string(const dns_json *value, const char *otherwise)
{
    return json_is_string(tree_of(value)) ? json_string_value(tree_of(value)) : otherwise;
}

double dns_json_number(const dns_json *value, double otherwise)
{
    return json_is_number(tree_of(value)) ? json_number_value(tree_of(value)) : otherwise;
}

int64_t dns_json_integer(const dns_json *value, int64_t otherwise)
{
    return json_is_integer(tree_of(value)) ? (int64_t)json_integer_value(tree_of(value))
                                           : otherwise;
}

bool dns_json_bool(const dns_json *value, bool otherwise)
{
    return json_is_boolean(tree_of(value)) ? json_is_true(tree_of(value)) : otherwise;
}

dns_json_writer dns_json_writer_to(FILE *stream, bool pretty)
{
    return (dns_json_writer){.stream = stream, .pretty = pretty};
}

static void new_line(dns_json_writer *w)
{
    if (!w->pretty)
        return;
    fputc('\n', w->stream);
    for (int i = 0; i < w->depth; i++)
        fputs("  ", w->stream);
}

/* Length of the well-formed UTF-8 sequence at s, 0 when there is none (Unicode 15, table 3-7). */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        return (s[1] & 0xc0) == 0x80 ? 2 : 0;
    if (s[0] >= 0xe0 && s[0] <= 0xef) {
        unsigned low = s[0] == 0xe0 ? 0xa0 : 0x80, high = s[0] == 0xed ? 0x9f : 0xbf;
        return s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        unsigned low = s[0] == 0xf0 ? 0x90 : 0x80, high = s[0] == 0xf4 ? 0x8f : 0xbf;
        return s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80 ? 4
                                                                                             : 0;
    }
    return 0;
}

static void put_quoted(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        size_t n = utf8_length(s);
        if (n == 0) {
            fputs("\\ufffd", stream);
            s++;
            continue;
        }
        if (*s == '"' || *s == '\\')
            fprintf(stream, "\\%c", *s);
        else if (*s == '\n')
            fputs("\\n", stream);
        else if (*s == '\t')
            fputs("\\t", stream);
        else if (*s < 0x20 || *s == 0x7f)
            fprintf(stream, "\\u%04x", *s);
        else
            fwrite(s, 1, n, stream);
        s += n;
    }
    fputc('"', stream);
}

static void begin_value(dns_json_writer *w, const char *key)
{
    if (w->depth > 0) {
        if (w->has_member[w->depth - 1])
            fputc(',', w->stream);
        w->has_member[w->depth - 1] = true;
        new_line(w);
    }
    if (key != NULL) {
        put_quoted(w->stream, key);
        fputs(w->pretty ? ": " : ":", w->stream);
    }
}

static void open_bracket(dns_json_writer *w, const char *key, char bracket)
{
    begin_value(w, key);
    fputc(bracket, w->stream);
    if (w->depth < DNS_JSON_DEPTH)
        w->has_member[w->depth++] = false;
}

static void close_bracket(dns_json_writer *w, char bracket)
{
    if (w->depth > 0 && w->has_member[--w->depth])
        new_line(w);
    fputc(bracket, w->stream);
}

void dns_json_begin_object(dns_json_writer *w, const char *key)
{
    open_bracket(w, key, '{');
}

void dns_json_end_object(dns_json_writer *w)
{
    close_bracket(w, '}');
}

void dns_json_begin_array(dns_json_writer *w, const char *key)
{
    open_bracket(w, key, '[');
}

void dns_json_end_array(dns_json_writer *w)
{
    close_bracket(w, ']');
}

void dns_json_put_string(dns_json_writer *w, const char *key, const char *text)
{
    begin_value(w, key);
    if (text == NULL)
        fputs("null", w->stream);
    else
        put_quoted(w->stream, text);
}

void dns_json_put_number(dns_json_writer *w, const char *key, double value, int digits)
{
    begin_value(w, key);
    if (isfinite(value))
        fprintf(w->stream, "%.*g", digits, value);
    else
        fputs("null", w->stream);
}

void dns_json_put_integer(dns_json_writer *w, const char *key, int64_t value)
{
    begin_value(w, key);
    fprintf(w->stream, "%lld", (long long)value);
}

void dns_json_put_bool(dns_json_writer *w, const char *key, bool value)
{
    begin_value(w, key);
    fputs(value ? "true" : "false", w->stream);
}

void dns_json_put_null(dns_json_writer *w, const char *key)
{
    begin_value(w, key);
    fputs("null", w->stream);
}

static dns_status put_member(void *payload, const char *key, const dns_json *value)
{
    dns_json_put_value(payload, key, value);
    return DNS_OK;
}

void dns_json_put_value(dns_json_writer *w, const char *key, const dns_json *value)
{
    switch (dns_json_kind_of(value)) {
    case DNS_JSON_OBJECT:
        dns_json_begin_object(w, key);
        (void)dns_json_each(value, put_member, w);
        dns_json_end_object(w);
        break;
    case DNS_JSON_ARRAY:
        dns_json_begin_array(w, key);
        for (size_t i = 0; i < dns_json_size(value); i++)
            dns_json_put_value(w, NULL, dns_json_at(value, i));
        dns_json_end_array(w);
        break;
    case DNS_JSON_STRING:
        dns_json_put_string(w, key, dns_json_string(value, ""));
        break;
    case DNS_JSON_NUMBER:
        if (json_is_integer(tree_of(value)))
            dns_json_put_integer(w, key, dns_json_integer(value, 0));
        else
            dns_json_put_number(w, key, dns_json_number(value, 0), 17);
        break;
    case DNS_JSON_BOOL:
        dns_json_put_bool(w, key, dns_json_bool(value, false));
        break;
    case DNS_JSON_NULL:
        dns_json_put_null(w, key);
        break;
    }
}

dns_status dns_json_finish(dns_json_writer *w)
{
    fputc('\n', w->stream);
    if (fflush(w->stream) != 0 || ferror(w->stream))
        return dns_status_set_errno("writing JSON");
    return DNS_OK;
}
