/* PyTorch's two containers: a pickle that refers to storages, and the storages behind it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_parts.h"
#include "dnsel/memory.h"
#include "strided.h"

enum { MAX_REFERENCES = 1 << 20 };

/* Bytes that tensors are views of. */
typedef struct storage {
    const char *key;
    const struct storage_type *type;
    size_t count; /* elements */
    const uint8_t *data;
    bool is_owned; /* data is aligned and lives as long as the checkpoint */
} storage;

typedef struct torch_file {
    dns_checkpoint *c;
    const char *source;
    storage *storages; /* sorted by key once collected */
    size_t n_storages, capacity;
    bool is_swapped;    /* big-endian */
    const dns_zip *zip; /* storages are read from here when they are needed */
    const char *prefix;
} torch_file;

typedef struct storage_type {
    const char *name;
    size_t element;
    bool is_known;
    dns_dtype dtype;
} storage_type;

static const storage_type *find_type(const char *name)
{
    static const storage_type types[] = {
        {"torch.FloatStorage", 4, true, DNS_F32},
        {"torch.DoubleStorage", 8, true, DNS_F64},
        {"torch.HalfStorage", 2, true, DNS_F16},
        {"torch.BFloat16Storage", 2, true, DNS_BF16},
        {"torch.LongStorage", 8, true, DNS_I64},
        {"torch.IntStorage", 4, true, DNS_I32},
        {"torch.ShortStorage", 2, true, DNS_I16},
        {"torch.CharStorage", 1, true, DNS_I8},
        {"torch.ByteStorage", 1, true, DNS_U8},
        {"torch.BoolStorage", 1, true, DNS_BOOL},
        {"torch.ComplexFloatStorage", 8, false, DNS_U8},
        {"torch.ComplexDoubleStorage", 16, false, DNS_U8},
        {"torch.storage.UntypedStorage", 1, true, DNS_U8},
        {"torch.storage._UntypedStorage", 1, true, DNS_U8},
    };
    for (size_t i = 0; name != NULL && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

/* The type that a tensor over an untyped storage names. */
static bool find_dtype(dns_dtype *dtype, const char *name)
{
    static const struct {
        const char *name;
        dns_dtype dtype;
    } types[] = {
        {"torch.float32", DNS_F32},   {"torch.float64", DNS_F64}, {"torch.float16", DNS_F16},
        {"torch.bfloat16", DNS_BF16}, {"torch.int8", DNS_I8},     {"torch.uint8", DNS_U8},
        {"torch.int16", DNS_I16},     {"torch.uint16", DNS_U16},  {"torch.int32", DNS_I32},
        {"torch.uint32", DNS_U32},    {"torch.int64", DNS_I64},   {"torch.uint64", DNS_U64},
        {"torch.bool", DNS_BOOL},
    };
    for (size_t i = 0; name != NULL && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0) {
            *dtype = types[i].dtype;
            return true;
        }
    return false;
}

static bool to_size(size_t *size, const dns_pickle_value *value)
{
    int64_t number = dns_pickle_integer(value, -1);
    *size = (size_t)number;
    return number >= 0;
}

/* ---- storages ---- */

/* ('storage', type, key, location, count), in the legacy container also a view of a part, or None.
 */
static dns_status read_reference(storage *out, const dns_pickle_value *reference,
                                 const char *source)
{
    const dns_pickle_value *view = dns_pickle_at(reference, 5);
    *out = (storage){.key = dns_pickle_string(dns_pickle_at(reference, 2), NULL),
                     .type = find_type(dns_pickle_name(dns_pickle_at(reference, 1)))};
    if (strcmp(dns_pickle_string(dns_pickle_at(reference, 0), ""), "storage") != 0 ||
        out->key == NULL || !to_size(&out->count, dns_pickle_at(reference, 4)))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: a reference to something else than a storage",
                              source);
    size_t bytes;
    if (out->type == NULL || dns_pickle_kind_of(view) != DNS_PICKLE_NONE)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: storage '%s' of an unknown kind", source,
                              out->key);
    if (!dns_size_multiply(out->count, out->type->element, &bytes))
        return dns_status_set(DNS_ERR_CORRUPT, "%s: storage '%s' of impossible size", source,
                              out->key);
    return DNS_OK;
}

