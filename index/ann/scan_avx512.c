#include "scan_kernels.h"

#include <string.h>

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define VPOPCNTDQ __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq")))
#define INLINE static inline __attribute__((always_inline))

/* Four rows from `first` on; behind the last one it is repeated. */
INLINE void four_rows(const uint8_t *rows[4], const struct scan_tile *tile, size_t first,
                      size_t row_bytes)
{
    for (size_t i = 0; i < 4; i++)
        rows[i] = (const uint8_t *)tile->rows +
                  (first + i < tile->n_rows ? first + i : tile->n_rows - 1) * row_bytes;
}

/* ---- f32 ---- */

/* The sums of four vectors. */
INLINE AVX512 __m128 sum4_f32(__m512 a, __m512 b, __m512 c, __m512 d)
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512d ab_d = _mm512_castps_pd(ab), cd_d = _mm512_castps_pd(cd);
    __m512 groups = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab_d, cd_d)),
                                  _mm512_castpd_ps(_mm512_unpackhi_pd(ab_d, cd_d)));
    __m256 halves =
        _mm256_add_ps(_mm512_castps512_ps256(groups), _mm512_extractf32x8_ps(groups, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

/* sums[q][r] += 16 elements of row r, as many as the mask has bits, times those of query q. */
INLINE AVX512 void step_f32(__m512 sums[4][4], const int first_row, const int n_rows,
                            const uint8_t *const rows[4], const float *query, size_t dim,
                            const int n_queries, size_t i, __mmask16 lanes)
{
    __m512 x[4];
#pragma GCC unroll 4
    for (int r = first_row; r < first_row + n_rows; r++)
        x[r] = _mm512_maskz_loadu_ps(lanes, (const float *)rows[r] + i);
#pragma GCC unroll 4
    for (int q = 0; q < n_queries; q++) {
        __m512 y = _mm512_maskz_loadu_ps(lanes, query + (size_t)q * dim + i);
#pragma GCC unroll 4
        for (int r = first_row; r < first_row + n_rows; r++)
            sums[q][r] = _mm512_fmadd_ps(x[r], y, sums[q][r]);
    }
}

INLINE AVX512 void rows_f32(__m512 sums[4][4], const int first_row, const int n_rows,
                            const uint8_t *const rows[4], const float *query, size_t dim,
                            const int n_queries)
{
    size_t i = 0;
    for (; i + 16 <= dim; i += 16)
        step_f32(sums, first_row, n_rows, rows, query, dim, n_queries, i, 0xffff);
    if (i < dim)
        step_f32(sums, first_row, n_rows, rows, query, dim, n_queries, i,
                 (__mmask16)((1u << (dim - i)) - 1));
}

/* Four rows against `n_queries` (1 or 4) queries: one row after the other when they come from
 * memory, which likes to be read in order, and all at once when they are in the cache. */
INLINE AVX512 void block_f32(const struct scan_tile *tile, const uint8_t *const rows[4],
                             size_t first_row, size_t first_query, const int n_queries)
{
    const float *query = (const float *)tile->queries + first_query * tile->dim;
    float *scores = tile->scores + first_query * tile->stride + first_row;
    __m512 sums[4][4];
#pragma GCC unroll 4
    for (int q = 0; q < n_queries; q++)
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            sums[q][r] = _mm512_setzero_ps();
    if (first_query > 0)
        rows_f32(sums, 0, 4, rows, query, tile->dim, n_queries);
    else
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            rows_f32(sums, r, 1, rows, query, tile->dim, n_queries);
#pragma GCC unroll 4
    for (int q = 0; q < n_queries; q++)
        _mm_storeu_ps(scores + (size_t)q * tile->stride,
                      sum4_f32(sums[q][0], sums[q][1], sums[q][2], sums[q][3]));
}

AVX512 void dns_scan_f32_avx512(const struct scan_tile *tile)
{
    for (size_t r = 0; r < tile->n_rows; r += 4) {
        const uint8_t *rows[4];
        size_t q = 0;
        four_rows(rows, tile, r, tile->dim * sizeof(float));
        for (; q + 4 <= tile->n_queries; q += 4)
            block_f32(tile, rows, r, q, 4);
        for (; q < tile->n_queries; q++)
            block_f32(tile, rows, r, q, 1);
    }
}

/* ---- int8 ---- */

INLINE AVX512 __m128i sum4_i32(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i groups = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i halves =
        _mm256_add_epi32(_mm512_castsi512_si256(groups), _mm512_extracti64x4_epi64(groups, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}

/* As step_f32, of 64 elements. The instruction multiplies unsigned by signed bytes: 128 is added to
 * the row's elements, and 128 times the sum of the query's taken off in the end. */
INLINE VNNI void step_i8(__m512i sums[4][4], const int first_row, const int n_rows,
                         const uint8_t *const rows[4], const int8_t *query, size_t dim,
                         const int n_queries, size_t i, __mmask64 lanes)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i x[4];
#pragma GCC unroll 4
    for (int r = first_row; r < first_row + n_rows; r++)
        x[r] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(lanes, rows[r] + i), flip);
#pragma GCC unroll 4
    for (int q = 0; q < n_queries; q++) {
        __m512i y = _mm512_maskz_loadu_epi8(lanes, query + (size_t)q * dim + i);
#pragma GCC unroll 4
        for (int r = first_row; r < first_row + n_rows; r++)
            sums[q][r] = _mm512_dpbusd_epi32(sums[q][r], x[r], y);
    }
}

INLINE VNNI void rows_i8(__m512i sums[4][4], const int first_row, const int n_rows,
                         const uint8_t *const rows[4], const int8_t *query, size_t dim,
                         const int n_queries)
{
    size_t i = 0;
    for (; i + 64 <= dim; i += 64)
        step_i8(sums, first_row, n_rows, rows, query, dim, n_queries, i, ~(__mmask64)0);
    if (i < dim)
        step_i8(sums, first_row, n_rows, rows, query, dim, n_queries, i,
                ((__mmask64)1 << (dim - i)) - 1);
}

INLINE VNNI void block_i8(const struct scan_tile *tile, const uint8_t *const rows[4],
                          __m128 row_scales, size_t first_row, size_t first_query,
                          const int n_queries)
{
    const int8_t *query = (const int8_t *)tile->queries + first_query * tile->dim;
    __m512i sums[4][4];
#pragma GCC unroll 4
    for (int q = 0; q < n_queries; q++)
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            sums[q][r] = _mm512_setzero_si512();
    if (first_query > 0)
        rows_i8(sums, 0, 4, rows, query, tile->dim, n_queries);
    else
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            rows_i8(sums, r, 1, rows, query, tile->dim, n_queries);
#pragma GCC unroll 4
    for (int q = 0; q < n_queries; q++) {
        size_t at = first_query + (size_t)q;
        __m128i dot = _mm_sub_epi32(sum4_i32(sums[q][0], sums[q][1], sums[q][2], sums[q][3]),
                                    _mm_set1_epi32(tile->query_sums[at] * 128));
        __m128 scaled = _mm_mul_ps(_mm_cvtepi32_ps(dot), row_scales);
        _mm_storeu_ps(tile->scores + at * tile->stride + first_row,
                      _mm_mul_ps(scaled, _mm_set1_ps(tile->query_scales[at])));
    }
}

VNNI void dns_scan_i8_vnni(const struct scan_tile *tile)
{
    for (size_t r = 0; r < tile->n_rows; r += 4) {
        const uint8_t *rows[4];
        size_t n = tile->n_rows - r, q = 0;
        __mmask8 present = n >= 4 ? 0xf : (__mmask8)((1u << n) - 1);
        __m128 scales = _mm_maskz_loadu_ps(present, tile->row_scales + r);
        four_rows(rows, tile, r, tile->dim);
        for (; q + 4 <= tile->n_queries; q += 4)
            block_i8(tile, rows, scales, r, q, 4);
        for (; q < tile->n_queries; q++)
            block_i8(tile, rows, scales, r, q, 1);
    }
}

/* ---- codes ---- */

INLINE AVX512 __mmask64 bytes_left(size_t n)
{
    return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

/* The sums of eight vectors, in order. */
INLINE AVX512 __m512i sum8_i64(const __m512i v[8])
{
    __m512i pairs[4], fours[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        pairs[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]),
                                    _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]));
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++)
        fours[i] = _mm512_add_epi64(_mm512_shuffle_i64x2(pairs[2 * i], pairs[2 * i + 1], 0x88),
                                    _mm512_shuffle_i64x2(pairs[2 * i], pairs[2 * i + 1], 0xdd));
    return _mm512_add_epi64(_mm512_shuffle_i64x2(fours[0], fours[1], 0x88),
                            _mm512_shuffle_i64x2(fours[0], fours[1], 0xdd));
}

