#include "scan_kernels.h"

#include <string.h>

#include "dnsel/cpu.h"

struct scan_kernels dns_scan_kernels(unsigned flags)
{
    struct scan_kernels kernels = {dns_scan_f32_plain, dns_scan_i8_plain, dns_scan_codes_plain};
    if (flags & DNS_CPU_AVX2)
        kernels = (struct scan_kernels){dns_scan_f32_avx2, dns_scan_i8_avx2, dns_scan_codes_popcnt};
    if (flags & DNS_CPU_AVX512)
        kernels.f32 = dns_scan_f32_avx512;
    if (flags & DNS_CPU_VNNI)
        kernels.i8 = dns_scan_i8_vnni;
    if (flags & DNS_CPU_VPOPCNTDQ)
        kernels.codes = dns_scan_codes_vpopcntdq;
    return kernels;
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    float lanes[16] = {0}, groups[4];
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 16; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (size_t j = 0; i + j < n; j++)
        lanes[j] += a[i + j] * b[i + j];
    for (size_t g = 0; g < 4; g++)
        groups[g] = (lanes[4 * g] + lanes[4 * g + 2]) + (lanes[4 * g + 1] + lanes[4 * g + 3]);
    return (groups[0] + groups[2]) + (groups[1] + groups[3]);
}

void dns_scan_f32_plain(const struct scan_tile *tile)
{
    const float *rows = tile->rows, *queries = tile->queries;
    for (size_t q = 0; q < tile->n_queries; q++)
        for (size_t r = 0; r < tile->n_rows; r++)
            tile->scores[q * tile->stride + r] =
                dot_f32(rows + r * tile->dim, queries + q * tile->dim, tile->dim);
}

static int32_t dot_i8(const int8_t *a, const int8_t *b, size_t n)
{
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

void dns_scan_i8_plain(const struct scan_tile *tile)
{
    const int8_t *rows = tile->rows, *queries = tile->queries;
    for (size_t q = 0; q < tile->n_queries; q++)
        for (size_t r = 0; r < tile->n_rows; r++)
            tile->scores[q * tile->stride + r] =
                (float)dot_i8(rows + r * tile->dim, queries + q * tile->dim, tile->dim) *
                tile->row_scales[r] * tile->query_scales[q];
}

/* Bits in which `n` bytes (at most 8) of a and b differ. */
static inline __attribute__((always_inline)) int differing_bits(const uint8_t *a, const uint8_t *b,
                                                                size_t n)
{
    uint64_t x = 0, y = 0;
    memcpy(&x, a, n);
    memcpy(&y, b, n);
    return __builtin_popcountll(x ^ y);
}

static inline __attribute__((always_inline)) void scan_codes(const struct scan_tile *tile)
{
    size_t dim = tile->dim;
    for (size_t q = 0; q < tile->n_queries; q++)
        for (size_t r = 0; r < tile->n_rows; r++) {
            const uint8_t *row = (const uint8_t *)tile->rows + r * dim;
            const uint8_t *query = (const uint8_t *)tile->queries + q * dim;
            size_t i = 0;
            int n = 0;
            for (; i + 8 <= dim; i += 8)
                n += differing_bits(row + i, query + i, 8);
            if (i < dim)
                n += differing_bits(row + i, query + i, dim - i);
            tile->scores[q * tile->stride + r] = -(float)n;
        }
}

void dns_scan_codes_plain(const struct scan_tile *tile)
{
    scan_codes(tile);
}

__attribute__((target("popcnt"))) void dns_scan_codes_popcnt(const struct scan_tile *tile)
{
    scan_codes(tile);
}
