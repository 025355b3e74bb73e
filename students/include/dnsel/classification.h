/*
 * Figures of merit of classifiers, on plain arrays.
 */
#ifndef DNSEL_CLASSIFICATION_H
#define DNSEL_CLASSIFICATION_H

#include "dnsel/labelled_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_label_figures {
    size_t n; /* rows that have it */
    double precision, recall, f1;
} dns_label_figures;

typedef struct dns_classification {
    size_t n; /* labelled rows */
    double macro_f1, micro_f1;
    double accuracy; /* tags: share of rows and labels */
    dns_label_figures *labels;
    size_t n_labels;
} dns_classification;

/* Figures of probabilities [n, n_labels] against y over the rows with labelled[i] != 0. A class is
 * the most probable one; a tag is given above thresholds[k] (NULL: 0.5). The macro F1 is the mean
 * over labels that a row has or was given. Errors: DNS_ERR_ARG without a labelled row,
 * DNS_ERR_NOMEM. Free with dns_classification_free. */
DNS_API DNS_MUST_CHECK dns_status dns_classification_measure(
    dns_classification *out, const float *probabilities, const float *y, const uint8_t *labelled,
    const float *thresholds, dns_label_task task, size_t n, size_t n_labels);
DNS_API void dns_classification_free(dns_classification *figures);

/* Thresholds [n_labels] that give each tag its best F1 over the labelled rows; 0.5 for a tag that
 * no row has. */
DNS_API DNS_MUST_CHECK dns_status dns_tag_thresholds(float *thresholds, const float *probabilities,
                                                     const float *y, const uint8_t *labelled,
                                                     size_t n, size_t n_labels);

/* Area under the ROC curve of scores against truth, ties half; 0.5 when one side is empty. */
DNS_API DNS_MUST_CHECK dns_status dns_auroc(double *out, const float *scores, const uint8_t *truth,
                                            size_t n);

/* Expected calibration error over 10 bins of equal width: mean |share that is true - mean
 * probability|, weighted by size. */
DNS_API double dns_calibration_error(const float *probabilities, const uint8_t *truth, size_t n);

#ifdef __cplusplus
}
#endif

#endif
