/* Rules of the published evaluators, one function a protocol (docs/evaluation.md). */
#include "dnsel/protocol.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

/* What all protocols share: the scores and one ranked list with its labels. */
struct run {
    const dns_json *annotations;
    const dns_scores *scores;
    const dns_protocol_options *options;
    dns_protocol_report *report;
    bool *relevant;  /* [n_database], by column */
    bool *candidate; /* [n_database]: takes a rank */
    size_t *order;   /* [n_database] */
    bool *hits;      /* [n_database], in rank order */
    /* Pairs of all queries, for micro-AP. */
    bool *pooled_labels;
    double *pooled_scores;
    size_t n_pooled, labels_capacity, scores_capacity, n_pooled_relevant;
};

static double score_at(const struct run *run, size_t row, size_t column)
{
    return run->scores->values[row * run->scores->n_database + column];
}

static dns_status add_figure(struct run *run, dns_figure **out, const char *name, double value,
                             size_t n_queries)
{
    dns_protocol_report *r = run->report;
    dns_status status =
        dns_reserve(&r->figures, &r->capacity, r->n_figures + 1, sizeof *r->figures);
    if (status != DNS_OK)
        return status;
    dns_figure *figure = &r->figures[r->n_figures];
    *figure = (dns_figure){.value = value, .n_queries = n_queries};
    status = dns_string_copy(&figure->name, name);
    if (status != DNS_OK)
        return status;
    r->n_figures++;
    if (out != NULL)
        *out = figure;
    return DNS_OK;
}

/* Marks the columns of a list of ids; returns how many of them are not marked already and exist. */
static size_t mark(const struct run *run, bool *marks, const dns_json *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < dns_json_size(ids); i++) {
        size_t column = dns_scores_column(run->scores, dns_json_string(dns_json_at(ids, i), ""));
        if (column != SIZE_MAX && !marks[column]) {
            marks[column] = true;
            n++;
        }
    }
    return n;
}

static void clear(const struct run *run, bool *marks)
{
    memset(marks, 0, run->scores->n_database * sizeof *marks);
}

/* Candidates of a row in rank order become run->hits; returns their number in *n. `missing` is the
 * score of videos that have none, NaN leaves them out. */
static dns_status rank_row(struct run *run, size_t *n, size_t row, double missing)
{
    size_t n_database = run->scores->n_database, kept = 0;
    double *scores;
    size_t *columns;
    dns_status status = dns_alloc(&scores, n_database, sizeof *scores);
    if (status != DNS_OK)
        return status;
    status = dns_alloc(&columns, n_database, sizeof *columns);
    for (size_t j = 0; j < n_database && status == DNS_OK; j++) {
        double score = score_at(run, row, j);
        if (isnan(score))
            score = missing;
        if (!run->candidate[j] || isnan(score))
            continue;
        columns[kept] = j;
        scores[kept++] = score;
    }
    if (status == DNS_OK)
        status = dns_rank(run->order, scores, kept);
    for (size_t r = 0; r < kept && status == DNS_OK; r++)
        run->hits[r] = run->relevant[columns[run->order[r]]];
    *n = kept;
    dns_free(columns);
    dns_free(scores);
    return status;
}

/* Relevant candidates that have a score in this row. */
static size_t count_relevant(const struct run *run, size_t row)
{
    size_t n = 0;
    for (size_t j = 0; j < run->scores->n_database; j++)
        n += run->relevant[j] && run->candidate[j] && !isnan(score_at(run, row, j));
    return n;
}

static dns_status pool_row(struct run *run, size_t row)
{
    size_t n_database = run->scores->n_database;
    dns_status status = dns_reserve(&run->pooled_labels, &run->labels_capacity,
                                    run->n_pooled + n_database, sizeof *run->pooled_labels);
    if (status == DNS_OK)
        status = dns_reserve(&run->pooled_scores, &run->scores_capacity, run->n_pooled + n_database,
                             sizeof *run->pooled_scores);
    for (size_t j = 0; j < n_database && status == DNS_OK; j++) {
        double score = score_at(run, row, j);
        if (!run->candidate[j] || isnan(score))
            continue;
        run->pooled_labels[run->n_pooled] = run->relevant[j];
        run->pooled_scores[run->n_pooled++] = score;
    }
    return status;
}

