#include "dnsel/priv_s.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "dnsel/classification.h"
#include "dnsel/cpfd.h"
#include "dnsel/memory.h"
#include "dnsel/metrics.h"
#include "dnsel/random.h"

enum {
    K = 8,
    X = 32,
    Z = 16,
    MODES = 2,
    N_LABELLED = 400,
    N_UNLABELLED = 3000,
    N_TRAINING = N_LABELLED + N_UNLABELLED,
    N_TEST = 4000
};

static const double unreliable = 0.4, label_noise = 0.1, prior_ratio = 0.8, z_noise = 0.5,
                    centre_norm = 3;

/* ---- the world ---- */

struct world {
    double x[K][MODES][X], z[K][Z];
};

static void draw_centre(double *centre, size_t dim, dns_random *random)
{
    double squares = 0;
    for (size_t j = 0; j < dim; j++) {
        centre[j] = dns_random_normal(random);
        squares += centre[j] * centre[j];
    }
    for (size_t j = 0; j < dim; j++)
        centre[j] *= centre_norm / sqrt(squares);
}

static void make_world(struct world *w, uint64_t seed)
{
    dns_random random = dns_random_seed(10000 + seed);
    for (size_t k = 0; k < K; k++)
        for (size_t m = 0; m < MODES; m++)
            draw_centre(w->x[k][m], X, &random);
    for (size_t k = 0; k < K; k++)
        draw_centre(w->z[k], Z, &random);
}

static size_t draw_class(dns_random *random)
{
    double total = 0, weight = 1;
    for (size_t k = 0; k < K; k++, weight *= prior_ratio)
        total += weight;
    double left = dns_random_uniform(random) * total;
    size_t k = 0;
    for (weight = 1; k + 1 < K && left >= weight; weight *= prior_ratio, k++)
        left -= weight;
    return k;
}

static size_t another_class(size_t y, dns_random *random)
{
    return (y + 1 + (size_t)dns_random_below(random, K - 1)) % K;
}

static void spoil(float *z, const struct world *w, size_t y, dns_priv_s_kind kind,
                  dns_random *random)
{
    if (kind == DNS_PRIV_S_MIXED) {
        double share = dns_random_uniform(random);
        kind = share < 0.5    ? DNS_PRIV_S_MISSING
               : share < 0.75 ? DNS_PRIV_S_NOISE
                              : DNS_PRIV_S_MISLEAD;
    }
    size_t lie = kind == DNS_PRIV_S_MISLEAD ? another_class(y, random) : y;
    const double spread = sqrt(z_noise * z_noise + centre_norm * centre_norm / Z);
    for (size_t j = 0; j < Z; j++)
        z[j] = kind == DNS_PRIV_S_MISSING ? 0
               : kind == DNS_PRIV_S_NOISE
                   ? (float)(spread * dns_random_normal(random))
                   : (float)(w->z[lie][j] + z_noise * dns_random_normal(random));
}

/* Rows of one stream of random numbers; *y is the true class. */
static void draw_rows(float *x, float *z, float *y, size_t n, const struct world *w,
                      dns_priv_s_kind kind, double rho, double noise, uint64_t seed)
{
    dns_random random = dns_random_seed(seed);
    for (size_t i = 0; i < n; i++) {
        size_t label = draw_class(&random), mode = (size_t)dns_random_below(&random, MODES);
        for (size_t j = 0; j < X; j++)
            x[i * X + j] = (float)(w->x[label][mode][j] + dns_random_normal(&random));
        for (size_t j = 0; j < Z; j++)
            z[i * Z + j] = (float)(w->z[label][j] + z_noise * dns_random_normal(&random));
        if (dns_random_uniform(&random) < rho)
            spoil(z + i * Z, w, label, kind, &random);
        if (dns_random_uniform(&random) < noise)
            label = another_class(label, &random);
        y[i * K + label] = 1;
    }
}

/* All rows of a seed: labelled, unlabelled, test. */
struct sets {
    float *x, *z, *y;
    uint8_t *labelled;
    dns_labelled_rows training, test;
};

