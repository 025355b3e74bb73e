/*
 * Region features that other programs extracted become records, without any video: in parallel and
 * resumably, as videos do (dnsel/ingest.h).
 */
#ifndef DNSEL_FEATURE_IMPORT_H
#define DNSEL_FEATURE_IMPORT_H

#include "dnsel/ingest.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Many rows, each the region vectors of one video, for example a file of features. Its functions
 * are called by one thread at a time. */
typedef struct dns_feature_source {
    const char *name; /* in messages */
    size_t n;
    void *payload;
    const char *(*id)(void *payload,
                      size_t row); /* the name of the video; borrowed until the next call */
    /* shape = frames, regions, values of a region */
    dns_status (*shape)(size_t shape[3], void *payload, size_t row);
    dns_status (*read)(float *x, void *payload, size_t row); /* whole, of that shape */
    /* Of the file: rows that came from just this version of it are left alone. */
    uint64_t file_size;
    int64_t mtime_ns;
} dns_feature_source;

/* Takes the rows of all sources into `store`; `embedder` is one for features. Options and report
 * are those of dns_ingest_run; `prune` is not looked at, and the path of a failure is "source: id".
 * A row whose id was in an earlier one, of another dimension or
 * number of regions than the first (or the index), without frames or with values that
 * are not finite is a failure of that row alone; so are rows of more values than `max_values`.
 * DNS_ERR_MODEL as there. */
DNS_API DNS_MUST_CHECK dns_status dns_ingest_features(dns_ingest_report *report, dns_store *store,
                                                      const dns_embedder *embedder,
                                                      const dns_feature_source *sources,
                                                      size_t n_sources, size_t max_values,
                                                      const dns_ingest_options *options);

#ifdef __cplusplus
}
#endif

#endif
