#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "dnsel/ann.h"
#include "dnsel/memory.h"
#include "support.h"

enum { ROWS = 3000, QUERIES = 37, DIM = 64, BYTES = 16, K = 10 };

/* Clustered unit vectors, as those of videos are, with ids of all 64 bits; queries lie near some of
 * them. */
struct fixture {
    float vectors[ROWS * DIM], queries[QUERIES * DIM];
    uint8_t codes[ROWS * BYTES], query_codes[QUERIES * BYTES];
    uint64_t ids[ROWS];
};

static struct fixture fixture;

static void near(float *out, const float *center, double spread, dns_random *random)
{
    double norm = 0.0;
    for (size_t i = 0; i < DIM; i++) {
        out[i] = center[i] + (float)(spread * dns_random_normal(random));
        norm += (double)out[i] * (double)out[i];
    }
    for (size_t i = 0; i < DIM; i++)
        out[i] /= (float)sqrt(norm);
}

static int set_up(void **state)
{
    static float centers[100 * DIM];
    dns_random random = dns_random_seed(5);
    for (size_t i = 0; i < 100 * DIM; i++)
        centers[i] = (float)dns_random_normal(&random);
    for (size_t r = 0; r < ROWS; r++) {
        near(fixture.vectors + r * DIM, centers + dns_random_below(&random, 100) * DIM, 0.6,
             &random);
        fixture.ids[r] = dns_random_next(&random);
        for (size_t i = 0; i < BYTES; i++)
            fixture.codes[r * BYTES + i] = (uint8_t)dns_random_next(&random);
    }
    for (size_t q = 0; q < QUERIES; q++) {
        size_t row = dns_random_below(&random, ROWS);
        near(fixture.queries + q * DIM, fixture.vectors + row * DIM, 0.02, &random);
        memcpy(fixture.query_codes + q * BYTES, fixture.codes + row * BYTES, BYTES);
        fixture.query_codes[q * BYTES] ^= 0x11;
    }
    return 0;
}

static const void *vectors_of(dns_dtype dtype)
{
    return dtype == DNS_U8 ? (const void *)fixture.codes : fixture.vectors;
}

static const void *queries_of(dns_dtype dtype)
{
    return dtype == DNS_U8 ? (const void *)fixture.query_codes : fixture.queries;
}

static dns_ann *build(const char *factory, dns_dtype dtype)
{
    dns_ann *ann;
    assert_ok(dns_ann_create(&ann, factory, dtype, dtype == DNS_U8 ? BYTES : DIM));
    assert_ok(dns_ann_train(ann, vectors_of(dtype), ROWS, NULL));
    assert_ok(dns_ann_add(ann, fixture.ids, vectors_of(dtype), ROWS / 2, NULL));
    size_t done = ROWS / 2, bytes = dtype == DNS_U8 ? BYTES : DIM * sizeof(float);
    assert_ok(dns_ann_add(ann, fixture.ids + done,
                          (const uint8_t *)vectors_of(dtype) + done * bytes, ROWS - done, NULL));
    assert_int_equal(dns_ann_get_info(ann).n_vectors, ROWS);
    return ann;
}

static void scan(dns_hit *hits, dns_dtype dtype)
{
    dns_scan_rows rows = {
        ROWS, dtype, dtype == DNS_U8 ? BYTES : DIM, fixture.ids, vectors_of(dtype), NULL};
    size_t n_found;
    assert_ok(dns_scan_search(hits, &n_found, &rows, queries_of(dtype), QUERIES, K, NULL));
    assert_int_equal(n_found, K);
}

static double recall_of(const dns_ann *ann)
{
    dns_dtype dtype = dns_ann_get_info(ann).dtype;
    dns_hit found[QUERIES * K], exact[QUERIES * K];
    size_t n_found[QUERIES];
    double recall;
    scan(exact, dtype);
    assert_ok(dns_ann_search(found, n_found, ann, queries_of(dtype), QUERIES, K, NULL));
    assert_ok(dns_scan_recall(&recall, found, n_found, exact, K, QUERIES, K));
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 1; i < n_found[q]; i++) {
            const dns_hit *a = &found[q * K + i - 1], *b = a + 1;
            assert_true(a->score > b->score || (a->score == b->score && a->id < b->id));
            assert_int_equal(b->row, DNS_NO_ROW);
        }
    return recall;
}

