#include "dnsel/cpfd.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/classification.h"
#include "dnsel/memory.h"
#include "dnsel/random.h"

/* Streams of random numbers that a seed is split into. */
enum { SHUFFLE_STREAM = 1001, TEACHER_STREAM = 2000 };

static size_t weights_per_row(const dns_labelled_rows *rows)
{
    return rows->task == DNS_LABEL_TAGS ? rows->n_labels : 1;
}

/* ---- confidence ---- */

dns_status dns_confidence_parse(dns_confidence *out, const char *text)
{
    static const char *const names[] = {"entropy", "max", "margin", "label"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (dns_confidence){(dns_confidence_kind)i, 0};
            return DNS_OK;
        }
    char *end;
    if (strncmp(text, "gate:", 5) == 0) {
        double threshold = strtod(text + 5, &end);
        if (end != text + 5 && *end == '\0' && threshold >= 0 && threshold < 1) {
            *out = (dns_confidence){DNS_CONFIDENCE_GATE, threshold};
            return DNS_OK;
        }
    }
    return dns_status_set(DNS_ERR_ARG,
                          "confidence '%s': entropy, max, margin, label or gate:T with T in [0, 1)",
                          text);
}

static double confidence_of(const dns_confidence *how, const float *p, size_t k, double p_label)
{
    double first = 0, second = 0, entropy = 0;
    for (size_t j = 0; j < k; j++) {
        double value = (double)p[j];
        second = value > first ? first : fmax(second, value);
        first = fmax(first, value);
        entropy -= value > 0 ? value * log(value) : 0;
    }
    double c = first;
    if (how->kind == DNS_CONFIDENCE_ENTROPY)
        c = 1 - entropy / log((double)k);
    else if (how->kind == DNS_CONFIDENCE_MARGIN)
        c = first - second;
    else if (how->kind == DNS_CONFIDENCE_LABEL)
        c = p_label >= 0 ? p_label : first;
    else if (how->kind == DNS_CONFIDENCE_GATE)
        c = first > how->threshold;
    return fmin(fmax(c, 0), 1);
}

void dns_confidence_measure(float *c, const dns_confidence *how, const float *p, const float *y,
                            const uint8_t *labelled, dns_label_task task, size_t n, size_t n_labels)
{
    const bool asks = how->kind == DNS_CONFIDENCE_LABEL;
    for (size_t i = 0; i < n; i++) {
        const float *row = p + i * n_labels;
        const bool known = asks && labelled[i] != 0;
        if (task == DNS_LABEL_TAGS) {
            for (size_t j = 0; j < n_labels; j++) {
                const float both[] = {row[j], 1 - row[j]};
                size_t label = known && y[i * n_labels + j] < 0.5F;
                c[i * n_labels + j] =
                    (float)confidence_of(how, both, 2, known ? (double)both[label] : -1);
            }
            continue;
        }
        double p_label = known ? 0 : -1;
        for (size_t j = 0; known && j < n_labels; j++)
            p_label += (double)(y[i * n_labels + j] * row[j]);
        c[i] = (float)confidence_of(how, row, n_labels, p_label);
    }
}

/* ---- teachers ---- */

struct teacher {
    float *input; /* [n, width] */
    size_t width;
    float *logits;            /* [n, n_labels], of networks that had not seen the row's label */
    dns_classifier *complete; /* trained on all labelled rows */
};

enum { PLAIN, PRIVILEGED, N_TEACHERS };

struct dns_cpfd {
    dns_labelled_rows rows;
    dns_cpfd_options options;
    size_t *folds; /* [n] */
    struct teacher teachers[N_TEACHERS];
    size_t n_teachers;    /* 1 without privileged blocks */
    pthread_mutex_t lock; /* of what follows, and of reporting */
    size_t n_done;        /* networks */
};

dns_status dns_cpfd_teacher_input(float **out, size_t *width, const dns_labelled_rows *rows)
{
    const size_t privileged = dns_labelled_rows_privileged(rows);
    const size_t bits = rows->present != NULL ? rows->n_blocks : 0;
    *width = rows->dim + privileged + bits;
    dns_status status = dns_alloc(out, rows->n * *width, sizeof **out);
    for (size_t i = 0; status == DNS_OK && i < rows->n; i++) {
        float *to = *out + i * *width;
        memcpy(to, rows->x + i * rows->dim, rows->dim * sizeof *to);
        to += rows->dim;
        const float *from = privileged > 0 ? rows->privileged + i * privileged : NULL;
        for (size_t b = 0; b < rows->n_blocks; b++) {
            bool there = bits == 0 || rows->present[i * rows->n_blocks + b] != 0;
            for (size_t j = 0; j < rows->block_sizes[b]; j++)
                *to++ = there ? *from++ : (from++, NAN);
        }
        for (size_t b = 0; b < bits; b++)
            *to++ = rows->present[i * rows->n_blocks + b] != 0;
    }
    return status;
}

