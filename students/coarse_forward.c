/* The way forward, for use and for training (docs/networks/coarse.md). */
#include <string.h>

#include "coarse_net.h"
#include "dnsel/attention.h"
#include "dnsel/layer_norm.h"
#include "dnsel/linear.h"
#include "dnsel/long_linear.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"

enum { CHUNK = 64 }; /* frames whose hidden layer of the gate is held at once */

size_t dns_coarse_extended(size_t n_frames)
{
    while (n_frames > 0 && n_frames < 4)
        n_frames *= 2;
    return n_frames;
}

void dns_coarse_tape_free(coarse_tape *tape)
{
    for (size_t i = 0; i < N_COARSE_ARRAYS; i++)
        dns_free(tape->arrays[i]);
    dns_free(tape->offsets);
    dns_encoder_tape_free(tape->encoder);
    *tape = (coarse_tape){0};
}

dns_status dns_coarse_reserve(coarse_tape *tape, enum coarse_array array, size_t rows,
                              size_t columns)
{
    size_t count;
    if (!dns_size_multiply(rows, columns, &count))
        return dns_status_set(DNS_ERR_NOMEM, "%zu x %zu values", rows, columns);
    return dns_reserve(&tape->arrays[array], &tape->capacities[array], count, sizeof(float));
}

/* ---- frames ---- */

static dns_status lay_out(coarse_tape *tape, const coarse_pass *pass)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_reserve(&tape->offsets, &tape->offsets_capacity, pass->n_videos + 1,
                        sizeof *tape->offsets));
    tape->offsets[0] = 0;
    for (size_t v = 0; v < pass->n_videos; v++) {
        if (pass->videos[v].n_frames == 0)
            DNS_FAIL(DNS_ERR_ARG, "video %zu: no frames", pass->first + v);
        tape->offsets[v + 1] = tape->offsets[v] + dns_coarse_extended(pass->videos[v].n_frames);
    }
    tape->videos = (dns_sequences){pass->n_videos, tape->offsets};
out:
    return status;
}

static dns_status reserve_frames(coarse_tape *tape, const coarse_pass *pass)
{
    const dns_coarse_shape *s = &pass->net->shape;
    size_t n = pass->n_videos, rows = dns_sequences_rows(tape->videos), regions = pass->n_regions;
    dns_status status = DNS_OK;
    if (tape->encoder == NULL)
        DNS_TRY(dns_encoder_tape_create(&tape->encoder));
    DNS_TRY(dns_coarse_reserve(tape, GATE, rows, regions));
    DNS_TRY(dns_coarse_reserve(tape, GATE_HIDDEN, pass->keep ? rows * regions : CHUNK * regions,
                               s->hidden));
    DNS_TRY(dns_coarse_reserve(tape, POOLED, rows, s->dim));
    DNS_TRY(dns_coarse_reserve(tape, POOLED_NORM, rows, 1));
    DNS_TRY(dns_coarse_reserve(tape, ENCODED, rows, s->dim));
    DNS_TRY(dns_coarse_reserve(tape, FRAME_MEAN, rows, 1));
    DNS_TRY(dns_coarse_reserve(tape, FRAME_RSTD, rows, 1));
    DNS_TRY(dns_coarse_reserve(tape, FRAMES, rows, s->dim));
    DNS_TRY(dns_coarse_reserve(tape, SHARES, rows, s->n_clusters));
    DNS_TRY(dns_coarse_reserve(tape, LENGTHS, n, s->n_clusters + 1));
out:
    return status;
}

/* sums [dim] = sum over regions of gate * x; without a gate every region counts as 1. */
static void sum_regions(float *restrict sums, const float *restrict x, const float *restrict gate,
                        size_t n_regions, size_t dim)
{
    memset(sums, 0, dim * sizeof *sums);
    for (size_t r = 0; r < n_regions; r++) {
        float weight = gate != NULL ? gate[r] : 1;
        for (size_t j = 0; j < dim; j++)
            sums[j] += weight * x[r * dim + j];
    }
}

/* Gates and weighted sums of the frames of one video; the frames that extend it are copies. */
static dns_status pool_video(coarse_tape *tape, const coarse_pass *pass, size_t v)
{
    const dns_coarse_shape *s = &pass->net->shape;
    size_t regions = pass->n_regions, first = tape->offsets[v], n = pass->videos[v].n_frames;
    size_t chunk = pass->keep ? n : CHUNK;
    float *pooled = tape->arrays[POOLED] + first * s->dim;
    dns_status status = DNS_OK;
    for (size_t t = 0; t < n; t += chunk) {
        size_t count = n - t < chunk ? n - t : chunk;
        const float *x = pass->videos[v].x + t * regions * s->dim;
        float *gate = s->hidden > 0 ? tape->arrays[GATE] + (first + t) * regions : NULL;
        float *hidden =
            tape->arrays[GATE_HIDDEN] + (pass->keep ? (first + t) * regions * s->hidden : 0);
        if (gate != NULL)
            DNS_TRY(dns_attention_forward(gate, hidden, x, dns_coarse_weight(pass->net, GATE_W),
                                          dns_coarse_weight(pass->net, GATE_B),
                                          dns_coarse_weight(pass->net, GATE_U), count * regions,
                                          s->dim, s->hidden, pass->pool));
        for (size_t i = 0; i < count; i++)
            sum_regions(pooled + (t + i) * s->dim, x + i * regions * s->dim,
                        gate != NULL ? gate + i * regions : NULL, regions, s->dim);
    }
    for (size_t t = n; t < dns_sequences_length(tape->videos, v); t++)
        memcpy(pooled + t * s->dim, pooled + (t - n) * s->dim, s->dim * sizeof *pooled);
out:
    return status;
}