static void exact_indexes_find_what_the_scan_finds(void **state)
{
    static const struct {
        const char *factory;
        dns_dtype dtype;
    } cases[] = {{"Flat", DNS_F32}, {"IVF8,Flat", DNS_F32}, {"BFlat", DNS_U8}, {"BIVF8", DNS_U8}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        dns_ann *ann = build(cases[c].factory, cases[c].dtype);
        if (dns_ann_get_info(ann).n_lists > 0)
            assert_ok(dns_ann_set_effort(ann, 8));
        dns_hit found[QUERIES * K], exact[QUERIES * K];
        size_t n_found[QUERIES];
        scan(exact, cases[c].dtype);
        assert_ok(
            dns_ann_search(found, n_found, ann, queries_of(cases[c].dtype), QUERIES, K, NULL));
        for (size_t q = 0; q < QUERIES; q++) {
            assert_int_equal(n_found[q], K);
            for (size_t i = 0; i < K; i++) {
                const dns_hit *a = &found[q * K + i], *b = &exact[q * K + i];
                assert_true(fabsf(a->score - b->score) < 1e-6f);
                if (b->score >
                    exact[q * K + K - 1].score) /* the last places may be shared with others */
                    assert_true(a->id == b->id);
            }
        }
        dns_ann_free(ann);
    }
}

