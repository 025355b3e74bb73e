#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "dnsel/routing_study.h"
#include "held_out_recipe.h"
#include "json_text.h"
#include "section_weights.h"
#include "terminal.h"

enum { ROUNDS = 2000, SHOWN = 7 /* budgets up to 30 % */ };

struct settings {
    const char *data, *model, *checkpoint, *report;
    int fine, recipe, progress;
    size_t queries, steps, batch, jobs;
    double rate, label_share, threshold, hybrid_share, precision, tolerance;
    uint64_t seed;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_pool *pool;
    dns_cancel *cancel;
    dns_terminal terminal;
    dns_progress progress;
    dns_data_and_model in;
    dns_held_out_recipe recipe;
    dns_held_out held_out;
    float *expected, *confidence; /* of all pairs */
    dns_trial_scores scores;
    float t;
    double copies_from, copies_found; /* threshold of the list, and the recall there */
    double precision;                 /* there */
    dns_retrieval *study;
    dns_ranker router;
    dns_calibration *calibration;
    dns_selector *selector;
};

static void say(const struct work *w, const char *text)
{
    if (!w->invocation->quiet)
        printf("%s\n", text);
    fflush(stdout);
}

/* ---- scores of networks that did not see the scenes ---- */

static dns_status hold_out(struct work *w)
{
    static const char *const sections[] = {NULL, "fine_attention", "fine_binary", "regions"};
    dns_status status = DNS_OK;
    const struct settings *s = w->s;
    DNS_TRY(dns_held_out_recipe_of(&w->recipe, &w->in, sections[s->fine]));
    w->recipe.options.trial.per_video = s->queries;
    w->recipe.options.trial.seed = s->seed;
    w->recipe.options.checkpoint = s->checkpoint;
    w->recipe.options.progress = &w->progress;
    w->recipe.options.cancel = w->cancel;
    say(w, "scores of scenes held out");
    DNS_TRY(dns_held_out_scores(&w->held_out, w->in.set, &w->recipe.options, w->pool));
    size_t n = w->held_out.trial.queries.n, m = w->held_out.trial.database.n;
    DNS_TRY(dns_alloc(&w->expected, n, m * sizeof *w->expected));
    DNS_TRY(dns_alloc(&w->confidence, n, m * sizeof *w->confidence));
    w->scores =
        (dns_trial_scores){&w->held_out.trial, w->held_out.coarse, w->expected, w->held_out.fine};
    if (s->recipe == 0)
        DNS_TRY(dns_trial_expect(w->expected, &w->scores));
    else /* as published: coarse scores as they are */
        memcpy(w->expected, w->held_out.coarse, n * m * sizeof *w->expected);
    w->t = (float)s->threshold;
    if (s->recipe == 0 && s->threshold == 0)
        DNS_TRY(dns_selector_choose_threshold(&w->t, &w->scores, NULL, s->label_share));
    else if (s->threshold == 0)
        w->t = 0.2F;
out:
    return status;
}

/* ---- selectors ---- */

static dns_status learn(dns_selector **out, struct work *w, const bool *asked, const char *name)
{
    dns_status status = DNS_OK;
    char *checkpoint = NULL;
    dns_selector_learning_options o = dns_selector_learning_options_default();
    *out = NULL;
    if (w->s->checkpoint != NULL)
        DNS_TRY(dns_string_format(&checkpoint, "%s.selector.%s", w->s->checkpoint, name));
    o.steps = w->s->steps;
    o.batch = w->s->batch;
    o.rate = w->s->rate;
    o.threshold = (double)w->t;
    o.asked = asked;
    o.seed = w->s->seed;
    o.checkpoint = checkpoint;
    o.progress = &w->progress;
    o.cancel = w->cancel;
    DNS_TRY(dns_selector_learn(out, &w->scores, &o, w->pool));
out:
    dns_free(checkpoint);
    return status;
}