/* Rows gathered into arrays of their own. */
struct gathered {
    float *x, *y, *weights;
    size_t n;
};

static dns_status gather(struct gathered *g, const dns_cpfd *cpfd, const struct teacher *teacher,
                         size_t left_out)
{
    const dns_labelled_rows *rows = &cpfd->rows;
    const size_t k = rows->n_labels, per_row = weights_per_row(rows);
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&g->x, rows->n * teacher->width, sizeof *g->x));
    DNS_TRY(dns_alloc(&g->y, rows->n * k, sizeof *g->y));
    DNS_TRY(dns_alloc(&g->weights, rows->n * per_row, sizeof *g->weights));
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->labelled[i] == 0 || cpfd->folds[i] == left_out)
            continue;
        memcpy(g->x + g->n * teacher->width, teacher->input + i * teacher->width,
               teacher->width * sizeof *g->x);
        memcpy(g->y + g->n * k, rows->y + i * k, k * sizeof *g->y);
        g->n++;
    }
    for (size_t i = 0; i < g->n * per_row; i++)
        g->weights[i] = 1;
out:
    return status;
}

static void release(struct gathered *g)
{
    dns_free(g->x);
    dns_free(g->y);
    dns_free(g->weights);
}

/* Each row is scored by the network that its label had no part in. */
static dns_status score(const dns_cpfd *cpfd, const struct teacher *teacher,
                        const dns_classifier *network, size_t fold)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < cpfd->rows.n; i++)
        if (cpfd->folds[i] == fold)
            DNS_TRY(dns_classifier_logits(teacher->logits + i * cpfd->rows.n_labels, network,
                                          teacher->input + i * teacher->width, 1, NULL));
out:
    return status;
}

/* Task (teacher, fold); the last fold is the network on all labelled rows. */
static dns_status teach(void *payload, size_t task, size_t worker)
{
    (void)worker;
    dns_cpfd *cpfd = payload;
    const dns_progress *progress = cpfd->options.progress;
    const size_t n_networks = cpfd->options.folds + 1, number = task % n_networks;
    struct teacher *teacher = &cpfd->teachers[task / n_networks];
    const size_t fold = number < cpfd->options.folds ? number : SIZE_MAX;
    dns_status status = DNS_OK;
    struct gathered g = {0};
    dns_classifier *network = NULL;
    dns_classifier_plan plan = cpfd->options.teacher;
    dns_random random = dns_random_stream(plan.seed, TEACHER_STREAM + number);
    plan.seed = dns_random_next(&random);
    const dns_classifier_shape shape = {.task = cpfd->rows.task,
                                        .dim = teacher->width,
                                        .n_labels = cpfd->rows.n_labels,
                                        .labels = cpfd->rows.labels};
    DNS_TRY(gather(&g, cpfd, teacher, fold));
    const dns_soft_targets targets = {g.y, g.weights, 1};
    DNS_TRY(dns_classifier_train(&network, &shape, &plan, g.x, g.n, NULL, &targets, 1));
    DNS_TRY(score(cpfd, teacher, network, fold));
    if (fold == SIZE_MAX) {
        teacher->complete = network;
        network = NULL;
    }
    pthread_mutex_lock(&cpfd->lock);
    cpfd->n_done++;
    if (progress != NULL)
        progress->report(progress->payload, cpfd->n_done, cpfd->n_teachers * n_networks,
                         "teachers");
    pthread_mutex_unlock(&cpfd->lock);
out:
    dns_classifier_free(network);
    release(&g);
    return status;
}

