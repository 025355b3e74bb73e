/* AVX2 and FMA: the tiles of kernels_avx512.c for 16 registers of half the size. */
#include <float.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels_isa.h"

#define AVX2 __attribute__((target("avx2,fma,f16c,popcnt")))
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum {
    HALF = DNS_LANES / 2,
    N_TILE_ROWS = 3,
    N_TILE_VECTORS = 3,
    N_TILE_PLACES = 6,
    N_GROUP_ROWS = 9,
    N_BLOCK_DIMS = 128
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

AVX2 INLINE float sum_lanes(__m256 v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

AVX2 INLINE int32_t sum_lanes_i32(__m256i v)
{
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

/* Rows one after another, four sums each: read side by side, they came at half the speed of memory.
 */
AVX2 DNS_KERNEL_ROWS_F32(avx2)
{
    for (size_t i = 0; i < n_rows; i++, rows += dim) {
        __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                         _mm256_setzero_ps()};
        size_t k = 0;
        for (; k + 4 * HALF <= dim; k += 4 * HALF)
            UNROLL for (size_t v = 0; v < 4; v++) sum[v] =
                _mm256_fmadd_ps(_mm256_loadu_ps(query + k + v * HALF),
                                _mm256_loadu_ps(rows + k + v * HALF), sum[v]);
        out[i] =
            sum_lanes(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
        for (; k < dim; k++)
            out[i] += query[k] * rows[k];
    }
}

AVX2 INLINE __m256i load_wide(const int8_t *bytes)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)bytes));
}

AVX2 DNS_KERNEL_ROWS_I8(avx2)
{
    for (size_t i = 0; i < n_rows; i++) {
        const int8_t *row = rows + i * dim;
        __m256i sum = _mm256_setzero_si256();
        size_t k = 0;
        for (; k + 16 <= dim; k += 16)
            sum =
                _mm256_add_epi32(sum, _mm256_madd_epi16(load_wide(query + k), load_wide(row + k)));
        out[i] = sum_lanes_i32(sum);
        for (; k < dim; k++)
            out[i] += query[k] * row[k];
    }
}

AVX2 DNS_KERNEL_SUMS_I8(avx2)
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t i = 0; i < n_rows; i++) {
        const int8_t *row = rows + i * dim;
        __m256i sum = _mm256_setzero_si256();
        size_t k = 0;
        for (; k + 16 <= dim; k += 16)
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(ones, load_wide(row + k)));
        out[i] = sum_lanes_i32(sum);
        for (; k < dim; k++)
            out[i] += row[k];
    }
}

AVX2 DNS_KERNEL_WIDEN_F16(avx2)
{
    size_t i = 0;
    for (; i + HALF <= n; i += HALF)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(in + i))));
    for (; i < n; i++)
        out[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(in[i])));
}

AVX2 DNS_KERNEL_WIDEN_I8(avx2)
{
    size_t i = 0;
    for (; i + HALF <= n; i += HALF) {
        __m256i whole = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(in + i)));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_set1_ps(factor), _mm256_cvtepi32_ps(whole)));
    }
    for (; i < n; i++)
        out[i] = factor * (float)in[i];
}

/* Each byte of the result looks at its own bit of the byte that it came from. */
AVX2 DNS_KERNEL_WIDEN_BITS(avx2)
{
    const __m256i source = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                            2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        int word;
        memcpy(&word, in + i / 8, sizeof word);
        __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(word), source);
        __m256i is_zero = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), _mm256_setzero_si256());
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_or_si256(is_zero, _mm256_set1_epi8(1)));
    }
    if (i < n)
        dns_widen_bits_plain(out + i, in + i / 8, n - i);
}

AVX2 INLINE uint64_t load_u64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

AVX2 INLINE uint64_t differing_bits(const uint8_t *a, const uint8_t *b)
{
    return (uint64_t)_mm_popcnt_u64(load_u64(a) ^ load_u64(b));
}

