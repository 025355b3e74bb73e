/*
 * The selector: X.weights with X.expected and its share of `short`; and training steps, X.train
 * with X.train.inputs or train.inputs.
 */
#include <stdio.h>
#include <string.h>

#include "dnsel/activation.h"
#include "dnsel/losses.h"
#include "dnsel/memory.h"
#include "dnsel/optimiser.h"
#include "dnsel/selector_training.h"
#include "parity_set.h"

/* ---- forward ---- */

struct set {
    dns_parity *p;
    const char *name;
    dns_selector *net;
    dns_selector_session *session;
    float *x, scalar;
};

static void close_set(struct set *s)
{
    dns_selector_session_free(s->session);
    dns_selector_free(s->net);
    dns_free(s->x);
}

/* s->scalar of input.`video`, and the session's map. */
static dns_status run_video(struct set *s, const dns_safetensors *inputs, const char *video)
{
    dns_status status = DNS_OK;
    size_t shape[3];
    DNS_TRY(
        dns_parity_video(&s->x, shape, inputs, s->name, video, dns_selector_shape_of(s->net)->dim));
    DNS_TRY(dns_selector_scalar(s->session, &s->scalar, s->x, shape[0], shape[1]));
out:
    return status;
}

static dns_status check_pairs(struct set *s, const dns_safetensors *expected_file,
                              const dns_tensor *expected)
{
    dns_status status = DNS_OK;
    const dns_tensor *input;
    float *rows = NULL, *got = NULL;
    size_t n = dns_tensor_count(expected);
    DNS_TRY(dns_parity_tensor(&input, expected_file, "mlp.input"));
    if (dns_tensor_count(input) != 3 * n)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: 'mlp.input' does not fit 'mlp.output'", s->name);
    DNS_TRY(dns_alloc(&rows, 3 * n, sizeof *rows));
    DNS_TRY(dns_alloc(&got, n, sizeof *got));
    dns_tensor_to_f32(rows, input);
    DNS_TRY(dns_selector_confidence(s->session, got, rows, n));
    DNS_TRY(dns_parity_forward(s->p, s->name, "mlp.output", got, n, expected));
    for (size_t i = 0; i < n; i++) /* each as a query of its own */
        DNS_TRY(dns_selector_route(s->session, &got[i], rows[3 * i], &rows[3 * i + 1],
                                   &rows[3 * i + 2], 1, NULL));
    DNS_TRY(dns_parity_forward(s->p, s->name, "mlp.output (routed)", got, n, expected));
out:
    dns_free(rows);
    dns_free(got);
    return status;
}

static dns_status check_tensor(struct set *s, const char *name, const dns_tensor *expected,
                               const dns_safetensors *file, const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    const char *video;
    size_t n;
    if (strcmp(name, "mlp.input") == 0)
        return DNS_OK;
    if (strcmp(name, "mlp.output") == 0)
        return check_pairs(s, file, expected);
    if ((video = dns_parity_after(name, "scalar.")) != NULL) {
        DNS_TRY(run_video(s, inputs, video));
        DNS_TRY(dns_parity_forward(s->p, s->name, name, &s->scalar, 1, expected));
    } else if ((video = dns_parity_after(name, "self_similarity.")) != NULL) {
        DNS_TRY(run_video(s, inputs, video));
        const float *map = dns_selector_last_map(s->session, &n);
        DNS_TRY(dns_parity_forward(s->p, s->name, name, map, n * n, expected));
    } else {
        DNS_TRY(dns_parity_unknown(s->p, s->name, name));
    }
out:
    return status;
}

/* NAME.scalar.V of `short`. */
static dns_status check_short(void *payload, const char *tensor, const char *rest,
                              const dns_tensor *expected, const dns_safetensors *inputs)
{
    struct set *s = payload;
    dns_status status = DNS_OK;
    const char *video = dns_parity_after(rest, "scalar.");
    if (video == NULL)
        return dns_parity_unknown(s->p, "short", tensor);
    DNS_TRY(run_video(s, inputs, video));
    DNS_TRY(dns_parity_forward(s->p, "short", tensor, &s->scalar, 1, expected));
out:
    return status;
}

