#include "dnsel/comparator.h"

#include <string.h>

#include "dnsel/memory.h"
#include "matmul.h"

/*
 * Convolutions are matrix products: the 3x3 neighbourhoods of a band of rows are laid out as
 * patches [cells, 9, in] and multiplied with weights reordered to [out, 9, in]. A band is as many
 * rows as keep its patches in cache, an even number, because two rows are pooled into one.
 */
enum { TAPS = 9, BAND_ENTRIES = 1 << 17 };

struct layer {
    const dns_real *input; /* [rows, columns, in] */
    size_t rows, columns, in, out;
    dns_padding padding;
};

void dns_comparator_trace_free(dns_comparator_trace *trace)
{
    for (size_t i = 0; i < 3; i++)
        dns_free(trace->maps[i]);
    for (size_t i = 0; i < 2; i++)
        dns_free(trace->winners[i]);
    *trace = (dns_comparator_trace){0};
}

void dns_comparator_scratch_free(dns_comparator_scratch *scratch)
{
    dns_free(scratch->patches);
    dns_free(scratch->cells);
    dns_free(scratch->weights);
    dns_free(scratch->gradients);
    dns_free(scratch->masks);
    *scratch = (dns_comparator_scratch){0};
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t band_rows(const struct layer *l)
{
    size_t rows = BAND_ENTRIES / (l->columns * TAPS * l->in) / 2 * 2;
    return min(rows < 2 ? 2 : rows, l->rows);
}

static struct layer layer_of(const dns_comparator *net, const dns_comparator_input *input,
                             const dns_comparator_trace *trace, size_t index)
{
    size_t halvings = index;
    return (struct layer){
        .input = index == 0 ? input->map : trace->maps[index - 1],
        .rows = input->rows >> halvings,
        .columns = input->columns >> halvings,
        .in = index == 0 ? 1 : net->channels[index - 1],
        .out = net->channels[index],
        .padding = net->padding,
    };
}

/* Index of the neighbour `offset` - 1 away, or `size` when it lies in zero padding. */
static size_t neighbour(size_t at, size_t offset, size_t size, dns_padding padding)
{
    if (at + offset >= 1 && at + offset <= size)
        return at + offset - 1;
    return padding == DNS_PADDING_ZERO ? size : at;
}

/* Patches [rows * columns, 9, in] of the rows from `first`. */
static void gather(dns_real *patches, const struct layer *l, size_t first, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t dy = 0; dy < 3; dy++) {
            size_t y = neighbour(first + i, dy, l->rows, l->padding);
            for (size_t j = 0; j < l->columns; j++) {
                dns_real *patch = patches + ((i * l->columns + j) * TAPS + dy * 3) * l->in;
                for (size_t dx = 0; dx < 3; dx++, patch += l->in) {
                    size_t x = neighbour(j, dx, l->columns, l->padding);
                    if (y == l->rows || x == l->columns)
                        memset(patch, 0, l->in * sizeof *patch);
                    else
                        memcpy(patch, l->input + (y * l->columns + x) * l->in,
                               l->in * sizeof *patch);
                }
            }
        }
    }
}

/* The way back of gather: adds patches to the cells of dinput [rows, columns, in] that they came
 * from. */
static void scatter(dns_real *dinput, const dns_real *patches, const struct layer *l, size_t first,
                    size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t dy = 0; dy < 3; dy++) {
            size_t y = neighbour(first + i, dy, l->rows, l->padding);
            for (size_t j = 0; j < l->columns && y < l->rows; j++) {
                const dns_real *patch = patches + ((i * l->columns + j) * TAPS + dy * 3) * l->in;
                for (size_t dx = 0; dx < 3; dx++, patch += l->in) {
                    size_t x = neighbour(j, dx, l->columns, l->padding);
                    dns_real *cell = dinput + (y * l->columns + x) * l->in;
                    for (size_t c = 0; c < l->in && x < l->columns; c++)
                        cell[c] += patch[c];
                }
            }
        }
    }
}

