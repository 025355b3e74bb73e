/* Rows for a classifier from the videos of an index: what rows of videos and of pairs share. */
#ifndef DNS_ROW_MAKER_H
#define DNS_ROW_MAKER_H

#include "dnsel/labelled_rows.h"
#include "dnsel/search.h"
#include "video_names.h"

struct row_maker {
    /* Given. */
    const char *index, *labels, *model_name, *out;
    dns_label_task task;
    bool wanted[5]; /* p1 .. p4 */
    size_t n_anchors, n_negatives, n_pool, n_jobs;
    uint64_t seed;
    dns_progress progress;
    dns_cancel *cancel;
    /* Of the index; the places of videos are those of `ids`. */
    dns_store *store;
    dns_snapshot *snapshot;
    dns_model *model;
    dns_pool *pool;
    dns_video_names *names;
    uint64_t *ids;
    size_t n_ids, dim;
    float *coarse;     /* [n_ids, dim] */
    float *scalars;    /* [n_ids]; 0 without a record */
    double *durations; /* [n_ids] */
    size_t n_without_regions;
};

/* Opens everything but the model and reads what is coarse. */
DNS_MUST_CHECK dns_status row_maker_open(struct row_maker *m);
void row_maker_close(struct row_maker *m);

/* The model and the pool of threads, once. */
DNS_MUST_CHECK dns_status row_maker_open_model(struct row_maker *m);

/* *place of a video named in a row of the table (from 0); DNS_ERR_ARG for an unknown one. */
DNS_MUST_CHECK dns_status row_maker_find(size_t *place, const struct row_maker *m, size_t row,
                                         const char *name);

/* fine [n_ids] = similarities of one stored video with all, NaN where there is none; all NaN when
 * it has no record of the searcher's kind itself. */
DNS_MUST_CHECK dns_status row_maker_compare(float *fine, const struct row_maker *m,
                                            dns_searcher *searcher, size_t place);

/* The files of rows. */
DNS_MUST_CHECK dns_status make_video_rows(struct row_maker *m);
DNS_MUST_CHECK dns_status make_pair_rows(struct row_maker *m);

#endif
