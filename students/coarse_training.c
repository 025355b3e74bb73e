#include "dnsel/coarse_training.h"

#include <string.h>

#include "coarse_net.h"
#include "dnsel/attention.h"
#include "dnsel/gemm.h"
#include "dnsel/layer_norm.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"

struct dns_coarse_trainer {
    dns_coarse *net;
    dns_pool *pool;
    coarse_tape tape;
};

dns_status dns_coarse_trainer_create(dns_coarse_trainer **out, dns_coarse *net, dns_pool *pool)
{
    dns_status status = DNS_OK;
    *out = NULL;
    if (dns_parameters_block(net->parameters, DNS_GRADIENTS) == NULL ||
        dns_parameters_count(net->parameters) == 0)
        return dns_status_set(DNS_ERR_ARG, "a coarse network without gradients cannot be trained");
    DNS_TRY(dns_alloc(out, 1, sizeof **out));
    (*out)->net = net;
    (*out)->pool = pool;
out:
    return status;
}

void dns_coarse_trainer_free(dns_coarse_trainer *trainer)
{
    if (trainer == NULL)
        return;
    dns_coarse_tape_free(&trainer->tape);
    dns_free(trainer);
}

static coarse_pass pass_of(const dns_coarse_trainer *trainer, const dns_coarse_batch *batch)
{
    return (coarse_pass){.net = trainer->net,
                         .videos = batch->videos,
                         .n_videos = batch->n_videos,
                         .n_regions = batch->n_regions,
                         .keep = true,
                         .dropout = batch->dropout,
                         .pool = trainer->pool};
}

dns_status dns_coarse_forward(dns_coarse_trainer *trainer, float *embeddings,
                              const dns_coarse_batch *batch)
{
    const dns_coarse_shape *s = &trainer->net->shape;
    coarse_tape *tape = &trainer->tape;
    coarse_pass pass = pass_of(trainer, batch);
    size_t n = batch->n_videos;
    dns_status status = DNS_OK;
    DNS_TRY(dns_coarse_reserve(tape, EMBEDDINGS, n, s->out));
    if (s->kind == DNS_COARSE_MEAN) {
        DNS_TRY(dns_coarse_forward_mean(tape->arrays[EMBEDDINGS], tape, &pass));
    } else {
        DNS_TRY(dns_coarse_reserve(tape, VLAD, n, s->n_clusters * s->dim));
        DNS_TRY(dns_coarse_forward_frames(tape->arrays[VLAD], tape, &pass));
        DNS_TRY(dns_coarse_forward_reduction(tape->arrays[EMBEDDINGS], tape, tape->arrays[VLAD], n,
                                             &pass));
    }
    memcpy(embeddings, tape->arrays[EMBEDDINGS], n * s->out * sizeof *embeddings);
out:
    return status;
}

/* ---- back ---- */

struct widening {
    float *dvlad;
    const float *dreduced, *w;
    size_t n, in, outputs;
};

enum { COLUMNS = 1024 };

/* Some columns of dvlad [n, in] = dreduced [n, outputs] W [outputs, in]. */
static dns_status widening_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct widening *w = payload;
    size_t first = task * COLUMNS, count = w->in - first < COLUMNS ? w->in - first : COLUMNS;
    return dns_gemm_f32(false, false, w->n, count, w->outputs, 1, w->dreduced, w->outputs,
                        w->w + first, w->in, 0, w->dvlad + first, w->in);
}

/* From the derivatives of LayerNorm's output, in DREDUCED, to those of NetVLAD's, in DVLAD. */
static dns_status backward_reduction(dns_coarse_trainer *trainer, size_t n)
{
    const dns_coarse *net = trainer->net;
    const dns_coarse_shape *s = &net->shape;
    coarse_tape *tape = &trainer->tape;
    float **a = tape->arrays;
    size_t in = s->n_clusters * s->dim;
    dns_status status = DNS_OK;
    DNS_TRY(dns_coarse_reserve(tape, DVLAD, n, in));
    DNS_TRY(dns_layer_norm_backward(a[DREDUCED], dns_coarse_gradient(net, NORM_W),
                                    dns_coarse_gradient(net, NORM_B), a[DREDUCED], a[REDUCED],
                                    a[REDUCED_MEAN], a[REDUCED_RSTD],
                                    dns_coarse_weight(net, NORM_W), n, s->out, trainer->pool));
    DNS_TRY(dns_linear_backward(NULL, dns_coarse_gradient(net, REDUCTION), NULL, a[DREDUCED],
                                a[VLAD], dns_coarse_weight(net, REDUCTION), n, in, s->out,
                                trainer->pool));
    struct widening w = {a[DVLAD], a[DREDUCED], dns_coarse_weight(net, REDUCTION), n, in, s->out};
    DNS_TRY(dns_pool_run(trainer->pool, (in + COLUMNS - 1) / COLUMNS, widening_task, &w));
out:
    return status;
}

