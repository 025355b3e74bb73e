#include "section_weights.h"

#include <string.h>

#include "dnsel/memory.h"

static dns_status convert(void **out, const dns_parameters *p, size_t index, dns_dtype dtype)
{
    const float *w = dns_parameters_weight(p, index);
    size_t n = dns_parameters_at(p, index)->count;
    dns_status status = dns_alloc(out, n, dtype == DNS_I64 ? 8 : dtype == DNS_F32 ? 4 : 2);
    if (status != DNS_OK)
        return status;
    if (dtype == DNS_F32)
        memcpy(*out, w, n * sizeof *w);
    for (size_t i = 0; dtype == DNS_F16 && i < n; i++)
        ((uint16_t *)*out)[i] = dns_f16_from_f32(w[i]);
    for (size_t i = 0; dtype == DNS_I64 && i < n; i++)
        ((int64_t *)*out)[i] = (int64_t)w[i];
    return DNS_OK;
}

dns_status dns_section_weights_of(dns_section_weights *out, const dns_parameters *p,
                                  dns_dtype dtype)
{
    dns_status status = DNS_OK;
    *out = (dns_section_weights){.n = dns_parameters_count(p)};
    if (out->n > DNS_SECTION_TENSORS)
        return dns_status_set(DNS_ERR_LIMIT, "%zu tensors in a section", out->n);
    for (size_t i = 0; i < out->n && status == DNS_OK; i++) {
        const dns_parameter *q = dns_parameters_at(p, i);
        bool counter = q->kind == DNS_PARAMETER_COUNTER;
        status = convert(&out->blocks[i], p, i, counter ? DNS_I64 : dtype);
        out->tensors[i] = (dns_named_tensor){
            q->name, {.dtype = counter ? DNS_I64 : dtype, .rank = q->rank, .data = out->blocks[i]}};
        memcpy(out->tensors[i].tensor.shape, q->shape, q->rank * sizeof *q->shape);
    }
    return status;
}

void dns_section_weights_free(dns_section_weights *w)
{
    for (size_t i = 0; i < DNS_SECTION_TENSORS; i++)
        dns_free(w->blocks[i]);
    *w = (dns_section_weights){0};
}