/* [out, in, 9] as stored to [out, 9, in]. */
static void reorder(dns_real *to, const dns_real *from, const struct layer *l)
{
    for (size_t o = 0; o < l->out; o++) {
        for (size_t c = 0; c < l->in; c++) {
            for (size_t k = 0; k < TAPS; k++)
                to[(o * TAPS + k) * l->in + c] = from[(o * l->in + c) * TAPS + k];
        }
    }
}

static void add_reordered(dns_real *to, const dns_real *from, const struct layer *l)
{
    for (size_t o = 0; o < l->out; o++) {
        for (size_t c = 0; c < l->in; c++) {
            for (size_t k = 0; k < TAPS; k++)
                to[(o * l->in + c) * TAPS + k] += from[(o * TAPS + k) * l->in + c];
        }
    }
}

/* ---- forward ---- */

/* cells [rows * columns, out] of the rows from `first` = convolution + bias, then mask. */
static dns_status convolve(dns_real *cells, const struct layer *l, const dns_real *weights,
                           const dns_real *bias, const uint8_t *row_mask,
                           const uint8_t *column_mask, size_t first, size_t rows, dns_real *patches)
{
    size_t n = rows * l->columns, depth = TAPS * l->in;
    gather(patches, l, first, rows);
    for (size_t i = 0; i < n; i++)
        memcpy(cells + i * l->out, bias, l->out * sizeof *cells);
    dns_status status = dns_matmul(cells, l->out, (dns_matrix){patches, depth, false},
                                   (dns_matrix){weights, depth, true}, n, l->out, depth, true);
    for (size_t i = 0; status == DNS_OK && i < n; i++) {
        if (!row_mask[first + i / l->columns] || !column_mask[i % l->columns])
            memset(cells + i * l->out, 0, l->out * sizeof *cells);
    }
    return status;
}

/* One row of the pooled map from two rows of cells; ReLU commutes with the maximum. */
static void pool_row(dns_real *map, uint8_t *winners, const dns_real *cells, const struct layer *l)
{
    for (size_t j = 0; j < l->columns / 2; j++) {
        for (size_t c = 0; c < l->out; c++) {
            const dns_real *corner = cells + 2 * j * l->out + c;
            dns_real best = corner[0];
            uint8_t winner = 0;
            for (uint8_t k = 1; k < 4; k++) {
                dns_real value = corner[((k >> 1) * l->columns + (k & 1)) * l->out];
                if (value > best) {
                    best = value;
                    winner = k;
                }
            }
            map[j * l->out + c] = best > 0 ? best : 0;
            winners[j * l->out + c] = winner;
        }
    }
}

static void rectify(dns_real *map, const dns_real *cells, size_t n)
{
    for (size_t i = 0; i < n; i++)
        map[i] = cells[i] > 0 ? cells[i] : 0;
}

/* Layer `index` of the three: its map and, when it is pooled, the winners. */
static dns_status forward_layer(dns_comparator_trace *trace, const dns_comparator *net,
                                const dns_comparator_input *input, size_t index,
                                const uint8_t *row_mask, const uint8_t *column_mask,
                                dns_comparator_scratch *s)
{
    dns_status status = DNS_OK;
    struct layer l = layer_of(net, input, trace, index);
    bool pooled = index < 2;
    size_t band = band_rows(&l), depth = TAPS * l.in;
    size_t width = pooled ? l.columns / 2 : l.columns, height = pooled ? l.rows / 2 : l.rows;
    DNS_TRY(dns_reserve(&s->weights, &s->weight_capacity, l.out * depth, sizeof(dns_real)));
    DNS_TRY(
        dns_reserve(&s->patches, &s->patch_capacity, band * l.columns * depth, sizeof(dns_real)));
    DNS_TRY(dns_reserve(&s->cells, &s->cell_capacity, band * l.columns * l.out, sizeof(dns_real)));
    DNS_TRY(dns_reserve(&trace->maps[index], &trace->map_capacity[index], height * width * l.out,
                        sizeof(dns_real)));
    if (pooled)
        DNS_TRY(dns_reserve(&trace->winners[index], &trace->winner_capacity[index],
                            height * width * l.out, 1));
    reorder(s->weights, net->weight[index], &l);
    for (size_t first = 0; first < l.rows; first += band) {
        size_t rows = min(band, l.rows - first);
        DNS_TRY(convolve(s->cells, &l, s->weights, net->bias[index], row_mask, column_mask, first,
                         rows, s->patches));
        for (size_t i = 0; pooled && i < rows / 2; i++) {
            size_t at = (first / 2 + i) * width * l.out;
            pool_row(trace->maps[index] + at, trace->winners[index] + at,
                     s->cells + 2 * i * l.columns * l.out, &l);
        }
        if (!pooled)
            rectify(trace->maps[index] + first * l.columns * l.out, s->cells,
                    rows * l.columns * l.out);
    }
out:
    return status;
}

