#include "kernels_isa.h"

static void take_plain(dns_kernels *k)
{
    k->rows_f32 = dns_rows_f32_plain;
    k->rows_i8 = dns_rows_i8_plain;
    k->rows_hamming = dns_rows_hamming_plain;
    k->sums_i8 = dns_sums_i8_plain;
    k->widen_f16 = dns_widen_f16_plain;
    k->widen_i8 = dns_widen_i8_plain;
    k->widen_bits = dns_widen_bits_plain;
    k->max_f32 = dns_max_f32_plain;
    k->both_f32 = dns_both_f32_plain;
    k->max_i8 = dns_max_i8_plain;
    k->min_hamming = dns_min_hamming_plain;
    k->conv_f32 = dns_conv_f32_plain;
    k->conv_first_f32 = dns_conv_first_f32_plain;
    k->conv_i8 = dns_conv_i8_plain;
    k->pool_f32 = dns_pool_f32_plain;
    k->relu_dot_f32 = dns_relu_dot_f32_plain;
    k->quantise_u8 = dns_quantise_u8_plain;
    k->row_to_i8 = dns_row_to_i8_plain;
}

static void take_avx2(dns_kernels *k)
{
    k->rows_f32 = dns_rows_f32_avx2;
    k->rows_i8 = dns_rows_i8_avx2;
    k->rows_hamming = dns_rows_hamming_avx2;
    k->sums_i8 = dns_sums_i8_avx2;
    k->widen_f16 = dns_widen_f16_avx2;
    k->widen_i8 = dns_widen_i8_avx2;
    k->widen_bits = dns_widen_bits_avx2;
    k->max_f32 = dns_max_f32_avx2;
    k->both_f32 = dns_both_f32_avx2;
    k->min_hamming = dns_min_hamming_avx2;
    k->conv_f32 = dns_conv_f32_avx2;
    k->conv_first_f32 = dns_conv_first_f32_avx2;
    k->pool_f32 = dns_pool_f32_avx2;
    k->relu_dot_f32 = dns_relu_dot_f32_avx2;
    k->quantise_u8 = dns_quantise_u8_avx2;
}

static void take_avx512(dns_kernels *k)
{
    k->rows_f32 = dns_rows_f32_avx512;
    k->widen_f16 = dns_widen_f16_avx512;
    k->widen_i8 = dns_widen_i8_avx512;
    k->widen_bits = dns_widen_bits_avx512;
    k->max_f32 = dns_max_f32_avx512;
    k->both_f32 = dns_both_f32_avx512;
    k->conv_f32 = dns_conv_f32_avx512;
    k->conv_first_f32 = dns_conv_first_f32_avx512;
    k->pool_f32 = dns_pool_f32_avx512;
    k->relu_dot_f32 = dns_relu_dot_f32_avx512;
    k->quantise_u8 = dns_quantise_u8_avx512;
    k->row_to_i8 = dns_row_to_i8_avx512;
}

static void take_vnni(dns_kernels *k)
{
    k->rows_i8 = dns_rows_i8_vnni;
    k->sums_i8 = dns_sums_i8_vnni;
    k->max_i8 = dns_max_i8_vnni;
    k->conv_i8 = dns_conv_i8_vnni;
}

static void take_vpopcntdq(dns_kernels *k)
{
    k->rows_hamming = dns_rows_hamming_vpopcntdq;
    k->min_hamming = dns_min_hamming_vpopcntdq;
}

void dns_kernels_get(dns_kernels *out, unsigned cpu_flags)
{
    out->cpu = cpu_flags;
    take_plain(out);
    if (cpu_flags & DNS_CPU_AVX2)
        take_avx2(out);
    if (cpu_flags & DNS_CPU_AVX512)
        take_avx512(out);
    if (cpu_flags & DNS_CPU_VNNI)
        take_vnni(out);
    if (cpu_flags & DNS_CPU_VPOPCNTDQ)
        take_vpopcntdq(out);
}
