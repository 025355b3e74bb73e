/*
 * AVX-512. The products keep a tile of sums in registers: 9 target rows or 12 places against 3 or 2
 * vectors of query rows or channels, 27 or 24 of the 32 registers, so that each load serves many
 * multiplications. Tile sizes are constants of inlined functions; the switch at the end of each
 * picks one.
 */
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels_isa.h"

#define AVX512 __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")))
#define VNNI __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define VPOPCNTDQ \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vpopcntdq")))
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { N_TILE_ROWS = 9, N_TILE_VECTORS = DNS_PANEL / DNS_LANES, N_TILE_PLACES = 12 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The first n lanes, n <= 16. */
AVX512 INLINE __mmask16 lanes16(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

AVX512 INLINE __mmask64 lanes64(size_t n)
{
    return n < 64 ? (1ULL << n) - 1 : ~0ULL;
}

/* Rows one after another, four sums each: read side by side, they came at half the speed of memory.
 */
AVX512 DNS_KERNEL_ROWS_F32(avx512)
{
    for (size_t i = 0; i < n_rows; i++, rows += dim) {
        __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                         _mm512_setzero_ps()};
        size_t k = 0;
        for (; k + 4 * DNS_LANES <= dim; k += 4 * DNS_LANES)
            UNROLL for (size_t v = 0; v < 4; v++) sum[v] =
                _mm512_fmadd_ps(_mm512_loadu_ps(query + k + v * DNS_LANES),
                                _mm512_loadu_ps(rows + k + v * DNS_LANES), sum[v]);
        for (; k < dim; k += DNS_LANES) {
            __mmask16 lanes = lanes16(smaller(dim - k, DNS_LANES));
            sum[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(lanes, query + k),
                                     _mm512_maskz_loadu_ps(lanes, rows + k), sum[0]);
        }
        out[i] = _mm512_reduce_add_ps(
            _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
    }
}

/* Sums of vpdpbusd: in arrays of __m512i gcc 12 copies each of them before and after the
 * instruction. */
typedef int words __attribute__((vector_size(64)));

/* The instruction wants one operand unsigned: 128 is added to the row and 128 * sum(query) taken
 * off again. */
VNNI DNS_KERNEL_ROWS_I8(vnni)
{
    const __m512i flip = _mm512_set1_epi8(-128);
    int32_t offset;
    dns_sums_i8_vnni(&offset, query, 1, dim);
    offset *= 128;
    for (size_t i = 0; i < n_rows; i++, rows += dim) {
        words sum[4] = {{0}, {0}, {0}, {0}};
        size_t k = 0;
        for (; k + 256 <= dim; k += 256)
            UNROLL for (size_t v = 0; v < 4; v++) sum[v] = (words)_mm512_dpbusd_epi32(
                (__m512i)sum[v], _mm512_xor_si512(flip, _mm512_loadu_si512(rows + k + 64 * v)),
                _mm512_loadu_si512(query + k + 64 * v));
        for (; k < dim; k += 64) {
            __mmask64 lanes = lanes64(dim - k);
            sum[0] = (words)_mm512_dpbusd_epi32(
                (__m512i)sum[0], _mm512_xor_si512(flip, _mm512_maskz_loadu_epi8(lanes, rows + k)),
                _mm512_maskz_loadu_epi8(lanes, query + k));
        }
        out[i] = _mm512_reduce_add_epi32((__m512i)(sum[0] + sum[1] + sum[2] + sum[3])) - offset;
    }
}

VNNI DNS_KERNEL_SUMS_I8(vnni)
{
    const __m512i ones = _mm512_set1_epi8(1);
    for (size_t i = 0; i < n_rows; i++) {
        __m512i sum = _mm512_setzero_si512();
        for (size_t k = 0; k < dim; k += 64)
            sum = _mm512_dpbusd_epi32(
                sum, ones, _mm512_maskz_loadu_epi8(lanes64(dim - k), rows + i * dim + k));
        out[i] = _mm512_reduce_add_epi32(sum);
    }
}

AVX512 DNS_KERNEL_WIDEN_F16(avx512)
{
    for (size_t i = 0; i < n; i += DNS_LANES) {
        __mmask16 lanes = lanes16(smaller(n - i, DNS_LANES));
        _mm512_mask_storeu_ps(out + i, lanes,
                              _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, in + i)));
    }
}

