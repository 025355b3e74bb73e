#include "dnsel/retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/budget.h"
#include "dnsel/memory.h"
#include "dnsel/router.h"

const double dns_budgets[DNS_BUDGETS] = {0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1};

static const char *const ranker_names[DNS_RANKER_COUNT] = {
    "random", "coarse",      "selector",          "hybrid",     "expected",
    "pair",   "oracle-fine", "oracle-difference", "oracle-gain"};

const char *dns_ranker_name(dns_ranker ranker)
{
    return ranker_names[ranker];
}

struct dns_retrieval {
    bool present[DNS_RANKER_COUNT];
    char **edits; /* [n_edits]; the first is "all" */
    size_t n_edits;
    dns_retrieval_figures *figures; /* [ranker, budget, edit] */
    double *precisions;             /* [ranker, budget, n_queries] */
    size_t n_queries;
};

/* What one ranker at one budget gives for one query. */
struct outcome {
    double ap, recall_1, recall_10, curve[DNS_PR_POINTS];
};

struct run {
    const dns_retrieval_query *queries;
    size_t n_queries, n_most; /* videos of the longest query */
    const dns_retrieval_options *options;
    dns_retrieval *out;
    size_t *edit_of;          /* [n_queries] */
    struct outcome *outcomes; /* [n_queries] of the ranker and budget in hand */
    double *full;             /* [n_queries] AP of full fine ranking */
    double *pair_scores;      /* pairs of all queries, of the ranker and budget in hand */
    bool *pair_labels;
    size_t *pair_start; /* [n_queries + 1] */
    /* Scratch, [n_most]. */
    uint32_t *chosen;
    float *key;
    double *scores;
    size_t *order;
    bool *hits;
};

static size_t figures_at(const dns_retrieval *r, dns_ranker ranker, size_t budget, size_t edit)
{
    return ((size_t)ranker * DNS_BUDGETS + budget) * r->n_edits + edit;
}

static size_t precision_at(const dns_retrieval *r, dns_ranker ranker, size_t budget)
{
    return ((size_t)ranker * DNS_BUDGETS + budget) * r->n_queries;
}

/* The oracles are top-k by a key that knows the fine score, so they are the coarse router on that
 * key. */
static void oracle_key(float *key, const dns_retrieval_query *q, dns_ranker ranker, bool calibrated)
{
    for (size_t i = 0; i < q->n; i++) {
        float gain = q->fine[i] / 2 + 0.5f - q->expected[i];
        if (!calibrated) /* whatever is chosen rises: relevant ones first, then what rises least */
            gain = q->relevant[i] ? 2 + q->fine[i] : q->fine[i];
        key[i] = ranker == DNS_RANKER_ORACLE_FINE         ? q->fine[i]
                 : ranker == DNS_RANKER_ORACLE_DIFFERENCE ? fabsf(gain)
                 : q->relevant[i]                         ? gain
                                                          : -gain;
    }
}

static dns_status choose(struct run *run, const dns_retrieval_query *q, size_t k, dns_ranker ranker,
                         size_t number)
{
    dns_router_options router = {.router = (dns_router)ranker,
                                 .hybrid_share = run->options->hybrid_share,
                                 .seed = run->options->seed + number};
    dns_router_input input = {.n = q->n,
                              .coarse = q->coarse,
                              .confidence = q->confidence,
                              .expected = q->expected,
                              .probability = q->probability};
    if (ranker >= DNS_RANKER_ORACLE_FINE) {
        oracle_key(run->key, q, ranker, run->options->calibrated);
        router.router = DNS_ROUTER_COARSE;
        input.coarse = run->key;
    }
    return dns_router_choose(run->chosen, k, &input, &router);
}

