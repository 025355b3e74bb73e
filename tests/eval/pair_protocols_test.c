/*
 * SVD, VCDB and the pooled figures of FIVR, for which no scores of published evaluators exist,
 * against their definitions: every threshold and every rank is counted anew, without sorting. The
 * corpora have ties, videos without a score, queries without labels and labels of absent videos.
 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/protocol.h"

enum { N_QUERIES = 6, N_VIDEOS = 24, N_ROUNDS = 40 };

/* Videos 0 .. N_QUERIES - 1 are the queries. */
typedef struct corpus {
    double score[N_QUERIES][N_VIDEOS]; /* NAN: none */
    int label[N_QUERIES][N_VIDEOS];    /* -1: none */
} corpus;

static void draw(corpus *c, uint64_t seed)
{
    dns_random random = dns_random_seed(seed);
    bool absent[N_VIDEOS];
    for (size_t j = 0; j < N_VIDEOS; j++)
        absent[j] = j >= N_QUERIES && dns_random_below(&random, 6) == 0;
    for (size_t q = 0; q < N_QUERIES; q++)
        for (size_t j = 0; j < N_VIDEOS; j++) {
            /* Few distinct values: most scores are shared. */
            c->score[q][j] = absent[j] ? NAN : (double)dns_random_below(&random, 9) / 8;
            c->label[q][j] =
                dns_random_below(&random, 3) == 0 ? (int)dns_random_below(&random, 2) : -1;
        }
    for (size_t j = 0; j < N_VIDEOS; j++)
        c->label[0][j] = c->label[0][j] == 1 ? 0 : c->label[0][j]; /* one query has no positive */
}

/* Sum over the distinct thresholds of (recall gained) * (precision there). */
static double grouped_average_precision(const double *score, const bool *relevant, size_t n)
{
    double sum = 0, n_relevant = 0;
    for (size_t i = 0; i < n; i++)
        n_relevant += relevant[i];
    for (size_t t = 0; t < n; t++) {
        double found = 0, at_least = 0, gained = 0;
        bool counted = false;
        for (size_t i = 0; i < n; i++) {
            counted = counted || (i < t && score[i] == score[t]);
            found += score[i] >= score[t] && relevant[i];
            at_least += score[i] >= score[t];
            gained += score[i] == score[t] && relevant[i];
        }
        if (!counted)
            sum += gained / n_relevant * (found / at_least);
    }
    return sum;
}

/* Mean over the relevant of precision at their ranks; ties in order of the videos. */
static double average_precision(const double *score, const bool *relevant, size_t n)
{
    double sum = 0, n_relevant = 0;
    for (size_t i = 0; i < n; i++) {
        double rank = 1, hits = 1;
        n_relevant += relevant[i];
        for (size_t j = 0; j < n; j++) {
            bool before = score[j] > score[i] || (score[j] == score[i] && j < i);
            rank += before;
            hits += before && relevant[j];
        }
        sum += relevant[i] ? hits / rank : 0;
    }
    return sum / n_relevant;
}

static bool any(const bool *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (values[i])
            return true;
    return false;
}

/* ---- through the protocols ---- */

/* {"v00": {"v01": 0.5, ...}, ...}; videos that are absent are named nowhere. */
static dns_scores *scores_of(const corpus *c)
{
    static char text[N_QUERIES * N_VIDEOS * 24];
    size_t at = 0;
    dns_json *json;
    dns_scores *scores;
    for (size_t q = 0; q < N_QUERIES; q++) {
        at += (size_t)sprintf(text + at, "%s\"v%02zu\":{", q == 0 ? "{" : "},", q);
        for (size_t j = 0, n = 0; j < N_VIDEOS; j++)
            if (!isnan(c->score[q][j]))
                at += (size_t)sprintf(text + at, "%s\"v%02zu\":%.3f", n++ > 0 ? "," : "", j,
                                      c->score[q][j]);
    }
    sprintf(text + at, "}}");
    assert_ok(dns_json_parse(&json, text, strlen(text), "scores"));
    assert_ok(dns_scores_from_json(&scores, json));
    dns_json_free(json);
    return scores;
}

static double figure(const char *protocol, const char *annotations, const dns_scores *scores,
                     const char *name)
{
    dns_json *json;
    dns_protocol_report *report;
    double value = NAN;
    assert_ok(dns_json_parse(&json, annotations, strlen(annotations), "annotations"));
    assert_ok(dns_protocol_run(&report, protocol, json, scores, NULL));
    for (size_t i = 0; i < report->n_figures; i++)
        if (strcmp(report->figures[i].name, name) == 0)
            value = report->figures[i].value;
    dns_protocol_report_free(report);
    dns_json_free(json);
    return value;
}