static dns_status add_pooled_figure(struct run *run, const char *name)
{
    double value;
    dns_status status = dns_average_precision_grouped(
        &value, run->pooled_labels, run->pooled_scores, run->n_pooled, run->n_pooled_relevant);
    if (status == DNS_OK && run->n_pooled_relevant > 0)
        status = add_figure(run, NULL, name, value, 0);
    run->n_pooled = run->n_pooled_relevant = 0;
    return status;
}

static dns_status count_found(struct run *run, const dns_json *queries, const dns_json *database)
{
    dns_protocol_report *r = run->report;
    r->n_queries = dns_json_size(queries);
    r->n_database = dns_json_size(database);
    if (r->n_queries == 0)
        return dns_status_set(DNS_ERR_FORMAT, "annotations: no queries of this protocol");
    for (size_t i = 0; i < r->n_queries; i++)
        r->n_queries_found +=
            dns_scores_row(run->scores, dns_json_string(dns_json_at(queries, i), "")) != SIZE_MAX;
    clear(run, run->candidate);
    r->n_database_found = mark(run, run->candidate, database);
    if (r->n_queries_found == 0)
        return dns_status_set(DNS_ERR_NOTFOUND, "none of the %zu queries has scores", r->n_queries);
    return DNS_OK;
}

/* ---- FIVR ---- */

static const struct fivr_task {
    const char *mean, *pooled, *labels[4];
} fivr_tasks[] = {
    {"DSVR", "DSVD", {"ND", "DS"}},
    {"CSVR", "CSVD", {"ND", "DS", "CS"}},
    {"ISVR", "ISVD", {"ND", "DS", "CS", "IS"}},
    {"DAVR", NULL, {"DA"}},
};

/* Adds one query to a task. Its own id takes no rank, yet counts in the denominator when its labels
 * name it. */
static dns_status fivr_query(struct run *run, const struct fivr_task *task, const char *query,
                             size_t row, dns_figure *sum)
{
    dns_status status = DNS_OK;
    const dns_json *labels = dns_json_get(dns_json_get(run->annotations, "annotation"), query);
    clear(run, run->relevant);
    for (size_t i = 0; i < 4 && task->labels[i] != NULL; i++)
        mark(run, run->relevant, dns_json_get(labels, task->labels[i]));
    size_t self = dns_scores_column(run->scores, query);
    bool self_candidate = self != SIZE_MAX && run->candidate[self];
    if (self != SIZE_MAX && run->options->drop_self_labels)
        run->relevant[self] = false;
    size_t n_relevant = count_relevant(run, row), n_all = 0, n;
    for (size_t j = 0; j < run->scores->n_database; j++)
        n_all += run->relevant[j] && run->candidate[j];
    if (n_relevant == 0)
        return DNS_OK;
    if (self_candidate)
        run->candidate[self] = false;
    DNS_TRY(rank_row(run, &n, row, NAN));
    sum->value += dns_average_precision(run->hits, n, n_relevant);
    sum->n_queries++;
    double curve[DNS_PR_POINTS];
    DNS_TRY(rank_row(run, &n, row, 0));
    dns_precision_recall(curve, run->hits, n, n_all);
    for (size_t i = 0; i < DNS_PR_POINTS; i++)
        sum->curve[i] += curve[i];
    if (task->pooled != NULL) {
        DNS_TRY(pool_row(run, row));
        run->n_pooled_relevant += n_relevant;
    }
out:
    if (self_candidate)
        run->candidate[self] = true;
    return status;
}

static dns_status fivr_task_figures(struct run *run, const struct fivr_task *task,
                                    const dns_json *queries)
{
    dns_figure sum = {0}, *figure;
    for (size_t i = 0; i < dns_json_size(queries); i++) {
        const char *query = dns_json_string(dns_json_at(queries, i), "");
        size_t row = dns_scores_row(run->scores, query);
        dns_status status = row == SIZE_MAX ? DNS_OK : fivr_query(run, task, query, row, &sum);
        if (status != DNS_OK)
            return status;
    }
    if (sum.n_queries == 0)
        return DNS_OK;
    dns_status status =
        add_figure(run, &figure, task->mean, sum.value / (double)sum.n_queries, sum.n_queries);
    if (status != DNS_OK)
        return status;
    figure->has_curve = true;
    for (size_t i = 0; i < DNS_PR_POINTS; i++)
        figure->curve[i] = sum.curve[i] / (double)sum.n_queries;
    return task->pooled != NULL ? add_pooled_figure(run, task->pooled) : DNS_OK;
}

