/* Protocol 0, which Python 2 wrote unless told otherwise: arguments are lines of text. */
#include "pickle_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

/* A number as text: digits, a sign, in a buffer that ends. */
static dns_status take_word(char word[64], pickle_machine *m)
{
    const char *line = NULL;
    size_t size = 0;
    dns_status status = dns_pickle_take_line(&line, &size, m);
    if (status != DNS_OK)
        return status;
    if (size == 0 || size >= 64)
        return dns_pickle_damaged(m, "a number of impossible length");
    memcpy(word, line, size);
    word[size] = '\0';
    return DNS_OK;
}

/* INT "12", LONG "12L"; "00" and "01" are false and true. */
static dns_status run_text_integer(pickle_machine *m, const pickle_operation *operation)
{
    char word[64], *end;
    dns_status status = take_word(word, m);
    if (status != DNS_OK)
        return status;
    if (strcmp(word, "00") == 0 || strcmp(word, "01") == 0) {
        dns_pickle_value *value;
        status = dns_pickle_new(&value, m, DNS_PICKLE_BOOL);
        if (status != DNS_OK)
            return status;
        value->as.flag = word[1] == '1';
        return dns_pickle_push(m, value);
    }
    errno = 0;
    long long number = strtoll(word, &end, 10);
    bool fits = errno == 0;
    if (end == word || (strcmp(end, "") != 0 && strcmp(end, "L") != 0))
        return dns_pickle_damaged(m, "not a number");
    return fits ? dns_pickle_push_integer(m, number) : dns_pickle_push_float(m, strtod(word, NULL));
}

static dns_status run_text_float(pickle_machine *m, const pickle_operation *operation)
{
    char word[64], *end;
    dns_status status = take_word(word, m);
    if (status != DNS_OK)
        return status;
    double number = strtod(word, &end);
    if (end == word || *end != '\0')
        return dns_pickle_damaged(m, "not a number");
    return dns_pickle_push_float(m, number);
}

static dns_status take_index(uint64_t *index, pickle_machine *m)
{
    char word[64], *end;
    dns_status status = take_word(word, m);
    if (status != DNS_OK)
        return status;
    *index = strtoull(word, &end, 10);
    return end != word && *end == '\0' ? DNS_OK : dns_pickle_damaged(m, "not a number");
}

static dns_status run_text_put(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t index = 0;
    dns_status status = take_index(&index, m);
    return status != DNS_OK ? status : dns_pickle_put_memo(m, index);
}

static dns_status run_text_get(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t index = 0;
    dns_status status = take_index(&index, m);
    return status != DNS_OK ? status : dns_pickle_push_memo(m, index);
}

/* `digits` hexadecimal digits; -1 when there are not so many. */
static long hexadecimal(const char *text, size_t size, size_t digits)
{
    char word[9] = "";
    if (size < digits || digits > 8)
        return -1;
    memcpy(word, text, digits);
    if (strspn(word, "0123456789abcdefABCDEF") != digits)
        return -1;
    return (long)strtoul(word, NULL, 16);
}

static size_t put_utf8(char *out, long c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; --i > 0; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* UNICODE: characters up to 255 as bytes, others as \uXXXX or \UXXXXXXXX. */
static dns_status run_text_unicode(pickle_machine *m, const pickle_operation *operation)
{
    const char *line = NULL;
    size_t size = 0, n = 0;
    dns_pickle_value *value;
    dns_status status = dns_pickle_take_line(&line, &size, m);
    if (status == DNS_OK) /* a byte becomes at most two, an escape of six at most three */
        status = dns_pickle_new_text(&value, m, DNS_PICKLE_STRING, NULL, 2 * size);
    if (status != DNS_OK)
        return status;
    char *out = value->as.text.data;
    for (size_t i = 0; i < size;) {
        long c = (unsigned char)line[i++];
        if (c == '\\' && i < size && (line[i] == 'u' || line[i] == 'U')) {
            size_t digits = line[i++] == 'u' ? 4 : 8;
            c = hexadecimal(line + i, size - i, digits);
            if (c < 0 || c > 0x10ffff)
                return dns_pickle_damaged(m, "not an escape");
            i += digits;
        }
        n += put_utf8(out + n, c);
    }
    out[n] = '\0';
    value->as.text.size = n;
    return dns_pickle_push(m, value);
}

/* STRING: a Python 2 literal, with its quotes. */
static dns_status run_text_string(pickle_machine *m, const pickle_operation *operation)
{
    static const char letters[] = "\\'\"nrtabfv", meanings[] = "\\'\"\n\r\t\a\b\f\v";
    const char *line = NULL;
    size_t size = 0, n = 0;
    dns_pickle_value *value;
    dns_status status = dns_pickle_take_line(&line, &size, m);
    if (status != DNS_OK)
        return status;
    if (size < 2 || (line[0] != '\'' && line[0] != '"') || line[size - 1] != line[0])
        return dns_pickle_damaged(m, "a string without quotes");
    status = dns_pickle_new_text(&value, m, DNS_PICKLE_STRING, NULL, size);
    if (status != DNS_OK)
        return status;
    char *out = value->as.text.data;
    for (size_t i = 1; i < size - 1;) {
        char c = line[i++];
        if (c == '\\' && i < size - 1) {
            const char *letter = line[i] != '\0' ? strchr(letters, line[i]) : NULL;
            long code = line[i] == 'x' ? hexadecimal(line + i + 1, size - 2 - i, 2) : -1;
            if (letter == NULL && code < 0)
                return dns_pickle_damaged(m, "not an escape");
            c = letter != NULL ? meanings[letter - letters] : (char)code;
            i += letter != NULL ? 1 : 3;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    value->as.text.size = n;
    return dns_pickle_push(m, value);
}

const pickle_operation *dns_pickle_text_operation(uint8_t code)
{
    static const pickle_operation operations[256] = {
        ['I'] = {run_text_integer}, ['L'] = {run_text_integer}, ['F'] = {run_text_float},
        ['p'] = {run_text_put},     ['g'] = {run_text_get},     ['V'] = {run_text_unicode},
        ['S'] = {run_text_string},
    };
    return &operations[code];
}
