#include "dnsel/long_linear.h"

#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/memory.h"
#include "long_linear_tile.h"

#if !defined(DNS_REAL_DOUBLE) && defined(__x86_64__)
#include <immintrin.h>
#define HAS_VECTORS 1
#endif

/* A task is some outputs; within it, DEPTH entries of all rows of x stay in the second-level cache
 * while the weights pass by. */
enum { OUTPUTS = 64, DEPTH = 2048, LANES = 16 };

void dns_long_linear_tile_plain(dns_real *y, size_t y_stride, const dns_real *x, size_t x_stride,
                                const dns_real *w, size_t w_stride, size_t k)
{
    for (size_t i = 0; i < LONG_TILE; i++) {
        for (size_t j = 0; j < LONG_TILE; j++) {
            const dns_real *a = x + i * x_stride, *b = w + j * w_stride;
            dns_real lanes[LANES] = {0}, sum = 0;
            for (size_t l = 0; l < k; l++)
                lanes[l % LANES] += a[l] * b[l];
            for (size_t l = 0; l < LANES; l++)
                sum += lanes[l];
            y[i * y_stride + j] += sum;
        }
    }
}

#ifdef HAS_VECTORS

/* Sums in named variables: compilers keep an array of vectors in memory. */

#define AVX512 __attribute__((target("avx512f,avx512dq")))

