#include "dnsel/mapcnn.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/kernels.h"
#include "dnsel/memory.h"

enum { TAPS = 9, ALIGNMENT = 64, CHANNEL_LIMIT = 4096 };

/* A 3x3 convolution with packed weights (dnsel/kernels.h); channels beyond n_out have weight and
 * bias 0. */
typedef struct layer {
    size_t n_in, n_out; /* blocks of DNS_LANES channels; n_in is 1 for the first layer, which has a
                           single channel */
    float *weights;     /* NULL when in bytes */
    int8_t *weights_i8;
    float *scales; /* of weights_i8, each output channel */
    float *bias;
} layer;

struct dns_mapcnn {
    dns_kernels kernels;
    bool replicate, in_bytes;
    layer layers[3];
    float *last; /* weights of the 1x1 convolution */
    float last_bias;
};

static size_t rounded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Channels that lie side by side with block b, and where those of its pair begin, `depth` weights a
 * channel. */
static size_t pair_width(const layer *l, size_t b)
{
    return b / 2 * 2 + 1 < l->n_out ? 2 * DNS_LANES : DNS_LANES;
}

static void pack_first(layer *l, const float *weight, size_t n_channels)
{
    for (size_t c = 0; c < n_channels; c++) {
        size_t b = c / DNS_LANES, w = pair_width(l, b);
        float *column =
            l->weights + b / 2 * 2 * DNS_LANES * TAPS + b % 2 * DNS_LANES + c % DNS_LANES;
        for (size_t tap = 0; tap < TAPS; tap++)
            column[tap * w] = weight[c * TAPS + tap];
    }
}

static void pack_f32(layer *l, const float *weight, size_t n_channels, size_t n_inputs)
{
    size_t depth = l->n_in * TAPS * DNS_LANES;
    for (size_t c = 0; c < n_channels; c++) {
        size_t b = c / DNS_LANES, w = pair_width(l, b);
        float *column =
            l->weights + b / 2 * 2 * DNS_LANES * depth + b % 2 * DNS_LANES + c % DNS_LANES;
        for (size_t i = 0; i < n_inputs; i++)
            for (size_t tap = 0; tap < TAPS; tap++)
                column[((i / DNS_LANES * TAPS + tap) * DNS_LANES + i % DNS_LANES) * w] =
                    weight[(c * n_inputs + i) * TAPS + tap];
    }
}

static void pack_i8(layer *l, const float *weight, size_t n_channels, size_t n_inputs)
{
    size_t depth = l->n_in * TAPS * DNS_LANES;
    for (size_t c = 0; c < n_channels; c++) {
        size_t b = c / DNS_LANES, w = pair_width(l, b);
        const float *of_channel = weight + c * n_inputs * TAPS;
        int8_t *column =
            l->weights_i8 + b / 2 * 2 * DNS_LANES * depth + (b % 2 * DNS_LANES + c % DNS_LANES) * 4;
        float largest = 0.0f;
        for (size_t i = 0; i < n_inputs * TAPS; i++)
            largest = fmaxf(largest, fabsf(of_channel[i]));
        l->scales[c] = largest / 127.0f;
        float inverse = l->scales[c] > FLT_MIN ? 1.0f / l->scales[c] : 0.0f;
        for (size_t i = 0; i < n_inputs; i++) {
            float rest = 0.0f; /* what rounding left out: neighbouring places are alike, so it is
                                  made up there */
            for (size_t tap = 0; tap < TAPS; tap++) {
                float exact = of_channel[i * TAPS + tap] * inverse + rest;
                float level = fminf(fmaxf(rintf(exact), -127.0f), 127.0f);
                size_t four = (i / DNS_LANES * TAPS + tap) * (DNS_LANES / 4) + i % DNS_LANES / 4;
                column[four * 4 * w + i % 4] = (int8_t)level;
                rest = exact - level;
            }
        }
    }
}

