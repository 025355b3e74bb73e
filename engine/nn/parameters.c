#include "dnsel/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"

enum { N_BLOCKS = 4, ALIGNMENT = 16 };

struct dns_parameters {
    dns_parameter *tensors;
    size_t n_tensors, capacity;
    size_t size; /* of a block, once allocated */
    dns_real *blocks[N_BLOCKS];
};

dns_status dns_parameters_create(dns_parameters **out)
{
    return dns_alloc(out, 1, sizeof **out);
}

void dns_parameters_free(dns_parameters *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n_tensors; i++)
        dns_free((char *)p->tensors[i].name);
    for (size_t i = 0; i < N_BLOCKS; i++)
        dns_free(p->blocks[i]);
    dns_free(p->tensors);
    dns_free(p);
}

dns_status dns_parameters_add(dns_parameters *p, size_t *index, const char *name, size_t rank,
                              const size_t *shape, dns_parameter_kind kind)
{
    if (p->blocks[DNS_WEIGHTS] != NULL)
        return dns_status_set(DNS_ERR_ARG, "parameter '%s' added after allocation", name);
    if (dns_parameters_find(p, name) != p->n_tensors)
        return dns_status_set(DNS_ERR_EXISTS, "parameter '%s' added twice", name);
    if (rank > DNS_PARAMETER_RANK)
        return dns_status_set(DNS_ERR_SHAPE, "parameter '%s': rank %zu", name, rank);
    size_t total = 0;
    for (size_t i = 0; i < p->n_tensors; i++)
        total += p->tensors[i].count;
    dns_parameter added = {.rank = rank, .count = 1, .kind = kind, .rate = 1};
    for (size_t i = 0; i < rank; i++) {
        added.shape[i] = shape[i];
        if (shape[i] == 0)
            return dns_status_set(DNS_ERR_SHAPE, "parameter '%s' is empty", name);
        if (!dns_size_multiply(added.count, shape[i], &added.count) || added.count > (size_t)1
                                                                                         << 31)
            return dns_status_set(DNS_ERR_LIMIT, "parameter '%s' is too large", name);
    }
    if (total + added.count > (size_t)1 << 31)
        return dns_status_set(DNS_ERR_LIMIT, "parameter '%s': too many in all", name);
    dns_status status = DNS_OK;
    char *copy = NULL;
    DNS_TRY(dns_reserve(&p->tensors, &p->capacity, p->n_tensors + 1, sizeof *p->tensors));
    DNS_TRY(dns_string_copy(&copy, name));
    added.name = copy;
    *index = p->n_tensors;
    p->tensors[p->n_tensors++] = added;
out:
    return status;
}

dns_status dns_parameters_allocate(dns_parameters *p, bool training)
{
    if (p->blocks[DNS_WEIGHTS] != NULL)
        return dns_status_set(DNS_ERR_ARG, "parameters allocated twice");
    dns_status status = DNS_OK;
    size_t size = 0;
    for (size_t i = 0; i < p->n_tensors; i++) {
        p->tensors[i].offset = size;
        size += (p->tensors[i].count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    p->size = size;
    for (size_t i = 0; i < (training ? N_BLOCKS : 1); i++)
        DNS_TRY(dns_alloc(&p->blocks[i], size, sizeof(dns_real)));
out:
    return status;
}

size_t dns_parameters_count(const dns_parameters *p)
{
    return p->n_tensors;
}

const dns_parameter *dns_parameters_at(const dns_parameters *p, size_t index)
{
    return &p->tensors[index];
}

size_t dns_parameters_find(const dns_parameters *p, const char *name)
{
    size_t i = 0;
    while (i < p->n_tensors && strcmp(p->tensors[i].name, name) != 0)
        i++;
    return i;
}

size_t dns_parameters_set_rate(dns_parameters *p, const char *prefix, double rate)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_tensors; i++) {
        if (strncmp(p->tensors[i].name, prefix, strlen(prefix)) == 0) {
            p->tensors[i].rate = rate;
            n++;
        }
    }
    return n;
}

static dns_real *tensor_in(const dns_parameters *p, dns_parameter_block block, size_t index)
{
    return p->blocks[block] == NULL ? NULL : p->blocks[block] + p->tensors[index].offset;
}

