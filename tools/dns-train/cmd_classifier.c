#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "dnsel/classification.h"
#include "dnsel/file.h"
#include "dnsel/json.h"
#include "dnsel/labelled_csv.h"
#include "dnsel/memory.h"
#include "dnsel/method_comparison.h"
#include "dnsel/pair_features.h"
#include "terminal.h"

enum { LEAST_STEPS = 1000, N_METHODS = 4, BOOTSTRAP = 1000 };

static const char *const methods[N_METHODS] = {"base", "self", "pfd", "cpfd"};

struct settings {
    const char *data, *unlabelled, *validation, *confidence, *out, *teacher, *report, *install;
    int task, method, progress;
    double gamma, alpha, temperature;
    size_t folds, hidden, epochs, cross_validate, seeds, jobs;
    uint64_t seed;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_pool *pool;
    dns_row_file *training, *validation;
    dns_cpfd *cpfd;
    dns_cpfd_options teachers;
    dns_cpfd_student_options how;
    dns_classifier_plan plan;
    dns_progress progress;
    dns_teacher_diagnosis diagnosis;
    dns_method_comparison comparison; /* of no seeds when there was none */
    dns_classifier *student;
};

static dns_status read_rows(struct work *w)
{
    const struct settings *s = w->s;
    const dns_label_task task = (dns_label_task)(s->task > 0 ? s->task - 1 : 0);
    dns_status status = DNS_OK;
    dns_row_file *more = NULL, *both = NULL;
    DNS_TRY(dns_labelled_file_read(&w->training, s->data, task, NULL, 0));
    const dns_labelled_rows *rows = dns_row_file_rows(w->training);
    if (s->task > 0 && rows->task != task)
        DNS_FAIL(DNS_ERR_ARG, "%s: its task is %s, not %s", s->data,
                 dns_label_task_name(rows->task), dns_label_task_name(task));
    if (s->unlabelled != NULL) {
        DNS_TRY(dns_labelled_file_read(&more, s->unlabelled, rows->task, NULL, 0));
        DNS_TRY(dns_row_file_append_unlabelled(&both, rows, dns_row_file_rows(more)));
        dns_row_file_free(w->training);
        w->training = both;
        rows = dns_row_file_rows(both);
    }
    status = dns_labelled_rows_check(rows);
    if (status != DNS_OK) {
        status = dns_status_context(status, "%s", s->data);
        goto out;
    }
    if (s->validation == NULL)
        goto out;
    DNS_TRY(dns_labelled_file_read(&w->validation, s->validation, rows->task, rows->labels,
                                   rows->n_labels));
    if (dns_row_file_rows(w->validation)->dim != rows->dim)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: %zu features, training rows have %zu", s->validation,
                 dns_row_file_rows(w->validation)->dim, rows->dim);
out:
    dns_row_file_free(more);
    return status;
}

/* Few rows are gone through more often. */
static size_t enough_epochs(size_t epochs, size_t n_rows, size_t batch)
{
    size_t batches = (n_rows + batch - 1) / batch;
    size_t wanted = batches > 0 ? (LEAST_STEPS + batches - 1) / batches : 0;
    return wanted > epochs ? wanted : epochs;
}

static void make_plans(struct work *w)
{
    const struct settings *s = w->s;
    const dns_labelled_rows *rows = dns_row_file_rows(w->training);
    size_t n_labelled = 0;
    for (size_t i = 0; i < rows->n; i++)
        n_labelled += rows->labelled[i] != 0;
    w->teachers = (dns_cpfd_options)DNS_CPFD_OPTIONS_INIT;
    w->teachers.folds = s->folds;
    w->teachers.progress = &w->progress;
    w->teachers.teacher.hidden = s->hidden;
    w->teachers.teacher.seed = s->seed;
    w->teachers.teacher.epochs =
        enough_epochs(w->teachers.teacher.epochs, n_labelled, w->teachers.teacher.batch);
    w->plan = (dns_classifier_plan)DNS_CLASSIFIER_PLAN_INIT;
    w->plan.hidden = s->hidden;
    w->plan.seed = s->seed;
    w->plan.epochs =
        s->epochs > 0 ? s->epochs : enough_epochs(w->plan.epochs, rows->n, w->plan.batch);
    w->plan.cancel = w->teachers.teacher.cancel = dns_interrupt_catch();
}

