#include "ablation_units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/itq.h"
#include "dnsel/memory.h"

enum { ITQ_ROWS = 20000, ITQ_ROUNDS = 50, PART = 7 };

/* The fold in hand. */
struct unit {
    dns_ablation *a;
    size_t fold;
    uint64_t seed;
    dns_trial trial;
    float *scores[DNS_DIRECTIONS];
    double *ap;
};

static bool has(const struct unit *u, const char *method)
{
    return dns_ablation_has(u->a->book, method, u->fold, u->seed);
}

static void say(const struct unit *u, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "fold %zu, seed %llu: %s", u->fold, (unsigned long long)u->seed,
             what);
    u->a->say(u->a->payload, text);
}

static dns_status put(struct unit *u, const char *method, const float *scores)
{
    double mean;
    dns_status status = dns_trial_precision(&mean, u->ap, &u->trial, scores);
    return status == DNS_OK
               ? dns_ablation_put(u->a->book, method, u->fold, u->seed, u->ap, u->trial.queries.n)
               : status;
}

static dns_status compare(struct unit *u, const dns_fine_comparison *how)
{
    return dns_clip_direction_scores(u->scores, dns_trial_queries(&u->trial),
                                     dns_trial_database(&u->trial), how, u->a->pool, u->a->cancel);
}

/* "PREFIX DIRECTION" for every direction. */
static dns_status put_directions(struct unit *u, const char *prefix, const dns_fine_comparison *how)
{
    char name[DNS_ABLATION_NAME];
    dns_status status = compare(u, how);
    for (int d = 0; d < DNS_DIRECTIONS && status == DNS_OK; d++) {
        snprintf(name, sizeof name, "%s %s", prefix, dns_direction_name((dns_direction)d));
        status = put(u, name, u->scores[d]);
    }
    return status;
}

static bool has_directions(const struct unit *u, const char *prefix)
{
    char name[DNS_ABLATION_NAME];
    snprintf(name, sizeof name, "%s %s", prefix,
             dns_direction_name((dns_direction)(DNS_DIRECTIONS - 1)));
    return has(u, name);
}

/* ---- what needs no training ---- */

static dns_status measure_coarse(struct unit *u, const char *method, const dns_coarse *net)
{
    dns_status status = dns_trial_coarse_scores(u->scores[0], &u->trial, net, u->a->pool);
    return status == DNS_OK ? put(u, method, u->scores[0]) : status;
}

static dns_status measure_plain(struct unit *u)
{
    dns_status status = DNS_OK;
    dns_coarse *mean = NULL;
    if (!has(u, "mean vector")) {
        say(u, "mean vector");
        DNS_TRY(dns_coarse_plain_mean(&mean, dns_training_set_dim(u->a->set)));
        DNS_TRY(measure_coarse(u, "mean vector", mean));
    }
    const dns_fine_comparison chamfer = {.rule = {.regions = DNS_REGIONS_CHAMFER}},
                              same = {.rule = {.regions = DNS_REGIONS_SAME}};
    if (!has_directions(u, "plain chamfer")) {
        say(u, "plain comparison");
        DNS_TRY(put_directions(u, "plain chamfer", &chamfer));
    }
    if (!has_directions(u, "plain same"))
        DNS_TRY(put_directions(u, "plain same", &same));
out:
    dns_coarse_free(mean);
    return status;
}

/* Region vectors of originals that are not in the fold. */
static dns_status itq_matrix(float *codes, const struct unit *u, dns_random *random)
{
    dns_status status = DNS_OK;
    const dns_training_set *set = u->a->set;
    size_t dim = dns_training_set_dim(set), regions = dns_training_set_n_regions(set), n = 0;
    float *rows = NULL;
    DNS_TRY(dns_alloc(&rows, ITQ_ROWS + regions, dim * sizeof *rows));
    for (size_t frame = 0; n < ITQ_ROWS; frame++) {
        bool any = false;
        for (size_t v = 0; v < dns_training_set_n_videos(set) && n < ITQ_ROWS; v++)
            if (dns_training_set_video(set, v)->fold != u->fold &&
                frame < dns_training_set_view(set, v, 0).n_frames) {
                dns_training_set_read(rows + n * dim, set, v, 0, frame, 1);
                n += regions;
                any = true;
            }
        if (!any)
            break;
    }
    DNS_TRY(dns_itq_learn(codes, rows, n, dim, dim, ITQ_ROUNDS, random));
out:
    dns_free(rows);
    return status;
}

