/*
 * A backbone cut in two for training (docs/training.md): the front, which stays as it is and
 * runs in oneDNN, and the tail behind the last strided block (dnsel/backbone_tail.h), which is
 * trained. EfficientNet-Lite only.
 */
#ifndef DNSEL_BACKBONE_SPLIT_H
#define DNSEL_BACKBONE_SPLIT_H

#include "dnsel/backbone.h"
#include "dnsel/backbone_tail.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out = the tail of `graph` with its weights. `out_dim` is what whitening will give.
 * DNS_ERR_UNSUPPORTED for a network that is not made of inverted residual blocks. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_tail_of(dns_backbone_tail **out,
                                                       const dns_backbone *backbone,
                                                       const dns_graph *graph, size_t out_dim,
                                                       bool training);

/* The front, compiled; immutable; one thread runs one session. */
typedef struct dns_backbone_front dns_backbone_front;

DNS_API DNS_MUST_CHECK dns_status dns_backbone_front_create(dns_backbone_front **out,
                                                            const dns_backbone *backbone,
                                                            const dns_graph *graph);
DNS_API void dns_backbone_front_free(dns_backbone_front *front);

/* Values of a picture: trunk [size, size, channels], and 9 regions of `fixed` values. */
DNS_API size_t dns_backbone_front_trunk(const dns_backbone_front *front);
DNS_API size_t dns_backbone_front_fixed(const dns_backbone_front *front);

typedef struct dns_backbone_front_session dns_backbone_front_session;
DNS_API DNS_MUST_CHECK dns_status dns_backbone_front_session_create(
    dns_backbone_front_session **out, const dns_backbone_front *front);
DNS_API void dns_backbone_front_session_free(dns_backbone_front_session *session);

/* trunk [n][trunk] and fixed [n][9][fixed] of frames RGB [n][size][size][3]: what the tail reads.
 */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_front_run(dns_backbone_front_session *session,
                                                         float *trunk, float *fixed,
                                                         const uint8_t *frames, size_t n);

#ifdef __cplusplus
}
#endif

#endif
