/*
 * The scores of a tile: a few rows, small enough to stay in the first cache, against some queries.
 * Each kernel has a plain twin. Private.
 *
 * Every score is summed in the same order whatever the tile and the number of queries: f32 in 16
 * lanes, which are then added as (l0+l2)+(l1+l3) within each group of four, and the groups
 * likewise. Kernels with fused multiply-add agree with each other to the last bit, the plain twin
 * within rounding. Integer kernels agree exactly.
 */
#ifndef DNS_SCAN_KERNELS_H
#define DNS_SCAN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    SCAN_TILE_BYTES =
        32768,           /* of rows; half of a first-level cache holds them beside the queries */
    SCAN_TILE_ROWS = 256 /* at most; always a multiple of 8 */
};

struct scan_tile {
    const void *rows; /* [n_rows, dim] */
    const float *row_scales;
    size_t n_rows, dim;
    const void *queries; /* [n_queries, dim] */
    const float *query_scales;
    const int32_t *query_sums; /* of the elements */
    size_t n_queries;
    void *scratch; /* codes: room for the rows, each and their number rounded up to 64 bytes and 8
                      rows; 64-byte aligned */
    float *scores; /* [n_queries, stride]; up to 7 behind n_rows may be overwritten */
    size_t stride;
};

typedef void (*scan_kernel)(const struct scan_tile *tile);

struct scan_kernels {
    scan_kernel f32;   /* inner product */
    scan_kernel i8;    /* inner product times both scales */
    scan_kernel codes; /* minus the number of differing bits */
};

/* The best for a processor with these features (dnsel/cpu.h). */
struct scan_kernels dns_scan_kernels(unsigned flags);

void dns_scan_f32_plain(const struct scan_tile *tile);
void dns_scan_i8_plain(const struct scan_tile *tile);
void dns_scan_codes_plain(const struct scan_tile *tile);
void dns_scan_f32_avx2(const struct scan_tile *tile);
void dns_scan_i8_avx2(const struct scan_tile *tile);
void dns_scan_codes_popcnt(const struct scan_tile *tile);
void dns_scan_f32_avx512(const struct scan_tile *tile);
void dns_scan_i8_vnni(const struct scan_tile *tile);
void dns_scan_codes_vpopcntdq(const struct scan_tile *tile);

#endif