static dns_status make_sets(struct sets *s, dns_priv_s_kind kind, double rho, uint64_t seed)
{
    static const char *const labels[K] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    static const size_t block_sizes[] = {Z};
    dns_status status = DNS_OK;
    const size_t n = N_TRAINING + N_TEST;
    struct world w;
    make_world(&w, seed);
    DNS_TRY(dns_alloc(&s->x, n * X, sizeof *s->x));
    DNS_TRY(dns_alloc(&s->z, n * Z, sizeof *s->z));
    DNS_TRY(dns_alloc(&s->y, n * K, sizeof *s->y));
    DNS_TRY(dns_alloc(&s->labelled, n, sizeof *s->labelled));
    const struct {
        size_t first, n;
        double noise;
        uint64_t seed;
    } parts[] = {{0, N_LABELLED, label_noise, 7 * seed + 1},
                 {N_LABELLED, N_UNLABELLED, 0, 7 * seed + 3},
                 {N_TRAINING, N_TEST, 0, 7 * seed + 2}};
    for (size_t i = 0; i < 3; i++)
        draw_rows(s->x + parts[i].first * X, s->z + parts[i].first * Z, s->y + parts[i].first * K,
                  parts[i].n, &w, kind, rho, parts[i].noise, parts[i].seed);
    for (size_t i = 0; i < n; i++)
        s->labelled[i] = i < N_LABELLED || i >= N_TRAINING;
    s->training = (dns_labelled_rows){.task = DNS_LABEL_CLASS,
                                      .n = N_TRAINING,
                                      .dim = X,
                                      .n_labels = K,
                                      .x = s->x,
                                      .y = s->y,
                                      .labelled = s->labelled,
                                      .labels = labels,
                                      .n_blocks = 1,
                                      .block_sizes = block_sizes,
                                      .privileged = s->z};
    s->test = s->training;
    s->test.n = N_TEST;
    s->test.x = s->x + N_TRAINING * X;
    s->test.y = s->y + N_TRAINING * K;
    s->test.labelled = s->labelled + N_TRAINING;
    s->test.privileged = s->z + N_TRAINING * Z;
out:
    return status;
}

static void free_sets(struct sets *s)
{
    dns_free(s->x);
    dns_free(s->z);
    dns_free(s->y);
    dns_free(s->labelled);
}

/* ---- what is trained ---- */

/* Students by method; where there are several, the one with the best mean over seeds counts. */
static const struct candidate {
    int method;
    dns_cpfd_student_options how;
} candidates[] = {
#define CONFIDENT(kind, power) .how = {DNS_CPFD_CPFD, {kind, 0.9}, 1, power, 1, false}
#define EVEN(m, a)                                                                       \
    {                                                                                    \
        (m),                                                                             \
        {                                                                                \
            (m) == DNS_PRIV_S_SELF ? DNS_CPFD_SELF : DNS_CPFD_PFD, {0}, (a), 0, 1, false \
        }                                                                                \
    }
    {DNS_PRIV_S_BASE, {DNS_CPFD_BASE, {0}, 0, 0, 1, false}},
    EVEN(DNS_PRIV_S_PFD, 0.3),
    EVEN(DNS_PRIV_S_PFD, 0.5),
    EVEN(DNS_PRIV_S_PFD, 0.7),
    EVEN(DNS_PRIV_S_PFD, 0.9),
    EVEN(DNS_PRIV_S_PFD, 1),
    {DNS_PRIV_S_CPFD, CONFIDENT(DNS_CONFIDENCE_ENTROPY, 2)},
    EVEN(DNS_PRIV_S_SELF, 0.3),
    EVEN(DNS_PRIV_S_SELF, 0.5),
    EVEN(DNS_PRIV_S_SELF, 0.7),
    EVEN(DNS_PRIV_S_SELF, 0.9),
    EVEN(DNS_PRIV_S_SELF, 1),
    {DNS_PRIV_S_MAX, CONFIDENT(DNS_CONFIDENCE_MAX, 4)},
    {DNS_PRIV_S_MARGIN, CONFIDENT(DNS_CONFIDENCE_MARGIN, 2)},
    {DNS_PRIV_S_GATE, CONFIDENT(DNS_CONFIDENCE_GATE, 1)},
    {DNS_PRIV_S_LABEL, CONFIDENT(DNS_CONFIDENCE_LABEL, 2)},
    {DNS_PRIV_S_SHUFFLED, {DNS_CPFD_CPFD, {DNS_CONFIDENCE_ENTROPY, 0}, 1, 2, 1, true}},
#undef CONFIDENT
#undef EVEN
};

