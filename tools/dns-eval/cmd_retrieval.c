#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "default_model.h"
#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "dnsel/retrieval.h"
#include "terminal.h"
#include "truth.h"

struct settings {
    const char *index, *queries, *truth, *model;
    int fine, progress;
    size_t jobs;
    bool json, csv;
};

/* Scores of one query against all videos, in the order of the truth's ids. */
struct scores {
    float *coarse, *expected, *confidence, *probability, *fine;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_store *store;
    dns_model *model;
    dns_pool *pool;
    dns_searcher *searcher;
    dns_embedder *embedder;
    dns_embedder_session *session;
    dns_truth *truth;
    size_t n_videos;
    struct scores *scores;        /* [queries] */
    dns_retrieval_query *queries; /* [queries], those that could be decoded first */
    size_t n_queries, n_failed;
    double coarse_seconds, fine_seconds, n_pairs;
};

static dns_status open_work(struct work *w)
{
    dns_status status = DNS_OK;
    dns_embedder_options options = dns_embedder_options_default();
    DNS_TRY(dns_store_open(&w->store, w->s->index, DNS_STORE_READ, NULL));
    DNS_TRY(dns_default_model_open(&w->model, w->s->model));
    DNS_TRY(dns_pool_create(&w->pool, w->s->jobs));
    const dns_searcher_options how = {.pool = w->pool, .fine = (dns_fine)w->s->fine};
    DNS_TRY(dns_searcher_open(&w->searcher, w->store, w->model, &how));
    DNS_TRY(
        dns_sampling_parse(&options.media.sampling, dns_store_settings_get(w->store)->sampling));
    DNS_TRY(dns_embedder_create(&w->embedder, w->model, &options));
    DNS_TRY(dns_embedder_session_create(&w->session, w->embedder));
    DNS_TRY(dns_truth_read(&w->truth, w->s->truth, w->store));
    w->n_videos = dns_truth_ids(w->truth)->n;
    DNS_TRY(dns_alloc(&w->scores, dns_truth_count(w->truth), sizeof *w->scores));
    DNS_TRY(dns_alloc(&w->queries, dns_truth_count(w->truth), sizeof *w->queries));
out:
    return status;
}

static void close_work(struct work *w)
{
    for (size_t i = 0; w->scores != NULL && i < dns_truth_count(w->truth); i++) {
        dns_free(w->scores[i].coarse);
        dns_free(w->scores[i].expected);
        dns_free(w->scores[i].confidence);
        dns_free(w->scores[i].probability);
        dns_free(w->scores[i].fine);
    }
    dns_free(w->scores);
    dns_free(w->queries);
    dns_truth_free(w->truth);
    dns_embedder_session_free(w->session);
    dns_embedder_free(w->embedder);
    dns_searcher_close(w->searcher);
    dns_pool_free(w->pool);
    dns_model_close(w->model);
    dns_store_close(w->store);
}

static dns_status compare(struct scores *out, struct work *w, const char *path)
{
    dns_status status = DNS_OK;
    dns_embedding embedding;
    dns_record records[DNS_KIND_COUNT];
    dns_query query = {.records = records};
    dns_answer *answer = NULL;
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    options.budget = w->s->fine == DNS_FINE_NONE ? DNS_BUDGET_NONE : DNS_BUDGET_ALL;
    options.cancel = dns_interrupt_catch();
    options.model_router = !dns_searcher_offers(w->searcher, DNS_ROUTER_PAIR);
    options.router.router = DNS_ROUTER_PAIR; /* every pair is compared; it only tells its opinion */
    dns_store_settings settings = dns_searcher_query_settings(w->searcher);
    DNS_TRY(dns_embed_file(&embedding, w->session, path, options.cancel));
    DNS_TRY(dns_embed_records(records, &query.n_records, w->session, &embedding, &settings));
    query.duration = embedding.duration;
    DNS_TRY(dns_search(&answer, w->searcher, &query, &options));
    DNS_TRY(dns_alloc(&out->coarse, w->n_videos, sizeof *out->coarse));
    DNS_TRY(dns_alloc(&out->expected, w->n_videos, sizeof *out->expected));
    DNS_TRY(dns_alloc(&out->confidence, w->n_videos, sizeof *out->confidence));
    DNS_TRY(dns_alloc(&out->probability, w->n_videos, sizeof *out->probability));
    DNS_TRY(dns_alloc(&out->fine, w->n_videos, sizeof *out->fine));
    for (size_t i = 0; i < answer->n_results; i++) {
        const dns_result *r = &answer->results[i];
        size_t column = dns_index_ids_find(dns_truth_ids(w->truth), r->id);
        if (column == SIZE_MAX)
            continue;
        out->coarse[column] = r->coarse;
        out->expected[column] = r->expected;
        out->confidence[column] = r->confidence;
        out->probability[column] = r->probability;
        out->fine[column] = isnan(r->fine) ? 2 * r->expected - 1 : r->fine;
    }
    w->coarse_seconds += answer->coarse_seconds + answer->route_seconds;
    w->fine_seconds += answer->fine_seconds;
    w->n_pairs += (double)answer->n_pairs;
out:
    dns_answer_free(answer);
    return status;
}

