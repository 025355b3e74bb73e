/* Training steps of coarse networks: X.train with X.train.inputs, or with train.inputs. */
#include <stdio.h>
#include <string.h>

#include "dnsel/coarse_training.h"
#include "dnsel/losses.h"
#include "dnsel/memory.h"
#include "dnsel/optimiser.h"
#include "parity_set.h"

enum { STEPS = 3 };

struct step {
    dns_parity *p;
    char set[256];
    const dns_safetensors *train;
    dns_coarse *net;
    dns_coarse_trainer *trainer;
    dns_parity_batch batch;
    dns_coarse_video *videos;
    dns_coarse_pair *pairs;
    size_t n_triplets;
    float *teacher, *scores,
        *dscores; /* [2 B]: positives, then negatives; on the scale s/2 + 1/2 */
    float *embeddings, *dembeddings;
    double losses[STEPS];
};

static void close_step(struct step *s)
{
    dns_coarse_trainer_free(s->trainer);
    dns_coarse_free(s->net);
    dns_parity_batch_free(&s->batch);
    dns_free(s->videos);
    dns_free(s->pairs);
    dns_free(s->teacher);
    dns_free(s->scores);
    dns_free(s->dscores);
    dns_free(s->embeddings);
    dns_free(s->dembeddings);
}

/* Anchors, positives and negatives, the pairs (anchor, positive) and (anchor, negative), and the
 * teacher's scores [B, 2] of them. */
static dns_status make_batch(struct step *s, const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    const dns_tensor *teacher;
    float *rows = NULL;
    DNS_TRY(dns_parity_batch_read(&s->batch, inputs));
    size_t n = s->n_triplets = s->batch.n / 3, out = dns_coarse_shape_of(s->net)->out;
    DNS_TRY(dns_parity_tensor(&teacher, inputs, "teacher"));
    if (n == 0 || s->batch.n % 3 != 0 || dns_tensor_count(teacher) != 2 * n ||
        s->batch.dim != dns_coarse_shape_of(s->net)->dim)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: %zu videos do not fit teacher or network",
                 dns_safetensors_path(inputs), s->batch.n);
    DNS_TRY(dns_alloc(&rows, 2 * n, sizeof *rows));
    DNS_TRY(dns_alloc(&s->videos, 3 * n, sizeof *s->videos));
    DNS_TRY(dns_alloc(&s->pairs, 2 * n, sizeof *s->pairs));
    DNS_TRY(dns_alloc(&s->teacher, 2 * n, sizeof *s->teacher));
    DNS_TRY(dns_alloc(&s->scores, 2 * n, sizeof *s->scores));
    DNS_TRY(dns_alloc(&s->dscores, 2 * n, sizeof *s->dscores));
    DNS_TRY(dns_alloc(&s->embeddings, 3 * n * out, sizeof *s->embeddings));
    DNS_TRY(dns_alloc(&s->dembeddings, 3 * n * out, sizeof *s->dembeddings));
    const float *next = s->batch.x;
    for (size_t v = 0; v < 3 * n; v++) {
        s->videos[v] = (dns_coarse_video){next, s->batch.n_frames[v]};
        next += s->batch.n_frames[v] * s->batch.n_regions * s->batch.dim;
    }
    dns_tensor_to_f32(rows, teacher);
    for (size_t i = 0; i < 2 * n; i++) {
        s->pairs[i] = (dns_coarse_pair){i % n, n + i};
        s->teacher[i] = rows[i % n * 2 + i / n] / 2 + 0.5F;
    }
out:
    dns_free(rows);
    return status;
}

