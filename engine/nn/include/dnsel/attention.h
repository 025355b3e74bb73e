/*
 * Attention gates: one weight in (0, 1) for every vector; the vector is multiplied by it and not
 * normalised again (docs/networks/fine-attention.md).
 */
#ifndef DNSEL_ATTENTION_H
#define DNSEL_ATTENTION_H

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Students and selector: h = tanh(W x + b), gate = sigmoid(u . h), for each row x of x [n, dim]. W
 * [hidden, dim], b and u [hidden]; h [n, hidden] is kept for the way back, gate [n]. */
DNS_API DNS_MUST_CHECK dns_status dns_attention_forward(dns_real *gate, dns_real *h,
                                                        const dns_real *x, const dns_real *w,
                                                        const dns_real *b, const dns_real *u,
                                                        size_t n, size_t dim, size_t hidden,
                                                        dns_pool *pool);

/* From dgate [n]: dx [n, dim] is overwritten (NULL when not wanted); dW, db, du are added to. h is
 * used up: it becomes the gradient of W x + b. */
DNS_API DNS_MUST_CHECK dns_status dns_attention_backward(dns_real *dx, dns_real *dw, dns_real *db,
                                                         dns_real *du, const dns_real *dgate,
                                                         const dns_real *gate, dns_real *h,
                                                         const dns_real *x, const dns_real *w,
                                                         const dns_real *u, size_t n, size_t dim,
                                                         size_t hidden, dns_pool *pool);

/* Teacher: gate = (u . x) / 2 + 1/2 with the unit vector u [dim]. */
DNS_API DNS_MUST_CHECK dns_status dns_attention_teacher_forward(dns_real *gate, const dns_real *x,
                                                                const dns_real *u, size_t n,
                                                                size_t dim, dns_pool *pool);

/* dx [n, dim] is overwritten (NULL when not wanted), du [dim] is added to, rows in order. */
DNS_API DNS_MUST_CHECK dns_status dns_attention_teacher_backward(dns_real *dx, dns_real *du,
                                                                 const dns_real *dgate,
                                                                 const dns_real *x,
                                                                 const dns_real *u, size_t n,
                                                                 size_t dim, dns_pool *pool);

/* y = x * gate, row by row; y may be x. */
DNS_API void dns_attention_apply(dns_real *y, const dns_real *x, const dns_real *gate, size_t n,
                                 size_t dim);

/* The way back of it: dgate [n] = row sums of dy * x; dx = dy * gate (NULL when not wanted; may be
 * dy). */
DNS_API void dns_attention_apply_backward(dns_real *dx, dns_real *dgate, const dns_real *dy,
                                          const dns_real *x, const dns_real *gate, size_t n,
                                          size_t dim);

#ifdef __cplusplus
}
#endif

#endif