static dns_status take_query(struct work *w, size_t index)
{
    const dns_truth_query *t = dns_truth_at(w->truth, index);
    struct scores *scores = &w->scores[index];
    char *path;
    dns_status status = dns_path_join(&path, w->s->queries, t->name);
    if (status == DNS_OK)
        status = compare(scores, w, path);
    dns_free(path);
    if (status == DNS_ERR_CANCELLED || status == DNS_ERR_NOMEM || status == DNS_ERR_CORRUPT)
        return status;
    if (status != DNS_OK) {
        dns_complain(w->invocation, "query left out: %s", dns_status_message());
        w->n_failed++;
        return DNS_OK;
    }
    w->queries[w->n_queries++] = (dns_retrieval_query){
        .n = w->n_videos,
        .coarse = scores->coarse,
        .expected = scores->expected,
        .confidence = w->n_videos > 0 && !isnan(scores->confidence[0]) ? scores->confidence : NULL,
        .probability =
            w->n_videos > 0 && !isnan(scores->probability[0]) ? scores->probability : NULL,
        .fine = scores->fine,
        .relevant = t->relevant,
        .excluded = t->excluded,
        .n_relevant = t->n_relevant,
        .edit = t->edit};
    return DNS_OK;
}

static void print_text(const struct work *w, const dns_retrieval *r)
{
    const dns_retrieval_figures *fine = dns_retrieval_get(r, DNS_RANKER_COARSE, DNS_BUDGETS - 1, 0);
    const dns_retrieval_figures *coarse = dns_retrieval_get(r, DNS_RANKER_COARSE, 0, 0);
    double queries = (double)w->n_queries,
           pair_ms = w->n_pairs > 0 ? 1e3 * w->fine_seconds / w->n_pairs : 0;
    printf("%zu queries against %zu videos (%s)\n\n", w->n_queries, w->n_videos,
           dns_searcher_networks(w->searcher));
    printf("%-20s %7s  %-17s %6s %6s %8s\n", "", "mAP", "95 %", "R@1", "R@10", "micro-AP");
    const struct {
        const char *name;
        const dns_retrieval_figures *f;
    } rows[] = {{"coarse only", coarse}, {"full fine", fine}};
    for (size_t i = 0; i < 2; i++)
        printf("%-20s %7.4f  [%.4f, %.4f]  %6.3f %6.3f %8.4f\n", rows[i].name, rows[i].f->map.mean,
               rows[i].f->map.low, rows[i].f->map.high, rows[i].f->recall_1, rows[i].f->recall_10,
               rows[i].f->micro_ap);
    printf("\nmAP by share of videos compared finely\n%-20s", "");
    for (size_t b = 0; b < DNS_BUDGETS; b++)
        printf(" %5.0f %%", 100 * dns_budgets[b]);
    printf("   area to 30 %%\n");
    for (int ranker = 0; ranker < DNS_RANKER_COUNT; ranker++) {
        if (dns_retrieval_get(r, (dns_ranker)ranker, 0, 0) == NULL)
            continue;
        printf("%-20s", dns_ranker_name((dns_ranker)ranker));
        for (size_t b = 0; b < DNS_BUDGETS; b++)
            printf("  %.4f", dns_retrieval_get(r, (dns_ranker)ranker, b, 0)->map.mean);
        printf("   %.4f\n", dns_retrieval_area(r, (dns_ranker)ranker));
    }
    printf("%-20s", "ms a query");
    for (size_t b = 0; b < DNS_BUDGETS; b++)
        printf("  %6.1f",
               1e3 * w->coarse_seconds / queries + dns_budgets[b] * (double)w->n_videos * pair_ms);
    printf("\n\nmAP by edit %12s %9s %6s\n", "coarse", "full fine", "n");
    for (size_t e = 1; e < dns_retrieval_n_edits(r); e++)
        printf("%-14s %9.4f %9.4f %6zu\n", dns_retrieval_edit(r, e),
               dns_retrieval_get(r, DNS_RANKER_COARSE, 0, e)->map.mean,
               dns_retrieval_get(r, DNS_RANKER_COARSE, DNS_BUDGETS - 1, e)->map.mean,
               dns_retrieval_get(r, DNS_RANKER_COARSE, 0, e)->n_queries);
    if (dns_truth_missing(w->truth) > 0)
        printf("%zu originals are not in the index and count as not found\n",
               dns_truth_missing(w->truth));
}

