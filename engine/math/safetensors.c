#include "dnsel/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/json.h"
#include "dnsel/memory.h"

enum { LENGTH_BYTES = 8, HEADER_LIMIT = 16 << 20, ALIGNMENT = 64 };

static const char metadata_key[] = "__metadata__";

/* Names, keys and values borrow from the JSON tree, which is kept. */
typedef struct entry {
    const char *name;
    dns_tensor tensor;
    size_t begin, end;
} entry;

struct dns_safetensors {
    char *path;
    dns_mapping mapping; /* without data when the bytes are borrowed */
    dns_json *header;
    const uint8_t *data;
    size_t n_data;
    entry *entries;
    size_t n_entries;
    dns_metadata *metadata;
    size_t n_metadata;
};

static dns_status add_metadata(void *payload, const char *key, const dns_json *value)
{
    dns_safetensors *file = payload;
    const char *text = dns_json_string(value, NULL);
    if (text == NULL)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: metadata '%s' is no string", file->path, key);
    file->metadata[file->n_metadata++] = (dns_metadata){key, text};
    return DNS_OK;
}

static bool to_size(size_t *size, const dns_json *value)
{
    int64_t number = dns_json_integer(value, -1);
    *size = (size_t)number;
    return number >= 0;
}

static dns_status read_shape(dns_tensor *tensor, size_t *n_bytes, const dns_json *shape)
{
    size_t rank = dns_json_size(shape);
    if (dns_json_kind_of(shape) != DNS_JSON_ARRAY)
        return dns_status_set(DNS_ERR_CORRUPT, "no shape");
    if (rank > DNS_TENSOR_RANK)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%zu dimensions, at most %d are read", rank,
                              DNS_TENSOR_RANK);
    tensor->rank = rank;
    *n_bytes = dns_dtype_size(tensor->dtype);
    for (size_t i = 0; i < rank; i++) {
        if (!to_size(&tensor->shape[i], dns_json_at(shape, i)))
            return dns_status_set(DNS_ERR_CORRUPT, "shape[%zu] is no size", i);
        if (!dns_size_multiply(*n_bytes, tensor->shape[i], n_bytes))
            return dns_status_set(DNS_ERR_CORRUPT, "shape too large");
    }
    return DNS_OK;
}

static dns_status read_entry(entry *e, const dns_safetensors *file, const dns_json *value)
{
    const dns_json *range = dns_json_get(value, "data_offsets");
    const char *dtype = dns_json_string(dns_json_get(value, "dtype"), NULL);
    size_t n_bytes = 0;
    if (dtype == NULL)
        return dns_status_set(DNS_ERR_CORRUPT, "no dtype");
    if (!dns_dtype_parse(&e->tensor.dtype, dtype))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "dtype '%s' is not known", dtype);
    dns_status status = read_shape(&e->tensor, &n_bytes, dns_json_get(value, "shape"));
    if (status != DNS_OK)
        return status;
    if (dns_json_kind_of(range) != DNS_JSON_ARRAY || dns_json_size(range) != 2 ||
        !to_size(&e->begin, dns_json_at(range, 0)) || !to_size(&e->end, dns_json_at(range, 1)) ||
        e->begin > e->end)
        return dns_status_set(DNS_ERR_CORRUPT, "data_offsets are no range");
    if (e->end > file->n_data)
        return dns_status_set(DNS_ERR_CORRUPT, "data end at %zu of %zu bytes", e->end,
                              file->n_data);
    if (e->end - e->begin != n_bytes)
        return dns_status_set(DNS_ERR_CORRUPT, "%zu bytes of data, its shape takes %zu",
                              e->end - e->begin, n_bytes);
    e->tensor.data = file->data + e->begin;
    return DNS_OK;
}