/* Masks at full, half and quarter size, one behind the other; 1 everywhere without a mask. */
static void pool_masks(uint8_t *masks, const uint8_t *mask, size_t n)
{
    if (mask == NULL)
        memset(masks, 1, n);
    else
        memcpy(masks, mask, n);
    for (size_t level = 0; level < 2; level++) {
        uint8_t *pooled = masks + n;
        for (size_t i = 0; i < n / 2; i++)
            pooled[i] = masks[2 * i] | masks[2 * i + 1];
        masks = pooled;
        n /= 2;
    }
}

dns_status dns_comparator_forward(dns_real *out, dns_comparator_trace *trace,
                                  const dns_comparator *net, const dns_comparator_input *input,
                                  dns_comparator_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t rows = input->rows, columns = input->columns;
    if (rows < DNS_COMPARATOR_POOLED || columns < DNS_COMPARATOR_POOLED)
        DNS_FAIL(DNS_ERR_SHAPE, "a map of %zux%zu frames, at least 4x4 are needed", rows, columns);
    DNS_TRY(dns_reserve(&scratch->masks, &scratch->mask_capacity, 2 * (rows + columns), 1));
    uint8_t *row_mask = scratch->masks, *column_mask = scratch->masks + 2 * rows;
    pool_masks(row_mask, input->row_mask, rows);
    pool_masks(column_mask, input->column_mask, columns);
    for (size_t index = 0; index < 3; index++) {
        DNS_TRY(forward_layer(trace, net, input, index, row_mask, column_mask, scratch));
        row_mask += rows >> index;
        column_mask += columns >> index;
    }
    size_t depth = net->channels[2];
    for (size_t i = 0; i < (rows / 4) * (columns / 4); i++) {
        dns_real sum = net->bias[3][0];
        for (size_t c = 0; c < depth; c++)
            sum += trace->maps[2][i * depth + c] * net->weight[3][c];
        out[i] = sum;
    }
out:
    return status;
}

/* ---- backward ---- */

/* dcells [rows, columns, out] from the gradient of the pooled map: each goes to the cell that won.
 */
static void unpool(dns_real *dcells, const dns_real *dmap, const dns_real *map,
                   const uint8_t *winners, const struct layer *l)
{
    size_t width = l->columns / 2;
    memset(dcells, 0, l->rows * l->columns * l->out * sizeof *dcells);
    for (size_t i = 0; i < l->rows / 2; i++) {
        for (size_t j = 0; j < width; j++) {
            for (size_t c = 0; c < l->out; c++) {
                size_t at = (i * width + j) * l->out + c, k = winners[at];
                if (map[at] > 0)
                    dcells[((2 * i + k / 2) * l->columns + 2 * j + k % 2) * l->out + c] = dmap[at];
            }
        }
    }
}

/* Gradients of one convolution from dcells [rows, columns, out]; dinput is overwritten unless NULL.
 */