/* On to the derivatives of the pooled frames before their normalisation, in DPOOLED. */
static dns_status backward_frames(dns_coarse_trainer *trainer, const dns_coarse_batch *batch)
{
    const dns_coarse *net = trainer->net;
    const dns_coarse_shape *s = &net->shape;
    coarse_tape *tape = &trainer->tape;
    float **a = tape->arrays, *gradients[DNS_ENCODER_TENSORS];
    size_t n = dns_sequences_rows(tape->videos);
    dns_encoder encoder = dns_coarse_encoder(net);
    dns_netvlad netvlad = dns_coarse_netvlad(net);
    dns_status status = DNS_OK;
    for (size_t i = 0; i < DNS_ENCODER_TENSORS; i++)
        gradients[i] = dns_coarse_gradient(net, ENCODER + (coarse_tensor)i);
    DNS_TRY(dns_coarse_reserve(tape, DFRAMES, n, s->dim));
    DNS_TRY(dns_coarse_reserve(tape, DPOOLED, n, s->dim));
    DNS_TRY(dns_netvlad_backward(a[DFRAMES], dns_coarse_gradient(net, CENTROIDS),
                                 dns_coarse_gradient(net, ASSIGNMENT), a[DVLAD], a[VLAD], a[SHARES],
                                 a[LENGTHS], a[FRAMES], tape->videos, &netvlad, trainer->pool));
    DNS_TRY(dns_layer_norm_backward(
        a[DFRAMES], dns_coarse_gradient(net, FRAME_NORM_W), dns_coarse_gradient(net, FRAME_NORM_B),
        a[DFRAMES], a[ENCODED], a[FRAME_MEAN], a[FRAME_RSTD], dns_coarse_weight(net, FRAME_NORM_W),
        n, s->dim, trainer->pool));
    DNS_TRY(dns_encoder_backward(a[DPOOLED], gradients, a[DFRAMES], tape->encoder, a[POOLED],
                                 tape->videos, &encoder, batch->dropout, trainer->pool));
    dns_normalise_backward(a[DPOOLED], a[DPOOLED], a[POOLED], a[POOLED_NORM], n, s->dim);
out:
    return status;
}

/* Through the sum over regions and the gate of one video. */
static dns_status backward_gate(dns_coarse_trainer *trainer, const dns_coarse_batch *batch,
                                size_t v)
{
    const dns_coarse *net = trainer->net;
    const dns_coarse_shape *s = &net->shape;
    coarse_tape *tape = &trainer->tape;
    const dns_coarse_video *video = &batch->videos[v];
    size_t first = tape->offsets[v], n = video->n_frames, regions = batch->n_regions;
    float *dpooled = tape->arrays[DPOOLED] + first * s->dim;
    dns_status status = DNS_OK;
    for (size_t i = dns_sequences_length(tape->videos, v) * s->dim; i-- > n * s->dim;)
        dpooled[i - n * s->dim] += dpooled[i]; /* frames that extend the video are copies */
    DNS_TRY(dns_coarse_reserve(tape, DGATE, n, regions));
    float *dgate = tape->arrays[DGATE];
    for (size_t t = 0; t < n; t++) {
        for (size_t r = 0; r < regions; r++) {
            const float *x = video->x + (t * regions + r) * s->dim;
            float sum = 0;
            for (size_t j = 0; j < s->dim; j++)
                sum += dpooled[t * s->dim + j] * x[j];
            dgate[t * regions + r] = sum;
        }
    }
    DNS_TRY(dns_attention_backward(
        NULL, dns_coarse_gradient(net, GATE_W), dns_coarse_gradient(net, GATE_B),
        dns_coarse_gradient(net, GATE_U), dgate, tape->arrays[GATE] + first * regions,
        tape->arrays[GATE_HIDDEN] + first * regions * s->hidden, video->x,
        dns_coarse_weight(net, GATE_W), dns_coarse_weight(net, GATE_U), n * regions, s->dim,
        s->hidden, trainer->pool));
out:
    return status;
}

dns_status dns_coarse_backward(dns_coarse_trainer *trainer, const dns_coarse_batch *batch,
                               const float *dembeddings)
{
    const dns_coarse *net = trainer->net;
    const dns_coarse_shape *s = &net->shape;
    coarse_tape *tape = &trainer->tape;
    float **a = tape->arrays;
    size_t n = batch->n_videos;
    dns_status status = DNS_OK;
    DNS_TRY(dns_coarse_reserve(tape, DREDUCED, n, s->out));
    dns_normalise_backward(a[DREDUCED], dembeddings, a[EMBEDDINGS], a[EMBEDDING_NORM], n, s->out);
    if (s->kind == DNS_COARSE_MEAN) {
        DNS_TRY(dns_linear_backward(NULL, dns_coarse_gradient(net, PROJECTION), NULL, a[DREDUCED],
                                    a[SUMS], dns_coarse_weight(net, PROJECTION), n, s->dim, s->out,
                                    trainer->pool));
        goto out;
    }
    DNS_TRY(backward_reduction(trainer, n));
    DNS_TRY(backward_frames(trainer, batch));
    for (size_t v = 0; s->hidden > 0 && v < n; v++)
        DNS_TRY(backward_gate(trainer, batch, v));
out:
    return status;
}

/* ---- pairs ---- */

void dns_coarse_scores(float *scores, const float *embeddings, size_t dim,
                       const dns_coarse_pair *pairs, size_t n_pairs)
{
    for (size_t p = 0; p < n_pairs; p++) {
        const float *q = embeddings + pairs[p].query * dim, *t = embeddings + pairs[p].target * dim;
        double sum = 0;
        for (size_t j = 0; j < dim; j++)
            sum += (double)q[j] * (double)t[j];
        scores[p] = (float)sum;
    }
}

void dns_coarse_scores_backward(float *dembeddings, const float *dscores, const float *embeddings,
                                size_t dim, const dns_coarse_pair *pairs, size_t n_pairs)
{
    for (size_t p = 0; p < n_pairs; p++) {
        size_t q = pairs[p].query * dim, t = pairs[p].target * dim;
        for (size_t j = 0; j < dim; j++) {
            dembeddings[q + j] += dscores[p] * embeddings[t + j];
            dembeddings[t + j] += dscores[p] * embeddings[q + j];
        }
    }
}