AVX2 DNS_KERNEL_ROWS_HAMMING(avx2)
{
    for (size_t i = 0; i < n_rows; i++, rows += n_bytes) {
        uint64_t count[4] = {0, 0, 0, 0};
        size_t k = 0;
        for (; k + 32 <= n_bytes; k += 32)
            UNROLL for (size_t w = 0; w < 4; w++) count[w] +=
                differing_bits(query + k + 8 * w, rows + k + 8 * w);
        for (; k + 8 <= n_bytes; k += 8)
            count[0] += differing_bits(query + k, rows + k);
        for (; k < n_bytes; k++)
            count[0] += (uint64_t)_mm_popcnt_u32(query[k] ^ rows[k]);
        out[i] = (uint32_t)(count[0] + count[1] + count[2] + count[3]);
    }
}

/* Sums of a group of target rows with a panel of query rows, built up block of dimensions by block.
 */
typedef float group[N_GROUP_ROWS][DNS_PANEL];

/* n_rows target rows against n_vectors * HALF query rows, over n_dims dimensions. */
AVX2 INLINE void add_tile_f32(float *sums, const float *panel, size_t width, const float *target,
                              size_t dim, size_t n_dims, const size_t n_rows,
                              const size_t n_vectors)
{
    __m256 sum[N_TILE_ROWS][N_TILE_VECTORS];
    UNROLL for (size_t p = 0; p < n_rows; p++) UNROLL for (size_t v = 0; v < n_vectors; v++)
        sum[p][v] = _mm256_load_ps(sums + p * DNS_PANEL + v * HALF);
    for (size_t k = 0; k < n_dims; k++, panel += width) {
        __m256 q[N_TILE_VECTORS];
        UNROLL for (size_t v = 0; v < n_vectors; v++) q[v] = _mm256_load_ps(panel + v * HALF);
        UNROLL for (size_t p = 0; p < n_rows; p++)
        {
            __m256 t = _mm256_broadcast_ss(target + p * dim + k);
            UNROLL for (size_t v = 0; v < n_vectors; v++) sum[p][v] =
                _mm256_fmadd_ps(t, q[v], sum[p][v]);
        }
    }
    UNROLL for (size_t p = 0; p < n_rows; p++) UNROLL for (size_t v = 0; v < n_vectors; v++)
        _mm256_store_ps(sums + p * DNS_PANEL + v * HALF, sum[p][v]);
}

AVX2 INLINE void add_rows_f32(float *sums, const float *panel, size_t width, const float *target,
                              size_t dim, size_t n_dims, size_t n_rows, const size_t n_vectors)
{
    if (n_rows >= 3)
        add_tile_f32(sums, panel, width, target, dim, n_dims, 3, n_vectors);
    else if (n_rows == 2)
        add_tile_f32(sums, panel, width, target, dim, n_dims, 2, n_vectors);
    else
        add_tile_f32(sums, panel, width, target, dim, n_dims, 1, n_vectors);
}

/* sums = products of n_rows target rows with a panel. A block of dimensions of the panel stays in
 * the first cache. */
AVX2 static void multiply_group(group sums, const float *panel, size_t width, const float *target,
                                size_t dim, size_t n_rows)
{
    size_t step = width == DNS_PANEL ? 3 * HALF : 2 * HALF;
    memset(sums, 0, n_rows * sizeof sums[0]);
    for (size_t k = 0; k < dim; k += N_BLOCK_DIMS)
        for (size_t at = 0; at < width; at += step)
            for (size_t p = 0; p < n_rows; p += N_TILE_ROWS) {
                const float *block = panel + k * width + at, *rows = target + p * dim + k;
                size_t n_dims = smaller(dim - k, N_BLOCK_DIMS);
                if (step == 3 * HALF)
                    add_rows_f32(&sums[p][at], block, width, rows, dim, n_dims, n_rows - p, 3);
                else
                    add_rows_f32(&sums[p][at], block, width, rows, dim, n_dims, n_rows - p, 2);
            }
}

