#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "dnsel/classification.h"
#include "dnsel/classifier.h"
#include "dnsel/json.h"
#include "dnsel/labelled_csv.h"
#include "dnsel/memory.h"
#include "dnsel/metrics.h"
#include "dnsel/progress.h"

enum { TIMED_ROWS = 1000 };

struct settings {
    const char *model, *data;
    dns_string_list compared;
    bool json;
};

/* What one classifier is worth on the rows. */
struct measured {
    const char *path;
    dns_classification figures;
    double average_precision; /* of pairs */
    double calibration_error; /* of the probability of what is given; of pairs, of a duplicate */
    double microseconds;      /* a row, on one thread */
    size_t bytes;
    char **labels;
};

static dns_status duplicates_precision(double *out, const dns_labelled_rows *rows, const float *p)
{
    dns_status status = DNS_OK;
    bool *truth = NULL;
    double *scores = NULL;
    size_t n = 0, n_relevant = 0;
    DNS_TRY(dns_alloc(&truth, rows->n, sizeof *truth));
    DNS_TRY(dns_alloc(&scores, rows->n, sizeof *scores));
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->labelled[i] == 0)
            continue;
        truth[n] = rows->y[i * 2 + 1] == 1;
        scores[n] = (double)p[i * 2 + 1];
        n_relevant += truth[n++];
    }
    DNS_TRY(dns_average_precision_grouped(out, truth, scores, n, n_relevant));
out:
    dns_free(scores);
    dns_free(truth);
    return status;
}

/* Classes by the most probable one, tags and pairs by each of their probabilities. */
static dns_status calibration(double *out, const dns_labelled_rows *rows, const float *p)
{
    dns_status status = DNS_OK;
    const size_t k = rows->n_labels;
    float *said = NULL;
    uint8_t *truth = NULL;
    size_t n = 0;
    DNS_TRY(dns_alloc(&said, rows->n * k, sizeof *said));
    DNS_TRY(dns_alloc(&truth, rows->n * k, sizeof *truth));
    for (size_t i = 0; i < rows->n; i++) {
        size_t first = rows->task == DNS_LABEL_PAIR ? 1 : 0, last = k;
        if (rows->labelled[i] == 0)
            continue;
        if (rows->task == DNS_LABEL_CLASS) {
            for (size_t j = 1; j < k; j++)
                first = p[i * k + j] > p[i * k + first] ? j : first;
            last = first + 1;
        }
        for (size_t j = first; j < last; j++) {
            said[n] = p[i * k + j];
            truth[n++] = rows->y[i * k + j] == 1;
        }
    }
    *out = dns_calibration_error(said, truth, n);
out:
    dns_free(truth);
    dns_free(said);
    return status;
}

static dns_status keep_names(struct measured *m, const dns_classifier_shape *shape)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&m->labels, shape->n_labels, sizeof *m->labels));
    for (size_t i = 0; i < shape->n_labels; i++)
        DNS_TRY(dns_string_copy(&m->labels[i], shape->labels[i]));
out:
    return status;
}

static dns_status measure(struct measured *m, const char *data)
{
    dns_status status = DNS_OK;
    dns_classifier *classifier = NULL;
    dns_row_file *file = NULL;
    float *p = NULL;
    DNS_TRY(dns_classifier_open(&classifier, m->path));
    const dns_classifier_shape *shape = dns_classifier_shape_of(classifier);
    DNS_TRY(dns_labelled_file_read(&file, data, shape->task, shape->labels, shape->n_labels));
    const dns_labelled_rows *rows = dns_row_file_rows(file);
    if (rows->dim != shape->dim)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: %zu features, the classifier reads %zu", data, rows->dim,
                 shape->dim);
    DNS_TRY(dns_alloc(&p, rows->n * rows->n_labels, sizeof *p));
    DNS_TRY(dns_classifier_predict(p, classifier, rows->x, rows->n, NULL));
    const size_t timed = rows->n < TIMED_ROWS ? rows->n : TIMED_ROWS;
    double start = dns_seconds();
    DNS_TRY(dns_classifier_predict(p, classifier, rows->x, timed, NULL));
    m->microseconds = timed > 0 ? (dns_seconds() - start) / (double)timed * 1e6 : 0;
    m->bytes = dns_classifier_bytes(classifier);
    status = dns_classification_measure(&m->figures, p, rows->y, rows->labelled,
                                        dns_classifier_thresholds(classifier), rows->task, rows->n,
                                        rows->n_labels);
    if (status != DNS_OK) {
        status = dns_status_context(status, "%s", data);
        goto out;
    }
    m->average_precision = -1;
    if (rows->task == DNS_LABEL_PAIR)
        DNS_TRY(duplicates_precision(&m->average_precision, rows, p));
    DNS_TRY(calibration(&m->calibration_error, rows, p));
    DNS_TRY(keep_names(m, shape));