static bool is_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static dns_status layer_make(layer *l, size_t index, bool in_bytes,
                             const dns_mapcnn_weights *weights)
{
    size_t n_channels = weights->channels[index],
           n_inputs = index == 0 ? 1 : weights->channels[index - 1];
    const float *weight = weights->weight[index], *bias = weights->bias[index];
    dns_status status = DNS_OK;
    if (!is_finite(weight, n_channels * n_inputs * TAPS) || !is_finite(bias, n_channels))
        DNS_FAIL(DNS_ERR_RANGE, "comparator: a weight of convolution %zu is not finite", index + 1);
    l->n_in = index == 0 ? 1 : rounded(n_inputs, DNS_LANES) / DNS_LANES;
    l->n_out = rounded(n_channels, DNS_LANES) / DNS_LANES;
    size_t n_packed = l->n_out * DNS_LANES, depth = index == 0 ? TAPS : l->n_in * DNS_LANES * TAPS;
    DNS_TRY(dns_alloc(&l->bias, n_packed, sizeof *l->bias));
    memcpy(l->bias, bias, n_channels * sizeof *bias);
    if (in_bytes) {
        DNS_TRY(dns_alloc(&l->weights_i8, n_packed, depth));
        DNS_TRY(dns_alloc(&l->scales, n_packed, sizeof *l->scales));
        pack_i8(l, weight, n_channels, n_inputs);
        goto out;
    }
    DNS_TRY(dns_alloc(&l->weights, n_packed, depth * sizeof *l->weights));
    if (index == 0)
        pack_first(l, weight, n_channels);
    else
        pack_f32(l, weight, n_channels, n_inputs);
out:
    return status;
}

dns_status dns_mapcnn_create(dns_mapcnn **out, dns_mapcnn_form form,
                             const dns_mapcnn_weights *weights)
{
    dns_status status = DNS_OK;
    dns_mapcnn *net = NULL;
    *out = NULL;
    for (size_t i = 0; i < 3; i++)
        if (weights->channels[i] == 0 || weights->channels[i] > CHANNEL_LIMIT)
            return dns_status_set(DNS_ERR_SHAPE, "comparator: %zu channels", weights->channels[i]);
    DNS_TRY(dns_alloc(&net, 1, sizeof *net));
    dns_kernels_get(&net->kernels, dns_cpu_flags());
    net->replicate = weights->replicate;
    net->in_bytes = form == DNS_MAPCNN_I8 && (dns_cpu_flags() & DNS_CPU_VNNI);
    for (size_t i = 0; i < 3; i++)
        DNS_TRY(layer_make(&net->layers[i], i, net->in_bytes && i > 0, weights));
    size_t n_last = weights->channels[2];
    if (!is_finite(weights->weight[3], n_last) || !is_finite(weights->bias[3], 1))
        DNS_FAIL(DNS_ERR_RANGE, "comparator: a weight of the last convolution is not finite");
    DNS_TRY(dns_alloc(&net->last, net->layers[2].n_out * DNS_LANES, sizeof *net->last));
    memcpy(net->last, weights->weight[3], n_last * sizeof *net->last);
    net->last_bias = weights->bias[3][0];
    *out = net;
    net = NULL;
out:
    dns_mapcnn_free(net);
    return status;
}

void dns_mapcnn_free(dns_mapcnn *net)
{
    if (net == NULL)
        return;
    for (size_t i = 0; i < 3; i++) {
        dns_free(net->layers[i].weights);
        dns_free(net->layers[i].weights_i8);
        dns_free(net->layers[i].scales);
        dns_free(net->layers[i].bias);
    }
    dns_free(net->last);
    dns_free(net);
}

size_t dns_mapcnn_output(size_t n)
{
    return n / 2 / 2;
}

/* An image [blocks][n_rows + 2][n_columns + 2][DNS_LANES], a border of one place around it. */
typedef struct image {
    size_t n_rows, n_columns, n_blocks;
} image;

static size_t row_size(const image *m)
{
    return (m->n_columns + 2) * DNS_LANES;
}

static size_t plane_size(const image *m)
{
    return (m->n_rows + 2) * row_size(m);
}