/* Every query is judged by a selector that saw no pair of its fold. */
static dns_status judge_fold(struct work *w, size_t fold)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = &w->held_out.trial;
    size_t n = trial->queries.n, m = trial->database.n;
    bool *others = NULL;
    float *confidence = NULL;
    dns_selector *net = NULL;
    char name[24];
    snprintf(name, sizeof name, "%zu", fold);
    DNS_TRY(dns_alloc(&others, n, sizeof *others));
    DNS_TRY(dns_alloc(&confidence, n, m * sizeof *confidence));
    dns_trial_of_fold(others, trial, fold, true);
    DNS_TRY(learn(&net, w, others, name));
    DNS_TRY(dns_selector_judge(confidence, &w->scores, net, w->pool));
    for (size_t i = 0; i < n; i++)
        if (!others[i])
            memcpy(w->confidence + i * m, confidence + i * m, m * sizeof *confidence);
out:
    dns_selector_free(net);
    dns_free(others);
    dns_free(confidence);
    return status;
}

/* Where look-alikes in other scenes leave too few copies above the wanted precision, a lower one is
 * promised instead; where even 0.8 has fewer than half of them, none is. */
static dns_status find_copies(struct work *w)
{
    static const double lower[] = {0.98, 0.95, 0.9, 0.8};
    enum { N = sizeof lower / sizeof lower[0] };
    const double fewest = 0.5;
    w->precision = w->s->precision;
    dns_status status =
        dns_trial_threshold(&w->copies_from, &w->copies_found, &w->scores, w->precision);
    for (size_t i = 0; i < N && status == DNS_OK && w->copies_found < fewest; i++)
        if (lower[i] < w->s->precision) {
            w->precision = lower[i];
            status =
                dns_trial_threshold(&w->copies_from, &w->copies_found, &w->scores, w->precision);
        }
    if (w->copies_found < fewest)
        w->copies_from = (double)INFINITY;
    return status;
}

static dns_status study(struct work *w)
{
    dns_status status = DNS_OK;
    size_t n_folds = dns_training_set_n_folds(w->in.set);
    say(w, "selectors without each fold in turn");
    for (size_t fold = 0; fold < n_folds; fold++)
        DNS_TRY(judge_fold(w, fold));
    if (w->s->recipe != 0) /* routers are compared on the list that searches make */
        DNS_TRY(dns_trial_expect(w->expected, &w->scores));
    DNS_TRY(dns_trial_route(&w->study, &w->scores, w->confidence, w->s->hybrid_share, ROUNDS));
    w->router = dns_study_best_router(w->study, w->s->tolerance);
    DNS_TRY(find_copies(w));
out:
    return status;
}

static void print_study(const struct work *w)
{
    if (w->invocation->quiet)
        return;
    printf("%zu queries against %zu videos, fine '%s', coarse '%s'; label |fine - expected| > %.4f "
           "\nmAP by share of videos compared finely\n%-18s",
           w->held_out.trial.queries.n, w->held_out.trial.database.n, w->recipe.fine_name,
           w->recipe.coarse_name, (double)w->t, "");
    for (size_t b = 0; b < SHOWN; b++)
        printf(" %5.0f %%", 100 * dns_budgets[b]);
    printf("   area to 30 %%\n");
    for (int r = 0; r < DNS_RANKER_COUNT; r++) {
        if (dns_retrieval_get(w->study, (dns_ranker)r, 0, 0) == NULL)
            continue;
        printf("%-18s", dns_ranker_name((dns_ranker)r));
        for (size_t b = 0; b < SHOWN; b++)
            printf("  %.4f", dns_retrieval_get(w->study, (dns_ranker)r, b, 0)->map.mean);
        printf("   %.4f\n", dns_retrieval_area(w->study, (dns_ranker)r));
    }
    printf("everything finely %.4f; router '%s'\n",
           dns_retrieval_get(w->study, DNS_RANKER_COARSE, DNS_BUDGETS - 1, 0)->map.mean,
           dns_ranker_name(w->router));
    if (isfinite(w->copies_from))
        printf("copies from a score of %.4f on (precision %.3g, recall %.3f)\n", w->copies_from,
               w->precision, w->copies_found);
    else
        printf("no score tells copies from other videos (precision %.3g: recall %.3f)\n",
               w->precision, w->copies_found);
    fflush(stdout);
}

