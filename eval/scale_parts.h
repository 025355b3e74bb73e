/* What building (scale.c) and measuring (scale_measure.c, scale_memory.c) share. */
#ifndef DNS_SCALE_PARTS_H
#define DNS_SCALE_PARTS_H

#include "dnsel/matrix.h"
#include "dnsel/scale.h"

struct scale_index {
    dns_model *model;
    dns_store *store;
};

DNS_MUST_CHECK dns_status scale_open(struct scale_index *out, const char *directory,
                                     dns_store_mode mode);
void scale_close(struct scale_index *index);

/* "generated-00000123" */
void scale_name(char name[32], uint64_t number);

/* One video's embeddings; all borrowed. */
struct scale_video {
    size_t dim, n_frames;
    const float *vector;
    float scalar;
    const uint8_t *bits, *codes;
};

/* Its records of the kept kinds; their number. They point into *v. */
size_t scale_records(dns_record records[DNS_KIND_COUNT], const struct scale_video *v,
                     const bool kept[DNS_KIND_COUNT]);

/* ---- scale_memory.c ---- */

/* Drops the files of a directory from the page cache; adds to *pages and *left (still cached). */
DNS_MUST_CHECK dns_status scale_drop(size_t *pages, size_t *left, const char *directory);

/* Resident bytes of this process: its own, and of mapped files. 0 where the system does not say. */
void scale_resident(uint64_t *own, uint64_t *mapped);

/* Seconds to read `bytes` bytes, the best of some tries, by as many threads as the pool has. */
DNS_MUST_CHECK dns_status scale_read_time(double *seconds, const void *data, size_t bytes,
                                          dns_pool *pool);

/* ---- scale_rows.c: scans and growth ---- */

DNS_MUST_CHECK dns_status scale_measure_rows(dns_scale_report *out, const dns_snapshot *snapshot,
                                             const dns_scale_options *o);

double scale_median(double *values, size_t n);

#endif
