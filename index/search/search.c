/* One query: coarse ranking, routing, fine comparison, one list. */
#include "dnsel/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "coarse_ranking.h"
#include "dnsel/budget.h"
#include "dnsel/memory.h"
#include "rerank.h"

dns_search_options dns_search_options_default(void)
{
    return (dns_search_options){.k = 10,
                                .budget = DNS_BUDGET_AUTO,
                                .model_router = true,
                                .router = DNS_ROUTER_OPTIONS_INIT,
                                .min_score = -INFINITY};
}

enum { AUTO_PAIRS = 1000 };

static size_t budget_pairs(const dns_search_options *o, size_t n_videos)
{
    size_t n = 0;
    switch (o->budget) {
    case DNS_BUDGET_AUTO:
        n = dns_budget_share(0.05, n_videos);
        if (n < AUTO_PAIRS)
            n = AUTO_PAIRS;
        break;
    case DNS_BUDGET_SHARE:
        n = dns_budget_share(o->amount, n_videos);
        break;
    case DNS_BUDGET_COUNT:
        n = (size_t)o->amount;
        break;
    case DNS_BUDGET_ALL:
        n = n_videos;
        break;
    case DNS_BUDGET_NONE:
        break;
    }
    return n < n_videos ? n : n_videos;
}

/* One query on its way. Arrays are [ranked.n] unless said. */
struct run {
    dns_searcher *s;
    const dns_query *query;
    const dns_search_options *o;
    dns_answer *answer;
    dns_snapshot *snapshot;
    struct dns_coarse_ranking ranked;
    dns_router_options router;
    bool judged; /* by a selector */
    float *expected, *confidence, *probability;
    float *fine;      /* NaN: not compared */
    uint32_t *routed; /* [n_routed], the most promising first */
    size_t n_routed;
    double deadline; /* in dns_seconds; INFINITY: none */
};

static const dns_record *query_record(const dns_query *query, dns_kind kind)
{
    for (size_t i = 0; i < query->n_records; i++)
        if (query->records[i].kind == kind)
            return &query->records[i];
    return NULL;
}

static dns_status need_record(const dns_record **out, const dns_query *query, dns_kind kind)
{
    *out = query_record(query, kind);
    return *out != NULL ? DNS_OK
                        : dns_status_set(DNS_ERR_ARG, "query without a record of kind %s",
                                         dns_kind_name(kind));
}

/* The order that the budget is spent in. A router that needs a selector or a classifier of pairs
 * falls back to the coarse order where the model asked for it and there is none. */
static dns_status choose_router(struct run *run)
{
    dns_router_options *router = &run->router;
    *router = run->o->model_router ? dns_searcher_model_router(run->s) : run->o->router;
    run->judged =
        dns_searcher_has_selector(run->s) && query_record(run->query, DNS_KIND_SELECTOR) != NULL;
    const bool pair = router->router == DNS_ROUTER_PAIR;
    const bool selector =
        router->router == DNS_ROUTER_SELECTOR || router->router == DNS_ROUTER_HYBRID;
    if ((run->judged || !selector) && (run->s->pair != NULL || !pair))
        return DNS_OK;
    if (!run->o->model_router)
        return dns_status_set(
            DNS_ERR_UNSUPPORTED, "router '%s' needs a %s, which this index or model lacks",
            dns_router_name(router->router), pair ? "classifier of pairs" : "selector");
    router->router = DNS_ROUTER_COARSE;
    return DNS_OK;
}

/* How many of the best by coarse score the answer can depend on; 0: all videos. Of those that are
 * not compared finely at most k can be in the answer. */
static size_t shortlist(const struct run *run)
{
    size_t n = dns_snapshot_count(run->snapshot, DNS_KIND_COARSE),
           pairs = run->s->fine == DNS_FINE_NONE ? 0 : budget_pairs(run->o, n);
    if (run->o->k == 0 || (pairs > 0 && run->router.router != DNS_ROUTER_COARSE) ||
        run->o->k >= n || pairs >= n)
        return 0;
    return pairs + run->o->k + run->o->exclude_self;
}

static dns_status rank_coarse(struct run *run)
{
    dns_status status = DNS_OK;
    const dns_record *vector;
    DNS_TRY(need_record(&vector, run->query, DNS_KIND_COARSE));
    if (vector->dtype != DNS_F32)
        DNS_FAIL(DNS_ERR_SHAPE, "coarse vector of type %s", dns_dtype_name(vector->dtype));
    const struct dns_coarse_wanted wanted = {.vector = vector->data,
                                             .dim = vector->shape[0],
                                             .n_best = shortlist(run),
                                             .first_id = run->o->first_id,
                                             .scan = run->o->scan};
    DNS_TRY(dns_coarse_rank(&run->ranked, run->s, run->snapshot, &wanted));
    run->answer->n_videos = run->ranked.n_videos;
    run->answer->n_scored = run->ranked.n;
    run->answer->scan = run->ranked.scan;
    strcpy(run->answer->scan_note, run->ranked.note);
out:
    return status;
}

