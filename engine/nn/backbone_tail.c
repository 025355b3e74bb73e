#include "dnsel/backbone_tail.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/inverted_residual.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"

enum { LAYERS = 3 * DNS_TAIL_BLOCKS + 1, NAME = 96 };

struct dns_backbone_tail {
    dns_tail_shape s;
    dns_parameters *parameters;
    size_t weight[LAYERS], bias[LAYERS]; /* expand, depthwise, project of each block; the head */
    dns_real *mean, *matrix;
    /* The last batch. */
    dns_inverted_residual_trace traces[DNS_TAIL_BLOCKS];
    dns_real *maps[DNS_TAIL_BLOCKS]; /* what each block gave */
    size_t map_capacity[DNS_TAIL_BLOCKS];
    struct activations {
        dns_real *head;    /* [n, s, s, head] */
        uint8_t *winners;  /* [n, 9, head]: cell of the window that won */
        dns_real *regions; /* [n, 9, head], normalised */
        dns_real *joined;  /* [n, 9, fixed + head], normalised */
        dns_real *centred; /* [n, 9, fixed + head] */
        dns_real *out;     /* [n, 9, out], normalised */
        dns_real *region_norm, *joined_norm, *out_norm;
        size_t capacity; /* in pictures */
    } a;
    dns_real *gradient[2]; /* of maps, on the way back */
    size_t gradient_capacity[2];
};

static dns_status add_layer(dns_backbone_tail *net, size_t layer, const char *name, size_t out,
                            size_t in, size_t kernel)
{
    char full[NAME];
    const size_t shape[4] = {out, in, kernel, kernel};
    snprintf(full, sizeof full, "%s.weight", name);
    dns_status status = dns_parameters_add(net->parameters, &net->weight[layer], full, 4, shape,
                                           DNS_PARAMETER_TRAINED);
    snprintf(full, sizeof full, "%s.bias", name);
    if (status == DNS_OK)
        status = dns_parameters_add(net->parameters, &net->bias[layer], full, 1, shape,
                                    DNS_PARAMETER_TRAINED);
    return status;
}

static dns_status check_shape(const dns_tail_shape *s)
{
    if (s->n_blocks > DNS_TAIL_BLOCKS || 2 * s->stride + s->window > s->size ||
        s->window * s->window > 255)
        return dns_status_set(
            DNS_ERR_SHAPE, "backbone tail of %zu blocks, windows of %zu every %zu on a map of %zu",
            s->n_blocks, s->window, s->stride, s->size);
    for (size_t i = 1; i < s->n_blocks; i++)
        if (s->blocks[i].in != s->blocks[i - 1].out)
            return dns_status_set(DNS_ERR_SHAPE,
                                  "block %s takes %zu channels, the one before gives %zu",
                                  s->blocks[i].expand, s->blocks[i].in, s->blocks[i - 1].out);
    return s->n_blocks > 0 ? DNS_OK : dns_status_set(DNS_ERR_SHAPE, "backbone tail without blocks");
}

dns_status dns_backbone_tail_create(dns_backbone_tail **out, const dns_tail_shape *shape,
                                    bool training)
{
    dns_status status = DNS_OK;
    dns_backbone_tail *net = NULL;
    size_t joined = shape->fixed + shape->head;
    *out = NULL;
    DNS_TRY(check_shape(shape));
    DNS_TRY(dns_alloc(&net, 1, sizeof *net));
    net->s = *shape;
    DNS_TRY(dns_parameters_create(&net->parameters));
    for (size_t i = 0; i < shape->n_blocks; i++) {
        const dns_tail_block *b = &shape->blocks[i];
        DNS_TRY(add_layer(net, 3 * i, b->expand, b->expanded, b->in, 1));
        DNS_TRY(add_layer(net, 3 * i + 1, b->depthwise, b->expanded, 1, b->kernel));
        DNS_TRY(add_layer(net, 3 * i + 2, b->project, b->out, b->expanded, 1));
    }
    DNS_TRY(add_layer(net, 3 * shape->n_blocks, shape->head_name, shape->head,
                      shape->blocks[shape->n_blocks - 1].out, 1));
    DNS_TRY(dns_parameters_allocate(net->parameters, training));
    DNS_TRY(dns_alloc(&net->mean, joined, sizeof *net->mean));
    DNS_TRY(dns_alloc(&net->matrix, joined * shape->out, sizeof *net->matrix));
    *out = net;
    net = NULL;
out:
    dns_backbone_tail_free(net);
    return status;
}