static dns_status run_fivr(struct run *run, const char *set)
{
    const dns_json *section = dns_json_get(run->annotations, set),
                   *queries = dns_json_get(section, "queries");
    if (dns_json_kind_of(dns_json_get(run->annotations, "annotation")) != DNS_JSON_OBJECT)
        return dns_status_set(DNS_ERR_FORMAT,
                              "annotations: no object 'annotation', as FIVR has it");
    dns_status status = count_found(run, queries, dns_json_get(section, "database"));
    for (size_t t = 0; t < sizeof fivr_tasks / sizeof fivr_tasks[0] && status == DNS_OK; t++)
        status = fivr_task_figures(run, &fivr_tasks[t], queries);
    return status;
}

static dns_status run_fivr_5k(struct run *run)
{
    return run_fivr(run, "5k");
}

static dns_status run_fivr_200k(struct run *run)
{
    return run_fivr(run, "200k");
}

/* ---- CC_WEB_VIDEO ---- */

/* Labels name videos by number; `index` says which id has which number. */
struct cc_web {
    struct run *run;
    size_t *column_of; /* by number; SIZE_MAX: not in the database */
    size_t n_numbers;
    bool *excluded; /* by number */
    bool *labelled; /* by column */
    size_t n_positive;
};

enum { CC_WEB_MAX_NUMBER = 10000000 };

static dns_status cc_web_largest(void *payload, const char *key, const dns_json *value)
{
    struct cc_web *c = payload;
    int64_t number = dns_json_integer(value, -1);
    if (number < 0 || number > CC_WEB_MAX_NUMBER)
        return dns_status_set(DNS_ERR_FORMAT, "annotations: number of '%s' is none", key);
    if ((size_t)number >= c->n_numbers)
        c->n_numbers = (size_t)number + 1;
    return DNS_OK;
}

static dns_status cc_web_number(void *payload, const char *key, const dns_json *value)
{
    struct cc_web *c = payload;
    c->column_of[dns_json_integer(value, 0)] = dns_scores_column(c->run->scores, key);
    return DNS_OK;
}

static dns_status cc_web_label(void *payload, const char *key, const dns_json *value)
{
    struct cc_web *c = payload;
    const char *label = dns_json_string(value, "");
    char *end;
    unsigned long number = strtoul(key, &end, 10);
    if (*end != '\0' || number >= c->n_numbers)
        return DNS_OK;
    bool positive = label[0] != '\0' && label[1] == '\0' && strchr("ESLMV", label[0]) != NULL &&
                    !c->excluded[number];
    c->n_positive += positive;
    size_t column = c->column_of[number];
    if (column != SIZE_MAX) {
        c->labelled[column] = true;
        c->run->relevant[column] = positive;
    }
    return DNS_OK;
}

/* `star`: every database video takes a rank, otherwise only those labelled in the query's set.
 * `clean`: excluded videos are dropped from ranking and positives. */
static dns_status cc_web_average(struct cc_web *c, double *ap, size_t set, size_t row, bool star,
                                 bool clean)
{
    struct run *run = c->run;
    const dns_json *excluded = dns_json_at(dns_json_get(run->annotations, "excluded"), set);
    memset(c->excluded, 0, c->n_numbers * sizeof *c->excluded);
    for (size_t i = 0; clean && i < dns_json_size(excluded); i++) {
        int64_t number = dns_json_integer(dns_json_at(excluded, i), -1);
        if (number >= 0 && (size_t)number < c->n_numbers)
            c->excluded[number] = true;
    }
    clear(run, run->relevant);
    clear(run, run->candidate);
    clear(run, c->labelled);
    c->n_positive = 0;
    dns_status status = dns_json_each(
        dns_json_at(dns_json_get(run->annotations, "ground_truth"), set), cc_web_label, c);
    for (size_t number = 0; number < c->n_numbers; number++) {
        size_t column = c->column_of[number];
        if (column != SIZE_MAX)
            run->candidate[column] = !c->excluded[number] && (star || c->labelled[column]);
    }
    size_t n = 0;
    if (status == DNS_OK)
        status = rank_row(run, &n, row, NAN);
    *ap = dns_average_precision(run->hits, n, c->n_positive);
    return status;
}

