#include "dnsel/visil_training.h"

#include <string.h>

#include "dnsel/attention.h"
#include "dnsel/binarise.h"
#include "dnsel/frame_similarity.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"
#include "dnsel/video_similarity.h"
#include "visil_net.h"

/* Gradients of the comparator are summed within groups of consecutive pairs, then over the groups
 * in order: as many groups at most, whatever the number of threads. */
enum { MOST_GROUPS = 64 };

struct buffer {
    dns_real *data;
    size_t capacity;
};

/* What a pair keeps from the way forward to the way back. Its map is cut to `rows` x `columns`
 * frames: the real ones and, in a padded batch, what fills them up to a multiple of 4. Everything
 * behind is padding, whose cells hold the last bias. */
struct pair {
    size_t rows, columns;
    struct buffer frames;     /* frame-to-frame similarity [rows, columns], 0 in padding */
    struct buffer comparator; /* [rows / 4, columns / 4] */
    struct buffer dframes;    /* real frames only, [n_query, n_target] */
    dns_frame_trace frame_trace;
    dns_comparator_trace comparator_trace;
    double penalty;
};

/* Working memory of one thread. */
struct worker {
    dns_frame_scratch frames;
    dns_comparator_scratch comparator;
    struct buffer map, clipped, dmap;
    uint8_t *masks;
    size_t mask_capacity;
};

struct dns_visil_trainer {
    dns_visil *net;
    dns_visil_codes codes;
    dns_pool *pool;
    struct worker *workers;
    struct pair *pairs;
    size_t pair_capacity;
    size_t *first; /* [n_videos + 1] region rows before each video */
    size_t first_capacity;
    struct buffer gate, hidden, unit, z; /* of all regions */
    struct buffer rows, drows;           /* codes, and their gradients */
    struct buffer dgate, groups;
    const dns_real *compared; /* codes, or x itself */
    size_t width;             /* of a row that is compared */
    bool gated;
};

static dns_status grow(struct buffer *buffer, size_t n)
{
    return dns_reserve(&buffer->data, &buffer->capacity, n, sizeof(dns_real));
}

dns_status dns_visil_trainer_create(dns_visil_trainer **out, dns_visil *net,
                                    const dns_visil_codes *codes, dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_visil_trainer *t = NULL;
    *out = NULL;
    if (dns_parameters_block(net->parameters, DNS_GRADIENTS) == NULL)
        DNS_FAIL(DNS_ERR_ARG, "a network that was not made for training");
    if (net->shape.dim == 0)
        DNS_FAIL(DNS_ERR_ARG, "a comparator that does not know the size of its regions");
    if (!dns_visil_has_comparator(net))
        DNS_FAIL(DNS_ERR_ARG, "codes are not trained without a comparator");
    if (net->shape.codes && (codes == NULL || !(codes->sigma > 0 || codes->straight_through > 0)))
        DNS_FAIL(DNS_ERR_ARG, "codes without a way to train them");
    DNS_TRY(dns_alloc(&t, 1, sizeof *t));
    t->net = net;
    t->pool = pool;
    if (codes != NULL)
        t->codes = *codes;
    DNS_TRY(dns_alloc(&t->workers, dns_pool_size(pool), sizeof *t->workers));
    *out = t;
    t = NULL;
out:
    dns_visil_trainer_free(t);
    return status;
}

static void free_pair(struct pair *pair)
{
    dns_free(pair->frames.data);
    dns_free(pair->comparator.data);
    dns_free(pair->dframes.data);
    dns_frame_trace_free(&pair->frame_trace);
    dns_comparator_trace_free(&pair->comparator_trace);
}

static void free_worker(struct worker *w)
{
    dns_frame_scratch_free(&w->frames);
    dns_comparator_scratch_free(&w->comparator);
    dns_free(w->map.data);
    dns_free(w->clipped.data);
    dns_free(w->dmap.data);
    dns_free(w->masks);
}