/* max = the largest of the rows of a group, and of what is there already when there is `more`. */
AVX2 INLINE void reduce_group(float *max, group sums, size_t width, size_t n_rows, bool more)
{
    for (size_t at = 0; at < width; at += HALF) {
        __m256 largest = _mm256_load_ps(&sums[0][at]);
        for (size_t p = 1; p < n_rows; p++)
            largest = _mm256_max_ps(largest, _mm256_load_ps(&sums[p][at]));
        if (more)
            largest = _mm256_max_ps(largest, _mm256_loadu_ps(max + at));
        _mm256_storeu_ps(max + at, largest);
    }
}

AVX2 DNS_KERNEL_MAX_F32(avx2)
{
    _Alignas(32) group sums;
    for (size_t r = 0, width; r < n_rows; r += width) {
        const float *panel = panels + r * dim;
        width = smaller(n_rows - r, DNS_PANEL);
        for (size_t t = 0, n; t < n_frames * n_regions; t += n) {
            float *place = max + t / n_regions * n_rows + r;
            n = smaller(n_regions == 1 ? n_frames - t : n_regions - t % n_regions, N_GROUP_ROWS);
            multiply_group(sums, panel, width, target + t * dim, dim, n);
            if (n_regions > 1)
                reduce_group(place, sums, width, n, t % n_regions > 0);
            else /* frames of a single region: every row is kept */
                for (size_t p = 0; p < n; p++)
                    memcpy(place + p * n_rows, sums[p], width * sizeof *place);
        }
    }
}

/* A panel's share of both maxima: its regions are those of 16 query frames, one after another. */
AVX2 INLINE void reduce_both(float total[DNS_LANES], float largest[][DNS_LANES], group sums,
                             size_t width, size_t n_rows)
{
    for (size_t at = 0; at < width; at += HALF) {
        size_t lane = at % DNS_LANES;
        __m256 most = _mm256_load_ps(&sums[0][at]);
        for (size_t p = 0; p < n_rows; p++) {
            __m256 product = _mm256_load_ps(&sums[p][at]);
            most = _mm256_max_ps(most, product);
            _mm256_store_ps(&largest[p][lane],
                            _mm256_max_ps(product, _mm256_load_ps(&largest[p][lane])));
        }
        _mm256_store_ps(total + lane, _mm256_add_ps(most, _mm256_load_ps(total + lane)));
    }
}

AVX2 DNS_KERNEL_BOTH_F32(avx2)
{
    _Alignas(32) group sum;
    _Alignas(32) float total[DNS_LANES], largest[N_GROUP_ROWS][DNS_LANES];
    if (n_regions > N_GROUP_ROWS) {
        dns_both_f32_plain(sums, panels, target, n_frames, n_regions, dim);
        return;
    }
    for (size_t j = 0; j < n_frames; j++, target += n_regions * dim) {
        memset(total, 0, sizeof total);
        for (size_t p = 0; p < n_regions; p++)
            for (size_t lane = 0; lane < DNS_LANES; lane++)
                largest[p][lane] = -FLT_MAX;
        for (size_t r = 0, width; r < n_regions * DNS_LANES; r += width) {
            width = smaller(n_regions * DNS_LANES - r, DNS_PANEL);
            multiply_group(sum, panels + r * dim, width, target, dim, n_regions);
            reduce_both(total, largest, sum, width, n_regions);
        }
        for (size_t lane = 0; lane < DNS_LANES; lane++) {
            for (size_t p = 0; p < n_regions; p++)
                total[lane] += largest[p][lane];
            sums[j * DNS_LANES + lane] = total[lane];
        }
    }
}