static void put_figures(dns_json_writer *w, const dns_retrieval_figures *f)
{
    dns_json_put_integer(w, "queries", (int64_t)f->n_queries);
    dns_json_put_number(w, "mAP", f->map.mean, 9);
    dns_json_put_number(w, "mAP_low", f->map.low, 9);
    dns_json_put_number(w, "mAP_high", f->map.high, 9);
    dns_json_put_number(w, "loss_to_full", f->loss.mean, 9);
    dns_json_put_number(w, "loss_low", f->loss.low, 9);
    dns_json_put_number(w, "loss_high", f->loss.high, 9);
    dns_json_put_number(w, "R@1", f->recall_1, 9);
    dns_json_put_number(w, "R@10", f->recall_10, 9);
    dns_json_put_number(w, "uAP", f->micro_ap, 9);
    dns_json_begin_array(w, "precision_recall");
    for (size_t p = 0; p < DNS_PR_POINTS; p++)
        dns_json_put_number(w, NULL, f->curve[p], 6);
    dns_json_end_array(w);
}

static dns_status put_bytes(dns_json_writer *j, const struct work *w)
{
    dns_snapshot *snapshot;
    dns_store_stat stat;
    dns_status status = dns_snapshot_open(&snapshot, w->store);
    if (status != DNS_OK)
        return status;
    status = dns_snapshot_stat(&stat, snapshot);
    dns_json_begin_object(j, "bytes_a_video");
    for (int kind = 0; status == DNS_OK && kind < DNS_KIND_COUNT; kind++)
        if (stat.kinds[kind].n_records > 0)
            dns_json_put_number(j, dns_kind_name((dns_kind)kind),
                                (double)stat.kinds[kind].bytes / (double)stat.kinds[kind].n_records,
                                9);
    dns_json_end_object(j);
    dns_snapshot_close(snapshot);
    return status;
}

static dns_status print_json(const struct work *w, const dns_retrieval *r)
{
    dns_json_writer j = dns_json_writer_to(stdout, true);
    double pair_ms = w->n_pairs > 0 ? 1e3 * w->fine_seconds / w->n_pairs : 0;
    dns_json_begin_object(&j, NULL);
    dns_json_put_string(&j, "schema", "dnsel.retrieval/1");
    dns_json_put_string(&j, "networks", dns_searcher_networks(w->searcher));
    dns_json_put_integer(&j, "queries", (int64_t)w->n_queries);
    dns_json_put_integer(&j, "queries_failed", (int64_t)w->n_failed);
    dns_json_put_integer(&j, "videos", (int64_t)w->n_videos);
    dns_json_put_integer(&j, "originals_missing", (int64_t)dns_truth_missing(w->truth));
    dns_json_put_number(&j, "coarse_ms", 1e3 * w->coarse_seconds / (double)w->n_queries, 6);
    dns_json_put_number(&j, "pair_ms", pair_ms, 6);
    dns_status status = put_bytes(&j, w);
    dns_json_begin_array(&j, "rankers");
    for (int ranker = 0; ranker < DNS_RANKER_COUNT; ranker++)
        for (size_t b = 0; b < DNS_BUDGETS; b++)
            for (size_t e = 0; e < dns_retrieval_n_edits(r); e++) {
                const dns_retrieval_figures *f = dns_retrieval_get(r, (dns_ranker)ranker, b, e);
                if (f == NULL)
                    continue;
                dns_json_begin_object(&j, NULL);
                dns_json_put_string(&j, "router", dns_ranker_name((dns_ranker)ranker));
                dns_json_put_number(&j, "budget", dns_budgets[b], 6);
                dns_json_put_string(&j, "edit", dns_retrieval_edit(r, e));
                dns_json_put_number(&j, "ms",
                                    1e3 * w->coarse_seconds / (double)w->n_queries +
                                        dns_budgets[b] * (double)w->n_videos * pair_ms,
                                    6);
                put_figures(&j, f);
                dns_json_end_object(&j);
            }
    dns_json_end_array(&j);
    dns_json_end_object(&j);
    dns_status finished = dns_json_finish(&j);
    return status != DNS_OK ? status : finished;
}