static void approximate_indexes_find_most(void **state)
{
    static const struct {
        const char *factory;
        dns_dtype dtype;
        size_t effort;
        double recall;
        bool can_remove;
        size_t n_lists;
    } cases[] = {{"IVF16,SQ8", DNS_F32, 6, 0.9, true, 16},
                 {"IVF16_HNSW8,Flat", DNS_F32, 6, 0.95, true, 16},
                 {"IVF16,PQ16", DNS_F32, 16, 0.6, true, 16},
                 {"IVF16,PQ32x4fs", DNS_F32, 16, 0.6, false, 16},
                 {"IVF16,PQ16,RFlat", DNS_F32, 16, 0.95, false, 16},
                 {"PQ16", DNS_F32, 0, 0.6, true, 0},
                 {"SQ8", DNS_F32, 0, 0.95, true, 0},
                 {"HNSW16", DNS_F32, 64, 0.95, false, 0},
                 {"HNSW16_SQ8", DNS_F32, 64, 0.95, false, 0},
                 {"SQfp16", DNS_F32, 0, 0.99, true, 0},
                 {"BIVF16", DNS_U8, 8, 0.6, true, 16},
                 {"BIVF16_HNSW8", DNS_U8, 8, 0.6, true, 16},
                 {"BHNSW16", DNS_U8, 200, 0.8, false, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        dns_ann *ann = build(cases[c].factory, cases[c].dtype);
        if (cases[c].effort > 0) {
            assert_ok(dns_ann_set_effort(ann, cases[c].effort));
            assert_int_equal(dns_ann_get_info(ann).effort, cases[c].effort);
        } else {
            assert_status(dns_ann_set_effort(ann, 5), DNS_ERR_UNSUPPORTED);
        }
        double recall = recall_of(ann);
        if (!(recall >= cases[c].recall))
            fail_msg("%s: recall %.3f, expected %.3f", cases[c].factory, recall, cases[c].recall);
        dns_ann_info info = dns_ann_get_info(ann);
        assert_string_equal(info.factory, cases[c].factory);
        assert_int_equal(info.can_remove, cases[c].can_remove);
        assert_int_equal(info.n_lists, cases[c].n_lists);
        assert_true(info.trained && !info.mapped);
        dns_ann_free(ann);
    }
}

static void more_effort_finds_more(void **state)
{
    dns_ann *ann = build("IVF32,Flat", DNS_F32);
    double before = -1.0;
    for (size_t effort = 1; effort <= 64; effort *= 8) {
        assert_ok(dns_ann_set_effort(ann, effort));
        double recall = recall_of(ann);
        assert_true(recall >= before);
        before = recall;
    }
    assert_true(before > 0.999);
    assert_int_equal(dns_ann_get_info(ann).effort, 32); /* not more than there are lists */
    assert_status(dns_ann_set_effort(ann, 0), DNS_ERR_ARG);
    dns_ann_free(ann);
}

static void any_number_of_threads_gives_the_same(void **state)
{
    static const char *const factories[] = {"Flat", "IVF16,SQ8", "HNSW16"};
    for (size_t c = 0; c < 3; c++) {
        dns_ann *ann = build(factories[c], DNS_F32);
        dns_hit alone[QUERIES * K], together[QUERIES * K];
        size_t n_alone[QUERIES], n_together[QUERIES];
        memset(alone, 0, sizeof alone);
        memset(together, 0, sizeof together);
        assert_ok(dns_ann_search(alone, n_alone, ann, fixture.queries, QUERIES, K, NULL));
        dns_pool *pool;
        assert_ok(dns_pool_create(&pool, 3));
        assert_ok(dns_ann_search(together, n_together, ann, fixture.queries, QUERIES, K, pool));
        dns_pool_free(pool);
        assert_memory_equal(alone, together, sizeof alone);
        assert_memory_equal(n_alone, n_together, sizeof n_alone);
        dns_ann_free(ann);
    }
}

static bool contains(const dns_ann *ann, size_t row, dns_dtype dtype)
{
    dns_hit hits[3];
    size_t n_found;
    const uint8_t *query =
        (const uint8_t *)vectors_of(dtype) + row * (dtype == DNS_U8 ? BYTES : DIM * sizeof(float));
    assert_ok(dns_ann_search(hits, &n_found, ann, query, 1, 3, NULL));
    for (size_t i = 0; i < n_found; i++)
        if (hits[i].id == fixture.ids[row])
            return true;
    return false;
}

static void what_is_removed_is_found_no_more(void **state)
{
    static const struct {
        const char *factory;
        dns_dtype dtype;
    } cases[] = {{"Flat", DNS_F32},
                 {"SQ8", DNS_F32},
                 {"IVF8,SQ8", DNS_F32},
                 {"BFlat", DNS_U8},
                 {"BIVF8", DNS_U8}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        dns_ann *ann = build(cases[c].factory, cases[c].dtype);
        uint64_t ids[] = {fixture.ids[0], 12345, fixture.ids[17], fixture.ids[ROWS - 1]};
        size_t n_removed = 99;
        assert_true(contains(ann, 0, cases[c].dtype) && contains(ann, ROWS - 1, cases[c].dtype));
        assert_ok(dns_ann_remove(ann, &n_removed, ids, 4));
        assert_int_equal(n_removed, 3);
        assert_int_equal(dns_ann_get_info(ann).n_vectors, ROWS - 3);
        assert_false(contains(ann, 0, cases[c].dtype));
        assert_false(contains(ann, 17, cases[c].dtype));
        assert_false(contains(ann, ROWS - 1, cases[c].dtype));
        assert_true(contains(ann, 1, cases[c].dtype) && contains(ann, 18, cases[c].dtype));
        assert_ok(dns_ann_add(ann, ids + 2,
                              (const uint8_t *)vectors_of(cases[c].dtype) +
                                  17 * (cases[c].dtype == DNS_U8 ? BYTES : DIM * sizeof(float)),
                              1, NULL));
        assert_true(contains(ann, 17, cases[c].dtype));
        assert_ok(dns_ann_remove(ann, NULL, ids, 0));
        dns_ann_free(ann);
    }
    dns_ann *graph = build("HNSW8", DNS_F32);
    size_t n_removed = 99;
    assert_status(dns_ann_remove(graph, &n_removed, fixture.ids, 1), DNS_ERR_UNSUPPORTED);
    assert_int_equal(n_removed, 0);
    assert_true(contains(graph, 0, DNS_F32));
    dns_ann_free(graph);
}

/* What was visited. */
struct visited {
    size_t n, n_most;
    bool exact;
};

static dns_status visit(void *payload, uint64_t id, const float *vector)
{
    struct visited *v = payload;
    size_t row = 0;
    if (v->n == v->n_most)
        return dns_status_set(DNS_ERR_CANCELLED, "enough");
    v->n++;
    while (row < ROWS && fixture.ids[row] != id)
        row++;
    assert_true(row < ROWS);
    assert_non_null(vector);
    test_assert_close("vector", vector, fixture.vectors + row * DIM, DIM, v->exact ? 0 : 0.05, 0);
    return DNS_OK;
}

static void every_vector_is_given_back(void **state)
{
    (void)state;
    static const char *const factories[] = {"Flat", "IVF16,Flat", "HNSW8", "SQ8", "IVF16,SQ8"};
    for (size_t f = 0; f < sizeof factories / sizeof factories[0]; f++) {
        dns_ann *ann = build(factories[f], DNS_F32);
        struct visited v = {.n_most = ROWS, .exact = f < 3};
        assert_ok(dns_ann_visit(ann, visit, &v));
        assert_int_equal(v.n, ROWS);
        v = (struct visited){.n_most = 7, .exact = f < 3};
        assert_status(dns_ann_visit(ann, visit, &v), DNS_ERR_CANCELLED);
        assert_int_equal(v.n, 7);
        dns_ann_free(ann);
    }
    dns_ann *codes = build("BFlat", DNS_U8);
    assert_status(dns_ann_visit(codes, visit, NULL), DNS_ERR_UNSUPPORTED);
    dns_ann_free(codes);
    assert_ok(dns_ann_check_factory("IVF16,SQ8", DNS_F32));
    assert_ok(dns_ann_check_factory("BFlat", DNS_U8));
    assert_status(dns_ann_check_factory("BFlat", DNS_F32), DNS_ERR_ARG);
}

static void few_or_no_vectors_are_no_error(void **state)
{
    static const char *const factories[] = {"Flat", "HNSW8", "BFlat", "BHNSW8"};
    for (size_t c = 0; c < 4; c++) {
        dns_dtype dtype = c < 2 ? DNS_F32 : DNS_U8;
        dns_ann *ann;
        dns_hit hits[2 * K];
        size_t n_found[2] = {9, 9};
        assert_ok(dns_ann_create(&ann, factories[c], dtype, dtype == DNS_U8 ? BYTES : DIM));
        assert_ok(dns_ann_search(hits, n_found, ann, queries_of(dtype), 2, K, NULL));
        assert_true(n_found[0] == 0 && n_found[1] == 0);
        assert_ok(dns_ann_add(ann, fixture.ids, vectors_of(dtype), 0, NULL));
        assert_ok(dns_ann_add(ann, fixture.ids, vectors_of(dtype), 3, NULL));
        assert_ok(dns_ann_search(hits, n_found, ann, queries_of(dtype), 2, K, NULL));
        assert_true(n_found[0] == 3 && n_found[1] == 3);
        assert_ok(dns_ann_search(hits, n_found, ann, queries_of(dtype), 0, K, NULL));
        dns_ann_free(ann);
    }
    /* Lists that a query does not look at hold vectors that it does not find. */
    dns_ann *ann = build("IVF64,Flat", DNS_F32);
    dns_hit *hits;
    size_t n_found[QUERIES];
    assert_ok(dns_alloc(&hits, QUERIES * ROWS, sizeof *hits));
    assert_ok(dns_ann_set_effort(ann, 1));
    assert_ok(dns_ann_search(hits, n_found, ann, fixture.queries, QUERIES, ROWS, NULL));
    for (size_t q = 0; q < QUERIES; q++)
        assert_true(n_found[q] > 0 && n_found[q] < ROWS);
    dns_free(hits);
    dns_ann_free(ann);
}

static void unknown_factories_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "Flat,",
        ",Flat",
        "flat",
        "IVF0,Flat",
        "IVF,Flat",
        "IVF99999999999,Flat",
        "IVF16,Flatter",
        "HNSW1",
        "HNSW",
        "PQ",
        "PQ16x8",
        "PQ3",
        "SQ9",
        "SQ",
        "SQfp8",
        "OPQ8,PQ8",
        "PCA8,Flat",
        "IVF16",
        "Flat,IVF16",
        "BFlat",
        "BIVF16",
        "LSH",
        "IVF16,,Flat",
        "IVF16,Flat,IVF16,Flat,IVF16,Flat,IVF16,Flat,IVF16,Flat,IVF16,Flat,Flat"};
    static const char *const binary[] = {"Flat",         "BIVF0",  "BIVF",   "BHNSW1", "BHash4",
                                         "BHNSW16,Flat", "HNSW16", "BIVF-4", ""};
    dns_ann *ann;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (dns_ann_create(&ann, texts[i], DNS_F32, DIM) != DNS_ERR_ARG)
            fail_msg("'%s' was taken", texts[i]);
        assert_null(ann);
    }
    for (size_t i = 0; i < sizeof binary / sizeof *binary; i++) {
        if (dns_ann_create(&ann, binary[i], DNS_U8, BYTES) != DNS_ERR_ARG)
            fail_msg("'%s' was taken for codes", binary[i]);
        assert_null(ann);
    }
    assert_status(dns_ann_create(&ann, "Flat", DNS_I8, DIM), DNS_ERR_ARG);
    assert_status(dns_ann_create(&ann, "Flat", DNS_F32, 0), DNS_ERR_SHAPE);
    assert_status(dns_ann_create(&ann, "Flat", DNS_F32, 65537), DNS_ERR_SHAPE);
}