/* Bits of each byte, by a table of the bits of its halves. */
AVX2 INLINE __m256i count_bytes(__m256i x)
{
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i low = _mm256_set1_epi8(0x0f);
    return _mm256_add_epi8(
        _mm256_shuffle_epi8(table, _mm256_and_si256(x, low)),
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

/* Bytes are summed over at most 31 words, so that none passes 255. */
AVX2 INLINE void count_panel(__m256i count[4], const uint64_t *panel, const uint8_t *row,
                             const size_t n_words)
{
    __m256i bytes[4];
    UNROLL for (size_t v = 0; v < 4; v++) bytes[v] = _mm256_setzero_si256();
    for (size_t w = 0; w < n_words; w++) {
        __m256i word = _mm256_set1_epi64x((long long)load_u64(row + 8 * w));
        UNROLL for (size_t v = 0; v < 4; v++)
        {
            __m256i q = _mm256_load_si256((const __m256i *)(panel + w * DNS_LANES + 4 * v));
            bytes[v] = _mm256_add_epi8(bytes[v], count_bytes(_mm256_xor_si256(q, word)));
        }
    }
    UNROLL for (size_t v = 0; v < 4; v++) count[v] =
        _mm256_add_epi64(count[v], _mm256_sad_epu8(bytes[v], _mm256_setzero_si256()));
}

AVX2 INLINE void min_frame(uint32_t *min, const uint64_t *panel, const uint8_t *target,
                           size_t n_regions, size_t n_words)
{
    __m256i fewest[4];
    UNROLL for (size_t v = 0; v < 4; v++) fewest[v] = _mm256_set1_epi64x(UINT32_MAX);
    for (size_t p = 0; p < n_regions; p++, target += 8 * n_words) {
        __m256i count[4];
        UNROLL for (size_t v = 0; v < 4; v++) count[v] = _mm256_setzero_si256();
        if (n_words == 8)
            count_panel(count, panel, target, 8);
        else
            for (size_t w = 0; w < n_words; w += 31)
                count_panel(count, panel + w * DNS_LANES, target + 8 * w, smaller(n_words - w, 31));
        UNROLL for (size_t v = 0; v < 4; v++) fewest[v] = _mm256_min_epu32(fewest[v], count[v]);
    }
    const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0);
    UNROLL for (size_t v = 0; v < 4; v++)
        _mm_storeu_si128((__m128i *)(min + 4 * v),
                         _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(fewest[v], even)));
}

AVX2 DNS_KERNEL_MIN_HAMMING(avx2)
{
    for (size_t r = 0; r < n_rows; r += DNS_LANES)
        for (size_t j = 0; j < n_frames; j++)
            min_frame(min + j * n_rows + r, panels + r * n_words,
                      target + j * n_regions * n_words * 8, n_regions, n_words);
}

/* One block of output channels, which is `w` channels wide among the weights. */
AVX2 INLINE void conv_tile_f32(float *out, const float *in, size_t in_row, size_t in_plane,
                               size_t n_in, const float *weights, size_t w, const float *bias,
                               const size_t n_places, const size_t n_channels)
{
    __m256 sum[N_TILE_PLACES][2];
    UNROLL for (size_t x = 0; x < n_places; x++) UNROLL for (size_t v = 0; v < 2; v++) sum[x][v] =
        _mm256_loadu_ps(bias + v * HALF);
    for (size_t i = 0; i < n_in; i++)
        for (size_t tap = 0; tap < 9; tap++) {
            const float *place = in + i * in_plane + tap / 3 * in_row + tap % 3 * n_channels;
            for (size_t c = 0; c < n_channels; c++, weights += w) {
                __m256 low = _mm256_load_ps(weights), high = _mm256_load_ps(weights + HALF);
                UNROLL for (size_t x = 0; x < n_places; x++)
                {
                    __m256 value = _mm256_broadcast_ss(place + x * n_channels + c);
                    sum[x][0] = _mm256_fmadd_ps(value, low, sum[x][0]);
                    sum[x][1] = _mm256_fmadd_ps(value, high, sum[x][1]);
                }
            }
        }
    UNROLL for (size_t x = 0; x < n_places; x++) UNROLL for (size_t v = 0; v < 2; v++)
        _mm256_storeu_ps(out + x * DNS_LANES + v * HALF, sum[x][v]);
}

