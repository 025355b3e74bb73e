/*
 * The selector network SN (docs/networks/selector.md): how likely is the coarse similarity of two
 * videos wrong?
 *
 *   per video   attention gate on X -> A = M M^T, M_t the mean of the weighted region vectors of
 * frame t -> comparator (zero padding, not clipped) -> mean of its map: one number, stored in the
 * index; per pair    (scalar of the query, scalar of the target, coarse similarity) -> linear,
 * batch norm, ReLU, twice -> linear -> sigmoid: the confidence by which pairs are routed
 * (dnsel/router.h).
 *
 * A selector goes with the coarse and fine networks that it was trained with. All sizes come from
 * the weights; see docs/networks/selector.md.
 */
#ifndef DNSEL_SELECTOR_H
#define DNSEL_SELECTOR_H

#include <stdbool.h>

#include "dnsel/model.h"
#include "dnsel/parameters.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the network ---- */

typedef struct dns_selector_shape {
    size_t dim;         /* D of region vectors */
    size_t hidden;      /* rows of the gate's W */
    size_t channels[3]; /* of the comparator */
    size_t widths[2];   /* of the hidden layers of the MLP */
} dns_selector_shape;

/* Immutable but for training: shared freely between threads. */
typedef struct dns_selector dns_selector;

/* *out = a selector with all weights 0, to be initialised or loaded. With `training` it has room
 * for gradients. Errors: DNS_ERR_ARG for a size of 0. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_create(dns_selector **out,
                                                      const dns_selector_shape *shape,
                                                      bool training);
DNS_API void dns_selector_free(dns_selector *net);

/* The selector whose tensors, under their published names (docs/networks/selector.md), stand in the
 * file behind `prefix`. Errors: DNS_ERR_NOTFOUND, DNS_ERR_SHAPE, DNS_ERR_RANGE, all naming the
 * tensor.
 */
DNS_API DNS_MUST_CHECK dns_status dns_selector_load(dns_selector **out, const dns_safetensors *file,
                                                    const char *prefix, bool training);

/* The same from the section "selector" of a model. Errors also: DNS_ERR_UNSUPPORTED when it has
 * none. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_from_model(dns_selector **out,
                                                          const dns_model *model);

DNS_API const dns_selector_shape *dns_selector_shape_of(const dns_selector *net);

/* The parameters, running statistics of batch norm and the batches counted among them, for the
 * optimiser, and for saving under the published names. */
DNS_API dns_parameters *dns_selector_parameters(const dns_selector *net);

/* First values: comparator and MLP Xavier uniform, biases 0 but the last, which is uniform
 * +-1/sqrt(fan in), as the gate; batch norm 1 and 0, running statistics 0 and 1. */
DNS_API void dns_selector_initialise(dns_selector *net, dns_random *random);

/* ---- in use ---- */

/* Packed weights and scratch for one thread at a time. It keeps nothing of the net; after training
 * make another one. */
typedef struct dns_selector_session dns_selector_session;
DNS_API DNS_MUST_CHECK dns_status dns_selector_session_create(dns_selector_session **out,
                                                              const dns_selector *net);
DNS_API void dns_selector_session_free(dns_selector_session *session);

enum { DNS_SELECTOR_CHUNK = 2048 }; /* frames */

/* *scalar of one video X [n_frames, n_regions, D], which is extended to at least 4 frames by
 * appending itself. A video above DNS_SELECTOR_CHUNK frames is cut into chunks of that length,
 * those below 4 frames are left out, and the scalar is the mean over the others: the map grows with
 * the square of the length. Errors: DNS_ERR_ARG ("no frames"), DNS_ERR_RANGE (not finite),
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_scalar(dns_selector_session *session, float *scalar,
                                                      const float *x, size_t n_frames,
                                                      size_t n_regions);

/* The self-similarity [*n_frames, *n_frames] of the last video's last chunk; borrowed until the
 * next call. NULL before. */
DNS_API const float *dns_selector_last_map(const dns_selector_session *session, size_t *n_frames);

/* confidence[i] in (0, 1) from inputs [n, 3]: scalar of the query, scalar of the target, coarse
 * similarity. Errors: DNS_ERR_RANGE (not finite). */
DNS_API DNS_MUST_CHECK dns_status dns_selector_confidence(dns_selector_session *session,
                                                          float *confidence, const float *inputs,
                                                          size_t n);

/* The same for one query against n targets, several times faster: with the query fixed the first
 * hidden layer cuts the plane of (scalar, coarse) into cells within which the second layer is
 * affine. Agrees with dns_selector_confidence to rounding. `pool` may be NULL; results are the same
 * for any number of threads. Errors: DNS_ERR_RANGE (not finite), DNS_ERR_LIMIT (n above 2^32 - 1),
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_route(dns_selector_session *session,
                                                     float *confidence, float query,
                                                     const float *targets, const float *coarse,
                                                     size_t n, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
