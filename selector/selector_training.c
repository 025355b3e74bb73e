#include "dnsel/selector_training.h"

#include <math.h>
#include <string.h>

#include "dnsel/attention.h"
#include "dnsel/batch_norm.h"
#include "dnsel/gemm.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"
#include "dnsel/mlp.h"
#include "selector_net.h"

/* Gradients of the comparator are summed within groups of consecutive videos, then over the groups
 * in order: as many groups at most, whatever the number of threads. */
enum { MOST_GROUPS = 64 };

struct buffer {
    float *data;
    size_t capacity;
};

/* What a video keeps from the way forward to the way back. Its map is side x side frames: the real
 * ones and, in a padded batch, what fills them up to a multiple of 4. */
struct video {
    size_t side;
    struct buffer means; /* [n_frames, D] */
    struct buffer map;   /* [side, side], 0 in padding */
    struct buffer out;   /* [side / 4, side / 4] */
    dns_comparator_trace trace;
};

/* Working memory of one thread. */
struct worker {
    dns_comparator_scratch comparator;
    struct buffer dout, dmap, dmeans;
    uint8_t *mask;
    size_t mask_capacity;
};

/* A hidden layer of the MLP: linear, batch norm, ReLU, dropout. */
struct hidden_layer {
    struct buffer z, y; /* [n_pairs, width] before and after */
    struct buffer mean, variance;
};

struct dns_selector_trainer {
    dns_selector *net;
    dns_pool *pool;
    struct worker *workers;
    struct video *videos;
    size_t video_capacity;
    size_t *first; /* [n_videos + 1] region rows before each video */
    size_t first_capacity;
    struct buffer gates, hidden, dgates, groups;
    struct buffer scalars, dscalars; /* [n_videos] */
    struct buffer inputs, dinputs;   /* [n_pairs, 3] */
    struct hidden_layer layers[2];
    struct buffer gradients[2]; /* [n_pairs, widest] */
};

static dns_status grow(struct buffer *buffer, size_t n)
{
    return dns_reserve(&buffer->data, &buffer->capacity, n, sizeof(float));
}

dns_status dns_selector_trainer_create(dns_selector_trainer **out, dns_selector *net,
                                       dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_selector_trainer *t = NULL;
    *out = NULL;
    if (dns_parameters_block(net->parameters, DNS_GRADIENTS) == NULL)
        DNS_FAIL(DNS_ERR_ARG, "a selector that was not made for training");
    DNS_TRY(dns_alloc(&t, 1, sizeof *t));
    t->net = net;
    t->pool = pool;
    DNS_TRY(dns_alloc(&t->workers, dns_pool_size(pool), sizeof *t->workers));
    *out = t;
    t = NULL;
out:
    dns_selector_trainer_free(t);
    return status;
}

void dns_selector_trainer_free(dns_selector_trainer *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; t->workers != NULL && i < dns_pool_size(t->pool); i++) {
        struct worker *w = &t->workers[i];
        dns_comparator_scratch_free(&w->comparator);
        dns_free(w->dout.data);
        dns_free(w->dmap.data);
        dns_free(w->dmeans.data);
        dns_free(w->mask);
    }
    for (size_t i = 0; i < t->video_capacity; i++) {
        dns_free(t->videos[i].means.data);
        dns_free(t->videos[i].map.data);
        dns_free(t->videos[i].out.data);
        dns_comparator_trace_free(&t->videos[i].trace);
    }
    struct buffer *buffers[] = {&t->gates,          &t->hidden,
                                &t->dgates,         &t->groups,
                                &t->scalars,        &t->dscalars,
                                &t->inputs,         &t->dinputs,
                                &t->gradients[0],   &t->gradients[1],
                                &t->layers[0].z,    &t->layers[0].y,
                                &t->layers[0].mean, &t->layers[0].variance,
                                &t->layers[1].z,    &t->layers[1].y,
                                &t->layers[1].mean, &t->layers[1].variance};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        dns_free(buffers[i]->data);
    dns_free(t->first);
    dns_free(t->videos);
    dns_free(t->workers);
    dns_free(t);
}

const float *dns_selector_trainer_scalars(const dns_selector_trainer *trainer)
{
    return trainer->scalars.data;
}

/* ---- forward: videos ---- */

struct run {
    dns_selector_trainer *t;
    const dns_selector_batch *batch;
    dns_comparator head;
    size_t n_groups, group_size;
};

