#include "dnsel/cpfd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/classification.h"
#include "dnsel/file.h"
#include "support.h"

enum { N = 90, N_LABELLED = 60, DIM = 6, PRIV = 4, K = 3 };

static const char *const names[] = {"cat", "dog", "other"};
static const size_t block_sizes[] = {3, 1};

/* Classes that x tells a little and the privileged block tells well; block 2 is noise. */
struct world {
    float x[N * DIM], y[N * K], privileged[N * PRIV];
    uint8_t labelled[N], present[N * 2];
    dns_labelled_rows rows;
};

static void make_world(struct world *w, dns_label_task task)
{
    dns_random random = dns_random_seed(11);
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < N; i++) {
        size_t label = dns_random_below(&random, K);
        w->labelled[i] = i % 3 != 2;
        if (w->labelled[i])
            w->y[i * K + label] = 1;
        if (w->labelled[i] && task == DNS_LABEL_TAGS)
            w->y[i * K + i % K] = 1;
        for (size_t j = 0; j < DIM; j++)
            w->x[i * DIM + j] = (float)(dns_random_normal(&random) + (j == label));
        w->present[i * 2] = dns_random_uniform(&random) < 0.7;
        w->present[i * 2 + 1] = 1;
        for (size_t j = 0; j < PRIV; j++)
            w->privileged[i * PRIV + j] =
                w->present[i * 2] ? (float)(0.5 * dns_random_normal(&random) + 3 * (j == label))
                                  : NAN;
        w->privileged[i * PRIV + 3] = (float)dns_random_normal(&random);
    }
    w->rows = (dns_labelled_rows){.task = task,
                                  .n = N,
                                  .dim = DIM,
                                  .n_labels = K,
                                  .x = w->x,
                                  .y = w->y,
                                  .labelled = w->labelled,
                                  .labels = names,
                                  .origin = "a test",
                                  .n_blocks = 2,
                                  .block_sizes = block_sizes,
                                  .privileged = w->privileged,
                                  .present = w->present};
}

static const dns_classifier_plan plan = {
    .hidden = 12, .epochs = 8, .batch = 16, .rate = 5e-3, .weight_decay = 1e-2, .seed = 3};

static dns_cpfd *make_cpfd(const dns_labelled_rows *rows, dns_pool *pool)
{
    dns_cpfd *cpfd = NULL;
    dns_cpfd_options options = {.folds = 5, .teacher = plan};
    options.teacher.epochs = 50;
    assert_ok(dns_cpfd_create(&cpfd, rows, &options, pool));
    return cpfd;
}

static dns_classifier *teach(const dns_cpfd *cpfd, dns_cpfd_student_options how)
{
    dns_classifier *student = NULL;
    assert_ok(dns_cpfd_student(&student, cpfd, &how, &plan));
    return student;
}

/* Answers of a student for all rows; the student is freed. */
static void answers(float out[N * K], dns_classifier *student, const float *x)
{
    assert_ok(dns_classifier_predict(out, student, x, N, NULL));
    dns_classifier_free(student);
}

/* ---- the loss ---- */

/* L of docs/classifier.md as it is written there, one row, in double. */
static double plain_loss(const double *l, const double *y, const double *p, const double *w,
                         bool labelled, double t, dns_label_task task)
{
    double loss = 0, sum = 0, soft_sum = 0;
    for (size_t j = 0; j < K; j++) {
        sum += exp(l[j]);
        soft_sum += exp(l[j] / t);
    }
    for (size_t j = 0; j < K; j++) {
        if (task == DNS_LABEL_TAGS) {
            double hard = 1 / (1 + exp(-l[j])), soft = 1 / (1 + exp(-l[j] / t));
            loss -= labelled * (1 - w[j]) * (y[j] * log(hard) + (1 - y[j]) * log(1 - hard));
            loss -= w[j] * t * t * (p[j] * log(soft) + (1 - p[j]) * log(1 - soft));
        } else {
            loss -= labelled * (1 - w[0]) * y[j] * (l[j] - log(sum));
            loss -= w[0] * t * t * p[j] * (l[j] / t - log(soft_sum));
        }
    }
    return loss;
}