/* One list of fine and coarse scores, as dnsel/search.h makes it. */
static void mix(double *scores, const struct run *run, const dns_retrieval_query *q, size_t k)
{
    double lowest = INFINITY;
    for (size_t i = 0; i < q->n; i++)
        scores[i] = (double)q->expected[i];
    for (size_t i = 0; i < k; i++)
        lowest = fmin(lowest, (double)q->fine[run->chosen[i]] / 2 + 0.5);
    for (size_t i = 0; i < q->n && !run->options->calibrated; i++)
        if (scores[i] >= lowest)
            scores[i] = lowest - 1e-6 * (1 - (double)q->coarse[i]) - 1e-6;
    for (size_t i = 0; i < k; i++)
        scores[run->chosen[i]] = (double)q->fine[run->chosen[i]] / 2 + 0.5;
}

static dns_status rank_query(struct run *run, size_t number, dns_ranker ranker, double share)
{
    const dns_retrieval_query *q = &run->queries[number];
    struct outcome *o = &run->outcomes[number];
    size_t k = dns_budget_share(share, q->n), n = 0;
    double *pairs = run->pair_scores + run->pair_start[number];
    bool *labels = run->pair_labels + run->pair_start[number];
    dns_status status = k > 0 ? choose(run, q, k, ranker, number) : DNS_OK;
    if (status != DNS_OK)
        return status;
    mix(run->scores, run, q, k);
    for (size_t i = 0; i < q->n; i++) {
        if (q->excluded != NULL && q->excluded[i])
            continue;
        pairs[n] = run->scores[i];
        labels[n++] = q->relevant[i];
    }
    status = dns_rank(run->order, pairs, n);
    for (size_t r = 0; r < n && status == DNS_OK; r++)
        run->hits[r] = labels[run->order[r]];
    o->ap = dns_average_precision(run->hits, n, q->n_relevant);
    o->recall_1 = n > 0 && run->hits[0];
    o->recall_10 = dns_recall_at(run->hits, n, q->n_relevant, 10);
    dns_precision_recall(o->curve, run->hits, n, q->n_relevant);
    return status;
}

/* Figures of the queries of one class. */
static dns_status summarise(struct run *run, dns_retrieval_figures *f, size_t edit)
{
    dns_status status = DNS_OK;
    double *ap = NULL, *loss = NULL, *scores = NULL;
    bool *labels = NULL;
    size_t n = 0, n_pairs = 0, n_relevant = 0;
    DNS_TRY(dns_alloc(&ap, run->n_queries, sizeof *ap));
    DNS_TRY(dns_alloc(&loss, run->n_queries, sizeof *loss));
    DNS_TRY(dns_alloc(&scores, run->pair_start[run->n_queries], sizeof *scores));
    DNS_TRY(dns_alloc(&labels, run->pair_start[run->n_queries], sizeof *labels));
    for (size_t i = 0; i < run->n_queries; i++) {
        const struct outcome *o = &run->outcomes[i];
        size_t start = run->pair_start[i], length = run->pair_start[i + 1] - start;
        if (edit != 0 && run->edit_of[i] != edit)
            continue;
        ap[n] = o->ap;
        loss[n++] = run->full[i] - o->ap;
        f->recall_1 += o->recall_1;
        f->recall_10 += o->recall_10;
        for (size_t p = 0; p < DNS_PR_POINTS; p++)
            f->curve[p] += o->curve[p];
        memcpy(scores + n_pairs, run->pair_scores + start, length * sizeof *scores);
        memcpy(labels + n_pairs, run->pair_labels + start, length * sizeof *labels);
        n_pairs += length;
        n_relevant += run->queries[i].n_relevant;
    }
    f->n_queries = n;
    f->recall_1 /= (double)n;
    f->recall_10 /= (double)n;
    for (size_t p = 0; p < DNS_PR_POINTS; p++)
        f->curve[p] /= (double)n;
    DNS_TRY(dns_bootstrap_mean(&f->map, ap, n, run->options->bootstrap_rounds, run->options->seed));
    DNS_TRY(
        dns_bootstrap_mean(&f->loss, loss, n, run->options->bootstrap_rounds, run->options->seed));
    DNS_TRY(dns_average_precision_grouped(&f->micro_ap, labels, scores, n_pairs, n_relevant));
out:
    dns_free(ap);
    dns_free(loss);
    dns_free(scores);
    dns_free(labels);
    return status;
}

