#include "dnsel/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_parts.h"
#include "dnsel/memory.h"
#include "npy.h"
#include "zip_file.h"

enum { MAX_TENSORS = 1 << 16 };

dns_status dns_checkpoint_own(dns_checkpoint *c, void *block)
{
    dns_status status =
        dns_reserve(&c->blocks, &c->blocks_capacity, c->n_blocks + 1, sizeof *c->blocks);
    if (status == DNS_OK)
        c->blocks[c->n_blocks++] = block;
    else
        dns_free(block);
    return status;
}

dns_status dns_checkpoint_spend(dns_checkpoint *c, size_t bytes, const char *source)
{
    if (bytes > c->budget)
        return dns_status_set(DNS_ERR_LIMIT, "%s: unpacks to far more than the size of the file",
                              source);
    c->budget -= bytes;
    return DNS_OK;
}

dns_status dns_checkpoint_add(dns_checkpoint *c, const char *name, const dns_tensor *tensor)
{
    char *copy;
    dns_status status = DNS_OK;
    if (c->n_tensors == MAX_TENSORS)
        return dns_status_set(DNS_ERR_LIMIT, "more than %d tensors", MAX_TENSORS);
    DNS_TRY(dns_string_copy(&copy, name));
    DNS_TRY(dns_checkpoint_own(c, copy));
    DNS_TRY(dns_reserve(&c->tensors, &c->capacity, c->n_tensors + 1, sizeof *c->tensors));
    c->tensors[c->n_tensors++] = (dns_named_tensor){copy, *tensor};
out:
    return status;
}

dns_status dns_checkpoint_set_metadata(dns_checkpoint *c, const char *text, size_t size)
{
    while (size > 0 && text[size - 1] == '\n')
        size--;
    dns_status status = dns_alloc(&c->metadata, size + 1, 1);
    if (status == DNS_OK)
        memcpy(c->metadata, text, size);
    return status;
}

static dns_status read_safetensors(dns_checkpoint *c, const void *bytes, size_t size,
                                   const char *source)
{
    dns_status status = DNS_OK;
    FILE *stream = NULL;
    char *text = NULL;
    size_t text_size;
    DNS_TRY(dns_safetensors_open_memory(&c->safetensors, bytes, size, source));
    for (size_t i = 0; i < dns_safetensors_count(c->safetensors); i++)
        DNS_TRY(dns_checkpoint_add(c, dns_safetensors_name(c->safetensors, i),
                                   dns_safetensors_at(c->safetensors, i)));
    stream = open_memstream(&text, &text_size);
    if (stream == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "out of memory for metadata");
    dns_json_writer writer = dns_json_writer_to(stream, false);
    dns_json_begin_object(&writer, NULL);
    for (size_t i = 0; i < dns_safetensors_metadata_count(c->safetensors); i++) {
        const char *key, *value;
        dns_safetensors_metadata_at(c->safetensors, i, &key, &value);
        dns_json_put_string(&writer, key, value);
    }
    dns_json_end_object(&writer);
    DNS_TRY(dns_json_finish(&writer));
    DNS_TRY(dns_checkpoint_set_metadata(c, text, text_size));
out:
    if (stream != NULL)
        fclose(stream);
    free(text);
    return status;
}

static dns_status read_zip(dns_checkpoint *c, const void *bytes, size_t size, const char *source)
{
    dns_status status = DNS_OK;
    dns_zip *zip = NULL;
    char *prefix = NULL;
    DNS_TRY(dns_zip_open(&zip, bytes, size, source));
    DNS_TRY(dns_torch_prefix(&prefix, zip));
    c->container = prefix != NULL ? "pytorch" : "npz";
    if (prefix != NULL)
        DNS_TRY(dns_checkpoint_read_torch_zip(c, zip, prefix, source));
    else
        DNS_TRY(dns_checkpoint_read_npz(c, zip, source));
out:
    dns_free(prefix);
    dns_zip_close(zip);
    return status;
}