enum {
    N_CANDIDATES = sizeof candidates / sizeof *candidates,
    N_CONTROL = 7, /* of them, from the first: what the control without failures trains */
    LONG_BASE = N_CANDIDATES,
    TEACHER,
    N_FIGURES
};

static const dns_classifier_plan student_plan = {
    .hidden = 64, .epochs = 25, .batch = 64, .rate = 2e-3, .weight_decay = 1e-2};
static const dns_classifier_plan teacher_plan = {
    .hidden = 64, .epochs = 100, .batch = 32, .rate = 2e-3, .weight_decay = 1e-2};

struct run {
    const dns_priv_s_options *options;
    size_t n_seeds;
    double *figures; /* [2][n_seeds][N_FIGURES] macro F1; the second half is the control */
    double *auroc, *accuracy, *seconds; /* [n_seeds]; seconds of all students */
};

static dns_status measure(double *macro_f1, const dns_classifier *network, const float *input,
                          const dns_labelled_rows *test)
{
    dns_status status = DNS_OK;
    float *p = NULL;
    dns_classification figures = {0};
    DNS_TRY(dns_alloc(&p, test->n * K, sizeof *p));
    DNS_TRY(dns_classifier_predict(p, network, input, test->n, NULL));
    DNS_TRY(dns_classification_measure(&figures, p, test->y, test->labelled, NULL, test->task,
                                       test->n, K));
    *macro_f1 = figures.macro_f1;
out:
    dns_classification_free(&figures);
    dns_free(p);
    return status;
}

/* Labels alone with the schedule of the teacher, which is longer and sees labelled rows only. */
static dns_status measure_long_base(double *macro_f1, const struct sets *s, uint64_t seed)
{
    dns_status status = DNS_OK;
    float ones[N_LABELLED];
    dns_classifier *network = NULL;
    dns_classifier_plan plan = teacher_plan;
    plan.seed = seed;
    for (size_t i = 0; i < N_LABELLED; i++)
        ones[i] = 1;
    const dns_classifier_shape shape = {DNS_LABEL_CLASS, X, K, s->training.labels, NULL};
    const dns_soft_targets targets = {s->y, ones, 1};
    DNS_TRY(dns_classifier_train(&network, &shape, &plan, s->x, N_LABELLED, NULL, &targets, 1));
    DNS_TRY(measure(macro_f1, network, s->test.x, &s->test));
out:
    dns_classifier_free(network);
    return status;
}

static dns_status measure_teacher(double *macro_f1, const dns_cpfd *cpfd, const struct sets *s)
{
    float *input = NULL;
    size_t width;
    dns_status status = dns_cpfd_teacher_input(&input, &width, &s->test);
    if (status == DNS_OK)
        status = measure(macro_f1, dns_cpfd_teacher(cpfd), input, &s->test);
    dns_free(input);
    return status;
}

