#include "npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

static const struct {
    const char *code;
    dns_dtype dtype;
} codes[] = {
    {"f4", DNS_F32}, {"f8", DNS_F64},  {"f2", DNS_F16},  {"i1", DNS_I8},  {"u1", DNS_U8},
    {"i2", DNS_I16}, {"u2", DNS_U16},  {"i4", DNS_I32},  {"u4", DNS_U32}, {"i8", DNS_I64},
    {"u8", DNS_U64}, {"b1", DNS_BOOL}, {"V2", DNS_BF16},
};

bool dns_npy_dtype(dns_dtype *dtype, const char *code, size_t size)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (size == 2 && memcmp(codes[i].code, code, 2) == 0 && code[0] != 'V') {
            *dtype = codes[i].dtype;
            return true;
        }
    return false;
}

const char *dns_npy_code(dns_dtype dtype)
{
    size_t i = 0;
    while (codes[i].dtype != dtype)
        i++;
    return codes[i].code;
}

static const char magic[6] = "\x93NUMPY";

bool dns_npy_recognise(const void *bytes, size_t size)
{
    return size >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

/* ---- the header: a Python dictionary of three entries, as text ---- */

typedef struct reader {
    const char *at, *end;
} reader;

static void skip_blanks(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t'))
        r->at++;
}

static bool take_character(reader *r, char c)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool take_word(reader *r, const char *word)
{
    size_t n = strlen(word);
    skip_blanks(r);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* 'text', borrowed. */
static bool take_text(const char **text, size_t *size, reader *r)
{
    skip_blanks(r);
    if (r->at == r->end || (*r->at != '\'' && *r->at != '"'))
        return false;
    const char *close = memchr(r->at + 1, *r->at, (size_t)(r->end - r->at - 1));
    if (close == NULL)
        return false;
    *text = r->at + 1;
    *size = (size_t)(close - *text);
    r->at = close + 1;
    return true;
}

static bool take_shape(npy_header *out, reader *r)
{
    if (!take_character(r, '('))
        return false;
    for (out->rank = 0; !take_character(r, ')'); out->rank++) {
        size_t n = 0, digits = 0;
        skip_blanks(r);
        for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, digits++)
            if (!dns_size_multiply(n, 10, &n) ||
                __builtin_add_overflow(n, (size_t)(*r->at - '0'), &n))
                return false;
        (void)take_character(r, 'L'); /* Python 2 */
        if (digits == 0 || out->rank == DNS_TENSOR_RANK || r->at == r->end)
            return false;
        if (!take_character(r, ',') && *r->at != ')')
            return false;
        out->shape[out->rank] = n;
    }
    return true;
}

/* "U12" is 12; 0 for all other types and for absurd lengths. */
static size_t text_characters(const char *code, size_t size)
{
    size_t n = 0;
    if (size < 2 || size > 7 || code[0] != 'U')
        return 0;
    for (size_t i = 1; i < size; i++) {
        if (code[i] < '0' || code[i] > '9')
            return 0;
        n = 10 * n + (size_t)(code[i] - '0');
    }
    return n;
}

static dns_status take_type(npy_header *out, reader *r, const char *source)
{
    const char *text;
    size_t size;
    if (!take_text(&text, &size, r))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: an array of records", source);
    bool has_order = size > 0 && strchr("<>|=", text[0]) != NULL;
    out->is_swapped = has_order && text[0] == '>';
    out->characters = text_characters(text + has_order, size - has_order);
    if (out->characters == 0 && !dns_npy_dtype(&out->dtype, text + has_order, size - has_order))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: an array of type '%.*s'", source,
                              (int)(size < 32 ? size : 32), text);
    return DNS_OK;
}

static dns_status take_header(npy_header *out, reader *r, const char *source)
{
    bool has_type = false, has_order = false, has_shape = false;
    const char *key;
    size_t size;
    bool good = take_character(r, '{');
    while (good && !take_character(r, '}')) {
        good = take_text(&key, &size, r) && take_character(r, ':');
        if (good && size == 5 && memcmp(key, "descr", size) == 0) {
            dns_status status = take_type(out, r, source);
            if (status != DNS_OK)
                return status;
            has_type = true;
        } else if (good && size == 13 && memcmp(key, "fortran_order", size) == 0) {
            out->is_column_major = take_word(r, "True");
            good = has_order = out->is_column_major || take_word(r, "False");
        } else if (good && size == 5 && memcmp(key, "shape", size) == 0) {
            good = has_shape = take_shape(out, r);
        } else {
            good = false;
        }
        if (good && !take_character(r, ','))
            good = r->at < r->end && *r->at == '}';
    }
    if (!good || !has_type || !has_order || !has_shape)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: damaged header of an array", source);
    return DNS_OK;
}

