/*
 * What fine score does a coarse score promise? A non-decreasing map learned from pairs of which
 * both are known, and how far off it is: for routing by the expected score, and to put pairs that
 * were not routed on the scale of those that were (docs/query.md).
 */
#ifndef DNSEL_CALIBRATION_H
#define DNSEL_CALIBRATION_H

#include "dnsel/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Immutable; shared freely. */
typedef struct dns_calibration dns_calibration;

/* Isotonic regression of fine on coarse scores [n], with weights [n] (NULL: all 1), and the
 * deviation of the fine scores from it in up to 32 stretches of equally many pairs. The scale of
 * `fine` is that of the answers. Errors: DNS_ERR_ARG (n = 0), DNS_ERR_RANGE (a value that is not
 * finite, a weight that is not positive). */
DNS_API DNS_MUST_CHECK dns_status dns_calibration_fit(dns_calibration **out, const float *coarse,
                                                      const float *fine, const float *weights,
                                                      size_t n);
DNS_API void dns_calibration_free(dns_calibration *calibration);

/* From tensors "expected.x", "expected.y" and "deviation.x", "deviation.y" of a file, pairs of the
 * same length. Errors: DNS_ERR_NOTFOUND, DNS_ERR_SHAPE, DNS_ERR_RANGE (x does not increase,
 * expected.y falls, a deviation below 0). */
DNS_API DNS_MUST_CHECK dns_status dns_calibration_load(dns_calibration **out,
                                                       const dns_safetensors *file);
/* The same from the section "calibration" of a model; DNS_ERR_UNSUPPORTED when it has none. */
DNS_API DNS_MUST_CHECK dns_status dns_calibration_from_model(dns_calibration **out,
                                                             const dns_model *model);

enum { DNS_CALIBRATION_TENSORS = 4 };
/* The tensors above, to be written with dns_model_edit_apply or dns_safetensors_write; they borrow
 * from `calibration`. */
DNS_API void dns_calibration_tensors(dns_named_tensor tensors[DNS_CALIBRATION_TENSORS],
                                     const dns_calibration *calibration);

/* expected[i] = the expected fine score at coarse[i], plus 1e-4 * coarse[i], which keeps the order
 * of coarse scores where the map is flat; deviation[i] = the root of the mean squared error there.
 * Either may be NULL, and `expected` may be `coarse` when there is no deviation. */
DNS_API void dns_calibration_map(const dns_calibration *calibration, float *expected,
                                 float *deviation, const float *coarse, size_t n);

#ifdef __cplusplus
}
#endif

#endif
