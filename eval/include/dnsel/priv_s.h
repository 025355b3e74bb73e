/*
 * PRIV-S: a synthetic benchmark of privileged feature distillation, small enough for every build
 * (docs/classifier.md). A world of 8 classes in 32 regular dimensions (two modes a class, hard) and
 * 16 privileged ones (one mode, easy), where a share rho of the privileged vectors is spoilt
 * without notice; 400 rows with labels of which a tenth are wrong, 3000 without, 4000 to be tested
 * on without their privileged half.
 */
#ifndef DNSEL_PRIV_S_H
#define DNSEL_PRIV_S_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of a spoilt vector: zero; noise of the right length; that of another class; half,
 * a quarter and a quarter of these. */
typedef enum dns_priv_s_kind {
    DNS_PRIV_S_MISSING,
    DNS_PRIV_S_NOISE,
    DNS_PRIV_S_MISLEAD,
    DNS_PRIV_S_MIXED
} dns_priv_s_kind;

typedef struct dns_priv_s_options {
    dns_priv_s_kind kind;
    uint64_t first_seed, last_seed; /* both included */
} dns_priv_s_options;

enum {
    DNS_PRIV_S_BASE,     /* labels alone; the better of two schedules */
    DNS_PRIV_S_SELF,     /* teacher without privileged features, its best alpha */
    DNS_PRIV_S_PFD,      /* best alpha, chosen on the test rows: in favour of PFD */
    DNS_PRIV_S_CPFD,     /* entropy, gamma 2, alpha 1 */
    DNS_PRIV_S_MAX,      /* CPFD by the largest probability, gamma 4 */
    DNS_PRIV_S_MARGIN,   /* by the margin, gamma 2 */
    DNS_PRIV_S_GATE,     /* largest probability above 0.9 or not */
    DNS_PRIV_S_LABEL,    /* probability of the label, gamma 2 */
    DNS_PRIV_S_SHUFFLED, /* CPFD with confidences dealt at random: a control */
    DNS_PRIV_S_TEACHER,  /* sees the privileged features of test rows */
    DNS_PRIV_S_METHODS
};

typedef struct dns_priv_s_method {
    const char *name;
    double *macro_f1; /* [n_seeds] */
    double mean, deviation;
    double difference, low, high; /* to PFD, paired, with its 95 % t interval; NaN with one seed */
    size_t n_wins;                /* seeds on which it beats PFD */
} dns_priv_s_method;

typedef struct dns_priv_s_gate {
    const char *name;
    double value, threshold; /* in points of macro F1 */
    bool passed;
} dns_priv_s_gate;

enum { DNS_PRIV_S_GATES = 6 };

typedef struct dns_priv_s_report {
    size_t n_seeds;
    uint64_t first_seed;
    dns_priv_s_kind kind;
    dns_priv_s_method methods[DNS_PRIV_S_METHODS];
    double pfd_alpha;
    double auroc, teacher_accuracy; /* out of fold, means over seeds */
    double closed_pfd, closed_cpfd; /* share of teacher - base that the student gains; NaN where
                                       that is less than half a point */
    double removed;                 /* share of teacher - PFD that CPFD takes away; likewise */
    double without_failures;        /* CPFD - PFD in points with rho = 0 */
    double students_per_second;     /* trained, on one thread */
    dns_priv_s_gate gates[DNS_PRIV_S_GATES]; /* of kind `missing` */
    size_t n_gates;                          /* 0 for other kinds */
    bool passed;                             /* all gates */
    double *storage;
} dns_priv_s_report;

/* "missing", "noise", "mislead", "mixed". */
DNS_API const char *dns_priv_s_kind_name(dns_priv_s_kind kind);

/* Seeds run side by side on the pool; figures do not depend on it, but for students_per_second.
 * Errors: DNS_ERR_ARG unless 1 to 1000 seeds; DNS_ERR_NOMEM. Free with dns_priv_s_report_free. */
DNS_API DNS_MUST_CHECK dns_status dns_priv_s_run(dns_priv_s_report *out,
                                                 const dns_priv_s_options *options, dns_pool *pool);
DNS_API void dns_priv_s_report_free(dns_priv_s_report *report);

#ifdef __cplusplus
}
#endif

#endif
