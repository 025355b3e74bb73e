#include "dnsel/classification.h"

#include <math.h>
#include <stdlib.h>

#include "dnsel/memory.h"

enum { BINS = 10 };

static double ratio(size_t part, size_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static bool is_given(const float *p, const float *thresholds, dns_label_task task, size_t k,
                     size_t label)
{
    if (task == DNS_LABEL_TAGS)
        return p[label] > (thresholds != NULL ? thresholds[label] : 0.5F);
    size_t best = 0;
    for (size_t j = 1; j < k; j++)
        best = p[j] > p[best] ? j : best;
    return best == label;
}

struct counts {
    size_t both, given, true_;
};

static void summarise(dns_classification *out, const struct counts *counts, dns_label_task task)
{
    struct counts all = {0};
    size_t seen = 0, wrong = 0;
    for (size_t j = 0; j < out->n_labels; j++) {
        const struct counts *c = &counts[j];
        out->labels[j] =
            (dns_label_figures){c->true_, ratio(c->both, c->given), ratio(c->both, c->true_),
                                ratio(2 * c->both, c->given + c->true_)};
        seen += c->given + c->true_ > 0;
        out->macro_f1 += out->labels[j].f1;
        all.both += c->both;
        all.given += c->given;
        all.true_ += c->true_;
        wrong += c->given + c->true_ - 2 * c->both;
    }
    out->macro_f1 /= (double)(seen > 0 ? seen : 1);
    out->micro_f1 = ratio(2 * all.both, all.given + all.true_);
    out->accuracy =
        task == DNS_LABEL_TAGS ? 1 - ratio(wrong, out->n * out->n_labels) : ratio(all.both, out->n);
}

dns_status dns_classification_measure(dns_classification *out, const float *probabilities,
                                      const float *y, const uint8_t *labelled,
                                      const float *thresholds, dns_label_task task, size_t n,
                                      size_t n_labels)
{
    dns_status status = DNS_OK;
    struct counts *counts = NULL;
    *out = (dns_classification){.n_labels = n_labels};
    DNS_TRY(dns_alloc(&counts, n_labels, sizeof *counts));
    DNS_TRY(dns_alloc(&out->labels, n_labels, sizeof *out->labels));
    for (size_t i = 0; i < n; i++) {
        if (labelled[i] == 0)
            continue;
        out->n++;
        for (size_t j = 0; j < n_labels; j++) {
            bool given = is_given(probabilities + i * n_labels, thresholds, task, n_labels, j);
            bool real = y[i * n_labels + j] > 0.5F;
            counts[j].both += given && real;
            counts[j].given += given;
            counts[j].true_ += real;
        }
    }
    if (out->n == 0)
        DNS_FAIL(DNS_ERR_ARG, "no labelled row to measure a classifier with");
    summarise(out, counts, task);
out:
    dns_free(counts);
    if (status != DNS_OK)
        dns_classification_free(out);
    return status;
}

void dns_classification_free(dns_classification *figures)
{
    dns_free(figures->labels);
    *figures = (dns_classification){0};
}

/* A score with its truth, to be sorted. */
struct scored {
    float score;
    bool truth;
};

static int by_score(const void *a, const void *b)
{
    float x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return (x < y) - (x > y);
}

/* The threshold lies between the last score that is given and the next one. */
static float best_threshold(struct scored *scored, size_t n)
{
    size_t positives = 0, hits = 0;
    double best = 0, threshold = 0.5;
    qsort(scored, n, sizeof *scored, by_score);
    for (size_t i = 0; i < n; i++)
        positives += scored[i].truth;
    for (size_t i = 0; i < n; i++) {
        hits += scored[i].truth;
        double next = i + 1 < n ? (double)scored[i + 1].score : 0;
        double f1 = ratio(2 * hits, i + 1 + positives);
        if ((double)scored[i].score > next && f1 > best) {
            best = f1;
            threshold = ((double)scored[i].score + next) / 2;
        }
    }
    return (float)threshold;
}

dns_status dns_tag_thresholds(float *thresholds, const float *probabilities, const float *y,
                              const uint8_t *labelled, size_t n, size_t n_labels)
{
    dns_status status = DNS_OK;
    struct scored *scored = NULL;
    DNS_TRY(dns_alloc(&scored, n, sizeof *scored));
    for (size_t j = 0; j < n_labels; j++) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            if (labelled[i] != 0)
                scored[count++] =
                    (struct scored){probabilities[i * n_labels + j], y[i * n_labels + j] > 0.5F};
        thresholds[j] = best_threshold(scored, count);
    }
out:
    dns_free(scored);
    return status;
}

dns_status dns_auroc(double *out, const float *scores, const uint8_t *truth, size_t n)
{
    dns_status status = DNS_OK;
    struct scored *scored = NULL;
    double area = 0, above = 0; /* positives with a larger score than the stretch at hand */
    DNS_TRY(dns_alloc(&scored, n, sizeof *scored));
    for (size_t i = 0; i < n; i++)
        scored[i] = (struct scored){scores[i], truth[i] != 0};
    qsort(scored, n, sizeof *scored, by_score);
    for (size_t i = 0, end; i < n; i = end) {
        double positives = 0, negatives = 0;
        for (end = i; end < n && scored[end].score == scored[i].score; end++) {
            positives += scored[end].truth;
            negatives += !scored[end].truth;
        }
        area += negatives * (above + positives / 2);
        above += positives;
    }
    double pairs = above * ((double)n - above);
    *out = pairs > 0 ? area / pairs : 0.5;
out:
    dns_free(scored);
    return status;
}

double dns_calibration_error(const float *probabilities, const uint8_t *truth, size_t n)
{
    double sums[BINS] = {0}, hits[BINS] = {0}, error = 0;
    for (size_t i = 0; i < n; i++) {
        int bin = (int)(probabilities[i] * BINS);
        bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
        sums[bin] += (double)probabilities[i];
        hits[bin] += truth[i] != 0;
    }
    for (size_t bin = 0; bin < BINS; bin++)
        error += fabs(hits[bin] - sums[bin]);
    return n > 0 ? error / (double)n : 0;
}
