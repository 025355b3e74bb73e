/* What the parts of the visil network share. */
#ifndef DNSEL_VISIL_NET_H
#define DNSEL_VISIL_NET_H

#include "dnsel/visil.h"

struct dns_visil {
    dns_visil_shape shape;
    dns_similarity_rule rule;
    dns_parameters *parameters;
    /* Numbers of tensors in it; those that the shape does not have are unused. */
    size_t transform_weight, transform_bias, context, code_weight;
    size_t conv_weight[DNS_COMPARATOR_LAYERS], conv_bias[DNS_COMPARATOR_LAYERS];
    double rescaled_from;
};

static inline bool dns_visil_has_comparator(const dns_visil *net)
{
    return net->shape.channels[0] > 0;
}

/* The comparator's weights as the layer wants them. */
dns_comparator dns_visil_comparator(const dns_visil *net);

#endif
