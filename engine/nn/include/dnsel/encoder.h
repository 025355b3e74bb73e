/*
 * Transformer encoder layer, post-norm (docs/networks/coarse.md), over packed sequences
 * (dnsel/sequences.h) of N frames in all:
 *
 *     x1 = LN1(x  + drop(Wo attention(Wi x + bi) + bo))
 *     y  = LN2(x1 + drop(W2 drop(relu(W1 x1 + b1)) + b2))
 *
 * Attention drops probabilities too. No positional encoding: the order of frames does not matter.
 */
#ifndef DNSEL_ENCODER_H
#define DNSEL_ENCODER_H

#include <stdbool.h>

#include "dnsel/dropout.h"
#include "dnsel/pool.h"
#include "dnsel/real.h"
#include "dnsel/sequences.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_encoder_tensor {
    DNS_ENCODER_IN_W,  /* Wi [3 dim, dim]: rows of q, of k, of v */
    DNS_ENCODER_IN_B,  /* bi [3 dim] */
    DNS_ENCODER_OUT_W, /* Wo [dim, dim] */
    DNS_ENCODER_OUT_B,
    DNS_ENCODER_LINEAR1_W, /* W1 [hidden, dim] */
    DNS_ENCODER_LINEAR1_B,
    DNS_ENCODER_LINEAR2_W, /* W2 [dim, hidden] */
    DNS_ENCODER_LINEAR2_B,
    DNS_ENCODER_NORM1_W, /* [dim] */
    DNS_ENCODER_NORM1_B,
    DNS_ENCODER_NORM2_W,
    DNS_ENCODER_NORM2_B,
    DNS_ENCODER_TENSORS
} dns_encoder_tensor;

typedef struct dns_encoder {
    size_t dim, n_heads, hidden; /* dim is a multiple of n_heads */
    const dns_real *w[DNS_ENCODER_TENSORS];
} dns_encoder;

/* Working memory of the passes, and what forward keeps for backward. It grows, and belongs to one
 * caller at a time. */
typedef struct dns_encoder_tape dns_encoder_tape;
DNS_API DNS_MUST_CHECK dns_status dns_encoder_tape_create(dns_encoder_tape **out);
DNS_API void dns_encoder_tape_free(dns_encoder_tape *tape);

/* y [N, dim] from x [N, dim]. With `keep` the tape is ready for the backward pass; without, it
 * takes less memory. `dropout` NULL: none (inference). DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_encoder_forward(dns_real *y, dns_encoder_tape *tape,
                                                      bool keep, const dns_real *x,
                                                      dns_sequences videos,
                                                      const dns_encoder *encoder,
                                                      const dns_dropout *dropout, dns_pool *pool);

/* dx [N, dim] (overwritten; may be dy) from dy [N, dim]; adds to gradients[DNS_ENCODER_TENSORS].
 * Everything else is as it was in the last forward pass with `keep`. DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_encoder_backward(dns_real *dx, dns_real *const *gradients,
                                                       const dns_real *dy, dns_encoder_tape *tape,
                                                       const dns_real *x, dns_sequences videos,
                                                       const dns_encoder *encoder,
                                                       const dns_dropout *dropout, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