AVX512 DNS_KERNEL_WIDEN_I8(avx512)
{
    for (size_t i = 0; i < n; i += DNS_LANES) {
        __mmask16 lanes = lanes16(smaller(n - i, DNS_LANES));
        __m512i whole = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lanes, in + i));
        _mm512_mask_storeu_ps(out + i, lanes,
                              _mm512_mul_ps(_mm512_set1_ps(factor), _mm512_cvtepi32_ps(whole)));
    }
}

AVX512 DNS_KERNEL_WIDEN_BITS(avx512)
{
    const __m512i minus = _mm512_set1_epi8(-1), plus = _mm512_set1_epi8(1);
    for (size_t i = 0; i < n; i += 64) {
        size_t n_left = smaller(n - i, 64);
        uint64_t bits = 0;
        memcpy(&bits, in + i / 8, (n_left + 7) / 8);
        _mm512_mask_storeu_epi8(out + i, lanes64(n_left),
                                _mm512_mask_blend_epi8(bits, minus, plus));
    }
}

AVX512 DNS_KERNEL_ROW_TO_I8(avx512)
{
    const __m512 most = _mm512_set1_ps(127.0f), least = _mm512_set1_ps(-127.0f);
    __m512 largest = _mm512_setzero_ps();
    for (size_t i = 0; i < dim; i += DNS_LANES)
        largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_maskz_loadu_ps(
                                             lanes16(smaller(dim - i, DNS_LANES)), in + i)));
    float scale = _mm512_reduce_max_ps(largest) / 127.0f,
          inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    if (!isfinite(inverse))
        scale = inverse = 0.0f;
    for (size_t i = 0; i < dim; i += DNS_LANES) {
        __mmask16 lanes = lanes16(smaller(dim - i, DNS_LANES));
        __m512 level = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, in + i), _mm512_set1_ps(inverse));
        level = _mm512_min_ps(_mm512_max_ps(level, least), most);
        _mm512_mask_cvtepi32_storeu_epi8(out + i, lanes, _mm512_cvtps_epi32(level));
    }
    return scale;
}

/* Sums of the eight words of each of eight vectors: each step halves the vectors and doubles what a
 * word holds. */
AVX512 INLINE __m512i sum_words(const __m512i v[8])
{
    __m512i two[4], four[2];
    UNROLL for (size_t i = 0; i < 4; i++) two[i] =
        _mm512_add_epi64(_mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]),
                         _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]));
    UNROLL for (size_t i = 0; i < 2; i++) four[i] =
        _mm512_add_epi64(_mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0x88),
                         _mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0xdd));
    /* four[0] holds pairs (0,1) twice, then (2,3) twice; four[1] likewise 4 to 7. */
    return _mm512_add_epi64(_mm512_shuffle_i64x2(four[0], four[1], 0x88),
                            _mm512_shuffle_i64x2(four[0], four[1], 0xdd));
}

VPOPCNTDQ DNS_KERNEL_ROWS_HAMMING(vpopcntdq)
{
    for (size_t i = 0; i < n_rows; i += 8) {
        size_t n = smaller(n_rows - i, 8);
        __m512i count[8];
        UNROLL for (size_t r = 0; r < 8; r++) count[r] = _mm512_setzero_si512();
        for (size_t k = 0; k < n_bytes; k += 64) {
            __mmask64 lanes = lanes64(n_bytes - k);
            __m512i q = _mm512_maskz_loadu_epi8(lanes, query + k);
            UNROLL for (size_t r = 0; r < 8; r++)
            {
                const uint8_t *row = rows + (i + (r < n ? r : 0)) * n_bytes;
                __m512i differing = _mm512_xor_si512(q, _mm512_maskz_loadu_epi8(lanes, row + k));
                count[r] = _mm512_add_epi64(count[r], _mm512_popcnt_epi64(differing));
            }
        }
        __m256i total = _mm512_cvtepi64_epi32(sum_words(count));
        _mm256_mask_storeu_epi32(out + i, (__mmask8)lanes16(n), total);
    }
}

/* Where the sums of a tile go. */
typedef struct target_place {
    float *max;
    size_t stride; /* from target frame to target frame */
    enum {
        KEEP_LARGEST, /* the largest of the target rows */
        KEEP_LARGER,  /* the same with what is there already */
        KEEP_ALL      /* each: frames of a single region */
    } keep;
} target_place;