AVX512 static void tile_avx512(float *y, size_t y_stride, const float *x, size_t x_stride,
                               const float *w, size_t w_stride, size_t k)
{
#define ZERO(i) \
    __m512 s##i##0 = _mm512_setzero_ps(), s##i##1 = s##i##0, s##i##2 = s##i##0, s##i##3 = s##i##0
#define ADD(i)                                             \
    a = _mm512_maskz_loadu_ps(mask, x + i * x_stride + l); \
    s##i##0 = _mm512_fmadd_ps(a, b0, s##i##0);             \
    s##i##1 = _mm512_fmadd_ps(a, b1, s##i##1);             \
    s##i##2 = _mm512_fmadd_ps(a, b2, s##i##2);             \
    s##i##3 = _mm512_fmadd_ps(a, b3, s##i##3)
#define STORE(i)                                          \
    y[i * y_stride] += _mm512_reduce_add_ps(s##i##0);     \
    y[i * y_stride + 1] += _mm512_reduce_add_ps(s##i##1); \
    y[i * y_stride + 2] += _mm512_reduce_add_ps(s##i##2); \
    y[i * y_stride + 3] += _mm512_reduce_add_ps(s##i##3)
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
    for (size_t l = 0; l < k; l += LANES) {
        __mmask16 mask = k - l >= LANES ? 0xffff : (__mmask16)((1u << (k - l)) - 1);
        __m512 a, b0 = _mm512_maskz_loadu_ps(mask, w + l),
                  b1 = _mm512_maskz_loadu_ps(mask, w + w_stride + l),
                  b2 = _mm512_maskz_loadu_ps(mask, w + 2 * w_stride + l),
                  b3 = _mm512_maskz_loadu_ps(mask, w + 3 * w_stride + l);
        ADD(0);
        ADD(1);
        ADD(2);
        ADD(3);
    }
    STORE(0);
    STORE(1);
    STORE(2);
    STORE(3);
#undef ZERO
#undef ADD
#undef STORE
}

#define AVX2 __attribute__((target("avx2,fma")))

AVX2 static float sum_of(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Two rows of x and four of w: sixteen registers hold no more. */
AVX2 static void half_tile_avx2(float *y, size_t y_stride, const float *x, size_t x_stride,
                                const float *w, size_t w_stride, size_t k)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
    size_t l = 0;
#define ADD(j)                                 \
    c = _mm256_loadu_ps(w + j * w_stride + l); \
    s##j = _mm256_fmadd_ps(a, c, s##j);        \
    t##j = _mm256_fmadd_ps(b, c, t##j)
#define STORE(j)          \
    y[j] += sum_of(s##j); \
    y[y_stride + j] += sum_of(t##j)
    for (; l + 8 <= k; l += 8) {
        __m256 a = _mm256_loadu_ps(x + l), b = _mm256_loadu_ps(x + x_stride + l), c;
        ADD(0);
        ADD(1);
        ADD(2);
        ADD(3);
    }
    STORE(0);
    STORE(1);
    STORE(2);
    STORE(3);
#undef ADD
#undef STORE
    for (; l < k; l++) {
        for (size_t i = 0; i < 2; i++) {
            for (size_t j = 0; j < LONG_TILE; j++)
                y[i * y_stride + j] += x[i * x_stride + l] * w[j * w_stride + l];
        }
    }
}

AVX2 static void tile_avx2(float *y, size_t y_stride, const float *x, size_t x_stride,
                           const float *w, size_t w_stride, size_t k)
{
    half_tile_avx2(y, y_stride, x, x_stride, w, w_stride, k);
    half_tile_avx2(y + 2 * y_stride, y_stride, x + 2 * x_stride, x_stride, w, w_stride, k);
}

#endif

long_linear_tile dns_long_linear_tile_for(unsigned cpu_flags)
{
#ifdef HAS_VECTORS
    if ((cpu_flags & DNS_CPU_AVX512) != 0)
        return tile_avx512;
    if ((cpu_flags & DNS_CPU_AVX2) != 0)
        return tile_avx2;
#endif
    (void)cpu_flags;
    return dns_long_linear_tile_plain;
}

struct run {
    dns_real *y, *scratch; /* scratch [workers, padded, DEPTH] */
    const dns_real *x, *w;
    size_t n, padded, in, out; /* padded: n, up to a whole tile */
    long_linear_tile tile;
};

/* Entries `first` .. of all rows of x, side by side: where they stand, rows of a power of two would
 * share a few lines of the cache. Rows that fill the last tile up are copies. */
static void gather(dns_real *block, const struct run *r, size_t first, size_t k)
{
    for (size_t i = 0; i < r->padded; i++) {
        size_t row = i < r->n ? i : r->n - 1;
        memcpy(block + i * DEPTH, r->x + row * r->in + first, k * sizeof *block);
    }
}

/* Adds to four outputs of four rows, or those that there are, what k entries give. */
static void add_tile(const struct run *r, const dns_real *block, size_t row, size_t output,
                     size_t first, size_t k)
{
    size_t rows = r->n - row < LONG_TILE ? r->n - row : LONG_TILE;
    size_t outputs = r->out - output < LONG_TILE ? r->out - output : LONG_TILE;
    const dns_real *w = r->w + output * r->in + first;
    dns_real y[LONG_TILE * LONG_TILE] = {0}, copies[LONG_TILE * DEPTH];
    size_t w_stride = r->in;
    if (outputs < LONG_TILE) {
        for (size_t j = 0; j < LONG_TILE; j++)
            memcpy(copies + j * DEPTH, w + (j < outputs ? j : 0) * r->in, k * sizeof *w);
        w = copies;
        w_stride = DEPTH;
    }
    r->tile(y, LONG_TILE, block + row * DEPTH, DEPTH, w, w_stride, k);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < outputs; j++)
            r->y[(row + i) * r->out + output + j] += y[i * LONG_TILE + j];
    }
}

static dns_status task(void *payload, size_t number, size_t worker)
{
    const struct run *r = payload;
    size_t begin = number * OUTPUTS, end = begin + OUTPUTS < r->out ? begin + OUTPUTS : r->out;
    dns_real *block = r->scratch + worker * r->padded * DEPTH;
    for (size_t row = 0; row < r->n; row++)
        memset(r->y + row * r->out + begin, 0, (end - begin) * sizeof *r->y);
    for (size_t first = 0; first < r->in; first += DEPTH) {
        size_t k = r->in - first < DEPTH ? r->in - first : DEPTH;
        gather(block, r, first, k);
        for (size_t output = begin; output < end; output += LONG_TILE) {
            for (size_t row = 0; row < r->n; row += LONG_TILE)
                add_tile(r, block, row, output, first, k);
        }
    }
    return DNS_OK;
}

dns_status dns_long_linear_forward(dns_real *y, const dns_real *x, const dns_real *w, size_t n,
                                   size_t in, size_t out, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct run r = {.y = y,
                    .x = x,
                    .w = w,
                    .n = n,
                    .padded = (n + LONG_TILE - 1) / LONG_TILE * LONG_TILE,
                    .in = in,
                    .out = out,
                    .tile = dns_long_linear_tile_for(dns_cpu_flags())};
    DNS_TRY(dns_alloc(&r.scratch, dns_pool_size(pool) * r.padded * DEPTH, sizeof *r.scratch));
    DNS_TRY(dns_pool_run(pool, (out + OUTPUTS - 1) / OUTPUTS, task, &r));
out:
    dns_free(r.scratch);
    return status;
}