/* The images between the layers, and where the parts of the scratch memory begin, in bytes. */
typedef struct plan {
    image images[2];   /* inputs of the second and the third layer */
    size_t map;        /* [rows + 2][columns + 2] floats: the input with its border */
    size_t between[2]; /* the images, floats */
    size_t bytes;      /* the larger of the images, bytes */
    size_t rows;       /* two rows of a layer's output, floats */
    size_t scales;     /* of a layer in bytes, floats */
    size_t end;
} plan;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static plan plan_for(const dns_mapcnn *net, size_t n_rows, size_t n_columns)
{
    const layer *l = net->layers;
    plan p = {.images = {{n_rows / 2, n_columns / 2, l[0].n_out},
                         {n_rows / 4, n_columns / 4, l[1].n_out}}};
    size_t sizes[2], widest = larger(n_columns * l[0].n_out, larger(n_columns / 2 * l[1].n_out,
                                                                    n_columns / 4 * l[2].n_out));
    for (size_t i = 0; i < 2; i++)
        sizes[i] = p.images[i].n_blocks * plane_size(&p.images[i]);
    p.between[0] = rounded((n_rows + 2) * (n_columns + 2) * sizeof(float), ALIGNMENT);
    p.between[1] = p.between[0] + sizes[0] * sizeof(float);
    p.bytes = p.between[1] + sizes[1] * sizeof(float);
    p.rows = p.bytes + (net->in_bytes ? rounded(larger(sizes[0], sizes[1]), ALIGNMENT) : 0);
    p.scales = p.rows + 2 * widest * DNS_LANES * sizeof(float);
    p.end = p.scales + larger(l[1].n_out, l[2].n_out) * DNS_LANES * sizeof(float);
    return p;
}

size_t dns_mapcnn_scratch(const dns_mapcnn *net, size_t n_rows, size_t n_columns)
{
    size_t n_places, n_bytes;
    size_t n_channels =
        DNS_LANES * (net->layers[0].n_out + net->layers[1].n_out + net->layers[2].n_out);
    if (!dns_size_multiply(larger(n_rows, 4) + 2, larger(n_columns, 4) + 2, &n_places) ||
        !dns_size_multiply(n_places, 16 * n_channels, &n_bytes))
        return 0;
    return plan_for(net, n_rows, n_columns).end;
}

static float *floats_at(void *scratch, size_t offset)
{
    return (float *)(void *)((char *)scratch + offset);
}

/* The map inside its border. */
static void put_map(float *padded, const float *map, size_t n_rows, size_t n_columns,
                    bool replicate)
{
    size_t stride = n_columns + 2;
    for (size_t y = 0; y < n_rows; y++) {
        float *row = padded + (y + 1) * stride;
        memcpy(row + 1, map + y * n_columns, n_columns * sizeof *row);
        row[0] = replicate ? row[1] : 0.0f;
        row[n_columns + 1] = replicate ? row[n_columns] : 0.0f;
    }
    float *top = padded, *bottom = padded + (n_rows + 1) * stride;
    if (replicate) {
        memcpy(top, top + stride, stride * sizeof *top);
        memcpy(bottom, bottom - stride, stride * sizeof *bottom);
    } else {
        memset(top, 0, stride * sizeof *top);
        memset(bottom, 0, stride * sizeof *bottom);
    }
}

static void put_place(float *to, const float *from, bool replicate)
{
    if (replicate)
        memcpy(to, from, DNS_LANES * sizeof *to);
    else
        memset(to, 0, DNS_LANES * sizeof *to);
}

static void put_border(float *planes, const image *m, bool replicate)
{
    size_t stride = row_size(m), last = m->n_columns * DNS_LANES;
    for (size_t b = 0; b < m->n_blocks; b++, planes += plane_size(m)) {
        for (size_t y = 1; y <= m->n_rows; y++) {
            float *row = planes + y * stride;
            put_place(row, row + DNS_LANES, replicate);
            put_place(row + last + DNS_LANES, row + last, replicate);
        }
        float *bottom = planes + (m->n_rows + 1) * stride;
        for (size_t i = 0; i < stride; i += DNS_LANES) {
            put_place(planes + i, planes + stride + i, replicate);
            put_place(bottom + i, bottom - stride + i, replicate);
        }
    }
}

/* What a layer reads: the map, or an image in floats or in bytes. */
typedef struct source {
    const float *floats;
    const uint8_t *bytes;
    const float *scales; /* of the output channels, when in bytes */
    size_t row, plane;
} source;