static dns_status cc_web_figures(struct cc_web *c)
{
    static const struct {
        const char *name;
        bool star, clean;
    } variants[] = {{"mAP", false, false},
                    {"mAP_star", true, false},
                    {"mAP_c", false, true},
                    {"mAP_c_star", true, true}};
    const dns_json *queries = dns_json_get(c->run->annotations, "queries");
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        double sum = 0, ap;
        size_t n = 0;
        for (size_t set = 0; set < dns_json_size(queries); set++) {
            size_t row =
                dns_scores_row(c->run->scores, dns_json_string(dns_json_at(queries, set), ""));
            if (row == SIZE_MAX)
                continue;
            dns_status status =
                cc_web_average(c, &ap, set, row, variants[v].star, variants[v].clean);
            if (status != DNS_OK)
                return status;
            n += c->n_positive > 0;
            sum += ap;
        }
        dns_status status =
            add_figure(c->run, NULL, variants[v].name, n > 0 ? sum / (double)n : 0, n);
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}

static dns_status run_cc_web(struct run *run)
{
    dns_status status = DNS_OK;
    struct cc_web c = {.run = run};
    const dns_json *index = dns_json_get(run->annotations, "index");
    DNS_TRY(count_found(run, dns_json_get(run->annotations, "queries"), NULL));
    DNS_TRY(dns_json_each(index, cc_web_largest, &c));
    DNS_TRY(dns_alloc(&c.column_of, c.n_numbers, sizeof *c.column_of));
    DNS_TRY(dns_alloc(&c.excluded, c.n_numbers, sizeof *c.excluded));
    DNS_TRY(dns_alloc(&c.labelled, run->scores->n_database, sizeof *c.labelled));
    for (size_t i = 0; i < c.n_numbers; i++)
        c.column_of[i] = SIZE_MAX;
    DNS_TRY(dns_json_each(index, cc_web_number, &c));
    run->report->n_database = dns_json_size(index);
    for (size_t i = 0; i < c.n_numbers; i++)
        run->report->n_database_found += c.column_of[i] != SIZE_MAX;
    DNS_TRY(cc_web_figures(&c));
out:
    dns_free(c.column_of);
    dns_free(c.excluded);
    dns_free(c.labelled);
    return status;
}

/* ---- EVVE ---- */

struct evve {
    struct run *run;
    double sum;
    size_t n;
};

static dns_status evve_event(void *payload, const char *key, const dns_json *event)
{
    struct evve *e = payload;
    struct run *run = e->run;
    const dns_json *queries = dns_json_get(event, "queries");
    double sum = 0;
    size_t n_queries = 0;
    clear(run, run->relevant);
    mark(run, run->relevant, dns_json_get(event, "positives"));
    for (size_t i = 0; i < dns_json_size(queries); i++) {
        size_t row = dns_scores_row(run->scores, dns_json_string(dns_json_at(queries, i), "")), n;
        size_t n_relevant = row != SIZE_MAX ? count_relevant(run, row) : 0;
        if (n_relevant == 0)
            continue;
        dns_status status = rank_row(run, &n, row, NAN);
        if (status != DNS_OK)
            return status;
        sum += dns_average_precision_trapezoid(run->hits, n, n_relevant);
        n_queries++;
    }
    e->sum += sum;
    e->n += n_queries;
    char name[256];
    snprintf(name, sizeof name, "event %s", key);
    return n_queries > 0 ? add_figure(run, NULL, name, sum / (double)n_queries, n_queries) : DNS_OK;
}

static dns_status run_evve(struct run *run)
{
    struct evve e = {.run = run};
    dns_figure *mean;
    dns_status status = count_found(run, dns_json_get(run->annotations, "queries"),
                                    dns_json_get(run->annotations, "database"));
    if (status == DNS_OK)
        status = add_figure(run, &mean, "mAP", 0, 0);
    if (status == DNS_OK)
        status = dns_json_each(dns_json_get(run->annotations, "annotation"), evve_event, &e);
    if (status == DNS_OK) {
        run->report->figures[0].value = e.n > 0 ? e.sum / (double)e.n : 0;
        run->report->figures[0].n_queries = e.n;
    }
    return status;
}

/* ---- SVD and VCDB: pairs ---- */

static const char *pair_text(const dns_json *pair, size_t side)
{
    return dns_json_string(dns_json_at(pair, side), "");
}