static dns_status check_weights(dns_parity *p, const char *name, const dns_safetensors *weights,
                                bool *taken)
{
    dns_status status = DNS_OK;
    struct set s = {.p = p, .name = name};
    const dns_safetensors *expected, *inputs;
    char file[256];
    *taken = dns_safetensors_find(weights, "mlp.model.0.weight") != NULL;
    if (!*taken)
        return DNS_OK;
    snprintf(file, sizeof file, "%s.expected", name);
    DNS_TRY(dns_parity_file(p, &expected, file));
    if (expected != NULL)
        DNS_TRY(dns_parity_inputs(p, &inputs, name, "inputs"));
    DNS_TRY(dns_selector_load(&s.net, weights, "", false));
    DNS_TRY(dns_selector_session_create(&s.session, s.net));
    for (size_t i = 0; expected != NULL && i < dns_safetensors_count(expected); i++)
        DNS_TRY(check_tensor(&s, dns_safetensors_name(expected, i), dns_safetensors_at(expected, i),
                             expected, inputs));
    DNS_TRY(dns_parity_short(p, name, check_short, &s));
out:
    close_set(&s);
    return status;
}

/* ---- training ---- */

enum { MOST_STEPS = 3 };

struct step {
    dns_parity *p;
    char set[256];
    const dns_safetensors *train;
    dns_selector *net;
    dns_selector_trainer *trainer;
    dns_parity_batch padded;
    dns_selector_video *videos;
    dns_selector_pair *pairs;
    size_t n_pairs;
    float *coarse, *labels, *logits, *dlogits, *predictions;
    dns_selector_batch batch;
    double losses[MOST_STEPS];
};

static void close_step(struct step *s)
{
    dns_selector_trainer_free(s->trainer);
    dns_selector_free(s->net);
    dns_parity_batch_free(&s->padded);
    dns_free(s->videos);
    dns_free(s->pairs);
    dns_free(s->coarse);
    dns_free(s->labels);
    dns_free(s->logits);
    dns_free(s->dlogits);
    dns_free(s->predictions);
}

/* A tensor that lies either beside the videos or beside the gradients. */
static dns_status read_either(float **out, const struct step *s, const dns_safetensors *inputs,
                              const char *name)
{
    dns_status status = DNS_OK;
    const dns_tensor *t = dns_safetensors_find(inputs, name);
    if (t == NULL)
        DNS_TRY(dns_parity_tensor(&t, s->train, name));
    if (dns_tensor_count(t) != s->n_pairs)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: '%s' is not one a pair", s->set, name);
    DNS_TRY(dns_alloc(out, s->n_pairs, sizeof **out));
    dns_tensor_to_f32(*out, t);
out:
    return status;
}

/* Queries, then their targets; further videos are not used. */
static dns_status make_batch(struct step *s, const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    const dns_tensor *prediction;
    DNS_TRY(dns_parity_tensor(&prediction, s->train, "prediction"));
    DNS_TRY(dns_parity_batch_read(&s->padded, inputs));
    size_t n = s->n_pairs = dns_tensor_count(prediction);
    if (s->padded.n < 2 * n || s->padded.dim != dns_selector_shape_of(s->net)->dim)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: %zu videos do not fit %zu pairs or the network", s->set,
                 s->padded.n, n);
    DNS_TRY(read_either(&s->coarse, s, inputs, "coarse"));
    DNS_TRY(read_either(&s->labels, s, inputs, "label"));
    DNS_TRY(dns_alloc(&s->videos, 2 * n, sizeof *s->videos));
    DNS_TRY(dns_alloc(&s->pairs, n, sizeof *s->pairs));
    DNS_TRY(dns_alloc(&s->logits, n, sizeof *s->logits));
    DNS_TRY(dns_alloc(&s->dlogits, n, sizeof *s->dlogits));
    DNS_TRY(dns_alloc(&s->predictions, n, sizeof *s->predictions));
    const float *next = s->padded.x;
    for (size_t v = 0; v < 2 * n; v++) {
        s->videos[v] = (dns_selector_video){next, s->padded.n_frames[v]};
        next += s->padded.n_frames[v] * s->padded.n_regions * s->padded.dim;
    }
    for (size_t i = 0; i < n; i++)
        s->pairs[i] = (dns_selector_pair){i, n + i};
    s->batch = (dns_selector_batch){.videos = s->videos,
                                    .n_videos = 2 * n,
                                    .n_regions = s->padded.n_regions,
                                    .padded_frames = s->padded.masked ? s->padded.n_padded : 0,
                                    .pairs = s->pairs,
                                    .coarse = s->coarse,
                                    .n_pairs = n};
out:
    return status;
}

/* A batch of two through batch norm is ill-conditioned: everything behind it is as far off as
 * gradients are. */
static dns_parity_rule rule_of(const struct step *s)
{
    return (dns_parity_rule){.tolerance = s->n_pairs > 2 ? DNS_PARITY_FORWARD : DNS_PARITY_GRADIENT,
                             .unit = "largest"};
}

