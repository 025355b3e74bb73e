/*
 * The published evaluation protocols (docs/evaluation.md) on a matrix of scores: FIVR-5K,
 * FIVR-200K, CC_WEB_VIDEO, EVVE, SVD, VCDB.
 */
#ifndef DNSEL_PROTOCOL_H
#define DNSEL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/json.h"
#include "dnsel/metrics.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Scores of queries against database videos. Ids are unique; the database is in ascending byte
 * order of ids (the published order of ties). A video without a score for a query (not processed)
 * is NaN. */
typedef struct dns_scores {
    size_t n_queries, n_database;
    char **queries, **database;
    double *values; /* [n_queries, n_database] */
} dns_scores;

/* Copies ids and sorts the database; values are all NaN. DNS_ERR_FORMAT for an id that occurs
 * twice. */
DNS_API DNS_MUST_CHECK dns_status dns_scores_create(dns_scores **out, const char *const *queries,
                                                    size_t n_queries, const char *const *database,
                                                    size_t n_database);
/* From a dense row-major matrix in the order of the lists: f32 or f64, the other is NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_scores_from_matrix(
    dns_scores **out, const char *const *queries, size_t n_queries, const char *const *database,
    size_t n_database, const float *f32, const double *f64);
/* From {query: {id: score}}. */
DNS_API DNS_MUST_CHECK dns_status dns_scores_from_json(dns_scores **out, const dns_json *object);
DNS_API void dns_scores_free(dns_scores *scores);
/* Column of a database id and row of a query; SIZE_MAX when absent. */
DNS_API size_t dns_scores_column(const dns_scores *scores, const char *id);
DNS_API size_t dns_scores_row(const dns_scores *scores, const char *query);

/* One figure of a protocol. */
typedef struct dns_figure {
    char *name; /* "DSVR", "mAP_c_star", "event barcelona+riots+2012" */
    double value;
    size_t n_queries; /* that it averages; 0 for pooled figures */
    bool has_curve;
    double curve[DNS_PR_POINTS]; /* interpolated precision at recall 0, 0.05 .. 1 */
} dns_figure;

typedef struct dns_protocol_report {
    size_t n_queries, n_database;             /* named by the annotations */
    size_t n_queries_found, n_database_found; /* of these, with a score */
    dns_figure *figures;
    size_t n_figures, capacity;
} dns_protocol_report;

typedef struct dns_protocol_options {
    bool drop_self_labels; /* FIVR: a query in its own label list does not count (as s2vs);
                              published evaluators keep it */
} dns_protocol_options;

/* `name` as in the title of this file. `annotations` has the layout of the published pickles turned
 * into JSON (FIVR, EVVE, CC_WEB_VIDEO); for SVD and VCDB that of dns_protocol_pairs. `options` may
 * be NULL. Figures: FIVR          DSVR, CSVR, ISVR, DAVR (mAP, with curves), then DSVD, CSVD, ISVD
 * (micro-AP over all pairs) CC_WEB_VIDEO  mAP, mAP_star, mAP_c, mAP_c_star EVVE          mAP (mean
 * over queries), then one an event SVD           mAP        VCDB   mAP, uAP DNS_ERR_FORMAT for
 * annotations of another layout; DNS_ERR_NOTFOUND when no query of the protocol has a score. */
DNS_API DNS_MUST_CHECK dns_status dns_protocol_run(dns_protocol_report **out, const char *name,
                                                   const dns_json *annotations,
                                                   const dns_scores *scores,
                                                   const dns_protocol_options *options);
DNS_API void dns_protocol_report_free(dns_protocol_report *report);

/* DNS_ERR_ARG unless there is a protocol of this name. */
DNS_API DNS_MUST_CHECK dns_status dns_protocol_check(const char *name);

/* The names of all protocols, separated by '|'. */
DNS_API const char *dns_protocol_names(void);

/* {"pairs": [[query, video, label], ...]} from text: SVD's ground truth ("query video label" a
 * line), or pairs of copies
 * ("a,b,..." a line, as VCDB's annotation files: label 1, and both directions count).
 * DNS_ERR_FORMAT names the line. */
DNS_API DNS_MUST_CHECK dns_status dns_protocol_pairs(dns_json **out, const char *text,
                                                     const char *source);

#ifdef __cplusplus
}
#endif

#endif