INLINE AVX512 void store_negative(float *scores, __m512i counts)
{
    _mm256_storeu_ps(scores, _mm512_cvtepi64_ps(_mm512_sub_epi64(_mm512_setzero_si512(), counts)));
}

/* Eight rows against one query, as they lie: the speed of memory. */
INLINE VPOPCNTDQ void codes_in_place(const struct scan_tile *tile, size_t first,
                                     const uint8_t *query, float *scores)
{
    const uint8_t *rows = tile->rows;
    size_t dim = tile->dim;
    __m512i counts[8];
#pragma GCC unroll 8
    for (size_t r = 0; r < 8; r++) {
        const uint8_t *row = rows + (first + r < tile->n_rows ? first + r : tile->n_rows - 1) * dim;
        counts[r] = _mm512_setzero_si512();
        for (size_t i = 0; i < dim; i += 64) {
            __mmask64 lanes = bytes_left(dim - i);
            __m512i different = _mm512_xor_si512(_mm512_maskz_loadu_epi8(lanes, row + i),
                                                 _mm512_maskz_loadu_epi8(lanes, query + i));
            counts[r] = _mm512_add_epi64(counts[r], _mm512_popcnt_epi64(different));
        }
    }
    store_negative(scores + first, sum8_i64(counts));
}