static struct run run_of(dns_selector_trainer *t, const dns_selector_batch *batch)
{
    struct run run = {.t = t, .batch = batch, .head = {.padding = DNS_PADDING_ZERO}};
    memcpy(run.head.channels, t->net->shape.channels, sizeof run.head.channels);
    for (size_t l = 0; l < DNS_COMPARATOR_LAYERS; l++) {
        run.head.weight[l] = dns_selector_weight(t->net, CONV_W + (selector_tensor)l);
        run.head.bias[l] = dns_selector_weight(t->net, CONV_B + (selector_tensor)l);
    }
    return run;
}

static dns_status check(const dns_selector_batch *b)
{
    if (b->n_pairs < 2)
        return dns_status_set(DNS_ERR_ARG, "a batch of %zu pairs has no variance", b->n_pairs);
    for (size_t i = 0; i < b->n_pairs; i++) {
        if (b->pairs[i].query >= b->n_videos || b->pairs[i].target >= b->n_videos)
            return dns_status_set(DNS_ERR_ARG, "pair %zu of the batch: no such video", i);
        if (!isfinite(b->coarse[i]))
            return dns_status_set(DNS_ERR_RANGE, "pair %zu of the batch is not finite", i);
    }
    for (size_t v = 0; v < b->n_videos; v++) {
        if (b->videos == NULL) {
            if (!isfinite(b->scalars[v]))
                return dns_status_set(DNS_ERR_RANGE, "video %zu of the batch is not finite", v);
            continue;
        }
        size_t n = b->videos[v].n_frames;
        if (n == 0)
            return dns_status_set(DNS_ERR_ARG, "video %zu of the batch: no frames", v);
        if (b->padded_frames != 0 ? n > b->padded_frames || b->padded_frames < 4 : n < 4)
            return dns_status_set(DNS_ERR_SHAPE,
                                  "video %zu of the batch: %zu frames, padded to %zu", v, n,
                                  b->padded_frames);
    }
    return DNS_OK;
}

/* Frames that are looked at of a video. */
static size_t side_of(const dns_selector_batch *b, size_t n_frames)
{
    size_t filled = (n_frames + 3) / 4 * 4;
    if (b->padded_frames == 0)
        return n_frames;
    return filled < b->padded_frames ? filled : b->padded_frames;
}

static dns_status comparator_input(dns_comparator_input *input, struct worker *w,
                                   const struct video *video, size_t n_frames)
{
    *input =
        (dns_comparator_input){.map = video->map.data, .rows = video->side, .columns = video->side};
    if (video->side == n_frames)
        return DNS_OK;
    dns_status status = dns_reserve(&w->mask, &w->mask_capacity, video->side, sizeof *w->mask);
    for (size_t i = 0; status == DNS_OK && i < video->side; i++)
        w->mask[i] = i < n_frames;
    input->row_mask = input->column_mask = w->mask;
    return status;
}

static dns_status forward_task(void *payload, size_t task, size_t worker)
{
    const struct run *run = payload;
    dns_selector_trainer *t = run->t;
    const dns_selector_batch *b = run->batch;
    struct worker *w = &t->workers[worker];
    struct video *video = &t->videos[task];
    dns_comparator_input input;
    dns_status status = DNS_OK;
    size_t n = b->videos[task].n_frames, dim = t->net->shape.dim;
    double sum = 0;
    video->side = side_of(b, n);
    size_t side = video->side, cells = (side / 4) * (side / 4);
    DNS_TRY(grow(&video->means, n * dim));
    DNS_TRY(grow(&video->map, side * side));
    DNS_TRY(grow(&video->out, cells));
    float *means = video->means.data;
    dns_selector_frame_means(means, b->videos[task].x, t->gates.data + t->first[task], n,
                             b->n_regions, dim);
    for (size_t i = 0; i < n * dim; i++) {
        if (!isfinite(means[i]))
            DNS_FAIL(DNS_ERR_RANGE, "video %zu of the batch is not finite", task);
    }
    memset(video->map.data, 0, side * side * sizeof(float));
    DNS_TRY(
        dns_gemm_f32(false, true, n, n, dim, 1, means, dim, means, dim, 0, video->map.data, side));
    DNS_TRY(comparator_input(&input, w, video, n));
    DNS_TRY(
        dns_comparator_forward(video->out.data, &video->trace, &run->head, &input, &w->comparator));
    for (size_t i = 0; i < cells; i++)
        sum += (double)video->out.data[i];
    t->scalars.data[task] = (float)(sum / (double)cells);
out:
    return status;
}

