/* The twins: what each kernel computes, in plain C. Lanes are innermost, so that the compiler can
 * take what every x86-64 has. */
#include <math.h>
#include <float.h>
#include <string.h>

#include "dnsel/tensor.h"
#include "kernels_isa.h"

DNS_KERNEL_ROWS_F32(plain)
{
    for (size_t i = 0; i < n_rows; i++, rows += dim) {
        float sum[DNS_LANES] = {0}, total = 0.0f;
        size_t k = 0;
        for (; k + DNS_LANES <= dim; k += DNS_LANES)
            for (size_t lane = 0; lane < DNS_LANES; lane++)
                sum[lane] += query[k + lane] * rows[k + lane];
        for (; k < dim; k++)
            total += query[k] * rows[k];
        for (size_t lane = 0; lane < DNS_LANES; lane++)
            total += sum[lane];
        out[i] = total;
    }
}

DNS_KERNEL_ROWS_I8(plain)
{
    for (size_t i = 0; i < n_rows; i++) {
        int32_t sum = 0;
        for (size_t k = 0; k < dim; k++)
            sum += query[k] * rows[i * dim + k];
        out[i] = sum;
    }
}

DNS_KERNEL_SUMS_I8(plain)
{
    for (size_t i = 0; i < n_rows; i++) {
        int32_t sum = 0;
        for (size_t k = 0; k < dim; k++)
            sum += rows[i * dim + k];
        out[i] = sum;
    }
}

DNS_KERNEL_WIDEN_F16(plain)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dns_f32_from_f16(in[i]);
}

DNS_KERNEL_WIDEN_I8(plain)
{
    for (size_t i = 0; i < n; i++)
        out[i] = factor * (float)in[i];
}

DNS_KERNEL_WIDEN_BITS(plain)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i / 8] >> i % 8 & 1 ? 1 : -1;
}

DNS_KERNEL_ROW_TO_I8(plain)
{
    float largest = 0.0f;
    for (size_t i = 0; i < dim; i++)
        largest = fmaxf(largest, fabsf(in[i]));
    float scale = largest / 127.0f, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    if (!isfinite(inverse)) /* denormal rows count as zeros */
        scale = inverse = 0.0f;
    for (size_t i = 0; i < dim; i++)
        out[i] = (int8_t)lrintf(fminf(fmaxf(in[i] * inverse, -127.0f), 127.0f));
    return scale;
}

/* Bits are counted in parallel: pairs, nibbles, bytes, and the sum of the bytes by a
 * multiplication. */
static uint32_t count_bits(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (uint32_t)(x * 0x0101010101010101 >> 56);
}

static uint64_t load_u64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

DNS_KERNEL_ROWS_HAMMING(plain)
{
    for (size_t i = 0; i < n_rows; i++) {
        const uint8_t *row = rows + i * n_bytes;
        uint32_t count = 0;
        size_t k = 0;
        for (; k + 8 <= n_bytes; k += 8)
            count += count_bits(load_u64(query + k) ^ load_u64(row + k));
        for (; k < n_bytes; k++)
            count += count_bits(query[k] ^ row[k]);
        out[i] = count;
    }
}

/* Width of the panel that query row r belongs to, and r's place in it. */
static size_t panel_of(size_t *at, size_t n_rows, size_t r)
{
    *at = r % DNS_PANEL;
    return n_rows - (r - *at) < DNS_PANEL ? n_rows - (r - *at) : DNS_PANEL;
}

DNS_KERNEL_MAX_F32(plain)
{
    for (size_t r = 0; r < n_rows; r += DNS_LANES) {
        size_t at, width = panel_of(&at, n_rows, r);
        const float *column = panels + (r - at) * dim + at;
        for (size_t t = 0; t < n_frames * n_regions; t++) {
            const float *row = target + t * dim;
            float sum[DNS_LANES] = {0}, *largest = max + t / n_regions * n_rows + r;
            for (size_t k = 0; k < dim; k++)
                for (size_t lane = 0; lane < DNS_LANES; lane++)
                    sum[lane] += column[k * width + lane] * row[k];
            for (size_t lane = 0; lane < DNS_LANES; lane++)
                if (t % n_regions == 0 || sum[lane] > largest[lane])
                    largest[lane] = sum[lane];
        }
    }
}

/* Element [0][k][lane] of region o of a block of frames. */
static const float *region_of(size_t *width, const float *panels, size_t n_regions, size_t o,
                              size_t dim)
{
    size_t at, w = panel_of(&at, n_regions * DNS_LANES, o * DNS_LANES);
    *width = w;
    return panels + (o * DNS_LANES - at) * dim + at;
}

DNS_KERNEL_BOTH_F32(plain)
{
    for (size_t j = 0; j < n_frames; j++, target += n_regions * dim, sums += DNS_LANES) {
        for (size_t lane = 0; lane < DNS_LANES; lane++) {
            float sum = 0;
            for (size_t way = 0; way < 2; way++)
                for (size_t a = 0; a < n_regions; a++) {
                    float largest = -FLT_MAX;
                    for (size_t b = 0; b < n_regions; b++) {
                        size_t width, o = way == 0 ? a : b, p = way == 0 ? b : a;
                        const float *column = region_of(&width, panels, n_regions, o, dim);
                        float product = 0;
                        for (size_t k = 0; k < dim; k++)
                            product += column[k * width + lane] * target[p * dim + k];
                        largest = product > largest ? product : largest;
                    }
                    sum += largest;
                }
            sums[lane] = sum;
        }
    }
}

