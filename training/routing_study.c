#include "dnsel/routing_study.h"

#include <math.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/rank.h"

/* ---- calibration ---- */

dns_status dns_trial_calibrate(dns_calibration **out, const dns_trial_scores *s, const bool *asked)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = s->trial;
    size_t m = trial->database.n, n = 0;
    float *coarse = NULL, *fine = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&coarse, trial->queries.n, m * sizeof *coarse));
    DNS_TRY(dns_alloc(&fine, trial->queries.n, m * sizeof *fine));
    for (size_t i = 0; i < trial->queries.n; i++)
        for (size_t j = 0; (asked == NULL || asked[i]) && j < m; j++) {
            coarse[n] = s->coarse[i * m + j];
            fine[n++] = s->fine[i * m + j] / 2 + 0.5f;
        }
    DNS_TRY(dns_calibration_fit(out, coarse, fine, NULL, n));
out:
    dns_free(coarse);
    dns_free(fine);
    return status;
}

static size_t fold_of(const dns_trial *trial, size_t query)
{
    return dns_training_set_video(trial->set, trial->query_video[query])->fold;
}

void dns_trial_of_fold(bool *asked, const dns_trial *trial, size_t fold, bool others)
{
    for (size_t i = 0; i < trial->queries.n; i++)
        asked[i] = (fold_of(trial, i) == fold) != others;
}

static bool any(const bool *asked, size_t n)
{
    return memchr(asked, true, n * sizeof *asked) != NULL;
}

dns_status dns_trial_expect(float *expected, const dns_trial_scores *s)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = s->trial;
    size_t n = trial->queries.n, m = trial->database.n;
    bool *others = NULL;
    dns_calibration *calibration = NULL;
    DNS_TRY(dns_alloc(&others, n, sizeof *others));
    for (size_t fold = 0; fold < dns_training_set_n_folds(trial->set); fold++) {
        dns_trial_of_fold(others, trial, fold, true);
        DNS_TRY(dns_trial_calibrate(&calibration, s, any(others, n) ? others : NULL));
        for (size_t i = 0; i < n; i++)
            if (fold_of(trial, i) == fold)
                dns_calibration_map(calibration, expected + i * m, NULL, s->coarse + i * m, m);
        dns_calibration_free(calibration);
        calibration = NULL;
    }
out:
    dns_calibration_free(calibration);
    dns_free(others);
    return status;
}

/* ---- the study ---- */

dns_status dns_trial_route(dns_retrieval **out, const dns_trial_scores *s, const float *confidence,
                           double hybrid_share, size_t bootstrap_rounds)
{
    const dns_trial *trial = s->trial;
    size_t n = trial->queries.n, m = trial->database.n;
    dns_retrieval_query *queries;
    dns_retrieval_options options = DNS_RETRIEVAL_OPTIONS_INIT;
    options.calibrated = true;
    options.hybrid_share = hybrid_share;
    options.bootstrap_rounds = bootstrap_rounds;
    *out = NULL;
    dns_status status = dns_alloc(&queries, n, sizeof *queries);
    for (size_t i = 0; i < n && status == DNS_OK; i++)
        queries[i] =
            (dns_retrieval_query){.n = m,
                                  .coarse = s->coarse + i * m,
                                  .expected = s->expected + i * m,
                                  .confidence = confidence != NULL ? confidence + i * m : NULL,
                                  .fine = s->fine + i * m,
                                  .relevant = trial->relevant + i * m,
                                  .n_relevant = trial->n_relevant[i],
                                  .edit = trial->query_edit[i]};
    if (status == DNS_OK)
        status = dns_retrieval_run(out, queries, n, &options);
    dns_free(queries);
    return status;
}

dns_ranker dns_study_best_router(const dns_retrieval *r, double tolerance)
{
    static const dns_ranker order[] = {DNS_RANKER_COARSE, DNS_RANKER_EXPECTED, DNS_RANKER_SELECTOR,
                                       DNS_RANKER_HYBRID};
    enum { N = sizeof order / sizeof order[0] };
    double best = -1;
    for (size_t i = 0; i < N; i++)
        if (dns_retrieval_get(r, order[i], 0, 0) != NULL)
            best = fmax(best, dns_retrieval_area(r, order[i]));
    for (size_t i = 0; i < N; i++)
        if (dns_retrieval_get(r, order[i], 0, 0) != NULL &&
            dns_retrieval_area(r, order[i]) >= best - tolerance)
            return order[i];
    return DNS_RANKER_COARSE;
}

void dns_study_losses(float *loss, const dns_retrieval *r, dns_ranker ranker, size_t n_queries)
{
    const double *full = dns_retrieval_precisions(r, ranker, DNS_BUDGETS - 1);
    for (size_t b = 0; b < DNS_BUDGETS; b++) {
        const double *here = dns_retrieval_precisions(r, ranker, b);
        for (size_t i = 0; i < n_queries; i++)
            loss[i * DNS_BUDGETS + b] = (float)fmin(1, fmax(0, full[i] - here[i]));
    }
}

dns_status dns_trial_threshold(double *threshold, double *recall, const dns_trial_scores *s,
                               double precision)
{
    dns_status status = DNS_OK;
    size_t n = s->trial->queries.n * s->trial->database.n, n_all = 0, hits = 0;
    uint32_t *order = NULL;
    *threshold = (double)INFINITY;
    *recall = 0;
    DNS_TRY(dns_alloc(&order, n, sizeof *order));
    DNS_TRY(dns_rank_descending(order, s->fine, n));
    for (size_t i = 0; i < n; i++)
        n_all += s->trial->relevant[i];
    for (size_t r = 0; r < n; r++) {
        hits += s->trial->relevant[order[r]];
        bool last_of_equals = r + 1 == n || s->fine[order[r + 1]] < s->fine[order[r]];
        if (last_of_equals && (double)hits >= precision * (double)(r + 1)) {
            *threshold = (double)s->fine[order[r]] / 2 + 0.5;
            *recall = (double)hits / (double)n_all;
        }
    }
out:
    dns_free(order);
    return status;
}
