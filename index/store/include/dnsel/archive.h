/*
 * The archive record: X as int8 with one scale a region, under zstd. 1.4 times smaller than int8
 * alone, and about 40 times slower to read than a mapped record, so only for keeping.
 */
#ifndef DNSEL_ARCHIVE_H
#define DNSEL_ARCHIVE_H

#include "dnsel/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out = an archive record of X [n_frames, n_regions, dim]; *block holds its bytes and is to be
 * freed with dns_free. */
DNS_API DNS_MUST_CHECK dns_status dns_archive_pack(dns_record *out, void **block, const float *x,
                                                   size_t n_frames, size_t n_regions, size_t dim);

/* x [shape[0], shape[1], shape[2]] = the features of an archive record; allocate by record->shape.
 * At most scale / 2 off in each element. DNS_ERR_CORRUPT. */
DNS_API DNS_MUST_CHECK dns_status dns_archive_unpack(float *x, const dns_record *record);

#ifdef __cplusplus
}
#endif

#endif
