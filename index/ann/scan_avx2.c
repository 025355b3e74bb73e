#include "scan_kernels.h"

#include <string.h>

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline))

/* Pointers to up to four rows from `first` on; behind the last one it is repeated. */
INLINE void four_rows(const uint8_t *rows[4], const struct scan_tile *tile, size_t first,
                      size_t row_bytes)
{
    for (size_t i = 0; i < 4; i++)
        rows[i] = (const uint8_t *)tile->rows +
                  (first + i < tile->n_rows ? first + i : tile->n_rows - 1) * row_bytes;
}

/* ---- f32: the sixteen lanes are two vectors ---- */

/* Eight elements from `i` on, zeros behind the last. */
INLINE AVX2 __m256 load_f32(const float *x, size_t i, size_t dim)
{
    if (i >= dim)
        return _mm256_setzero_ps();
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i present = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(dim - i)), lanes);
    return _mm256_maskload_ps(x + i, present);
}

/* Within each group of four lanes, the sums of a, b, c and d. */
INLINE AVX2 __m256 groups_f32(__m256 a, __m256 b, __m256 c, __m256 d)
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    __m256d ab_d = _mm256_castps_pd(ab), cd_d = _mm256_castps_pd(cd);
    return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(ab_d, cd_d)),
                         _mm256_castpd_ps(_mm256_unpackhi_pd(ab_d, cd_d)));
}

AVX2 static void four_f32(float *scores, const uint8_t *const rows[4], const float *query,
                          size_t dim)
{
    __m256 sums[4][2];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        const float *row = (const float *)rows[r];
        __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
        size_t i = 0;
        for (; i + 16 <= dim; i += 16) {
            low = _mm256_fmadd_ps(_mm256_loadu_ps(row + i), _mm256_loadu_ps(query + i), low);
            high =
                _mm256_fmadd_ps(_mm256_loadu_ps(row + i + 8), _mm256_loadu_ps(query + i + 8), high);
        }
        low = _mm256_fmadd_ps(load_f32(row, i, dim), load_f32(query, i, dim), low);
        high = _mm256_fmadd_ps(load_f32(row, i + 8, dim), load_f32(query, i + 8, dim), high);
        sums[r][0] = low;
        sums[r][1] = high;
    }
    __m256 halves = _mm256_add_ps(groups_f32(sums[0][0], sums[1][0], sums[2][0], sums[3][0]),
                                  groups_f32(sums[0][1], sums[1][1], sums[2][1], sums[3][1]));
    _mm_storeu_ps(scores,
                  _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)));
}

AVX2 void dns_scan_f32_avx2(const struct scan_tile *tile)
{
    for (size_t r = 0; r < tile->n_rows; r += 4) {
        const uint8_t *rows[4];
        four_rows(rows, tile, r, tile->dim * sizeof(float));
        for (size_t q = 0; q < tile->n_queries; q++)
            four_f32(tile->scores + q * tile->stride + r, rows,
                     (const float *)tile->queries + q * tile->dim, tile->dim);
    }
}

/* ---- int8: widened to 16 bits, multiplied and added in pairs ---- */

INLINE AVX2 __m256i products_i8(const void *a, const void *b)
{
    return _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(a)),
                             _mm256_cvtepi8_epi16(_mm_loadu_si128(b)));
}

AVX2 static __m128i four_i8(const uint8_t *const rows[4], const int8_t *query, size_t dim)
{
    __m256i sums[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        size_t i = 0;
        sums[r] = _mm256_setzero_si256();
        for (; i + 16 <= dim; i += 16)
            sums[r] = _mm256_add_epi32(sums[r], products_i8(rows[r] + i, query + i));
        if (i < dim) {
            char a[16] = {0}, b[16] = {0};
            memcpy(a, rows[r] + i, dim - i);
            memcpy(b, query + i, dim - i);
            sums[r] = _mm256_add_epi32(sums[r], products_i8(a, b));
        }
    }
    __m256i groups =
        _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(groups), _mm256_extracti128_si256(groups, 1));
}

AVX2 void dns_scan_i8_avx2(const struct scan_tile *tile)
{
    for (size_t r = 0; r < tile->n_rows; r += 4) {
        const uint8_t *rows[4];
        float row_scales[4];
        four_rows(rows, tile, r, tile->dim);
        for (size_t i = 0; i < 4; i++)
            row_scales[i] = r + i < tile->n_rows ? tile->row_scales[r + i] : 0.0f;
        __m128 scales = _mm_loadu_ps(row_scales);
        for (size_t q = 0; q < tile->n_queries; q++) {
            __m128i dot = four_i8(rows, (const int8_t *)tile->queries + q * tile->dim, tile->dim);
            _mm_storeu_ps(tile->scores + q * tile->stride + r,
                          _mm_mul_ps(_mm_mul_ps(_mm_cvtepi32_ps(dot), scales),
                                     _mm_set1_ps(tile->query_scales[q])));
        }
    }
}