static void check_gradient(dns_label_task task, double t)
{
    struct world world;
    make_world(&world, task);
    dns_random random = dns_random_seed(5);
    const size_t per_row = task == DNS_LABEL_TAGS ? K : 1;
    float logits[N * K], p[N * K], w[N * K], g[N * K], weights[N * K], d[N * K] = {0};
    float hard[N * K], scaled[N * K];
    for (size_t i = 0; i < N * K; i++) {
        logits[i] = (float)dns_random_normal(&random);
        p[i] = (float)dns_random_normal(&random);
        w[i] = (float)dns_random_uniform(&random);
    }
    dns_label_probabilities(p, task, N, K, t);
    double loss = 0, more = 0, expected = 0;
    if (t == 1) {
        dns_cpfd_fold(g, weights, w, p, &world.rows);
        dns_soft_loss(&loss, d, logits, &(dns_soft_targets){g, weights, 1}, task, N, K);
    } else {
        for (size_t i = 0; i < N * per_row; i++) {
            hard[i] = world.labelled[i / per_row] ? 1 - w[i] : 0;
            scaled[i] = w[i] * (float)(t * t);
        }
        dns_soft_loss(&loss, d, logits, &(dns_soft_targets){world.y, hard, 1}, task, N, K);
        dns_soft_loss(&more, d, logits, &(dns_soft_targets){p, scaled, t}, task, N, K);
    }
    for (size_t i = 0; i < N; i++) {
        double l[K], y[K], soft[K], weight[K];
        for (size_t j = 0; j < K; j++) {
            l[j] = (double)logits[i * K + j];
            y[j] = (double)world.y[i * K + j];
            soft[j] = (double)p[i * K + j];
            weight[j] = (double)w[i * per_row + (per_row > 1 ? j : 0)];
        }
        const bool lab = world.labelled[i] != 0;
        expected += plain_loss(l, y, soft, weight, lab, t, task) / N;
        for (size_t j = 0; j < K; j++) {
            double middle = l[j];
            l[j] = middle + 1e-5;
            double above = plain_loss(l, y, soft, weight, lab, t, task);
            l[j] = middle - 1e-5;
            double below = plain_loss(l, y, soft, weight, lab, t, task);
            l[j] = middle;
            double slope = (above - below) / 2e-5 / N;
            if (fabs(slope - (double)d[i * K + j]) > 1e-7)
                fail_msg("row %zu, label %zu: %g, expected %g", i, j, (double)d[i * K + j], slope);
        }
    }
    assert_true(fabs(loss + more - expected) < 1e-6);
}

static void the_folded_loss_has_the_gradient_of_the_written_one(void **state)
{
    (void)state;
    check_gradient(DNS_LABEL_CLASS, 1);
    check_gradient(DNS_LABEL_CLASS, 2.5);
    check_gradient(DNS_LABEL_TAGS, 1);
    check_gradient(DNS_LABEL_TAGS, 2.5);
}

/* ---- methods ---- */

static void pfd_without_weight_is_base_bit_for_bit(void **state)
{
    (void)state;
    for (int task = DNS_LABEL_CLASS; task <= DNS_LABEL_TAGS; task++) {
        struct world w;
        make_world(&w, (dns_label_task)task);
        dns_cpfd *cpfd = make_cpfd(&w.rows, NULL);
        float base[N * K], pfd[N * K], other[N * K];
        answers(base, teach(cpfd, (dns_cpfd_student_options){.temperature = 1}), w.x);
        dns_cpfd_student_options how = {.method = DNS_CPFD_PFD, .temperature = 1};
        answers(pfd, teach(cpfd, how), w.x);
        assert_memory_equal(base, pfd, sizeof base);
        how.alpha = 0.5;
        answers(other, teach(cpfd, how), w.x);
        assert_memory_not_equal(base, other, sizeof base);
        dns_cpfd_free(cpfd);
    }
}