dns_status dns_cpfd_create(dns_cpfd **out, const dns_labelled_rows *rows,
                           const dns_cpfd_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_cpfd *cpfd = NULL;
    *out = NULL;
    DNS_TRY(dns_labelled_rows_check(rows));
    DNS_TRY(dns_alloc(&cpfd, 1, sizeof *cpfd));
    pthread_mutex_init(&cpfd->lock, NULL);
    cpfd->rows = *rows;
    cpfd->options = *options;
    cpfd->n_teachers = rows->n_blocks > 0 ? N_TEACHERS : 1;
    DNS_TRY(dns_alloc(&cpfd->folds, rows->n, sizeof *cpfd->folds));
    DNS_TRY(dns_labelled_rows_deal(cpfd->folds, rows, options->folds, options->teacher.seed));
    for (size_t i = 0; i < cpfd->n_teachers; i++) {
        struct teacher *t = &cpfd->teachers[i];
        dns_labelled_rows shown = *rows;
        if (i == PLAIN) {
            shown.n_blocks = 0;
            shown.present = NULL;
        }
        DNS_TRY(dns_cpfd_teacher_input(&t->input, &t->width, &shown));
        DNS_TRY(dns_alloc(&t->logits, rows->n * rows->n_labels, sizeof *t->logits));
    }
    DNS_TRY(dns_pool_run(pool, cpfd->n_teachers * (options->folds + 1), teach, cpfd));
    *out = cpfd;
    cpfd = NULL;
out:
    dns_cpfd_free(cpfd);
    return status;
}

void dns_cpfd_free(dns_cpfd *cpfd)
{
    if (cpfd == NULL)
        return;
    for (size_t i = 0; i < N_TEACHERS; i++) {
        dns_free(cpfd->teachers[i].input);
        dns_free(cpfd->teachers[i].logits);
        dns_classifier_free(cpfd->teachers[i].complete);
    }
    dns_free(cpfd->folds);
    pthread_mutex_destroy(&cpfd->lock);
    dns_free(cpfd);
}

const float *dns_cpfd_teacher_logits(const dns_cpfd *cpfd, bool privileged)
{
    return cpfd->teachers[privileged && cpfd->n_teachers > 1 ? PRIVILEGED : PLAIN].logits;
}

const size_t *dns_cpfd_folds(const dns_cpfd *cpfd)
{
    return cpfd->folds;
}

const dns_classifier *dns_cpfd_teacher(const dns_cpfd *cpfd)
{
    return cpfd->teachers[PRIVILEGED].complete;
}

/* ---- students ---- */

/* *out = probabilities [n, n_labels] of a teacher. */
static dns_status teacher_probabilities(float **out, const dns_cpfd *cpfd, bool privileged,
                                        double temperature)
{
    const dns_labelled_rows *rows = &cpfd->rows;
    dns_status status = dns_alloc(out, rows->n * rows->n_labels, sizeof **out);
    if (status != DNS_OK)
        return status;
    memcpy(*out, dns_cpfd_teacher_logits(cpfd, privileged),
           rows->n * rows->n_labels * sizeof **out);
    dns_label_probabilities(*out, rows->task, rows->n, rows->n_labels, temperature);
    return DNS_OK;
}

/* The same confidences, each of another row. */
static dns_status shuffle_rows(float *c, size_t n, size_t per_row, uint64_t seed)
{
    dns_status status = DNS_OK;
    float *old = NULL;
    size_t *order = NULL;
    DNS_TRY(dns_alloc(&old, n * per_row, sizeof *old));
    DNS_TRY(dns_alloc(&order, n, sizeof *order));
    memcpy(old, c, n * per_row * sizeof *old);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    dns_random random = dns_random_stream(seed, SHUFFLE_STREAM);
    dns_random_shuffle(&random, order, n);
    for (size_t i = 0; i < n; i++)
        memcpy(c + i * per_row, old + order[i] * per_row, per_row * sizeof *c);
out:
    dns_free(order);
    dns_free(old);
    return status;
}

static dns_status teacher_weights(float *w, const dns_cpfd *cpfd, const float *p,
                                  const dns_cpfd_student_options *how, uint64_t seed)
{
    const dns_labelled_rows *rows = &cpfd->rows;
    const size_t per_row = weights_per_row(rows), count = rows->n * per_row;
    if (how->method != DNS_CPFD_CPFD) {
        for (size_t i = 0; i < count; i++)
            w[i] = how->method == DNS_CPFD_BASE ? 0 : (float)how->alpha;
        return DNS_OK;
    }
    dns_confidence_measure(w, &how->confidence, p, rows->y, rows->labelled, rows->task, rows->n,
                           rows->n_labels);
    for (size_t i = 0; i < count; i++)
        w[i] = (float)(how->alpha * pow((double)w[i], how->gamma));
    return how->shuffled ? shuffle_rows(w, rows->n, per_row, seed) : DNS_OK;
}