static dns_status diagnose(struct run *run, size_t number, const dns_cpfd *cpfd)
{
    dns_teacher_diagnosis d;
    const dns_confidence entropy = {DNS_CONFIDENCE_ENTROPY, 0};
    dns_status status = dns_cpfd_diagnose(&d, cpfd, &entropy);
    if (status != DNS_OK)
        return status;
    run->auroc[number] = d.auroc;
    run->accuracy[number] = d.accuracy;
    dns_teacher_diagnosis_free(&d);
    return DNS_OK;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Task (control or not, seed). */
static dns_status run_seed(void *payload, size_t task, size_t worker)
{
    (void)worker;
    struct run *run = payload;
    const bool control = task >= run->n_seeds;
    const size_t number = task % run->n_seeds;
    const uint64_t seed = run->options->first_seed + number;
    double *figures = run->figures + task * N_FIGURES;
    dns_status status = DNS_OK;
    struct sets s = {0};
    dns_cpfd *cpfd = NULL;
    dns_classifier *student = NULL;
    dns_cpfd_options options = {.folds = 5, .teacher = teacher_plan};
    dns_classifier_plan plan = student_plan;
    options.teacher.seed = plan.seed = seed;
    DNS_TRY(make_sets(&s, run->options->kind, control ? 0 : unreliable, seed));
    DNS_TRY(dns_cpfd_create(&cpfd, &s.training, &options, NULL));
    for (size_t i = 0; i < (control ? N_CONTROL : N_CANDIDATES); i++) {
        double start = seconds_now();
        DNS_TRY(dns_cpfd_student(&student, cpfd, &candidates[i].how, &plan));
        if (!control)
            run->seconds[number] += seconds_now() - start;
        DNS_TRY(measure(&figures[i], student, s.test.x, &s.test));
        dns_classifier_free(student);
        student = NULL;
    }
    if (control)
        goto out;
    DNS_TRY(measure_long_base(&figures[LONG_BASE], &s, seed));
    DNS_TRY(measure_teacher(&figures[TEACHER], cpfd, &s));
    DNS_TRY(diagnose(run, number, cpfd));
out:
    dns_classifier_free(student);
    dns_cpfd_free(cpfd);
    free_sets(&s);
    return status;
}

/* ---- the report ---- */

static double mean_of(const double *values, size_t n, size_t stride)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i * stride];
    return sum / (double)n;
}

static int method_of(size_t figure)
{
    return figure == LONG_BASE ? DNS_PRIV_S_BASE
           : figure == TEACHER ? DNS_PRIV_S_TEACHER
                               : candidates[figure].method;
}

/* The figure of a method with the largest mean. */
static size_t best_figure(const double *figures, size_t n_seeds, size_t n_figures, int method)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < n_figures; i++)
        if (method_of(i) == method &&
            (best == SIZE_MAX || mean_of(figures + i, n_seeds, N_FIGURES) >
                                     mean_of(figures + best, n_seeds, N_FIGURES)))
            best = i;
    return best;
}

static double deviation_of(const double *values, size_t n)
{
    double mean = mean_of(values, n, 1), squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    return n > 1 ? sqrt(squares / (double)(n - 1)) : NAN;
}

static dns_status compare(dns_priv_s_method *m, const dns_priv_s_method *pfd, size_t n)
{
    double *differences = NULL;
    dns_status status = dns_alloc(&differences, n, sizeof *differences);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++) {
        differences[i] = m->macro_f1[i] - pfd->macro_f1[i];
        m->n_wins += differences[i] > 0;
    }
    const dns_interval interval = dns_student_mean(differences, n);
    m->difference = interval.mean;
    m->low = interval.low;
    m->high = interval.high;
    dns_free(differences);
    return DNS_OK;
}

static double share(double part, double whole)
{
    return whole >= 0.005 ? part / whole : NAN;
}

static void judge(dns_priv_s_report *r)
{
    const dns_priv_s_method *m = r->methods;
    const double base = m[DNS_PRIV_S_BASE].mean, pfd = m[DNS_PRIV_S_PFD].mean;
    const double cpfd = m[DNS_PRIV_S_CPFD].mean, teacher = m[DNS_PRIV_S_TEACHER].mean;
    r->closed_pfd = share(pfd - base, teacher - base);
    r->closed_cpfd = share(cpfd - base, teacher - base);
    r->removed = share(cpfd - pfd, teacher - pfd);
    const dns_priv_s_gate gates[DNS_PRIV_S_GATES] = {
        {"PFD - base", 100 * (pfd - base), 3, pfd - base >= 0.03},
        {"CPFD - PFD, on four seeds of five", 100 * (cpfd - pfd), 1,
         cpfd - pfd >= 0.01 && 5 * m[DNS_PRIV_S_CPFD].n_wins >= 4 * r->n_seeds},
        {"PFD - SelfKD", 100 * (pfd - m[DNS_PRIV_S_SELF].mean), 3,
         pfd - m[DNS_PRIV_S_SELF].mean >= 0.03},
        {"CPFD - shuffled confidence", 100 * (cpfd - m[DNS_PRIV_S_SHUFFLED].mean), 1,
         cpfd - m[DNS_PRIV_S_SHUFFLED].mean >= 0.01},
        {"teacher - CPFD", 100 * (teacher - cpfd), 0, teacher > cpfd},
        {"|CPFD - PFD| without failures, at most", fabs(r->without_failures), 1.5,
         fabs(r->without_failures) <= 1.5},
    };
    r->n_gates = r->kind == DNS_PRIV_S_MISSING ? DNS_PRIV_S_GATES : 0;
    r->passed = true;
    for (size_t i = 0; i < r->n_gates; i++) {
        r->gates[i] = gates[i];
        r->passed = r->passed && gates[i].passed;
    }
}