/* A row in tiles of nearly equal width. */
AVX2 INLINE void conv_row_f32(float *out, const float *in, size_t in_row, size_t in_plane,
                              size_t n_in, const float *weights, size_t w, const float *bias,
                              size_t width, const size_t n_channels)
{
    size_t left = (width + N_TILE_PLACES - 1) / N_TILE_PLACES;
    for (size_t x = 0, n; left > 0; x += n, left--) {
        n = (width - x + left - 1) / left;
        switch (n) {
#define CASE(n_places)                                                                           \
    case n_places:                                                                               \
        conv_tile_f32(out + x * DNS_LANES, in + x * n_channels, in_row, in_plane, n_in, weights, \
                      w, bias, n_places, n_channels);                                            \
        break
            CASE(1);
            CASE(2);
            CASE(3);
            CASE(4);
            CASE(5);
            CASE(6);
#undef CASE
        }
    }
}

AVX2 DNS_KERNEL_CONV_F32(avx2)
{
    for (size_t b = 0; b < n_out; b++) {
        size_t w = b / 2 * 2 + 1 < n_out ? 2 * DNS_LANES : DNS_LANES;
        const float *pair = weights + b / 2 * 2 * DNS_LANES * n_in * 9 * DNS_LANES;
        conv_row_f32(out + b * out_plane, in, in_row, in_plane, n_in, pair + b % 2 * DNS_LANES, w,
                     bias + b * DNS_LANES, width, DNS_LANES);
    }
}

AVX2 DNS_KERNEL_CONV_FIRST_F32(avx2)
{
    for (size_t b = 0; b < n_out; b++) {
        size_t w = b / 2 * 2 + 1 < n_out ? 2 * DNS_LANES : DNS_LANES;
        const float *pair = weights + b / 2 * 2 * DNS_LANES * 9;
        conv_row_f32(out + b * out_plane, in, in_row, 0, 1, pair + b % 2 * DNS_LANES, w,
                     bias + b * DNS_LANES, width, 1);
    }
}

AVX2 DNS_KERNEL_POOL_F32(avx2)
{
    __m256 largest = _mm256_setzero_ps();
    for (size_t i = 0; i < n * DNS_LANES; i += HALF) {
        size_t at = i / DNS_LANES * 2 * DNS_LANES + i % DNS_LANES;
        __m256 upper =
            _mm256_max_ps(_mm256_loadu_ps(top + at), _mm256_loadu_ps(top + at + DNS_LANES));
        __m256 lower =
            _mm256_max_ps(_mm256_loadu_ps(bottom + at), _mm256_loadu_ps(bottom + at + DNS_LANES));
        __m256 value = _mm256_max_ps(_mm256_setzero_ps(), _mm256_max_ps(upper, lower));
        largest = _mm256_max_ps(largest, value);
        _mm256_storeu_ps(out + i, value);
    }
    float lanes[HALF], result = 0.0f;
    _mm256_storeu_ps(lanes, largest);
    for (size_t i = 0; i < HALF; i++)
        result = lanes[i] > result ? lanes[i] : result;
    return result;
}

AVX2 DNS_KERNEL_RELU_DOT_F32(avx2)
{
    for (size_t x = 0; x < width; x++) {
        __m256 sum = _mm256_setzero_ps();
        for (size_t c = 0; c < n_in * DNS_LANES; c += HALF) {
            const float *from = in + c / DNS_LANES * in_plane + x * DNS_LANES + c % DNS_LANES;
            __m256 value = _mm256_max_ps(_mm256_setzero_ps(), _mm256_loadu_ps(from));
            sum = _mm256_fmadd_ps(value, _mm256_loadu_ps(weights + c), sum);
        }
        out[x] = bias + sum_lanes(sum);
    }
}

AVX2 DNS_KERNEL_QUANTISE_U8(avx2)
{
    size_t i = 0;
    for (; i + HALF <= n; i += HALF) {
        __m256i whole =
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(in + i), _mm256_set1_ps(factor)));
        __m128i half =
            _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
        _mm_storel_epi64((__m128i *)(out + i), _mm_packus_epi16(half, half));
    }
    if (i < n)
        dns_quantise_u8_plain(out + i, in + i, n - i, factor);
}