static dns_status forward_videos(dns_selector_trainer *t, const dns_selector_batch *b)
{
    const dns_selector_shape *s = &t->net->shape;
    struct run run = run_of(t, b);
    dns_status status = DNS_OK;
    DNS_TRY(dns_reserve(&t->videos, &t->video_capacity, b->n_videos, sizeof *t->videos));
    DNS_TRY(dns_reserve(&t->first, &t->first_capacity, b->n_videos + 1, sizeof *t->first));
    t->first[0] = 0;
    for (size_t v = 0; v < b->n_videos; v++)
        t->first[v + 1] = t->first[v] + b->videos[v].n_frames * b->n_regions;
    size_t rows = t->first[b->n_videos];
    DNS_TRY(grow(&t->gates, rows));
    DNS_TRY(grow(&t->hidden, rows * s->hidden));
    for (size_t v = 0; v < b->n_videos; v++)
        DNS_TRY(dns_attention_forward(
            t->gates.data + t->first[v], t->hidden.data + t->first[v] * s->hidden, b->videos[v].x,
            dns_selector_weight(t->net, GATE_W), dns_selector_weight(t->net, GATE_B),
            dns_selector_weight(t->net, GATE_U), t->first[v + 1] - t->first[v], s->dim, s->hidden,
            t->pool));
    DNS_TRY(dns_pool_run(t->pool, b->n_videos, forward_task, &run));
out:
    return status;
}

/* ---- forward: pairs ---- */

/* Tensors of hidden layer l: its linear layer, then what batch norm has. */
static selector_tensor tensor_of(size_t l, selector_tensor of_first)
{
    return l == 0 ? of_first : LINEAR1 + (of_first - LINEAR0);
}

static dns_dropout dropout_of(const dns_selector_batch *b, size_t l)
{
    if (b->dropout == NULL)
        return (dns_dropout){0};
    return (dns_dropout){b->dropout->rate, dns_dropout_key(b->dropout->key, 0, l)};
}

static dns_status forward_hidden(dns_selector_trainer *t, const dns_selector_batch *b, size_t l)
{
    const dns_selector *net = t->net;
    struct hidden_layer *layer = &t->layers[l];
    size_t n = b->n_pairs, width = net->shape.widths[l];
    size_t in = l == 0 ? N_INPUTS : net->shape.widths[0];
    dns_dropout dropout = dropout_of(b, l);
    dns_status status = DNS_OK;
    DNS_TRY(grow(&layer->z, n * width));
    DNS_TRY(grow(&layer->y, n * width));
    DNS_TRY(grow(&layer->mean, width));
    DNS_TRY(grow(&layer->variance, width));
    DNS_TRY(dns_linear_forward(layer->z.data, l == 0 ? t->inputs.data : t->layers[0].y.data,
                               dns_selector_weight(net, tensor_of(l, LINEAR0)), NULL, n, in, width,
                               t->pool));
    dns_batch_norm_statistics(layer->mean.data, layer->variance.data, layer->z.data, n, width);
    dns_batch_norm_track(dns_selector_weight(net, tensor_of(l, NORM0_MEAN)),
                         dns_selector_weight(net, tensor_of(l, NORM0_VARIANCE)), layer->mean.data,
                         layer->variance.data, n, width);
    dns_selector_weight(net, tensor_of(l, NORM0_COUNT))[0] += 1;
    dns_batch_norm_apply(layer->y.data, layer->z.data, layer->mean.data, layer->variance.data,
                         dns_selector_weight(net, tensor_of(l, NORM0_W)),
                         dns_selector_weight(net, tensor_of(l, NORM0_B)), n, width);
    dns_relu_forward(layer->y.data, layer->y.data, n * width);
    DNS_TRY(dns_dropout_run(layer->y.data, layer->y.data, n * width, &dropout, t->pool));
out:
    return status;
}

