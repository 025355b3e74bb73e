#include "dnsel/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dnsel/file.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"

enum { CURVE_BYTES = 1 << 28 };

dns_trainer_options dns_trainer_options_default(void)
{
    return (dns_trainer_options){
        .steps = 200,
        .adam = {.beta1 = 0.9,
                 .beta2 = 0.999,
                 .epsilon = 1e-8,
                 .weight_decay = 1e-4,
                 .decoupled = true},
        .schedule = {.shape = DNS_SCHEDULE_COSINE, .peak = 1e-3, .warm_up = 20, .last = 0.05},
        .validate_every = 0,
        .checkpoint_every = 50};
}

struct run {
    const dns_trainer_task *task;
    const dns_trainer_options *o;
    dns_trainer_report *report;
    dns_pool *pool;
    dns_schedule schedule;
    dns_real *best; /* weights; NULL without validation */
    size_t bad;     /* validations since the best */
    char *description;
    FILE *curve;
    double late_loss; /* sum over the last tenth */
    size_t n_late;
};

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the curve ---- */

/* Lines of steps after the one that is gone on from belong to what is done again. */
static dns_status open_curve(struct run *r, size_t done)
{
    dns_status status = DNS_OK;
    char *text = NULL;
    size_t size = 0, kept = 0, step;
    if (r->o->curve == NULL)
        return DNS_OK;
    if (done > 0 && dns_file_exists(r->o->curve))
        DNS_TRY(dns_file_read(&text, &size, r->o->curve, CURVE_BYTES));
    while (kept < size && sscanf(text + kept, "{\"step\":%zu", &step) == 1 && step <= done) {
        const char *end = memchr(text + kept, '\n', size - kept);
        if (end == NULL)
            break;
        kept = (size_t)(end - text) + 1;
    }
    r->curve = fopen(r->o->curve, "wbe");
    if (r->curve == NULL || (kept > 0 && fwrite(text, 1, kept, r->curve) != kept))
        status = dns_status_set_errno("%s", r->o->curve);
out:
    dns_free(text);
    return status;
}

static void put_number(dns_json_writer *w, const char *key, double value)
{
    if (isfinite(value))
        dns_json_put_number(w, key, value, 6);
}

static dns_status put_point(struct run *r, const dns_curve_point *point)
{
    if (r->o->report != NULL)
        r->o->report(r->o->payload, point);
    if (r->curve == NULL)
        return DNS_OK;
    dns_json_writer w = dns_json_writer_to(r->curve, false);
    dns_json_begin_object(&w, NULL);
    dns_json_put_integer(&w, "step", (int64_t)point->step);
    put_number(&w, "loss", point->loss);
    put_number(&w, "gradient_norm", point->gradient_norm);
    put_number(&w, "rate", point->rate);
    put_number(&w, "validation", point->validation);
    dns_json_end_object(&w);
    dns_status status = dns_json_finish(&w);
    fflush(r->curve);
    return status;
}

/* ---- checkpoints ---- */

/* Which training a checkpoint belongs to. */
static dns_status describe(struct run *r)
{
    const dns_trainer_options *o = r->o;
    return dns_string_format(&r->description,
                             "%s; %zu steps, rate %.9g, shape %d, warm-up %zu, last %.9g, betas "
                             "%.9g %.9g, epsilon %.9g, "
                             "decay %.9g %d, clip %.9g, validation %zu, patience %zu",
                             r->task->description != NULL ? r->task->description : "", o->steps,
                             o->schedule.peak, (int)o->schedule.shape, o->schedule.warm_up,
                             o->schedule.last, o->adam.beta1, o->adam.beta2, o->adam.epsilon,
                             o->adam.weight_decay, o->adam.decoupled, o->clip, o->validate_every,
                             o->patience);
}

static dns_status best_path(char **out, const struct run *r)
{
    return dns_string_format(out, "%s.best", r->o->checkpoint);
}

