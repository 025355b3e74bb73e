/* Opening, asking, and what it took. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "dnsel/memory.h"
#include "dnsel/rounding.h"
#include "scale_parts.h"

const double dns_scale_budgets[DNS_SCALE_BUDGETS] = {0, 0.01, 0.05, 0.30};

/* A query's records and what they point to. */
struct question {
    dns_made_video video;
    struct scale_video parts;
    float *vector;
    uint8_t *bits, *codes;
    dns_record records[DNS_KIND_COUNT];
    dns_query query;
};

static dns_status make_question(struct question *q, size_t number, const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    const dns_made_corpus *c = &o->corpus;
    *q = (struct question){.video = dns_made_query(c, number, o->n_videos)};
    if (o->query_frames > 0 && q->video.n_frames > o->query_frames)
        q->video.n_frames = o->query_frames;
    DNS_TRY(dns_alloc(&q->vector, c->dim, sizeof *q->vector));
    DNS_TRY(dns_alloc(&q->bits, c->dim / 8, 1));
    DNS_TRY(
        dns_alloc(&q->codes, q->video.n_frames, (size_t)DNS_MADE_REGIONS * DNS_MADE_CODE_BYTES));
    dns_made_vector(q->vector, c, &q->video);
    DNS_TRY(dns_codes_from_f32(q->bits, q->vector, 1, c->dim));
    dns_made_codes(q->codes, c, &q->video);
    q->parts = (struct scale_video){.dim = c->dim,
                                    .n_frames = q->video.n_frames,
                                    .vector = q->vector,
                                    .scalar = dns_made_scalar(c, &q->video),
                                    .bits = q->bits,
                                    .codes = q->codes};
    q->query.records = q->records;
    q->query.n_records = scale_records(q->records, &q->parts, o->kept);
out:
    return status;
}

static void free_question(struct question *q)
{
    dns_free(q->vector);
    dns_free(q->bits);
    dns_free(q->codes);
}

/* ---- opening ---- */

/* Opens everything, answers by coarse vectors alone, and closes. */
static dns_status open_once(double *open, double *query, const char *directory,
                            const struct question *q, const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    struct scale_index index = {0};
    dns_searcher *searcher = NULL;
    dns_answer *answer = NULL;
    dns_search_options options = dns_search_options_default();
    const dns_searcher_options how = {.pool = o->pool, .fine = DNS_FINE_AUTO};
    options.budget = DNS_BUDGET_NONE;
    double start = dns_seconds();
    DNS_TRY(scale_open(&index, directory, DNS_STORE_READ));
    DNS_TRY(dns_searcher_open(&searcher, index.store, index.model, &how));
    double opened = dns_seconds();
    DNS_TRY(dns_search(&answer, searcher, &q->query, &options));
    *query = dns_seconds() - opened;
    *open = opened - start;
out:
    dns_answer_free(answer);
    dns_searcher_close(searcher);
    scale_close(&index);
    return status;
}

static dns_status measure_opening(dns_scale_report *out, const char *directory,
                                  const struct question *q, const dns_scale_options *o)
{
    static const char *const parts[] = {"model", "index.dns"};
    dns_status status = DNS_OK;
    char *path = NULL;
    size_t pages = 0, left = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        DNS_TRY(dns_path_join(&path, directory, parts[i]));
        DNS_TRY(scale_drop(&pages, &left, path));
        dns_free(path);
        path = NULL;
    }
    out->cold_share = pages > 0 ? 1 - (double)left / (double)pages : 0;
    DNS_TRY(open_once(&out->cold_open, &out->cold_query, directory, q, o));
    DNS_TRY(open_once(&out->warm_open, &out->warm_query, directory, q, o));
out:
    dns_free(path);
    return status;
}

/* ---- asking ---- */

/* Seconds of every query at one budget. */
struct times {
    double *scan, *route, *fine, *pair, *cpu;
};