static dns_status add_member(void *payload, const char *key, const dns_json *value)
{
    dns_safetensors *file = payload;
    if (strcmp(key, metadata_key) == 0) {
        if (dns_json_kind_of(value) != DNS_JSON_OBJECT)
            return dns_status_set(DNS_ERR_CORRUPT, "%s: %s is no object", file->path, key);
        dns_status status =
            dns_alloc(&file->metadata, dns_json_size(value), sizeof *file->metadata);
        return status != DNS_OK ? status : dns_json_each(value, add_metadata, file);
    }
    entry *e = &file->entries[file->n_entries];
    e->name = key;
    dns_status status = read_entry(e, file, value);
    if (status != DNS_OK)
        return dns_status_context(status, "%s: tensor '%s'", file->path, key);
    file->n_entries++;
    return DNS_OK;
}

static int by_position(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const entry *)left)->name, ((const entry *)right)->name);
}

static dns_status check_cover(dns_safetensors *file)
{
    size_t covered = 0;
    qsort(file->entries, file->n_entries, sizeof *file->entries, by_position);
    for (size_t i = 0; i < file->n_entries; i++) {
        const entry *e = &file->entries[i];
        if (e->begin != covered)
            return dns_status_set(DNS_ERR_CORRUPT,
                                  "%s: tensor '%s' begins at byte %zu, expected %zu", file->path,
                                  e->name, e->begin, covered);
        covered = e->end;
    }
    if (covered != file->n_data)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: %zu bytes of data belong to no tensor",
                              file->path, file->n_data - covered);
    qsort(file->entries, file->n_entries, sizeof *file->entries, by_name);
    return DNS_OK;
}

static dns_status parse(dns_safetensors *file, const uint8_t *bytes, size_t size)
{
    uint64_t n_header = 0;
    if (size < LENGTH_BYTES + 2 || bytes[LENGTH_BYTES] != '{')
        return dns_status_set(DNS_ERR_FORMAT, "%s: not a safetensors file", file->path);
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        n_header |= (uint64_t)bytes[i] << 8 * i;
    if (n_header > HEADER_LIMIT)
        return dns_status_set(DNS_ERR_FORMAT, "%s: not a safetensors file", file->path);
    if (n_header > size - LENGTH_BYTES)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: header cut short", file->path);
    file->data = bytes + LENGTH_BYTES + n_header;
    file->n_data = size - LENGTH_BYTES - (size_t)n_header;

    dns_status status = dns_json_parse(&file->header, (const char *)bytes + LENGTH_BYTES,
                                       (size_t)n_header, file->path);
    if (status == DNS_OK)
        status = dns_alloc(&file->entries, dns_json_size(file->header), sizeof *file->entries);
    if (status == DNS_OK)
        status = dns_json_each(file->header, add_member, file);
    return status != DNS_OK ? status : check_cover(file);
}

static dns_status open_bytes(dns_safetensors **out, dns_mapping *mapping, const void *bytes,
                             size_t size, const char *source)
{
    dns_status status = DNS_OK;
    dns_safetensors *file = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&file, 1, sizeof *file));
    DNS_TRY(dns_string_copy(&file->path, source));
    DNS_TRY(parse(file, bytes, size));
    if (mapping != NULL) {
        file->mapping = *mapping;
        *mapping = (dns_mapping){NULL, 0};
    }
    *out = file;
    file = NULL;
out:
    dns_safetensors_close(file);
    return status;
}

dns_status dns_safetensors_open(dns_safetensors **out, const char *path)
{
    dns_mapping mapping;
    *out = NULL;
    dns_status status = dns_mapping_open(&mapping, path);
    if (status != DNS_OK)
        return status;
    status = open_bytes(out, &mapping, mapping.data, mapping.size, path);
    dns_mapping_close(&mapping);
    return status;
}

dns_status dns_safetensors_open_memory(dns_safetensors **out, const void *bytes, size_t size,
                                       const char *source)
{
    return open_bytes(out, NULL, bytes, size, source);
}

void dns_safetensors_close(dns_safetensors *file)
{
    if (file == NULL)
        return;
    dns_free(file->metadata);
    dns_free(file->entries);
    dns_json_free(file->header);
    dns_mapping_close(&file->mapping);
    dns_free(file->path);
    dns_free(file);
}

const char *dns_safetensors_path(const dns_safetensors *file)
{
    return file->path;
}