static dns_status fit_teachers(struct work *w)
{
    const dns_labelled_rows *rows = dns_row_file_rows(w->training);
    dns_status status = DNS_OK;
    DNS_TRY(dns_cpfd_create(&w->cpfd, rows, &w->teachers, w->pool));
    if (rows->n_blocks == 0)
        goto out;
    DNS_TRY(dns_cpfd_diagnose(&w->diagnosis, w->cpfd, &w->how.confidence));
    if (!w->diagnosis.worthwhile)
        dns_complain(w->invocation,
                     "CPFD is not expected to help: AUROC of the teacher's confidence %.3f (0.65 "
                     "wanted), its macro F1 %.3f against %.3f without privileged features; see "
                     "--cross-validate, and --method base",
                     w->diagnosis.auroc, w->diagnosis.macro_f1, w->diagnosis.base_macro_f1);
out:
    return status;
}

/* Thresholds of tags are those that do best on the validation rows. */
static dns_status choose_thresholds(struct work *w)
{
    const dns_labelled_rows *rows = dns_row_file_rows(w->validation);
    dns_status status = DNS_OK;
    float *p = NULL, *thresholds = NULL;
    DNS_TRY(dns_alloc(&p, rows->n * rows->n_labels, sizeof *p));
    DNS_TRY(dns_alloc(&thresholds, rows->n_labels, sizeof *thresholds));
    DNS_TRY(dns_classifier_predict(p, w->student, rows->x, rows->n, w->pool));
    DNS_TRY(dns_tag_thresholds(thresholds, p, rows->y, rows->labelled, rows->n, rows->n_labels));
    DNS_TRY(dns_classifier_set_thresholds(w->student, thresholds));
out:
    dns_free(thresholds);
    dns_free(p);
    return status;
}

static dns_status compare_methods(struct work *w)
{
    const dns_comparison_options options = {.teachers = w->teachers,
                                            .students = w->plan,
                                            .how = w->how,
                                            .folds = w->s->cross_validate,
                                            .first_seed = w->s->seed,
                                            .n_seeds = w->s->seeds,
                                            .bootstrap_rounds = BOOTSTRAP,
                                            .progress = &w->progress};
    return dns_method_comparison_run(
        &w->comparison, dns_row_file_rows(w->training),
        w->validation != NULL ? dns_row_file_rows(w->validation) : NULL, &options, w->pool);
}

static dns_status train(struct work *w)
{
    dns_status status = DNS_OK;
    dns_terminal terminal =
        dns_terminal_open((dns_progress_style)w->s->progress, w->invocation->quiet);
    w->progress = dns_terminal_progress(&terminal);
    make_plans(w);
    DNS_TRY(fit_teachers(w));
    DNS_TRY(dns_cpfd_student(&w->student, w->cpfd, &w->how, &w->plan));
    if (w->validation != NULL && dns_row_file_rows(w->training)->task == DNS_LABEL_TAGS)
        DNS_TRY(choose_thresholds(w));
    if (w->validation != NULL || w->s->cross_validate > 0)
        DNS_TRY(compare_methods(w));
out:
    dns_terminal_close(&terminal);
    return status;
}

static void put_diagnosis(dns_json_writer *j, const dns_teacher_diagnosis *d)
{
    dns_json_begin_object(j, "teacher");
    dns_json_put_number(j, "macro_f1", d->macro_f1, 17);
    dns_json_put_number(j, "accuracy", d->accuracy, 17);
    dns_json_put_number(j, "macro_f1_without_privileged", d->base_macro_f1, 17);
    dns_json_put_number(j, "auroc", d->auroc, 17);
    dns_json_put_number(j, "calibration_error", d->calibration_error, 17);
    dns_json_put_number(j, "confidence", d->confidence, 17);
    dns_json_begin_array(j, "presence_correlation");
    for (size_t b = 0; b < d->n_blocks; b++)
        dns_json_put_number(j, NULL, d->presence_correlation[b], 17);
    dns_json_end_array(j);
    dns_json_put_bool(j, "worthwhile", d->worthwhile);
    dns_json_end_object(j);
}

static void put_interval(dns_json_writer *j, const char *name, const dns_interval *i)
{
    dns_json_begin_array(j, name);
    dns_json_put_number(j, NULL, i->mean, 17);
    dns_json_put_number(j, NULL, i->low, 17);
    dns_json_put_number(j, NULL, i->high, 17);
    dns_json_end_array(j);
}