static dns_status run_ranker(struct run *run, dns_ranker ranker, size_t budget)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < run->n_queries && status == DNS_OK; i++) {
        status = rank_query(run, i, ranker, dns_budgets[budget]);
        run->out->precisions[precision_at(run->out, ranker, budget) + i] = run->outcomes[i].ap;
    }
    for (size_t edit = 0; edit < run->out->n_edits && status == DNS_OK; edit++)
        status =
            summarise(run, &run->out->figures[figures_at(run->out, ranker, budget, edit)], edit);
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the classes, "all" first; which class each query is of. */
static dns_status collect_edits(struct run *run)
{
    dns_status status = DNS_OK;
    const char **names = NULL;
    size_t n = 0;
    DNS_TRY(dns_alloc(&names, run->n_queries, sizeof *names));
    for (size_t i = 0; i < run->n_queries; i++)
        if (run->queries[i].edit[0] != '\0')
            names[n++] = run->queries[i].edit;
    if (n > 0)
        qsort(names, n, sizeof *names, by_text);
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++)
        if (distinct == 0 || strcmp(names[distinct - 1], names[i]) != 0)
            names[distinct++] = names[i];
    DNS_TRY(dns_alloc(&run->out->edits, distinct + 1, sizeof *run->out->edits));
    run->out->n_edits = distinct + 1;
    DNS_TRY(dns_string_copy(&run->out->edits[0], "all"));
    for (size_t i = 0; i < distinct; i++)
        DNS_TRY(dns_string_copy(&run->out->edits[i + 1], names[i]));
    for (size_t i = 0; i < run->n_queries; i++)
        for (size_t e = 1; e <= distinct; e++)
            if (strcmp(run->queries[i].edit, run->out->edits[e]) == 0)
                run->edit_of[i] = e;
out:
    dns_free(names);
    return status;
}

static dns_status check_queries(struct run *run)
{
    bool confident = true, probable = true;
    if (run->n_queries == 0)
        return dns_status_set(DNS_ERR_ARG, "no queries");
    for (size_t i = 0; i < run->n_queries; i++) {
        const dns_retrieval_query *q = &run->queries[i];
        confident = confident && q->confidence != NULL;
        probable = probable && q->probability != NULL;
        if (q->n_relevant == 0)
            return dns_status_set(DNS_ERR_ARG, "query %zu has no relevant video", i);
        for (size_t j = 0; j < q->n; j++)
            if (!isfinite(q->coarse[j]) || !isfinite(q->expected[j]) || !isfinite(q->fine[j]))
                return dns_status_set(DNS_ERR_RANGE, "query %zu, video %zu: a score is not finite",
                                      i, j);
        run->n_most = q->n > run->n_most ? q->n : run->n_most;
        run->pair_start[i + 1] = run->pair_start[i];
        for (size_t j = 0; j < q->n; j++)
            run->pair_start[i + 1] += q->excluded == NULL || !q->excluded[j];
    }
    for (int r = 0; r < DNS_RANKER_COUNT; r++)
        run->out->present[r] = r == DNS_RANKER_PAIR                                 ? probable
                               : r == DNS_RANKER_SELECTOR || r == DNS_RANKER_HYBRID ? confident
                               : r == DNS_RANKER_ORACLE_DIFFERENCE ? run->options->calibrated
                                                                   : true;
    return DNS_OK;
}