static dns_status rotation_matrix(float *codes, const struct unit *u)
{
    dns_status status = DNS_OK;
    dns_visil *net = NULL;
    dns_fine_options o = dns_fine_options_default(DNS_FINE_BINARY, DNS_FINE_MEASURED);
    size_t dim = dns_training_set_dim(u->a->set);
    o.code_bits = dim;
    o.sampler.seed = u->seed;
    DNS_TRY(dns_fine_start(&net, u->a->set, &o));
    const dns_parameters *p = dns_visil_parameters(net);
    memcpy(codes, dns_parameters_weight(p, dns_parameters_find(p, "binarization.W")),
           dim * dim * sizeof *codes);
out:
    dns_visil_free(net);
    return status;
}

static dns_status measure_codes(struct unit *u)
{
    static const char *const kinds[] = {"codes sign", "codes itq", "codes rotation"};
    dns_status status = DNS_OK;
    size_t dim = dns_training_set_dim(u->a->set);
    float *codes = NULL;
    dns_random random = dns_random_stream(u->seed, u->fold);
    DNS_TRY(dns_alloc(&codes, dim, dim * sizeof *codes));
    for (size_t k = 0; k < 3; k++) {
        if (has(u, kinds[k]) || dim % 64 != 0)
            continue;
        say(u, kinds[k]);
        memset(codes, 0, dim * dim * sizeof *codes);
        for (size_t i = 0; k == 0 && i < dim; i++)
            codes[i * dim + i] = 1;
        if (k == 1)
            DNS_TRY(itq_matrix(codes, u, &random));
        if (k == 2)
            DNS_TRY(rotation_matrix(codes, u));
        const dns_fine_comparison how = {.rule = u->a->rule, .codes = codes, .n_bits = dim};
        DNS_TRY(compare(u, &how));
        DNS_TRY(put(u, kinds[k], u->scores[u->a->rule.direction]));
    }
out:
    dns_free(codes);
    return status;
}

/* ---- networks ---- */

static void prepare_fine(dns_fine_options *o, const struct unit *u, dns_fine_kind kind,
                         dns_fine_recipe recipe)
{
    *o = dns_fine_options_default(kind, recipe);
    if (recipe == DNS_FINE_MEASURED)
        o->rule.regions = u->a->rule.regions;
    o->sampler.seed = u->seed;
    o->sampler.held_out = u->fold;
    o->sampler.batch = dns_sampler_fitting_batch(u->a->set, o->sampler.batch);
    o->trainer.cancel = u->a->cancel;
    if (o->trainer.steps > 0)
        o->trainer.steps = recipe == DNS_FINE_MEASURED ? u->a->fine_steps : u->a->published_steps;
}

/* Trains with a checkpoint of its own, so that a network that is needed again is read from it. */
static dns_status train(dns_visil **net, const struct unit *u, dns_fine_options *o,
                        const char *name)
{
    dns_status status = DNS_OK;
    dns_trainer_report report;
    char *checkpoint = NULL;
    DNS_TRY(dns_string_format(&checkpoint, "%s/%s.%zu.%llu", u->a->folder, name, u->fold,
                              (unsigned long long)u->seed));
    o->trainer.checkpoint = checkpoint;
    DNS_TRY(dns_fine_start(net, u->a->set, o));
    if (o->trainer.steps > 0)
        DNS_TRY(dns_fine_train(&report, *net, u->a->set, o, u->a->pool));
out:
    dns_free(checkpoint);
    return status;
}