/* All labels >= `least`, as {"pairs": [[query, video, label], ...]}. */
static const char *pairs_of(const corpus *c, int least)
{
    static char text[N_QUERIES * N_VIDEOS * 24];
    size_t at = (size_t)sprintf(text, "{\"pairs\":["), n = 0;
    for (size_t q = 0; q < N_QUERIES; q++)
        for (size_t j = 0; j < N_VIDEOS; j++)
            if (c->label[q][j] >= least && j != q)
                at += (size_t)sprintf(text + at, "%s[\"v%02zu\",\"v%02zu\",%d]", n++ > 0 ? "," : "",
                                      q, j, c->label[q][j]);
    sprintf(text + at, "]}");
    return text;
}

/* The labelled of the query, and those that no pair names. */
static void svd_is_its_definition(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        corpus c;
        bool named[N_VIDEOS] = {false};
        double sum = 0, n_queries = 0;
        draw(&c, round);
        for (size_t q = 0; q < N_QUERIES; q++)
            for (size_t j = 0; j < N_VIDEOS; j++)
                named[j] = named[j] || j < N_QUERIES || (c.label[q][j] >= 0 && j != q);
        for (size_t q = 0; q < N_QUERIES; q++) {
            double score[N_VIDEOS];
            bool relevant[N_VIDEOS];
            size_t n = 0;
            for (size_t j = 0; j < N_VIDEOS; j++) {
                bool labelled = c.label[q][j] >= 0 && j != q;
                if (isnan(c.score[q][j]) || (!labelled && named[j]))
                    continue;
                score[n] = c.score[q][j];
                relevant[n++] = labelled && c.label[q][j] == 1;
            }
            if (!any(relevant, n))
                continue;
            sum += grouped_average_precision(score, relevant, n);
            n_queries++;
        }
        dns_scores *scores = scores_of(&c);
        double got = figure("SVD", pairs_of(&c, 0), scores, "mAP");
        assert_true(n_queries > 0 && n_queries < N_QUERIES);
        if (fabs(got - sum / n_queries) > 1e-12)
            fail_msg("corpus %d: %.17g, by definition %.17g", (int)round, got, sum / n_queries);
        dns_scores_free(scores);
    }
}

/* Everything but the query itself; a pair counts in both directions. */
static void vcdb_is_its_definition(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        corpus c;
        double sum = 0, n_queries = 0, pooled[N_QUERIES * N_VIDEOS];
        bool pooled_relevant[N_QUERIES * N_VIDEOS];
        size_t n_pooled = 0;
        draw(&c, 1000 + round);
        for (size_t q = 0; q < N_QUERIES; q++) {
            double score[N_VIDEOS];
            bool relevant[N_VIDEOS];
            size_t n = 0;
            for (size_t j = 0; j < N_VIDEOS; j++) {
                if (j == q || isnan(c.score[q][j]))
                    continue;
                score[n] = c.score[q][j];
                relevant[n++] =
                    c.label[q][j] == 1 || (j < N_QUERIES && c.label[j][q] == 1 && j != q);
            }
            if (!any(relevant, n))
                continue;
            sum += average_precision(score, relevant, n);
            n_queries++;
            memcpy(pooled + n_pooled, score, n * sizeof *score);
            memcpy(pooled_relevant + n_pooled, relevant, n * sizeof *relevant);
            n_pooled += n;
        }
        double all = grouped_average_precision(pooled, pooled_relevant, n_pooled);
        dns_scores *scores = scores_of(&c);
        double mean = figure("VCDB", pairs_of(&c, 1), scores, "mAP");
        double micro = figure("VCDB", pairs_of(&c, 1), scores, "uAP");
        if (fabs(mean - sum / n_queries) > 1e-12 || fabs(micro - all) > 1e-12)
            fail_msg("corpus %d: %.17g and %.17g, by definition %.17g and %.17g", (int)round, mean,
                     micro, sum / n_queries, all);
        dns_scores_free(scores);
    }
}

