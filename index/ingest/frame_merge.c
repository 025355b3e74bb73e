#include "frame_merge.h"

#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/kernels.h"

void dns_cut_codes(uint8_t *codes, size_t n, size_t from, size_t to)
{
    for (size_t i = 0; i < n; i++)
        memmove(codes + i * to, codes + i * from, to);
}

/* Frames of one record, as they lie in memory. */
struct frames {
    dns_dtype dtype;
    uint8_t *data;
    float *scales;
    size_t n_regions, dim, bytes; /* of a frame */
    dns_kernels kernels;
};

static float value_of(const struct frames *f, size_t region, size_t i)
{
    size_t at = region * f->dim + i;
    if (f->dtype == DNS_I8)
        return f->scales[region] * ((const int8_t *)f->data)[at];
    if (f->dtype == DNS_F16)
        return dns_f32_from_f16(((const uint16_t *)(const void *)f->data)[at]);
    return ((const float *)(const void *)f->data)[at];
}

/* Squared distance of region r of frames a and b. */
static double distance2(const struct frames *f, size_t a, size_t b, size_t r)
{
    size_t x = a * f->n_regions + r, y = b * f->n_regions + r;
    double sum = 0;
    if (f->dtype == DNS_U8) {
        uint32_t differ;
        f->kernels.rows_hamming(&differ, f->data + x * f->dim, f->data + y * f->dim, 1, f->dim);
        return 4.0 * differ / (8.0 * (double)f->dim);
    }
    for (size_t i = 0; i < f->dim; i++) {
        double d = (double)value_of(f, x, i) - (double)value_of(f, y, i);
        sum += d * d;
    }
    return sum;
}

static bool are_equal(const struct frames *f, size_t a, size_t b)
{
    return memcmp(f->data + a * f->bytes, f->data + b * f->bytes, f->bytes) == 0 &&
           (f->dtype != DNS_I8 || memcmp(f->scales + a * f->n_regions, f->scales + b * f->n_regions,
                                         f->n_regions * sizeof *f->scales) == 0);
}

static bool are_alike(const struct frames *f, size_t a, size_t b, float distance)
{
    if (distance == 0)
        return are_equal(f, a, b);
    for (size_t r = 0; r < f->n_regions; r++)
        if (distance2(f, a, b, r) > (double)distance * (double)distance)
            return false;
    return true;
}

size_t dns_merge_frames(void *data, float *scales, uint16_t *runs, const dns_record *record,
                        float distance)
{
    struct frames f = {.dtype = record->dtype,
                       .data = data,
                       .scales = scales,
                       .n_regions = record->shape[1],
                       .dim = record->shape[2]};
    size_t kept = 0;
    f.bytes = f.n_regions * f.dim * dns_dtype_size(f.dtype);
    dns_kernels_get(&f.kernels, dns_cpu_flags());
    for (size_t i = 1; i < record->shape[0]; i++) {
        if (runs[kept] + runs[i] <= DNS_RECORD_RUN && are_alike(&f, kept, i, distance)) {
            runs[kept] = (uint16_t)(runs[kept] + runs[i]);
            continue;
        }
        kept++;
        runs[kept] = runs[i];
        memmove(f.data + kept * f.bytes, f.data + i * f.bytes, f.bytes);
        if (f.dtype == DNS_I8)
            memmove(f.scales + kept * f.n_regions, f.scales + i * f.n_regions,
                    f.n_regions * sizeof *f.scales);
    }
    return kept + 1;
}
