/*
 * The selector's MLP in use: batch norm folded into the linear layers, widths filled up with zeros
 * to whole vectors.
 */
#ifndef DNSEL_SELECTOR_MLP_H
#define DNSEL_SELECTOR_MLP_H

#include "selector_net.h"

typedef struct selector_mlp {
    size_t widths[2]; /* multiples of 8 */
    float *in;        /* [3 + 1, widths[0]]: a column of weights for each input, then biases */
    float *between;   /* [widths[0], widths[1]]: a row for each unit of the first layer */
    float *bias;      /* [widths[1]] */
    float *last;      /* [widths[1]] */
    float last_bias;
} selector_mlp;

dns_status dns_selector_mlp_create(selector_mlp *out, const dns_selector *net);
void dns_selector_mlp_free(selector_mlp *mlp);

/* dns_selector_confidence and dns_selector_route without a session. */
dns_status dns_selector_mlp_run(float *confidence, const selector_mlp *mlp, const float *inputs,
                                size_t n);
dns_status dns_selector_mlp_route(float *confidence, const selector_mlp *mlp, float query,
                                  const float *targets, const float *coarse, size_t n,
                                  dns_pool *pool);

#endif
