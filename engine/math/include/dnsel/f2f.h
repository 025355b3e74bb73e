/*
 * Frame-to-frame similarity of two videos (docs/networks/teacher.md): from the products of all
 * regions of a query frame with all regions of a target frame, one number. The query is packed once
 * and compared with many targets, which are read as they are stored; the [Tq,R,R,Tt] products are
 * reduced in registers and never written.
 */
#ifndef DNSEL_F2F_H
#define DNSEL_F2F_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"
#include "dnsel/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the R x R products of a pair of frames become one. */
typedef enum dns_f2f_step {
    DNS_F2F_MAX, /* the largest over the target's regions, then the mean over the query's (published
                    DnS and ViSiL) */
    DNS_F2F_SAME,     /* the mean of the R products of equal positions */
    DNS_F2F_SYMMETRIC /* the mean of DNS_F2F_MAX both ways (the symmetric ViSiL); in floats always
                       */
} dns_f2f_step;

typedef enum dns_f2f_form {
    DNS_F2F_F32, /* in floats */
    DNS_F2F_I8   /* in bytes, where the processor multiplies them (VNNI) and dim is a multiple of 4;
                    elsewhere in floats. Loses at most half a step of each side's 127 levels. */
} dns_f2f_form;

/* A packed query; immutable, shared freely between threads. */
typedef struct dns_f2f_query dns_f2f_query;

/* *out = the query `features` [n_frames, n_regions, dim], copied. Compares with targets of dtype I8
 * with a scale for each region, U8, whose bits stand for +1 and -1 (the asymmetric comparison of
 * float against code; fold wanted factors into the query), and, in the form DNS_F2F_F32, with F32
 * and F16. DNS_ERR_SHAPE for a size of 0, DNS_ERR_RANGE when an element is not finite,
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_f2f_query_create(dns_f2f_query **out, dns_f2f_form form,
                                                       dns_f2f_step step, const float *features,
                                                       size_t n_frames, size_t n_regions,
                                                       size_t dim);

/* The same of codes [n_frames, n_regions, dim / 8], dim a multiple of 64 (else DNS_ERR_SHAPE).
 * Compares with codes alone; the product of two regions is 1 - 2 * differing bits / dim. */
DNS_API DNS_MUST_CHECK dns_status dns_f2f_query_create_bits(dns_f2f_query **out, dns_f2f_step step,
                                                            const uint8_t *codes, size_t n_frames,
                                                            size_t n_regions, size_t dim);
DNS_API void dns_f2f_query_free(dns_f2f_query *query);

DNS_API size_t dns_f2f_query_frames(const dns_f2f_query *query);

/* Bytes of the scratch memory that a run needs, for any number of target frames. */
DNS_API size_t dns_f2f_scratch(const dns_f2f_query *query);

/* out [query frames, target frames] = similarities with `target` [n_frames, n_regions, dim] (U8:
 * [.., dim / 8]), whose data need no alignment beyond its element's. scales [n_frames, n_regions],
 * not negative, for I8 only. `scratch` is 64-byte aligned (dns_alloc) and belongs to one thread.
 * DNS_ERR_SHAPE when regions or dim differ from the query's, DNS_ERR_ARG for a dtype that the query
 * does not compare with or missing scales. A target without frames is fine. */
DNS_API DNS_MUST_CHECK dns_status dns_f2f_run(float *out, const dns_f2f_query *query,
                                              const dns_tensor *target, const float *scales,
                                              void *scratch);

/* The same of rows [first, end) of out alone, which is [query frames, target frames] all the same.
 * They begin and end at multiples of dns_f2f_query_block, or with the query; else DNS_ERR_ARG. */
DNS_API DNS_MUST_CHECK dns_status dns_f2f_run_rows(float *out, const dns_f2f_query *query,
                                                   size_t first, size_t end,
                                                   const dns_tensor *target, const float *scales,
                                                   void *scratch);
DNS_API size_t dns_f2f_query_block(const dns_f2f_query *query);

/* out [n_frames, dim] = mean over the regions of x [n_frames, n_regions, dim]. The mean of all R x
 * R products of two frames is the product of these means: 81 times less work than by regions
 * (docs/networks/teacher.md, selector). */
DNS_API void dns_region_mean(float *out, const float *x, size_t n_frames, size_t n_regions,
                             size_t dim);

#ifdef __cplusplus
}
#endif

#endif
