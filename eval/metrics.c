#include "dnsel/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "dnsel/memory.h"
#include "dnsel/random.h"

struct ranked {
    double score;
    size_t index;
};

static int by_score_then_index(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static dns_status sorted_copy(struct ranked **out, const double *scores, size_t n)
{
    dns_status status = dns_alloc(out, n, sizeof **out);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (struct ranked){isnan(scores[i]) ? -INFINITY : scores[i], i};
    qsort(*out, n, sizeof **out, by_score_then_index);
    return DNS_OK;
}

dns_status dns_rank(size_t *order, const double *scores, size_t n)
{
    struct ranked *items;
    dns_status status = sorted_copy(&items, scores, n);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        order[i] = items[i].index;
    dns_free(items);
    return DNS_OK;
}

double dns_average_precision(const bool *hits, size_t n, size_t n_relevant)
{
    double sum = 0;
    size_t n_hits = 0;
    for (size_t r = 0; r < n; r++)
        if (hits[r])
            sum += (double)++n_hits / (double)(r + 1);
    return n_relevant > 0 ? sum / (double)n_relevant : 0;
}

double dns_average_precision_trapezoid(const bool *hits, size_t n, size_t n_relevant)
{
    double sum = 0;
    size_t n_hits = 0;
    for (size_t r = 0; r < n; r++) {
        if (!hits[r])
            continue;
        double before = r == 0 ? 1 : (double)n_hits / (double)r;
        double after = (double)(n_hits + 1) / (double)(r + 1);
        sum += (before + after) / 2;
        n_hits++;
    }
    return n_relevant > 0 ? sum / (double)n_relevant : 0;
}

dns_status dns_average_precision_grouped(double *out, const bool *labels, const double *scores,
                                         size_t n, size_t n_relevant)
{
    struct ranked *items;
    *out = 0;
    dns_status status = sorted_copy(&items, scores, n);
    if (status != DNS_OK || n_relevant == 0)
        goto out;
    double sum = 0;
    size_t n_hits = 0, n_before = 0;
    for (size_t r = 0; r < n; r++) {
        n_hits += labels[items[r].index];
        if (r + 1 < n && items[r + 1].score == items[r].score)
            continue;
        sum += (double)(n_hits - n_before) * ((double)n_hits / (double)(r + 1));
        n_before = n_hits;
    }
    *out = sum / (double)n_relevant;
out:
    dns_free(items);
    return status;
}

void dns_precision_recall(double precision[DNS_PR_POINTS], const bool *hits, size_t n,
                          size_t n_relevant)
{
    for (size_t i = 0; i < DNS_PR_POINTS; i++)
        precision[i] = 0;
    size_t n_hits = 0;
    for (size_t r = 0; r < n && n_relevant > 0; r++) {
        if (!hits[r])
            continue;
        n_hits++;
        double p = (double)n_hits / (double)(r + 1);
        /* i / 20 <= n_hits / n_relevant, in whole numbers: every recall level that this hit reaches
         */
        for (size_t i = 0; i < DNS_PR_POINTS && i * n_relevant <= n_hits * (DNS_PR_POINTS - 1); i++)
            if (p > precision[i])
                precision[i] = p;
    }
}

double dns_recall_at(const bool *hits, size_t n, size_t n_relevant, size_t k)
{
    size_t n_hits = 0;
    for (size_t r = 0; r < n && r < k; r++)
        n_hits += hits[r];
    return n_relevant > 0 ? (double)n_hits / (double)n_relevant : 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

dns_status dns_bootstrap_mean(dns_interval *out, const double *values, size_t n, size_t n_rounds,
                              uint64_t seed)
{
    *out = (dns_interval){NAN, NAN, NAN};
    if (n == 0 || n_rounds == 0)
        return dns_status_set(DNS_ERR_ARG, "bootstrap of %zu values in %zu rounds", n, n_rounds);
    double *means;
    dns_status status = dns_alloc(&means, n_rounds, sizeof *means);
    if (status != DNS_OK)
        return status;
    dns_random random = dns_random_seed(seed);
    for (size_t round = 0; round < n_rounds; round++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += values[dns_random_below(&random, n)];
        means[round] = sum / (double)n;
    }
    qsort(means, n_rounds, sizeof *means, by_value);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    out->mean = sum / (double)n;
    out->low = means[(size_t)(0.025 * (double)(n_rounds - 1) + 0.5)];
    out->high = means[(size_t)(0.975 * (double)(n_rounds - 1) + 0.5)];
    dns_free(means);
    return DNS_OK;
}

/* 97.5 % point of Student's t; beyond 30 by the first term of its expansion about the normal. */
static double student_t(size_t freedom)
{
    static const double table[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                   2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                   2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                   2.060,  2.056, 2.052, 2.048, 2.045, 2.042};
    return freedom <= 30 ? table[freedom - 1] : 1.95996 + 2.372 / (double)freedom;
}

dns_interval dns_student_mean(const double *values, size_t n)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        mean += values[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    const double half =
        n > 1 ? student_t(n - 1) * sqrt(squares / (double)(n - 1) / (double)n) : NAN;
    return (dns_interval){mean, mean - half, mean + half};
}