dns_real *dns_parameters_weight(const dns_parameters *p, size_t index)
{
    return tensor_in(p, DNS_WEIGHTS, index);
}

dns_real *dns_parameters_gradient(const dns_parameters *p, size_t index)
{
    return tensor_in(p, DNS_GRADIENTS, index);
}

size_t dns_parameters_size(const dns_parameters *p)
{
    return p->size;
}

dns_real *dns_parameters_block(const dns_parameters *p, dns_parameter_block block)
{
    return p->blocks[block];
}

void dns_parameters_zero_gradients(dns_parameters *p)
{
    if (p->blocks[DNS_GRADIENTS] != NULL)
        memset(p->blocks[DNS_GRADIENTS], 0, p->size * sizeof(dns_real));
}

void dns_parameters_set_xavier(dns_parameters *p, size_t index, dns_random *random)
{
    const dns_parameter *t = &p->tensors[index];
    size_t out = t->rank > 0 ? t->shape[0] : 1, in = t->rank > 1 ? t->shape[1] : 1, kernel = 1;
    for (size_t i = 2; i < t->rank; i++)
        kernel *= t->shape[i];
    dns_parameters_set_uniform(p, index, sqrt(6.0 / (double)((in + out) * kernel)), random);
}

void dns_parameters_set_uniform(dns_parameters *p, size_t index, double bound, dns_random *random)
{
    dns_real *w = dns_parameters_weight(p, index);
    for (size_t i = 0; i < p->tensors[index].count; i++)
        w[i] = (dns_real)((2 * dns_random_uniform(random) - 1) * bound);
}

void dns_parameters_set_normal(dns_parameters *p, size_t index, double deviation,
                               dns_random *random)
{
    dns_real *w = dns_parameters_weight(p, index);
    for (size_t i = 0; i < p->tensors[index].count; i++)
        w[i] = (dns_real)(dns_random_normal(random) * deviation);
}

void dns_parameters_set_constant(dns_parameters *p, size_t index, double value)
{
    dns_real *w = dns_parameters_weight(p, index);
    for (size_t i = 0; i < p->tensors[index].count; i++)
        w[i] = (dns_real)value;
}

/* ---- files ---- */

static dns_status check_shape(const dns_parameter *t, const dns_tensor *stored, const char *path,
                              const char *name)
{
    bool same = stored->rank == t->rank;
    for (size_t i = 0; same && i < t->rank; i++)
        same = stored->shape[i] == t->shape[i];
    if (same)
        return DNS_OK;
    char got[128], wanted[128];
    dns_tensor expected = {.rank = t->rank};
    memcpy(expected.shape, t->shape, sizeof t->shape);
    dns_tensor_shape_text(stored, got, sizeof got);
    dns_tensor_shape_text(&expected, wanted, sizeof wanted);
    return dns_status_set(DNS_ERR_SHAPE, "%s: tensor '%s': shape %s, expected %s", path, name, got,
                          wanted);
}

static dns_status load_tensor(dns_real *out, const dns_parameter *t, const dns_safetensors *file,
                              const char *prefix)
{
    dns_status status = DNS_OK;
    char *name = NULL;
    float *values = NULL;
    DNS_TRY(dns_string_format(&name, "%s%s", prefix, t->name));
    const char *path = dns_safetensors_path(file);
    const dns_tensor *stored = dns_safetensors_find(file, name);
    if (stored == NULL)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no tensor '%s'", path, name);
    DNS_TRY(check_shape(t, stored, path, name));
    DNS_TRY(dns_alloc(&values, t->count, sizeof *values));
    dns_tensor_to_f32(values, stored);
    for (size_t i = 0; i < t->count; i++) {
        if (!isfinite(values[i]))
            DNS_FAIL(DNS_ERR_RANGE, "%s: tensor '%s': entry %zu is not finite", path, name, i);
        out[i] = values[i];
    }
out:
    dns_free(values);
    dns_free(name);
    return status;
}

