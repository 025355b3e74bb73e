#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "all_pairs.h"
#include "default_model.h"
#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "dnsel/search.h"
#include "program.h"
#include "query_output.h"
#include "rerank_option.h"
#include "terminal.h"

struct settings {
    const char *model, *rerank, *resume;
    size_t k, jobs;
    int fine, router, scan, comparator;
    double min_score, max_ms, max_seconds, max_loss;
    dns_string_list queries_from;
    bool all, groups, surplus, json, ndjson, csv, null, exclude_self, exhaustive, asymmetric;
};

/* Everything that answers queries. */
struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_model *model;
    dns_store *store;
    dns_pool *pool;
    dns_searcher *searcher;
    dns_embedder *embedder; /* made when the first query must be decoded */
    dns_embedder_session *session;
    dns_search_options options;
    dns_query_output output;
    size_t n_answered, n_found, n_failed;
    dns_status first_failure;
};

static dns_status open_work(struct work *w, const char *directory)
{
    const struct settings *s = w->s;
    dns_status status = DNS_OK;
    w->options = dns_search_options_default();
    w->options.k = s->k;
    w->options.scan = (dns_coarse_scan)s->scan;
    w->options.min_score = s->min_score;
    w->options.max_seconds = s->max_ms / 1000;
    w->options.exclude_self = s->exclude_self;
    w->options.exhaustive = s->exhaustive;
    w->options.model_router = s->router == 0;
    w->options.router.router = (dns_router)(s->router - 1);
    w->options.cancel = dns_interrupt_catch();
    DNS_TRY(dns_rerank_parse(&w->options, s->rerank));
    DNS_TRY(dns_store_open(&w->store, directory, DNS_STORE_READ, NULL));
    status = dns_default_model_open(&w->model, s->model);
    if (status != DNS_OK) {
        status = status == DNS_ERR_NOTFOUND ? DNS_ERR_ARG
                                            : status; /* DNS_ERR_NOTFOUND is kept for the index */
        goto out;
    }
    DNS_TRY(dns_pool_create(&w->pool, s->jobs));
    const dns_searcher_options options = {.pool = w->pool,
                                          .fine = (dns_fine)s->fine,
                                          .comparator = (dns_comparator_choice)s->comparator,
                                          .asymmetric = s->asymmetric};
    DNS_TRY(dns_searcher_open(&w->searcher, w->store, w->model, &options));
    if (s->max_loss > 0) {
        w->options.budget = DNS_BUDGET_SHARE;
        status = dns_searcher_promise(&w->options.amount, w->searcher, s->max_loss);
        if (status != DNS_OK) {
            status = status == DNS_ERR_NOTFOUND ? DNS_ERR_ARG : status;
            dns_status_context(status, "--max-loss");
            goto out;
        }
    }
    w->output = (dns_query_output){.format = s->ndjson ? DNS_FORMAT_NDJSON
                                             : s->json ? DNS_FORMAT_JSON
                                             : s->csv  ? DNS_FORMAT_CSV
                                                       : DNS_FORMAT_TEXT,
                                   .networks = dns_searcher_networks(w->searcher),
                                   .quiet = w->invocation->quiet};
out:
    return status;
}

static void close_work(struct work *w)
{
    dns_embedder_session_free(w->session);
    dns_embedder_free(w->embedder);
    dns_searcher_close(w->searcher);
    dns_pool_free(w->pool);
    dns_model_close(w->model);
    dns_store_close(w->store);
}

static dns_status embed(dns_query *query, dns_record *records, struct work *w, const char *path)
{
    dns_status status = DNS_OK;
    dns_embedding embedding;
    if (w->embedder == NULL) {
        dns_embedder_options options = dns_embedder_options_default();
        options.media.max_seconds = w->s->max_seconds;
        DNS_TRY(dns_sampling_parse(&options.media.sampling,
                                   dns_store_settings_get(w->store)->sampling));
        DNS_TRY(dns_embedder_create(&w->embedder, w->model, &options));
        DNS_TRY(dns_embedder_session_create(&w->session, w->embedder));
    }
    dns_store_settings settings = dns_searcher_query_settings(w->searcher);
    DNS_TRY(dns_embed_file(&embedding, w->session, path, w->options.cancel));
    DNS_TRY(dns_embed_records(records, &query->n_records, w->session, &embedding, &settings));
    query->duration = embedding.duration;
out:
    return status;
}

