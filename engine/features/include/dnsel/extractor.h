/*
 * Frames become raw region features: [n][9][dim], regions row-major in the 3x3 grid
 * (docs/features.md). Whitening (dnsel/whitening.h) makes region vectors of them.
 */
#ifndef DNSEL_EXTRACTOR_H
#define DNSEL_EXTRACTOR_H

#include "dnsel/backbone.h"
#include "dnsel/media.h"
#include "dnsel/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the pieces ---- */

/* Bytes as the network wants them: out[i] = (frames[i] - mean[i % 3]) / deviation[i % 3] of
 * n_pixels RGB pixels. */
DNS_API void dns_frames_normalise(float *out, const uint8_t *frames, size_t n_pixels,
                                  const dns_backbone *backbone);

/* The 9 region maxima of map number `index`: region r goes to out + r * stride_out, map->channels
 * values each. Integer maps are scaled. DNS_ERR_SHAPE when the windows leave the map. */
DNS_API DNS_MUST_CHECK dns_status dns_region_pool(float *out, size_t stride_out, const dns_map *map,
                                                  size_t index, size_t window, size_t stride);

/* ---- a whole extractor ---- */

typedef struct dns_extractor_options {
    const char *backbone_path; /* NULL: dns_backbone_path */
    /* -1: what the model asks for, f32 where this processor cannot do it; otherwise a
     * dns_precision. */
    int precision;
    size_t batch; /* frames a run of the network; 0: what is fastest as a rule */
} dns_extractor_options;

DNS_API dns_extractor_options dns_extractor_options_default(void);

/* Immutable; shared freely. Nothing of the model is kept. */
typedef struct dns_extractor dns_extractor;

/* *graph and *backbone of a model's "backbone" section: the installed weights, or those at `path`
 * unless NULL, with the model's tail. Errors as below. */
DNS_API DNS_MUST_CHECK dns_status dns_model_backbone_graph(dns_graph **graph,
                                                           const dns_backbone **backbone,
                                                           const dns_model *model,
                                                           const char *path);

/* The extractor of a model's "backbone" section (docs/model-format.md): the backbone's weights with
 * the model's tail, if it has one. `options` may be NULL. Errors: DNS_ERR_NOTFOUND with the path
 * and how to get the file, when the backbone is not installed; DNS_ERR_MODEL when its digest is not
 * the one that the model was made with; DNS_ERR_FORMAT, DNS_ERR_UNSUPPORTED (section); those of
 * dns_backbone_graph and dns_convnet_create. */
DNS_API DNS_MUST_CHECK dns_status dns_extractor_open(dns_extractor **out, const dns_model *model,
                                                     const dns_extractor_options *options);

/* The same from a graph of dns_backbone_graph; `ranges` [dns_graph_size] for INT8, otherwise NULL.
 */
DNS_API DNS_MUST_CHECK dns_status dns_extractor_create(dns_extractor **out,
                                                       const dns_backbone *backbone,
                                                       const dns_graph *graph, size_t batch,
                                                       dns_precision precision,
                                                       const float *ranges);

/* After all its sessions. NULL is fine. */
DNS_API void dns_extractor_free(dns_extractor *extractor);

DNS_API const dns_backbone *dns_extractor_backbone(const dns_extractor *extractor);
DNS_API dns_precision dns_extractor_precision(const dns_extractor *extractor);
/* What runs, for reports. Borrowed. */
DNS_API const dns_convnet *dns_extractor_net(const dns_extractor *extractor);

/* Working memory of one thread. */
typedef struct dns_extractor_session dns_extractor_session;

DNS_API DNS_MUST_CHECK dns_status dns_extractor_session_create(dns_extractor_session **out,
                                                               const dns_extractor *extractor);
DNS_API void dns_extractor_session_free(dns_extractor_session *session);

/* regions [n][9][region_dim] of frames [n][size][size][3], RGB: per tap and region the maxima,
 * L2-normalised; the taps side by side, L2-normalised. A frame's features do not depend on the
 * frames around it. */
DNS_API DNS_MUST_CHECK dns_status dns_extractor_run(dns_extractor_session *session, float *regions,
                                                    const uint8_t *frames, size_t n);

/* The same for just one batch of dns_convnet_batch frames, with the time of every step of
 * dns_extractor_net added to `seconds` [dns_convnet_n_steps]. */
DNS_API DNS_MUST_CHECK dns_status dns_extractor_profile(dns_extractor_session *session,
                                                        double *seconds, float *regions,
                                                        const uint8_t *frames);

/* How a model wants its frames, from its "preprocessing" section: sampling, geometry,
 * interpolation, short_side, size; the defaults of dns_media_options where it is silent.
 * DNS_ERR_FORMAT. */
DNS_API DNS_MUST_CHECK dns_status dns_model_media_options(dns_media_options *out,
                                                          const dns_model *model);

#ifdef __cplusplus
}
#endif

#endif
