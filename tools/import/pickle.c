#include "dnsel/pickle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "pickle_value.h"

enum { BLOCK_SIZE = 1 << 16, MAX_DEPTH = 64, MAX_VALUES = 8 << 20, MAX_NODES = 64 << 20 };

/* ---- memory of a pickle ---- */

struct pickle_block {
    struct pickle_block *next;
    char *data;
    size_t used, size;
};

dns_status dns_pickle_keep(void *out, dns_pickle *pickle, size_t count, size_t size)
{
    dns_status status = DNS_OK;
    struct pickle_block *block = pickle->blocks, *fresh = NULL;
    size_t bytes;
    if (!dns_size_multiply(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return dns_status_set(DNS_ERR_NOMEM, "out of memory for %zu values", count);
    bytes = (bytes + 15) / 16 * 16;
    if (block == NULL || block->size - block->used < bytes) {
        DNS_TRY(dns_alloc(&fresh, 1, sizeof *fresh));
        fresh->size = bytes > BLOCK_SIZE ? bytes : BLOCK_SIZE;
        DNS_TRY(dns_alloc(&fresh->data, fresh->size, 1));
        fresh->next = block;
        pickle->blocks = block = fresh;
        fresh = NULL;
    }
    void *memory = block->data + block->used;
    block->used += bytes;
    memcpy(out, &memory, sizeof memory);
out:
    dns_free(fresh);
    return status;
}

void dns_pickle_free(dns_pickle *pickle)
{
    if (pickle == NULL)
        return;
    for (struct pickle_block *block = pickle->blocks, *next; block != NULL; block = next) {
        next = block->next;
        dns_free(block->data);
        dns_free(block);
    }
    dns_free(pickle);
}

/* ---- values ---- */

dns_status dns_pickle_new(dns_pickle_value **out, pickle_machine *m, dns_pickle_kind kind)
{
    if (++m->pickle->n_values > MAX_VALUES)
        return dns_status_set(DNS_ERR_LIMIT, "%s: a pickle of more than %d values", m->source,
                              MAX_VALUES);
    dns_status status = dns_pickle_keep(out, m->pickle, 1, sizeof **out);
    if (status == DNS_OK)
        (*out)->kind = kind;
    return status;
}

dns_status dns_pickle_new_text(dns_pickle_value **out, pickle_machine *m, dns_pickle_kind kind,
                               const void *data, size_t size)
{
    dns_status status = dns_pickle_new(out, m, kind);
    if (status != DNS_OK)
        return status;
    (*out)->as.text.size = size;
    status = dns_pickle_keep(&(*out)->as.text.data, m->pickle, size + 1, 1);
    if (status == DNS_OK && data != NULL)
        memcpy((*out)->as.text.data, data, size);
    return status;
}

dns_status dns_pickle_append(dns_pickle *pickle, dns_pickle_value *list, dns_pickle_value *item)
{
    if (list->as.list.n == list->as.list.capacity) {
        size_t capacity = list->as.list.n < 2 ? 4 : 2 * list->as.list.n;
        dns_pickle_value **items;
        dns_status status = dns_pickle_keep(&items, pickle, capacity, sizeof *items);
        if (status != DNS_OK)
            return status;
        if (list->as.list.n > 0)
            memcpy(items, list->as.list.items, list->as.list.n * sizeof *items);
        list->as.list.items = items;
        list->as.list.capacity = capacity;
    }
    list->as.list.items[list->as.list.n++] = item;
    return DNS_OK;
}

static bool is_listed(const dns_pickle_value *value)
{
    switch (value->kind) {
    case DNS_PICKLE_TUPLE:
    case DNS_PICKLE_LIST:
    case DNS_PICKLE_SET:
    case DNS_PICKLE_DICT:
    case DNS_PICKLE_REFERENCE:
        return true;
    default:
        return false;
    }
}

/* Children of any value, by position; NULL in the place of an absent state. */
static size_t child_count(const dns_pickle_value *value)
{
    return is_listed(value) ? value->as.list.n : value->kind == DNS_PICKLE_OBJECT ? 2 : 0;
}

static dns_pickle_value *child_at(const dns_pickle_value *value, size_t index)
{
    if (is_listed(value))
        return value->as.list.items[index];
    return index == 0 ? value->as.object.arguments : value->as.object.state;
}

/* A shared value is walked once: its height and weight are kept. */
static dns_status check_value(dns_pickle_value *value, size_t depth, const char *source)
{
    enum { UNDER_WAY = UINT32_MAX >> 1 };
    if (value->height == UNDER_WAY)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: a pickled value contains itself", source);
    size_t height = value->height > 0 ? value->height : 1;
    if (depth + height > MAX_DEPTH)
        return dns_status_set(DNS_ERR_LIMIT, "%s: pickled values nested deeper than %d", source,
                              MAX_DEPTH);
    if (value->height > 0)
        return DNS_OK;
    value->height = UNDER_WAY;
    uint64_t weight = 1;
    for (size_t i = 0; i < child_count(value); i++) {
        dns_pickle_value *child = child_at(value, i);
        if (child == NULL)
            continue;
        dns_status status = check_value(child, depth + 1, source);
        if (status != DNS_OK)
            return status;
        height = child->height + 1 > height ? child->height + 1 : height;
        weight += child->weight;
        if (weight > MAX_NODES)
            return dns_status_set(DNS_ERR_LIMIT, "%s: a pickle that unfolds to more than %d values",
                                  source, MAX_NODES);
    }
    value->height = (uint32_t)height;
    value->weight = weight;
    return DNS_OK;
}

dns_status dns_pickle_check(dns_pickle_value *root, const char *source)
{
    return check_value(root, 0, source);
}

/* ---- getters ---- */

dns_status dns_pickle_read(dns_pickle **out, const char *path)
{
    enum { LIMIT = 1 << 30 };
    dns_status status = DNS_OK;
    char *bytes = NULL;
    size_t size, used;
    *out = NULL;
    DNS_TRY(dns_file_read(&bytes, &size, path, LIMIT));
    DNS_TRY(dns_pickle_parse(out, &used, bytes, size, path));
    if (used != size) {
        dns_pickle_free(*out);
        *out = NULL;
        DNS_FAIL(DNS_ERR_FORMAT, "%s: %zu bytes after the pickle", path, size - used);
    }
out:
    dns_free(bytes);
    return status;
}

const dns_pickle_value *dns_pickle_root(const dns_pickle *pickle)
{
    return pickle->root;
}

dns_pickle_kind dns_pickle_kind_of(const dns_pickle_value *value)
{
    return value != NULL ? value->kind : DNS_PICKLE_NONE;
}

size_t dns_pickle_size(const dns_pickle_value *value)
{
    if (value == NULL || !is_listed(value))
        return 0;
    return value->kind == DNS_PICKLE_DICT ? value->as.list.n / 2 : value->as.list.n;
}

const dns_pickle_value *dns_pickle_at(const dns_pickle_value *value, size_t index)
{
    if (index >= dns_pickle_size(value))
        return NULL;
    return value->as.list.items[value->kind == DNS_PICKLE_DICT ? 2 * index + 1 : index];
}

const dns_pickle_value *dns_pickle_key_at(const dns_pickle_value *dict, size_t index)
{
    if (dns_pickle_kind_of(dict) != DNS_PICKLE_DICT || index >= dns_pickle_size(dict))
        return NULL;
    return dict->as.list.items[2 * index];
}

const dns_pickle_value *dns_pickle_get(const dns_pickle_value *dict, const char *key)
{
    if (dns_pickle_kind_of(dict) != DNS_PICKLE_DICT)
        return NULL;
    for (size_t i = dns_pickle_size(dict); i-- > 0;) {
        const char *text = dns_pickle_string(dns_pickle_key_at(dict, i), NULL);
        if (text != NULL && strcmp(text, key) == 0)
            return dns_pickle_at(dict, i);
    }
    return NULL;
}

bool dns_pickle_bool(const dns_pickle_value *value, bool otherwise)
{
    return dns_pickle_kind_of(value) == DNS_PICKLE_BOOL ? value->as.flag : otherwise;
}

int64_t dns_pickle_integer(const dns_pickle_value *value, int64_t otherwise)
{
    return dns_pickle_kind_of(value) == DNS_PICKLE_INTEGER ? value->as.integer : otherwise;
}

double dns_pickle_number(const dns_pickle_value *value, double otherwise)
{
    if (dns_pickle_kind_of(value) == DNS_PICKLE_INTEGER)
        return (double)value->as.integer;
    return dns_pickle_kind_of(value) == DNS_PICKLE_FLOAT ? value->as.real : otherwise;
}

const char *dns_pickle_string(const dns_pickle_value *value, const char *otherwise)
{
    if (dns_pickle_kind_of(value) != DNS_PICKLE_STRING ||
        strlen(value->as.text.data) != value->as.text.size)
        return otherwise;
    return value->as.text.data;
}

const char *dns_pickle_bytes(const dns_pickle_value *value, size_t *size)
{
    dns_pickle_kind kind = dns_pickle_kind_of(value);
    bool is_text = kind == DNS_PICKLE_STRING || kind == DNS_PICKLE_BYTES;
    *size = is_text ? value->as.text.size : 0;
    return is_text ? value->as.text.data : NULL;
}

const char *dns_pickle_name(const dns_pickle_value *value)
{
    dns_pickle_kind kind = dns_pickle_kind_of(value);
    return kind == DNS_PICKLE_NAME || kind == DNS_PICKLE_OBJECT ? value->as.object.name->text
                                                                : NULL;
}

const dns_pickle_value *dns_pickle_arguments(const dns_pickle_value *object)
{
    return dns_pickle_kind_of(object) == DNS_PICKLE_OBJECT ? object->as.object.arguments : NULL;
}

const dns_pickle_value *dns_pickle_state(const dns_pickle_value *object)
{
    return dns_pickle_kind_of(object) == DNS_PICKLE_OBJECT ? object->as.object.state : NULL;
}

/* ---- JSON ---- */

static void write_array(dns_json_writer *writer, const char *key, const dns_pickle_value *value)
{
    dns_json_begin_array(writer, key);
    for (size_t i = 0; i < dns_pickle_size(value); i++)
        dns_pickle_write_json(writer, NULL, dns_pickle_at(value, i));
    dns_json_end_array(writer);
}

static void write_object(dns_json_writer *writer, const char *key, const dns_pickle_value *dict)
{
    dns_json_begin_object(writer, key);
    for (size_t i = 0; i < dns_pickle_size(dict); i++) {
        const dns_pickle_value *name = dns_pickle_key_at(dict, i);
        char number[32];
        snprintf(number, sizeof number, "%" PRId64, dns_pickle_integer(name, 0));
        const char *text =
            dns_pickle_string(name, name->kind == DNS_PICKLE_INTEGER ? number : NULL);
        if (text != NULL)
            dns_pickle_write_json(writer, text, dns_pickle_at(dict, i));
    }
    dns_json_end_object(writer);
}

void dns_pickle_write_json(dns_json_writer *writer, const char *key, const dns_pickle_value *value)
{
    if (dns_pickle_kind_of(dns_pickle_state(value)) == DNS_PICKLE_DICT)
        value = dns_pickle_state(value);
    dns_pickle_kind kind = dns_pickle_kind_of(value);
    if (value != NULL && is_listed(value) && writer->depth >= DNS_JSON_DEPTH)
        kind = DNS_PICKLE_NONE;
    switch (kind) {
    case DNS_PICKLE_BOOL:
        dns_json_put_bool(writer, key, value->as.flag);
        break;
    case DNS_PICKLE_INTEGER:
        dns_json_put_integer(writer, key, value->as.integer);
        break;
    case DNS_PICKLE_FLOAT:
        dns_json_put_number(writer, key, value->as.real, 17);
        break;
    case DNS_PICKLE_STRING:
        dns_json_put_string(writer, key, value->as.text.data);
        break;
    case DNS_PICKLE_NAME:
        dns_json_put_string(writer, key, dns_pickle_name(value));
        break;
    case DNS_PICKLE_TUPLE:
    case DNS_PICKLE_LIST:
    case DNS_PICKLE_SET:
        write_array(writer, key, value);
        break;
    case DNS_PICKLE_DICT:
        write_object(writer, key, value);
        break;
    default:
        dns_json_put_null(writer, key);
        break;
    }
}