static dns_status backward_layer(dns_real *dinput, dns_real *dweight, dns_real *dbias,
                                 const dns_real *dcells, const dns_real *weight,
                                 const struct layer *l, dns_comparator_scratch *s)
{
    dns_status status = DNS_OK;
    size_t band = band_rows(l), depth = TAPS * l->in, n_weights = l->out * depth;
    DNS_TRY(dns_reserve(&s->weights, &s->weight_capacity, 2 * n_weights, sizeof(dns_real)));
    DNS_TRY(
        dns_reserve(&s->patches, &s->patch_capacity, band * l->columns * depth, sizeof(dns_real)));
    dns_real *weights = s->weights, *dweights = s->weights + n_weights;
    reorder(weights, weight, l);
    memset(dweights, 0, n_weights * sizeof *dweights);
    if (dinput != NULL)
        memset(dinput, 0, l->rows * l->columns * l->in * sizeof *dinput);
    for (size_t first = 0; first < l->rows; first += band) {
        size_t rows = min(band, l->rows - first), n = rows * l->columns;
        const dns_real *d = dcells + first * l->columns * l->out;
        for (size_t i = 0; i < n; i++) {
            for (size_t c = 0; c < l->out; c++)
                dbias[c] += d[i * l->out + c];
        }
        gather(s->patches, l, first, rows);
        DNS_TRY(dns_matmul(dweights, depth, (dns_matrix){d, l->out, true},
                           (dns_matrix){s->patches, depth, false}, l->out, depth, n, true));
        if (dinput == NULL)
            continue;
        DNS_TRY(dns_matmul(s->patches, depth, (dns_matrix){d, l->out, false},
                           (dns_matrix){weights, depth, false}, n, depth, l->out, false));
        scatter(dinput, s->patches, l, first, rows);
    }
    add_reordered(dweight, dweights, l);
out:
    return status;
}

/* dcells [cells, c3] of the last 3x3 convolution, through the 1x1 one and ReLU. Masked cells are 0
 * in every map, and ReLU passes nothing at 0, so that the way back needs no masks. */
static void backward_last(dns_real *dcells, dns_real *dweight, dns_real *dbias,
                          const dns_real *dout, const dns_real *map, const dns_real *weight,
                          size_t n, size_t depth)
{
    for (size_t i = 0; i < n; i++) {
        dbias[0] += dout[i];
        for (size_t c = 0; c < depth; c++) {
            dweight[c] += dout[i] * map[i * depth + c];
            dcells[i * depth + c] = map[i * depth + c] > 0 ? dout[i] * weight[c] : 0;
        }
    }
}

dns_status dns_comparator_backward(dns_real *dmap, dns_comparator_gradient *gradient,
                                   const dns_real *dout, const dns_comparator_trace *trace,
                                   const dns_comparator *net, const dns_comparator_input *input,
                                   dns_comparator_scratch *scratch)
{
    dns_status status = DNS_OK;
    struct layer layers[3];
    size_t inputs[3], largest = 0;
    for (size_t i = 0; i < 3; i++) {
        layers[i] = layer_of(net, input, trace, i);
        size_t cells = layers[i].rows * layers[i].columns;
        inputs[i] = cells * layers[i].in;
        largest = cells * layers[i].out > largest ? cells * layers[i].out : largest;
    }
    DNS_TRY(dns_reserve(&scratch->cells, &scratch->cell_capacity, largest, sizeof(dns_real)));
    DNS_TRY(dns_reserve(&scratch->gradients, &scratch->gradient_capacity,
                        inputs[1] > inputs[2] ? inputs[1] : inputs[2], sizeof(dns_real)));
    dns_real *dcells = scratch->cells, *dinput = scratch->gradients;
    backward_last(dcells, gradient->weight[3], gradient->bias[3], dout, trace->maps[2],
                  net->weight[3], layers[2].rows * layers[2].columns, net->channels[2]);
    for (size_t i = 3; i-- > 0;) {
        DNS_TRY(backward_layer(i == 0 ? dmap : dinput, gradient->weight[i], gradient->bias[i],
                               dcells, net->weight[i], &layers[i], scratch));
        if (i > 0)
            unpool(dcells, dinput, trace->maps[i - 1], trace->winners[i - 1], &layers[i - 1]);
    }
out:
    return status;
}
