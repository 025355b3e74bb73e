#include "dnsel/method_comparison.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/classification.h"
#include "dnsel/memory.h"
#include "dnsel/random.h"

enum { BASE = DNS_CPFD_BASE, PFD = DNS_CPFD_PFD, CPFD = DNS_CPFD_CPFD, FOLD_STREAM = 4000 };

static const char *const names[DNS_COMPARED] = {"base", "self", "pfd", "cpfd", "teacher"};

const char *dns_compared_name(size_t method)
{
    return names[method];
}

struct run {
    const dns_labelled_rows *rows, *validation;
    const dns_labelled_rows *measured; /* one of these */
    const dns_comparison_options *options;
    size_t n_folds, n_methods;
    bool teacher;
    size_t *folds;        /* [n_seeds, n rows], cross-validation */
    uint8_t *given;       /* [n_seeds, DNS_COMPARED, n measured, n_labels] labels that were given */
    pthread_mutex_t lock; /* of what follows, and of reporting */
    size_t n_done;
};

static uint8_t *given_at(const struct run *run, size_t seed, size_t method)
{
    return run->given + (seed * DNS_COMPARED + method) * run->measured->n * run->measured->n_labels;
}

/* A class is the most probable one, a tag what is above its threshold. */
static void give(uint8_t *given, const float *p, const float *thresholds, dns_label_task task,
                 size_t k)
{
    size_t best = 0;
    for (size_t j = 1; j < k; j++)
        best = p[j] > p[best] ? j : best;
    for (size_t j = 0; j < k; j++)
        given[j] = task == DNS_LABEL_TAGS ? p[j] > thresholds[j] : j == best;
}

/* What a network that reads `trained` and `measured` [n, width] says of the rows for which held[i].
 */
static dns_status answer(uint8_t *given, const dns_classifier *network, const float *trained,
                         const dns_labelled_rows *training, const float *measured, size_t width,
                         const dns_labelled_rows *rows, const bool *held)
{
    const size_t k = rows->n_labels;
    dns_status status = DNS_OK;
    float *p = NULL, *thresholds = NULL;
    DNS_TRY(dns_alloc(&thresholds, k, sizeof *thresholds));
    DNS_TRY(dns_alloc(&p, (training->n > rows->n ? training->n : rows->n) * k, sizeof *p));
    if (rows->task == DNS_LABEL_TAGS) {
        DNS_TRY(dns_classifier_predict(p, network, trained, training->n, NULL));
        DNS_TRY(dns_tag_thresholds(thresholds, p, training->y, training->labelled, training->n, k));
    }
    for (size_t i = 0; i < rows->n; i++) {
        if (!held[i])
            continue;
        DNS_TRY(dns_classifier_predict(p, network, measured + i * width, 1, NULL));
        give(given + i * k, p, thresholds, rows->task, k);
    }
out:
    dns_free(p);
    dns_free(thresholds);
    return status;
}

static dns_status answer_of_teacher(const struct run *run, size_t seed, const dns_cpfd *cpfd,
                                    const dns_labelled_rows *training, const bool *held)
{
    dns_status status = DNS_OK;
    float *trained = NULL, *measured = NULL;
    size_t width;
    DNS_TRY(dns_cpfd_teacher_input(&trained, &width, training));
    DNS_TRY(dns_cpfd_teacher_input(&measured, &width, run->measured));
    DNS_TRY(answer(given_at(run, seed, DNS_COMPARED_TEACHER), dns_cpfd_teacher(cpfd), trained,
                   training, measured, width, run->measured, held));
out:
    dns_free(measured);
    dns_free(trained);
    return status;
}

/* Everything is trained on `training` and answers for the rows that are held out. */
static dns_status try_methods(const struct run *run, size_t seed, const dns_labelled_rows *training,
                              const bool *held)
{
    const dns_comparison_options *o = run->options;
    dns_status status = DNS_OK;
    dns_cpfd *cpfd = NULL;
    dns_classifier *student = NULL;
    dns_cpfd_options teachers = o->teachers;
    dns_classifier_plan students = o->students;
    dns_cpfd_student_options how = o->how;
    teachers.progress = NULL;
    teachers.teacher.seed = students.seed = o->first_seed + seed;
    DNS_TRY(dns_cpfd_create(&cpfd, training, &teachers, NULL));
    for (size_t method = 0; method < run->n_methods; method++) {
        how.method = (dns_cpfd_method)method;
        DNS_TRY(dns_cpfd_student(&student, cpfd, &how, &students));
        DNS_TRY(answer(given_at(run, seed, method), student, training->x, training,
                       run->measured->x, training->dim, run->measured, held));
        dns_classifier_free(student);
        student = NULL;
    }
    if (run->teacher)
        DNS_TRY(answer_of_teacher(run, seed, cpfd, training, held));
out:
    dns_classifier_free(student);
    dns_cpfd_free(cpfd);
    return status;
}

