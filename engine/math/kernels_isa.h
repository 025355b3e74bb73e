/* The kernels of each instruction set; dnsel/kernels.h says what they do. */
#ifndef DNS_KERNELS_ISA_H
#define DNS_KERNELS_ISA_H

#include "dnsel/kernels.h"

#define DNS_KERNEL_ROWS_F32(isa)                                                              \
    void dns_rows_f32_##isa(float *out, const float *query, const float *rows, size_t n_rows, \
                            size_t dim)
#define DNS_KERNEL_ROWS_I8(isa)                                                                  \
    void dns_rows_i8_##isa(int32_t *out, const int8_t *query, const int8_t *rows, size_t n_rows, \
                           size_t dim)
#define DNS_KERNEL_ROWS_HAMMING(isa)                                                      \
    void dns_rows_hamming_##isa(uint32_t *out, const uint8_t *query, const uint8_t *rows, \
                                size_t n_rows, size_t n_bytes)
#define DNS_KERNEL_SUMS_I8(isa) \
    void dns_sums_i8_##isa(int32_t *out, const int8_t *rows, size_t n_rows, size_t dim)
#define DNS_KERNEL_WIDEN_F16(isa) void dns_widen_f16_##isa(float *out, const uint16_t *in, size_t n)
#define DNS_KERNEL_WIDEN_I8(isa) \
    void dns_widen_i8_##isa(float *out, const int8_t *in, size_t n, float factor)
#define DNS_KERNEL_WIDEN_BITS(isa) \
    void dns_widen_bits_##isa(int8_t *out, const uint8_t *in, size_t n)
#define DNS_KERNEL_ROW_TO_I8(isa) \
    float dns_row_to_i8_##isa(int8_t *out, const float *in, size_t dim)
#define DNS_KERNEL_MAX_F32(isa)                                                                 \
    void dns_max_f32_##isa(float *max, const float *panels, size_t n_rows, const float *target, \
                           size_t n_frames, size_t n_regions, size_t dim)
#define DNS_KERNEL_BOTH_F32(isa)                                                   \
    void dns_both_f32_##isa(float *sums, const float *panels, const float *target, \
                            size_t n_frames, size_t n_regions, size_t dim)
#define DNS_KERNEL_MAX_I8(isa)                                                                    \
    void dns_max_i8_##isa(float *max, const uint8_t *panels, size_t n_rows, const int8_t *target, \
                          const float *scales, const int32_t *sums, size_t n_frames,              \
                          size_t n_regions, size_t dim)
#define DNS_KERNEL_MIN_HAMMING(isa)                                                      \
    void dns_min_hamming_##isa(uint32_t *min, const uint64_t *panels, size_t n_rows,     \
                               const uint8_t *target, size_t n_frames, size_t n_regions, \
                               size_t n_words)
#define DNS_KERNEL_CONV_F32(isa)                                                                   \
    void dns_conv_f32_##isa(float *out, size_t out_plane, const float *in, size_t in_row,          \
                            size_t in_plane, size_t n_in, const float *weights, const float *bias, \
                            size_t n_out, size_t width)
#define DNS_KERNEL_CONV_FIRST_F32(isa)                                                          \
    void dns_conv_first_f32_##isa(float *out, size_t out_plane, const float *in, size_t in_row, \
                                  const float *weights, const float *bias, size_t n_out,        \
                                  size_t width)
#define DNS_KERNEL_CONV_I8(isa)                                                            \
    void dns_conv_i8_##isa(float *out, size_t out_plane, const uint8_t *in, size_t in_row, \
                           size_t in_plane, size_t n_in, const int8_t *weights,            \
                           const float *scale, const float *bias, size_t n_out, size_t width)
#define DNS_KERNEL_POOL_F32(isa) \
    float dns_pool_f32_##isa(float *out, const float *top, const float *bottom, size_t n)
#define DNS_KERNEL_RELU_DOT_F32(isa)                                                       \
    void dns_relu_dot_f32_##isa(float *out, const float *in, size_t in_plane, size_t n_in, \
                                const float *weights, float bias, size_t width)
#define DNS_KERNEL_QUANTISE_U8(isa) \
    void dns_quantise_u8_##isa(uint8_t *out, const float *in, size_t n, float factor)

DNS_KERNEL_ROWS_F32(plain);
DNS_KERNEL_ROWS_I8(plain);
DNS_KERNEL_ROWS_HAMMING(plain);
DNS_KERNEL_SUMS_I8(plain);
DNS_KERNEL_WIDEN_F16(plain);
DNS_KERNEL_WIDEN_I8(plain);
DNS_KERNEL_WIDEN_BITS(plain);
DNS_KERNEL_ROW_TO_I8(plain);
DNS_KERNEL_MAX_F32(plain);
DNS_KERNEL_BOTH_F32(plain);
DNS_KERNEL_MAX_I8(plain);
DNS_KERNEL_MIN_HAMMING(plain);
DNS_KERNEL_CONV_F32(plain);
DNS_KERNEL_CONV_FIRST_F32(plain);
DNS_KERNEL_CONV_I8(plain);
DNS_KERNEL_POOL_F32(plain);
DNS_KERNEL_RELU_DOT_F32(plain);
DNS_KERNEL_QUANTISE_U8(plain);

/* AVX2 and FMA. Sums of bytes gain nothing over floats there: dnsel/f2f.h and dnsel/mapcnn.h then
 * take floats. */
DNS_KERNEL_ROWS_F32(avx2);
DNS_KERNEL_ROWS_I8(avx2);
DNS_KERNEL_ROWS_HAMMING(avx2);
DNS_KERNEL_SUMS_I8(avx2);
DNS_KERNEL_WIDEN_F16(avx2);
DNS_KERNEL_WIDEN_I8(avx2);
DNS_KERNEL_WIDEN_BITS(avx2);
DNS_KERNEL_MAX_F32(avx2);
DNS_KERNEL_BOTH_F32(avx2);
DNS_KERNEL_MIN_HAMMING(avx2);
DNS_KERNEL_CONV_F32(avx2);
DNS_KERNEL_CONV_FIRST_F32(avx2);
DNS_KERNEL_POOL_F32(avx2);
DNS_KERNEL_RELU_DOT_F32(avx2);
DNS_KERNEL_QUANTISE_U8(avx2);

/* AVX-512 F, BW, VL, DQ. */
DNS_KERNEL_ROWS_F32(avx512);
DNS_KERNEL_WIDEN_F16(avx512);
DNS_KERNEL_WIDEN_I8(avx512);
DNS_KERNEL_WIDEN_BITS(avx512);
DNS_KERNEL_ROW_TO_I8(avx512);
DNS_KERNEL_MAX_F32(avx512);
DNS_KERNEL_BOTH_F32(avx512);
DNS_KERNEL_CONV_F32(avx512);
DNS_KERNEL_CONV_FIRST_F32(avx512);
DNS_KERNEL_POOL_F32(avx512);
DNS_KERNEL_RELU_DOT_F32(avx512);
DNS_KERNEL_QUANTISE_U8(avx512);

/* AVX-512 and VNNI. */
DNS_KERNEL_ROWS_I8(vnni);
DNS_KERNEL_SUMS_I8(vnni);
DNS_KERNEL_MAX_I8(vnni);
DNS_KERNEL_CONV_I8(vnni);

/* AVX-512 and VPOPCNTDQ. */
DNS_KERNEL_ROWS_HAMMING(vpopcntdq);
DNS_KERNEL_MIN_HAMMING(vpopcntdq);

#endif
