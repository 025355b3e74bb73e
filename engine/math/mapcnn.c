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

/* Rows of an image that are turned into bytes at a time: what two rows of the second convolution
 * read; the third reads one less. */
enum { STRIP = 4 };

/* The images between the layers, and where the parts of the scratch memory begin, in bytes. */
typedef struct plan {
    image images[2];   /* inputs of the second and the third layer */
    size_t map;        /* [rows + 2][columns + 2] floats: the input with its border */
    size_t between[2]; /* the images, floats */
    size_t largest[2]; /* of each of their rows, the border included, floats */
    size_t bytes;      /* a strip of one of them */
    size_t rows;       /* two rows of a layer's output, floats */
    size_t scales;     /* of a layer in bytes, floats */
    size_t end;
} plan;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static plan plan_for(const dns_mapcnn *net, size_t n_rows, size_t n_columns)
{
    const layer *l = net->layers;
    plan p = {.images = {{n_rows / 2, n_columns / 2, l[0].n_out},
                         {n_rows / 4, n_columns / 4, l[1].n_out}}};
    size_t strip = 0, widest = larger(n_columns * l[0].n_out, larger(n_columns / 2 * l[1].n_out,
                                                                     n_columns / 4 * l[2].n_out));
    p.end = rounded((n_rows + 2) * (n_columns + 2) * sizeof(float), ALIGNMENT);
    for (size_t i = 0; i < 2; i++) {
        const image *m = &p.images[i];
        p.between[i] = p.end;
        p.largest[i] = p.between[i] + m->n_blocks * plane_size(m) * sizeof(float);
        p.end = p.largest[i] + rounded((m->n_rows + 2) * sizeof(float), ALIGNMENT);
        strip = larger(strip, m->n_blocks * STRIP * row_size(m));
    }
    p.bytes = p.end;
    p.rows = p.bytes + (net->in_bytes ? rounded(strip, ALIGNMENT) : 0);
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

static void put_edge(float *to, const float *from, size_t n, bool replicate)
{
    if (replicate)
        memcpy(to, from, n * sizeof *to);
    else
        memset(to, 0, n * sizeof *to);
}

/* Rows [first, end) of an image's plane get their border: left and right, above the first row and
 * below the last one. `width` is that of a place. */
static void put_border(float *plane, size_t n_rows, size_t n_columns, size_t width, size_t first,
                       size_t end, bool replicate)
{
    size_t stride = (n_columns + 2) * width, last = n_columns * width;
    for (size_t y = first + 1; y <= end; y++) {
        float *row = plane + y * stride;
        put_edge(row, row + width, width, replicate);
        put_edge(row + last + width, row + last, width, replicate);
    }
    if (first == 0 && end > 0)
        put_edge(plane, plane + stride, stride, replicate);
    if (end == n_rows)
        put_edge(plane + (n_rows + 1) * stride, plane + n_rows * stride, stride, replicate);
}

/* Rows [first, end) of the map inside its border. */
static void put_map(float *padded, const float *map, size_t n_rows, size_t n_columns, size_t first,
                    size_t end, bool replicate)
{
    for (size_t y = first; y < end; y++)
        memcpy(padded + (y + 1) * (n_columns + 2) + 1, map + y * n_columns,
               n_columns * sizeof *map);
    put_border(padded, n_rows, n_columns, 1, first, end, replicate);
}

/* One run: what it reads and where everything lies. */
typedef struct run {
    const dns_mapcnn *net;
    const image *images;
    float *padded, *between[2], *largest[2], *rows, *scales;
    uint8_t *bytes;
} run;

/* What a layer reads: the map, or an image in floats or in bytes. */
typedef struct source {
    const float *floats;
    const uint8_t *bytes;
    size_t row, plane;
} source;

/* Rows [first, first + n) of the input of layer l > 0, the border being row 0. In bytes they have
 * one scale, that of their largest value. */
static source source_of(const run *r, size_t l, size_t first, size_t n)
{
    const image *m = &r->images[l - 1];
    size_t row = row_size(m), plane = plane_size(m);
    const float *planes = r->between[l - 1] + first * row;
    if (!r->net->in_bytes)
        return (source){.floats = planes, .row = row, .plane = plane};
    const layer *packed = &r->net->layers[l];
    float largest = 0.0f;
    for (size_t y = first; y < first + n; y++)
        largest = fmaxf(largest, r->largest[l - 1][y]);
    float step = largest / 255.0f, factor = step > FLT_MIN ? 1.0f / step : 0.0f;
    for (size_t b = 0; b < m->n_blocks; b++)
        r->net->kernels.quantise_u8(r->bytes + b * n * row, planes + b * plane, n * row, factor);
    for (size_t c = 0; c < packed->n_out * DNS_LANES; c++)
        r->scales[c] = packed->scales[c] * step;
    return (source){.bytes = r->bytes, .row = row, .plane = n * row};
}

/* out [n_out][width][DNS_LANES] = row y of a layer's output, counted from where its source begins.
 */
static void convolve_row(float *out, const run *r, size_t l, const source *s, size_t y,
                         size_t width)
{
    const dns_kernels *k = &r->net->kernels;
    const layer *packed = &r->net->layers[l];
    size_t plane = width * DNS_LANES;
    if (l == 0)
        k->conv_first_f32(out, plane, s->floats + y * s->row, s->row, packed->weights, packed->bias,
                          packed->n_out, width);
    else if (s->bytes != NULL)
        k->conv_i8(out, plane, s->bytes + y * s->row, s->row, s->plane, packed->n_in,
                   packed->weights_i8, r->scales, packed->bias, packed->n_out, width);
    else
        k->conv_f32(out, plane, s->floats + y * s->row, s->row, s->plane, packed->n_in,
                    packed->weights, packed->bias, packed->n_out, width);
}

/* Rows [first, end) of image l: layer l with its pooling. */
static void make_image(const run *r, size_t l, const source *map, size_t first, size_t end)
{
    const image *m = &r->images[l];
    size_t width = 2 * m->n_columns, plane = width * DNS_LANES, stride = row_size(m);
    float *upper = r->rows, *lower = r->rows + m->n_blocks * plane, *largest = r->largest[l];
    for (size_t y = first; y < end; y++) {
        const source s = l == 0
                             ? (source){.floats = map->floats + 2 * y * map->row, .row = map->row}
                             : source_of(r, l, 2 * y, STRIP);
        convolve_row(upper, r, l, &s, 0, width);
        convolve_row(lower, r, l, &s, 1, width);
        largest[y + 1] = 0.0f;
        for (size_t b = 0; b < m->n_blocks; b++) {
            float *row = r->between[l] + b * plane_size(m) + (y + 1) * stride + DNS_LANES;
            largest[y + 1] =
                fmaxf(largest[y + 1], r->net->kernels.pool_f32(row, upper + b * plane,
                                                               lower + b * plane, m->n_columns));
        }
    }
    for (size_t b = 0; b < m->n_blocks; b++)
        put_border(r->between[l] + b * plane_size(m), m->n_rows, m->n_columns, DNS_LANES, first,
                   end, r->net->replicate);
    largest[0] = largest[1]; /* what a border repeats is no larger */
    if (end == m->n_rows)
        largest[end + 1] = largest[end];
}

/* Rows of the map, of the first and of the second image that the first n rows of the output read.
 */
typedef struct reach {
    size_t map, images[2];
} reach;

static reach reach_of(size_t n, size_t n_rows)
{
    if (n == 0)
        return (reach){0};
    reach r;
    r.images[1] = smaller(n + 1, n_rows / 4);
    r.images[0] = smaller(2 * r.images[1] + 1, n_rows / 2);
    r.map = smaller(2 * r.images[0] + 1, n_rows);
    return r;
}

size_t dns_mapcnn_input(size_t n, size_t n_rows)
{
    return reach_of(n, n_rows).map;
}

dns_status dns_mapcnn_run_rows(float *out, const dns_mapcnn *net, const float *map, size_t n_rows,
                               size_t n_columns, size_t first, size_t end, void *scratch)
{
    if (n_rows < 4 || n_columns < 4)
        return dns_status_set(DNS_ERR_SHAPE,
                              "comparator: map [%zu,%zu], at least 4 rows and columns are needed",
                              n_rows, n_columns);
    const plan p = plan_for(net, n_rows, n_columns);
    const reach from = reach_of(first, n_rows), to = reach_of(end, n_rows);
    run r = {.net = net,
             .images = p.images,
             .padded = floats_at(scratch, p.map),
             .rows = floats_at(scratch, p.rows),
             .scales = floats_at(scratch, p.scales),
             .bytes = (uint8_t *)scratch + p.bytes};
    for (size_t i = 0; i < 2; i++) {
        r.between[i] = floats_at(scratch, p.between[i]);
        r.largest[i] = floats_at(scratch, p.largest[i]);
    }
    put_map(r.padded, map, n_rows, n_columns, from.map, to.map, net->replicate);
    const source input = {.floats = r.padded, .row = n_columns + 2};
    make_image(&r, 0, &input, from.images[0], to.images[0]);
    make_image(&r, 1, NULL, from.images[1], to.images[1]);
    size_t width = n_columns / 4;
    for (size_t y = first; y < end; y++) {
        const source s = source_of(&r, 2, y, STRIP - 1);
        convolve_row(r.rows, &r, 2, &s, 0, width);
        net->kernels.relu_dot_f32(out + y * width, r.rows, width * DNS_LANES, net->layers[2].n_out,
                                  net->last, net->last_bias, width);
    }
    return DNS_OK;
}

dns_status dns_mapcnn_run(float *out, const dns_mapcnn *net, const float *map, size_t n_rows,
                          size_t n_columns, void *scratch)
{
    return dns_mapcnn_run_rows(out, net, map, n_rows, n_columns, 0, dns_mapcnn_output(n_rows),
                               scratch);
}