void dns_visil_trainer_free(dns_visil_trainer *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; t->workers != NULL && i < dns_pool_size(t->pool); i++)
        free_worker(&t->workers[i]);
    for (size_t i = 0; i < t->pair_capacity; i++)
        free_pair(&t->pairs[i]);
    struct buffer *buffers[] = {&t->gate, &t->hidden, &t->unit,  &t->z,
                                &t->rows, &t->drows,  &t->dgate, &t->groups};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        dns_free(buffers[i]->data);
    dns_free(t->first);
    dns_free(t->pairs);
    dns_free(t->workers);
    dns_free(t);
}

/* ---- forward: regions ---- */

static dns_status check_batch(const dns_visil_trainer *t, const dns_visil_batch *b)
{
    if (b->padded_frames != 0 && t->net->shape.padding == DNS_PADDING_EDGE)
        return dns_status_set(DNS_ERR_ARG, "edge padding has no padded batches");
    for (size_t v = 0; v < b->n_videos; v++) {
        if (b->n_frames[v] == 0)
            return dns_status_set(DNS_ERR_ARG, "video %zu of the batch: no frames", v);
        if (b->padded_frames != 0 && b->n_frames[v] > b->padded_frames)
            return dns_status_set(DNS_ERR_SHAPE,
                                  "video %zu of the batch: %zu frames, padded to %zu", v,
                                  b->n_frames[v], b->padded_frames);
    }
    for (size_t i = 0; i < b->n_pairs; i++) {
        if (b->pairs[i].query >= b->n_videos || b->pairs[i].target >= b->n_videos)
            return dns_status_set(DNS_ERR_ARG, "pair %zu of the batch: no such video", i);
    }
    return DNS_OK;
}

static const dns_real *weight(const dns_visil *net, size_t index)
{
    return dns_parameters_weight(net->parameters, index);
}

static dns_real *gradient(const dns_visil *net, size_t index)
{
    return dns_parameters_gradient(net->parameters, index);
}

static dns_status forward_gate(dns_visil_trainer *t, const dns_real *x, size_t n)
{
    const dns_visil *net = t->net;
    const dns_visil_shape *s = &net->shape;
    dns_status status = DNS_OK;
    DNS_TRY(grow(&t->gate, n));
    if (s->gate == DNS_GATE_STUDENT) {
        DNS_TRY(grow(&t->hidden, n * s->hidden));
        DNS_TRY(dns_attention_forward(t->gate.data, t->hidden.data, x,
                                      weight(net, net->transform_weight),
                                      weight(net, net->transform_bias), weight(net, net->context),
                                      n, s->dim, s->hidden, t->pool));
    } else {
        DNS_TRY(dns_attention_teacher_forward(t->gate.data, x, weight(net, net->context), n, s->dim,
                                              t->pool));
    }
out:
    return status;
}

static dns_status forward_codes(dns_visil_trainer *t, const dns_real *x, size_t n)
{
    const dns_visil *net = t->net;
    size_t dim = net->shape.dim, bits = net->shape.code_bits;
    dns_status status = DNS_OK;
    DNS_TRY(grow(&t->unit, n * dim));
    DNS_TRY(grow(&t->z, n * bits));
    DNS_TRY(grow(&t->rows, n * bits));
    dns_normalise_forward(t->unit.data, NULL, x, n, dim);
    DNS_TRY(dns_binarise_project(t->z.data, t->unit.data, weight(net, net->code_weight), n, dim,
                                 bits, t->pool));
    if (t->codes.sigma > 0)
        dns_binarise_erf_forward(t->rows.data, t->z.data, n * bits, t->codes.sigma);
    else
        dns_binarise_sign_forward(t->rows.data, t->z.data, n * bits);
out:
    return status;
}

/* ---- forward: pairs ---- */

struct run {
    dns_visil_trainer *t;
    const dns_visil_batch *batch;
    dns_comparator head;
    dns_real *scores;        /* forward */
    const dns_real *dscores; /* backward */
    double penalty_weight;
    size_t n_groups, group_size;
};