/* Eight rows as vectors of one word each: words[w] holds word w of all eight. */
INLINE AVX512 void transpose(__m512i words[8], const __m512i rows[8])
{
    __m512i pairs[2][4]; /* even and odd words of two rows */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        pairs[0][i] = _mm512_unpacklo_epi64(rows[2 * i], rows[2 * i + 1]);
        pairs[1][i] = _mm512_unpackhi_epi64(rows[2 * i], rows[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; odd++) {
        const __m512i *p = pairs[odd];
        __m512i low[2] = {_mm512_shuffle_i64x2(p[0], p[1], 0x88),
                          _mm512_shuffle_i64x2(p[2], p[3], 0x88)};
        __m512i high[2] = {_mm512_shuffle_i64x2(p[0], p[1], 0xdd),
                           _mm512_shuffle_i64x2(p[2], p[3], 0xdd)};
        words[odd] = _mm512_shuffle_i64x2(low[0], low[1], 0x88);
        words[odd + 4] = _mm512_shuffle_i64x2(low[0], low[1], 0xdd);
        words[odd + 2] = _mm512_shuffle_i64x2(high[0], high[1], 0x88);
        words[odd + 6] = _mm512_shuffle_i64x2(high[0], high[1], 0xdd);
    }
}

/* All rows of the tile in groups of eight, [n_groups, n_words], n_words being a multiple of 8;
 * zeros behind a row. */
INLINE AVX512 void transpose_tile(const struct scan_tile *tile, size_t n_words)
{
    __m512i *words = tile->scratch;
    for (size_t first = 0; first < tile->n_rows; first += 8)
        for (size_t i = 0; i < n_words * 8; i += 64, words += 8) {
            __m512i rows[8];
#pragma GCC unroll 8
            for (size_t r = 0; r < 8; r++) {
                size_t row = first + r < tile->n_rows ? first + r : tile->n_rows - 1;
                rows[r] = _mm512_maskz_loadu_epi8(
                    bytes_left(tile->dim - i), (const uint8_t *)tile->rows + row * tile->dim + i);
            }
            transpose(words, rows);
        }
}

/* counts[q] += the bits in which eight rows differ from query q in one word, of `n` bytes. */
INLINE VPOPCNTDQ void step_codes(__m512i counts[4], __m512i word, const uint8_t *query, size_t dim,
                                 const int n_queries, size_t n)
{
#pragma GCC unroll 4
    for (int q = 0; q < n_queries; q++) {
        uint64_t asked = 0;
        memcpy(&asked, query + (size_t)q * dim, n);
        __m512i different = _mm512_xor_si512(word, _mm512_set1_epi64((int64_t)asked));
        counts[q] = _mm512_add_epi64(counts[q], _mm512_popcnt_epi64(different));
    }
}

/* The transposed tile against `n_queries` (1 or 4) queries. */
INLINE VPOPCNTDQ void block_codes(const struct scan_tile *tile, size_t n_words, size_t first_query,
                                  const int n_queries)
{
    const uint8_t *query = (const uint8_t *)tile->queries + first_query * tile->dim;
    const __m512i *words = tile->scratch;
    for (size_t first = 0; first < tile->n_rows; first += 8, words += n_words) {
        __m512i counts[4];
        size_t i = 0;
#pragma GCC unroll 4
        for (int q = 0; q < n_queries; q++)
            counts[q] = _mm512_setzero_si512();
        for (; i + 8 <= tile->dim; i += 8)
            step_codes(counts, words[i / 8], query + i, tile->dim, n_queries, 8);
        if (i < tile->dim)
            step_codes(counts, words[i / 8], query + i, tile->dim, n_queries, tile->dim - i);
#pragma GCC unroll 4
        for (int q = 0; q < n_queries; q++)
            store_negative(tile->scores + (first_query + (size_t)q) * tile->stride + first,
                           counts[q]);
    }
}

VPOPCNTDQ void dns_scan_codes_vpopcntdq(const struct scan_tile *tile)
{
    if (tile->n_queries < 4) {
        for (size_t q = 0; q < tile->n_queries; q++)
            for (size_t r = 0; r < tile->n_rows; r += 8)
                codes_in_place(tile, r, (const uint8_t *)tile->queries + q * tile->dim,
                               tile->scores + q * tile->stride);
        return;
    }
    size_t n_words = (tile->dim + 63) / 64 * 8, q = 0;
    transpose_tile(tile, n_words);
    for (; q + 4 <= tile->n_queries; q += 4)
        block_codes(tile, n_words, q, 4);
    for (; q < tile->n_queries; q++)
        block_codes(tile, n_words, q, 1);
}