static void bad_vectors_and_orders_are_refused(void **state)
{
    dns_ann *ann;
    dns_hit hits[K];
    size_t n_found;
    float vector[DIM] = {1.0f};
    uint64_t id = 1, none = UINT64_MAX;
    assert_ok(dns_ann_create(&ann, "IVF16,Flat", DNS_F32, DIM));
    assert_status(dns_ann_add(ann, &id, vector, 1, NULL), DNS_ERR_ARG);
    assert_status(dns_ann_search(hits, &n_found, ann, vector, 1, K, NULL), DNS_ERR_ARG);
    assert_status(dns_ann_train(ann, fixture.vectors, 15, NULL), DNS_ERR_ARG);
    assert_status(dns_ann_train(ann, NULL, 0, NULL), DNS_ERR_ARG);
    assert_false(dns_ann_get_info(ann).trained);
    vector[3] = NAN;
    assert_status(dns_ann_train(ann, vector, 1, NULL), DNS_ERR_ARG);
    assert_ok(dns_ann_train(ann, fixture.vectors, 16, NULL));
    assert_ok(dns_ann_train(ann, NULL, 0, NULL)); /* trained already */
    assert_status(dns_ann_add(ann, &id, vector, 1, NULL), DNS_ERR_RANGE);
    assert_string_equal(dns_status_message(), "vector 0: element 3 is not finite");
    assert_status(dns_ann_search(hits, &n_found, ann, vector, 1, K, NULL), DNS_ERR_RANGE);
    vector[3] = INFINITY;
    assert_status(dns_ann_search(hits, &n_found, ann, vector, 1, K, NULL), DNS_ERR_RANGE);
    vector[3] = 0.0f;
    assert_status(dns_ann_add(ann, &none, vector, 1, NULL), DNS_ERR_RANGE);
    assert_status(dns_ann_search(hits, &n_found, ann, vector, 1, 0, NULL), DNS_ERR_ARG);
    assert_ok(dns_ann_add(ann, &id, vector, 1, NULL));
    dns_ann_free(ann);

    assert_ok(dns_ann_create(&ann, "PQ16", DNS_F32,
                             DIM)); /* 256 centroids cannot be learned from 100 vectors */
    assert_status(dns_ann_train(ann, fixture.vectors, 100, NULL), DNS_ERR_BACKEND);
    assert_non_null(strstr(dns_status_message(), "FAISS: "));
    assert_non_null(strstr(dns_status_message(), "training points"));
    dns_ann_free(ann);
}