static struct run run_of(dns_visil_trainer *t, const dns_visil_batch *batch)
{
    return (struct run){.t = t, .batch = batch, .head = dns_visil_comparator(t->net)};
}

/* Frames of a video that its pairs look at. */
static size_t frames_seen(const dns_visil_batch *b, size_t video)
{
    size_t n = b->n_frames[video], filled = (n + 3) / 4 * 4;
    if (b->padded_frames == 0)
        return n;
    return filled < b->padded_frames ? filled : b->padded_frames;
}

/* Cells of the comparator's map that lie behind what is computed. */
static size_t padded_cells(const dns_visil_batch *b, const struct pair *pair)
{
    size_t side = b->padded_frames / 4;
    return b->padded_frames == 0 ? 0 : side * side - (pair->rows / 4) * (pair->columns / 4);
}

static dns_frame_pair frame_pair(const struct run *run, const dns_visil_pair *ids)
{
    const dns_visil_trainer *t = run->t;
    size_t query = t->first[ids->query], target = t->first[ids->target];
    return (dns_frame_pair){.x = t->compared + query * t->width,
                            .y = t->compared + target * t->width,
                            .n_query = run->batch->n_frames[ids->query],
                            .n_target = run->batch->n_frames[ids->target],
                            .n_regions = run->batch->n_regions,
                            .dim = t->width,
                            .x_gate = t->gated ? t->gate.data + query : NULL,
                            .y_gate = t->gated ? t->gate.data + target : NULL};
}

/* The map of frames as the comparator reads it: masks only where there is padding. */
static dns_status comparator_input(dns_comparator_input *input, struct worker *w,
                                   const struct pair *pair, size_t n_query, size_t n_target)
{
    *input = (dns_comparator_input){
        .map = pair->frames.data, .rows = pair->rows, .columns = pair->columns};
    if (pair->rows == n_query && pair->columns == n_target)
        return DNS_OK;
    dns_status status =
        dns_reserve(&w->masks, &w->mask_capacity, pair->rows + pair->columns, sizeof *w->masks);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < pair->rows; i++)
        w->masks[i] = i < n_query;
    for (size_t j = 0; j < pair->columns; j++)
        w->masks[pair->rows + j] = j < n_target;
    input->row_mask = w->masks;
    input->column_mask = w->masks + pair->rows;
    return DNS_OK;
}

/* pair->frames from the similarity of the real frames. */
static dns_status forward_frames(const struct run *run, struct pair *pair, struct worker *w,
                                 const dns_frame_pair *frames)
{
    const dns_visil *net = run->t->net;
    dns_status status = DNS_OK;
    size_t n = frames->n_query, m = frames->n_target;
    dns_real scale = net->shape.codes ? 1 / (dns_real)net->shape.code_bits : 1;
    DNS_TRY(grow(&w->map, n * m));
    DNS_TRY(grow(&pair->frames, pair->rows * pair->columns));
    DNS_TRY(dns_frame_similarity_forward(w->map.data, &pair->frame_trace, frames, net->rule.regions,
                                         &w->frames));
    memset(pair->frames.data, 0, pair->rows * pair->columns * sizeof(dns_real));
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < m; j++)
            pair->frames.data[i * pair->columns + j] = scale * w->map.data[i * m + j];
    }
out:
    return status;
}