size_t dns_safetensors_count(const dns_safetensors *file)
{
    return file->n_entries;
}

const char *dns_safetensors_name(const dns_safetensors *file, size_t index)
{
    return file->entries[index].name;
}

const dns_tensor *dns_safetensors_at(const dns_safetensors *file, size_t index)
{
    return &file->entries[index].tensor;
}

const dns_tensor *dns_safetensors_find(const dns_safetensors *file, const char *name)
{
    if (file->n_entries == 0)
        return NULL;
    const entry wanted = {.name = name};
    const entry *e =
        bsearch(&wanted, file->entries, file->n_entries, sizeof *file->entries, by_name);
    return e != NULL ? &e->tensor : NULL;
}

const char *dns_safetensors_metadata(const dns_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}

size_t dns_safetensors_metadata_count(const dns_safetensors *file)
{
    return file->n_metadata;
}

void dns_safetensors_metadata_at(const dns_safetensors *file, size_t index, const char **key,
                                 const char **value)
{
    *key = file->metadata[index].key;
    *value = file->metadata[index].value;
}

dns_status dns_safetensors_f32(const float **out, const dns_safetensors *file, const char *name,
                               size_t rank, size_t *shape)
{
    char found[128];
    *out = NULL;
    const dns_tensor *tensor = dns_safetensors_find(file, name);
    if (tensor == NULL)
        return dns_status_set(DNS_ERR_NOTFOUND, "%s: no tensor '%s'", file->path, name);
    bool fits = tensor->dtype == DNS_F32 && tensor->rank == rank;
    for (size_t i = 0; fits && i < rank; i++)
        fits = shape[i] == 0 || shape[i] == tensor->shape[i];
    if (!fits) {
        char wanted[128];
        const dns_tensor expected = dns_tensor_f32(NULL, rank, shape);
        dns_tensor_shape_text(tensor, found, sizeof found);
        dns_tensor_shape_text(&expected, wanted, sizeof wanted);
        return dns_status_set(DNS_ERR_SHAPE, "%s: tensor '%s': %s %s, expected F32 %s (0: any)",
                              file->path, name, dns_dtype_name(tensor->dtype), found, wanted);
    }
    if ((uintptr_t)tensor->data % sizeof(float) != 0)
        return dns_status_set(DNS_ERR_FORMAT, "%s: tensor '%s' is not aligned", file->path, name);
    for (size_t i = 0; i < rank; i++)
        shape[i] = tensor->shape[i];
    *out = tensor->data;
    return DNS_OK;
}