static void put_study(dns_json_writer *j, const struct work *w)
{
    dns_json_begin_object(j, "held_out_mAP");
    dns_json_begin_array(j, "share");
    for (size_t b = 0; b < DNS_BUDGETS; b++)
        dns_json_put_number(j, NULL, dns_budgets[b], 3);
    dns_json_end_array(j);
    for (int r = 0; r < DNS_RANKER_COUNT; r++) {
        if (dns_retrieval_get(w->study, (dns_ranker)r, 0, 0) == NULL)
            continue;
        dns_json_begin_array(j, dns_ranker_name((dns_ranker)r));
        for (size_t b = 0; b < DNS_BUDGETS; b++)
            dns_json_put_number(j, NULL, dns_retrieval_get(w->study, (dns_ranker)r, b, 0)->map.mean,
                                4);
        dns_json_end_array(j);
    }
    dns_json_end_object(j);
    dns_json_begin_object(j, "area_to_30_percent");
    for (int r = 0; r < DNS_RANKER_COUNT; r++)
        if (dns_retrieval_get(w->study, (dns_ranker)r, 0, 0) != NULL)
            dns_json_put_number(j, dns_ranker_name((dns_ranker)r),
                                dns_retrieval_area(w->study, (dns_ranker)r), 4);
    dns_json_end_object(j);
}

static void put_origin(dns_json_writer *j, const struct work *w)
{
    dns_json_put_string(j, "command", "dns-train selector");
    dns_json_put_string(j, "recipe", w->s->recipe == 0 ? "calibrated" : "published");
    dns_json_put_string(j, "fine", w->recipe.fine_name);
    dns_json_put_string(j, "coarse", w->recipe.coarse_name);
    dns_json_put_integer(j, "queries", (int64_t)w->held_out.trial.queries.n);
    dns_json_put_integer(j, "database", (int64_t)w->held_out.trial.database.n);
    dns_json_put_integer(j, "seed", (int64_t)w->s->seed);
}

static dns_status write_report(const struct work *w)
{
    dns_status status = DNS_OK;
    dns_replacement *file = NULL;
    FILE *stream;
    if (w->s->report == NULL)
        return DNS_OK;
    DNS_TRY(dns_replacement_open(&file, &stream, w->s->report));
    dns_json_writer j = dns_json_writer_to(stream, true);
    dns_json_begin_object(&j, NULL);
    put_origin(&j, w);
    put_study(&j, w);
    dns_json_put_string(&j, "router", dns_ranker_name(w->router));
    dns_json_end_object(&j);
    DNS_TRY(dns_json_finish(&j));
    status = dns_replacement_commit(file);
    file = NULL;
out:
    dns_replacement_abandon(file);
    return status;
}

/* ---- the sections ---- */

static dns_status describe_selector(dns_json_text *text, const struct work *w)
{
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *j = &text->writer;
    dns_json_begin_object(j, NULL);
    dns_json_begin_object(j, "provenance");
    put_origin(j, w);
    dns_json_put_number(j, "label_threshold", (double)w->t, 6);
    dns_json_put_integer(j, "steps", (int64_t)w->s->steps);
    dns_json_put_integer(j, "batch", (int64_t)w->s->batch);
    dns_json_put_number(j, "rate", w->s->rate, 6);
    dns_json_end_object(j);
    dns_json_end_object(j);
    return dns_json_text_finish(text);
}

static dns_status describe_router(dns_json_text *text, const struct work *w)
{
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *j = &text->writer;
    dns_json_begin_object(j, NULL);
    dns_json_put_string(j, "kind", dns_ranker_name(w->router));
    dns_json_put_number(j, "hybrid_share", w->s->hybrid_share, 6);
    dns_json_begin_object(j, "provenance");
    put_origin(j, w);
    dns_json_put_number(j, "tolerance", w->s->tolerance, 6);
    put_study(j, w);
    dns_json_end_object(j);
    dns_json_end_object(j);
    return dns_json_text_finish(text);
}