static dns_status measure_fine(struct unit *u, dns_visil **trained)
{
    dns_status status = DNS_OK;
    dns_visil *start = NULL, *codes = NULL;
    dns_fine_options o, binary;
    prepare_fine(&o, u, DNS_FINE_ATTENTION, DNS_FINE_MEASURED);
    if (!has_directions(u, "fine attention untrained")) {
        say(u, "fine attention, untrained");
        DNS_TRY(dns_fine_start(&start, u->a->set, &o));
        const dns_fine_comparison how = {.net = start};
        DNS_TRY(put_directions(u, "fine attention untrained", &how));
    }
    say(u, "fine attention, trained");
    DNS_TRY(train(trained, u, &o, "fine-attention"));
    const dns_fine_comparison how = {.net = *trained};
    if (!has_directions(u, "fine attention trained"))
        DNS_TRY(put_directions(u, "fine attention trained", &how));
    if (!has_directions(u, "fine binary untrained")) {
        say(u, "fine binary");
        prepare_fine(&binary, u, DNS_FINE_BINARY, DNS_FINE_MEASURED);
        binary.float_net = *trained;
        binary.trainer.steps = 0;
        DNS_TRY(dns_fine_start(&codes, u->a->set, &binary));
        const dns_fine_comparison by_codes = {.net = codes};
        DNS_TRY(put_directions(u, "fine binary untrained", &by_codes));
    }
out:
    dns_visil_free(start);
    dns_visil_free(codes);
    return status;
}

static dns_status learn_coarse(struct unit *u, const char *method, dns_coarse_recipe recipe,
                               const dns_visil *teacher)
{
    dns_status status = DNS_OK;
    dns_coarse *net = NULL;
    char *checkpoint = NULL;
    dns_coarse_learning_options o = dns_coarse_learning_options_default(recipe);
    if (has(u, method))
        return DNS_OK;
    say(u, method);
    o.steps = recipe == DNS_COARSE_CONTRAST ? u->a->coarse_steps : u->a->published_steps;
    o.teacher = (dns_fine_comparison){.net = teacher};
    o.sampler.seed = u->seed;
    o.sampler.held_out = u->fold;
    o.sampler.batch = dns_sampler_fitting_batch(u->a->set, o.sampler.batch);
    o.cancel = u->a->cancel;
    DNS_TRY(dns_string_format(&checkpoint, "%s/coarse%d.%zu.%llu", u->a->folder, (int)recipe,
                              u->fold, (unsigned long long)u->seed));
    o.checkpoint = checkpoint;
    DNS_TRY(dns_coarse_learn(&net, u->a->set, &o, u->a->pool));
    DNS_TRY(measure_coarse(u, method, net));
out:
    dns_coarse_free(net);
    dns_free(checkpoint);
    return status;
}

/* Teacher, and the three students that learn its scores. */
static dns_status measure_published(struct unit *u)
{
    static const struct {
        const char *method, *file;
        dns_fine_kind kind;
    } students[] = {{"fine attention published", "published-attention", DNS_FINE_ATTENTION},
                    {"fine binary published", "published-binary", DNS_FINE_BINARY}};
    dns_status status = DNS_OK;
    dns_visil *teacher = NULL, *student = NULL;
    dns_fine_options o;
    if (u->a->published_steps == 0)
        return DNS_OK;
    prepare_fine(&o, u, DNS_FINE_TEACHER, DNS_FINE_PUBLISHED);
    say(u, "teacher, published");
    DNS_TRY(train(&teacher, u, &o, "teacher"));
    const dns_fine_comparison taught = {.net = teacher};
    if (!has_directions(u, "teacher published"))
        DNS_TRY(put_directions(u, "teacher published", &taught));
    for (size_t k = 0; k < 2; k++) {
        if (has_directions(u, students[k].method))
            continue;
        say(u, students[k].method);
        prepare_fine(&o, u, students[k].kind, DNS_FINE_PUBLISHED);
        o.teacher = &taught;
        DNS_TRY(train(&student, u, &o, students[k].file));
        const dns_fine_comparison how = {.net = student};
        DNS_TRY(put_directions(u, students[k].method, &how));
        dns_visil_free(student);
        student = NULL;
    }
    DNS_TRY(learn_coarse(u, "coarse published", DNS_COARSE_DISTILLED, teacher));
out:
    dns_visil_free(teacher);
    dns_visil_free(student);
    return status;
}

static bool finished(const struct unit *u)
{
    return has_directions(u, "fine binary untrained") && has(u, "coarse contrast") &&
           (u->a->published_steps == 0 || has(u, "coarse published"));
}