static void free_activations(struct activations *a)
{
    dns_free(a->head);
    dns_free(a->winners);
    dns_free(a->regions);
    dns_free(a->joined);
    dns_free(a->centred);
    dns_free(a->out);
    dns_free(a->region_norm);
    dns_free(a->joined_norm);
    dns_free(a->out_norm);
    *a = (struct activations){0};
}

void dns_backbone_tail_free(dns_backbone_tail *net)
{
    if (net == NULL)
        return;
    for (size_t i = 0; i < DNS_TAIL_BLOCKS; i++) {
        dns_inverted_residual_trace_free(&net->traces[i]);
        dns_free(net->maps[i]);
    }
    free_activations(&net->a);
    dns_free(net->gradient[0]);
    dns_free(net->gradient[1]);
    dns_free(net->mean);
    dns_free(net->matrix);
    dns_parameters_free(net->parameters);
    dns_free(net);
}

dns_parameters *dns_backbone_tail_parameters(const dns_backbone_tail *net)
{
    return net->parameters;
}

size_t dns_backbone_tail_out(const dns_backbone_tail *net)
{
    return net->s.out;
}

size_t dns_backbone_tail_joined(const dns_backbone_tail *net)
{
    return net->s.fixed + net->s.head;
}

void dns_backbone_tail_set_whitening(dns_backbone_tail *net, const dns_real *mean,
                                     const dns_real *matrix)
{
    size_t joined = net->s.fixed + net->s.head;
    memcpy(net->mean, mean, joined * sizeof *mean);
    memcpy(net->matrix, matrix, joined * net->s.out * sizeof *matrix);
}

static dns_status make_room(dns_backbone_tail *net, size_t n)
{
    dns_status status = DNS_OK;
    struct activations *a = &net->a;
    size_t rows = n * DNS_TAIL_REGIONS, joined = net->s.fixed + net->s.head;
    if (n <= a->capacity)
        return DNS_OK;
    free_activations(a);
    DNS_TRY(dns_alloc(&a->head, n * net->s.size * net->s.size * net->s.head, sizeof *a->head));
    DNS_TRY(dns_alloc(&a->winners, rows * net->s.head, sizeof *a->winners));
    DNS_TRY(dns_alloc(&a->regions, rows * net->s.head, sizeof *a->regions));
    DNS_TRY(dns_alloc(&a->joined, rows * joined, sizeof *a->joined));
    DNS_TRY(dns_alloc(&a->centred, rows * joined, sizeof *a->centred));
    DNS_TRY(dns_alloc(&a->out, rows * net->s.out, sizeof *a->out));
    DNS_TRY(dns_alloc(&a->region_norm, rows, sizeof *a->region_norm));
    DNS_TRY(dns_alloc(&a->joined_norm, rows, sizeof *a->joined_norm));
    DNS_TRY(dns_alloc(&a->out_norm, rows, sizeof *a->out_norm));
    a->capacity = n;
out:
    if (status != DNS_OK)
        free_activations(a);
    return status;
}

static dns_real *weight(const dns_backbone_tail *net, size_t layer)
{
    return dns_parameters_weight(net->parameters, net->weight[layer]);
}

static dns_real *bias(const dns_backbone_tail *net, size_t layer)
{
    return dns_parameters_weight(net->parameters, net->bias[layer]);
}

static dns_inverted_residual block_of(const dns_backbone_tail *net, size_t i)
{
    const dns_tail_block *b = &net->s.blocks[i];
    return (dns_inverted_residual){.size = net->s.size,
                                   .in = b->in,
                                   .expanded = b->expanded,
                                   .out = b->out,
                                   .kernel = b->kernel,
                                   .expand_w = weight(net, 3 * i),
                                   .expand_b = bias(net, 3 * i),
                                   .depthwise_w = weight(net, 3 * i + 1),
                                   .depthwise_b = bias(net, 3 * i + 1),
                                   .project_w = weight(net, 3 * i + 2),
                                   .project_b = bias(net, 3 * i + 2)};
}