static dns_status parse(npy_header *out, const void *bytes, size_t size, const char *source)
{
    const unsigned char *b = bytes;
    *out = (npy_header){0};
    if (!dns_npy_recognise(bytes, size))
        return dns_status_set(DNS_ERR_FORMAT, "%s: not a NumPy array", source);
    if (size < 12)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: cut short", source);
    if (b[6] < 1 || b[6] > 3)
        return dns_status_set(DNS_ERR_VERSION, "%s: NumPy format %d, 1 to 3 are read", source,
                              b[6]);
    size_t start = b[6] == 1 ? 10 : 12, length = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1)
        length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (length > size - start)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: header of %zu bytes is cut short", source,
                              length);
    reader r = {(const char *)b + start, (const char *)b + start + length};
    dns_status status = take_header(out, &r, source);
    if (status != DNS_OK)
        return status;
    out->offset = start + length;
    strided array = {.rank = out->rank};
    array.element = out->characters > 0 ? 4 * out->characters : dns_dtype_size(out->dtype);
    memcpy(array.shape, out->shape, sizeof array.shape);
    dns_strided_fill(&array, false);
    size_t extent;
    if (!dns_strided_measure(&out->count, &extent, &array))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: an array of impossible size", source);
    return DNS_OK;
}

dns_status dns_npy_parse(npy_header *out, const void *bytes, size_t size, const char *source)
{
    dns_status status = parse(out, bytes, size, source);
    if (status == DNS_OK && out->characters > 0)
        status = dns_status_set(DNS_ERR_UNSUPPORTED, "%s: an array of text", source);
    return status;
}

dns_status dns_npy_parse_text(npy_header *out, const void *bytes, size_t size, const char *source)
{
    dns_status status = parse(out, bytes, size, source);
    if (status == DNS_OK && out->characters == 0)
        status = dns_status_set(DNS_ERR_UNSUPPORTED, "%s: not an array of text", source);
    return status;
}

dns_status dns_npy_tensor(dns_tensor *out, void **owned, const npy_header *header, const void *data,
                          size_t size, const char *source)
{
    strided array = {.element = dns_dtype_size(header->dtype), .rank = header->rank};
    size_t bytes = header->count * array.element;
    *owned = NULL;
    if (size < bytes)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: %zu bytes of data, %zu expected", source, size,
                              bytes);
    dns_status status = dns_alloc(owned, bytes, 1);
    if (status != DNS_OK)
        return status;
    *out = (dns_tensor){.dtype = header->dtype, .rank = header->rank, .data = *owned};
    memcpy(out->shape, header->shape, sizeof out->shape);
    memcpy(array.shape, header->shape, sizeof array.shape);
    dns_strided_fill(&array, header->is_column_major);
    if (header->is_column_major)
        dns_strided_copy(*owned, data, &array);
    else if (bytes > 0)
        memcpy(*owned, data, bytes);
    if (header->is_swapped)
        dns_bytes_swap(*owned, header->count, array.element);
    return DNS_OK;
}

size_t dns_npy_write_header(char out[256 + 64], const dns_tensor *tensor)
{
    char shape[DNS_TENSOR_RANK * 22] = "";
    size_t used = 0;
    for (size_t i = 0; i < tensor->rank; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%zu%s", tensor->shape[i],
                                 tensor->rank == 1      ? ","
                                 : i + 1 < tensor->rank ? ", "
                                                        : "");
    const char *order = dns_dtype_size(tensor->dtype) == 1 ? "|" : "<";
    int n = snprintf(out + 10, 256 + 64 - 10,
                     "{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }", order,
                     dns_npy_code(tensor->dtype), shape);
    size_t total = (10 + (size_t)n + 1 + 63) / 64 * 64, length = total - 10;
    memset(out + 10 + n, ' ', total - 10 - (size_t)n);
    out[total - 1] = '\n';
    memcpy(out, magic, sizeof magic);
    out[6] = 1;
    out[7] = 0;
    out[8] = (char)(length & 0xff);
    out[9] = (char)(length >> 8);
    return total;
}