static dns_status collect_storages(torch_file *file, const dns_pickle_value *value)
{
    dns_status status = DNS_OK;
    if (dns_pickle_kind_of(value) == DNS_PICKLE_REFERENCE) {
        storage found;
        DNS_TRY(read_reference(&found, value, file->source));
        if (file->n_storages == MAX_REFERENCES)
            DNS_FAIL(DNS_ERR_LIMIT, "%s: more than %d references to storages", file->source,
                     MAX_REFERENCES);
        DNS_TRY(dns_reserve(&file->storages, &file->capacity, file->n_storages + 1,
                            sizeof *file->storages));
        file->storages[file->n_storages++] = found;
    } else {
        for (size_t i = 0; i < dns_pickle_size(value); i++)
            DNS_TRY(collect_storages(file, dns_pickle_at(value, i)));
        if (dns_pickle_kind_of(value) == DNS_PICKLE_OBJECT) {
            DNS_TRY(collect_storages(file, dns_pickle_arguments(value)));
            DNS_TRY(collect_storages(file, dns_pickle_state(value)));
        }
    }
out:
    return status;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const storage *)a)->key, ((const storage *)b)->key);
}

/* Each storage once, sorted by key. */
static dns_status unite_storages(torch_file *file)
{
    size_t n = 0;
    if (file->n_storages > 0)
        qsort(file->storages, file->n_storages, sizeof *file->storages, compare_keys);
    for (size_t i = 0; i < file->n_storages; i++) {
        storage *last = n > 0 ? &file->storages[n - 1] : NULL, *next = &file->storages[i];
        if (last == NULL || strcmp(last->key, next->key) != 0)
            file->storages[n++] = *next;
        else if (last->type != next->type || last->count != next->count)
            return dns_status_set(DNS_ERR_CORRUPT, "%s: storage '%s' is described in two ways",
                                  file->source, last->key);
    }
    file->n_storages = n;
    return DNS_OK;
}

static storage *find_storage(const torch_file *file, const char *key)
{
    storage wanted = {.key = key};
    if (file->n_storages == 0 || key == NULL)
        return NULL;
    return bsearch(&wanted, file->storages, file->n_storages, sizeof wanted, compare_keys);
}

/* Of the zip container: the entry <prefix>data/<key>. */
static dns_status need_storage(const torch_file *file, storage *s)
{
    dns_status status = DNS_OK;
    char *name = NULL;
    void *data = NULL;
    size_t index, size, expected = s->count * s->type->element;
    if (s->data != NULL)
        return DNS_OK;
    DNS_TRY(
        dns_string_format(&name, "%sdata/%s", file->prefix != NULL ? file->prefix : "", s->key));
    if (file->zip == NULL || !dns_zip_find(&index, file->zip, name))
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: no storage '%s'", file->source, s->key);
    DNS_TRY(dns_zip_size(&size, file->zip, index));
    if (size != expected)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: storage '%s' has %zu bytes, %zu expected", file->source,
                 s->key, size, expected);
    DNS_TRY(dns_checkpoint_spend(file->c, size, file->source));
    DNS_TRY(dns_zip_read(&data, &size, file->zip, index, size));
    DNS_TRY(dns_checkpoint_own(file->c, data));
    s->data = data;
    s->is_owned = true;
out:
    dns_free(name);
    return status;
}

/* ---- tensors ---- */

static bool is_torch_tensor(const dns_pickle_value *value)
{
    static const char prefix[] = "torch._utils._rebuild_";
    return dns_pickle_kind_of(value) == DNS_PICKLE_OBJECT &&
           strncmp(dns_pickle_name(value), prefix, sizeof prefix - 1) == 0;
}

static bool is_tensor(const dns_pickle_value *value)
{
    return is_torch_tensor(value) || dns_is_pickled_array(value);
}

static bool read_sizes(size_t sizes[DNS_TENSOR_RANK], size_t *n, const dns_pickle_value *tuple)
{
    *n = dns_pickle_size(tuple);
    if (dns_pickle_kind_of(tuple) != DNS_PICKLE_TUPLE || *n > DNS_TENSOR_RANK)
        return false;
    for (size_t i = 0; i < *n; i++)
        if (!to_size(&sizes[i], dns_pickle_at(tuple, i)))
            return false;
    return true;
}

