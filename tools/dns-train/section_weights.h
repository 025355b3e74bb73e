/* The parameters of a network as tensors of a model's section. */
#ifndef DNS_SECTION_WEIGHTS_H
#define DNS_SECTION_WEIGHTS_H

#include "dnsel/model.h"
#include "dnsel/parameters.h"

enum { DNS_SECTION_TENSORS = 64 };

/* Start with {0}, always free. Tensors borrow names from the parameters. */
typedef struct dns_section_weights {
    dns_named_tensor tensors[DNS_SECTION_TENSORS];
    size_t n;
    void *blocks[DNS_SECTION_TENSORS];
} dns_section_weights;

/* All parameters, counters as I64, the rest as `dtype`: F32, or F16, which is read back to within
 * 2^-11. */
DNS_MUST_CHECK dns_status dns_section_weights_of(dns_section_weights *out, const dns_parameters *p,
                                                 dns_dtype dtype);
void dns_section_weights_free(dns_section_weights *weights);

#endif
