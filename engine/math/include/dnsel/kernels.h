/*
 * The small loops on which search spends its time, for the processor at hand. Each has a plain C
 * twin of the same layout, which tests compare with and `dns-eval speed` times. Most callers want
 * dnsel/f2f.h and dnsel/mapcnn.h, which pack the data.
 */
#ifndef DNSEL_KERNELS_H
#define DNSEL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/cpu.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DNS_LANES = 16,      /* rows or channels that lie side by side in packed data */
    DNS_PANEL = 48,      /* query rows of a panel of max_f32 and max_i8 */
    DNS_I8_DIM = 1 << 16 /* largest dim of the sums of bytes: they stay within 32 bits */
};

/* Sizes are counted in elements. Pointers to data that others stored need no alignment; packed data
 * is 64-byte aligned. Floats must be finite. */
typedef struct dns_kernels {
    unsigned cpu; /* the flags it was made for (dnsel/cpu.h) */

    /* out[i] = <query, row i>, rows [n_rows, dim]. The sum of bytes is exact for dim up to
     * DNS_I8_DIM; -128 is allowed. */
    void (*rows_f32)(float *out, const float *query, const float *rows, size_t n_rows, size_t dim);
    void (*rows_i8)(int32_t *out, const int8_t *query, const int8_t *rows, size_t n_rows,
                    size_t dim);
    /* out[i] = number of bits in which query and row i differ, rows [n_rows, n_bytes]. */
    void (*rows_hamming)(uint32_t *out, const uint8_t *query, const uint8_t *rows, size_t n_rows,
                         size_t n_bytes);
    /* out[i] = sum of row i. */
    void (*sums_i8)(int32_t *out, const int8_t *rows, size_t n_rows, size_t dim);

    /* Stored elements made wide, any n: out = in (half precision), out = factor * in, out[i] = bit
     * i ? 1 : -1 (lowest bit of a byte first). */
    void (*widen_f16)(float *out, const uint16_t *in, size_t n);
    void (*widen_i8)(float *out, const int8_t *in, size_t n, float factor);
    void (*widen_bits)(int8_t *out, const uint8_t *in, size_t n);

    /* One row to int8, as dns_rows_to_i8 rounds it (dnsel/rounding.h); returns its scale. */
    float (*row_to_i8)(int8_t *out, const float *in, size_t dim);

    /* For each target frame and query row, the largest product over the frame's regions: max
     * [n_frames, n_rows], target [n_frames, n_regions, dim]. n_rows is a multiple of DNS_LANES.
     * Panels of DNS_PANEL query rows (the last one may be narrower: the rest, w rows) follow each
     * other, each [dim][w], so that a row lies down a column. */
    void (*max_f32)(float *max, const float *panels, size_t n_rows, const float *target,
                    size_t n_frames, size_t n_regions, size_t dim);
    /* For each target frame and each of DNS_LANES query frames, both ways at once: the sum over
     * query regions of the largest product over the target's, and the sum over target regions of
     * the largest over the query's. sums [n_frames, DNS_LANES]; panels as above, row o * DNS_LANES
     * + i is region o of query frame i. */
    void (*both_f32)(float *sums, const float *panels, const float *target, size_t n_frames,
                     size_t n_regions, size_t dim);
    /* The same as max_f32 of bytes, times the target row's scale: panels [dim / 4][w][4] hold query
     * + 128; dim is a multiple of 4; scales and sums (of the target rows) [n_frames, n_regions]. */
    void (*max_i8)(float *max, const uint8_t *panels, size_t n_rows, const int8_t *target,
                   const float *scales, const int32_t *sums, size_t n_frames, size_t n_regions,
                   size_t dim);
    /* For each target frame and query row, the fewest differing bits over the frame's regions: min
     * [n_frames, n_rows], target [n_frames, n_regions, 8 * n_words bytes]; panels of DNS_LANES
     * rows, each [n_words][DNS_LANES]. */
    void (*min_hamming)(uint32_t *min, const uint64_t *panels, size_t n_rows, const uint8_t *target,
                        size_t n_frames, size_t n_regions, size_t n_words);

    /* One row of a 3x3 convolution, stride 1. Channels go in blocks of DNS_LANES: an image is
     * [blocks][rows][columns] [DNS_LANES]; `in` points to the upper left neighbour of the first
     * output, in_row and in_plane are elements from row to row and block to block. out[b *
     * out_plane + x * DNS_LANES + lane] for x < width. Blocks of output channels go in pairs (the
     * last one alone when n_out is odd, w = 32 or 16 channels): weights
     * [pair][n_in][9][DNS_LANES][w]. */
    void (*conv_f32)(float *out, size_t out_plane, const float *in, size_t in_row, size_t in_plane,
                     size_t n_in, const float *weights, const float *bias, size_t n_out,
                     size_t width);
    /* The same of an image with one channel, [rows][columns]; weights [pair][9][w]. */
    void (*conv_first_f32)(float *out, size_t out_plane, const float *in, size_t in_row,
                           const float *weights, const float *bias, size_t n_out, size_t width);
    /* The same of bytes: out = scale[channel] * sum + bias[channel]; weights
     * [pair][n_in][9][DNS_LANES / 4][w][4]. */
    void (*conv_i8)(float *out, size_t out_plane, const uint8_t *in, size_t in_row, size_t in_plane,
                    size_t n_in, const int8_t *weights, const float *scale, const float *bias,
                    size_t n_out, size_t width);
    /* out[x] = the larger of 0 and the four neighbours of each lane in two rows, x < n; returns the
     * largest of them. */
    float (*pool_f32)(float *out, const float *top, const float *bottom, size_t n);
    /* out[x] = bias + sum over channels of max(0, in) * weight, in [n_in][plane] as conv_f32 wrote
     * it. */
    void (*relu_dot_f32)(float *out, const float *in, size_t in_plane, size_t n_in,
                         const float *weights, float bias, size_t width);
    /* out = in * factor to the nearest, halves to even, kept within 0 .. 255; |in * factor| < 2^31.
     */
    void (*quantise_u8)(uint8_t *out, const float *in, size_t n, float factor);
} dns_kernels;

/* The table for these flags; 0 gives the plain twins. Flags beyond dns_cpu_detect would crash: take
 * dns_cpu_flags(), or fewer. */
DNS_API void dns_kernels_get(dns_kernels *out, unsigned cpu_flags);

#ifdef __cplusplus
}
#endif

#endif
