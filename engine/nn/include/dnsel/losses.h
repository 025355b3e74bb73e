/*
 * Losses on scores (docs/training.md). Each returns the mean over n and writes its
 * derivatives.
 */
#ifndef DNSEL_LOSSES_H
#define DNSEL_LOSSES_H

#include <stddef.h>

#include "dnsel/real.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* L1 distillation: mean |s - t|; ds = sign(s - t) / n, 0 where equal. */
DNS_API double dns_loss_l1(dns_real *ds, const dns_real *s, const dns_real *t, size_t n);

/* Triplets: mean max(0, negative - positive + margin). */
DNS_API double dns_loss_triplet(dns_real *dpositive, dns_real *dnegative, const dns_real *positive,
                                const dns_real *negative, size_t n, double margin);

/* Binary cross-entropy of p = sigmoid(logit) against labels in [0, 1], from the logits so that
 * nothing overflows: mean log(1 + e^l) - y l; dlogits = (p - y) / n. */
DNS_API double dns_loss_cross_entropy(dns_real *dlogits, const dns_real *logits,
                                      const dns_real *labels, size_t n);

#ifdef __cplusplus
}
#endif

#endif