static void cpfd_that_is_always_sure_is_pfd_with_full_weight(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, DNS_LABEL_CLASS);
    dns_cpfd *cpfd = make_cpfd(&w.rows, NULL);
    float pfd[N * K], sure[N * K], cold[N * K];
    for (double t = 1; t < 3; t++) {
        dns_cpfd_student_options how = {.method = DNS_CPFD_PFD, .alpha = 1, .temperature = t};
        answers(pfd, teach(cpfd, how), w.x);
        how.method = DNS_CPFD_CPFD;
        how.gamma = 2;
        how.confidence = (dns_confidence){DNS_CONFIDENCE_GATE, 0};
        answers(sure, teach(cpfd, how), w.x);
        assert_memory_equal(pfd, sure, sizeof pfd);
        how.confidence.kind = DNS_CONFIDENCE_ENTROPY;
        answers(cold, teach(cpfd, how), w.x);
        assert_memory_not_equal(pfd, cold, sizeof pfd);
    }
    dns_cpfd_free(cpfd);
}

static void every_other_method_differs(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, DNS_LABEL_CLASS);
    dns_cpfd *cpfd = make_cpfd(&w.rows, NULL);
    float self[N * K], pfd[N * K], cpfd_[N * K], shuffled[N * K];
    dns_cpfd_student_options how = DNS_CPFD_STUDENT_INIT;
    answers(cpfd_, teach(cpfd, how), w.x);
    how.shuffled = true;
    answers(shuffled, teach(cpfd, how), w.x);
    how.method = DNS_CPFD_PFD;
    answers(pfd, teach(cpfd, how), w.x);
    how.method = DNS_CPFD_SELF;
    answers(self, teach(cpfd, how), w.x);
    assert_memory_not_equal(cpfd_, shuffled, sizeof pfd);
    assert_memory_not_equal(cpfd_, pfd, sizeof pfd);
    assert_memory_not_equal(self, pfd, sizeof pfd);
    dns_cpfd_free(cpfd);
}

static void no_row_is_scored_by_a_network_that_saw_its_label(void **state)
{
    (void)state;
    struct world w, changed;
    make_world(&w, DNS_LABEL_CLASS);
    make_world(&changed, DNS_LABEL_CLASS);
    dns_cpfd *before = make_cpfd(&w.rows, NULL);
    const size_t *folds = dns_cpfd_folds(before);
    size_t in_fold[5] = {0};
    for (size_t i = 0; i < N; i++) {
        assert_true(w.labelled[i] ? folds[i] < 5 : folds[i] == SIZE_MAX);
        if (w.labelled[i])
            in_fold[folds[i]]++;
        if (folds[i] != 2)
            continue;
        float first = changed.y[i * K];
        memmove(changed.y + i * K, changed.y + i * K + 1, (K - 1) * sizeof first);
        changed.y[i * K + K - 1] = first;
    }
    for (size_t f = 0; f < 5; f++)
        assert_int_equal(in_fold[f], N_LABELLED / 5);
    dns_cpfd *after = make_cpfd(&changed.rows, NULL);
    for (int privileged = 0; privileged < 2; privileged++)
        for (size_t i = 0; i < N; i++) {
            const float *a = dns_cpfd_teacher_logits(before, privileged) + i * K;
            const float *b = dns_cpfd_teacher_logits(after, privileged) + i * K;
            assert_int_equal(memcmp(a, b, K * sizeof *a) == 0, folds[i] == 2);
        }
    dns_cpfd_free(before);
    dns_cpfd_free(after);
}

static void threads_change_nothing_and_the_seed_does(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, DNS_LABEL_CLASS);
    dns_pool *pool = NULL;
    assert_ok(dns_pool_create(&pool, 3));
    dns_cpfd *one = make_cpfd(&w.rows, NULL), *three = make_cpfd(&w.rows, pool);
    float a[N * K], b[N * K];
    answers(a, teach(one, (dns_cpfd_student_options)DNS_CPFD_STUDENT_INIT), w.x);
    answers(b, teach(three, (dns_cpfd_student_options)DNS_CPFD_STUDENT_INIT), w.x);
    assert_memory_equal(a, b, sizeof a);
    dns_classifier_plan other = plan;
    other.seed++;
    dns_classifier *student = NULL;
    const dns_cpfd_student_options how = DNS_CPFD_STUDENT_INIT;
    assert_ok(dns_cpfd_student(&student, one, &how, &other));
    answers(b, student, w.x);
    assert_memory_not_equal(a, b, sizeof a);
    dns_cpfd_free(one);
    dns_cpfd_free(three);
    dns_pool_free(pool);
}

