/*
 * Training steps of teacher and fine students: X.train with X.train.inputs, or with train.inputs
 * for those that share it.
 */
#include <stdio.h>
#include <string.h>

#include "dnsel/losses.h"
#include "dnsel/memory.h"
#include "dnsel/optimiser.h"
#include "dnsel/visil_training.h"
#include "parity_set.h"

enum { STEPS = 3 };

struct step {
    dns_parity *p;
    char set[256];
    const dns_safetensors *train;
    dns_visil *net;
    dns_visil_trainer *trainer;
    dns_parity_batch videos;
    dns_visil_batch batch;
    dns_visil_pair *pairs;
    size_t n_triplets;
    float *scores, *dscores, *teacher; /* [2 B]: positives, then negatives */
    double penalty, penalty_weight, margin, rate, part, losses[STEPS];
};

static bool is_teacher(const struct step *s)
{
    return dns_visil_shape_of(s->net)->gate == DNS_GATE_TEACHER;
}

/* Distillation from the teacher's scores for students; triplets for the teacher. */
static double loss(struct step *s)
{
    size_t n = s->n_triplets;
    if (is_teacher(s))
        s->part =
            dns_loss_triplet(s->dscores, s->dscores + n, s->scores, s->scores + n, n, s->margin);
    else
        s->part = dns_loss_l1(s->dscores, s->scores, s->teacher, 2 * n);
    return s->part + s->penalty_weight * s->penalty;
}

static dns_status check_first(struct step *s)
{
    dns_status status = DNS_OK;
    const struct {
        const char *name;
        const float *f32;
        const double *f64;
        size_t n;
    } parts[] = {
        {"positive", s->scores, NULL, s->n_triplets},
        {"negative", s->scores + s->n_triplets, NULL, s->n_triplets},
        {is_teacher(s) ? "hinge" : "distillation", NULL, &s->part, 1},
        {"regulariser", NULL, &s->penalty, 1},
    };
    const dns_parity_rule rule = {.tolerance = DNS_PARITY_FORWARD, .unit = "largest"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const dns_tensor *expected;
        DNS_TRY(dns_parity_tensor(&expected, s->train, parts[i].name));
        DNS_TRY(parts[i].f32 != NULL
                    ? dns_parity_compare(s->p, s->set, parts[i].name, parts[i].f32, parts[i].n,
                                         expected, &rule)
                    : dns_parity_compare_f64(s->p, s->set, parts[i].name, parts[i].f64, parts[i].n,
                                             expected, &rule));
    }
    DNS_TRY(dns_parity_gradients(s->p, s->set, s->train, dns_visil_parameters(s->net),
                                 DNS_PARITY_GRADIENT));
out:
    return status;
}

static dns_status run_steps(struct step *s)
{
    dns_status status = DNS_OK;
    dns_parameters *parameters = dns_visil_parameters(s->net);
    const dns_adam adam = DNS_ADAM_INIT;
    for (size_t step = 0; step < STEPS; step++) {
        DNS_TRY(dns_visil_forward(s->trainer, &s->batch, s->scores, &s->penalty));
        s->losses[step] = loss(s);
        dns_parameters_zero_gradients(parameters);
        DNS_TRY(dns_visil_backward(s->trainer, &s->batch, s->dscores, s->penalty_weight));
        if (step == 0)
            DNS_TRY(check_first(s));
        DNS_TRY(dns_adam_step(parameters, &adam, s->rate, step + 1, dns_parity_pool(s->p)));
        dns_visil_project(s->net);
    }
out:
    return status;
}

/* The teacher's scores [B, 2] as positives, then negatives. */
static dns_status read_teacher(struct step *s, const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    const dns_tensor *stored;
    float *rows = NULL;
    size_t n = s->n_triplets;
    DNS_TRY(dns_parity_tensor(&stored, inputs, "teacher"));
    if (dns_tensor_count(stored) != 2 * n)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: teacher's scores do not fit videos",
                 dns_safetensors_path(inputs));
    DNS_TRY(dns_alloc(&rows, 2 * n, sizeof *rows));
    dns_tensor_to_f32(rows, stored);
    for (size_t i = 0; i < n; i++) {
        s->teacher[i] = rows[2 * i];
        s->teacher[n + i] = rows[2 * i + 1];
    }