static dns_status read_container(dns_checkpoint *c, const void *bytes, size_t size,
                                 const char *source)
{
    if (dns_torch_legacy_recognise(bytes, size)) {
        c->container = "pytorch-legacy";
        return dns_checkpoint_read_torch_legacy(c, bytes, size, source);
    }
    if (dns_npy_recognise(bytes, size)) {
        c->container = "npy";
        return dns_checkpoint_read_npy(c, bytes, size, source);
    }
    if (dns_zip_recognise(bytes, size))
        return read_zip(c, bytes, size, source);
    if (size > 8 && ((const char *)bytes)[8] == '{') {
        c->container = "safetensors";
        return read_safetensors(c, bytes, size, source);
    }
    c->container = "pickle";
    dns_status status = dns_checkpoint_read_pickle(c, bytes, size, source);
    if (status == DNS_ERR_FORMAT)
        status = dns_status_set(DNS_ERR_FORMAT, "%s: no PyTorch, safetensors, NumPy or pickle file",
                                source);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const dns_named_tensor *)a)->name, ((const dns_named_tensor *)b)->name);
}

static dns_status finish(dns_checkpoint *c, const char *source)
{
    if (c->n_tensors == 0)
        return dns_status_set(DNS_ERR_FORMAT, "%s: holds no tensors", source);
    qsort(c->tensors, c->n_tensors, sizeof *c->tensors, compare_names);
    for (size_t i = 1; i < c->n_tensors; i++)
        if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
            return dns_status_set(DNS_ERR_CORRUPT, "%s: tensor '%s' occurs twice", source,
                                  c->tensors[i].name);
    return DNS_OK;
}

static dns_status read_all(dns_checkpoint *c, const void *bytes, size_t size, const char *source)
{
    enum { TIMES = 16, AND = 64 << 20 };
    c->budget = size > (SIZE_MAX - AND) / TIMES ? SIZE_MAX : TIMES * size + AND;
    dns_status status = read_container(c, bytes, size, source);
    if (status == DNS_OK && c->metadata == NULL)
        status = dns_string_copy(&c->metadata, "{}");
    return status != DNS_OK ? status : finish(c, source);
}

dns_status dns_checkpoint_open_memory(dns_checkpoint **out, const void *bytes, size_t size,
                                      const char *source)
{
    dns_checkpoint *c = NULL;
    *out = NULL;
    dns_status status = dns_alloc(&c, 1, sizeof *c);
    if (status == DNS_OK)
        status = read_all(c, bytes, size, source);
    if (status == DNS_OK)
        *out = c;
    else
        dns_checkpoint_close(c);
    return status;
}

dns_status dns_checkpoint_open(dns_checkpoint **out, const char *path)
{
    dns_checkpoint *c = NULL;
    *out = NULL;
    dns_status status = dns_alloc(&c, 1, sizeof *c);
    if (status == DNS_OK)
        status = dns_mapping_open(&c->mapping, path);
    if (status == DNS_OK)
        status = read_all(c, c->mapping.data, c->mapping.size, path);
    if (status == DNS_OK)
        *out = c;
    else
        dns_checkpoint_close(c);
    return status;
}

void dns_checkpoint_close(dns_checkpoint *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->n_blocks; i++)
        dns_free(c->blocks[i]);
    dns_free(c->blocks);
    dns_free(c->tensors);
    dns_free(c->part);
    dns_free(c->metadata);
    dns_safetensors_close(c->safetensors);
    dns_mapping_close(&c->mapping);
    dns_free(c);
}

const char *dns_checkpoint_container(const dns_checkpoint *c)
{
    return c->container;
}

const char *dns_checkpoint_part(const dns_checkpoint *c)
{
    return c->part != NULL ? c->part : "";
}

const char *dns_checkpoint_metadata(const dns_checkpoint *c)
{
    return c->metadata;
}

size_t dns_checkpoint_count(const dns_checkpoint *c)
{
    return c->n_tensors;
}

const dns_named_tensor *dns_checkpoint_tensors(const dns_checkpoint *c)
{
    return c->tensors;
}

const dns_tensor *dns_checkpoint_find(const dns_checkpoint *c, const char *name)
{
    dns_named_tensor wanted = {.name = name};
    const dns_named_tensor *found =
        bsearch(&wanted, c->tensors, c->n_tensors, sizeof *c->tensors, compare_names);
    return found != NULL ? &found->tensor : NULL;
}