DNS_KERNEL_MAX_I8(plain)
{
    for (size_t r = 0; r < n_rows; r++) {
        size_t at, width = panel_of(&at, n_rows, r);
        const uint8_t *column = panels + (r - at) * dim + 4 * at;
        for (size_t t = 0; t < n_frames * n_regions; t++) {
            const int8_t *row = target + t * dim;
            float *largest = max + t / n_regions * n_rows + r;
            int32_t sum = -128 * sums[t];
            for (size_t k = 0; k < dim; k += 4)
                for (size_t e = 0; e < 4; e++)
                    sum += column[k * width + e] * row[k + e];
            if (t % n_regions == 0 || (float)sum * scales[t] > *largest)
                *largest = (float)sum * scales[t];
        }
    }
}

DNS_KERNEL_MIN_HAMMING(plain)
{
    for (size_t j = 0; j < n_frames; j++)
        for (size_t r = 0; r < n_rows; r++) {
            const uint64_t *column = panels + (r - r % DNS_LANES) * n_words + r % DNS_LANES;
            uint32_t fewest = UINT32_MAX;
            for (size_t p = 0; p < n_regions; p++) {
                const uint8_t *row = target + (j * n_regions + p) * n_words * 8;
                uint32_t count = 0;
                for (size_t w = 0; w < n_words; w++)
                    count += count_bits(column[w * DNS_LANES] ^ load_u64(row + 8 * w));
                fewest = count < fewest ? count : fewest;
            }
            min[j * n_rows + r] = fewest;
        }
}

/* Channels of the pair that block b of n_out belongs to. */
static size_t pair_width(size_t n_out, size_t b)
{
    return b / 2 * 2 + 1 < n_out ? 2 * DNS_LANES : DNS_LANES;
}

/* One place, one block of channels; the weights of a channel are w apart. */
static void convolve(float *sum, const float *in, size_t in_row, size_t in_plane, size_t n_in,
                     size_t n_channels, const float *weights, size_t w)
{
    for (size_t i = 0; i < n_in; i++)
        for (size_t tap = 0; tap < 9; tap++)
            for (size_t c = 0; c < n_channels; c++, weights += w)
                for (size_t lane = 0; lane < DNS_LANES; lane++)
                    sum[lane] += weights[lane] *
                                 in[i * in_plane + tap / 3 * in_row + tap % 3 * n_channels + c];
}

DNS_KERNEL_CONV_F32(plain)
{
    for (size_t b = 0; b < n_out; b++)
        for (size_t x = 0; x < width; x++) {
            float sum[DNS_LANES];
            memcpy(sum, bias + b * DNS_LANES, sizeof sum);
            convolve(sum, in + x * DNS_LANES, in_row, in_plane, n_in, DNS_LANES,
                     weights + b / 2 * 2 * DNS_LANES * n_in * 9 * DNS_LANES + b % 2 * DNS_LANES,
                     pair_width(n_out, b));
            memcpy(out + b * out_plane + x * DNS_LANES, sum, sizeof sum);
        }
}

DNS_KERNEL_CONV_FIRST_F32(plain)
{
    for (size_t b = 0; b < n_out; b++)
        for (size_t x = 0; x < width; x++) {
            float sum[DNS_LANES];
            memcpy(sum, bias + b * DNS_LANES, sizeof sum);
            convolve(sum, in + x, in_row, 0, 1, 1,
                     weights + b / 2 * 2 * DNS_LANES * 9 + b % 2 * DNS_LANES, pair_width(n_out, b));
            memcpy(out + b * out_plane + x * DNS_LANES, sum, sizeof sum);
        }
}

DNS_KERNEL_CONV_I8(plain)
{
    for (size_t b = 0; b < n_out; b++)
        for (size_t x = 0; x < width; x++)
            for (size_t lane = 0; lane < DNS_LANES; lane++) {
                size_t w = pair_width(n_out, b), channel = b * DNS_LANES + lane;
                const int8_t *weight = weights + b / 2 * 2 * DNS_LANES * n_in * 9 * DNS_LANES +
                                       (b % 2 * DNS_LANES + lane) * 4;
                int32_t sum = 0;
                for (size_t i = 0; i < n_in; i++)
                    for (size_t tap = 0; tap < 9; tap++)
                        for (size_t c = 0; c < DNS_LANES; c += 4, weight += 4 * w)
                            for (size_t e = 0; e < 4; e++)
                                sum += weight[e] * in[i * in_plane + tap / 3 * in_row +
                                                      (x + tap % 3) * DNS_LANES + c + e];
                out[b * out_plane + x * DNS_LANES + lane] =
                    (float)sum * scale[channel] + bias[channel];
            }
}

DNS_KERNEL_POOL_F32(plain)
{
    float largest = 0.0f;
    for (size_t i = 0; i < n * DNS_LANES; i++) {
        size_t at = i / DNS_LANES * 2 * DNS_LANES + i % DNS_LANES;
        const float four[] = {top[at], top[at + DNS_LANES], bottom[at], bottom[at + DNS_LANES]};
        out[i] = 0.0f;
        for (size_t k = 0; k < 4; k++)
            out[i] = four[k] > out[i] ? four[k] : out[i];
        largest = out[i] > largest ? out[i] : largest;
    }
    return largest;
}

DNS_KERNEL_RELU_DOT_F32(plain)
{
    for (size_t x = 0; x < width; x++) {
        float sum = bias;
        for (size_t c = 0; c < n_in * DNS_LANES; c++) {
            float value = in[c / DNS_LANES * in_plane + x * DNS_LANES + c % DNS_LANES];
            sum += (value > 0.0f ? value : 0.0f) * weights[c];
        }
        out[x] = sum;
    }
}

DNS_KERNEL_QUANTISE_U8(plain)
{
    for (size_t i = 0; i < n; i++) {
        float value = nearbyintf(in[i] * factor);
        out[i] = (uint8_t)(value <= 0.0f ? 0.0f : value >= 255.0f ? 255.0f : value);
    }
}