static bool all_finite(const float *x, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

dns_status dns_coarse_forward_frames(float *vlad, coarse_tape *tape, const coarse_pass *pass)
{
    const dns_coarse *net = pass->net;
    const dns_coarse_shape *s = &net->shape;
    dns_encoder encoder = dns_coarse_encoder(net);
    dns_netvlad netvlad = dns_coarse_netvlad(net);
    float **a = tape->arrays;
    dns_status status = DNS_OK;
    DNS_TRY(lay_out(tape, pass));
    DNS_TRY(reserve_frames(tape, pass));
    size_t n = dns_sequences_rows(tape->videos);
    for (size_t v = 0; v < pass->n_videos; v++) {
        DNS_TRY(pool_video(tape, pass, v));
        if (!all_finite(a[POOLED] + tape->offsets[v] * s->dim, pass->videos[v].n_frames * s->dim))
            DNS_FAIL(DNS_ERR_RANGE, "video %zu: region vectors are not finite", pass->first + v);
    }
    dns_normalise_forward(a[POOLED], a[POOLED_NORM], a[POOLED], n, s->dim);
    DNS_TRY(dns_encoder_forward(a[ENCODED], tape->encoder, pass->keep, a[POOLED], tape->videos,
                                &encoder, pass->dropout, pass->pool));
    DNS_TRY(dns_layer_norm_forward(a[FRAMES], a[FRAME_MEAN], a[FRAME_RSTD], a[ENCODED],
                                   dns_coarse_weight(net, FRAME_NORM_W),
                                   dns_coarse_weight(net, FRAME_NORM_B), n, s->dim, pass->pool));
    DNS_TRY(dns_netvlad_forward(vlad, a[SHARES], a[LENGTHS], a[FRAMES], tape->videos, &netvlad,
                                pass->pool));
out:
    return status;
}

/* ---- videos ---- */

dns_status dns_coarse_forward_reduction(float *embeddings, coarse_tape *tape, const float *vlad,
                                        size_t n_videos, const coarse_pass *pass)
{
    const dns_coarse_shape *s = &pass->net->shape;
    float **a = tape->arrays;
    dns_status status = DNS_OK;
    DNS_TRY(dns_coarse_reserve(tape, REDUCED, n_videos, s->out));
    DNS_TRY(dns_coarse_reserve(tape, REDUCED_MEAN, n_videos, 1));
    DNS_TRY(dns_coarse_reserve(tape, REDUCED_RSTD, n_videos, 1));
    DNS_TRY(dns_coarse_reserve(tape, EMBEDDING_NORM, n_videos, 1));
    DNS_TRY(dns_long_linear_forward(a[REDUCED], vlad, dns_coarse_weight(pass->net, REDUCTION),
                                    n_videos, s->n_clusters * s->dim, s->out, pass->pool));
    DNS_TRY(dns_layer_norm_forward(embeddings, a[REDUCED_MEAN], a[REDUCED_RSTD], a[REDUCED],
                                   dns_coarse_weight(pass->net, NORM_W),
                                   dns_coarse_weight(pass->net, NORM_B), n_videos, s->out,
                                   pass->pool));
    dns_normalise_forward(embeddings, a[EMBEDDING_NORM], embeddings, n_videos, s->out);
out:
    return status;
}

/* ---- mean ---- */

dns_status dns_coarse_forward_mean(float *embeddings, coarse_tape *tape, const coarse_pass *pass)
{
    const dns_coarse_shape *s = &pass->net->shape;
    float **a = tape->arrays;
    dns_status status = DNS_OK;
    DNS_TRY(dns_coarse_reserve(tape, SUMS, pass->n_videos, s->dim));
    DNS_TRY(dns_coarse_reserve(tape, EMBEDDING_NORM, pass->n_videos, 1));
    for (size_t v = 0; v < pass->n_videos; v++) {
        const dns_coarse_video *video = &pass->videos[v];
        float *sums = a[SUMS] + v * s->dim;
        if (video->n_frames == 0)
            DNS_FAIL(DNS_ERR_ARG, "video %zu: no frames", pass->first + v);
        sum_regions(sums, video->x, NULL, video->n_frames * pass->n_regions, s->dim);
        if (!all_finite(sums, s->dim))
            DNS_FAIL(DNS_ERR_RANGE, "video %zu: region vectors are not finite", pass->first + v);
    }
    dns_normalise_forward(a[SUMS], NULL, a[SUMS], pass->n_videos, s->dim);
    if (s->projection)
        DNS_TRY(dns_linear_forward(embeddings, a[SUMS], dns_coarse_weight(pass->net, PROJECTION),
                                   NULL, pass->n_videos, s->dim, s->out, pass->pool));
    else
        memcpy(embeddings, a[SUMS], pass->n_videos * s->dim * sizeof *embeddings);
    dns_normalise_forward(embeddings, a[EMBEDDING_NORM], embeddings, pass->n_videos, s->out);
out:
    return status;
}