static void put_comparison(dns_json_writer *j, const dns_method_comparison *c, bool validation)
{
    dns_json_begin_object(j, validation ? "validation" : "cross_validation");
    dns_json_put_integer(j, "rows", (int64_t)c->n_rows);
    dns_json_put_integer(j, "seeds", (int64_t)c->n_seeds);
    for (size_t m = 0; m < DNS_COMPARED; m++) {
        const dns_compared_method *method = &c->methods[m];
        if (!method->measured)
            continue;
        dns_json_begin_object(j, dns_compared_name(m));
        put_interval(j, "macro_f1", &method->mean);
        put_interval(j, "to_base_over_seeds", &method->to_base);
        put_interval(j, "to_base_over_rows", &method->to_base_rows);
        if (c->methods[DNS_CPFD_PFD].measured) {
            put_interval(j, "to_pfd_over_seeds", &method->to_pfd);
            put_interval(j, "to_pfd_over_rows", &method->to_pfd_rows);
        }
        dns_json_end_object(j);
    }
    dns_json_put_number(j, "gap_closed_pfd", c->closed_pfd, 17);
    dns_json_put_number(j, "gap_closed_cpfd", c->closed_cpfd, 17);
    dns_json_put_number(j, "pfd_gap_removed", c->removed, 17);
    dns_json_end_object(j);
}

static dns_status write_report(const struct work *w)
{
    const struct settings *s = w->s;
    const dns_labelled_rows *rows = dns_row_file_rows(w->training);
    dns_status status = DNS_OK;
    dns_replacement *replacement = NULL;
    FILE *stream = NULL;
    DNS_TRY(dns_replacement_open(&replacement, &stream, s->report));
    dns_json_writer j = dns_json_writer_to(stream, true);
    dns_json_begin_object(&j, NULL);
    dns_json_put_string(&j, "schema", "dnsel.classifier-training/1");
    dns_json_put_string(&j, "task", dns_label_task_name(rows->task));
    dns_json_put_integer(&j, "rows", (int64_t)rows->n);
    dns_json_put_integer(&j, "features", (int64_t)rows->dim);
    dns_json_put_integer(&j, "labels", (int64_t)rows->n_labels);
    dns_json_put_string(&j, "method", methods[s->method]);
    dns_json_put_string(&j, "confidence", s->confidence);
    dns_json_put_number(&j, "gamma", s->gamma, 17);
    dns_json_put_number(&j, "alpha", s->alpha, 17);
    dns_json_put_number(&j, "temperature", s->temperature, 17);
    dns_json_put_integer(&j, "folds", (int64_t)s->folds);
    dns_json_put_integer(&j, "epochs", (int64_t)w->plan.epochs);
    dns_json_put_integer(&j, "seed", (int64_t)s->seed);
    dns_json_put_integer(&j, "bytes", (int64_t)dns_classifier_bytes(w->student));
    if (dns_cpfd_teacher(w->cpfd) != NULL)
        put_diagnosis(&j, &w->diagnosis);
    if (w->comparison.n_seeds > 0)
        put_comparison(&j, &w->comparison, w->validation != NULL);
    dns_json_end_object(&j);
    DNS_TRY(dns_json_finish(&j));
    status = dns_replacement_commit(replacement);
    replacement = NULL;
out:
    dns_replacement_abandon(replacement);
    return status;
}

static void print_difference(const dns_interval *i)
{
    if (isnan(i->low))
        printf("  %+6.2f                 ", 100 * i->mean);
    else
        printf("  %+6.2f [%+6.2f,%+6.2f]", 100 * i->mean, 100 * i->low, 100 * i->high);
}

static void print_share(const char *what, double share)
{
    if (isnan(share))
        printf("  %s n/a", what);
    else
        printf("  %s %.3f", what, share);
}