static dns_status measure_seed(struct unit *u)
{
    dns_status status = DNS_OK;
    dns_visil *trained = NULL;
    DNS_TRY(measure_codes(u));
    if (finished(u))
        goto out;
    DNS_TRY(measure_fine(u, &trained));
    DNS_TRY(learn_coarse(u, "coarse contrast", DNS_COARSE_CONTRAST, trained));
    DNS_TRY(measure_published(u));
out:
    dns_visil_free(trained);
    return status;
}

dns_status dns_ablation_fold(dns_ablation *a, size_t fold)
{
    dns_status status = DNS_OK;
    struct unit u = {.a = a, .fold = fold, .seed = a->seed};
    dns_trial_options o = dns_trial_options_default();
    o.fold = fold;
    o.per_video = a->queries;
    o.seed = a->seed;
    DNS_TRY(dns_trial_create(&u.trial, a->set, &o));
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        DNS_TRY(
            dns_alloc(&u.scores[d], u.trial.queries.n, u.trial.database.n * sizeof *u.scores[d]));
    DNS_TRY(dns_alloc(&u.ap, u.trial.queries.n, sizeof *u.ap));
    DNS_TRY(measure_plain(&u));
    for (size_t s = 0; s < a->n_seeds; s++, u.seed++)
        DNS_TRY(measure_seed(&u));
out:
    dns_trial_free(&u.trial);
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        dns_free(u.scores[d]);
    dns_free(u.ap);
    return status;
}

/* ---- routers ---- */

struct routing {
    dns_ablation *a;
    uint64_t seed;
    dns_held_out held_out;
    float *expected, *confidence;
    dns_trial_scores scores;
    char *checkpoint;
};

static dns_status judge_fold(struct routing *r, size_t fold, double threshold)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = &r->held_out.trial;
    size_t n = trial->queries.n, m = trial->database.n;
    bool *others = NULL;
    float *confidence = NULL;
    dns_selector *net = NULL;
    char *checkpoint = NULL;
    dns_selector_learning_options o = dns_selector_learning_options_default();
    DNS_TRY(dns_string_format(&checkpoint, "%s.selector.%zu", r->checkpoint, fold));
    DNS_TRY(dns_alloc(&others, n, sizeof *others));
    DNS_TRY(dns_alloc(&confidence, n, m * sizeof *confidence));
    dns_trial_of_fold(others, trial, fold, true);
    o.steps = r->a->selector_steps;
    o.threshold = threshold;
    o.asked = others;
    o.seed = r->seed;
    o.checkpoint = checkpoint;
    o.cancel = r->a->cancel;
    DNS_TRY(dns_selector_learn(&net, &r->scores, &o, r->a->pool));
    DNS_TRY(dns_selector_judge(confidence, &r->scores, net, r->a->pool));
    for (size_t i = 0; i < n; i++)
        if (!others[i])
            memcpy(r->confidence + i * m, confidence + i * m, m * sizeof *confidence);
out:
    dns_selector_free(net);
    dns_free(others);
    dns_free(confidence);
    dns_free(checkpoint);
    return status;
}

static dns_status hold_out(struct routing *r)
{
    dns_status status = DNS_OK;
    dns_fine_options fine = dns_fine_options_default(DNS_FINE_ATTENTION, DNS_FINE_MEASURED);
    dns_coarse *mean = NULL;
    dns_held_out_options o = {.fine = &fine,
                              .direction = r->a->rule.direction,
                              .trial = dns_trial_options_default(),
                              .checkpoint = r->checkpoint,
                              .cancel = r->a->cancel};
    fine.rule.regions = r->a->rule.regions;
    fine.sampler.seed = r->seed;
    fine.sampler.batch = dns_sampler_fitting_batch(r->a->set, fine.sampler.batch);
    fine.trainer.steps = r->a->fine_steps;
    o.trial.per_video = r->a->queries;
    o.trial.seed = r->a->seed;
    DNS_TRY(dns_coarse_plain_mean(&mean, dns_training_set_dim(r->a->set)));
    o.coarse_net = mean;
    DNS_TRY(dns_held_out_scores(&r->held_out, r->a->set, &o, r->a->pool));
    size_t n = r->held_out.trial.queries.n, m = r->held_out.trial.database.n;
    DNS_TRY(dns_alloc(&r->expected, n, m * sizeof *r->expected));
    DNS_TRY(dns_alloc(&r->confidence, n, m * sizeof *r->confidence));
    r->scores =
        (dns_trial_scores){&r->held_out.trial, r->held_out.coarse, r->expected, r->held_out.fine};
    DNS_TRY(dns_trial_expect(r->expected, &r->scores));
out:
    dns_coarse_free(mean);
    return status;
}