static dns_status allocate(struct run *run)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&run->out, 1, sizeof *run->out));
    run->out->n_queries = run->n_queries;
    DNS_TRY(dns_alloc(&run->out->precisions, (size_t)DNS_RANKER_COUNT * DNS_BUDGETS,
                      run->n_queries * sizeof *run->out->precisions));
    DNS_TRY(dns_alloc(&run->pair_start, run->n_queries + 1, sizeof *run->pair_start));
    DNS_TRY(dns_alloc(&run->edit_of, run->n_queries, sizeof *run->edit_of));
    DNS_TRY(check_queries(run));
    DNS_TRY(collect_edits(run));
    DNS_TRY(dns_alloc(&run->out->figures, (size_t)DNS_RANKER_COUNT * DNS_BUDGETS,
                      run->out->n_edits * sizeof *run->out->figures));
    DNS_TRY(dns_alloc(&run->outcomes, run->n_queries, sizeof *run->outcomes));
    DNS_TRY(dns_alloc(&run->full, run->n_queries, sizeof *run->full));
    DNS_TRY(
        dns_alloc(&run->pair_scores, run->pair_start[run->n_queries], sizeof *run->pair_scores));
    DNS_TRY(
        dns_alloc(&run->pair_labels, run->pair_start[run->n_queries], sizeof *run->pair_labels));
    DNS_TRY(dns_alloc(&run->chosen, run->n_most, sizeof *run->chosen));
    DNS_TRY(dns_alloc(&run->key, run->n_most, sizeof *run->key));
    DNS_TRY(dns_alloc(&run->scores, run->n_most, sizeof *run->scores));
    DNS_TRY(dns_alloc(&run->order, run->n_most, sizeof *run->order));
    DNS_TRY(dns_alloc(&run->hits, run->n_most, sizeof *run->hits));
out:
    return status;
}

dns_status dns_retrieval_run(dns_retrieval **out, const dns_retrieval_query *queries,
                             size_t n_queries, const dns_retrieval_options *options)
{
    dns_status status = DNS_OK;
    struct run run = {.queries = queries, .n_queries = n_queries, .options = options};
    *out = NULL;
    DNS_TRY(allocate(&run));
    for (size_t i = 0; i < n_queries; i++) {
        DNS_TRY(rank_query(&run, i, DNS_RANKER_COARSE, 1));
        run.full[i] = run.outcomes[i].ap;
    }
    for (int ranker = 0; ranker < DNS_RANKER_COUNT; ranker++)
        for (size_t budget = 0; budget < DNS_BUDGETS && run.out->present[ranker]; budget++)
            DNS_TRY(run_ranker(&run, (dns_ranker)ranker, budget));
    *out = run.out;
    run.out = NULL;
out:
    dns_retrieval_free(run.out);
    dns_free(run.pair_start);
    dns_free(run.edit_of);
    dns_free(run.outcomes);
    dns_free(run.full);
    dns_free(run.pair_scores);
    dns_free(run.pair_labels);
    dns_free(run.chosen);
    dns_free(run.key);
    dns_free(run.scores);
    dns_free(run.order);
    dns_free(run.hits);
    return status;
}

void dns_retrieval_free(dns_retrieval *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; r->edits != NULL && i < r->n_edits; i++)
        dns_free(r->edits[i]);
    dns_free(r->edits);
    dns_free(r->figures);
    dns_free(r->precisions);
    dns_free(r);
}

size_t dns_retrieval_n_edits(const dns_retrieval *r)
{
    return r->n_edits;
}

const char *dns_retrieval_edit(const dns_retrieval *r, size_t edit)
{
    return r->edits[edit];
}

const dns_retrieval_figures *dns_retrieval_get(const dns_retrieval *r, dns_ranker ranker,
                                               size_t budget, size_t edit)
{
    return r->present[ranker] ? &r->figures[figures_at(r, ranker, budget, edit)] : NULL;
}

const double *dns_retrieval_precisions(const dns_retrieval *r, dns_ranker ranker, size_t budget)
{
    return r->present[ranker] ? r->precisions + precision_at(r, ranker, budget) : NULL;
}

double dns_retrieval_area(const dns_retrieval *r, dns_ranker ranker)
{
    double area = 0;
    for (size_t b = 1; b < DNS_BUDGETS && dns_budgets[b] <= 0.3; b++)
        area += (dns_budgets[b] - dns_budgets[b - 1]) *
                (dns_retrieval_get(r, ranker, b, 0)->map.mean +
                 dns_retrieval_get(r, ranker, b - 1, 0)->map.mean) /
                2;
    return area / 0.3;
}
