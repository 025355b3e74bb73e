#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "default_model.h"
#include "inputs.h"
#include "rerank_option.h"
#include "terminal.h"

struct settings {
    const char *annotations, *scores, *queries, *database, *index, *model, *rerank;
    int fine, router, progress;
    size_t jobs;
    bool json, csv, drop_self, extensions;
};

/* The list of queries that annotations name, wherever the protocol keeps it. */
static const dns_json *queries_of(const char *protocol, const dns_json *annotations)
{
    if (strcmp(protocol, "FIVR-5K") == 0)
        return dns_json_get(dns_json_get(annotations, "5k"), "queries");
    if (strcmp(protocol, "FIVR-200K") == 0)
        return dns_json_get(dns_json_get(annotations, "200k"), "queries");
    return dns_json_get(annotations, "queries");
}

/* SVD and VCDB name queries in pairs only. */
static dns_status queries_of_pairs(dns_json **out, const dns_json *annotations, bool both)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return dns_status_set_errno("list of queries");
    dns_json_writer w = dns_json_writer_to(stream, false);
    const dns_json *pairs = dns_json_get(annotations, "pairs");
    dns_json_begin_array(&w, NULL);
    const char *last = "";
    for (size_t i = 0; i < dns_json_size(pairs); i++)
        for (size_t side = 0; side <= (size_t)both; side++) {
            const char *query = dns_json_string(dns_json_at(dns_json_at(pairs, i), side), "");
            if (strcmp(query, last) != 0)
                dns_json_put_string(&w, NULL, query);
            last = query;
        }
    dns_json_end_array(&w);
    dns_status status = dns_json_finish(&w);
    fclose(stream);
    if (status == DNS_OK)
        status = dns_json_parse(out, text, size, "queries");
    free(text);
    return status;
}

static dns_status search_index(dns_scores **out, const dns_invocation *invocation,
                               const char *protocol, const dns_json *annotations)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_store *store = NULL;
    dns_model *model = NULL;
    dns_pool *pool = NULL;
    dns_searcher *searcher = NULL;
    dns_json *pair_queries = NULL;
    dns_index_ids ids = {0};
    dns_search_options options = dns_search_options_default();
    options.model_router = s->router == 0;
    options.router.router = (dns_router)(s->router - 1);
    DNS_TRY(dns_rerank_parse(&options, s->rerank));
    DNS_TRY(dns_store_open(&store, s->index, DNS_STORE_READ, NULL));
    DNS_TRY(dns_default_model_open(&model, s->model));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    const dns_searcher_options how = {.pool = pool, .fine = (dns_fine)s->fine};
    DNS_TRY(dns_searcher_open(&searcher, store, model, &how));
    bool pairs = dns_json_get(annotations, "pairs") != NULL;
    DNS_TRY(dns_index_ids_read(&ids, store, s->extensions || strcmp(protocol, "SVD") == 0));
    if (pairs)
        DNS_TRY(queries_of_pairs(&pair_queries, annotations, strcmp(protocol, "VCDB") == 0));
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_progress progress = dns_terminal_progress(&terminal);
    status = dns_scores_from_index(out, searcher, &ids,
                                   pairs ? pair_queries : queries_of(protocol, annotations),
                                   &options, &progress);
    dns_terminal_close(&terminal);
out:
    dns_json_free(pair_queries);
    dns_index_ids_free(&ids);
    dns_searcher_close(searcher);
    dns_pool_free(pool);
    dns_model_close(model);
    dns_store_close(store);
    return status;
}

static dns_status print_json(const char *name, const dns_protocol_report *r)
{
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "schema", "dnsel.protocol/1");
    dns_json_put_string(&w, "protocol", name);
    dns_json_put_integer(&w, "queries", (int64_t)r->n_queries_found);
    dns_json_put_integer(&w, "queries_named", (int64_t)r->n_queries);
    dns_json_put_integer(&w, "videos", (int64_t)r->n_database_found);
    dns_json_put_integer(&w, "videos_named", (int64_t)r->n_database);
    dns_json_begin_object(&w, "figures");
    for (size_t i = 0; i < r->n_figures; i++)
        dns_json_put_number(&w, r->figures[i].name, r->figures[i].value, 17);
    dns_json_end_object(&w);
    dns_json_begin_object(&w, "precision_recall");
    for (size_t i = 0; i < r->n_figures; i++) {
        if (!r->figures[i].has_curve)
            continue;
        dns_json_begin_array(&w, r->figures[i].name);
        for (size_t p = 0; p < DNS_PR_POINTS; p++)
            dns_json_put_number(&w, NULL, r->figures[i].curve[p], 17);
        dns_json_end_array(&w);
    }
    dns_json_end_object(&w);
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