/* The next tile begins with target row t and has *n rows: regions of one frame, or frames of one
 * region. */
static target_place place_of(size_t *n, float *max, size_t stride, size_t t, size_t n_frames,
                             size_t n_regions)
{
    size_t region = t % n_regions;
    *n = smaller(n_regions == 1 ? n_frames - t : n_regions - region, N_TILE_ROWS);
    return (target_place){max + t / n_regions * stride, stride,
                          n_regions == 1 ? KEEP_ALL
                          : region > 0   ? KEEP_LARGER
                                         : KEEP_LARGEST};
}

/* Vector v of the sums of n_rows target rows. */
AVX512 INLINE void put_rows(const target_place *to, size_t v, const __m512 *rows,
                            const size_t n_rows)
{
    float *max = to->max + v * DNS_LANES;
    if (to->keep == KEEP_ALL) {
        UNROLL for (size_t p = 0; p < n_rows; p++) _mm512_storeu_ps(max + p * to->stride, rows[p]);
        return;
    }
    __m512 largest = rows[0];
    UNROLL for (size_t p = 1; p < n_rows; p++) largest = _mm512_max_ps(largest, rows[p]);
    if (to->keep == KEEP_LARGER)
        largest = _mm512_max_ps(largest, _mm512_loadu_ps(max));
    _mm512_storeu_ps(max, largest);
}

/* n_rows target rows against n_vectors * DNS_LANES query rows. */
AVX512 INLINE void max_tile_f32(const target_place *to, const float *panel, const float *target,
                                size_t dim, const size_t n_rows, const size_t n_vectors)
{
    __m512 sum[N_TILE_VECTORS][N_TILE_ROWS];
    UNROLL for (size_t v = 0; v < n_vectors; v++) UNROLL for (size_t p = 0; p < n_rows; p++)
        sum[v][p] = _mm512_setzero_ps();
    for (size_t k = 0; k < dim; k++) {
        __m512 q[N_TILE_VECTORS];
        UNROLL for (size_t v = 0; v < n_vectors; v++) q[v] =
            _mm512_load_ps(panel + (k * n_vectors + v) * DNS_LANES);
        UNROLL for (size_t p = 0; p < n_rows; p++)
        {
            __m512 t = _mm512_set1_ps(target[p * dim + k]);
            UNROLL for (size_t v = 0; v < n_vectors; v++) sum[v][p] =
                _mm512_fmadd_ps(t, q[v], sum[v][p]);
        }
    }
    UNROLL for (size_t v = 0; v < n_vectors; v++) put_rows(to, v, sum[v], n_rows);
}

AVX512 INLINE void max_rows_f32(const target_place *to, const float *panel, const float *target,
                                size_t dim, size_t n_rows, const size_t n_vectors)
{
    switch (n_rows) {
#define CASE(n)                                             \
    case n:                                                 \
        max_tile_f32(to, panel, target, dim, n, n_vectors); \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
        CASE(9);
#undef CASE
    }
}

AVX512 DNS_KERNEL_MAX_F32(avx512)
{
    for (size_t r = 0; r < n_rows; r += DNS_PANEL) {
        const float *panel = panels + r * dim;
        size_t n_vectors = smaller(n_rows - r, DNS_PANEL) / DNS_LANES;
        for (size_t t = 0, n; t < n_frames * n_regions; t += n) {
            const target_place to = place_of(&n, max + r, n_rows, t, n_frames, n_regions);
            if (n_vectors == 3)
                max_rows_f32(&to, panel, target + t * dim, dim, n, 3);
            else if (n_vectors == 2)
                max_rows_f32(&to, panel, target + t * dim, dim, n, 2);
            else
                max_rows_f32(&to, panel, target + t * dim, dim, n, 1);
        }
    }
}