/* ---- files ---- */

static char path[256];

static const dns_ann_origin origin = {{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
                                      77};

static void saved_indexes_answer_as_before(void **state)
{
    static const struct {
        const char *factory;
        dns_dtype dtype;
        bool maps;
    } cases[] = {{"Flat", DNS_F32, false},
                 {"IVF16,SQ8", DNS_F32, true},
                 {"IVF16,PQ16,RFlat", DNS_F32, true},
                 {"HNSW8", DNS_F32, false},
                 {"BFlat", DNS_U8, false},
                 {"BIVF16", DNS_U8, true},
                 {"BHNSW8", DNS_U8, false},
                 {"IVF16,PQ32x4fs", DNS_F32, false}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int map = 0; map < 2; map++) {
            dns_dtype dtype = cases[c].dtype;
            dns_ann *ann = build(cases[c].factory, dtype), *loaded;
            if (dns_ann_get_info(ann).effort > 0)
                assert_ok(dns_ann_set_effort(ann, 7));
            snprintf(path, sizeof path, "%s/%zu.faiss", test_folder(), c);
            assert_ok(dns_ann_save(ann, path, &origin));
            dns_ann_origin read_origin = {0};
            dns_ann_load_options options = DNS_ANN_LOAD_OPTIONS_INIT;
            options.map = map;
            assert_ok(dns_ann_load(&loaded, &read_origin, path, &options));
            assert_memory_equal(&read_origin, &origin, sizeof origin);
            dns_ann_info before = dns_ann_get_info(ann), after = dns_ann_get_info(loaded);
            assert_int_equal(after.mapped, map && cases[c].maps);
            assert_string_equal(after.factory, before.factory);
            assert_true(after.n_vectors == before.n_vectors && after.effort == before.effort &&
                        after.n_lists == before.n_lists && after.dim == before.dim &&
                        after.dtype == before.dtype);
            dns_hit a[QUERIES * K], b[QUERIES * K];
            size_t n_a[QUERIES], n_b[QUERIES];
            memset(a, 0, sizeof a);
            memset(b, 0, sizeof b);
            assert_ok(dns_ann_search(a, n_a, ann, queries_of(dtype), QUERIES, K, NULL));
            assert_ok(dns_ann_search(b, n_b, loaded, queries_of(dtype), QUERIES, K, NULL));
            assert_memory_equal(a, b, sizeof a);
            if (after.mapped) {
                assert_status(dns_ann_add(loaded, fixture.ids, vectors_of(dtype), 1, NULL),
                              DNS_ERR_UNSUPPORTED);
                assert_status(dns_ann_remove(loaded, NULL, fixture.ids, 1), DNS_ERR_UNSUPPORTED);
            } else {
                assert_ok(dns_ann_add(loaded, fixture.ids, vectors_of(dtype), 1, NULL));
            }
            dns_ann_free(loaded);
            dns_ann_free(ann);
        }
}

static void files_are_replaced_whole(void **state)
{
    snprintf(path, sizeof path, "%s/replaced.faiss", test_folder());
    dns_ann *ann = build("IVF16,Flat", DNS_F32), *mapped, *again;
    dns_ann_load_options options = {.map = true, .trusted = true};
    assert_ok(dns_ann_save(ann, path, NULL));
    assert_ok(dns_ann_load(&mapped, NULL, path, &options));
    double recall = recall_of(mapped);
    size_t n_removed;
    assert_ok(dns_ann_remove(ann, &n_removed, fixture.ids, 1000));
    assert_ok(dns_ann_save(ann, path, NULL)); /* while the old file is mapped */
    assert_true(recall_of(mapped) == recall);
    assert_ok(dns_ann_load(&again, NULL, path, NULL));
    assert_int_equal(dns_ann_get_info(again).n_vectors, ROWS - 1000);
    assert_true(recall_of(again) < recall);
    dns_ann_free(again);
    dns_ann_free(mapped);
    snprintf(path, sizeof path, "%s/no/such/folder.faiss", test_folder());
    assert_status(dns_ann_save(ann, path, NULL), DNS_ERR_NOTFOUND);
    assert_status(dns_ann_save(ann, "/dev/full/x.faiss", NULL), DNS_ERR_IO);

    /* A write that goes wrong midway leaves what was there. */
    snprintf(path, sizeof path, "%s/replaced.faiss", test_folder());
    struct rlimit limit, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    tight = (struct rlimit){100000, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    dns_status status = dns_ann_save(ann, path, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(status, DNS_ERR_FULL);
    assert_ok(dns_ann_load(&again, NULL, path, NULL));
    assert_int_equal(dns_ann_get_info(again).n_vectors, ROWS - 1000);
    dns_ann_free(again);
    dns_ann_free(ann);
}

static void write_file(const uint8_t *bytes, size_t size)
{
    snprintf(path, sizeof path, "%s/damaged.faiss", test_folder());
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static const uint8_t *whole;
static size_t whole_size;

/* Either the file is refused for one of these reasons, or it is the one that was written. */
static void load_damaged(const uint8_t *bytes, size_t size)
{
    dns_ann *ann;
    write_file(bytes, size);
    dns_status status = dns_ann_load(&ann, NULL, path, NULL);
    bool refused =
        status == DNS_ERR_CORRUPT || status == DNS_ERR_FORMAT || status == DNS_ERR_VERSION;
    bool intact = status == DNS_OK && size == whole_size && memcmp(bytes, whole, size) == 0;
    if (!refused && !intact)
        fail_msg("a damaged file of %zu bytes: %s", size, dns_status_name(status));
    dns_ann_free(ann);
}

static void damaged_files_are_refused(void **state)
{
    dns_ann *ann;
    assert_ok(dns_ann_create(&ann, "IVF4,Flat", DNS_F32, DIM));
    assert_ok(dns_ann_train(ann, fixture.vectors, 40, NULL));
    assert_ok(dns_ann_add(ann, fixture.ids, fixture.vectors, 40, NULL));
    snprintf(path, sizeof path, "%s/whole.faiss", test_folder());
    assert_ok(dns_ann_save(ann, path, &origin));
    dns_ann_free(ann);
    char *bytes;
    assert_ok(dns_file_read(&bytes, &whole_size, path, 1 << 20));
    whole = (const uint8_t *)bytes;
    test_fuzz(whole, whole_size, 300, load_damaged);

    uint8_t *copy;
    assert_ok(dns_alloc(&copy, whole_size, 1));
    for (size_t at = 0; at < whole_size; at += at < 200 ? 1 : 97) { /* any one byte */
        memcpy(copy, whole, whole_size);
        copy[at] ^= 0x40;
        load_damaged(copy, whole_size);
    }
    memcpy(copy, whole, whole_size);
    copy[8] = 2;
    write_file(copy, whole_size);
    assert_status(dns_ann_load(&ann, NULL, path, NULL), DNS_ERR_VERSION);
    write_file(whole, whole_size - 1);
    assert_status(dns_ann_load(&ann, NULL, path, NULL), DNS_ERR_CORRUPT);
    write_file((const uint8_t *)"not an index, but long enough to be one", 39);
    assert_status(dns_ann_load(&ann, NULL, path, NULL), DNS_ERR_FORMAT);
    write_file(whole, 0);
    assert_status(dns_ann_load(&ann, NULL, path, NULL), DNS_ERR_FORMAT);
    snprintf(path, sizeof path, "%s/none.faiss", test_folder());
    assert_status(dns_ann_load(&ann, NULL, path, NULL), DNS_ERR_NOTFOUND);
    assert_null(ann);
    dns_free(copy);
    dns_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_indexes_find_what_the_scan_finds),
        cmocka_unit_test(approximate_indexes_find_most),
        cmocka_unit_test(more_effort_finds_more),
        cmocka_unit_test(any_number_of_threads_gives_the_same),
        cmocka_unit_test(what_is_removed_is_found_no_more),
        cmocka_unit_test(every_vector_is_given_back),
        cmocka_unit_test(few_or_no_vectors_are_no_error),
        cmocka_unit_test(unknown_factories_are_refused),
        cmocka_unit_test(bad_vectors_and_orders_are_refused),
        cmocka_unit_test(saved_indexes_answer_as_before),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