dns_status dns_selector_forward(dns_selector_trainer *t, float *logits, const dns_selector_batch *b)
{
    const dns_selector *net = t->net;
    dns_status status = DNS_OK;
    DNS_TRY(check(b));
    DNS_TRY(grow(&t->scalars, b->n_videos));
    DNS_TRY(grow(&t->inputs, b->n_pairs * N_INPUTS));
    if (b->videos != NULL)
        DNS_TRY(forward_videos(t, b));
    else
        memcpy(t->scalars.data, b->scalars, b->n_videos * sizeof *b->scalars);
    for (size_t i = 0; i < b->n_pairs; i++) {
        t->inputs.data[i * N_INPUTS] = t->scalars.data[b->pairs[i].query];
        t->inputs.data[i * N_INPUTS + 1] = t->scalars.data[b->pairs[i].target];
        t->inputs.data[i * N_INPUTS + 2] = b->coarse[i];
    }
    DNS_TRY(forward_hidden(t, b, 0));
    DNS_TRY(forward_hidden(t, b, 1));
    DNS_TRY(dns_linear_forward(logits, t->layers[1].y.data, dns_selector_weight(net, LINEAR2_W),
                               dns_selector_weight(net, LINEAR2_B), b->n_pairs,
                               net->shape.widths[1], 1, t->pool));
out:
    return status;
}

/* ---- back: pairs ---- */

/* dx [n, in] from dy [n, width], which is used up. A dropped entry is 0 after the ReLU too. */
static dns_status backward_hidden(dns_selector_trainer *t, const dns_selector_batch *b, size_t l,
                                  float *dx, float *dy)
{
    const dns_selector *net = t->net;
    struct hidden_layer *layer = &t->layers[l];
    size_t n = b->n_pairs, width = net->shape.widths[l];
    size_t in = l == 0 ? N_INPUTS : net->shape.widths[0];
    dns_dropout dropout = dropout_of(b, l);
    dns_status status = DNS_OK;
    DNS_TRY(dns_dropout_run(dy, dy, n * width, &dropout, t->pool));
    dns_relu_backward(dy, dy, layer->y.data, n * width);
    dns_batch_norm_backward(dy, dns_selector_gradient(net, tensor_of(l, NORM0_W)),
                            dns_selector_gradient(net, tensor_of(l, NORM0_B)), dy, layer->z.data,
                            layer->mean.data, layer->variance.data,
                            dns_selector_weight(net, tensor_of(l, NORM0_W)), n, width);
    DNS_TRY(dns_linear_backward(dx, dns_selector_gradient(net, tensor_of(l, LINEAR0)), NULL, dy,
                                l == 0 ? t->inputs.data : t->layers[0].y.data,
                                dns_selector_weight(net, tensor_of(l, LINEAR0)), n, in, width,
                                t->pool));
out:
    return status;
}

/* ---- back: videos ---- */

static size_t head_size(const dns_selector *net)
{
    size_t size = 0;
    for (selector_tensor i = CONV_W; i < LINEAR0; i++)
        size += dns_parameters_at(net->parameters, i)->count;
    return size;
}

static dns_comparator_gradient head_gradient(const dns_selector *net, float *block)
{
    dns_comparator_gradient g;
    for (size_t i = 0; i < 2 * DNS_COMPARATOR_LAYERS; i++) {
        if (i < DNS_COMPARATOR_LAYERS)
            g.weight[i] = block;
        else
            g.bias[i - DNS_COMPARATOR_LAYERS] = block;
        block += dns_parameters_at(net->parameters, CONV_W + i)->count;
    }
    return g;
}

/* A = M M^T, so dM = (dA + dA^T) M; then the gate's part of it. */
static dns_status backward_video(const struct run *run, size_t index, struct worker *w,
                                 dns_comparator_gradient *g)
{
    dns_selector_trainer *t = run->t;
    const dns_selector_batch *b = run->batch;
    const struct video *video = &t->videos[index];
    size_t n = b->videos[index].n_frames, dim = t->net->shape.dim, side = video->side;
    size_t cells = (side / 4) * (side / 4), regions = b->n_regions;
    dns_comparator_input input;
    dns_status status = DNS_OK;
    DNS_TRY(grow(&w->dout, cells));
    DNS_TRY(grow(&w->dmap, side * side));
    DNS_TRY(grow(&w->dmeans, n * dim));
    for (size_t i = 0; i < cells; i++)
        w->dout.data[i] = t->dscalars.data[index] / (float)cells;
    DNS_TRY(comparator_input(&input, w, video, n));
    DNS_TRY(dns_comparator_backward(w->dmap.data, g, w->dout.data, &video->trace, &run->head,
                                    &input, &w->comparator));
    DNS_TRY(dns_gemm_f32(false, false, n, dim, n, 1, w->dmap.data, side, video->means.data, dim, 0,
                         w->dmeans.data, dim));
    DNS_TRY(dns_gemm_f32(true, false, n, dim, n, 1, w->dmap.data, side, video->means.data, dim, 1,
                         w->dmeans.data, dim));
    for (size_t i = 0; i < n * regions; i++) {
        const float *x = b->videos[index].x + i * dim, *dmean = w->dmeans.data + i / regions * dim;
        float sum = 0;
        for (size_t j = 0; j < dim; j++)
            sum += dmean[j] * x[j];
        t->dgates.data[t->first[index] + i] = sum / (float)regions;
    }
out:
    return status;
}