/* The values of a strided view, without a copy where they lie as they should. */
static dns_status view_storage(dns_tensor *out, const torch_file *file, const storage *s,
                               size_t offset, const strided *array)
{
    size_t count, extent, available = s->count * s->type->element / array->element;
    void *copy = NULL;
    if (!dns_strided_measure(&count, &extent, array) || offset > available ||
        extent > available - offset)
        return dns_status_set(DNS_ERR_CORRUPT, "lies outside its storage '%s'", s->key);
    out->rank = array->rank;
    memcpy(out->shape, array->shape, sizeof out->shape);
    out->data = s->data + offset * array->element;
    if (s->is_owned && !file->is_swapped && dns_strided_is_row_major(array))
        return DNS_OK;
    dns_status status = DNS_OK;
    DNS_TRY(dns_checkpoint_spend(file->c, count * array->element, file->source));
    DNS_TRY(dns_alloc(&copy, count, array->element));
    DNS_TRY(dns_checkpoint_own(file->c, copy));
    dns_strided_copy(copy, out->data, array);
    if (file->is_swapped)
        dns_bytes_swap(copy, count, array->element);
    out->data = copy;
out:
    return status;
}

/* _rebuild_tensor(storage, offset, sizes, strides), _v2(..., requires_grad, hooks), _v3(..., dtype)
 * and _rebuild_parameter(tensor, ...). */
static dns_status read_tensor(dns_tensor *out, const torch_file *file,
                              const dns_pickle_value *value)
{
    const dns_pickle_value *arguments = dns_pickle_arguments(value);
    if (strcmp(dns_pickle_name(value), "torch._utils._rebuild_parameter") == 0) {
        value = dns_pickle_at(arguments, 0);
        arguments = dns_pickle_arguments(value);
    }
    const dns_pickle_value *reference = dns_pickle_at(arguments, 0);
    storage *s = find_storage(file, dns_pickle_string(dns_pickle_at(reference, 2), NULL));
    strided array = {0};
    size_t offset, n_strides;
    if (!is_torch_tensor(value) || dns_pickle_kind_of(reference) != DNS_PICKLE_REFERENCE ||
        s == NULL || !to_size(&offset, dns_pickle_at(arguments, 1)) ||
        !read_sizes(array.shape, &array.rank, dns_pickle_at(arguments, 2)) ||
        !read_sizes(array.strides, &n_strides, dns_pickle_at(arguments, 3)) ||
        n_strides != array.rank)
        return dns_status_set(DNS_ERR_CORRUPT, "is not described as tensors are");
    bool is_untyped = strcmp(dns_pickle_name(value), "torch._utils._rebuild_tensor_v3") == 0;
    const char *dtype = is_untyped ? dns_pickle_name(dns_pickle_at(arguments, 6)) : s->type->name;
    out->dtype = s->type->dtype;
    if (is_untyped ? !find_dtype(&out->dtype, dtype) : !s->type->is_known)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "is of type %s",
                              dtype != NULL ? dtype : "unknown");
    array.element = dns_dtype_size(out->dtype);
    dns_status status = need_storage(file, s);
    return status != DNS_OK ? status : view_storage(out, file, s, offset, &array);
}

static dns_status add_tensor(const torch_file *file, const char *name,
                             const dns_pickle_value *value)
{
    dns_tensor tensor = {0};
    dns_status status = is_torch_tensor(value)
                            ? read_tensor(&tensor, file, value)
                            : dns_checkpoint_numpy(&tensor, file->c, value, file->source);
    if (status != DNS_OK)
        return dns_status_context(status, "%s: tensor '%s'", file->source, name);
    return dns_checkpoint_add(file->c, name, &tensor);
}

/* All tensors in a value; nested names are joined by dots. */
static dns_status add_tensors(const torch_file *file, const char *prefix,
                              const dns_pickle_value *value)
{
    dns_status status = DNS_OK;
    char *name = NULL;
    if (is_tensor(value))
        return add_tensor(file, *prefix != '\0' ? prefix : "tensor", value);
    if (dns_pickle_kind_of(value) == DNS_PICKLE_REFERENCE)
        return DNS_OK;
    for (size_t i = 0; i < dns_pickle_size(value); i++) {
        const dns_pickle_value *key = dns_pickle_key_at(value, i), *item = dns_pickle_at(value, i);
        if (!is_tensor(item) && dns_pickle_size(item) == 0)
            continue;
        char number[32];
        snprintf(number, sizeof number, "%" PRId64,
                 key != NULL ? dns_pickle_integer(key, 0) : (int64_t)i);
        const char *text = dns_pickle_string(key, number);
        DNS_TRY(dns_string_format(&name, "%s%s%s", prefix, *prefix != '\0' ? "." : "", text));
        DNS_TRY(add_tensors(file, name, item));
        dns_free(name);
        name = NULL;
    }
out:
    dns_free(name);
    return status;
}

