/* dns-eval ablation: every part of a model beside what it is to be better than. */
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "ablation_units.h"
#include "commands.h"
#include "dnsel/file.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "terminal.h"

extern char **environ;

enum { ROUNDS = 2000, TEXT = 4096 };

struct settings {
    const char *data, *model, *out;
    size_t folds, seeds, queries, fine_steps, coarse_steps, selector_steps, published_steps, jobs;
    uint64_t seed;
    bool routers, plot, json;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_model *model;
    dns_training_set *set;
    dns_pool *pool;
    dns_ablation ablation;
    char *rows, *table, *json, *script, *picture;
};

static void say(void *payload, const char *what)
{
    const struct work *w = payload;
    if (!w->invocation->quiet)
        fprintf(stderr, "%s\n", what);
}

static dns_status open_work(struct work *w)
{
    static const char *const sections[] = {"backbone", "whitening", "preprocessing"};
    static const dns_digest unknown;
    const struct settings *s = w->s;
    dns_status status = DNS_OK;
    dns_digest made, digest;
    char settings[TEXT];
    if (s->data == NULL || s->model == NULL || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--data, --model and --out are needed");
    DNS_TRY(dns_model_open(&w->model, s->model));
    DNS_TRY(dns_training_set_open(&w->set, s->data));
    made = dns_training_set_features(w->set);
    DNS_TRY(dns_model_digest_of(&digest, w->model, sections, 3));
    if (!dns_digest_equal(&made, &unknown) && !dns_digest_equal(&made, &digest))
        DNS_FAIL(DNS_ERR_MODEL, "%s: features of another backbone or whitening", s->data);
    DNS_TRY(dns_pool_create(&w->pool, s->jobs));
    DNS_TRY(dns_directory_make(s->out));
    DNS_TRY(dns_path_join(&w->rows, s->out, "rows.jsonl"));
    DNS_TRY(dns_path_join(&w->table, s->out, "ablation.txt"));
    DNS_TRY(dns_path_join(&w->json, s->out, "ablation.json"));
    DNS_TRY(dns_path_join(&w->script, s->out, "routers.gnuplot"));
    DNS_TRY(dns_path_join(&w->picture, s->out, "routers.svg"));
    w->ablation = (dns_ablation){.set = w->set,
                                 .rule = dns_model_similarity(w->model),
                                 .pool = w->pool,
                                 .cancel = dns_interrupt_catch(),
                                 .queries = s->queries,
                                 .seed = s->seed,
                                 .n_seeds = s->seeds,
                                 .fine_steps = s->fine_steps,
                                 .coarse_steps = s->coarse_steps,
                                 .selector_steps = s->selector_steps,
                                 .published_steps = s->published_steps,
                                 .folder = s->out,
                                 .say = say,
                                 .payload = w};
    char hex[33];
    dns_digest_text(&digest, hex);
    snprintf(
        settings, sizeof settings,
        "features %s, %zu videos, regions %s, direction %s, %zu queries of a video, seed %llu, "
        "steps %zu %zu %zu %zu",
        hex, dns_training_set_n_videos(w->set), dns_region_step_name(w->ablation.rule.regions),
        dns_direction_name(w->ablation.rule.direction), s->queries, (unsigned long long)s->seed,
        s->fine_steps, s->coarse_steps, s->selector_steps, s->published_steps);
    DNS_TRY(dns_ablation_open(&w->ablation.book, w->rows, settings));
out:
    return status;
}

static dns_status measure(struct work *w)
{
    dns_status status = DNS_OK;
    size_t n_folds = dns_training_set_n_folds(w->set);
    size_t folds = w->s->folds > 0 && w->s->folds < n_folds ? w->s->folds : n_folds;
    for (size_t fold = 0; fold < folds; fold++)
        DNS_TRY(dns_ablation_fold(&w->ablation, fold));
    for (size_t s = 0; s < w->s->seeds && w->s->routers; s++)
        DNS_TRY(dns_ablation_routers(&w->ablation, w->s->seed + s));
out:
    return status;
}

/* ---- one row ---- */

struct row {
    const char *method, *reference;
    char text[DNS_ABLATION_NAME];
    size_t n;
    dns_interval map, gain; /* gain against the reference, paired over queries */
};

static dns_status make_row(struct row *row, const struct work *w, const char *method)
{
    dns_status status = DNS_OK;
    double *ap = NULL, *other = NULL;
    size_t n_other = 0;
    *row = (struct row){.method = method};
    row->reference = dns_ablation_reference(method, w->ablation.rule, row->text);
    DNS_TRY(dns_ablation_gather(&ap, &row->n, w->ablation.book, method));
    DNS_TRY(dns_bootstrap_mean(&row->map, ap, row->n, ROUNDS, 1));
    if (row->reference == NULL)
        goto out;
    DNS_TRY(dns_ablation_gather(&other, &n_other, w->ablation.book, row->reference));
    if (n_other != row->n) {
        row->reference = NULL;
        goto out;
    }
    for (size_t i = 0; i < row->n; i++)
        ap[i] -= other[i];
    DNS_TRY(dns_bootstrap_mean(&row->gain, ap, row->n, ROUNDS, 1));
out:
    dns_free(ap);
    dns_free(other);
    return status;
}

static bool is_router(const char *method)
{
    return strncmp(method, "router ", 7) == 0;
}

static dns_status print_rows(FILE *stream, const struct work *w)
{
    const char *method;
    fprintf(stream, "%-34s %7s  %-16s  against\n", "", "mAP", "95 %");
    for (size_t i = 0; (method = dns_ablation_method(w->ablation.book, i)) != NULL; i++) {
        struct row row;
        if (is_router(method))
            continue;
        dns_status status = make_row(&row, w, method);
        if (status != DNS_OK)
            return status;
        fprintf(stream, "%-34s %7.4f  [%.4f, %.4f]", method, row.map.mean, row.map.low,
                row.map.high);
        if (row.reference != NULL)
            fprintf(stream, "  %-30s %+.4f [%+.4f, %+.4f]", row.reference, row.gain.mean,
                    row.gain.low, row.gain.high);
        fprintf(stream, "\n");
    }
    return DNS_OK;
}

/* ---- routers ---- */

static dns_status router_map(double *map, const struct work *w, int ranker, size_t budget)
{
    char method[DNS_ABLATION_NAME];
    double *ap;
    size_t n;
    snprintf(method, sizeof method, "router %s %g", dns_ranker_name((dns_ranker)ranker),
             dns_budgets[budget]);
    dns_status status = dns_ablation_gather(&ap, &n, w->ablation.book, method);
    *map = n > 0 ? 0 : (double)NAN;
    for (size_t i = 0; i < n && status == DNS_OK; i++)
        *map += ap[i] / (double)n;
    dns_free(ap);
    return status;
}

static dns_status print_routers(FILE *stream, const struct work *w)
{
    dns_status status = DNS_OK;
    double map, before = 0, area;
    fprintf(stream, "\nmAP by share of videos compared finely\n%-20s", "");
    for (size_t b = 0; b < DNS_BUDGETS; b++)
        fprintf(stream, " %5.0f %%", 100 * dns_budgets[b]);
    fprintf(stream, "   area to 30 %%\n");
    for (int r = 0; r < DNS_RANKER_COUNT; r++) {
        DNS_TRY(router_map(&map, w, r, 0));
        if (isnan(map))
            continue;
        fprintf(stream, "%-20s", dns_ranker_name((dns_ranker)r));
        area = 0;
        for (size_t b = 0; b < DNS_BUDGETS; b++) {
            DNS_TRY(router_map(&map, w, r, b));
            fprintf(stream, "  %.4f", map);
            if (b > 0 && dns_budgets[b] <= 0.3)
                area += (dns_budgets[b] - dns_budgets[b - 1]) * (map + before) / 2 / 0.3;
            before = map;
        }
        fprintf(stream, "   %.4f\n", area);
    }
out:
    return status;
}

/* One curve a router, data inline. */
static dns_status write_script(FILE *stream, const struct work *w)
{
    dns_status status = DNS_OK;
    double map;
    bool there[DNS_RANKER_COUNT], first = true;
    for (int r = 0; r < DNS_RANKER_COUNT; r++) {
        DNS_TRY(router_map(&map, w, r, 0));
        there[r] = !isnan(map);
        if (!there[r])
            continue;
        fprintf(stream, "$router%d << END\n", r);
        for (size_t b = 0; b < DNS_BUDGETS && dns_budgets[b] <= 0.3; b++) {
            DNS_TRY(router_map(&map, w, r, b));
            fprintf(stream, "%g %.6f\n", 100 * dns_budgets[b], map);
        }
        fprintf(stream, "END\n");
    }
    fprintf(stream, "set terminal svg size 720,480 background rgb 'white'\nset output '%s'\n",
            w->picture);
    fprintf(stream, "set xlabel 'videos compared finely, %%'\nset ylabel 'mAP'\nset key outside\n"
                    "set grid\nplot ");
    for (int r = 0; r < DNS_RANKER_COUNT; r++)
        if (there[r]) {
            fprintf(stream, "%s$router%d using 1:2 with linespoints title '%s'", first ? "" : ", ",
                    r, dns_ranker_name((dns_ranker)r));
            first = false;
        }
    fprintf(stream, "\n");
out:
    return status;
}

static dns_status draw(const struct work *w)
{
    dns_status status = DNS_OK;
    dns_replacement *file = NULL;
    FILE *stream;
    pid_t pid;
    int code = 0;
    char *const arguments[] = {"gnuplot", w->script, NULL};
    DNS_TRY(dns_replacement_open(&file, &stream, w->script));
    DNS_TRY(write_script(stream, w));
    status = dns_replacement_commit(file);
    file = NULL;
    if (status != DNS_OK || !w->s->plot)
        goto out;
    if (posix_spawnp(&pid, "gnuplot", NULL, NULL, arguments, environ) != 0 ||
        waitpid(pid, &code, 0) != pid || code != 0)
        dns_complain(w->invocation, "no picture: gnuplot did not draw %s", w->script);
out:
    dns_replacement_abandon(file);
    return status;
}

/* ---- files ---- */

static void put_interval(dns_json_writer *j, const char *key, const dns_interval *x)
{
    dns_json_begin_array(j, key);
    dns_json_put_number(j, NULL, x->mean, 6);
    dns_json_put_number(j, NULL, x->low, 6);
    dns_json_put_number(j, NULL, x->high, 6);
    dns_json_end_array(j);
}

static dns_status put_json(dns_json_writer *j, const struct work *w)
{
    dns_status status = DNS_OK;
    const char *method;
    struct row row;
    dns_json_begin_object(j, NULL);
    dns_json_put_string(j, "schema", "dnsel.ablation/1");
    dns_json_put_integer(j, "seeds", (int64_t)w->s->seeds);
    dns_json_begin_array(j, "rows");
    for (size_t i = 0; (method = dns_ablation_method(w->ablation.book, i)) != NULL; i++) {
        DNS_TRY(make_row(&row, w, method));
        dns_json_begin_object(j, NULL);
        dns_json_put_string(j, "method", method);
        dns_json_put_integer(j, "queries", (int64_t)row.n);
        put_interval(j, "mAP", &row.map);
        if (row.reference != NULL) {
            dns_json_put_string(j, "against", row.reference);
            put_interval(j, "gain", &row.gain);
        }
        dns_json_end_object(j);
    }
    dns_json_end_array(j);
    dns_json_end_object(j);
    DNS_TRY(dns_json_finish(j));
out:
    return status;
}

static dns_status put_table(FILE *stream, const struct work *w)
{
    dns_status status = print_rows(stream, w);
    return status == DNS_OK && w->s->routers ? print_routers(stream, w) : status;
}

static dns_status write_results(const struct work *w)
{
    dns_status status = DNS_OK;
    dns_replacement *file = NULL;
    FILE *stream;
    dns_json_writer j;
    DNS_TRY(dns_replacement_open(&file, &stream, w->json));
    j = dns_json_writer_to(stream, true);
    DNS_TRY(put_json(&j, w));
    status = dns_replacement_commit(file);
    file = NULL;
    if (status != DNS_OK)
        goto out;
    DNS_TRY(dns_replacement_open(&file, &stream, w->table));
    DNS_TRY(put_table(stream, w));
    status = dns_replacement_commit(file);
    file = NULL;
    if (status != DNS_OK)
        goto out;
    if (w->s->routers)
        DNS_TRY(draw(w));
    j = dns_json_writer_to(stdout, true);
    status = w->s->json ? put_json(&j, w) : put_table(stdout, w);
out:
    dns_replacement_abandon(file);
    return status;
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    dns_status status = DNS_OK;
    DNS_TRY(open_work(&w));
    DNS_TRY(measure(&w));
    DNS_TRY(write_results(&w));
out:;
    int code = status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
    dns_ablation_close(w.ablation.book);
    dns_training_set_close(w.set);
    dns_model_close(w.model);
    dns_pool_free(w.pool);
    dns_free(w.rows);
    dns_free(w.table);
    dns_free(w.json);
    dns_free(w.script);
    dns_free(w.picture);
    return code;
}

static const struct settings defaults = {.seeds = 3,
                                         .fine_steps = 200,
                                         .coarse_steps = 200,
                                         .selector_steps = 200,
                                         .published_steps = 1000,
                                         .seed = 1,
                                         .routers = true,
                                         .plot = true};
#define AT(field) offsetof(struct settings, field)
#define COUNT(text, field, low, high, what)                                                      \
    {                                                                                            \
        .name = text, .kind = DNS_OPTION_COUNT, .offset = AT(field), .value = "N", .help = what, \
        .minimum = low, .maximum = high                                                          \
    }
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
     .help = "model directory that made the features; its rule of similarity is used"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "DIR",
     .help = "folder of the results, gone on with when there are some"},
    COUNT("folds", folds, 0, 64, "folds that are held out in turn; 0: all of the set"),
    COUNT("seeds", seeds, 1, 100, "trainings a fold"),
    COUNT("queries", queries, 0, 1000, "queries of a video, drawn from all; 0: all"),
    COUNT("fine-steps", fine_steps, 1, 1e7, "steps of the fine network"),
    COUNT("coarse-steps", coarse_steps, 1, 1e7, "steps of the coarse network"),
    COUNT("selector-steps", selector_steps, 1, 1e7, "steps of a selector"),
    COUNT("published-steps", published_steps, 0, 1e8,
          "steps of each network by the published recipe; 0: leave it out"),
    {.name = "routers",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(routers),
     .help = "selectors and routers too"},
    {.name = "plot",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(plot),
     .help = "draw the routers with gnuplot"},
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(json),
     .help = "print JSON in place of the table"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "the first seed; also of queries"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor; the result is the same",
     .maximum = 256},
    {0},
};
const dns_command dns_eval_ablation = {
    .name = "ablation",
    .synopsis = "",
    .summary = "what each part of a model is worth, on scenes that it was not trained on",
    .description =
        "Every fold of the set is held out in turn, and its edited copies are looked for among "
        "all originals: by the mean vector; by plain comparison of region vectors, both region "
        "steps and every direction; by codes from signs, ITQ and a random rotation; by every "
        "network untrained, trained, and by the published recipe; and by all routers at all "
        "budgets, three oracles among them. Figures are means over folds and seeds, with 95 % "
        "intervals from a bootstrap over queries, paired where two methods are compared.\n\n"
        "What is measured is noted at once in DIR/rows.jsonl; interrupted, the same command goes "
        "on from there. Writes ablation.txt, ablation.json, and routers.svg where gnuplot is "
        "installed.",
    .examples = "dns-eval ablation --data my-data --model my-model --out results\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