static void print_comparison(const struct work *w)
{
    const dns_method_comparison *c = &w->comparison;
    const bool pfd = c->methods[DNS_CPFD_PFD].measured;
    printf(
        "  on %zu rows %s, %zu seeds; differences in points, 95 %% intervals over seeds and over "
        "rows\n  %-8s macro F1  %-23s  %-23s%s%s\n",
        c->n_rows, w->validation != NULL ? "of --validation" : "held out in turn", c->n_seeds, "",
        "to base: over seeds", "over rows", pfd ? "  to PFD: over seeds       over rows" : "", "");
    for (size_t m = 0; m < DNS_COMPARED; m++) {
        const dns_compared_method *method = &c->methods[m];
        if (!method->measured)
            continue;
        printf("  %-8s   %.4f", dns_compared_name(m), method->mean.mean);
        print_difference(&method->to_base);
        print_difference(&method->to_base_rows);
        if (pfd) {
            print_difference(&method->to_pfd);
            print_difference(&method->to_pfd_rows);
        }
        putchar('\n');
    }
    if (!c->methods[DNS_COMPARED_TEACHER].measured)
        return;
    printf("  gap closed:");
    print_share("of teacher - base PFD", c->closed_pfd);
    print_share("and CPFD", c->closed_cpfd);
    print_share("of teacher - PFD CPFD", c->removed);
    putchar('\n');
}

static void print_text(const struct work *w)
{
    const dns_labelled_rows *rows = dns_row_file_rows(w->training);
    printf("%s by %s from %zu rows of %zu features: %s\n", dns_label_task_name(rows->task),
           methods[w->s->method], rows->n, rows->dim, w->s->out);
    if (dns_cpfd_teacher(w->cpfd) != NULL)
        printf("  teacher, out of fold: macro F1 %.4f (without privileged features %.4f), AUROC of "
               "its confidence %.3f, calibration error %.3f\n",
               w->diagnosis.macro_f1, w->diagnosis.base_macro_f1, w->diagnosis.auroc,
               w->diagnosis.calibration_error);
    if (w->comparison.n_seeds > 0)
        print_comparison(w);
}

/* Only what searches can make of its vectors goes into a model. */
static dns_status install(const struct work *w)
{
    dns_status status = DNS_OK;
    dns_model *model = NULL;
    char made_for[33];
    const dns_classifier_shape *shape = dns_classifier_shape_of(w->student);
    if (shape->task != DNS_LABEL_PAIR || shape->dim != DNS_PAIR_FEATURES)
        DNS_FAIL(DNS_ERR_ARG, "--install: only classifiers of pairs of an index are routers");
    DNS_TRY(dns_model_open(&model, w->s->install));
    const dns_digest digest = dns_model_digest(model);
    dns_digest_text(&digest, made_for);
    if (shape->origin != NULL && strcmp(shape->origin, made_for) != 0)
        DNS_FAIL(DNS_ERR_MODEL, "%s is model %s, the rows were made with %s", w->s->install,
                 made_for, shape->origin);
    DNS_TRY(dns_classifier_install(w->student, w->s->install));
out:
    dns_model_close(model);
    return status;
}