static dns_status forward_task(void *payload, size_t task, size_t worker)
{
    const struct run *run = payload;
    dns_status status = DNS_OK;
    struct worker *w = &run->t->workers[worker];
    struct pair *pair = &run->t->pairs[task];
    const dns_visil_pair *ids = &run->batch->pairs[task];
    dns_frame_pair frames = frame_pair(run, ids);
    dns_comparator_input input;
    pair->rows = frames_seen(run->batch, ids->query);
    pair->columns = frames_seen(run->batch, ids->target);
    size_t rows = pair->rows / 4, columns = pair->columns / 4;
    DNS_TRY(forward_frames(run, pair, w, &frames));
    DNS_TRY(comparator_input(&input, w, pair, frames.n_query, frames.n_target));
    DNS_TRY(grow(&pair->comparator, rows * columns));
    DNS_TRY(grow(&w->clipped, rows * columns));
    DNS_TRY(dns_comparator_forward(pair->comparator.data, &pair->comparator_trace, &run->head,
                                   &input, &w->comparator));
    dns_hardtanh_forward(w->clipped.data, pair->comparator.data, rows * columns);
    dns_score_map map = {.map = w->clipped.data, .rows = rows, .columns = columns};
    run->scores[task] = dns_video_similarity_forward(&map, run->t->net->rule.direction);
    pair->penalty =
        dns_range_penalty(NULL, pair->comparator.data, rows * columns, 0) +
        (double)padded_cells(run->batch, pair) * dns_range_penalty(NULL, run->head.bias[3], 1, 0);
out:
    return status;
}

dns_status dns_visil_forward(dns_visil_trainer *t, const dns_visil_batch *batch, dns_real *scores,
                             double *penalty)
{
    const dns_visil_shape *s = &t->net->shape;
    dns_status status = DNS_OK;
    DNS_TRY(check_batch(t, batch));
    DNS_TRY(dns_reserve(&t->first, &t->first_capacity, batch->n_videos + 1, sizeof *t->first));
    DNS_TRY(dns_reserve(&t->pairs, &t->pair_capacity, batch->n_pairs, sizeof *t->pairs));
    t->first[0] = 0;
    for (size_t v = 0; v < batch->n_videos; v++)
        t->first[v + 1] = t->first[v] + batch->n_frames[v] * batch->n_regions;
    size_t n = t->first[batch->n_videos];
    t->compared = batch->x;
    t->gated = s->gate != DNS_GATE_NONE;
    t->width = s->codes ? s->code_bits : s->dim;
    if (t->gated)
        DNS_TRY(forward_gate(t, batch->x, n));
    if (s->codes) {
        DNS_TRY(forward_codes(t, batch->x, n));
        t->compared = t->rows.data;
    }
    struct run run = run_of(t, batch);
    run.scores = scores;
    DNS_TRY(dns_pool_run(t->pool, batch->n_pairs, forward_task, &run));
    *penalty = 0;
    for (size_t i = 0; i < batch->n_pairs; i++)
        *penalty += t->pairs[i].penalty;
out:
    return status;
}

/* ---- backward: pairs ---- */

/* Entries of the comparator's tensor (weights of four layers, then biases) in a group's block. */
static size_t head_count(const dns_visil *net, size_t tensor)
{
    size_t index = tensor < DNS_COMPARATOR_LAYERS ? net->conv_weight[tensor]
                                                  : net->conv_bias[tensor - DNS_COMPARATOR_LAYERS];
    return dns_parameters_at(net->parameters, index)->count;
}

static size_t head_size(const dns_visil *net)
{
    size_t size = 0;
    for (size_t i = 0; i < 2 * DNS_COMPARATOR_LAYERS; i++)
        size += head_count(net, i);
    return size;
}

static dns_comparator_gradient head_gradient(const dns_visil *net, dns_real *block)
{
    dns_comparator_gradient g;
    for (size_t i = 0; i < 2 * DNS_COMPARATOR_LAYERS; i++) {
        if (i < DNS_COMPARATOR_LAYERS)
            g.weight[i] = block;
        else
            g.bias[i - DNS_COMPARATOR_LAYERS] = block;
        block += head_count(net, i);
    }
    return g;
}

/* w->dmap [rows / 4, columns / 4] = gradient of the comparator's map; that of padded cells goes to
 * the last bias. */