/* Products of all regions of 16 query frames with n_rows of a target frame's, into both maxima. */
AVX512 INLINE void both_tile(__m512 largest[N_TILE_ROWS], __m512 *sum, const float *panels,
                             const float *target, size_t dim, const size_t n_rows)
{
    __m512 product[N_TILE_ROWS][N_TILE_VECTORS];
    UNROLL for (size_t o = 0; o < N_TILE_ROWS; o++) UNROLL for (size_t p = 0; p < n_rows; p++)
        product[o][p] = _mm512_setzero_ps();
    for (size_t k = 0; k < dim; k++) {
        __m512 t[N_TILE_VECTORS];
        UNROLL for (size_t p = 0; p < n_rows; p++) t[p] = _mm512_set1_ps(target[p * dim + k]);
        UNROLL for (size_t o = 0; o < N_TILE_ROWS; o++)
        {
            __m512 q = _mm512_load_ps(panels + (o / N_TILE_VECTORS * dim + k) * DNS_PANEL +
                                      o % N_TILE_VECTORS * DNS_LANES);
            UNROLL for (size_t p = 0; p < n_rows; p++) product[o][p] =
                _mm512_fmadd_ps(q, t[p], product[o][p]);
        }
    }
    UNROLL for (size_t p = 0; p < n_rows; p++)
    {
        __m512 most = product[0][p];
        UNROLL for (size_t o = 0; o < N_TILE_ROWS; o++)
        {
            most = _mm512_max_ps(most, product[o][p]);
            largest[o] = _mm512_max_ps(largest[o], product[o][p]);
        }
        *sum = _mm512_add_ps(*sum, most);
    }
}

/* Nine regions fill the tile; other numbers are nobody's. */
AVX512 DNS_KERNEL_BOTH_F32(avx512)
{
    if (n_regions != N_TILE_ROWS) {
        dns_both_f32_plain(sums, panels, target, n_frames, n_regions, dim);
        return;
    }
    for (size_t j = 0; j < n_frames; j++, target += N_TILE_ROWS * dim) {
        __m512 largest[N_TILE_ROWS], sum = _mm512_setzero_ps();
        UNROLL for (size_t o = 0; o < N_TILE_ROWS; o++) largest[o] = _mm512_set1_ps(-FLT_MAX);
        for (size_t p = 0; p < N_TILE_ROWS; p += N_TILE_VECTORS)
            both_tile(largest, &sum, panels, target + p * dim, dim, N_TILE_VECTORS);
        UNROLL for (size_t o = 0; o < N_TILE_ROWS; o++) sum = _mm512_add_ps(sum, largest[o]);
        _mm512_storeu_ps(sums + j * DNS_LANES, sum);
    }
}

VNNI INLINE int load_four(const void *bytes)
{
    int word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

VNNI INLINE void max_tile_i8(const target_place *to, const uint8_t *panel, const int8_t *target,
                             const float *scales, const int32_t *sums, size_t dim,
                             const size_t n_rows, const size_t n_vectors)
{
    words sum[N_TILE_VECTORS][N_TILE_ROWS];
    UNROLL for (size_t v = 0; v < n_vectors; v++) UNROLL for (size_t p = 0; p < n_rows; p++)
        sum[v][p] = (words)_mm512_set1_epi32(-128 * sums[p]);
    for (size_t k = 0; k < dim; k += 4) {
        __m512i q[N_TILE_VECTORS];
        UNROLL for (size_t v = 0; v < n_vectors; v++) q[v] =
            _mm512_load_si512(panel + (k * n_vectors + 4 * v) * DNS_LANES);
        UNROLL for (size_t p = 0; p < n_rows; p++)
        {
            __m512i t = _mm512_set1_epi32(load_four(target + p * dim + k));
            UNROLL for (size_t v = 0; v < n_vectors; v++) sum[v][p] =
                (words)_mm512_dpbusd_epi32((__m512i)sum[v][p], q[v], t);
        }
    }
    UNROLL for (size_t v = 0; v < n_vectors; v++)
    {
        __m512 rows[N_TILE_ROWS];
        UNROLL for (size_t p = 0; p < n_rows; p++) rows[p] =
            _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)sum[v][p]), _mm512_set1_ps(scales[p]));
        put_rows(to, v, rows, n_rows);
    }
}

VNNI INLINE void max_rows_i8(const target_place *to, const uint8_t *panel, const int8_t *target,
                             const float *scales, const int32_t *sums, size_t dim, size_t n_rows,
                             const size_t n_vectors)
{
    switch (n_rows) {
#define CASE(n)                                                          \
    case n:                                                              \
        max_tile_i8(to, panel, target, scales, sums, dim, n, n_vectors); \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
        CASE(9);
#undef CASE
    }
}