/* A video that the index holds unchanged need not be decoded again. */
static bool is_stored(struct work *w, const char *text)
{
    dns_snapshot *snapshot;
    dns_meta meta;
    uint64_t id;
    struct stat info;
    if (dns_snapshot_open(&snapshot, w->store) != DNS_OK)
        return false;
    bool stored = dns_snapshot_find(&id, snapshot, text) == DNS_OK &&
                  dns_snapshot_meta(&meta, snapshot, id) == DNS_OK;
    if (stored && stat(text, &info) == 0)
        stored = meta.file_size == (uint64_t)info.st_size &&
                 meta.mtime_ns == (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    dns_snapshot_close(snapshot);
    return stored;
}

static dns_status answer(struct work *w, const char *text)
{
    dns_status status = DNS_OK;
    dns_record records[DNS_KIND_COUNT];
    dns_query query = {.records = records};
    dns_answer *found = NULL;
    double start = dns_seconds();
    if (is_stored(w, text))
        DNS_TRY(dns_searcher_stored_query(&query, w->searcher, text));
    else
        DNS_TRY(embed(&query, records, w, text));
    double embedded = dns_seconds();
    DNS_TRY(dns_search(&found, w->searcher, &query, &w->options));
    dns_query_output_put(&w->output, text, found, query.stored ? 0 : embedded - start);
    w->n_answered++;
    w->n_found += found->n_results > 0;
out:
    dns_answer_free(found);
    return status;
}

/* One query; a failure costs a line and is counted. Only an interruption ends the run. */
static dns_status handle(struct work *w, const char *text)
{
    if (dns_cancelled(w->options.cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    dns_status status = answer(w, text);
    if (status == DNS_OK || status == DNS_ERR_CANCELLED)
        return status;
    dns_complain(w->invocation, "%s", dns_status_message());
    if (w->n_failed++ == 0)
        w->first_failure = status;
    return DNS_OK;
}

/* The names in a file, or "-". */
static dns_status handle_list(struct work *w, const char *source)
{
    char *line = NULL;
    size_t capacity = 0;
    dns_status status = DNS_OK;
    bool standard = strcmp(source, "-") == 0;
    FILE *stream = standard ? stdin : fopen(source, "rbe");
    if (stream == NULL)
        return dns_status_set_errno("%s", source);
    for (ssize_t n; status == DNS_OK &&
                    (n = getdelim(&line, &capacity, w->s->null ? '\0' : '\n', stream)) > 0;) {
        if (line[n - 1] == (w->s->null ? '\0' : '\n'))
            line[n - 1] = '\0';
        if (line[0] != '\0')
            status = handle(w, line);
    }
    if (status == DNS_OK && ferror(stream))
        status = dns_status_set_errno("%s", source);
    free(line);
    if (!standard)
        fclose(stream);
    return status;
}

static int exit_code(const struct work *w)
{
    if (w->n_failed > 0 && w->n_answered == 0) {
        int code = dns_exit_code(w->first_failure);
        return code == DNS_EXIT_CORRUPT && w->n_failed > 0 ? code : DNS_EXIT_FATAL;
    }
    if (w->n_failed > 0)
        return DNS_EXIT_PARTIAL;
    return w->n_found > 0 ? DNS_EXIT_OK : DNS_EXIT_NONE;
}

static dns_groups_format groups_format(const struct settings *s)
{
    if (s->surplus)
        return s->null ? DNS_GROUPS_SURPLUS_NULL : DNS_GROUPS_SURPLUS;
    return s->ndjson ? DNS_GROUPS_NDJSON : s->csv ? DNS_GROUPS_CSV : DNS_GROUPS_TEXT;
}

/* --all: exit code as for queries, "found" being a pair or a group. */
static dns_status answer_all(int *code, struct work *w)
{
    const struct settings *s = w->s;
    dns_all_pairs all = {.invocation = w->invocation,
                         .store = w->store,
                         .searcher = w->searcher,
                         .options = w->options,
                         .min_score = isinf(s->min_score) ? dns_searcher_threshold(w->searcher)
                                                          : s->min_score,
                         .ndjson = s->ndjson,
                         .groups = s->groups,
                         .groups_format = groups_format(s),
                         .resume = s->resume};
    dns_status status = dns_all_pairs_run(&all);
    size_t n_found = s->groups ? all.n_groups : all.n_pairs;
    *code = all.n_failed > 0 ? DNS_EXIT_PARTIAL : n_found > 0 ? DNS_EXIT_OK : DNS_EXIT_NONE;
    return status;
}

/* Operands and options that contradict each other. */
static const char *mistake(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    if (!s->all && invocation->n_operands < 2 && s->queries_from.n == 0)
        return "give a video to look for, --queries-from or --all";
    if (s->all && (invocation->n_operands > 1 || s->queries_from.n > 0))
        return "--all takes an index and no video";
    if (s->all && (s->json || (s->csv && !s->groups)))
        return s->groups ? "--groups writes text, --csv or --ndjson"
                         : "--all streams text or --ndjson";
    if ((s->groups && !s->all) || (s->surplus && !s->groups))
        return s->surplus ? "--surplus goes with --all --groups" : "--groups goes with --all";
    if (!s->all && s->resume != NULL)
        return "--resume goes with --all";
    return NULL;
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    const char *wrong = mistake(invocation);
    if (wrong != NULL) {
        dns_complain(invocation, "%s", wrong);
        return DNS_EXIT_FATAL;
    }
    const char *directory = invocation->operands[0];
    int code = DNS_EXIT_OK;
    dns_status status = open_work(&w, directory);
    if (status == DNS_ERR_NOTFOUND && w.store == NULL) {
        dns_complain(invocation, "%s: no index here; make one with: dns-index build %s FOLDER",
                     directory, directory);
        close_work(&w);
        return DNS_EXIT_NO_INDEX;
    }
    if (status != DNS_OK)
        goto out;
    if (w.s->all) {
        status = answer_all(&code, &w);
        goto out;
    }
    dns_query_output_begin(&w.output);
    for (size_t i = 1; i < invocation->n_operands && status == DNS_OK; i++)
        status = strcmp(invocation->operands[i], "-") == 0 ? handle_list(&w, "-")
                                                           : handle(&w, invocation->operands[i]);
    for (size_t i = 0; i < w.s->queries_from.n && status == DNS_OK; i++)
        status = handle_list(&w, w.s->queries_from.items[i]);
    dns_status ended = dns_query_output_end(&w.output);
    if (status == DNS_OK)
        status = ended;
    code = exit_code(&w);
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    close_work(&w);
    return code;
}

static const struct settings defaults = {
    .k = 10, .rerank = "auto", .min_score = -INFINITY, .max_seconds = 3600};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "count",
     .letter = 'k',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(k),
     .value = "N",
     .help = "results a query; 0 is all videos"},
    {.name = "rerank",
     .kind = DNS_OPTION_STRING,
     .offset = AT(rerank),
     .value = "HOW",
     .help = "how many videos get the fine comparison: 5%, 200, all, none; auto is 1000 or 5 %, "
             "whichever is more"},
    {.name = "router",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(router),
     .choices = "model|random|coarse|selector|hybrid|expected|pair",
     .help = "who chooses them: the router that the model names, or another"},
    {.name = "fine",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(fine),
     .choices = "auto|attention|binary|regions|none",
     .help = "what compares them: auto is the best that the index keeps"},
    {.name = "scan",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(scan),
     .choices = "auto|exact|int8|codes|faiss",
     .help = "how the best by coarse vectors are found: all vectors as they are, or a few times "
             "as many by rounded ones and those exactly; auto is the fastest without loss"},
    {.name = "comparator",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(comparator),
     .choices = "model|f32|int8",
     .help = "what the fine network's comparator computes in: what the model says, or else; int8 "
             "is faster and changes scores by less than 0.01"},
    {.name = "asymmetric",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(asymmetric),
     .help = "binary codes of the index are compared with the numbers that the query's would be "
             "made of; needs --fine binary, and a query that is decoded"},
    {.name = "exhaustive",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(exhaustive),
     .help = "finish every fine comparison, also of videos that cannot come into the list; the "
             "results are the same"},
    {.name = "max-ms",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(max_ms),
     .value = "MS",
     .help = "compare as many, the most promising first, as fit into so many milliseconds; the "
             "answer says how far it came"},
    {.name = "max-loss",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(max_loss),
     .value = "X",
     .help = "compare so many that the expected loss of a query is at most X, as the model's "
             "calibration promises; in place of --rerank"},
    {.name = "min-score",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(min_score),
     .value = "X",
     .help = "leave out results with a lower score; for --all the model's threshold, or 0.75, "
             "unless given"},
    {.name = "all",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(all),
     .help = "every video of the index against the rest: the near-duplicates of each, every pair "
             "once"},
    {.name = "groups",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(groups),
     .help = "with --all: when all are compared, sets of near-duplicates that are connected, and "
             "which one of each to keep"},
    {.name = "surplus",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(surplus),
     .help =
         "with --groups: only the paths of copies of what is kept, one a line (with --null each "
         "ending with a NUL byte); nothing is deleted"},
    {.name = "resume",
     .kind = DNS_OPTION_STRING,
     .offset = AT(resume),
     .value = "FILE",
     .help = "with --all: note in FILE which videos are done and what was found, and go on after "
             "those noted there"},
    {.name = "queries-from",
     .letter = 'f',
     .kind = DNS_OPTION_LIST,
     .offset = AT(queries_from),
     .value = "FILE",
     .help = "also ask for the videos named in FILE, one a line; - is standard input"},
    {.name = "exclude-self",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(exclude_self),
     .help = "leave out the query itself when it is a video of the index"},
    {.name = "json", .kind = DNS_OPTION_FLAG, .offset = AT(json), .help = "one JSON document"},
    {.name = "ndjson",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(ndjson),
     .help = "one JSON object a line and query"},
    {.name = "csv", .kind = DNS_OPTION_FLAG, .offset = AT(csv), .help = "CSV with a heading"},
    {.name = "null",
     .letter = '0',
     .kind = DNS_OPTION_FLAG,
     .offset = AT(null),
     .help = "names in lists end with a NUL byte instead of a new line"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256,
     .environment = "DNS_JOBS"},
    {.name = "max-seconds",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(max_seconds),
     .value = "S",
     .help = "give up on a query file that takes longer to decode"},
    DNS_MODEL_OPTION(struct settings, model),
    {0},
};
const dns_command dns_query_search = {
    .name = "search",
    .synopsis = "INDEX [VIDEO...]",
    .summary = "rank the videos of an index by their likeness to a video",
    .description = "Ranks the videos of INDEX by their likeness to each VIDEO: a file, or a video "
                   "of the index given by its path or id; - "
                   "reads names from standard input. All are ranked by the coarse student; those "
                   "that the router picks are compared "
                   "finely. The word 'search' may be left out.\n\nScores are between 0 and 1. A "
                   "video that is in the index is found "
                   "as its own best copy unless --exclude-self is given.\n\nWith --all every video "
                   "is compared "
                   "with those of higher id, and its near-duplicates among them are written as "
                   "they are found. "
                   "Where the index has a fine tier, only pairs that it compared count. An "
                   "interrupted run with "
                   "--resume goes on where it was; a crash repeats at most the group in hand.",
    .examples = "  dns-query films.dns clip.mp4\n"
                "  dns-query films.dns clip.mp4 -k 3 --rerank 5% --ndjson\n"
                "  ls *.mp4 | dns-query films.dns - --csv\n"
                "  dns-query films.dns --all --ndjson --resume films.done > pairs.ndjson\n"
                "  dns-query films.dns --all --groups --csv --resume films.done > groups.csv\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run,
};