/* Everything is written at the end, so that an interrupted run leaves nothing behind. */
static dns_status write_files(const struct work *w)
{
    const struct settings *s = w->s;
    const dns_classifier *teacher = dns_cpfd_teacher(w->cpfd);
    dns_status status = DNS_OK;
    if (s->teacher != NULL && teacher == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--teacher: no privileged features, so there is none");
    if (s->install != NULL)
        DNS_TRY(install(w));
    if (s->report != NULL)
        DNS_TRY(write_report(w));
    if (s->teacher != NULL)
        DNS_TRY(dns_classifier_save(teacher, s->teacher));
    DNS_TRY(dns_classifier_save(w->student, s->out));
out:
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    struct work w = {.invocation = invocation, .s = s};
    dns_status status = DNS_OK;
    if (s->data == NULL || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--data and --out are needed");
    if (s->validation != NULL && s->cross_validate > 0)
        DNS_FAIL(DNS_ERR_ARG, "either --validation or --cross-validate");
    w.how = (dns_cpfd_student_options){.method = (dns_cpfd_method)s->method,
                                       .alpha = s->alpha,
                                       .gamma = s->gamma,
                                       .temperature = s->temperature};
    DNS_TRY(dns_confidence_parse(&w.how.confidence, s->confidence));
    DNS_TRY(dns_pool_create(&w.pool, s->jobs));
    DNS_TRY(read_rows(&w));
    DNS_TRY(train(&w));
    DNS_TRY(write_files(&w));
    if (!invocation->quiet)
        print_text(&w);
out:
    dns_method_comparison_free(&w.comparison);
    dns_teacher_diagnosis_free(&w.diagnosis);
    dns_classifier_free(w.student);
    dns_cpfd_free(w.cpfd);
    dns_row_file_free(w.validation);
    dns_row_file_free(w.training);
    dns_pool_free(w.pool);
    return status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
}

static const struct settings defaults = {.method = DNS_CPFD_CPFD,
                                         .confidence = "entropy",
                                         .gamma = 2,
                                         .alpha = 1,
                                         .temperature = 1,
                                         .folds = 5,
                                         .hidden = 256,
                                         .seeds = 5};
#define AT(field) offsetof(struct settings, field)
#define FILE_OPTION(option, field, text)                                                 \
    {                                                                                    \
        .name = option, .kind = DNS_OPTION_STRING, .offset = AT(field), .value = "FILE", \
        .help = text                                                                     \
    }
static const dns_option options[] = {
    FILE_OPTION("data", data, "rows to learn from: .csv, .tsv or .cpf"),
    FILE_OPTION("unlabelled", unlabelled, "more rows, whose labels are not read"),
    FILE_OPTION("validation", validation,
                "rows to compare all methods on, and to choose the thresholds of tags by"),
    {.name = "cross-validate",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(cross_validate),
     .value = "FOLDS",
     .help =
         "compare all methods by holding out each of so many parts of --data in turn; 0: do not",
     .maximum = 1000},
    {.name = "seeds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(seeds),
     .value = "N",
     .help = "a comparison is made so many times, from --seed on",
     .minimum = 1,
     .maximum = 1000},
    {.name = "task",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(task),
     .choices = "auto|class|tags|pair",
     .help = "what a label is; auto is what a .cpf says, and class for a table"},
    {.name = "method",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(method),
     .choices = "base|self|pfd|cpfd",
     .help = "labels alone, or a teacher without, with, and with trusted privileged features"},
    {.name = "confidence",
     .kind = DNS_OPTION_STRING,
     .offset = AT(confidence),
     .value = "HOW",
     .help = "entropy, max, margin, label or gate:THRESHOLD"},
    {.name = "gamma",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(gamma),
     .value = "G",
     .help = "power of the confidence",
     .maximum = 100},
    {.name = "alpha",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(alpha),
     .value = "A",
     .help = "largest weight of the teacher",
     .maximum = 1},
    {.name = "temperature",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(temperature),
     .value = "T",
     .help = "logits are divided by it",
     .minimum = 0.01,
     .maximum = 100},
    {.name = "folds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(folds),
     .value = "N",
     .help = "teachers that each leave a share of the rows out",
     .minimum = 2,
     .maximum = 100},
    {.name = "hidden",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(hidden),
     .value = "N",
     .help = "width of the hidden layer",
     .minimum = 1,
     .maximum = 65536},
    {.name = "epochs",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(epochs),
     .value = "N",
     .help = "times the student sees every row; 0 is 25, or more for few rows",
     .maximum = 1000000},
    {.name = "seed", .kind = DNS_OPTION_SEED, .offset = AT(seed), .value = "N", .help = "seed"},
    FILE_OPTION("out", out, "the classifier, .cpm"),
    FILE_OPTION("teacher", teacher, "keep the teacher here; nothing needs it"),
    FILE_OPTION("report", report, "write figures here, JSON"),
    {.name = "install",
     .kind = DNS_OPTION_STRING,
     .offset = AT(install),
     .value = "DIR",
     .help = "put a classifier of pairs into this model directory, where dns-query --router pair "
             "finds it"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {0},
};
const dns_command dns_train_classifier = {
    .name = "classifier",
    .synopsis = "",
    .summary = "learn a classifier, with a teacher that sees more",
    .description =
        "Trains a small network over vectors that the index has. A teacher that also sees "
        "privileged features, which exist in training only, teaches it, row by row as far as the "
        "teacher is sure (CPFD). What the teacher is worth is said first, and a warning when it "
        "is not expected to help. The same input and seed give the same classifier, whatever the "
        "number of threads. Tables and methods: docs/classifier.md.",
    .examples =
        "  dns-train classifier --data train.csv --out m.cpm\n"
        "  dns-train classifier --data train.cpf --cross-validate 5 --out m.cpm  # is it worth "
        "it?\n"
        "  dns-train classifier --data train.cpf --unlabelled pool.cpf --validation "
        "held.cpf --report r.json --out m.cpm\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
