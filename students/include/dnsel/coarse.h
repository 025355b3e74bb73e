/*
 * Coarse networks: region vectors X [T, R, D] of a video become one vector of unit length; two
 * videos are compared by the inner product.
 *
 *   published  S^c (docs/networks/coarse.md): attention gate -> sum over regions -> norm ->
 * transformer encoder -> LayerNorm -> NetVLAD -> linear -> LayerNorm -> norm. 1024 values. mean the
 * normalised mean of the region vectors, by choice times a matrix (docs/networks/coarse.md).
 *
 * The order of frames does not matter to either. All sizes come from the weights; see
 * docs/networks/coarse.md.
 */
#ifndef DNSEL_COARSE_H
#define DNSEL_COARSE_H

#include <stdbool.h>

#include "dnsel/model.h"
#include "dnsel/parameters.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the network ---- */

typedef enum dns_coarse_kind { DNS_COARSE_MEAN, DNS_COARSE_PUBLISHED } dns_coarse_kind;

typedef struct dns_coarse_shape {
    dns_coarse_kind kind;
    size_t dim;      /* D */
    size_t out;      /* length of the answer; for a mean without a matrix it is dim */
    bool projection; /* mean only: there is a matrix */
    /* published only: */
    size_t hidden; /* rows of the gate's W; 0: no gate */
    size_t n_heads, feed_forward, n_clusters;
} dns_coarse_shape;

/* Immutable but for training: shared freely between threads and sessions, which it must outlive. */
typedef struct dns_coarse dns_coarse;

/* *out = a network with all weights 0, to be initialised or loaded. With `training` it has room for
 * gradients. Errors: DNS_ERR_ARG for a shape that contradicts itself. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_create(dns_coarse **out, const dns_coarse_shape *shape,
                                                    bool training);
DNS_API void dns_coarse_free(dns_coarse *net);

/* The network whose tensors stand in the file behind `prefix`: with "netvlad.centroids" the
 * published one, names as in docs/networks/coarse.md; with "projection.weight" [out, D] a mean.
 * `n_heads` cannot be told from the shapes; 0 means 8, as published. Errors: DNS_ERR_NOTFOUND,
 * DNS_ERR_SHAPE, DNS_ERR_RANGE, all naming the tensor. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_load(dns_coarse **out, const dns_safetensors *file,
                                                  const char *prefix, size_t n_heads,
                                                  bool training);

/* The same from the section "coarse" of a model: {"kind": "published", "file": ..., "heads": 8}, or
 * {"kind": "mean"} with either a "file" or the "dim" of the region vectors. Errors also:
 * DNS_ERR_UNSUPPORTED (no such section, an unknown kind), DNS_ERR_FORMAT (a kind that its file
 * contradicts, a mean with neither file nor dim). */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_from_model(dns_coarse **out, const dns_model *model);

DNS_API const dns_coarse_shape *dns_coarse_shape_of(const dns_coarse *net);

/* The parameters, for the optimiser, and for saving under the published names. */
DNS_API dns_parameters *dns_coarse_parameters(const dns_coarse *net);

/* First values (docs/networks/coarse.md): in_proj Xavier uniform; the other linear layers of the
 * encoder and the gate uniform
 * +-1/sqrt(fan in); encoder biases 0; LayerNorms 1 and 0; centroids normal / sqrt(D), the
 * assignment equal to them; the reduction normal / sqrt(its inputs). A mean's matrix: the identity,
 * cut off or with zero rows. */
DNS_API void dns_coarse_initialise(dns_coarse *net, dns_random *random);

/* ---- embedding ---- */

/* Region vectors [n_frames, n_regions, D] of one video; borrowed. */
typedef struct dns_coarse_video {
    const float *x;
    size_t n_frames;
} dns_coarse_video;

/* Frames that a video of n_frames is extended to by appending itself, at least 4
 * (docs/networks/coarse.md): 1 and 2 -> 4, 3 -> 6. 0 stays 0. */
DNS_API size_t dns_coarse_extended(size_t n_frames);

/* Scratch for one caller at a time; `net` and `pool` are borrowed. */
typedef struct dns_coarse_session dns_coarse_session;
DNS_API DNS_MUST_CHECK dns_status dns_coarse_session_create(dns_coarse_session **out,
                                                            const dns_coarse *net, dns_pool *pool);
DNS_API void dns_coarse_session_free(dns_coarse_session *session);

/* embeddings [n_videos, out] of unit length, each video extended to at least 4 frames first. The
 * 128 MB of the published reduction are read once a call, not once a video: give 16 videos or more
 * at once. Errors: DNS_ERR_ARG for a video without frames ("no frames"), DNS_ERR_RANGE for one that
 * is not finite. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_embed(dns_coarse_session *session, float *embeddings,
                                                   const dns_coarse_video *videos, size_t n_videos,
                                                   size_t n_regions);

/* What the last call saw of its last group of videos, at least of the last one, frames after
 * extension; borrowed until the next call. Nothing for a mean. */
typedef struct dns_coarse_stages {
    const float *pooled;  /* [n_frames, D]: attention, sum over regions, norm */
    const float *encoded; /* [n_frames, D]: after the encoder and its last LayerNorm */
    size_t n_frames;
} dns_coarse_stages;

DNS_API dns_coarse_stages dns_coarse_last_stages(const dns_coarse_session *session);

#ifdef __cplusplus
}
#endif

#endif
