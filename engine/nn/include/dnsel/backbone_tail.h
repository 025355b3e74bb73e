/*
 * The last blocks of an EfficientNet-Lite as a network that can be trained (docs/training.md):
 * from the map in front of them to whitened region vectors.
 *
 *     trunk [n, s, s, in] -> inverted residual blocks -> head: ReLU6(1x1) [n, s, s, head]
 *       -> maximum over 3x3 windows [n, 9, head] -> norm -> beside the fixed taps [n, 9, fixed +
 * head] -> norm
 *       -> (x - mean) M -> norm: [n, 9, out]
 *
 * The taps before the trunk are not trained: they come in pooled and normalised. Mean and M
 * (whitening) are fixed too.
 */
#ifndef DNSEL_BACKBONE_TAIL_H
#define DNSEL_BACKBONE_TAIL_H

#include "dnsel/parameters.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DNS_TAIL_BLOCKS = 8, DNS_TAIL_REGIONS = 9 };

/* Convolution layers are named as in the backbone's graph; parameters are "<name>.weight" [out, in
 * / groups, k, k] and
 * "<name>.bias" [out]. */
typedef struct dns_tail_block {
    const char *expand, *depthwise, *project;
    size_t in, expanded, out, kernel;
} dns_tail_block;

typedef struct dns_tail_shape {
    size_t size; /* s */
    size_t n_blocks;
    dns_tail_block blocks[DNS_TAIL_BLOCKS];
    const char *head_name;
    size_t head;
    size_t window, stride; /* of the regions in the head's map */
    size_t fixed;          /* values a region of the taps before */
    size_t out;            /* after whitening */
} dns_tail_shape;

typedef struct dns_backbone_tail dns_backbone_tail;

/* *out = the network, weights 0. The names are copied. Errors: DNS_ERR_SHAPE when blocks or windows
 * do not fit. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_tail_create(dns_backbone_tail **out,
                                                           const dns_tail_shape *shape,
                                                           bool training);
DNS_API void dns_backbone_tail_free(dns_backbone_tail *net);
DNS_API dns_parameters *dns_backbone_tail_parameters(const dns_backbone_tail *net);

/* Values of a region: whitened, and joined before whitening (fixed + head). */
DNS_API size_t dns_backbone_tail_out(const dns_backbone_tail *net);
DNS_API size_t dns_backbone_tail_joined(const dns_backbone_tail *net);

/* mean [fixed + head] and matrix [fixed + head, out], copied. */
DNS_API void dns_backbone_tail_set_whitening(dns_backbone_tail *net, const dns_real *mean,
                                             const dns_real *matrix);

/* One batch; borrowed. */
typedef struct dns_tail_batch {
    const dns_real *trunk; /* [n, s, s, in of the first block] */
    const dns_real *fixed; /* [n, 9, fixed], each tap of unit length */
    size_t n;
} dns_tail_batch;

/* regions [n, 9, out] of unit length. joined [n, 9, fixed + head], what whitening is learnt from,
 * is also given out unless NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_tail_forward(dns_backbone_tail *net,
                                                            dns_real *regions, dns_real *joined,
                                                            const dns_tail_batch *batch,
                                                            dns_pool *pool);

/* Adds to the gradients of the parameters, from dregions [n, 9, out]. `batch` is that of the last
 * forward call. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_tail_backward(dns_backbone_tail *net,
                                                             const dns_real *dregions,
                                                             const dns_tail_batch *batch,
                                                             dns_pool *pool);

/*
 * Similarities of n pictures with m pictures by their region vectors: s[i, j] = 1/R sum_o max_p
 * <a_io, b_jp>, as frames are compared (docs/training.md). winners [n * R, m] keeps the p of each
 * maximum for the way back.
 */
DNS_API DNS_MUST_CHECK dns_status dns_region_contrast_forward(dns_real *s, uint8_t *winners,
                                                              const dns_real *a, const dns_real *b,
                                                              size_t n, size_t m, size_t n_regions,
                                                              size_t dim, dns_pool *pool);
/* da [n, R, dim] and db [m, R, dim] += the gradients from ds [n, m]. */
DNS_API DNS_MUST_CHECK dns_status dns_region_contrast_backward(
    dns_real *da, dns_real *db, const dns_real *ds, const uint8_t *winners, const dns_real *a,
    const dns_real *b, size_t n, size_t m, size_t n_regions, size_t dim, dns_pool *pool);

/* Two views of each of n pictures of different scenes: region vectors [n, R, dim] each. */
typedef struct dns_region_pairs {
    const dns_real *a, *b;
    size_t n, n_regions, dim;
    double tau;
} dns_region_pairs;

/* *loss = (InfoNCE(S(a, b)) + InfoNCE(S(b, a))) / 2 with the similarities above (docs/training.md
 * 12, 13); da and db += its gradients. */
DNS_API DNS_MUST_CHECK dns_status dns_region_info_nce(double *loss, dns_real *da, dns_real *db,
                                                      const dns_region_pairs *pairs,
                                                      dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
