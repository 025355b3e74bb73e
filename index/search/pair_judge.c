#include "pair_judge.h"

#include <string.h>

#include "dnsel/classifier.h"
#include "dnsel/matrix.h"
#include "dnsel/memory.h"
#include "dnsel/pair_features.h"

enum { CHUNK = 256 };

struct dns_pair_judge {
    dns_classifier *classifier;
    /* Of every video, in the order of the matrix, at one state of the index. */
    dns_matrix *matrix;
    dns_matrix_rows rows;
    float *scalars;
    double *durations;
    uint64_t generation;
};

dns_status dns_pair_judge_from_model(dns_pair_judge **out, const dns_model *model)
{
    dns_status status = DNS_OK;
    dns_pair_judge *judge = NULL;
    const dns_digest digest = dns_model_digest(model);
    char made_for[33];
    *out = NULL;
    if (dns_model_weights(model, "classifier") == NULL)
        return DNS_OK;
    DNS_TRY(dns_alloc(&judge, 1, sizeof *judge));
    DNS_TRY(dns_classifier_from_model(&judge->classifier, model));
    const dns_classifier_shape *shape = dns_classifier_shape_of(judge->classifier);
    dns_digest_text(&digest, made_for);
    if (shape->task != DNS_LABEL_PAIR || shape->dim != DNS_PAIR_FEATURES || shape->n_labels != 2 ||
        (shape->origin != NULL && strcmp(shape->origin, made_for) != 0))
        goto out;
    *out = judge;
    judge = NULL;
out:
    dns_pair_judge_free(judge);
    return status;
}

static void forget(dns_pair_judge *judge)
{
    dns_free(judge->scalars);
    dns_free(judge->durations);
    dns_matrix_close(judge->matrix);
    judge->scalars = NULL;
    judge->durations = NULL;
    judge->matrix = NULL;
}

void dns_pair_judge_free(dns_pair_judge *judge)
{
    if (judge == NULL)
        return;
    forget(judge);
    dns_classifier_free(judge->classifier);
    dns_free(judge);
}

static dns_status read_video(dns_pair_judge *judge, const dns_snapshot *snapshot, size_t row)
{
    dns_meta meta;
    dns_record scalar;
    const uint64_t id = judge->rows.ids[row];
    dns_status status = dns_snapshot_meta(&meta, snapshot, id);
    if (status != DNS_OK)
        return status;
    judge->durations[row] = meta.duration;
    status = dns_snapshot_get(&scalar, snapshot, DNS_KIND_SELECTOR, id, false);
    if (status == DNS_ERR_NOTFOUND)
        return DNS_OK;
    return status == DNS_OK ? dns_record_to_f32(&judge->scalars[row], &scalar) : status;
}

static dns_status look_at_index(dns_pair_judge *judge, const dns_snapshot *snapshot, dns_pool *pool)
{
    dns_status status = DNS_OK;
    const uint64_t generation = dns_snapshot_generation(snapshot);
    const dns_matrix_options options = {.pool = pool};
    if (judge->matrix != NULL && judge->generation == generation)
        return DNS_OK;
    forget(judge);
    DNS_TRY(dns_matrix_open(&judge->matrix, snapshot, DNS_MATRIX_COARSE, &options));
    judge->rows = dns_matrix_get(judge->matrix);
    DNS_TRY(dns_alloc(&judge->scalars, judge->rows.n_rows, sizeof *judge->scalars));
    DNS_TRY(dns_alloc(&judge->durations, judge->rows.n_rows, sizeof *judge->durations));
    for (size_t i = 0; i < judge->rows.n_rows; i++)
        DNS_TRY(read_video(judge, snapshot, i));
    judge->generation = generation;
out:
    if (status != DNS_OK)
        forget(judge);
    return status;
}

struct run {
    const dns_pair_judge *judge;
    dns_pair_side query;
    const size_t *rows; /* [n] of the matrix */
    size_t n;
    float *probability;
};

static dns_status judge_chunk(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct run *run = payload;
    const dns_pair_judge *judge = run->judge;
    const size_t first = task * CHUNK, dim = judge->rows.dim;
    const size_t n = run->n - first < CHUNK ? run->n - first : CHUNK;
    float x[CHUNK * DNS_PAIR_FEATURES] = {0}, p[CHUNK * 2];
    for (size_t i = 0; i < n; i++) {
        const size_t row = run->rows[first + i];
        const dns_pair_side target = {(const float *)judge->rows.vectors + row * dim,
                                      judge->scalars[row], judge->durations[row]};
        dns_pair_features(x + i * DNS_PAIR_FEATURES, &run->query, &target, dim);
    }
    dns_status status = dns_classifier_predict(p, judge->classifier, x, n, NULL);
    for (size_t i = 0; status == DNS_OK && i < n; i++)
        run->probability[first + i] = p[i * 2 + 1];
    return status;
}

/* The ids of a search come from the same snapshot, so as a rule in the same order. */
static dns_status find_rows(size_t *rows, const dns_pair_judge *judge, const uint64_t *ids,
                            size_t n)
{
    const size_t n_rows = judge->rows.n_rows;
    size_t next = 0;
    for (size_t i = 0; i < n; i++) {
        size_t tried = 0;
        for (; tried < n_rows && judge->rows.ids[(next + tried) % n_rows] != ids[i]; tried++)
            ;
        if (tried == n_rows) {
            char id[17];
            dns_id_text(ids[i], id);
            return dns_status_set(DNS_ERR_CORRUPT, "video %s has no coarse record", id);
        }
        rows[i] = (next + tried) % n_rows;
        next = rows[i] + 1;
    }
    return DNS_OK;
}

static dns_status query_side(dns_pair_side *out, const dns_query *query, size_t dim)
{
    dns_status status = DNS_OK;
    *out = (dns_pair_side){.duration = query->duration};
    for (size_t i = 0; i < query->n_records; i++) {
        const dns_record *r = &query->records[i];
        if (r->kind == DNS_KIND_SELECTOR)
            DNS_TRY(dns_record_to_f32(&out->scalar, r));
        if (r->kind != DNS_KIND_COARSE)
            continue;
        if (r->dtype != DNS_F32 || r->shape[0] != dim)
            DNS_FAIL(DNS_ERR_SHAPE, "coarse vector of %zu dimensions, the index has %zu",
                     r->shape[0], dim);
        out->coarse = r->data;
    }
    if (out->coarse == NULL)
        DNS_FAIL(DNS_ERR_ARG, "query without a record of kind %s", dns_kind_name(DNS_KIND_COARSE));
out:
    return status;
}

dns_status dns_pair_judge_run(float *probability, dns_pair_judge *judge,
                              const dns_snapshot *snapshot, const dns_query *query,
                              const uint64_t *ids, size_t n, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t *rows = NULL;
    struct run run = {.judge = judge, .n = n, .probability = probability};
    if (n == 0)
        goto out;
    DNS_TRY(look_at_index(judge, snapshot, pool));
    DNS_TRY(query_side(&run.query, query, judge->rows.dim));
    DNS_TRY(dns_alloc(&rows, n, sizeof *rows));
    DNS_TRY(find_rows(rows, judge, ids, n));
    run.rows = rows;
    DNS_TRY(dns_pool_run(pool, (n + CHUNK - 1) / CHUNK, judge_chunk, &run));
out:
    dns_free(rows);
    return status;
}