/* Loss and gradients. */
static dns_status pass(struct step *s, double *loss)
{
    dns_status status = DNS_OK;
    size_t n = s->n_triplets, out = dns_coarse_shape_of(s->net)->out;
    const dns_coarse_batch batch = {s->videos, 3 * n, s->batch.n_regions, NULL};
    DNS_TRY(dns_coarse_forward(s->trainer, s->embeddings, &batch));
    dns_coarse_scores(s->scores, s->embeddings, out, s->pairs, 2 * n);
    *loss = dns_loss_l1(s->dscores, s->scores, s->teacher, 2 * n);
    memset(s->dembeddings, 0, 3 * n * out * sizeof *s->dembeddings);
    dns_coarse_scores_backward(s->dembeddings, s->dscores, s->embeddings, out, s->pairs, 2 * n);
    dns_parameters_zero_gradients(dns_coarse_parameters(s->net));
    DNS_TRY(dns_coarse_backward(s->trainer, &batch, s->dembeddings));
out:
    return status;
}

static dns_status check_first(struct step *s)
{
    dns_status status = DNS_OK;
    const dns_parity_rule rule = {.tolerance = DNS_PARITY_FORWARD, .unit = "largest"};
    const dns_tensor *expected;
    DNS_TRY(dns_parity_tensor(&expected, s->train, "positive"));
    DNS_TRY(dns_parity_forward(s->p, s->set, "positive", s->scores, s->n_triplets, expected));
    DNS_TRY(dns_parity_tensor(&expected, s->train, "negative"));
    DNS_TRY(dns_parity_forward(s->p, s->set, "negative", s->scores + s->n_triplets, s->n_triplets,
                               expected));
    DNS_TRY(dns_parity_tensor(&expected, s->train, "distillation"));
    DNS_TRY(dns_parity_compare_f64(s->p, s->set, "distillation", s->losses, 1, expected, &rule));
    DNS_TRY(dns_parity_gradients(s->p, s->set, s->train, dns_coarse_parameters(s->net),
                                 DNS_PARITY_GRADIENT));
out:
    return status;
}

static const char *const known[] = {"step0.",   "grad.",        "after3.", "positive",
                                    "negative", "distillation", "losses",  NULL};

static dns_status check_train(dns_parity *p, const char *name, const dns_safetensors *train,
                              bool *taken)
{
    dns_status status = DNS_OK;
    struct step s = {.p = p, .train = train};
    const dns_safetensors *inputs;
    const dns_tensor *losses;
    const dns_adam adam = DNS_ADAM_INIT;
    const dns_parity_rule later = {.tolerance = DNS_PARITY_LOSSES, .unit = "largest"};
    *taken = dns_safetensors_find(train, "step0.netvlad.centroids") != NULL;
    if (!*taken)
        return DNS_OK;
    snprintf(s.set, sizeof s.set, "%s.train", name);
    double rate = dns_parity_number(train, "lr", 1e-5);
    DNS_TRY(dns_coarse_load(&s.net, train, "step0.", (size_t)dns_parity_number(train, "heads", 8),
                            true));
    DNS_TRY(dns_coarse_trainer_create(&s.trainer, s.net, dns_parity_pool(p)));
    DNS_TRY(dns_parity_inputs(p, &inputs, s.set, "train.inputs"));
    DNS_TRY(make_batch(&s, inputs));
    for (size_t step = 0; step < STEPS; step++) {
        DNS_TRY(pass(&s, &s.losses[step]));
        if (step == 0)
            DNS_TRY(check_first(&s));
        DNS_TRY(
            dns_adam_step(dns_coarse_parameters(s.net), &adam, rate, step + 1, dns_parity_pool(p)));
    }
    DNS_TRY(dns_parity_tensor(&losses, train, "losses"));
    DNS_TRY(dns_parity_compare_f64(p, s.set, "losses", s.losses, STEPS, losses, &later));
    DNS_TRY(dns_parity_after3(p, s.set, train, dns_coarse_parameters(s.net), rate));
    DNS_TRY(dns_parity_name_rest(p, s.set, train, known));
out:
    close_step(&s);
    return status;
}

dns_status dns_parity_coarse_training(dns_parity *p)
{
    return dns_parity_each(p, ".train", check_train);
}
