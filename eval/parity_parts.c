/* What the checks of all families do alike with their files. */
#include <stdio.h>

#include "dnsel/memory.h"
#include "parity_set.h"

dns_status dns_parity_inputs(dns_parity *p, const dns_safetensors **out, const char *name,
                             const char *shared)
{
    char file[300];
    snprintf(file, sizeof file, "%s.inputs", name);
    dns_status status = dns_parity_file(p, out, file);
    return status != DNS_OK || *out != NULL ? status : dns_parity_need(p, out, shared);
}

dns_status dns_parity_video(float **x, size_t shape[3], const dns_safetensors *inputs,
                            const char *set, const char *video, size_t dim)
{
    dns_status status = DNS_OK;
    char name[256];
    const dns_tensor *t;
    dns_free(*x);
    *x = NULL;
    snprintf(name, sizeof name, "input.%s", video);
    DNS_TRY(dns_parity_tensor(&t, inputs, name));
    if (t->rank != 3 || t->shape[2] != dim)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: '%s' does not fit the network", set, name);
    DNS_TRY(dns_alloc(x, dns_tensor_count(t), sizeof **x));
    dns_tensor_to_f32(*x, t);
    for (size_t i = 0; i < 3; i++)
        shape[i] = t->shape[i];
out:
    return status;
}

dns_status dns_parity_short(dns_parity *p, const char *name, dns_parity_short_visit visit,
                            void *payload)
{
    dns_status status = DNS_OK;
    const dns_safetensors *expected, *inputs;
    const char *rest;
    DNS_TRY(dns_parity_file(p, &expected, "short.expected"));
    for (size_t i = 0; expected != NULL && i < dns_safetensors_count(expected); i++) {
        const char *tensor = dns_safetensors_name(expected, i);
        if ((rest = dns_parity_after(tensor, name)) == NULL || rest[0] != '.')
            continue;
        DNS_TRY(dns_parity_need(p, &inputs, "short.inputs"));
        DNS_TRY(visit(payload, tensor, rest + 1, dns_safetensors_at(expected, i), inputs));
    }
out:
    return status;
}

dns_status dns_parity_name_rest(dns_parity *p, const char *set, const dns_safetensors *train,
                                const char *const *known)
{
    for (size_t i = 0; i < dns_safetensors_count(train); i++) {
        const char *name = dns_safetensors_name(train, i);
        size_t k = 0;
        while (known[k] != NULL && dns_parity_after(name, known[k]) == NULL)
            k++;
        dns_status status = known[k] != NULL ? DNS_OK : dns_parity_unknown(p, set, name);
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}