/* Distinct queries that have a row: rows[row] is true. */
static dns_status mark_pair_queries(struct run *run, bool *rows, const dns_json *pairs,
                                    bool both_sides)
{
    if (dns_json_kind_of(pairs) != DNS_JSON_ARRAY)
        return dns_status_set(DNS_ERR_FORMAT,
                              "annotations: no array 'pairs' of [query, video, label]");
    const char *last = "";
    for (size_t i = 0; i < dns_json_size(pairs); i++)
        for (size_t side = 0; side <= (size_t)both_sides; side++) {
            const char *query = pair_text(dns_json_at(pairs, i), side);
            if (strcmp(query, last) == 0)
                continue;
            last = query;
            size_t row = dns_scores_row(run->scores, query);
            if (row != SIZE_MAX)
                rows[row] = true;
        }
    for (size_t row = 0; row < run->scores->n_queries; row++)
        run->report->n_queries_found += rows[row];
    run->report->n_queries = run->report->n_queries_found;
    run->report->n_database = run->report->n_database_found = run->scores->n_database;
    if (run->report->n_queries_found == 0)
        return dns_status_set(DNS_ERR_NOTFOUND, "none of the queries of %zu pairs has scores",
                              dns_json_size(pairs));
    return DNS_OK;
}

/* Candidates of a query: its labelled videos, and every video that no pair names, as negatives. */
static dns_status svd_query(struct run *run, double *ap, size_t *n_relevant, size_t row,
                            const dns_json *pairs, const bool *unlabelled)
{
    memcpy(run->candidate, unlabelled, run->scores->n_database * sizeof *unlabelled);
    clear(run, run->relevant);
    for (size_t i = 0; i < dns_json_size(pairs); i++) {
        const dns_json *pair = dns_json_at(pairs, i);
        if (strcmp(pair_text(pair, 0), run->scores->queries[row]) != 0)
            continue;
        size_t column = dns_scores_column(run->scores, pair_text(pair, 1));
        if (column == SIZE_MAX)
            continue;
        run->candidate[column] = true;
        run->relevant[column] = dns_json_integer(dns_json_at(pair, 2), 0) == 1;
    }
    run->n_pooled = 0;
    *n_relevant = count_relevant(run, row);
    dns_status status = pool_row(run, row);
    if (status == DNS_OK)
        status = dns_average_precision_grouped(ap, run->pooled_labels, run->pooled_scores,
                                               run->n_pooled, *n_relevant);
    run->n_pooled = 0;
    return status;
}

static dns_status run_svd(struct run *run)
{
    dns_status status = DNS_OK;
    bool *rows = NULL, *unlabelled = NULL;
    const dns_json *pairs = dns_json_get(run->annotations, "pairs");
    double sum = 0, ap;
    size_t n = 0, n_relevant;
    DNS_TRY(dns_alloc(&rows, run->scores->n_queries, sizeof *rows));
    DNS_TRY(dns_alloc(&unlabelled, run->scores->n_database, sizeof *unlabelled));
    DNS_TRY(mark_pair_queries(run, rows, pairs, false));
    for (size_t j = 0; j < run->scores->n_database; j++)
        unlabelled[j] = true;
    for (size_t i = 0; i < dns_json_size(pairs); i++)
        for (size_t side = 0; side < 2; side++) {
            size_t column = dns_scores_column(run->scores, pair_text(dns_json_at(pairs, i), side));
            if (column != SIZE_MAX)
                unlabelled[column] = false;
        }
    for (size_t row = 0; row < run->scores->n_queries; row++) {
        if (!rows[row])
            continue;
        DNS_TRY(svd_query(run, &ap, &n_relevant, row, pairs, unlabelled));
        sum += ap;
        n += n_relevant > 0;
    }
    DNS_TRY(add_figure(run, NULL, "mAP", n > 0 ? sum / (double)n : 0, n));
out:
    dns_free(rows);
    dns_free(unlabelled);
    return status;
}

/* Every other video of the database is a candidate; both videos of a pair are relevant to each
 * other. */