static void the_diagnosis_tells_a_good_teacher_from_a_blind_one(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, DNS_LABEL_CLASS);
    dns_cpfd *cpfd = make_cpfd(&w.rows, NULL);
    dns_teacher_diagnosis d;
    const dns_confidence entropy = {DNS_CONFIDENCE_ENTROPY, 0};
    assert_ok(dns_cpfd_diagnose(&d, cpfd, &entropy));
    assert_true(d.macro_f1 > d.base_macro_f1 && d.accuracy > 0.5);
    assert_true(d.presence_correlation[0] > 0.1);
    assert_true(d.presence_correlation[1] == 0);
    dns_teacher_diagnosis_free(&d);
    dns_cpfd_free(cpfd);
    for (size_t i = 0; i < N * 2; i++)
        w.present[i] = 0;
    cpfd = make_cpfd(&w.rows, NULL);
    assert_ok(dns_cpfd_diagnose(&d, cpfd, &entropy));
    assert_true(d.macro_f1 < d.base_macro_f1 + 0.1);
    dns_teacher_diagnosis_free(&d);
    dns_cpfd_free(cpfd);
    w.rows.n_blocks = 0;
    w.rows.present = NULL;
    cpfd = make_cpfd(&w.rows, NULL);
    assert_status(dns_cpfd_diagnose(&d, cpfd, &entropy), DNS_ERR_ARG);
    dns_classifier *student = NULL;
    const dns_cpfd_student_options how = DNS_CPFD_STUDENT_INIT;
    assert_status(dns_cpfd_student(&student, cpfd, &how, &plan), DNS_ERR_ARG);
    assert_null(dns_cpfd_teacher(cpfd));
    dns_cpfd_free(cpfd);
}

static void confidences_are_those_of_their_definition(void **state)
{
    (void)state;
    const float p[] = {0.7F, 0.2F, 0.1F, 0, 1, 0}, y[] = {0, 1, 0, 0, 0, 0};
    const uint8_t labelled[] = {1, 0};
    const struct {
        const char *text;
        double first, second;
    } cases[] = {{"entropy", 1 + (0.7 * log(0.7) + 0.2 * log(0.2) + 0.1 * log(0.1)) / log(3), 1},
                 {"max", 0.7, 1},
                 {"margin", 0.5, 1},
                 {"label", 0.2, 1},
                 {"gate:0.9", 0, 1},
                 {"gate:0.6", 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dns_confidence how;
        float c[6];
        assert_ok(dns_confidence_parse(&how, cases[i].text));
        dns_confidence_measure(c, &how, p, y, labelled, DNS_LABEL_CLASS, 2, 3);
        assert_true(fabs((double)c[0] - cases[i].first) < 1e-6);
        assert_true(fabs((double)c[1] - cases[i].second) < 1e-6);
    }
    dns_confidence how = {DNS_CONFIDENCE_LABEL, 0};
    float c[6];
    dns_confidence_measure(c, &how, p, y, labelled, DNS_LABEL_TAGS, 2, 3);
    test_assert_close("tags", c, (const float[]){0.3F, 0.2F, 0.9F, 1, 1, 1}, 6, 1e-6, 0);
    for (size_t i = 0; i < 4; i++)
        assert_status(
            dns_confidence_parse(&how, ((const char *[]){"", "gate", "gate:1.5", "gate:0.9x"})[i]),
            DNS_ERR_ARG);
}

/* ---- rows and files ---- */

static void what_cannot_be_learnt_is_refused(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, DNS_LABEL_CLASS);
    assert_ok(dns_labelled_rows_check(&w.rows));
    w.x[7] = INFINITY;
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_RANGE);
    assert_string_equal(dns_status_message(), "row 2: feature 2 is not finite");
    make_world(&w, DNS_LABEL_CLASS);
    w.privileged[3] = NAN;
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_RANGE);
    make_world(&w, DNS_LABEL_CLASS);
    w.y[0] = w.y[1] = 1;
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_RANGE);
    w.y[0] = 0.5F;
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_RANGE);
    make_world(&w, DNS_LABEL_CLASS);
    for (size_t i = 0; i < N; i++) {
        memset(w.y + i * K, 0, K * sizeof *w.y);
        w.y[i * K + 1] = 1;
    }
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_ARG);
    make_world(&w, DNS_LABEL_CLASS);
    memset(w.labelled, 0, sizeof w.labelled);
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_ARG);
    assert_ok(dns_labelled_rows_check_values(&w.rows));
    w.rows.n_labels = 1;
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_ARG);
    w.rows.n = 0;
    assert_status(dns_labelled_rows_check(&w.rows), DNS_ERR_ARG);

    make_world(&w, DNS_LABEL_CLASS);
    dns_cpfd *cpfd = NULL;
    dns_cpfd_options options = {.folds = 1, .teacher = plan};
    assert_status(dns_cpfd_create(&cpfd, &w.rows, &options, NULL), DNS_ERR_ARG);
    options.folds = 61;
    assert_status(dns_cpfd_create(&cpfd, &w.rows, &options, NULL), DNS_ERR_ARG);
    options.folds = 5;
    options.teacher.hidden = 0;
    assert_status(dns_cpfd_create(&cpfd, &w.rows, &options, NULL), DNS_ERR_ARG);
    assert_null(cpfd);
    cpfd = make_cpfd(&w.rows, NULL);
    dns_classifier *student = NULL;
    const dns_cpfd_student_options bad[] = {
        {.alpha = 1.5, .temperature = 1}, {.gamma = -1, .temperature = 1}, {.temperature = 0}};
    for (size_t i = 0; i < 3; i++)
        assert_status(dns_cpfd_student(&student, cpfd, &bad[i], &plan), DNS_ERR_ARG);
    dns_cpfd_free(cpfd);
}

