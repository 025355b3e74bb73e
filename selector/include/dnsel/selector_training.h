/*
 * The way forward and back through the selector over a batch of pairs (docs/networks/selector.md).
 * The loss is the caller's:
 *
 *     dns_selector_forward(trainer, logits, &batch);
 *     loss = dns_loss_cross_entropy(dlogits, logits, labels, n_pairs);
 *     dns_parameters_zero_gradients(p);
 *     dns_selector_backward(trainer, &batch, dlogits);
 *     dns_adam_step(p, &adam, rate, step, pool);
 *
 * Results are the same for any number of threads.
 */
#ifndef DNSEL_SELECTOR_TRAINING_H
#define DNSEL_SELECTOR_TRAINING_H

#include "dnsel/dropout.h"
#include "dnsel/selector.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_selector_trainer dns_selector_trainer;

/* `net` (made for training) and `pool` are borrowed. Errors: DNS_ERR_ARG for a net without
 * gradients. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_trainer_create(dns_selector_trainer **out,
                                                              dns_selector *net, dns_pool *pool);
DNS_API void dns_selector_trainer_free(dns_selector_trainer *trainer);

/* Region vectors [n_frames, n_regions, D] of one video; borrowed. */
typedef struct dns_selector_video {
    const float *x;
    size_t n_frames;
} dns_selector_video;

typedef struct dns_selector_pair {
    size_t query, target; /* numbers of videos */
} dns_selector_pair;

/*
 * `padded_frames` is the common length of a padded batch: every video is then read as if it were
 * padded to it and masked, as the published training does; with 0 at its own length, at least 4
 * frames, as in use. The two differ in videos whose length is no multiple of 4
 * (docs/networks/selector.md).
 *
 * With `scalars` [n_videos] instead of videos only the MLP is trained.
 */
typedef struct dns_selector_batch {
    const dns_selector_video *videos; /* NULL: scalars are given */
    const float *scalars;
    size_t n_videos, n_regions, padded_frames;
    const dns_selector_pair *pairs;
    const float *coarse; /* [n_pairs] */
    size_t n_pairs;
    const dns_dropout *dropout; /* after both hidden layers, published rate 0.5, another key every
                                   step; NULL: none */
} dns_selector_batch;

/* logits [n_pairs], before the sigmoid. Batch norm takes the statistics of the batch, and the
 * running ones follow. Errors: DNS_ERR_ARG for a single pair, which has no variance, a video
 * without frames and a pair of unknown videos; DNS_ERR_SHAPE for a video longer than padded_frames,
 * or shorter than 4 without padding; DNS_ERR_RANGE. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_forward(dns_selector_trainer *trainer, float *logits,
                                                       const dns_selector_batch *batch);

/* Adds to the net's gradients those of sum(dlogits * logits). `batch` is that of the last forward
 * call, unchanged. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_backward(dns_selector_trainer *trainer,
                                                        const dns_selector_batch *batch,
                                                        const float *dlogits);

/* Scalars [n_videos] of the last forward call; borrowed. */
DNS_API const float *dns_selector_trainer_scalars(const dns_selector_trainer *trainer);

#ifdef __cplusplus
}
#endif

#endif