static dns_status backward_scores(const struct run *run, size_t index, struct worker *w,
                                  dns_comparator_gradient *g)
{
    const struct pair *pair = &run->t->pairs[index];
    dns_status status = DNS_OK;
    size_t rows = pair->rows / 4, columns = pair->columns / 4, cells = rows * columns;
    DNS_TRY(grow(&w->clipped, cells));
    DNS_TRY(grow(&w->dmap, cells));
    dns_hardtanh_forward(w->clipped.data, pair->comparator.data, cells);
    dns_score_map map = {.map = w->clipped.data, .rows = rows, .columns = columns};
    memset(w->dmap.data, 0, cells * sizeof(dns_real));
    dns_video_similarity_backward(w->dmap.data, run->dscores[index], &map,
                                  run->t->net->rule.direction);
    dns_hardtanh_backward(w->dmap.data, w->dmap.data, pair->comparator.data, cells);
    dns_range_penalty(w->dmap.data, pair->comparator.data, cells, (dns_real)run->penalty_weight);
    dns_range_penalty(g->bias[3], run->head.bias[3], 1,
                      (dns_real)(run->penalty_weight * (double)padded_cells(run->batch, pair)));
out:
    return status;
}

static dns_status backward_pair(const struct run *run, size_t index, struct worker *w,
                                dns_comparator_gradient *g)
{
    const dns_visil *net = run->t->net;
    struct pair *pair = &run->t->pairs[index];
    dns_status status = DNS_OK;
    size_t n = run->batch->n_frames[run->batch->pairs[index].query];
    size_t m = run->batch->n_frames[run->batch->pairs[index].target];
    bool regions_learn = run->t->gated || net->shape.codes;
    dns_real scale = net->shape.codes ? 1 / (dns_real)net->shape.code_bits : 1;
    dns_comparator_input input;
    DNS_TRY(backward_scores(run, index, w, g));
    DNS_TRY(comparator_input(&input, w, pair, n, m));
    DNS_TRY(grow(&w->map, pair->rows * pair->columns));
    DNS_TRY(grow(&pair->dframes, n * m));
    DNS_TRY(dns_comparator_backward(regions_learn ? w->map.data : NULL, g, w->dmap.data,
                                    &pair->comparator_trace, &run->head, &input, &w->comparator));
    for (size_t i = 0; regions_learn && i < n; i++) {
        for (size_t j = 0; j < m; j++)
            pair->dframes.data[i * m + j] = scale * w->map.data[i * pair->columns + j];
    }
out:
    return status;
}

static dns_status group_task(void *payload, size_t task, size_t worker)
{
    const struct run *run = payload;
    dns_status status = DNS_OK;
    size_t size = head_size(run->t->net);
    dns_real *block = run->t->groups.data + task * size;
    dns_comparator_gradient g = head_gradient(run->t->net, block);
    memset(block, 0, size * sizeof *block);
    for (size_t i = 0; i < run->group_size; i++) {
        size_t index = task * run->group_size + i;
        if (index < run->batch->n_pairs)
            DNS_TRY(backward_pair(run, index, &run->t->workers[worker], &g));
    }
out:
    return status;
}

static void add_groups(const struct run *run)
{
    const dns_visil *net = run->t->net;
    size_t size = head_size(net);
    for (size_t k = 0; k < run->n_groups; k++) {
        const dns_real *block = run->t->groups.data + k * size;
        for (size_t i = 0; i < 2 * DNS_COMPARATOR_LAYERS; i++) {
            dns_real *to = gradient(net, i < DNS_COMPARATOR_LAYERS
                                             ? net->conv_weight[i]
                                             : net->conv_bias[i - DNS_COMPARATOR_LAYERS]);
            for (size_t j = 0; j < head_count(net, i); j++)
                to[j] += block[j];
            block += head_count(net, i);
        }
    }
}

/* ---- backward: regions ---- */