static bool holds_tensor(const dns_pickle_value *value)
{
    if (is_tensor(value))
        return true;
    for (size_t i = 0; i < dns_pickle_size(value); i++)
        if (holds_tensor(dns_pickle_at(value, i)))
            return true;
    return false;
}

/* ---- the whole ---- */

static const dns_pickle_value *choose_part(const char **key, const dns_pickle_value *root)
{
    static const char *const keys[] = {"model", "state_dict", "model_state_dict"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const dns_pickle_value *part = dns_pickle_get(root, keys[i]);
        if (!is_tensor(part) && holds_tensor(part)) {
            *key = keys[i];
            return part;
        }
    }
    *key = "";
    return root;
}

/* Whatever of the root holds no tensors. */
static dns_status write_metadata(dns_checkpoint *c, const dns_pickle_value *root)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "out of memory for metadata");
    dns_json_writer writer = dns_json_writer_to(stream, false);
    dns_json_begin_object(&writer, NULL);
    for (size_t i = 0; i < dns_pickle_size(root); i++) {
        const char *key = dns_pickle_string(dns_pickle_key_at(root, i), NULL);
        if (key != NULL && !holds_tensor(dns_pickle_at(root, i)))
            dns_pickle_write_json(&writer, key, dns_pickle_at(root, i));
    }
    dns_json_end_object(&writer);
    dns_status status = dns_json_finish(&writer);
    if (fclose(stream) != 0 && status == DNS_OK)
        status = dns_status_set(DNS_ERR_NOMEM, "out of memory for metadata");
    if (status == DNS_OK)
        status = dns_checkpoint_set_metadata(c, text, size);
    free(text);
    return status;
}

static dns_status read_root(torch_file *file, const dns_pickle_value *root)
{
    const char *key;
    dns_status status = DNS_OK;
    const dns_pickle_value *part = choose_part(&key, root);
    DNS_TRY(dns_string_copy(&file->c->part, key));
    DNS_TRY(add_tensors(file, "", part));
    DNS_TRY(write_metadata(file->c, root));
out:
    return status;
}

dns_status dns_checkpoint_read_pickle(dns_checkpoint *c, const void *bytes, size_t size,
                                      const char *source)
{
    dns_status status = DNS_OK;
    torch_file file = {.c = c, .source = source};
    dns_pickle *pickle = NULL;
    DNS_TRY(dns_pickle_parse(&pickle, NULL, bytes, size, source));
    DNS_TRY(read_root(&file, dns_pickle_root(pickle)));
out:
    dns_pickle_free(pickle);
    return status;
}

/* ---- zip ---- */

dns_status dns_torch_prefix(char **out, const dns_zip *zip)
{
    static const char ending[] = "/data.pkl";
    const size_t n_ending = sizeof ending - 1;
    *out = NULL;
    for (size_t i = 0; i < dns_zip_count(zip); i++) {
        const char *name = dns_zip_name(zip, i);
        size_t n = strlen(name);
        if (n > n_ending && strcmp(name + n - n_ending, ending) == 0)
            return dns_string_format(out, "%.*s", (int)(n - n_ending + 1), name);
    }
    return DNS_OK;
}

static dns_status read_byte_order(torch_file *file)
{
    dns_status status = DNS_OK;
    char *name = NULL;
    void *text = NULL;
    size_t index, size;
    DNS_TRY(dns_string_format(&name, "%sbyteorder", file->prefix));
    if (dns_zip_find(&index, file->zip, name)) {
        DNS_TRY(dns_zip_read(&text, &size, file->zip, index, 64));
        file->is_swapped = strcmp(text, "big") == 0;
    }
out:
    dns_free(text);
    dns_free(name);
    return status;
}