void dns_cpfd_fold(float *g, float *weights, const float *w, const float *p,
                   const dns_labelled_rows *rows)
{
    const size_t k = rows->n_labels, per_row = weights_per_row(rows);
    for (size_t i = 0; i < rows->n; i++) {
        for (size_t j = 0; j < k; j++) {
            const size_t at = i * per_row + (per_row > 1 ? j : 0);
            const float hard = rows->labelled[i] != 0 ? 1 - w[at] : 0, sum = hard + w[at];
            const float y = rows->labelled[i] != 0 ? rows->y[i * k + j] : 0;
            weights[at] = sum;
            g[i * k + j] = sum > 0 ? (hard * y + w[at] * p[i * k + j]) / sum : 0;
        }
    }
}

/* At another temperature than 1 the two terms stay apart: hard targets with lab (1 - w), soft ones
 * with w T^2. */
static void separate(float *g, float *weights, float *w, const dns_labelled_rows *rows,
                     double temperature)
{
    const size_t k = rows->n_labels, per_row = weights_per_row(rows);
    for (size_t i = 0; i < rows->n * k; i++)
        g[i] = rows->labelled[i / k] != 0 ? rows->y[i] : 0;
    for (size_t i = 0; i < rows->n * per_row; i++) {
        weights[i] = rows->labelled[i / per_row] != 0 ? 1 - w[i] : 0;
        w[i] *= (float)(temperature * temperature);
    }
}

static dns_status check_student(const dns_cpfd *cpfd, const dns_cpfd_student_options *how)
{
    if (!(how->alpha >= 0 && how->alpha <= 1) || !(how->gamma >= 0 && isfinite(how->gamma)) ||
        !(how->temperature > 0 && isfinite(how->temperature)))
        return dns_status_set(DNS_ERR_ARG,
                              "alpha %g, gamma %g, temperature %g: wanted are 0 to 1, 0 or more, "
                              "more than 0",
                              how->alpha, how->gamma, how->temperature);
    if (how->method >= DNS_CPFD_PFD && cpfd->n_teachers < 2)
        return dns_status_set(DNS_ERR_ARG, "no privileged features: nothing to distil from");
    return DNS_OK;
}

dns_status dns_cpfd_student(dns_classifier **out, const dns_cpfd *cpfd,
                            const dns_cpfd_student_options *how, const dns_classifier_plan *plan)
{
    const dns_labelled_rows *rows = &cpfd->rows;
    dns_status status = DNS_OK;
    float *p = NULL, *w = NULL, *g = NULL, *weights = NULL;
    *out = NULL;
    DNS_TRY(check_student(cpfd, how));
    DNS_TRY(teacher_probabilities(&p, cpfd, how->method >= DNS_CPFD_PFD, how->temperature));
    DNS_TRY(dns_alloc(&w, rows->n * weights_per_row(rows), sizeof *w));
    DNS_TRY(dns_alloc(&weights, rows->n * weights_per_row(rows), sizeof *weights));
    DNS_TRY(dns_alloc(&g, rows->n * rows->n_labels, sizeof *g));
    DNS_TRY(teacher_weights(w, cpfd, p, how, plan->seed));
    const bool folded = how->temperature == 1 || how->method == DNS_CPFD_BASE;
    if (folded)
        dns_cpfd_fold(g, weights, w, p, rows);
    else
        separate(g, weights, w, rows, how->temperature);
    const dns_soft_targets terms[] = {{g, weights, 1}, {p, w, how->temperature}};
    const dns_classifier_shape shape = {rows->task, rows->dim, rows->n_labels, rows->labels,
                                        rows->origin};
    DNS_TRY(dns_classifier_train(out, &shape, plan, rows->x, rows->n, rows->labelled, terms,
                                 folded ? 1 : 2));
out:
    dns_free(g);
    dns_free(weights);
    dns_free(w);
    dns_free(p);
    return status;
}

/* ---- diagnosis ---- */

static double correlation(const float *c, const uint8_t *bits, size_t stride, size_t n)
{
    double sc = 0, sb = 0, scc = 0, scb = 0;
    for (size_t i = 0; i < n; i++) {
        double value = (double)c[i], bit = bits[i * stride] != 0;
        sc += value;
        sb += bit;
        scc += value * value;
        scb += value * bit;
    }
    double total = (double)n, vc = scc - sc * sc / total, vb = sb - sb * sb / total;
    return vc > 1e-12 && vb > 0 ? (scb - sc * sb / total) / sqrt(vc * vb) : 0;
}

/* Decisions of the teacher on labelled rows: a row, or for tags a row and label, each with its
 * confidence, its largest probability, and whether it was right. */
struct decisions {
    float *confidence, *largest;
    uint8_t *right, *present; /* present [n, n_blocks] */
    size_t n;
};