dns_status dns_ablation_routers(dns_ablation *a, uint64_t seed)
{
    dns_status status = DNS_OK;
    struct routing r = {.a = a, .seed = seed};
    dns_retrieval *study = NULL;
    char name[DNS_ABLATION_NAME];
    float t;
    snprintf(name, sizeof name, "router %s %g", dns_ranker_name(DNS_RANKER_ORACLE_GAIN),
             dns_budgets[DNS_BUDGETS - 1]);
    if (dns_ablation_has(a->book, name, 0, seed))
        return DNS_OK;
    snprintf(name, sizeof name, "seed %llu: routers", (unsigned long long)seed);
    a->say(a->payload, name);
    DNS_TRY(
        dns_string_format(&r.checkpoint, "%s/routers.%llu", a->folder, (unsigned long long)seed));
    DNS_TRY(hold_out(&r));
    DNS_TRY(dns_selector_choose_threshold(&t, &r.scores, NULL, 0.075));
    for (size_t fold = 0; fold < dns_training_set_n_folds(a->set); fold++)
        DNS_TRY(judge_fold(&r, fold, (double)t));
    DNS_TRY(dns_trial_route(&study, &r.scores, r.confidence, 0.4, 1));
    for (int k = 0; k < DNS_RANKER_COUNT; k++)
        for (size_t b = 0; b < DNS_BUDGETS; b++) {
            if (dns_retrieval_precisions(study, (dns_ranker)k, b) == NULL)
                continue;
            snprintf(name, sizeof name, "router %s %g", dns_ranker_name((dns_ranker)k),
                     dns_budgets[b]);
            DNS_TRY(dns_ablation_put(a->book, name, 0, seed,
                                     dns_retrieval_precisions(study, (dns_ranker)k, b),
                                     r.held_out.trial.queries.n));
        }
out:
    dns_retrieval_free(study);
    dns_held_out_free(&r.held_out);
    dns_free(r.expected);
    dns_free(r.confidence);
    dns_free(r.checkpoint);
    return status;
}

/* ---- what is compared with what ---- */

static const char *direction_of(const char *method)
{
    const char *last = strrchr(method, ' ');
    return last != NULL ? last + 1 : "";
}

static bool begins(const char *method, const char *with)
{
    return strncmp(method, with, strlen(with)) == 0;
}

const char *dns_ablation_reference(const char *method, dns_similarity_rule rule,
                                   char text[DNS_ABLATION_NAME])
{
    const char *own = direction_of(method), *regions = dns_region_step_name(rule.regions);
    const struct {
        const char *method, *reference;
    } pairs[] = {{"plain same", "plain chamfer"},
                 {"fine attention trained", "fine attention untrained"},
                 {"fine attention published", "fine attention trained"},
                 {"fine binary untrained", "fine attention trained"},
                 {"fine binary published", "fine binary untrained"},
                 {"teacher published", "fine attention trained"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (begins(method, pairs[i].method)) {
            snprintf(text, DNS_ABLATION_NAME, "%s %s", pairs[i].reference, own);
            return text;
        }
    if (begins(method, "fine attention untrained")) {
        snprintf(text, DNS_ABLATION_NAME, "plain %s %s", regions, own);
        return text;
    }
    if (begins(method, "codes ")) {
        snprintf(text, DNS_ABLATION_NAME, "plain %s %s", regions,
                 dns_direction_name(rule.direction));
        return text;
    }
    return begins(method, "coarse ") || begins(method, "plain chamfer") ? "mean vector" : NULL;
}