static void parse_rows(const uint8_t *bytes, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/fuzz.cpf", test_folder());
    assert_ok(dns_file_write(path, bytes, size));
    dns_row_file *file = NULL;
    if (dns_row_file_read(&file, path) == DNS_OK)
        dns_row_file_free(file);
    dns_classifier *classifier = NULL;
    if (dns_classifier_open(&classifier, path) == DNS_OK)
        dns_classifier_free(classifier);
}

static void rows_and_models_come_back_from_files(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, DNS_LABEL_CLASS);
    char rows_path[512], model_path[512];
    snprintf(rows_path, sizeof rows_path, "%s/rows.cpf", test_folder());
    snprintf(model_path, sizeof model_path, "%s/model.cpm", test_folder());
    dns_row_file *file = NULL;
    assert_ok(dns_row_file_write(&w.rows, rows_path));
    assert_ok(dns_row_file_read(&file, rows_path));
    const dns_labelled_rows *r = dns_row_file_rows(file);
    assert_int_equal(r->n, N);
    assert_int_equal(r->n_blocks, 2);
    assert_string_equal(r->labels[2], "other");
    assert_string_equal(r->origin, "a test");
    assert_memory_equal(r->x, w.x, sizeof w.x);
    assert_memory_equal(r->privileged, w.privileged, sizeof w.privileged);
    assert_memory_equal(r->present, w.present, sizeof w.present);
    dns_row_file *both = NULL;
    assert_ok(dns_row_file_append_unlabelled(&both, r, &w.rows));
    assert_int_equal(dns_row_file_rows(both)->n, 2 * N);
    assert_int_equal(dns_row_file_rows(both)->labelled[N], 0);
    assert_int_equal(dns_row_file_rows(both)->labelled[0], 1);
    dns_row_file_free(both);
    w.rows.dim--;
    assert_status(dns_row_file_append_unlabelled(&both, r, &w.rows), DNS_ERR_SHAPE);
    dns_row_file_free(file);
    make_world(&w, DNS_LABEL_CLASS);

    dns_cpfd *cpfd = make_cpfd(&w.rows, NULL);
    dns_classifier *student = teach(cpfd, (dns_cpfd_student_options)DNS_CPFD_STUDENT_INIT);
    dns_classifier *read = NULL;
    const float thresholds[K] = {0.25F, 0.5F, 1}, bad[K] = {0, 0, 2};
    assert_ok(dns_classifier_set_thresholds(student, thresholds));
    assert_status(dns_classifier_set_thresholds(student, bad), DNS_ERR_RANGE);
    assert_ok(dns_classifier_save(student, model_path));
    assert_ok(dns_classifier_open(&read, model_path));
    assert_memory_equal(dns_classifier_thresholds(read), thresholds, sizeof thresholds);
    assert_string_equal(dns_classifier_shape_of(read)->labels[1], "dog");
    assert_string_equal(dns_classifier_shape_of(read)->origin, "a test");
    assert_int_equal(dns_classifier_hidden(read), 12);
    assert_int_equal(dns_classifier_bytes(read), 4 * (12 * DIM + 12 + K * 12 + K + 2 * DIM + K));
    float a[N * K], b[N * K];
    answers(a, student, w.x);
    answers(b, read, w.x);
    assert_memory_equal(a, b, sizeof a);
    dns_cpfd_free(cpfd);

    assert_status(dns_classifier_open(&read, rows_path), DNS_ERR_FORMAT);
    assert_status(dns_row_file_read(&file, model_path), DNS_ERR_FORMAT);
    assert_status(dns_row_file_read(&file, "/nonexistent.cpf"), DNS_ERR_NOTFOUND);
    char *bytes = NULL;
    size_t size = 0;
    for (int i = 0; i < 2; i++) {
        assert_ok(dns_file_read(&bytes, &size, i == 0 ? rows_path : model_path, 1 << 20));
        test_fuzz(bytes, size, 150, parse_rows);
        dns_free(bytes);
    }
}