VNNI DNS_KERNEL_MAX_I8(vnni)
{
    for (size_t r = 0; r < n_rows; r += DNS_PANEL) {
        const uint8_t *panel = panels + r * dim;
        size_t n_vectors = smaller(n_rows - r, DNS_PANEL) / DNS_LANES;
        for (size_t t = 0, n; t < n_frames * n_regions; t += n) {
            const target_place to = place_of(&n, max + r, n_rows, t, n_frames, n_regions);
            if (n_vectors == 3)
                max_rows_i8(&to, panel, target + t * dim, scales + t, sums + t, dim, n, 3);
            else if (n_vectors == 2)
                max_rows_i8(&to, panel, target + t * dim, scales + t, sums + t, dim, n, 2);
            else
                max_rows_i8(&to, panel, target + t * dim, scales + t, sums + t, dim, n, 1);
        }
    }
}

VPOPCNTDQ INLINE __m512i differing_bits(__m512i sum, __m512i q, const uint8_t *word)
{
    long long bits;
    memcpy(&bits, word, sizeof bits);
    return _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(q, _mm512_set1_epi64(bits))));
}

/* One panel against all frames. Codes of up to 8 words stay in registers. */
VPOPCNTDQ INLINE void min_panel(uint32_t *min, size_t stride, const uint64_t *panel,
                                const uint8_t *target, size_t n_frames, size_t n_regions,
                                const size_t n_words)
{
    for (size_t j = 0; j < n_frames; j++) {
        __m512i low = _mm512_set1_epi64(UINT32_MAX), high = low;
        for (size_t p = 0; p < n_regions; p++, target += 8 * n_words) {
            __m512i sum_low = _mm512_setzero_si512(), sum_high = sum_low;
            UNROLL for (size_t w = 0; w < n_words; w++)
            {
                sum_low = differing_bits(sum_low, _mm512_load_si512(panel + w * DNS_LANES),
                                         target + 8 * w);
                sum_high = differing_bits(sum_high, _mm512_load_si512(panel + w * DNS_LANES + 8),
                                          target + 8 * w);
            }
            low = _mm512_min_epu64(low, sum_low);
            high = _mm512_min_epu64(high, sum_high);
        }
        _mm256_storeu_si256((__m256i *)(min + j * stride), _mm512_cvtepi64_epi32(low));
        _mm256_storeu_si256((__m256i *)(min + j * stride + 8), _mm512_cvtepi64_epi32(high));
    }
}

VPOPCNTDQ DNS_KERNEL_MIN_HAMMING(vpopcntdq)
{
    for (size_t r = 0; r < n_rows; r += DNS_LANES) {
        const uint64_t *panel = panels + r * n_words;
        if (n_words == 8)
            min_panel(min + r, n_rows, panel, target, n_frames, n_regions, 8);
        else if (n_words == 4)
            min_panel(min + r, n_rows, panel, target, n_frames, n_regions, 4);
        else if (n_words == 2)
            min_panel(min + r, n_rows, panel, target, n_frames, n_regions, 2);
        else
            min_panel(min + r, n_rows, panel, target, n_frames, n_regions, n_words);
    }
}

/* Channels of one place that are summed at a time: a block, or the only one of the first layer. */
AVX512 INLINE void conv_tile_f32(float *out, size_t out_plane, const float *in, size_t in_row,
                                 size_t in_plane, size_t n_in, const float *weights,
                                 const float *bias, const size_t n_places, const size_t n_vectors,
                                 const size_t n_channels)
{
    __m512 sum[N_TILE_PLACES][2];
    UNROLL for (size_t x = 0; x < n_places; x++) UNROLL for (size_t v = 0; v < n_vectors; v++)
        sum[x][v] = _mm512_loadu_ps(bias + v * DNS_LANES);
    for (size_t i = 0; i < n_in; i++)
        for (size_t tap = 0; tap < 9; tap++) {
            const float *place = in + i * in_plane + tap / 3 * in_row + tap % 3 * n_channels;
            for (size_t c = 0; c < n_channels; c++, weights += n_vectors * DNS_LANES) {
                __m512 weight[2];
                UNROLL for (size_t v = 0; v < n_vectors; v++) weight[v] =
                    _mm512_load_ps(weights + v * DNS_LANES);
                UNROLL for (size_t x = 0; x < n_places; x++)
                {
                    __m512 value = _mm512_set1_ps(place[x * n_channels + c]);
                    UNROLL for (size_t v = 0; v < n_vectors; v++) sum[x][v] =
                        _mm512_fmadd_ps(value, weight[v], sum[x][v]);
                }
            }
        }
    UNROLL for (size_t x = 0; x < n_places; x++) UNROLL for (size_t v = 0; v < n_vectors; v++)
        _mm512_storeu_ps(out + v * out_plane + x * DNS_LANES, sum[x][v]);
}