/* Task (seed, fold). */
static dns_status trial(void *payload, size_t task, size_t worker)
{
    (void)worker;
    struct run *run = payload;
    const size_t seed = task / run->n_folds, fold = task % run->n_folds;
    const dns_progress *progress = run->options->progress;
    dns_status status = DNS_OK;
    dns_row_file *training = NULL;
    bool *held = NULL, *kept = NULL;
    DNS_TRY(dns_alloc(&held, run->measured->n, sizeof *held));
    DNS_TRY(dns_alloc(&kept, run->rows->n, sizeof *kept));
    for (size_t i = 0; i < run->measured->n; i++)
        held[i] = run->measured->labelled[i] != 0 &&
                  (run->folds == NULL || run->folds[seed * run->rows->n + i] == fold);
    for (size_t i = 0; i < run->rows->n; i++)
        kept[i] = run->folds == NULL || !held[i];
    DNS_TRY(dns_row_file_select(&training, run->rows, kept));
    DNS_TRY(try_methods(run, seed, dns_row_file_rows(training), held));
    pthread_mutex_lock(&run->lock);
    run->n_done++;
    if (progress != NULL)
        progress->report(progress->payload, run->n_done, run->options->n_seeds * run->n_folds,
                         "trials");
    pthread_mutex_unlock(&run->lock);
out:
    dns_row_file_free(training);
    dns_free(kept);
    dns_free(held);
    return status;
}

/* ---- figures ---- */

/* Macro F1 over rows counted `times` each (NULL: once), as dns_classification_measure has it. */
static double macro_f1(const uint8_t *given, const dns_labelled_rows *rows, const size_t *times)
{
    const size_t k = rows->n_labels;
    double sum = 0;
    size_t n_seen = 0;
    for (size_t j = 0; j < k; j++) {
        size_t both = 0, either = 0;
        for (size_t i = 0; i < rows->n; i++) {
            const size_t count = rows->labelled[i] == 0 ? 0 : times != NULL ? times[i] : 1;
            const bool is = rows->y[i * k + j] == 1, was = given[i * k + j] != 0;
            both += is && was ? count : 0;
            either += (is + (size_t)was) * count;
        }
        n_seen += either > 0;
        sum += either > 0 ? 2 * (double)both / (double)either : 0;
    }
    return n_seen > 0 ? sum / (double)n_seen : 0;
}

static dns_interval difference(const dns_compared_method *a, const dns_compared_method *b,
                               double *scratch, size_t n)
{
    for (size_t i = 0; i < n; i++)
        scratch[i] = a->macro_f1[i] - b->macro_f1[i];
    return dns_student_mean(scratch, n);
}

