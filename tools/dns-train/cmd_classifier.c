#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "dnsel/classification.h"
#include "dnsel/cpfd.h"
#include "dnsel/file.h"
#include "dnsel/json.h"
#include "dnsel/labelled_csv.h"
#include "dnsel/memory.h"

enum { LEAST_STEPS = 1000, N_METHODS = 4 };

static const char *const methods[N_METHODS] = {"base", "self", "pfd", "cpfd"};

struct settings {
    const char *data, *unlabelled, *validation, *confidence, *out, *teacher, *report;
    int task, method;
    double gamma, alpha, temperature;
    size_t folds, hidden, epochs, jobs;
    uint64_t seed;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_pool *pool;
    dns_row_file *training, *validation;
    dns_cpfd *cpfd;
    dns_cpfd_student_options how;
    dns_classifier_plan plan;
    dns_teacher_diagnosis diagnosis;
    dns_classification figures[N_METHODS]; /* on the validation rows */
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

static dns_status fit_teachers(struct work *w)
{
    const struct settings *s = w->s;
    const dns_labelled_rows *rows = dns_row_file_rows(w->training);
    dns_status status = DNS_OK;
    dns_cpfd_options options = DNS_CPFD_OPTIONS_INIT;
    size_t n_labelled = 0;
    for (size_t i = 0; i < rows->n; i++)
        n_labelled += rows->labelled[i] != 0;
    options.folds = s->folds;
    options.teacher.hidden = s->hidden;
    options.teacher.seed = s->seed;
    options.teacher.epochs =
        enough_epochs(options.teacher.epochs, n_labelled, options.teacher.batch);
    w->plan = (dns_classifier_plan)DNS_CLASSIFIER_PLAN_INIT;
    w->plan.hidden = s->hidden;
    w->plan.seed = s->seed;
    w->plan.epochs =
        s->epochs > 0 ? s->epochs : enough_epochs(w->plan.epochs, rows->n, w->plan.batch);
    DNS_TRY(dns_cpfd_create(&w->cpfd, rows, &options, w->pool));
    if (rows->n_blocks == 0)
        goto out;
    DNS_TRY(dns_cpfd_diagnose(&w->diagnosis, w->cpfd, &w->how.confidence));
    if (!w->diagnosis.worthwhile)
        dns_complain(w->invocation,
                     "CPFD is not expected to help: AUROC of the teacher's confidence %.3f (0.65 "
                     "wanted), its macro F1 %.3f against %.3f without privileged features",
                     w->diagnosis.auroc, w->diagnosis.macro_f1, w->diagnosis.base_macro_f1);
    if (s->teacher != NULL)
        DNS_TRY(dns_classifier_save(dns_cpfd_teacher(w->cpfd), s->teacher));
out:
    return status;
}

/* Figures of one method's student on the validation rows; for tags it gets its thresholds there. */
static dns_status validate(struct work *w, dns_classifier *student, size_t method)
{
    const dns_labelled_rows *rows = dns_row_file_rows(w->validation);
    dns_status status = DNS_OK;
    float *p = NULL, *thresholds = NULL;
    DNS_TRY(dns_alloc(&p, rows->n * rows->n_labels, sizeof *p));
    DNS_TRY(dns_alloc(&thresholds, rows->n_labels, sizeof *thresholds));
    DNS_TRY(dns_classifier_predict(p, student, rows->x, rows->n, w->pool));
    if (rows->task == DNS_LABEL_TAGS) {
        DNS_TRY(
            dns_tag_thresholds(thresholds, p, rows->y, rows->labelled, rows->n, rows->n_labels));
        DNS_TRY(dns_classifier_set_thresholds(student, thresholds));
    }
    DNS_TRY(dns_classification_measure(&w->figures[method], p, rows->y, rows->labelled,
                                       dns_classifier_thresholds(student), rows->task, rows->n,
                                       rows->n_labels));
out:
    dns_free(thresholds);
    dns_free(p);
    return status;
}

/* The student that was asked for and, where there is something to compare them on, the others. */
static dns_status train_students(struct work *w)
{
    dns_status status = DNS_OK;
    dns_classifier *student = NULL;
    const bool has_teacher = dns_cpfd_teacher(w->cpfd) != NULL;
    for (size_t method = 0; method < N_METHODS; method++) {
        const bool asked = method == (size_t)w->s->method;
        if (!asked && (w->validation == NULL || (!has_teacher && method >= DNS_CPFD_PFD)))
            continue;
        dns_cpfd_student_options how = w->how;
        how.method = (dns_cpfd_method)method;
        DNS_TRY(dns_cpfd_student(&student, w->cpfd, &how, &w->plan));
        if (w->validation != NULL)
            DNS_TRY(validate(w, student, method));
        if (asked) {
            w->student = student;
            student = NULL;
        }
        dns_classifier_free(student);
        student = NULL;
    }
out:
    dns_classifier_free(student);
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
    dns_json_begin_object(&j, "validation_macro_f1");
    for (size_t i = 0; i < N_METHODS; i++)
        if (w->figures[i].labels != NULL)
            dns_json_put_number(&j, methods[i], w->figures[i].macro_f1, 17);
    dns_json_end_object(&j);
    dns_json_end_object(&j);
    DNS_TRY(dns_json_finish(&j));
    status = dns_replacement_commit(replacement);
    replacement = NULL;
out:
    dns_replacement_abandon(replacement);
    return status;
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
    for (size_t i = 0; i < N_METHODS; i++)
        if (w->figures[i].labels != NULL)
            printf("  %-4s macro F1 %.4f on %zu validation rows\n", methods[i],
                   w->figures[i].macro_f1, w->figures[i].n);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    struct work w = {.invocation = invocation, .s = s};
    dns_status status = DNS_OK;
    if (s->data == NULL || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--data and --out are needed");
    w.how = (dns_cpfd_student_options){.method = (dns_cpfd_method)s->method,
                                       .alpha = s->alpha,
                                       .gamma = s->gamma,
                                       .temperature = s->temperature};
    DNS_TRY(dns_confidence_parse(&w.how.confidence, s->confidence));
    DNS_TRY(dns_pool_create(&w.pool, s->jobs));
    DNS_TRY(read_rows(&w));
    DNS_TRY(fit_teachers(&w));
    DNS_TRY(train_students(&w));
    DNS_TRY(dns_classifier_save(w.student, s->out));
    if (s->report != NULL)
        DNS_TRY(write_report(&w));
    if (!invocation->quiet)
        print_text(&w);
out:
    for (size_t i = 0; i < N_METHODS; i++)
        dns_classification_free(&w.figures[i]);
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
                                         .hidden = 256};
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
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256},
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
    .examples = "  dns-train classifier --data train.csv --out m.cpm\n"
                "  dns-train classifier --data train.cpf --unlabelled pool.cpf --validation "
                "held.cpf --report r.json --out m.cpm\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