AVX512 INLINE void conv_places_f32(float *out, size_t out_plane, const float *in, size_t in_row,
                                   size_t in_plane, size_t n_in, const float *weights,
                                   const float *bias, size_t n_places, const size_t n_vectors,
                                   const size_t n_channels)
{
    switch (n_places) {
#define CASE(n)                                                                                \
    case n:                                                                                    \
        conv_tile_f32(out, out_plane, in, in_row, in_plane, n_in, weights, bias, n, n_vectors, \
                      n_channels);                                                             \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
#undef CASE
    }
}

/* A row in tiles of nearly equal width, none wider than N_TILE_PLACES. */
#define FOR_TILES(x, n, width)                                                \
    for (size_t x = 0, n, left = (width + N_TILE_PLACES - 1) / N_TILE_PLACES; \
         left > 0 && (n = (width - x + left - 1) / left, true); x += n, left--)

AVX512 DNS_KERNEL_CONV_F32(avx512)
{
    for (size_t b = 0; b < n_out; b += 2, out += 2 * out_plane, bias += 2 * DNS_LANES) {
        FOR_TILES(x, n, width)
        {
            float *to = out + x * DNS_LANES;
            const float *from = in + x * DNS_LANES;
            if (b + 1 < n_out)
                conv_places_f32(to, out_plane, from, in_row, in_plane, n_in, weights, bias, n, 2,
                                DNS_LANES);
            else
                conv_places_f32(to, out_plane, from, in_row, in_plane, n_in, weights, bias, n, 1,
                                DNS_LANES);
        }
        weights += n_in * 9 * DNS_LANES * 2 * DNS_LANES;
    }
}

AVX512 DNS_KERNEL_CONV_FIRST_F32(avx512)
{
    for (size_t b = 0; b < n_out; b += 2, out += 2 * out_plane, bias += 2 * DNS_LANES) {
        FOR_TILES(x, n, width)
        {
            if (b + 1 < n_out)
                conv_places_f32(out + x * DNS_LANES, out_plane, in + x, in_row, 0, 1, weights, bias,
                                n, 2, 1);
            else
                conv_places_f32(out + x * DNS_LANES, out_plane, in + x, in_row, 0, 1, weights, bias,
                                n, 1, 1);
        }
        weights += 9 * 2 * DNS_LANES;
    }
}

VNNI INLINE void conv_tile_i8(float *out, size_t out_plane, const uint8_t *in, size_t in_row,
                              size_t in_plane, size_t n_in, const int8_t *weights,
                              const float *scale, const float *bias, const size_t n_places,
                              const size_t n_vectors)
{
    words sum[N_TILE_PLACES][2];
    UNROLL for (size_t x = 0; x < n_places; x++) UNROLL for (size_t v = 0; v < n_vectors; v++)
        sum[x][v] = (words)_mm512_setzero_si512();
    for (size_t i = 0; i < n_in; i++)
        for (size_t tap = 0; tap < 9; tap++) {
            const uint8_t *place = in + i * in_plane + tap / 3 * in_row + tap % 3 * DNS_LANES;
            for (size_t c = 0; c < DNS_LANES; c += 4, weights += n_vectors * DNS_LANES * 4) {
                __m512i weight[2];
                UNROLL for (size_t v = 0; v < n_vectors; v++) weight[v] =
                    _mm512_load_si512(weights + v * DNS_LANES * 4);
                UNROLL for (size_t x = 0; x < n_places; x++)
                {
                    __m512i value = _mm512_set1_epi32(load_four(place + x * DNS_LANES + c));
                    UNROLL for (size_t v = 0; v < n_vectors; v++) sum[x][v] =
                        (words)_mm512_dpbusd_epi32((__m512i)sum[x][v], value, weight[v]);
                }
            }
        }
    UNROLL for (size_t v = 0; v < n_vectors; v++)
    {
        __m512 factor = _mm512_loadu_ps(scale + v * DNS_LANES),
               offset = _mm512_loadu_ps(bias + v * DNS_LANES);
        UNROLL for (size_t x = 0; x < n_places; x++) _mm512_storeu_ps(
            out + v * out_plane + x * DNS_LANES,
            _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)sum[x][v]), factor, offset));
    }
}