/* The best weights, in the parameters for a moment. */
static void swap_best(struct run *r)
{
    dns_real *w = dns_parameters_block(r->task->parameters, DNS_WEIGHTS);
    for (size_t i = 0, n = dns_parameters_size(r->task->parameters); i < n; i++) {
        dns_real here = w[i];
        w[i] = r->best[i];
        r->best[i] = here;
    }
}

static dns_status save(struct run *r, size_t step)
{
    dns_status status = DNS_OK;
    char *path = NULL, text[5][32];
    const dns_trainer_report *report = r->report;
    if (r->o->checkpoint == NULL)
        return DNS_OK;
    snprintf(text[0], sizeof text[0], "%zu", step);
    snprintf(text[1], sizeof text[1], "%zu", report->best_step);
    snprintf(text[2], sizeof text[2], "%zu", r->bad);
    snprintf(text[3], sizeof text[3], "%.17g", report->start);
    snprintf(text[4], sizeof text[4], "%.17g", report->best);
    const dns_metadata metadata[] = {{"step", text[0]},  {"training", r->description},
                                     {"best", text[1]},  {"bad", text[2]},
                                     {"start", text[3]}, {"figure", text[4]}};
    if (r->best != NULL) {
        DNS_TRY(best_path(&path, r));
        swap_best(r);
        status = dns_parameters_save(r->task->parameters, path, NULL, 0);
        swap_best(r);
        if (status != DNS_OK)
            goto out;
    }
    DNS_TRY(dns_parameters_save_checkpoint(r->task->parameters, r->o->checkpoint, metadata, 6));
out:
    dns_free(path);
    return status;
}

static const char *metadata_of(const dns_safetensors *file, const char *key)
{
    const char *value = dns_safetensors_metadata(file, key);
    return value != NULL ? value : "0";
}

static dns_status load_best(struct run *r)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    dns_safetensors *file = NULL;
    dns_parameters *p = r->task->parameters;
    DNS_TRY(best_path(&path, r));
    DNS_TRY(dns_safetensors_open(&file, path));
    DNS_TRY(dns_parameters_load(p, file, ""));
    memcpy(r->best, dns_parameters_block(p, DNS_WEIGHTS), dns_parameters_size(p) * sizeof *r->best);
out:
    dns_safetensors_close(file);
    dns_free(path);
    return status;
}

/* *step = how far the checkpoint came; 0 without one. */
static dns_status load(struct run *r, size_t *step)
{
    dns_status status = DNS_OK;
    dns_safetensors *file = NULL;
    *step = 0;
    if (r->o->checkpoint == NULL || !dns_file_exists(r->o->checkpoint))
        return DNS_OK;
    DNS_TRY(dns_safetensors_open(&file, r->o->checkpoint));
    if (strcmp(metadata_of(file, "training"), r->description) != 0)
        DNS_FAIL(DNS_ERR_MODEL, "%s: checkpoint of another training (%s)", r->o->checkpoint,
                 metadata_of(file, "training"));
    if (r->best != NULL)
        DNS_TRY(load_best(r));
    DNS_TRY(dns_parameters_load_checkpoint(r->task->parameters, file));
    *step = strtoull(metadata_of(file, "step"), NULL, 10);
    r->report->best_step = strtoull(metadata_of(file, "best"), NULL, 10);
    r->bad = strtoull(metadata_of(file, "bad"), NULL, 10);
    r->report->start = strtod(metadata_of(file, "start"), NULL);
    r->report->best = strtod(metadata_of(file, "figure"), NULL);
out:
    dns_safetensors_close(file);
    return status;
}

/* ---- validation ---- */

static dns_status validate(struct run *r, double *figure, size_t step)
{
    dns_parameters *p = r->task->parameters;
    dns_status status = r->task->validate(r->task->payload, figure);
    if (status != DNS_OK)
        return status;
    if (step == 0)
        r->report->start = *figure;
    if (step > 0 && !(*figure > r->report->best)) {
        r->bad++;
        return DNS_OK;
    }
    r->bad = 0;
    r->report->best = *figure;
    r->report->best_step = step;
    memcpy(r->best, dns_parameters_block(p, DNS_WEIGHTS), dns_parameters_size(p) * sizeof *r->best);
    return DNS_OK;
}

