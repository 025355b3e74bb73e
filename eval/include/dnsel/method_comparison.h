/*
 * What distillation is worth on rows at hand: the four methods of dnsel/cpfd.h and their teacher,
 * from the same first weights and order of rows, over several seeds, measured on rows that none of
 * them has seen (docs/classifier.md).
 */
#ifndef DNSEL_METHOD_COMPARISON_H
#define DNSEL_METHOD_COMPARISON_H

#include "dnsel/cpfd.h"
#include "dnsel/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_comparison_options {
    dns_cpfd_options teachers;    /* seeds are set by the comparison; their progress is not used */
    dns_classifier_plan students; /* likewise */
    dns_cpfd_student_options how; /* the method is set by the comparison */
    size_t folds;                 /* of cross-validation, when there are no rows to validate on */
    uint64_t first_seed;
    size_t n_seeds;
    size_t bootstrap_rounds;
    const dns_progress *progress; /* told of each of the "trials", a seed and fold; NULL: nobody */
} dns_comparison_options;

enum { DNS_COMPARED_TEACHER = 4, DNS_COMPARED = 5 }; /* the first are those of dns_cpfd_method */

typedef struct dns_compared_method {
    bool measured;        /* PFD, CPFD and teacher only where there are privileged features */
    double *macro_f1;     /* [n_seeds] */
    dns_interval mean;    /* of macro F1; interval by Student's t over seeds */
    dns_interval to_base; /* difference to base, paired by seed */
    dns_interval to_pfd;
    dns_interval to_base_rows; /* the same differences, by a bootstrap over rows (groups): how they
                                  might be on other rows of the kind */
    dns_interval to_pfd_rows;
} dns_compared_method;

typedef struct dns_method_comparison {
    size_t n_seeds, n_rows; /* rows that were measured on */
    dns_compared_method methods[DNS_COMPARED];
    /* "Gap closed" in both readings (docs/classifier.md), of means over seeds; NaN where it is less
     * than half a point: the share of teacher - base that PFD and CPFD gain, and the share of
     * teacher - PFD that CPFD removes. */
    double closed_pfd, closed_cpfd, removed;
    double *storage;
} dns_method_comparison;

/* Names as on the command line: "base", "self", "pfd", "cpfd", "teacher". */
DNS_API const char *dns_compared_name(size_t method);

/*
 * With `validation`: everything is trained on `rows`, for each seed, and measured there. Without:
 * rows with labels are dealt to folds, those of one group to one fold; each fold is measured by
 * what was trained on the others and on the rows without label; macro F1 is that of all folds
 * together. Tags are given above the thresholds that do best on the rows that were trained on.
 * Seeds and folds run side by side on the pool; the result does not depend on it. Errors: those of
 * dns_cpfd_create, dns_cpfd_student and dns_labelled_rows_deal, DNS_ERR_ARG without seeds,
 * DNS_ERR_SHAPE when rows and validation do not fit, DNS_ERR_CANCELLED. A fold of which the other
 * folds have one class only is DNS_ERR_ARG. Free with dns_method_comparison_free.
 */
DNS_API DNS_MUST_CHECK dns_status dns_method_comparison_run(dns_method_comparison *out,
                                                            const dns_labelled_rows *rows,
                                                            const dns_labelled_rows *validation,
                                                            const dns_comparison_options *options,
                                                            dns_pool *pool);
DNS_API void dns_method_comparison_free(dns_method_comparison *comparison);

#ifdef __cplusplus
}
#endif

#endif