static void print_csv(const dns_retrieval *r)
{
    puts("router,budget,edit,queries,mAP,mAP_low,mAP_high,loss_to_full,R@1,R@10,uAP");
    for (int ranker = 0; ranker < DNS_RANKER_COUNT; ranker++)
        for (size_t b = 0; b < DNS_BUDGETS; b++)
            for (size_t e = 0; e < dns_retrieval_n_edits(r); e++) {
                const dns_retrieval_figures *f = dns_retrieval_get(r, (dns_ranker)ranker, b, e);
                if (f != NULL)
                    printf("%s,%g,%s,%zu,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g\n",
                           dns_ranker_name((dns_ranker)ranker), dns_budgets[b],
                           dns_retrieval_edit(r, e), f->n_queries, f->map.mean, f->map.low,
                           f->map.high, f->loss.mean, f->recall_1, f->recall_10, f->micro_ap);
            }
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    dns_status status = DNS_OK;
    dns_retrieval *retrieval = NULL;
    dns_retrieval_options options = DNS_RETRIEVAL_OPTIONS_INIT;
    if (w.s->index == NULL || w.s->queries == NULL || w.s->truth == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--index, --queries and --truth are needed");
    DNS_TRY(open_work(&w));
    dns_terminal terminal = dns_terminal_open((dns_progress_style)w.s->progress, invocation->quiet);
    const dns_progress progress = dns_terminal_progress(&terminal);
    for (size_t i = 0; i < dns_truth_count(w.truth); i++) {
        DNS_TRY(take_query(&w, i));
        progress.report(progress.payload, i + 1, dns_truth_count(w.truth), "queries");
    }
    dns_terminal_close(&terminal);
    options.calibrated = dns_searcher_is_calibrated(w.searcher);
    options.hybrid_share = dns_searcher_model_router(w.searcher).hybrid_share;
    DNS_TRY(dns_retrieval_run(&retrieval, w.queries, w.n_queries, &options));
    if (w.s->json)
        DNS_TRY(print_json(&w, retrieval));
    else if (w.s->csv)
        print_csv(retrieval);
    else
        print_text(&w, retrieval);
out:;
    int code = status != DNS_OK ? dns_fail(invocation, status)
               : w.n_failed > 0 ? DNS_EXIT_PARTIAL
                                : DNS_EXIT_OK;
    if (status == DNS_ERR_NOTFOUND && w.store == NULL)
        code = DNS_EXIT_NO_INDEX;
    dns_retrieval_free(retrieval);
    close_work(&w);
    return code;
}

static const struct settings defaults;
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "index",
     .kind = DNS_OPTION_STRING,
     .offset = AT(index),
     .value = "INDEX",
     .help = "the index that is searched"},
    {.name = "queries",
     .kind = DNS_OPTION_STRING,
     .offset = AT(queries),
     .value = "DIR",
     .help = "folder of the query videos"},
    {.name = "truth",
     .kind = DNS_OPTION_STRING,
     .offset = AT(truth),
     .value = "FILE",
     .help = "CSV with the columns query and original; also group or scene_group, edit, exclude"},
    {.name = "fine",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(fine),
     .choices = "auto|attention|binary|regions|none",
     .help = "what compares finely"},
    DNS_MODEL_OPTION(struct settings, model),
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
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(json),
     .help = "one JSON document with every figure"},
    {.name = "csv", .kind = DNS_OPTION_FLAG, .offset = AT(csv), .help = "CSV with a heading"},
    {0},
};
const dns_command dns_eval_retrieval = {
    .name = "retrieval",
    .synopsis = "",
    .summary = "measure how well an index finds the originals of queries",
    .description = "Asks an index for every query of a table and compares the answers with the "
                   "originals that the table names: mAP, "
                   "R@1, R@10 and micro-AP, for the coarse student alone, for every router at "
                   "budgets from 0 to 100 %, and for full "
                   "fine ranking, with 95 % intervals from a bootstrap over queries. Every query "
                   "is compared with every video once; "
                   "milliseconds at a budget are the measured coarse time and that share of the "
                   "measured time of a pair.",
    .examples = "  dns-eval make-edits --videos ~/Videos --out edits --seed 1\n"
                "  dns-eval retrieval --index films.dns --queries edits --truth edits/truth.csv\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