static dns_status validate_start(struct run *r)
{
    dns_curve_point start = {.loss = NAN, .gradient_norm = NAN, .rate = NAN};
    if (r->best == NULL)
        return DNS_OK;
    dns_status status = validate(r, &start.validation, 0);
    return status == DNS_OK ? put_point(r, &start) : status;
}

/* ---- steps ---- */

static dns_status take_step(struct run *r, size_t step)
{
    dns_status status = DNS_OK;
    dns_parameters *p = r->task->parameters;
    const dns_trainer_options *o = r->o;
    dns_step_facts facts = {0};
    double start = dns_seconds(), used = processor_seconds();
    dns_curve_point point = {
        .step = step, .rate = dns_schedule_rate(&r->schedule, step), .validation = NAN};
    dns_parameters_zero_gradients(p);
    DNS_TRY(r->task->step(r->task->payload, &facts, step));
    point.loss = facts.loss;
    point.gradient_norm = o->clip > 0 ? dns_gradient_clip(p, o->clip) : dns_gradient_norm(p);
    DNS_TRY(dns_adam_step(p, &o->adam, point.rate, step, r->pool));
    if (r->task->moved != NULL)
        r->task->moved(r->task->payload);
    r->report->seconds += dns_seconds() - start;
    r->report->processor_seconds += processor_seconds() - used;
    r->report->operations += facts.operations;
    r->report->steps = step;
    if (step + o->steps / 10 >= o->steps) {
        r->late_loss += facts.loss;
        r->report->loss = r->late_loss / (double)++r->n_late;
    } else {
        r->report->loss = facts.loss;
    }
    if (r->best != NULL &&
        (step == o->steps || (o->validate_every > 0 && step % o->validate_every == 0)))
        DNS_TRY(validate(r, &point.validation, step));
    DNS_TRY(put_point(r, &point));
out:
    return status;
}

static dns_status take_steps(struct run *r, size_t done)
{
    dns_status status = DNS_OK;
    const dns_trainer_options *o = r->o;
    for (size_t step = done + 1; step <= o->steps; step++) {
        if (o->patience > 0 && r->bad >= o->patience)
            break;
        if (dns_cancelled(o->cancel)) {
            DNS_TRY(save(r, step - 1));
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted after %zu of %zu steps", step - 1, o->steps);
        }
        DNS_TRY(take_step(r, step));
        if (o->progress != NULL && o->progress->report != NULL)
            o->progress->report(o->progress->payload, step, o->steps, "steps");
        if (step == o->steps || (o->checkpoint_every > 0 && step % o->checkpoint_every == 0))
            DNS_TRY(save(r, step));
    }
out:
    return status;
}

dns_status dns_trainer_run(dns_trainer_report *report, const dns_trainer_task *task,
                           const dns_trainer_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct run r = {
        .task = task, .o = options, .report = report, .pool = pool, .schedule = options->schedule};
    size_t done;
    *report = (dns_trainer_report){.start = NAN, .best = NAN};
    r.schedule.steps = options->steps;
    if (dns_parameters_block(task->parameters, DNS_GRADIENTS) == NULL || options->steps == 0)
        DNS_FAIL(DNS_ERR_ARG, "no steps, or parameters that were not made for training");
    if (task->validate != NULL)
        DNS_TRY(dns_alloc(&r.best, dns_parameters_size(task->parameters), sizeof *r.best));
    DNS_TRY(describe(&r));
    DNS_TRY(load(&r, &done));
    report->steps = done;
    DNS_TRY(open_curve(&r, done));
    if (done == 0)
        DNS_TRY(validate_start(&r));
    DNS_TRY(take_steps(&r, done));
    if (r.best != NULL)
        swap_best(&r);
out:
    if (r.curve != NULL && fclose(r.curve) != 0 && status == DNS_OK)
        status = dns_status_set_errno("%s", options->curve);
    dns_free(r.best);
    dns_free(r.description);
    return status;
}