static dns_status describe_calibration(dns_json_text *text, const struct work *w)
{
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *j = &text->writer;
    dns_json_begin_object(j, NULL);
    dns_json_put_integer(j, "loss_bound", 1);
    if (isfinite(w->copies_from)) {
        dns_json_put_number(j, "threshold", w->copies_from, 6);
        dns_json_put_number(j, "threshold_precision", w->precision, 6);
        dns_json_put_number(j, "threshold_recall", w->copies_found, 6);
    }
    dns_json_begin_object(j, "provenance");
    put_origin(j, w);
    dns_json_end_object(j);
    dns_json_end_object(j);
    return dns_json_text_finish(text);
}

static dns_status save(struct work *w)
{
    dns_status status = DNS_OK;
    dns_json_text selector = {0}, router = {0}, calibration = {0};
    dns_section_weights weights = {0};
    dns_named_tensor tensors[DNS_CALIBRATION_TENSORS + 2];
    size_t n = w->held_out.trial.queries.n;
    float *loss = NULL, shares[DNS_BUDGETS];
    DNS_TRY(dns_alloc(&loss, n, DNS_BUDGETS * sizeof *loss));
    dns_study_losses(loss, w->study, w->router, n);
    for (size_t b = 0; b < DNS_BUDGETS; b++)
        shares[b] = (float)dns_budgets[b];
    dns_calibration_tensors(tensors, w->calibration);
    tensors[DNS_CALIBRATION_TENSORS] =
        (dns_named_tensor){"budget.share", dns_tensor_f32(shares, 1, (size_t[]){DNS_BUDGETS})};
    tensors[DNS_CALIBRATION_TENSORS + 1] =
        (dns_named_tensor){"budget.loss", dns_tensor_f32(loss, 2, (size_t[]){n, DNS_BUDGETS})};
    DNS_TRY(dns_section_weights_of(&weights, dns_selector_parameters(w->selector), DNS_F32));
    DNS_TRY(describe_selector(&selector, w));
    DNS_TRY(describe_router(&router, w));
    DNS_TRY(describe_calibration(&calibration, w));
    const dns_model_edit edits[] = {
        {"selector", selector.data, weights.tensors, weights.n},
        {"router", router.data, NULL, 0},
        {"calibration", calibration.data, tensors, DNS_CALIBRATION_TENSORS + 2}};
    DNS_TRY(dns_model_edit_apply(w->s->model, edits, 3));
out:
    dns_section_weights_free(&weights);
    dns_json_text_free(&selector);
    dns_json_text_free(&router);
    dns_json_text_free(&calibration);
    dns_free(loss);
    return status;
}

/* ---- the command ---- */

static dns_status work_through(struct work *w)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_data_and_model_open(&w->in, w->s->data, w->s->model));
    DNS_TRY(dns_pool_create(&w->pool, w->s->jobs));
    DNS_TRY(hold_out(w));
    dns_terminal_close(&w->terminal);
    DNS_TRY(study(w));
    dns_terminal_close(&w->terminal);
    print_study(w);
    DNS_TRY(write_report(w));
    say(w, "selector and calibration from all folds");
    DNS_TRY(dns_trial_calibrate(&w->calibration, &w->scores, NULL));
    DNS_TRY(learn(&w->selector, w, NULL, "all"));
    DNS_TRY(save(w));
out:
    return status;
}

static void close_work(struct work *w)
{
    dns_selector_free(w->selector);
    dns_calibration_free(w->calibration);
    dns_retrieval_free(w->study);
    dns_held_out_free(&w->held_out);
    dns_held_out_recipe_free(&w->recipe);
    dns_data_and_model_close(&w->in);
    dns_pool_free(w->pool);
    dns_free(w->expected);
    dns_free(w->confidence);
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    double start = dns_seconds();
    w.cancel = dns_interrupt_catch();
    w.terminal = dns_terminal_open((dns_progress_style)w.s->progress, invocation->quiet);
    w.progress = dns_terminal_progress(&w.terminal);
    dns_status status = work_through(&w);
    dns_terminal_close(&w.terminal);
    int code = status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
    if (status == DNS_OK && !invocation->quiet)
        printf("%s: selector, router '%s' and calibration, %.0f s\n", w.s->model,
               dns_ranker_name(w.router), dns_seconds() - start);
    close_work(&w);
    return code;
}