/* What the classifier of pairs says, where it is asked. */
static dns_status judge_pairs(struct run *run)
{
    if (run->router.router != DNS_ROUTER_PAIR)
        return DNS_OK;
    const size_t n = run->ranked.n;
    dns_status status = dns_alloc(&run->probability, n, sizeof *run->probability);
    return status != DNS_OK ? status
                            : dns_pair_judge_run(run->probability, run->s->pair, run->snapshot,
                                                 run->query, run->ranked.ids, n, run->s->pool);
}

/* What model and selector expect of each pair. */
static dns_status judge(struct run *run)
{
    dns_status status = DNS_OK;
    size_t n = run->ranked.n;
    DNS_TRY(dns_alloc(&run->expected, n, sizeof *run->expected));
    DNS_TRY(dns_searcher_expected(run->s, run->expected, run->ranked.scores, n));
    if (!run->judged)
        goto out;
    const dns_record *scalar = query_record(run->query, DNS_KIND_SELECTOR);
    DNS_TRY(dns_alloc(&run->confidence, n, sizeof *run->confidence));
    DNS_TRY(dns_searcher_confidence(run->s, run->confidence, run->snapshot,
                                    *(const float *)scalar->data, run->ranked.ids,
                                    run->ranked.scores, n));
out:
    return status;
}

static dns_status route(struct run *run)
{
    dns_status status = DNS_OK;
    size_t n = run->ranked.n, wanted = budget_pairs(run->o, run->ranked.n_videos);
    run->answer->router = run->router.router;
    run->n_routed = run->s->fine == DNS_FINE_NONE ? 0 : wanted < n ? wanted : n;
    run->answer->n_wanted = run->n_routed;
    DNS_TRY(dns_alloc(&run->routed, run->n_routed, sizeof *run->routed));
    const dns_router_input input = {.n = n,
                                    .coarse = run->ranked.scores,
                                    .confidence = run->confidence,
                                    .expected = run->expected,
                                    .probability = run->probability};
    if (run->n_routed > 0)
        DNS_TRY(dns_router_choose(run->routed, run->n_routed, &input, &run->router));
out:
    return status;
}

static dns_status rank_fine(struct run *run)
{
    dns_status status = DNS_OK;
    dns_answer *a = run->answer;
    size_t n = run->ranked.n;
    DNS_TRY(dns_alloc(&run->fine, n, sizeof *run->fine));
    for (size_t i = 0; i < n; i++)
        run->fine[i] = NAN;
    if (run->n_routed == 0)
        goto out;
    struct dns_rerank rerank = {.searcher = run->s,
                                .snapshot = run->snapshot,
                                .query = run->query,
                                .options = run->o,
                                .n_rows = n,
                                .ids = run->ranked.ids,
                                .expected = run->expected,
                                .routed = run->routed,
                                .n_routed = run->n_routed,
                                .deadline = run->deadline,
                                .fine = run->fine};
    DNS_TRY(need_record(&rerank.record, run->query, dns_fine_kind(run->s->fine)));
    DNS_TRY(dns_rerank_run(&rerank));
    a->n_planned = rerank.n_planned;
    a->n_pairs = rerank.n_pairs;
    a->n_left = rerank.n_left;
    a->n_missing = rerank.n_missing;
out:
    return status;
}

static dns_status run_stages(struct run *run)
{
    dns_status status = DNS_OK;
    dns_answer *a = run->answer;
    double start = dns_seconds();
    run->deadline = run->o->max_seconds > 0 ? start + run->o->max_seconds : INFINITY;
    DNS_TRY(dns_snapshot_open(&run->snapshot, run->s->store));
    a->generation = dns_snapshot_generation(run->snapshot);
    DNS_TRY(choose_router(run));
    double opened = dns_seconds();
    DNS_TRY(rank_coarse(run));
    double ranked = dns_seconds();
    DNS_TRY(judge(run));
    DNS_TRY(judge_pairs(run));
    DNS_TRY(route(run));
    double routed = dns_seconds();
    DNS_TRY(rank_fine(run));
    const struct dns_scored scored = {.n = run->ranked.n,
                                      .ids = run->ranked.ids,
                                      .coarse = run->ranked.scores,
                                      .expected = run->expected,
                                      .calibrated = dns_searcher_is_calibrated(run->s),
                                      .confidence = run->confidence,
                                      .probability = run->probability,
                                      .fine = run->fine};
    DNS_TRY(dns_answer_fill(a, &scored, run->snapshot, run->query, run->o));
    a->open_seconds = opened - start + run->ranked.open_seconds;
    a->coarse_seconds = ranked - opened - run->ranked.open_seconds;
    a->route_seconds = routed - ranked;
    a->fine_seconds = dns_seconds() - routed;
out:
    return status;
}

dns_status dns_search(dns_answer **out, dns_searcher *searcher, const dns_query *query,
                      const dns_search_options *options)
{
    struct run run = {.s = searcher, .query = query, .o = options};
    *out = NULL;
    dns_status status = dns_alloc(&run.answer, 1, sizeof *run.answer);
    if (status == DNS_OK)
        status = run_stages(&run);
    if (status == DNS_OK)
        *out = run.answer;
    else
        dns_answer_free(run.answer);
    dns_free(run.routed);
    dns_free(run.fine);
    dns_free(run.probability);
    dns_free(run.confidence);
    dns_free(run.expected);
    dns_coarse_ranking_free(&run.ranked);
    dns_snapshot_close(run.snapshot);
    return status;
}