static dns_status load_block(dns_parameters *p, dns_parameter_block block,
                             const dns_safetensors *file, const char *prefix)
{
    for (size_t i = 0; i < p->n_tensors; i++) {
        dns_status status = load_tensor(tensor_in(p, block, i), &p->tensors[i], file, prefix);
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}

dns_status dns_parameters_load(dns_parameters *p, const dns_safetensors *file, const char *prefix)
{
    return load_block(p, DNS_WEIGHTS, file, prefix);
}

/* What a file is made of: names and converted values live until it has been written. */
struct listing {
    dns_named_tensor *tensors;
    size_t n;
    char **names;
    void **values;
};

static dns_status list_tensor(struct listing *list, const dns_parameter *t, const dns_real *from,
                              const char *prefix)
{
    dns_status status = DNS_OK;
    size_t n = list->n++;
    DNS_TRY(dns_string_format(&list->names[n], "%s%s", prefix, t->name));
    if (t->kind == DNS_PARAMETER_COUNTER) {
        int64_t *whole = NULL;
        DNS_TRY(dns_alloc(&whole, t->count, sizeof *whole));
        for (size_t i = 0; i < t->count; i++)
            whole[i] = (int64_t)from[i];
        list->values[n] = whole;
    } else {
        float *values = NULL;
        DNS_TRY(dns_alloc(&values, t->count, sizeof *values));
        for (size_t i = 0; i < t->count; i++)
            values[i] = (float)from[i];
        list->values[n] = values;
    }
    dns_tensor *tensor = &list->tensors[n].tensor;
    list->tensors[n].name = list->names[n];
    tensor->dtype = t->kind == DNS_PARAMETER_COUNTER ? DNS_I64 : DNS_F32;
    tensor->rank = t->rank;
    memcpy(tensor->shape, t->shape, sizeof t->shape);
    tensor->data = list->values[n];
out:
    return status;
}

static dns_status save_blocks(const dns_parameters *p, const char *path,
                              const char *const *prefixes, size_t n_blocks,
                              const dns_metadata *metadata, size_t n_metadata)
{
    static const dns_parameter_block blocks[] = {DNS_WEIGHTS, DNS_MOMENT_1, DNS_MOMENT_2};
    dns_status status = DNS_OK;
    struct listing list = {0};
    size_t n = p->n_tensors * n_blocks;
    DNS_TRY(dns_alloc(&list.tensors, n, sizeof *list.tensors));
    DNS_TRY(dns_alloc(&list.names, n, sizeof *list.names));
    DNS_TRY(dns_alloc(&list.values, n, sizeof *list.values));
    for (size_t b = 0; b < n_blocks; b++) {
        for (size_t i = 0; i < p->n_tensors; i++)
            DNS_TRY(list_tensor(&list, &p->tensors[i], tensor_in(p, blocks[b], i), prefixes[b]));
    }
    DNS_TRY(dns_safetensors_write(path, list.tensors, list.n, metadata, n_metadata));
out:
    for (size_t i = 0; i < list.n; i++) {
        dns_free(list.names[i]);
        dns_free(list.values[i]);
    }
    dns_free(list.values);
    dns_free(list.names);
    dns_free(list.tensors);
    return status;
}

dns_status dns_parameters_save(const dns_parameters *p, const char *path,
                               const dns_metadata *metadata, size_t n_metadata)
{
    return save_blocks(p, path, (const char *[]){""}, 1, metadata, n_metadata);
}

dns_status dns_parameters_save_checkpoint(const dns_parameters *p, const char *path,
                                          const dns_metadata *metadata, size_t n_metadata)
{
    if (p->blocks[DNS_MOMENT_1] == NULL)
        return dns_status_set(DNS_ERR_ARG, "a checkpoint needs parameters in training");
    return save_blocks(p, path, (const char *[]){"w/", "m/", "v/"}, 3, metadata, n_metadata);
}

dns_status dns_parameters_load_checkpoint(dns_parameters *p, const dns_safetensors *file)
{
    if (p->blocks[DNS_MOMENT_1] == NULL)
        return dns_status_set(DNS_ERR_ARG, "a checkpoint needs parameters in training");
    dns_status status = DNS_OK;
    DNS_TRY(load_block(p, DNS_WEIGHTS, file, "w/"));
    DNS_TRY(load_block(p, DNS_MOMENT_1, file, "m/"));
    DNS_TRY(load_block(p, DNS_MOMENT_2, file, "v/"));
out:
    return status;
}