/* ---- figures ---- */

static void figures_are_right_on_a_table_done_by_hand(void **state)
{
    (void)state;
    /* Truth 0 0 1 1 2, given 0 1 1 1 0. */
    const float p[] = {.8F, .1F, .1F, .2F, .7F, .1F, 0, 1, 0, 0, 1, 0, .6F, .2F, .2F};
    const float y[] = {1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1};
    const uint8_t all[] = {1, 1, 1, 1, 1}, none[5] = {0};
    dns_classification f;
    assert_ok(dns_classification_measure(&f, p, y, all, NULL, DNS_LABEL_CLASS, 5, 3));
    assert_true(fabs(f.accuracy - 0.6) < 1e-12 && fabs(f.micro_f1 - 0.6) < 1e-12);
    assert_true(fabs(f.macro_f1 - (0.5 + 0.8 + 0) / 3) < 1e-12);
    assert_true(fabs(f.labels[1].precision - 2.0 / 3) < 1e-12 && f.labels[1].recall == 1);
    dns_classification_free(&f);
    assert_status(dns_classification_measure(&f, p, y, none, NULL, DNS_LABEL_CLASS, 5, 3),
                  DNS_ERR_ARG);

    float thresholds[3];
    const float scores[] = {.3F, .9F, .8F, .2F, .1F, .1F, .25F, .4F, .3F};
    const float tags[] = {1, 1, 0, 0, 0, 0, 1, 0, 0};
    assert_ok(dns_tag_thresholds(thresholds, scores, tags, all, 3, 3));
    test_assert_close("thresholds", thresholds, (const float[]){.225F, .65F, .5F}, 3, 1e-6, 0);

    double area;
    const float ranked[] = {.9F, .8F, .8F, .1F};
    const uint8_t truth[] = {1, 0, 1, 0};
    assert_ok(dns_auroc(&area, ranked, truth, 4));
    assert_true(fabs(area - 0.875) < 1e-12);
    assert_ok(dns_auroc(&area, ranked, all, 4));
    assert_true(area == 0.5);
    assert_true(fabs(dns_calibration_error(ranked, truth, 4) - (0.1 + 0.6 + 0.1) / 4) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_folded_loss_has_the_gradient_of_the_written_one),
        cmocka_unit_test(pfd_without_weight_is_base_bit_for_bit),
        cmocka_unit_test(cpfd_that_is_always_sure_is_pfd_with_full_weight),
        cmocka_unit_test(every_other_method_differs),
        cmocka_unit_test(no_row_is_scored_by_a_network_that_saw_its_label),
        cmocka_unit_test(threads_change_nothing_and_the_seed_does),
        cmocka_unit_test(the_diagnosis_tells_a_good_teacher_from_a_blind_one),
        cmocka_unit_test(confidences_are_those_of_their_definition),
        cmocka_unit_test(what_cannot_be_learnt_is_refused),
        cmocka_unit_test(rows_and_models_come_back_from_files),
        cmocka_unit_test(figures_are_right_on_a_table_done_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