/* Labels 1 become ND: DSVR is a mean over queries, DSVD pools their pairs. */
static void fivr_is_its_definition(void **state)
{
    static char text[N_QUERIES * N_VIDEOS * 24];
    (void)state;
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        corpus c;
        double sum = 0, n_queries = 0, pooled[N_QUERIES * N_VIDEOS];
        bool pooled_relevant[N_QUERIES * N_VIDEOS];
        size_t n_pooled = 0, at = (size_t)sprintf(text, "{\"5k\":{\"queries\":[");
        draw(&c, 2000 + round);
        for (size_t q = 0; q < N_QUERIES; q++)
            at += (size_t)sprintf(text + at, "%s\"v%02zu\"", q > 0 ? "," : "", q);
        at += (size_t)sprintf(text + at, "],\"database\":[");
        for (size_t j = 0; j < N_VIDEOS; j++)
            at += (size_t)sprintf(text + at, "%s\"v%02zu\"", j > 0 ? "," : "", j);
        at += (size_t)sprintf(text + at, "]},\"annotation\":{");
        for (size_t q = 0; q < N_QUERIES; q++) {
            double score[N_VIDEOS];
            bool relevant[N_VIDEOS];
            size_t n = 0, n_labels = 0;
            at += (size_t)sprintf(text + at, "%s\"v%02zu\":{\"ND\":[", q > 0 ? "," : "", q);
            for (size_t j = 0; j < N_VIDEOS; j++) {
                if (c.label[q][j] == 1 && j != q)
                    at += (size_t)sprintf(text + at, "%s\"v%02zu\"", n_labels++ > 0 ? "," : "", j);
                if (j == q || isnan(c.score[q][j]))
                    continue;
                score[n] = c.score[q][j];
                relevant[n++] = c.label[q][j] == 1;
            }
            at += (size_t)sprintf(text + at, "]}");
            if (!any(relevant, n))
                continue;
            sum += average_precision(score, relevant, n);
            n_queries++;
            memcpy(pooled + n_pooled, score, n * sizeof *score);
            memcpy(pooled_relevant + n_pooled, relevant, n * sizeof *relevant);
            n_pooled += n;
        }
        sprintf(text + at, "}}");
        double all = grouped_average_precision(pooled, pooled_relevant, n_pooled);
        dns_scores *scores = scores_of(&c);
        double mean = figure("FIVR-5K", text, scores, "DSVR");
        double micro = figure("FIVR-5K", text, scores, "DSVD");
        if (fabs(mean - sum / n_queries) > 1e-12 || fabs(micro - all) > 1e-12)
            fail_msg("corpus %d: %.17g and %.17g, by definition %.17g and %.17g", (int)round, mean,
                     micro, sum / n_queries, all);
        dns_scores_free(scores);
    }
}

/* average_precision_score of scikit-learn 1.2.1 gave these figures. */
static void grouped_precision_is_that_of_scikit_learn(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        double scores[12];
        bool labels[12];
        double expected;
    } cases[] = {
        {12,
         {0.375, 0, 0.125, 0, 0.5, 0.375, 0, 0, 0.5, 0.125, 0, 0.375},
         {0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1},
         0.7421768707482993},
        {12,
         {0.25, 0.125, 0.125, 0.25, 0.125, 0.25, 0, 0.25, 0.125, 0.25, 0, 0},
         {0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1},
         0.43888888888888888},
        {9,
         {0.25, 0.125, 0.125, 0.375, 0, 0, 0.125, 0.25, 0.25},
         {1, 1, 1, 0, 1, 1, 1, 1, 0},
         0.67120181405895685},
        {12,
         {0.125, 0.125, 0.125, 0, 0, 0, 0, 0.125, 0.125, 0, 0.125, 0},
         {1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 0},
         0.5},
        {7, {0, 0, 0, 0, 0, 0, 0}, {0, 1, 0, 0, 0, 1, 1}, 0.42857142857142855},
        {10,
         {3.375, 2, 0, 1, 3.25, 1.5, 0.625, 1.375, 0.625, 1.125},
         {0, 0, 1, 0, 0, 1, 1, 0, 0, 1},
         0.32916666666666666},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n_relevant = 0;
        double got;
        for (size_t j = 0; j < cases[i].n; j++)
            n_relevant += cases[i].labels[j];
        assert_ok(dns_average_precision_grouped(&got, cases[i].labels, cases[i].scores, cases[i].n,
                                                n_relevant));
        assert_true(fabs(got - cases[i].expected) < 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(svd_is_its_definition),
        cmocka_unit_test(vcdb_is_its_definition),
        cmocka_unit_test(fivr_is_its_definition),
        cmocka_unit_test(grouped_precision_is_that_of_scikit_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