static dns_status check_first(struct step *s)
{
    dns_status status = DNS_OK;
    const dns_parity_rule rule = rule_of(s);
    const dns_parameters *parameters = dns_selector_parameters(s->net);
    const dns_tensor *expected;
    DNS_TRY(dns_parity_tensor(&expected, s->train, "prediction"));
    DNS_TRY(dns_parity_compare(s->p, s->set, "prediction", s->predictions, s->n_pairs, expected,
                               &rule));
    DNS_TRY(dns_parity_tensor(&expected, s->train, "loss"));
    DNS_TRY(dns_parity_compare_f64(s->p, s->set, "loss", s->losses, 1, expected, &rule));
    expected = dns_safetensors_find(s->train, "scalar");
    if (expected != NULL)
        DNS_TRY(dns_parity_forward(s->p, s->set, "scalar", dns_selector_trainer_scalars(s->trainer),
                                   2 * s->n_pairs, expected));
    for (size_t i = 0; i < dns_safetensors_count(s->train); i++) {
        const char *name = dns_safetensors_name(s->train, i);
        const char *plain = dns_parity_after(name, "running1.");
        size_t index = plain != NULL ? dns_parameters_find(parameters, plain) : 0;
        if (plain == NULL)
            continue;
        if (index == dns_parameters_count(parameters))
            DNS_TRY(dns_parity_unknown(s->p, s->set, name));
        else
            DNS_TRY(dns_parity_compare(s->p, s->set, name, dns_parameters_weight(parameters, index),
                                       dns_parameters_at(parameters, index)->count,
                                       dns_safetensors_at(s->train, i), &rule));
    }
    DNS_TRY(dns_parity_gradients(s->p, s->set, s->train, parameters, DNS_PARITY_GRADIENT));
out:
    return status;
}

static dns_status run_steps(struct step *s, size_t n_steps, double rate)
{
    dns_status status = DNS_OK;
    dns_parameters *parameters = dns_selector_parameters(s->net);
    const dns_adam adam = DNS_ADAM_INIT;
    for (size_t step = 0; step < n_steps; step++) {
        DNS_TRY(dns_selector_forward(s->trainer, s->logits, &s->batch));
        s->losses[step] = dns_loss_cross_entropy(s->dlogits, s->logits, s->labels, s->n_pairs);
        dns_sigmoid(s->predictions, s->logits, s->n_pairs);
        dns_parameters_zero_gradients(parameters);
        DNS_TRY(dns_selector_backward(s->trainer, &s->batch, s->dlogits));
        if (step == 0)
            DNS_TRY(check_first(s));
        DNS_TRY(dns_adam_step(parameters, &adam, rate, step + 1, dns_parity_pool(s->p)));
    }
out:
    return status;
}

static const char *const known[] = {"step0.",     "grad.", "after3.", "running1.",
                                    "prediction", "loss",  "losses",  "scalar",
                                    "coarse",     "label", NULL};

static dns_status check_train(dns_parity *p, const char *name, const dns_safetensors *train,
                              bool *taken)
{
    dns_status status = DNS_OK;
    struct step s = {.p = p, .train = train};
    const dns_safetensors *inputs;
    const dns_tensor *losses = dns_safetensors_find(train, "losses");
    const dns_parity_rule later = {.tolerance = DNS_PARITY_LOSSES, .unit = "largest"};
    *taken = dns_safetensors_find(train, "step0.mlp.model.0.weight") != NULL;
    if (!*taken)
        return DNS_OK;
    snprintf(s.set, sizeof s.set, "%s.train", name);
    DNS_TRY(dns_parity_inputs(p, &inputs, s.set, "train.inputs"));
    DNS_TRY(dns_selector_load(&s.net, train, "step0.", true));
    DNS_TRY(dns_selector_trainer_create(&s.trainer, s.net, dns_parity_pool(p)));
    DNS_TRY(make_batch(&s, inputs));
    double rate = dns_parity_number(train, "lr", 1e-4);
    DNS_TRY(run_steps(&s, losses != NULL ? MOST_STEPS : 1, rate));
    if (losses != NULL)
        DNS_TRY(dns_parity_compare_f64(p, s.set, "losses", s.losses, MOST_STEPS, losses, &later));
    DNS_TRY(dns_parity_after3(p, s.set, train, dns_selector_parameters(s.net), rate));
    DNS_TRY(dns_parity_name_rest(p, s.set, train, known));
out:
    close_step(&s);
    return status;
}

dns_status dns_parity_selector(dns_parity *p)
{
    dns_status status = dns_parity_each(p, ".weights", check_weights);
    return status != DNS_OK ? status : dns_parity_each(p, ".train", check_train);
}