static void print_csv(const dns_protocol_report *r)
{
    puts("figure,value,queries");
    for (size_t i = 0; i < r->n_figures; i++)
        printf("%s,%.17g,%zu\n", r->figures[i].name, r->figures[i].value, r->figures[i].n_queries);
}

static void print_text(const char *name, const dns_protocol_report *r)
{
    printf("%s: %zu of %zu queries, %zu of %zu videos have scores\n", name, r->n_queries_found,
           r->n_queries, r->n_database_found, r->n_database);
    for (size_t i = 0; i < r->n_figures; i++)
        if (r->figures[i].n_queries > 0)
            printf("  %-44s %.6f  (mean over %zu queries)\n", r->figures[i].name,
                   r->figures[i].value, r->figures[i].n_queries);
        else
            printf("  %-44s %.6f  (over all pairs)\n", r->figures[i].name, r->figures[i].value);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *name = invocation->operands[0];
    dns_status status = DNS_OK;
    dns_json *annotations = NULL;
    dns_scores *scores = NULL;
    dns_protocol_report *report = NULL;
    const dns_protocol_options options = {.drop_self_labels = s->drop_self};
    if (s->annotations == NULL || (s->scores == NULL) == (s->index == NULL))
        DNS_FAIL(DNS_ERR_ARG, "--annotations, and one of --scores and --index, are needed");
    DNS_TRY(dns_protocol_check(name));
    DNS_TRY(dns_read_annotations(&annotations, s->annotations));
    if (s->scores != NULL)
        DNS_TRY(dns_read_scores(&scores, s->scores, s->queries, s->database));
    else
        DNS_TRY(search_index(&scores, invocation, name, annotations));
    DNS_TRY(dns_protocol_run(&report, name, annotations, scores, &options));
    if (s->json)
        DNS_TRY(print_json(name, report));
    else if (s->csv)
        print_csv(report);
    else
        print_text(name, report);
out:
    dns_protocol_report_free(report);
    dns_scores_free(scores);
    dns_json_free(annotations);
    return status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
}

static const struct settings defaults = {.rerank = "all"};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "annotations",
     .kind = DNS_OPTION_STRING,
     .offset = AT(annotations),
     .value = "FILE",
     .help = "ground truth: JSON, a published pickle, or text with pairs"},
    {.name = "scores",
     .kind = DNS_OPTION_STRING,
     .offset = AT(scores),
     .value = "FILE",
     .help = "score matrix (safetensors, npy, npz, HDF5) or JSON {query: {id: score}}"},
    {.name = "queries",
     .kind = DNS_OPTION_STRING,
     .offset = AT(queries),
     .value = "FILE",
     .help = "ids of the rows, one a line; otherwise X.queries.txt beside X.scores.*"},
    {.name = "database",
     .kind = DNS_OPTION_STRING,
     .offset = AT(database),
     .value = "FILE",
     .help = "ids of the columns; otherwise X.database.txt"},
    {.name = "index",
     .kind = DNS_OPTION_STRING,
     .offset = AT(index),
     .value = "INDEX",
     .help = "search this index instead of reading scores"},
    DNS_MODEL_OPTION(struct settings, model),
    {.name = "rerank",
     .kind = DNS_OPTION_STRING,
     .offset = AT(rerank),
     .value = "HOW",
     .help = "with --index: how many videos get the fine comparison, as in dns-query"},
    {.name = "fine",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(fine),
     .choices = "auto|attention|binary|regions|none",
     .help = "with --index: what compares them"},
    {.name = "router",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(router),
     .choices = "model|random|coarse|selector|hybrid|expected|pair",
     .help = "with --index: who chooses them"},
    {.name = "extensions",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(extensions),
     .help = "with --index: ids are file names with their extension (always for SVD)"},
    {.name = "drop-self-labels",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(drop_self),
     .help = "FIVR: a query in its own label list does not count"},
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
     .help = "one JSON document, with precision-recall curves"},
    {.name = "csv", .kind = DNS_OPTION_FLAG, .offset = AT(csv), .help = "CSV with a heading"},
    {0},
};
const dns_command dns_eval_protocol = {
    .name = "protocol",
    .synopsis = "FIVR-5K|FIVR-200K|CC_WEB_VIDEO|EVVE|SVD|VCDB",
    .summary = "score rankings as the published evaluators do",
    .description = "Computes the figures of a published benchmark from scores that somebody else "
                   "made, or by searching an "
                   "index that holds its videos. Rules: docs/evaluation.md.",
    .examples =
        "  dns-eval protocol FIVR-5K --annotations fivr.json --scores FIVR-5K.scores.safetensors\n"
        "  dns-eval protocol EVVE --annotations evve.json --index evve.dns --rerank 5%\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