static dns_status ask(dns_answer **out, dns_searcher *searcher, const struct question *q,
                      double share, const dns_scale_options *o)
{
    dns_search_options options = dns_search_options_default();
    options.budget = share > 0 ? DNS_BUDGET_SHARE : DNS_BUDGET_NONE;
    options.amount = share;
    options.exhaustive = o->exhaustive;
    options.cancel = o->cancel;
    return dns_search(out, searcher, &q->query, &options);
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* *without: seconds of the processor that a query takes without fine comparisons, which the first
 * budget tells the others. */
static dns_status measure_budget(dns_scale_report *out, size_t budget, double *without,
                                 dns_searcher *searcher, const struct question *questions,
                                 struct times *t, const dns_scale_options *o)
{
    dns_scale_budget *b = &out->budgets[budget];
    double start = dns_seconds(), limit = o->max_seconds * (double)o->n_queries;
    size_t n_pairs = 0, n = 0;
    for (; n == 0 || (n < o->n_queries && dns_seconds() - start < limit); n++) {
        size_t q = n;
        dns_answer *a;
        char original[32];
        if (dns_cancelled(o->cancel))
            return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
        double busy = processor_seconds();
        dns_status status = ask(&a, searcher, &questions[q], dns_scale_budgets[budget], o);
        if (status != DNS_OK)
            return status;
        scale_name(original, questions[q].video.parent);
        out->found += budget == 0 && a->n_results > 0 && strcmp(a->results[0].name, original) == 0;
        b->wanted = a->n_wanted;
        b->made += a->n_pairs;
        b->left += a->n_left;
        busy = processor_seconds() - busy;
        out->router = a->router;
        t->scan[q] = a->coarse_seconds;
        t->route[q] = a->route_seconds;
        t->fine[q] = a->fine_seconds;
        if (budget == 0)
            t->cpu[q] = busy;
        if (a->n_pairs > 0) {
            t->cpu[n_pairs] = (busy - *without) / (double)a->n_pairs;
            t->pair[n_pairs++] = (a->fine_seconds - out->answer) / (double)a->n_pairs;
        }
        dns_answer_free(a);
    }
    b->asked = n;
    b->made /= n;
    b->left /= n;
    b->cpu = scale_median(t->cpu, n_pairs);
    b->scan = scale_median(t->scan, n);
    b->route = scale_median(t->route, n);
    b->fine = scale_median(t->fine, n);
    b->pair = scale_median(t->pair, n_pairs);
    if (budget == 0) {
        out->answer = b->fine;
        *without = scale_median(t->cpu, n);
    }
    b->whole = n_pairs == 0 && b->wanted > 0
                   ? NAN
                   : b->scan + b->route + out->answer + (double)b->wanted * b->pair;
    return DNS_OK;
}

static dns_status measure_queries(dns_scale_report *out, struct scale_index *index,
                                  const struct question *questions, const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    struct times t = {0};
    double without = 0;
    dns_searcher *searcher = NULL;
    dns_answer *first = NULL;
    const dns_searcher_options how = {.pool = o->pool, .fine = DNS_FINE_AUTO};
    DNS_TRY(dns_alloc(&t.scan, o->n_queries, sizeof *t.scan));
    DNS_TRY(dns_alloc(&t.route, o->n_queries, sizeof *t.route));
    DNS_TRY(dns_alloc(&t.fine, o->n_queries, sizeof *t.fine));
    DNS_TRY(dns_alloc(&t.pair, o->n_queries, sizeof *t.pair));
    DNS_TRY(dns_alloc(&t.cpu, o->n_queries, sizeof *t.cpu));
    DNS_TRY(dns_searcher_open(&searcher, index->store, index->model, &how));
    DNS_TRY(ask(&first, searcher, &questions[0], 0, o));
    size_t n = dns_searcher_fine(searcher) == DNS_FINE_NONE ? 1 : DNS_SCALE_BUDGETS;
    for (size_t b = 0; b < n; b++) {
        DNS_TRY(measure_budget(out, b, &without, searcher, questions, &t, o));
        if (o->progress != NULL)
            o->progress->report(o->progress->payload, b + 1, n, "budgets");
    }
    scale_resident(&out->memory, &out->mapped_memory);
out:
    dns_answer_free(first);
    dns_searcher_close(searcher);
    dns_free(t.scan);
    dns_free(t.route);
    dns_free(t.fine);
    dns_free(t.pair);
    dns_free(t.cpu);
    return status;
}

dns_status dns_scale_measure(dns_scale_report *out, const char *directory,
                             const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    struct scale_index index = {0};
    dns_snapshot *snapshot = NULL;
    struct question *questions = NULL;
    *out = (dns_scale_report){0};
    if (o->n_queries == 0)
        DNS_FAIL(DNS_ERR_ARG, "no queries");
    DNS_TRY(dns_alloc(&questions, o->n_queries, sizeof *questions));
    for (size_t q = 0; q < o->n_queries; q++)
        DNS_TRY(make_question(&questions[q], q, o));
    DNS_TRY(measure_opening(out, directory, &questions[0], o));
    DNS_TRY(scale_open(&index, directory, DNS_STORE_READ));
    DNS_TRY(measure_queries(out, &index, questions, o));
    DNS_TRY(dns_snapshot_open(&snapshot, index.store));
    DNS_TRY(dns_snapshot_stat(&out->stat, snapshot));
    DNS_TRY(scale_measure_rows(out, snapshot, o));
out:
    dns_snapshot_close(snapshot);
    scale_close(&index);
    for (size_t q = 0; questions != NULL && q < o->n_queries; q++)
        free_question(&questions[q]);
    dns_free(questions);
    return status;
}