static dns_status summarise(dns_priv_s_report *r, const struct run *run)
{
    static const char *const names[DNS_PRIV_S_METHODS] = {
        "base",        "SelfKD",        "PFD",        "CPFD",          "CPFD max",
        "CPFD margin", "CPFD gate 0.9", "CPFD label", "CPFD shuffled", "teacher"};
    dns_status status = DNS_OK;
    const size_t n = run->n_seeds;
    DNS_TRY(dns_alloc(&r->storage, n * DNS_PRIV_S_METHODS, sizeof *r->storage));
    for (int method = 0; method < DNS_PRIV_S_METHODS; method++) {
        dns_priv_s_method *m = &r->methods[method];
        const size_t best = best_figure(run->figures, n, N_FIGURES, method);
        m->name = names[method];
        m->macro_f1 = r->storage + (size_t)method * n;
        for (size_t i = 0; i < n; i++)
            m->macro_f1[i] = run->figures[i * N_FIGURES + best];
        m->mean = mean_of(m->macro_f1, n, 1);
        m->deviation = deviation_of(m->macro_f1, n);
        if (method == DNS_PRIV_S_PFD)
            r->pfd_alpha = candidates[best].how.alpha;
    }
    for (int method = 0; method < DNS_PRIV_S_METHODS; method++)
        DNS_TRY(compare(&r->methods[method], &r->methods[DNS_PRIV_S_PFD], n));
    const double *control = run->figures + n * N_FIGURES;
    const size_t pfd = best_figure(control, n, N_CONTROL, DNS_PRIV_S_PFD);
    const size_t cpfd = best_figure(control, n, N_CONTROL, DNS_PRIV_S_CPFD);
    r->without_failures =
        100 * (mean_of(control + cpfd, n, N_FIGURES) - mean_of(control + pfd, n, N_FIGURES));
    r->auroc = mean_of(run->auroc, n, 1);
    r->teacher_accuracy = mean_of(run->accuracy, n, 1);
    r->students_per_second = N_CANDIDATES / mean_of(run->seconds, n, 1);
    judge(r);
out:
    return status;
}

const char *dns_priv_s_kind_name(dns_priv_s_kind kind)
{
    static const char *const names[] = {"missing", "noise", "mislead", "mixed"};
    return names[kind];
}

dns_status dns_priv_s_run(dns_priv_s_report *out, const dns_priv_s_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct run run = {.options = options};
    double *per_seed = NULL;
    *out = (dns_priv_s_report){.kind = options->kind, .first_seed = options->first_seed};
    if (options->last_seed < options->first_seed ||
        options->last_seed - options->first_seed >= 1000)
        DNS_FAIL(DNS_ERR_ARG, "seeds %llu to %llu: wanted are 1 to 1000",
                 (unsigned long long)options->first_seed, (unsigned long long)options->last_seed);
    out->n_seeds = run.n_seeds = (size_t)(options->last_seed - options->first_seed) + 1;
    DNS_TRY(dns_alloc(&run.figures, 2 * run.n_seeds * N_FIGURES, sizeof *run.figures));
    DNS_TRY(dns_alloc(&per_seed, 3 * run.n_seeds, sizeof *per_seed));
    run.auroc = per_seed;
    run.accuracy = per_seed + run.n_seeds;
    run.seconds = per_seed + 2 * run.n_seeds;
    DNS_TRY(dns_pool_run(pool, 2 * run.n_seeds, run_seed, &run));
    DNS_TRY(summarise(out, &run));
out:
    dns_free(per_seed);
    dns_free(run.figures);
    if (status != DNS_OK)
        dns_priv_s_report_free(out);
    return status;
}

void dns_priv_s_report_free(dns_priv_s_report *report)
{
    dns_free(report->storage);
    *report = (dns_priv_s_report){0};
}