/* out [n_out][width][DNS_LANES] = row y of a layer's output. */
static void convolve_row(float *out, const dns_mapcnn *net, const layer *l, const source *s,
                         size_t y, size_t width)
{
    size_t plane = width * DNS_LANES;
    if (l == net->layers)
        net->kernels.conv_first_f32(out, plane, s->floats + y * s->row, s->row, l->weights, l->bias,
                                    l->n_out, width);
    else if (net->in_bytes)
        net->kernels.conv_i8(out, plane, s->bytes + y * s->row, s->row, s->plane, l->n_in,
                             l->weights_i8, s->scales, l->bias, l->n_out, width);
    else
        net->kernels.conv_f32(out, plane, s->floats + y * s->row, s->row, s->plane, l->n_in,
                              l->weights, l->bias, l->n_out, width);
}

/* A layer with its pooling; `to` is left ready to be read by the next one. Returns its largest
 * value. */
static float convolve_and_pool(float *to, const image *m, const dns_mapcnn *net, const layer *l,
                               const source *s, float *rows)
{
    size_t width = 2 * m->n_columns, plane = width * DNS_LANES;
    float *upper = rows, *lower = rows + l->n_out * plane, largest = 0.0f;
    for (size_t y = 0; y < m->n_rows; y++) {
        convolve_row(upper, net, l, s, 2 * y, width);
        convolve_row(lower, net, l, s, 2 * y + 1, width);
        for (size_t b = 0; b < m->n_blocks; b++) {
            float *row = to + b * plane_size(m) + (y + 1) * row_size(m) + DNS_LANES;
            float of_row =
                net->kernels.pool_f32(row, upper + b * plane, lower + b * plane, m->n_columns);
            largest = of_row > largest ? of_row : largest;
        }
    }
    put_border(to, m, net->replicate);
    return largest;
}

static source source_of(const dns_mapcnn *net, const layer *l, const image *m, const float *planes,
                        float largest, const plan *p, void *scratch)
{
    source s = {.floats = planes, .row = row_size(m), .plane = plane_size(m)};
    if (!net->in_bytes)
        return s;
    uint8_t *bytes = (uint8_t *)scratch + p->bytes;
    float *scales = floats_at(scratch, p->scales), step = largest / 255.0f;
    net->kernels.quantise_u8(bytes, planes, m->n_blocks * s.plane,
                             step > FLT_MIN ? 1.0f / step : 0.0f);
    for (size_t c = 0; c < l->n_out * DNS_LANES; c++)
        scales[c] = l->scales[c] * step;
    s.bytes = bytes;
    s.scales = scales;
    return s;
}

dns_status dns_mapcnn_run(float *out, const dns_mapcnn *net, const float *map, size_t n_rows,
                          size_t n_columns, void *scratch)
{
    if (n_rows < 4 || n_columns < 4)
        return dns_status_set(DNS_ERR_SHAPE,
                              "comparator: map [%zu,%zu], at least 4 rows and columns are needed",
                              n_rows, n_columns);
    const plan p = plan_for(net, n_rows, n_columns);
    const image *m = p.images;
    const layer *l = net->layers;
    float *padded = floats_at(scratch, p.map), *rows = floats_at(scratch, p.rows);
    float *between[2] = {floats_at(scratch, p.between[0]), floats_at(scratch, p.between[1])};

    put_map(padded, map, n_rows, n_columns, net->replicate);
    source s = {.floats = padded, .row = n_columns + 2};
    float largest = convolve_and_pool(between[0], &m[0], net, &l[0], &s, rows);
    s = source_of(net, &l[1], &m[0], between[0], largest, &p, scratch);
    largest = convolve_and_pool(between[1], &m[1], net, &l[1], &s, rows);
    s = source_of(net, &l[2], &m[1], between[1], largest, &p, scratch);
    for (size_t y = 0; y < m[1].n_rows; y++) {
        size_t width = m[1].n_columns;
        convolve_row(rows, net, &l[2], &s, y, width);
        net->kernels.relu_dot_f32(out + y * width, rows, width * DNS_LANES, l[2].n_out, net->last,
                                  net->last_bias, width);
    }
    return DNS_OK;
}