out:
    dns_free(p);
    dns_row_file_free(file);
    dns_classifier_free(classifier);
    return status;
}

static void free_measured(struct measured *m)
{
    for (size_t i = 0; m->labels != NULL && i < m->figures.n_labels; i++)
        dns_free(m->labels[i]);
    dns_free(m->labels);
    dns_classification_free(&m->figures);
}

static void print_text(const struct measured *m)
{
    const dns_classification *f = &m->figures;
    printf("%s: %zu rows, macro F1 %.4f, micro F1 %.4f, accuracy %.4f, calibration error %.4f",
           m->path, f->n, f->macro_f1, f->micro_f1, f->accuracy, m->calibration_error);
    if (m->average_precision >= 0)
        printf(", average precision of duplicates %.4f", m->average_precision);
    printf("; %zu bytes, %.1f us a row\n", m->bytes, m->microseconds);
    for (size_t i = 0; i < f->n_labels; i++)
        printf("  %-24s precision %.4f recall %.4f F1 %.4f of %zu\n", m->labels[i],
               f->labels[i].precision, f->labels[i].recall, f->labels[i].f1, f->labels[i].n);
}

static void put_measured(dns_json_writer *w, const struct measured *m)
{
    const dns_classification *f = &m->figures;
    dns_json_begin_object(w, NULL);
    dns_json_put_string(w, "model", m->path);
    dns_json_put_integer(w, "rows", (int64_t)f->n);
    dns_json_put_number(w, "macro_f1", f->macro_f1, 17);
    dns_json_put_number(w, "micro_f1", f->micro_f1, 17);
    dns_json_put_number(w, "accuracy", f->accuracy, 17);
    dns_json_put_number(w, "calibration_error", m->calibration_error, 17);
    if (m->average_precision >= 0)
        dns_json_put_number(w, "average_precision", m->average_precision, 17);
    dns_json_put_integer(w, "bytes", (int64_t)m->bytes);
    dns_json_put_number(w, "microseconds_a_row", m->microseconds, 6);
    dns_json_begin_array(w, "labels");
    for (size_t i = 0; i < f->n_labels; i++) {
        dns_json_begin_object(w, NULL);
        dns_json_put_string(w, "label", m->labels[i]);
        dns_json_put_integer(w, "rows", (int64_t)f->labels[i].n);
        dns_json_put_number(w, "precision", f->labels[i].precision, 17);
        dns_json_put_number(w, "recall", f->labels[i].recall, 17);
        dns_json_put_number(w, "f1", f->labels[i].f1, 17);
        dns_json_end_object(w);
    }
    dns_json_end_array(w);
    dns_json_end_object(w);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    struct measured *all = NULL;
    const size_t n = 1 + s->compared.n;
    DNS_TRY(dns_alloc(&all, n, sizeof *all));
    if (s->model == NULL || s->data == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--model and --data are needed");
    for (size_t i = 0; i < n; i++) {
        all[i].path = i == 0 ? s->model : s->compared.items[i - 1];
        DNS_TRY(measure(&all[i], s->data));
    }
    if (s->json) {
        dns_json_writer w = dns_json_writer_to(stdout, true);
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "schema", "dnsel.classifier/1");
        dns_json_begin_array(&w, "classifiers");
        for (size_t i = 0; i < n; i++)
            put_measured(&w, &all[i]);
        dns_json_end_array(&w);
        dns_json_end_object(&w);
        DNS_TRY(dns_json_finish(&w));
    }
    for (size_t i = 0; !s->json && i < n; i++)
        print_text(&all[i]);
out:
    for (size_t i = 0; all != NULL && i < n; i++)
        free_measured(&all[i]);
    dns_free(all);
    return status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
}

static const struct settings defaults = {0};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "model",
     .letter = 'm',
     .kind = DNS_OPTION_STRING,
     .offset = AT(model),
     .value = "FILE",
     .help = "the classifier, .cpm"},
    {.name = "data",
     .kind = DNS_OPTION_STRING,
     .offset = AT(data),
     .value = "FILE",
     .help = "rows with labels: .csv, .tsv or .cpf; privileged features are not used"},
    {.name = "compare",
     .kind = DNS_OPTION_LIST,
     .offset = AT(compared),
     .value = "FILE",
     .help = "another classifier on the same rows; may be repeated"},
    {.name = "json", .kind = DNS_OPTION_FLAG, .offset = AT(json), .help = "one JSON document"},
    {0},
};
const dns_command dns_eval_classifier = {
    .name = "classifier",
    .synopsis = "",
    .summary = "measure a classifier on labelled rows",
    .description =
        "Macro and micro F1, precision and recall of every label, for pairs the average "
        "precision of duplicates; expected calibration error over ten bins; bytes and time.",
    .examples = "  dns-eval classifier --model m.cpm --data test.csv --compare base.cpm\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