static dns_status vcdb_query(struct run *run, double *sum, size_t *n_queries, size_t row,
                             const dns_json *pairs)
{
    const char *query = run->scores->queries[row];
    size_t self = dns_scores_column(run->scores, query), n;
    clear(run, run->relevant);
    for (size_t j = 0; j < run->scores->n_database; j++)
        run->candidate[j] = j != self;
    for (size_t i = 0; i < dns_json_size(pairs); i++) {
        const char *a = pair_text(dns_json_at(pairs, i), 0),
                   *b = pair_text(dns_json_at(pairs, i), 1);
        const char *other = strcmp(a, query) == 0 ? b : strcmp(b, query) == 0 ? a : NULL;
        size_t column = other != NULL ? dns_scores_column(run->scores, other) : SIZE_MAX;
        if (column != SIZE_MAX && column != self)
            run->relevant[column] = true;
    }
    size_t n_relevant = count_relevant(run, row);
    if (n_relevant == 0)
        return DNS_OK;
    dns_status status = rank_row(run, &n, row, NAN);
    if (status != DNS_OK)
        return status;
    *sum += dns_average_precision(run->hits, n, n_relevant);
    *n_queries += 1;
    run->n_pooled_relevant += n_relevant;
    return pool_row(run, row);
}

static dns_status run_vcdb(struct run *run)
{
    dns_status status = DNS_OK;
    bool *rows = NULL;
    const dns_json *pairs = dns_json_get(run->annotations, "pairs");
    double sum = 0;
    size_t n = 0;
    DNS_TRY(dns_alloc(&rows, run->scores->n_queries, sizeof *rows));
    DNS_TRY(mark_pair_queries(run, rows, pairs, true));
    for (size_t row = 0; row < run->scores->n_queries; row++)
        if (rows[row])
            DNS_TRY(vcdb_query(run, &sum, &n, row, pairs));
    DNS_TRY(add_figure(run, NULL, "mAP", n > 0 ? sum / (double)n : 0, n));
    DNS_TRY(add_pooled_figure(run, "uAP"));
out:
    dns_free(rows);
    return status;
}

/* ---- */

static const struct {
    const char *name;
    dns_status (*run)(struct run *run);
} protocols[] = {
    {"FIVR-5K", run_fivr_5k},
    {"FIVR-200K", run_fivr_200k},
    {"CC_WEB_VIDEO", run_cc_web},
    {"EVVE", run_evve},
    {"SVD", run_svd},
    {"VCDB", run_vcdb},
};

const char *dns_protocol_names(void)
{
    return "FIVR-5K|FIVR-200K|CC_WEB_VIDEO|EVVE|SVD|VCDB";
}

/* *index of a name in `protocols`. */
static dns_status find_protocol(size_t *index, const char *name)
{
    for (*index = 0; *index < sizeof protocols / sizeof protocols[0]; (*index)++)
        if (strcmp(protocols[*index].name, name) == 0)
            return DNS_OK;
    return dns_status_set(DNS_ERR_ARG, "protocol '%s' is none of %s", name, dns_protocol_names());
}

dns_status dns_protocol_check(const char *name)
{
    size_t index;
    return find_protocol(&index, name);
}

static dns_status run_named(struct run *run, const char *name)
{
    size_t index;
    dns_status status = find_protocol(&index, name);
    return status != DNS_OK ? status : protocols[index].run(run);
}

dns_status dns_protocol_run(dns_protocol_report **out, const char *name,
                            const dns_json *annotations, const dns_scores *scores,
                            const dns_protocol_options *options)
{
    static const dns_protocol_options none = {0};
    dns_status status = DNS_OK;
    struct run run = {
        .annotations = annotations, .scores = scores, .options = options != NULL ? options : &none};
    *out = NULL;
    DNS_TRY(dns_alloc(&run.report, 1, sizeof *run.report));
    DNS_TRY(dns_alloc(&run.relevant, scores->n_database, sizeof *run.relevant));
    DNS_TRY(dns_alloc(&run.candidate, scores->n_database, sizeof *run.candidate));
    DNS_TRY(dns_alloc(&run.order, scores->n_database, sizeof *run.order));
    DNS_TRY(dns_alloc(&run.hits, scores->n_database, sizeof *run.hits));
    DNS_TRY(run_named(&run, name));
    *out = run.report;
    run.report = NULL;
out:
    dns_protocol_report_free(run.report);
    dns_free(run.relevant);
    dns_free(run.candidate);
    dns_free(run.order);
    dns_free(run.hits);
    dns_free(run.pooled_labels);
    dns_free(run.pooled_scores);
    return status;
}

void dns_protocol_report_free(dns_protocol_report *report)
{
    if (report == NULL)
        return;
    for (size_t i = 0; i < report->n_figures; i++)
        dns_free(report->figures[i].name);
    dns_free(report->figures);
    dns_free(report);
}
