/*
 * Multi-head self-attention (docs/networks/coarse.md) over packed sequences: the N frames of all
 * videos in one array, each attending to the frames of its own video.
 */
#ifndef DNSEL_SELF_ATTENTION_H
#define DNSEL_SELF_ATTENTION_H

#include "dnsel/dropout.h"
#include "dnsel/pool.h"
#include "dnsel/real.h"
#include "dnsel/sequences.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Entries of the probabilities of all videos: n_heads * sum of the squared lengths. */
DNS_API size_t dns_self_attention_count(dns_sequences videos, size_t n_heads);

/* y [N, dim]: for each head of dim / n_heads columns, softmax(q k^T / sqrt(dim / n_heads)) v, from
 * qkv [N, 3 dim] whose rows are q, k, v. `p` [dns_self_attention_count] keeps the probabilities
 * before dropout for the backward pass, each video's [n_heads, T, T] in turn; NULL when there will
 * be none: memory then stays small for videos of any length. `dropout` NULL: none. DNS_ERR_NOMEM.
 */
DNS_API DNS_MUST_CHECK dns_status dns_self_attention_forward(dns_real *y, dns_real *p,
                                                             const dns_real *qkv,
                                                             dns_sequences videos, size_t n_heads,
                                                             size_t dim, const dns_dropout *dropout,
                                                             dns_pool *pool);

/* dqkv [N, 3 dim] (overwritten) from dy [N, dim], with p and dropout of the forward pass.
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_self_attention_backward(
    dns_real *dqkv, const dns_real *dy, const dns_real *qkv, const dns_real *p,
    dns_sequences videos, size_t n_heads, size_t dim, const dns_dropout *dropout, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