/* Maximum over the cells of a window, channel by channel; the first of equal cells wins. */
static void pool_region(dns_real *out, uint8_t *winner, const dns_real *map,
                        const dns_tail_shape *s, size_t region)
{
    const dns_real *corner =
        map + ((region / 3) * s->stride * s->size + (region % 3) * s->stride) * s->head;
    memcpy(out, corner, s->head * sizeof *out);
    memset(winner, 0, s->head);
    for (size_t cell = 1; cell < s->window * s->window; cell++) {
        const dns_real *x = corner + ((cell / s->window) * s->size + cell % s->window) * s->head;
        for (size_t c = 0; c < s->head; c++)
            if (x[c] > out[c]) {
                out[c] = x[c];
                winner[c] = (uint8_t)cell;
            }
    }
}

static void unpool_region(dns_real *dmap, const dns_real *dout, const uint8_t *winner,
                          const dns_tail_shape *s, size_t region)
{
    dns_real *corner =
        dmap + ((region / 3) * s->stride * s->size + (region % 3) * s->stride) * s->head;
    for (size_t c = 0; c < s->head; c++) {
        size_t cell = winner[c];
        corner[((cell / s->window) * s->size + cell % s->window) * s->head + c] += dout[c];
    }
}

struct batch {
    dns_backbone_tail *net;
    const dns_tail_batch *b;
    dns_real *gradient, *djoined;
};

/* One picture: from the head's map to the joined, normalised and centred region vectors. */
static dns_status join_task(void *payload, size_t i, size_t worker)
{
    (void)worker;
    const struct batch *t = payload;
    dns_backbone_tail *net = t->net;
    const dns_tail_shape *s = &net->s;
    struct activations *a = &net->a;
    size_t joined = s->fixed + s->head;
    for (size_t r = 0; r < DNS_TAIL_REGIONS; r++) {
        size_t row = i * DNS_TAIL_REGIONS + r;
        dns_real *region = a->regions + row * s->head, *vector = a->joined + row * joined;
        pool_region(region, a->winners + row * s->head, a->head + i * s->size * s->size * s->head,
                    s, r);
        dns_normalise_forward(region, a->region_norm + row, region, 1, s->head);
        memcpy(vector, t->b->fixed + row * s->fixed, s->fixed * sizeof *vector);
        memcpy(vector + s->fixed, region, s->head * sizeof *vector);
        dns_normalise_forward(vector, a->joined_norm + row, vector, 1, joined);
        for (size_t k = 0; k < joined; k++)
            a->centred[row * joined + k] = vector[k] - net->mean[k];
    }
    return DNS_OK;
}

/* out = centred M. M is stored [joined, out] as whitening has it, so the linear layer's backward is
 * this product. */
static dns_status whiten(dns_backbone_tail *net, size_t rows, dns_pool *pool)
{
    const dns_tail_shape *s = &net->s;
    dns_status status = dns_linear_backward(net->a.out, NULL, NULL, net->a.centred, NULL,
                                            net->matrix, rows, s->out, s->fixed + s->head, pool);
    if (status == DNS_OK)
        dns_normalise_forward(net->a.out, net->a.out_norm, net->a.out, rows, s->out);
    return status;
}

dns_status dns_backbone_tail_forward(dns_backbone_tail *net, dns_real *regions, dns_real *joined,
                                     const dns_tail_batch *batch, dns_pool *pool)
{
    dns_status status = DNS_OK;
    const dns_tail_shape *s = &net->s;
    size_t cells = batch->n * s->size * s->size, rows = batch->n * DNS_TAIL_REGIONS,
           last = s->n_blocks - 1;
    struct batch t = {.net = net, .b = batch};
    DNS_TRY(make_room(net, batch->n));
    for (size_t i = 0; i < s->n_blocks; i++) {
        const dns_inverted_residual block = block_of(net, i);
        DNS_TRY(dns_reserve(&net->maps[i], &net->map_capacity[i], cells * block.out,
                            sizeof *net->maps[i]));
        DNS_TRY(dns_inverted_residual_forward(net->maps[i], &net->traces[i], &block,
                                              i == 0 ? batch->trunk : net->maps[i - 1], batch->n,
                                              pool));
    }
    DNS_TRY(dns_linear_forward(net->a.head, net->maps[last], weight(net, 3 * s->n_blocks),
                               bias(net, 3 * s->n_blocks), cells, s->blocks[last].out, s->head,
                               pool));
    dns_relu6_forward(net->a.head, cells * s->head);
    DNS_TRY(dns_pool_run(pool, batch->n, join_task, &t));
    DNS_TRY(whiten(net, rows, pool));
    memcpy(regions, net->a.out, rows * s->out * sizeof *regions);
    if (joined != NULL)
        memcpy(joined, net->a.joined, rows * (s->fixed + s->head) * sizeof *joined);
out:
    return status;
}

