/*
 * PCA whitening of region features (docs/features.md): norm((x - mean) M), from 2336 or 3840 values
 * to 512; and learning it.
 */
#ifndef DNSEL_WHITENING_H
#define DNSEL_WHITENING_H

#include "dnsel/model.h"
#include "dnsel/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A mean [in_dim] and a matrix M [in_dim][out_dim]. Immutable; shared freely; keeps nothing of
 * where it came from. */
typedef struct dns_whitening dns_whitening;

/* From tensors "pca.mean" [in], "pca.DVt" [in, out] (the published extractor, our models; any
 * floating type), or "mean" [in], "d" [in] and "V" [in, in], the published PCA: eigenvalues and
 * eigenvectors in columns, of which M's column k is V[:,k] / sqrt(d[k] + 1e-7), d descending. Only
 * the first `out_dim` columns are kept; 0 keeps all. DNS_ERR_NOTFOUND, DNS_ERR_SHAPE, DNS_ERR_RANGE
 * (not finite, an eigenvalue below -1e-7 of the largest). */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_load(dns_whitening **out,
                                                     const dns_safetensors *file, size_t out_dim);
/* From arrays, which are copied. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_create(dns_whitening **out, const float *mean,
                                                       const float *matrix, size_t in_dim,
                                                       size_t out_dim);
DNS_API void dns_whitening_free(dns_whitening *whitening);

DNS_API size_t dns_whitening_in_dim(const dns_whitening *whitening);
DNS_API size_t dns_whitening_out_dim(const dns_whitening *whitening);
/* Borrowed: [in_dim] and [in_dim][out_dim]. */
DNS_API const float *dns_whitening_mean(const dns_whitening *whitening);
DNS_API const float *dns_whitening_matrix(const dns_whitening *whitening);

/* out [n][out_dim] = norm((in - mean) M), row by row; unit length. One product: most efficient for
 * all regions of a video at once, at least some hundred rows. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_apply(const dns_whitening *whitening, float *out,
                                                      const float *in, size_t n);

/* Puts the whitening into a model directory (dnsel/model.h) as section "whitening", together with
 * `n_more` other edits in the same step. The matrix is stored in half precision, times a power of
 * two that makes its largest entry about 1: no result depends on its scale. `provenance` is a JSON
 * object that says what it was learnt from; NULL: none. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_save(const dns_whitening *whitening,
                                                     const char *directory, const char *provenance,
                                                     const dns_model_edit *more, size_t n_more);

/* ---- learning ---- */

/* Mean and scatter matrix of the vectors seen so far, in double precision: dim * dim * 8 bytes. One
 * thread at a time; several learners can be merged. */
typedef struct dns_whitening_learner dns_whitening_learner;

DNS_API DNS_MUST_CHECK dns_status dns_whitening_learner_create(dns_whitening_learner **out,
                                                               size_t dim);
DNS_API void dns_whitening_learner_free(dns_whitening_learner *learner);

/* n more vectors [n][dim]; best some hundred at once. DNS_ERR_RANGE when one is not finite. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_learner_add(dns_whitening_learner *learner,
                                                            const float *vectors, size_t n);
/* Adds what `other` has seen. Equal to having seen it here, but for rounding. DNS_ERR_SHAPE. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_learner_merge(dns_whitening_learner *learner,
                                                              const dns_whitening_learner *other);
DNS_API size_t dns_whitening_learner_count(const dns_whitening_learner *learner);

/* The published formula: eigenvectors of the scatter matrix (not divided by the count), the
 * `out_dim` largest. What the learner has seen stays. DNS_ERR_ARG when out_dim is 0 or above dim;
 * DNS_ERR_LIMIT when fewer than out_dim + 1 vectors were seen. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_learner_solve(dns_whitening **out,
                                                              const dns_whitening_learner *learner,
                                                              size_t out_dim);

#ifdef __cplusplus
}
#endif

#endif