VNNI INLINE void conv_places_i8(float *out, size_t out_plane, const uint8_t *in, size_t in_row,
                                size_t in_plane, size_t n_in, const int8_t *weights,
                                const float *scale, const float *bias, size_t n_places,
                                const size_t n_vectors)
{
    switch (n_places) {
#define CASE(n)                                                                           \
    case n:                                                                               \
        conv_tile_i8(out, out_plane, in, in_row, in_plane, n_in, weights, scale, bias, n, \
                     n_vectors);                                                          \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
#undef CASE
    }
}

VNNI DNS_KERNEL_CONV_I8(vnni)
{
    for (size_t b = 0; b < n_out; b += 2, out += 2 * out_plane) {
        const float *factor = scale + b * DNS_LANES, *offset = bias + b * DNS_LANES;
        FOR_TILES(x, n, width)
        {
            float *to = out + x * DNS_LANES;
            const uint8_t *from = in + x * DNS_LANES;
            if (b + 1 < n_out)
                conv_places_i8(to, out_plane, from, in_row, in_plane, n_in, weights, factor, offset,
                               n, 2);
            else
                conv_places_i8(to, out_plane, from, in_row, in_plane, n_in, weights, factor, offset,
                               n, 1);
        }
        weights += n_in * 9 * DNS_LANES * 2 * DNS_LANES;
    }
}

AVX512 DNS_KERNEL_POOL_F32(avx512)
{
    __m512 largest = _mm512_setzero_ps();
    for (size_t x = 0; x < n; x++, top += 2 * DNS_LANES, bottom += 2 * DNS_LANES) {
        __m512 upper = _mm512_max_ps(_mm512_loadu_ps(top), _mm512_loadu_ps(top + DNS_LANES));
        __m512 lower = _mm512_max_ps(_mm512_loadu_ps(bottom), _mm512_loadu_ps(bottom + DNS_LANES));
        __m512 value = _mm512_max_ps(_mm512_setzero_ps(), _mm512_max_ps(upper, lower));
        largest = _mm512_max_ps(largest, value);
        _mm512_storeu_ps(out + x * DNS_LANES, value);
    }
    return _mm512_reduce_max_ps(largest);
}

AVX512 DNS_KERNEL_RELU_DOT_F32(avx512)
{
    for (size_t x = 0; x < width; x++) {
        __m512 sum = _mm512_setzero_ps();
        for (size_t b = 0; b < n_in; b++) {
            __m512 value = _mm512_max_ps(_mm512_setzero_ps(),
                                         _mm512_loadu_ps(in + b * in_plane + x * DNS_LANES));
            sum = _mm512_fmadd_ps(value, _mm512_loadu_ps(weights + b * DNS_LANES), sum);
        }
        out[x] = bias + _mm512_reduce_add_ps(sum);
    }
}

AVX512 INLINE __m512i quantised(__m512 in, __m512 factor)
{
    __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(in, factor));
    return _mm512_max_epi32(whole, _mm512_setzero_si512());
}

AVX512 DNS_KERNEL_QUANTISE_U8(avx512)
{
    const __m512 scale = _mm512_set1_ps(factor);
    size_t i = 0;
    for (; i + DNS_LANES <= n; i += DNS_LANES)
        _mm_storeu_si128((__m128i *)(void *)(out + i),
                         _mm512_cvtusepi32_epi8(quantised(_mm512_loadu_ps(in + i), scale)));
    if (i < n) {
        __mmask16 lanes = lanes16(n - i);
        _mm512_mask_cvtusepi32_storeu_epi8(out + i, lanes,
                                           quantised(_mm512_maskz_loadu_ps(lanes, in + i), scale));
    }
}
