/*
 * The way forward and back through a coarse network over a batch of videos
 * (docs/networks/coarse.md). The loss is the caller's: it turns embeddings, or scores of pairs of
 * them, into derivatives.
 *
 *     dns_coarse_forward(trainer, embeddings, &batch);
 *     dns_coarse_scores(scores, embeddings, out, pairs, n_pairs);
 *     loss = dns_loss_l1(dscores, scores, teacher, n_pairs);             (teacher's s mapped to s/2
 * + 1/2) dns_coarse_scores_backward(dembeddings, dscores, embeddings, out, pairs, n_pairs);
 *     dns_parameters_zero_gradients(p);
 *     dns_coarse_backward(trainer, &batch, dembeddings);
 *     dns_adam_step(p, &adam, rate, step, pool);
 *
 * Nothing is padded: give of a padded batch the real frames only, which is what masks mean to this
 * network. Results are the same for any number of threads.
 */
#ifndef DNSEL_COARSE_TRAINING_H
#define DNSEL_COARSE_TRAINING_H

#include "dnsel/coarse.h"
#include "dnsel/dropout.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_coarse_trainer dns_coarse_trainer;

/* `net` (made for training) and `pool` are borrowed. Errors: DNS_ERR_ARG for a net without
 * gradients or weights. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_trainer_create(dns_coarse_trainer **out,
                                                            dns_coarse *net, dns_pool *pool);
DNS_API void dns_coarse_trainer_free(dns_coarse_trainer *trainer);

typedef struct dns_coarse_batch {
    const dns_coarse_video *videos; /* those below 4 frames are extended */
    size_t n_videos, n_regions;
    const dns_dropout
        *dropout; /* of the encoder, published rate 0.1, another key every step; NULL: none */
} dns_coarse_batch;

/* embeddings [n_videos, out]. Errors as dns_coarse_embed. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_forward(dns_coarse_trainer *trainer, float *embeddings,
                                                     const dns_coarse_batch *batch);

/* Adds to the net's gradients those of sum(dembeddings * embeddings). `batch` is that of the last
 * forward call, unchanged. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_backward(dns_coarse_trainer *trainer,
                                                      const dns_coarse_batch *batch,
                                                      const float *dembeddings);

typedef struct dns_coarse_pair {
    size_t query, target; /* numbers of videos */
} dns_coarse_pair;

/* scores[p] = <e_query, e_target> over embeddings [., dim]. */
DNS_API void dns_coarse_scores(float *scores, const float *embeddings, size_t dim,
                               const dns_coarse_pair *pairs, size_t n_pairs);
/* dembeddings, of the shape of embeddings, is added to, pairs in order. */
DNS_API void dns_coarse_scores_backward(float *dembeddings, const float *dscores,
                                        const float *embeddings, size_t dim,
                                        const dns_coarse_pair *pairs, size_t n_pairs);

#ifdef __cplusplus
}
#endif

#endif