static void decide(struct decisions *d, const dns_labelled_rows *rows, const float *p,
                   const float *c)
{
    const size_t k = rows->n_labels, per_row = weights_per_row(rows);
    for (size_t i = 0; i < rows->n; i++) {
        for (size_t j = 0; rows->labelled[i] != 0 && j < per_row; j++) {
            const float *row = p + i * k, *y = rows->y + i * k;
            size_t best = 0;
            for (size_t label = 1; per_row == 1 && label < k; label++)
                best = row[label] > row[best] ? label : best;
            d->confidence[d->n] = c[i * per_row + j];
            d->largest[d->n] = per_row == 1 ? row[best] : fmaxf(row[j], 1 - row[j]);
            d->right[d->n] = per_row == 1 ? y[best] == 1 : (row[j] > 0.5F) == (y[j] == 1);
            for (size_t b = 0; b < rows->n_blocks; b++)
                d->present[d->n * rows->n_blocks + b] =
                    rows->present == NULL || rows->present[i * rows->n_blocks + b] != 0;
            d->n++;
        }
    }
}

static dns_status judge(dns_teacher_diagnosis *out, const struct decisions *d)
{
    dns_status status = dns_auroc(&out->auroc, d->confidence, d->right, d->n);
    out->calibration_error = dns_calibration_error(d->largest, d->right, d->n);
    for (size_t i = 0; i < d->n; i++)
        out->confidence += (double)d->confidence[i] / (double)d->n;
    for (size_t b = 0; b < out->n_blocks; b++)
        out->presence_correlation[b] =
            correlation(d->confidence, d->present + b, out->n_blocks, d->n);
    return status;
}

dns_status dns_cpfd_diagnose(dns_teacher_diagnosis *out, const dns_cpfd *cpfd,
                             const dns_confidence *confidence)
{
    const dns_labelled_rows *rows = &cpfd->rows;
    const size_t count = rows->n * weights_per_row(rows);
    dns_status status = DNS_OK;
    float *plain = NULL, *p = NULL, *c = NULL;
    struct decisions d = {0};
    dns_classification figures[N_TEACHERS] = {0};
    *out = (dns_teacher_diagnosis){.n_blocks = rows->n_blocks};
    if (cpfd->n_teachers < 2)
        DNS_FAIL(DNS_ERR_ARG, "no privileged features: no teacher to judge");
    DNS_TRY(teacher_probabilities(&plain, cpfd, false, 1));
    DNS_TRY(teacher_probabilities(&p, cpfd, true, 1));
    DNS_TRY(dns_alloc(&c, count, sizeof *c));
    DNS_TRY(dns_alloc(&d.confidence, count, sizeof *d.confidence));
    DNS_TRY(dns_alloc(&d.largest, count, sizeof *d.largest));
    DNS_TRY(dns_alloc(&d.right, count, sizeof *d.right));
    DNS_TRY(dns_alloc(&d.present, count * rows->n_blocks, sizeof *d.present));
    DNS_TRY(
        dns_alloc(&out->presence_correlation, rows->n_blocks, sizeof *out->presence_correlation));
    dns_confidence_measure(c, confidence, p, rows->y, rows->labelled, rows->task, rows->n,
                           rows->n_labels);
    decide(&d, rows, p, c);
    DNS_TRY(judge(out, &d));
    const float *const answers[N_TEACHERS] = {plain, p};
    for (size_t i = 0; i < N_TEACHERS; i++)
        DNS_TRY(dns_classification_measure(&figures[i], answers[i], rows->y, rows->labelled, NULL,
                                           rows->task, rows->n, rows->n_labels));
    out->base_macro_f1 = figures[PLAIN].macro_f1;
    out->macro_f1 = figures[PRIVILEGED].macro_f1;
    out->accuracy = figures[PRIVILEGED].accuracy;
    out->worthwhile = out->auroc >= 0.65 && out->macro_f1 > out->base_macro_f1;
out:
    for (size_t i = 0; i < N_TEACHERS; i++)
        dns_classification_free(&figures[i]);
    dns_free(d.present);
    dns_free(d.right);
    dns_free(d.largest);
    dns_free(d.confidence);
    dns_free(c);
    dns_free(p);
    dns_free(plain);
    if (status != DNS_OK)
        dns_teacher_diagnosis_free(out);
    return status;
}

void dns_teacher_diagnosis_free(dns_teacher_diagnosis *diagnosis)
{
    dns_free(diagnosis->presence_correlation);
    *diagnosis = (dns_teacher_diagnosis){0};
}