dns_status dns_checkpoint_read_torch_zip(dns_checkpoint *c, const dns_zip *zip, const char *prefix,
                                         const char *source)
{
    dns_status status = DNS_OK;
    torch_file file = {.c = c, .source = source, .zip = zip, .prefix = prefix};
    char *name = NULL;
    void *bytes = NULL;
    dns_pickle *pickle = NULL;
    size_t index, size;
    DNS_TRY(dns_string_format(&name, "%sconstants.pkl", prefix));
    if (dns_zip_find(&index, zip, name))
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "%s: a TorchScript program, not a state dict", source);
    dns_free(name);
    DNS_TRY(dns_string_format(&name, "%sdata.pkl", prefix));
    if (!dns_zip_find(&index, zip, name))
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: no entry '%s'", source, name);
    DNS_TRY(dns_zip_size(&size, zip, index));
    DNS_TRY(dns_checkpoint_spend(c, size, source));
    DNS_TRY(dns_zip_read(&bytes, &size, zip, index, size));
    DNS_TRY(dns_pickle_parse(&pickle, NULL, bytes, size, source));
    DNS_TRY(read_byte_order(&file));
    DNS_TRY(collect_storages(&file, dns_pickle_root(pickle)));
    DNS_TRY(unite_storages(&file));
    DNS_TRY(read_root(&file, dns_pickle_root(pickle)));
out:
    dns_free(file.storages);
    dns_pickle_free(pickle);
    dns_free(bytes);
    dns_free(name);
    return status;
}

/* ---- legacy ---- */

/* A pickle of the number 0x1950a86a20f9469cfc6c, in protocol 2. */
static const uint8_t legacy_magic[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                       0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

bool dns_torch_legacy_recognise(const void *bytes, size_t size)
{
    return size >= sizeof legacy_magic && memcmp(bytes, legacy_magic, sizeof legacy_magic) == 0;
}

/* One of the consecutive pickles. */
static dns_status next_pickle(dns_pickle **out, const uint8_t **at, size_t *left,
                              const char *source)
{
    size_t used;
    dns_pickle_free(*out);
    dns_status status = dns_pickle_parse(out, &used, *at, *left, source);
    if (status == DNS_ERR_FORMAT)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: cut short", source);
    if (status == DNS_OK) {
        *at += used;
        *left -= used;
    }
    return status;
}

/* The storages follow in the order of the list of keys: a count of elements, then the elements. */
static dns_status place_storages(torch_file *file, const dns_pickle_value *keys, const uint8_t *at,
                                 size_t left)
{
    for (size_t i = 0; i < dns_pickle_size(keys); i++) {
        const char *key = dns_pickle_string(dns_pickle_at(keys, i), NULL);
        storage *s = find_storage(file, key);
        uint64_t count = 0;
        if (s == NULL)
            return dns_status_set(DNS_ERR_CORRUPT, "%s: a storage that no tensor uses",
                                  file->source);
        for (size_t k = 0; k < 8 && left >= 8; k++)
            count |= (uint64_t)at[file->is_swapped ? 7 - k : k] << (8 * k);
        size_t bytes = s->count * s->type->element;
        if (left < 8 || count != s->count || bytes > left - 8)
            return dns_status_set(DNS_ERR_CORRUPT,
                                  "%s: storage '%s' is cut short or of another size than it says",
                                  file->source, key);
        s->data = at + 8;
        at += 8 + bytes;
        left -= 8 + bytes;
    }
    return DNS_OK;
}

dns_status dns_checkpoint_read_torch_legacy(dns_checkpoint *c, const void *bytes, size_t size,
                                            const char *source)
{
    enum { VERSION = 1001 };
    dns_status status = DNS_OK;
    torch_file file = {.c = c, .source = source};
    dns_pickle *about = NULL, *root = NULL;
    const uint8_t *at = (const uint8_t *)bytes + sizeof legacy_magic;
    size_t left = size - sizeof legacy_magic;
    DNS_TRY(next_pickle(&about, &at, &left, source));
    int64_t version = dns_pickle_integer(dns_pickle_root(about), 0);
    if (version != VERSION)
        DNS_FAIL(DNS_ERR_VERSION, "%s: legacy PyTorch format %lld, %d is read", source,
                 (long long)version, VERSION);
    DNS_TRY(next_pickle(&about, &at, &left, source));
    file.is_swapped =
        !dns_pickle_bool(dns_pickle_get(dns_pickle_root(about), "little_endian"), true);
    DNS_TRY(next_pickle(&root, &at, &left, source));
    DNS_TRY(collect_storages(&file, dns_pickle_root(root)));
    DNS_TRY(unite_storages(&file));
    DNS_TRY(next_pickle(&about, &at, &left, source));
    DNS_TRY(place_storages(&file, dns_pickle_root(about), at, left));
    DNS_TRY(read_root(&file, dns_pickle_root(root)));
out:
    dns_free(file.storages);
    dns_pickle_free(about);
    dns_pickle_free(root);
    return status;
}