static double share(double part, double whole)
{
    return whole >= 0.005 ? part / whole : NAN;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static dns_interval percentiles(double mean, double *values, size_t n)
{
    if (n == 0)
        return (dns_interval){mean, NAN, NAN};
    qsort(values, n, sizeof *values, ascending);
    return (dns_interval){mean, values[(size_t)(0.025 * (double)(n - 1) + 0.5)],
                          values[(size_t)(0.975 * (double)(n - 1) + 0.5)]};
}

/* times [n] = how often each row was drawn, rows of a group together. */
static void draw_rows(size_t *times, const dns_labelled_rows *rows, const size_t *leader,
                      const size_t *leaders, size_t n_leaders, dns_random *random)
{
    memset(times, 0, rows->n * sizeof *times);
    for (size_t i = 0; i < n_leaders; i++)
        times[leaders[dns_random_below(random, n_leaders)]]++;
    for (size_t i = 0; i < rows->n; i++)
        times[i] = times[leader[i]];
}

/* Differences of the means over seeds, under resampled rows. */
static dns_status bootstrap(dns_method_comparison *out, const struct run *run)
{
    const dns_labelled_rows *rows = run->measured;
    const size_t n_rounds = run->options->bootstrap_rounds, n_seeds = out->n_seeds;
    dns_status status = DNS_OK;
    size_t *leader = NULL, *leaders = NULL, *times = NULL, n_leaders = 0, n_groups;
    double *to_base = NULL, *to_pfd = NULL;
    DNS_TRY(dns_alloc(&leader, rows->n, sizeof *leader));
    DNS_TRY(dns_alloc(&leaders, rows->n, sizeof *leaders));
    DNS_TRY(dns_alloc(&times, rows->n, sizeof *times));
    DNS_TRY(dns_alloc(&to_base, DNS_COMPARED * n_rounds, sizeof *to_base));
    DNS_TRY(dns_alloc(&to_pfd, DNS_COMPARED * n_rounds, sizeof *to_pfd));
    DNS_TRY(dns_labelled_rows_leaders(leader, &n_groups, rows));
    for (size_t i = 0; i < rows->n; i++)
        if (rows->labelled[i] != 0 && leader[i] == i)
            leaders[n_leaders++] = i;
    for (size_t round = 0; round < n_rounds; round++) {
        dns_random random = dns_random_stream(run->options->first_seed, FOLD_STREAM + round);
        double means[DNS_COMPARED] = {0};
        draw_rows(times, rows, leader, leaders, n_leaders, &random);
        for (size_t m = 0; m < DNS_COMPARED; m++)
            for (size_t seed = 0; out->methods[m].measured && seed < n_seeds; seed++)
                means[m] += macro_f1(given_at(run, seed, m), rows, times) / (double)n_seeds;
        for (size_t m = 0; m < DNS_COMPARED; m++) {
            to_base[m * n_rounds + round] = means[m] - means[BASE];
            to_pfd[m * n_rounds + round] = means[m] - means[PFD];
        }
    }
    for (size_t m = 0; m < DNS_COMPARED; m++) {
        dns_compared_method *method = &out->methods[m];
        method->to_base_rows = percentiles(method->to_base.mean, to_base + m * n_rounds, n_rounds);
        method->to_pfd_rows = percentiles(method->to_pfd.mean, to_pfd + m * n_rounds, n_rounds);
    }
out:
    dns_free(to_pfd);
    dns_free(to_base);
    dns_free(times);
    dns_free(leaders);
    dns_free(leader);
    return status;
}

static dns_status summarise(dns_method_comparison *out, const struct run *run)
{
    const size_t n = run->options->n_seeds;
    dns_status status = DNS_OK;
    double *scratch = NULL;
    out->n_seeds = n;
    for (size_t i = 0; i < run->measured->n; i++)
        out->n_rows += run->measured->labelled[i] != 0;
    DNS_TRY(dns_alloc(&scratch, n, sizeof *scratch));
    DNS_TRY(dns_alloc(&out->storage, DNS_COMPARED * n, sizeof *out->storage));
    for (size_t m = 0; m < DNS_COMPARED; m++) {
        dns_compared_method *method = &out->methods[m];
        method->measured = m < run->n_methods || (m == DNS_COMPARED_TEACHER && run->teacher);
        method->macro_f1 = out->storage + m * n;
        for (size_t seed = 0; method->measured && seed < n; seed++)
            method->macro_f1[seed] = macro_f1(given_at(run, seed, m), run->measured, NULL);
        method->mean = dns_student_mean(method->macro_f1, n);
    }
    for (size_t m = 0; m < DNS_COMPARED; m++) {
        dns_compared_method *method = &out->methods[m];
        method->to_base = difference(method, &out->methods[BASE], scratch, n);
        method->to_pfd = difference(method, &out->methods[PFD], scratch, n);
    }
    DNS_TRY(bootstrap(out, run));
    const double base = out->methods[BASE].mean.mean, pfd = out->methods[PFD].mean.mean;
    const double cpfd = out->methods[CPFD].mean.mean;
    const double teacher = run->teacher ? out->methods[DNS_COMPARED_TEACHER].mean.mean : -INFINITY;
    out->closed_pfd = share(pfd - base, teacher - base);
    out->closed_cpfd = share(cpfd - base, teacher - base);
    out->removed = share(cpfd - pfd, teacher - pfd);
out:
    dns_free(scratch);
    return status;
}

static bool same_blocks(const dns_labelled_rows *a, const dns_labelled_rows *b)
{
    bool same = a->n_blocks == b->n_blocks;
    for (size_t i = 0; same && i < a->n_blocks; i++)
        same = a->block_sizes[i] == b->block_sizes[i];
    return same;
}

dns_status dns_method_comparison_run(dns_method_comparison *out, const dns_labelled_rows *rows,
                                     const dns_labelled_rows *validation,
                                     const dns_comparison_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct run run = {.rows = rows,
                      .validation = validation,
                      .measured = validation != NULL ? validation : rows,
                      .options = options,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .n_folds = validation != NULL ? 1 : options->folds,
                      .n_methods = rows->n_blocks > 0 ? DNS_COMPARED_TEACHER : PFD};
    *out = (dns_method_comparison){0};
    DNS_TRY(dns_labelled_rows_check(rows));
    if (options->n_seeds == 0)
        DNS_FAIL(DNS_ERR_ARG, "comparison of methods over 0 seeds");
    if (validation != NULL &&
        (validation->dim != rows->dim || validation->n_labels != rows->n_labels))
        DNS_FAIL(DNS_ERR_SHAPE, "validation rows of %zu features and %zu labels, not %zu and %zu",
                 validation->dim, validation->n_labels, rows->dim, rows->n_labels);
    run.teacher = rows->n_blocks > 0 && same_blocks(rows, run.measured);
    DNS_TRY(
        dns_alloc(&run.given, options->n_seeds * DNS_COMPARED, run.measured->n * rows->n_labels));
    if (validation == NULL) {
        DNS_TRY(dns_alloc(&run.folds, options->n_seeds * rows->n, sizeof *run.folds));
        for (size_t seed = 0; seed < options->n_seeds; seed++)
            DNS_TRY(dns_labelled_rows_deal(run.folds + seed * rows->n, rows, options->folds,
                                           ~(options->first_seed + seed)));
    }
    DNS_TRY(dns_pool_run(pool, options->n_seeds * run.n_folds, trial, &run));
    DNS_TRY(summarise(out, &run));
out:
    dns_free(run.folds);
    dns_free(run.given);
    if (status != DNS_OK)
        dns_method_comparison_free(out);
    return status;
}

void dns_method_comparison_free(dns_method_comparison *comparison)
{
    dns_free(comparison->storage);
    *comparison = (dns_method_comparison){0};
}