static const struct settings defaults = {.steps = 200,
                                         .batch = 64,
                                         .rate = 1e-3,
                                         .label_share = 0.075,
                                         .hybrid_share = 0.4,
                                         .precision = 0.99,
                                         .tolerance = 0.002,
                                         .seed = 1};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "data",
     .kind = DNS_OPTION_STRING,
     .offset = AT(data),
     .value = "DATA",
     .help = "training set of dns-train prepare"},
    {.name = "model",
     .letter = 'm',
     .kind = DNS_OPTION_STRING,
     .offset = AT(model),
     .value = "MODEL",
     .help = "model directory whose selector, router and calibration are made"},
    {.name = "fine",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(fine),
     .choices = "auto|attention|binary|regions",
     .help = "what compares finely; auto: the first of these that the model has"},
    {.name = "recipe",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(recipe),
     .choices = "calibrated|published",
     .help = "whether coarse scores are calibrated before pairs are labelled"},
    {.name = "queries",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(queries),
     .value = "N",
     .help = "queries of a video, drawn from all; 0: all",
     .maximum = 1000},
    {.name = "label-share",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(label_share),
     .value = "X",
     .help = "share of pairs whose calibrated coarse score counts as wrong",
     .minimum = 0.0001,
     .maximum = 0.9},
    {.name = "threshold",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(threshold),
     .value = "T",
     .help = "difference from which on a coarse score counts as wrong; 0: by --label-share, or 0.2 "
             "as published"},
    {.name = "steps",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(steps),
     .value = "N",
     .help = "training steps of a selector",
     .minimum = 1,
     .maximum = 1e7},
    {.name = "batch",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(batch),
     .value = "N",
     .help = "pairs a step, half of them wrong ones",
     .minimum = 4,
     .maximum = 65536},
    {.name = "rate",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(rate),
     .value = "X",
     .help = "peak learning rate"},
    {.name = "hybrid-share",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(hybrid_share),
     .value = "X",
     .help = "share of the videos, best by coarse score, among which the hybrid router chooses",
     .minimum = 0,
     .maximum = 1},
    {.name = "tolerance",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(tolerance),
     .value = "X",
     .help = "a simpler router is preferred when its area is within this of the best"},
    {.name = "precision",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(precision),
     .value = "X",
     .help = "share of copies among all pairs above the score from which dns-query --all lists; a "
             "lower one where fewer than half of the copies would be above it",
     .minimum = 0.5,
     .maximum = 1},
    {.name = "report",
     .kind = DNS_OPTION_STRING,
     .offset = AT(report),
     .value = "FILE",
     .help = "figures of all routers at all budgets, as JSON"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "seed of everything drawn"},
    {.name = "checkpoint",
     .kind = DNS_OPTION_STRING,
     .offset = AT(checkpoint),
     .value = "FILE",
     .help = "beginning of the names of checkpoints, kept while training; found there, training "
             "goes on from them with the same result"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor; the result is the same",
     .maximum = 256},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {0},
};
const dns_command dns_train_selector = {
    .name = "selector",
    .synopsis = "",
    .summary = "calibrate coarse scores, train the selector, and decide which router a model uses",
    .description =
        "For every fold of the set the fine and coarse networks of the model are trained again "
        "without it, and the edited copies of its videos are compared with all originals, coarsely "
        "and finely. From these scores come: the map from coarse to expected fine scores; a "
        "selector, which learns of which pairs the calibrated coarse score is wrong; mAP of every "
        "router, three oracles among them, at shares of 0 to 30 % of the videos compared finely, "
        "each fold judged without having been learnt from; the router that is best, which the "
        "model then names; the table of losses that dns-query --max-loss reads; and the score "
        "from which on two videos are copies, for dns-query --all.",
    .examples = "dns-train selector --data my-data --model my-model --report routers.json\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