/* Large elements first, so that every tensor is aligned to its own size without gaps. */
static int by_size_and_name(const void *left, const void *right)
{
    const dns_named_tensor *a = left, *b = right;
    size_t size_a = dns_dtype_size(a->tensor.dtype), size_b = dns_dtype_size(b->tensor.dtype);
    if (size_a != size_b)
        return size_a > size_b ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_key(const void *left, const void *right)
{
    return strcmp(((const dns_metadata *)left)->key, ((const dns_metadata *)right)->key);
}

static dns_status check_names(const dns_named_tensor *tensors, size_t n_tensors,
                              const dns_metadata *metadata, size_t n_metadata)
{
    for (size_t i = 0; i < n_tensors; i++) {
        if (strcmp(tensors[i].name, metadata_key) == 0)
            return dns_status_set(DNS_ERR_ARG, "no tensor can be named '%s'", metadata_key);
        for (size_t k = i + 1; k < n_tensors; k++)
            if (strcmp(tensors[i].name, tensors[k].name) == 0)
                return dns_status_set(DNS_ERR_ARG, "two tensors are named '%s'", tensors[i].name);
    }
    for (size_t i = 1; i < n_metadata; i++)
        if (strcmp(metadata[i - 1].key, metadata[i].key) == 0)
            return dns_status_set(DNS_ERR_ARG, "two lines of metadata are named '%s'",
                                  metadata[i].key);
    return DNS_OK;
}

static dns_status write_header(FILE *stream, const dns_named_tensor *tensors, size_t n_tensors,
                               const dns_metadata *metadata, size_t n_metadata)
{
    dns_json_writer w = dns_json_writer_to(stream, false);
    size_t offset = 0;
    dns_json_begin_object(&w, NULL);
    if (n_metadata > 0) {
        dns_json_begin_object(&w, metadata_key);
        for (size_t i = 0; i < n_metadata; i++)
            dns_json_put_string(&w, metadata[i].key, metadata[i].value);
        dns_json_end_object(&w);
    }
    for (size_t i = 0; i < n_tensors; i++) {
        const dns_tensor *tensor = &tensors[i].tensor;
        dns_json_begin_object(&w, tensors[i].name);
        dns_json_put_string(&w, "dtype", dns_dtype_name(tensor->dtype));
        dns_json_begin_array(&w, "shape");
        for (size_t k = 0; k < tensor->rank; k++)
            dns_json_put_integer(&w, NULL, (int64_t)tensor->shape[k]);
        dns_json_end_array(&w);
        dns_json_begin_array(&w, "data_offsets");
        dns_json_put_integer(&w, NULL, (int64_t)offset);
        offset += dns_tensor_bytes(tensor);
        dns_json_put_integer(&w, NULL, (int64_t)offset);
        dns_json_end_array(&w);
        dns_json_end_object(&w);
    }
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

static dns_status write_all(FILE *stream, const char *header, size_t n_header,
                            const dns_named_tensor *tensors, size_t n_tensors)
{
    uint8_t length[LENGTH_BYTES];
    size_t n_padded =
        (LENGTH_BYTES + n_header + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - LENGTH_BYTES;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        length[i] = (uint8_t)(n_padded >> 8 * i);
    fwrite(length, 1, sizeof length, stream);
    fwrite(header, 1, n_header, stream);
    for (size_t i = n_header; i < n_padded; i++)
        fputc(' ', stream);
    for (size_t i = 0; i < n_tensors; i++) {
        size_t n_bytes = dns_tensor_bytes(&tensors[i].tensor);
        if (n_bytes > 0)
            fwrite(tensors[i].tensor.data, 1, n_bytes, stream);
    }
    return ferror(stream) ? dns_status_set_errno("writing tensors") : DNS_OK;
}

dns_status dns_safetensors_write(const char *path, const dns_named_tensor *tensors,
                                 size_t n_tensors, const dns_metadata *metadata, size_t n_metadata)
{
    dns_status status = DNS_OK;
    dns_named_tensor *sorted = NULL;
    dns_metadata *lines = NULL;
    char *header = NULL; /* open_memstream's, so free() */
    size_t n_header = 0;
    FILE *memory = NULL, *stream;
    dns_replacement *replacement = NULL;

    DNS_TRY(dns_alloc(&sorted, n_tensors, sizeof *sorted));
    DNS_TRY(dns_alloc(&lines, n_metadata, sizeof *lines));
    for (size_t i = 0; i < n_tensors; i++)
        sorted[i] = tensors[i];
    for (size_t i = 0; i < n_metadata; i++)
        lines[i] = metadata[i];
    qsort(sorted, n_tensors, sizeof *sorted, by_size_and_name);
    qsort(lines, n_metadata, sizeof *lines, by_key);
    DNS_TRY(check_names(sorted, n_tensors, lines, n_metadata));

    memory = open_memstream(&header, &n_header);
    if (memory == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "%s: out of memory for the header", path);
    DNS_TRY(write_header(memory, sorted, n_tensors, lines, n_metadata));
    if (n_header > HEADER_LIMIT - ALIGNMENT)
        DNS_FAIL(DNS_ERR_LIMIT, "%s: header of %zu bytes", path, n_header);
    DNS_TRY(dns_replacement_open(&replacement, &stream, path));
    DNS_TRY(write_all(stream, header, n_header - 1, sorted, n_tensors)); /* without the new line */
    status = dns_replacement_commit(replacement);
    replacement = NULL;
out:
    dns_replacement_abandon(replacement);
    if (memory != NULL)
        fclose(memory);
    free(header);
    dns_free(lines);
    dns_free(sorted);
    return status;
}