static dns_status group_task(void *payload, size_t task, size_t worker)
{
    const struct run *run = payload;
    dns_status status = DNS_OK;
    size_t size = head_size(run->t->net);
    float *block = run->t->groups.data + task * size;
    dns_comparator_gradient g = head_gradient(run->t->net, block);
    memset(block, 0, size * sizeof *block);
    for (size_t i = 0; i < run->group_size; i++) {
        size_t index = task * run->group_size + i;
        if (index < run->batch->n_videos)
            DNS_TRY(backward_video(run, index, &run->t->workers[worker], &g));
    }
out:
    return status;
}

static void add_groups(const struct run *run)
{
    const dns_selector *net = run->t->net;
    const float *block = run->t->groups.data;
    for (size_t k = 0; k < run->n_groups; k++) {
        for (selector_tensor i = CONV_W; i < LINEAR0; i++) {
            float *to = dns_selector_gradient(net, i);
            size_t count = dns_parameters_at(net->parameters, i)->count;
            for (size_t j = 0; j < count; j++)
                to[j] += block[j];
            block += count;
        }
    }
}

static dns_status backward_videos(dns_selector_trainer *t, const dns_selector_batch *b)
{
    const dns_selector *net = t->net;
    const dns_selector_shape *s = &net->shape;
    struct run run = run_of(t, b);
    dns_status status = DNS_OK;
    run.group_size = (b->n_videos + MOST_GROUPS - 1) / MOST_GROUPS;
    run.n_groups = (b->n_videos + run.group_size - 1) / run.group_size;
    DNS_TRY(grow(&t->groups, run.n_groups * head_size(net)));
    DNS_TRY(grow(&t->dgates, t->first[b->n_videos]));
    DNS_TRY(dns_pool_run(t->pool, run.n_groups, group_task, &run));
    add_groups(&run);
    for (size_t v = 0; v < b->n_videos; v++)
        DNS_TRY(dns_attention_backward(
            NULL, dns_selector_gradient(net, GATE_W), dns_selector_gradient(net, GATE_B),
            dns_selector_gradient(net, GATE_U), t->dgates.data + t->first[v],
            t->gates.data + t->first[v], t->hidden.data + t->first[v] * s->hidden, b->videos[v].x,
            dns_selector_weight(net, GATE_W), dns_selector_weight(net, GATE_U),
            t->first[v + 1] - t->first[v], s->dim, s->hidden, t->pool));
out:
    return status;
}

dns_status dns_selector_backward(dns_selector_trainer *t, const dns_selector_batch *b,
                                 const float *dlogits)
{
    const dns_selector *net = t->net;
    size_t n = b->n_pairs;
    dns_status status = DNS_OK;
    DNS_TRY(grow(&t->gradients[0], n * net->shape.widths[0]));
    DNS_TRY(grow(&t->gradients[1], n * net->shape.widths[1]));
    DNS_TRY(grow(&t->dinputs, n * N_INPUTS));
    DNS_TRY(grow(&t->dscalars, b->n_videos));
    DNS_TRY(dns_linear_backward(t->gradients[1].data, dns_selector_gradient(net, LINEAR2_W),
                                dns_selector_gradient(net, LINEAR2_B), dlogits, t->layers[1].y.data,
                                dns_selector_weight(net, LINEAR2_W), n, net->shape.widths[1], 1,
                                t->pool));
    DNS_TRY(backward_hidden(t, b, 1, t->gradients[0].data, t->gradients[1].data));
    DNS_TRY(backward_hidden(t, b, 0, t->dinputs.data, t->gradients[0].data));
    if (b->videos == NULL)
        goto out;
    memset(t->dscalars.data, 0, b->n_videos * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        t->dscalars.data[b->pairs[i].query] += t->dinputs.data[i * N_INPUTS];
        t->dscalars.data[b->pairs[i].target] += t->dinputs.data[i * N_INPUTS + 1];
    }
    DNS_TRY(backward_videos(t, b));
out:
    return status;
}