out:
    dns_free(rows);
    return status;
}

/* Anchors, positives and negatives, and the pairs (anchor, positive) and (anchor, negative). */
static dns_status make_batch(struct step *s, const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_parity_batch_read(&s->videos, inputs));
    size_t n = s->n_triplets = s->videos.n / 3;
    if (n == 0 || s->videos.n % 3 != 0)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: %zu videos are no triplets", dns_safetensors_path(inputs),
                 s->videos.n);
    if (s->videos.dim != dns_visil_shape_of(s->net)->dim)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: videos do not fit the network", dns_safetensors_path(inputs));
    DNS_TRY(dns_alloc(&s->pairs, 2 * n, sizeof *s->pairs));
    DNS_TRY(dns_alloc(&s->scores, 2 * n, sizeof *s->scores));
    DNS_TRY(dns_alloc(&s->dscores, 2 * n, sizeof *s->dscores));
    DNS_TRY(dns_alloc(&s->teacher, 2 * n, sizeof *s->teacher));
    for (size_t i = 0; i < 2 * n; i++)
        s->pairs[i] = (dns_visil_pair){i % n, n + i};
    s->batch = (dns_visil_batch){.x = s->videos.x,
                                 .n_frames = s->videos.n_frames,
                                 .n_videos = s->videos.n,
                                 .n_regions = s->videos.n_regions,
                                 .padded_frames = s->videos.masked ? s->videos.n_padded : 0,
                                 .pairs = s->pairs,
                                 .n_pairs = 2 * n};
    if (!is_teacher(s))
        DNS_TRY(read_teacher(s, inputs));
out:
    return status;
}

static void close_step(struct step *s)
{
    dns_visil_trainer_free(s->trainer);
    dns_visil_free(s->net);
    dns_parity_batch_free(&s->videos);
    dns_free(s->pairs);
    dns_free(s->scores);
    dns_free(s->dscores);
    dns_free(s->teacher);
}

static const char *const known[] = {
    "step0.",       "grad.",       "after3.", "positive", "negative",
    "distillation", "regulariser", "losses",  "hinge",    NULL};

static dns_status check_train(dns_parity *p, const char *name, const dns_safetensors *train,
                              bool *taken)
{
    dns_status status = DNS_OK;
    struct step s = {.p = p, .train = train};
    const dns_safetensors *inputs;
    const dns_tensor *losses;
    *taken = dns_parity_is_fine(train, "step0.");
    if (!*taken)
        return DNS_OK;
    snprintf(s.set, sizeof s.set, "%s.train", name);
    bool both = dns_parity_is_symmetric(train);
    const dns_similarity_rule rule = {both ? DNS_DIRECTION_SYMMETRIC : DNS_DIRECTION_QUERY,
                                      both ? DNS_REGIONS_SYMMETRIC : DNS_REGIONS_CHAMFER};
    const dns_visil_codes codes = {.sigma = dns_parity_number(train, "sigma", 1e-6)};
    DNS_TRY(dns_visil_load(&s.net, train, "step0.", rule, true));
    DNS_TRY(dns_visil_trainer_create(&s.trainer, s.net, &codes, dns_parity_pool(s.p)));
    DNS_TRY(dns_parity_inputs(p, &inputs, s.set, "train.inputs"));
    DNS_TRY(make_batch(&s, inputs));
    s.rate = dns_parity_number(train, "lr", 1e-4);
    s.penalty_weight = dns_parity_number(train, "r", 1e-3);
    s.margin = dns_parity_number(train, "gamma", 0.5);
    DNS_TRY(run_steps(&s));
    const dns_parity_rule later = {.tolerance = DNS_PARITY_LOSSES, .unit = "largest"};
    DNS_TRY(dns_parity_tensor(&losses, train, "losses"));
    DNS_TRY(dns_parity_compare_f64(s.p, s.set, "losses", s.losses, STEPS, losses, &later));
    DNS_TRY(dns_parity_after3(s.p, s.set, train, dns_visil_parameters(s.net), s.rate));
    DNS_TRY(dns_parity_name_rest(p, s.set, train, known));
out:
    close_step(&s);
    return status;
}

dns_status dns_parity_fine_training(dns_parity *p)
{
    return dns_parity_each(p, ".train", check_train);
}