/* One picture back: from the gradient of its centred vectors to that of the head's map. */
static dns_status unjoin_task(void *payload, size_t i, size_t worker)
{
    (void)worker;
    const struct batch *t = payload;
    const dns_backbone_tail *net = t->net;
    const dns_tail_shape *s = &net->s;
    const struct activations *a = &net->a;
    size_t joined = s->fixed + s->head, map = s->size * s->size * s->head;
    dns_real *dmap = t->gradient + i * map;
    memset(dmap, 0, map * sizeof *dmap);
    for (size_t r = 0; r < DNS_TAIL_REGIONS; r++) {
        size_t row = i * DNS_TAIL_REGIONS + r;
        dns_real *d = t->djoined + row * joined, *dregion = d + s->fixed;
        dns_normalise_backward(d, d, a->joined + row * joined, a->joined_norm + row, 1, joined);
        dns_normalise_backward(dregion, dregion, a->regions + row * s->head, a->region_norm + row,
                               1, s->head);
        unpool_region(dmap, dregion, a->winners + row * s->head, s, r);
    }
    dns_relu6_backward(dmap, a->head + i * map, map);
    return DNS_OK;
}

static dns_inverted_residual_gradient gradient_of(const dns_backbone_tail *net, size_t i)
{
    dns_real *at[6];
    for (size_t j = 0; j < 3; j++) {
        at[2 * j] = dns_parameters_gradient(net->parameters, net->weight[3 * i + j]);
        at[2 * j + 1] = dns_parameters_gradient(net->parameters, net->bias[3 * i + j]);
    }
    return (dns_inverted_residual_gradient){at[0], at[1], at[2], at[3], at[4], at[5]};
}

static dns_status gradient_room(dns_backbone_tail *net, size_t which, size_t n)
{
    return dns_reserve(&net->gradient[which], &net->gradient_capacity[which], n,
                       sizeof *net->gradient[which]);
}

dns_status dns_backbone_tail_backward(dns_backbone_tail *net, const dns_real *dregions,
                                      const dns_tail_batch *batch, dns_pool *pool)
{
    dns_status status = DNS_OK;
    const dns_tail_shape *s = &net->s;
    size_t cells = batch->n * s->size * s->size, rows = batch->n * DNS_TAIL_REGIONS,
           last = s->n_blocks - 1;
    size_t joined = s->fixed + s->head, widest = s->head, head = 3 * s->n_blocks;
    for (size_t i = 0; i < s->n_blocks; i++)
        widest = s->blocks[i].in > widest ? s->blocks[i].in : widest;
    dns_real *dout = NULL;
    DNS_TRY(dns_alloc(&dout, rows * s->out, sizeof *dout));
    DNS_TRY(gradient_room(net, 0, cells * widest));
    DNS_TRY(gradient_room(net, 1, cells * widest > rows * joined ? cells * widest : rows * joined));
    struct batch t = {
        .net = net, .b = batch, .gradient = net->gradient[0], .djoined = net->gradient[1]};
    dns_normalise_backward(dout, dregions, net->a.out, net->a.out_norm, rows, s->out);
    DNS_TRY(dns_linear_forward(t.djoined, dout, net->matrix, NULL, rows, s->out, joined, pool));
    DNS_TRY(dns_pool_run(pool, batch->n, unjoin_task, &t));
    DNS_TRY(dns_linear_backward(
        net->gradient[1], dns_parameters_gradient(net->parameters, net->weight[head]),
        dns_parameters_gradient(net->parameters, net->bias[head]), net->gradient[0],
        net->maps[last], weight(net, head), cells, s->blocks[last].out, s->head, pool));
    for (size_t i = s->n_blocks; i-- > 0;) {
        const dns_inverted_residual block = block_of(net, i);
        dns_inverted_residual_gradient g = gradient_of(net, i);
        size_t from = (s->n_blocks - i) % 2; /* 1 for the last block, then the two take turns */
        DNS_TRY(dns_inverted_residual_backward(
            i > 0 ? net->gradient[1 - from] : NULL, &g, net->gradient[from], &net->traces[i],
            &block, i == 0 ? batch->trunk : net->maps[i - 1], batch->n, pool));
    }
out:
    dns_free(dout);
    return status;
}
