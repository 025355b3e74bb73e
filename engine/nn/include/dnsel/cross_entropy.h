/*
 * Softmax, and the losses over it: classification and contrast. Each gives the loss and, in the
 * same pass, its gradient on the logits. Sums are taken in double, in order, on one thread. Binary
 * cross-entropy is in dnsel/losses.h.
 */
#ifndef DNSEL_CROSS_ENTROPY_H
#define DNSEL_CROSS_ENTROPY_H

#include <stddef.h>

#include "dnsel/real.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In place: the softmax of each row of logits [n, m]. A row of which all are -infinity becomes
 * zeros. */
DNS_API void dns_softmax(dns_real *rows, size_t n, size_t m);

/* *loss = 1/n sum_i weights[i] * -sum_j targets[i,j] log p[i,j], with p = softmax over each row of
 * scale * logits [n, m]. `targets` [n, m] are rows of probabilities (or of any non-negative
 * numbers), `weights` [n] is NULL for all 1 (docs/classifier.md). dlogits [n, m] is overwritten,
 * NULL when not wanted, and may be `logits`. n > 0. */
DNS_API void dns_cross_entropy(double *loss, dns_real *dlogits, const dns_real *logits,
                               const dns_real *targets, const dns_real *weights, size_t n, size_t m,
                               double scale);

/* InfoNCE: row i of the similarities [n, m] is an anchor whose positive is column positives[i]
 * (NULL: column i), all other columns are its negatives; logits are similarities / tau. *loss is
 * the mean over rows; dsimilarities as above. */
DNS_API void dns_info_nce(double *loss, dns_real *dsimilarities, const dns_real *similarities,
                          const size_t *positives, size_t n, size_t m, double tau);

/* tau and teacher_tau are temperatures, share in [0, 1] is the teacher's part. */
typedef struct dns_distilled_contrast_options {
    double tau, teacher_tau, share;
} dns_distilled_contrast_options;

/* Distillation plus contrast (docs/classifier.md showed that distilling scores fits their scale
 * and not their order): s [n, n] are similarities of n queries with n targets, target i belonging
 * to query i. *loss = the mean over both directions of the cross-entropy between softmax(s / tau)
 * and (1 - share) * the pair itself + share * softmax(teacher / teacher_tau), where teacher [n, n]
 * are a better network's similarities (NULL with share 0, which leaves InfoNCE). ds [n, n] is
 * overwritten, NULL when not wanted. Errors: DNS_ERR_ARG for n = 0, a temperature that is not
 * positive, a share outside [0, 1]; DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status
dns_distilled_contrast(double *loss, dns_real *ds, const dns_real *s, const dns_real *teacher,
                       size_t n, const dns_distilled_contrast_options *options);

#ifdef __cplusplus
}
#endif

#endif