/* Gradients of one video's gates, or of its codes, from all its pairs in order. */
static dns_status video_task(void *payload, size_t task, size_t worker)
{
    const struct run *run = payload;
    dns_visil_trainer *t = run->t;
    dns_status status = DNS_OK;
    size_t first = t->first[task], n = t->first[task + 1] - first, width = t->gated ? 1 : t->width;
    dns_real *d = (t->gated ? t->dgate.data : t->drows.data) + first * width;
    memset(d, 0, n * width * sizeof *d);
    for (size_t i = 0; i < run->batch->n_pairs; i++) {
        const dns_visil_pair *ids = &run->batch->pairs[i];
        const struct pair *pair = &t->pairs[i];
        dns_real *as_query = ids->query == task ? d : NULL,
                 *as_target = ids->target == task ? d : NULL;
        if (as_query == NULL && as_target == NULL)
            continue;
        dns_frame_pair frames = frame_pair(run, ids);
        if (t->gated)
            dns_frame_gates_backward(as_query, as_target, pair->dframes.data, &pair->frame_trace,
                                     &frames, t->net->rule.regions);
        else
            DNS_TRY(dns_frame_similarity_backward(as_query, as_target, pair->dframes.data,
                                                  &pair->frame_trace, &frames, t->net->rule.regions,
                                                  &t->workers[worker].frames));
    }
out:
    return status;
}

static dns_status backward_gate(dns_visil_trainer *t, const dns_real *x, size_t n)
{
    const dns_visil *net = t->net;
    const dns_visil_shape *s = &net->shape;
    dns_status status = DNS_OK;
    if (s->gate == DNS_GATE_TEACHER)
        return dns_attention_teacher_backward(NULL, gradient(net, net->context), t->dgate.data, x,
                                              weight(net, net->context), n, s->dim, t->pool);
    DNS_TRY(dns_attention_backward(NULL, gradient(net, net->transform_weight),
                                   gradient(net, net->transform_bias), gradient(net, net->context),
                                   t->dgate.data, t->gate.data, t->hidden.data, x,
                                   weight(net, net->transform_weight), weight(net, net->context), n,
                                   s->dim, s->hidden, t->pool));
out:
    return status;
}

static dns_status backward_codes(dns_visil_trainer *t, size_t n)
{
    const dns_visil *net = t->net;
    size_t bits = net->shape.code_bits;
    dns_real *d = t->drows.data;
    if (t->codes.sigma > 0)
        dns_binarise_erf_backward(d, d, t->z.data, n * bits, t->codes.sigma);
    else
        dns_binarise_sign_backward(d, d, t->z.data, n * bits, t->codes.straight_through);
    return dns_binarise_project_backward(NULL, gradient(net, net->code_weight), d, t->unit.data,
                                         weight(net, net->code_weight), n, net->shape.dim, bits,
                                         t->pool);
}

dns_status dns_visil_backward(dns_visil_trainer *t, const dns_visil_batch *batch,
                              const dns_real *dscores, double penalty_weight)
{
    const dns_visil_shape *s = &t->net->shape;
    dns_status status = DNS_OK;
    struct run run = run_of(t, batch);
    run.dscores = dscores;
    run.penalty_weight = penalty_weight;
    run.group_size = (batch->n_pairs + MOST_GROUPS - 1) / MOST_GROUPS;
    run.n_groups = run.group_size == 0 ? 0 : (batch->n_pairs + run.group_size - 1) / run.group_size;
    DNS_TRY(grow(&t->groups, run.n_groups * head_size(t->net)));
    DNS_TRY(dns_pool_run(t->pool, run.n_groups, group_task, &run));
    add_groups(&run);
    if (!t->gated && !s->codes)
        return DNS_OK;
    size_t n = t->first[batch->n_videos];
    DNS_TRY(t->gated ? grow(&t->dgate, n) : grow(&t->drows, n * t->width));
    DNS_TRY(dns_pool_run(t->pool, batch->n_videos, video_task, &run));
    DNS_TRY(s->codes ? backward_codes(t, n) : backward_gate(t, batch->x, n));
out:
    return status;
}
