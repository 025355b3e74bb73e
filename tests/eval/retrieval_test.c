#include "support.h"

#include <math.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/retrieval.h"

enum { N = 40, QUERIES = 12 };
static float coarse[QUERIES][N], expected[QUERIES][N], fine[QUERIES][N], confidence[QUERIES][N];
static bool relevant[QUERIES][N];
static dns_retrieval_query queries[QUERIES];

/* Fine scores tell relevant videos apart; coarse ones do so badly. */
static void draw(bool with_confidence)
{
    dns_random random = dns_random_seed(6);
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t i = 0; i < N; i++) {
            relevant[q][i] = i < 3;
            fine[q][i] = (relevant[q][i] ? 0.8f : 0.0f) + 0.1f * (float)dns_random_normal(&random);
            coarse[q][i] = 0.3f * fine[q][i] + 0.2f * (float)dns_random_normal(&random);
            expected[q][i] = coarse[q][i] / 2 + 0.5f;
            confidence[q][i] = (float)dns_random_uniform(&random);
        }
        queries[q] = (dns_retrieval_query){.n = N,
                                           .coarse = coarse[q],
                                           .expected = expected[q],
                                           .fine = fine[q],
                                           .confidence = with_confidence ? confidence[q] : NULL,
                                           .relevant = relevant[q],
                                           .n_relevant = 3,
                                           .edit = q % 2 == 0 ? "crop" : "blur"};
    }
}

static double map_of(const dns_retrieval *r, dns_ranker ranker, size_t budget)
{
    return dns_retrieval_get(r, ranker, budget, 0)->map.mean;
}

static void budgets_lead_from_coarse_to_fine(void **state)
{
    (void)state;
    dns_retrieval *r;
    dns_retrieval_options options = DNS_RETRIEVAL_OPTIONS_INIT;
    draw(true);
    for (size_t q = 0; q < QUERIES; q++)
        queries[q].probability = fine[q]; /* knows it all */
    assert_ok(dns_retrieval_run(&r, queries, QUERIES, &options));
    assert_true(map_of(r, DNS_RANKER_PAIR, 4) == 1.0);
    assert_string_equal(dns_ranker_name(DNS_RANKER_PAIR), "pair");
    assert_int_equal(dns_retrieval_n_edits(r), 3);
    assert_string_equal(dns_retrieval_edit(r, 1), "blur");
    assert_null(dns_retrieval_get(r, DNS_RANKER_ORACLE_DIFFERENCE, 0, 0)); /* not calibrated */
    for (size_t b = 0; b < DNS_BUDGETS; b++) /* nobody beats one who knows the answer */
        for (int ranker = 0; ranker < DNS_RANKER_COUNT; ranker++)
            assert_true(dns_retrieval_get(r, (dns_ranker)ranker, b, 0) == NULL ||
                        map_of(r, (dns_ranker)ranker, b) <= map_of(r, DNS_RANKER_ORACLE_GAIN, b));
    for (int ranker = 0; ranker < DNS_RANKER_COUNT; ranker++) {
        if (ranker == DNS_RANKER_ORACLE_DIFFERENCE)
            continue;
        assert_true(map_of(r, (dns_ranker)ranker, 0) == map_of(r, DNS_RANKER_COARSE, 0));
        assert_true(map_of(r, (dns_ranker)ranker, DNS_BUDGETS - 1) ==
                    map_of(r, DNS_RANKER_COARSE, DNS_BUDGETS - 1));
    }
    assert_true(map_of(r, DNS_RANKER_COARSE, DNS_BUDGETS - 1) == 1.0);
    assert_true(map_of(r, DNS_RANKER_COARSE, 0) < 0.9);
    /* 10 % are four videos: the oracle takes the three relevant ones first */
    assert_true(map_of(r, DNS_RANKER_ORACLE_FINE, 4) == 1.0);
    assert_true(dns_retrieval_area(r, DNS_RANKER_ORACLE_FINE) >
                dns_retrieval_area(r, DNS_RANKER_RANDOM));
    const dns_retrieval_figures *all = dns_retrieval_get(r, DNS_RANKER_COARSE, 0, 0);
    const dns_retrieval_figures *crop = dns_retrieval_get(r, DNS_RANKER_COARSE, 0, 2);
    const dns_retrieval_figures *blur = dns_retrieval_get(r, DNS_RANKER_COARSE, 0, 1);
    assert_int_equal(crop->n_queries + blur->n_queries, all->n_queries);
    assert_true(fabs((crop->map.mean + blur->map.mean) / 2 - all->map.mean) < 1e-12);
    assert_true(all->map.low <= all->map.mean && all->map.mean <= all->map.high);
    assert_true(fabs(all->loss.mean - (1 - all->map.mean)) < 1e-12);
    double sum = 0;
    for (size_t q = 0; q < QUERIES; q++)
        sum += dns_retrieval_precisions(r, DNS_RANKER_COARSE, 0)[q];
    assert_true(fabs(sum / QUERIES - all->map.mean) < 1e-12);
    dns_retrieval_free(r);
}

static void excluded_videos_take_no_rank(void **state)
{
    (void)state;
    static bool excluded[N];
    dns_retrieval *r;
    dns_retrieval_options options = DNS_RETRIEVAL_OPTIONS_INIT;
    draw(false);
    for (size_t i = 3; i < N; i++)
        excluded[i] = true;
    for (size_t q = 0; q < QUERIES; q++)
        queries[q].excluded = excluded;
    assert_ok(dns_retrieval_run(&r, queries, QUERIES, &options));
    assert_true(map_of(r, DNS_RANKER_COARSE, 0) == 1.0);
    assert_null(dns_retrieval_get(r, DNS_RANKER_SELECTOR, 0, 0));
    dns_retrieval_free(r);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    dns_retrieval *r;
    dns_retrieval_options options = DNS_RETRIEVAL_OPTIONS_INIT;
    draw(false);
    assert_status(dns_retrieval_run(&r, queries, 0, &options), DNS_ERR_ARG);
    queries[3].n_relevant = 0;
    assert_status(dns_retrieval_run(&r, queries, QUERIES, &options), DNS_ERR_ARG);
    queries[3].n_relevant = 3;
    fine[5][7] = NAN;
    assert_status(dns_retrieval_run(&r, queries, QUERIES, &options), DNS_ERR_RANGE);
}

static void tables_are_read(void **state)
{
    (void)state;
    const char *text =
        "\xef\xbb\xbfquery,original,edit\r\na.mp4,\"x, \"\"y\"\"\nz\",crop\n\nb.mp4,c\n";
    dns_csv *csv;
    assert_ok(dns_csv_parse(&csv, text, strlen(text), "t.csv"));
    assert_int_equal(dns_csv_rows(csv), 2);
    assert_int_equal(dns_csv_column(csv, "original"), 1);
    assert_true(dns_csv_column(csv, "absent") == SIZE_MAX);
    assert_string_equal(dns_csv_field(csv, 0, 0), "a.mp4");
    assert_string_equal(dns_csv_field(csv, 0, 1), "x, \"y\"\nz");
    assert_string_equal(dns_csv_field(csv, 1, 1), "c");
    assert_string_equal(dns_csv_field(csv, 1, 2), "");
    assert_string_equal(dns_csv_field(csv, 9, 0), "");
    dns_csv_free(csv);
    text = "id\tlabel\nv,1\tdog\n";
    assert_ok(dns_csv_parse(&csv, text, strlen(text), "t.tsv"));
    assert_string_equal(dns_csv_field(csv, 0, 0), "v,1");
    dns_csv_free(csv);
    assert_status(dns_csv_parse(&csv, "", 0, "t.csv"), DNS_ERR_FORMAT);
    assert_status(dns_csv_parse(&csv, "a,b\n1,2,3\n", 10, "t.csv"), DNS_ERR_FORMAT);
    assert_status(dns_csv_parse(&csv, "a,b\n\"1,2\n", 9, "t.csv"), DNS_ERR_FORMAT);
    assert_status(dns_csv_parse(&csv, "a\0b", 3, "t.csv"), DNS_ERR_FORMAT);
}

static void parse_table(const uint8_t *bytes, size_t size)
{
    dns_csv *csv;
    if (dns_csv_parse(&csv, (const char *)bytes, size, "fuzz") != DNS_OK)
        return;
    for (size_t row = 0; row < dns_csv_rows(csv); row++)
        assert_true(strlen(dns_csv_field(csv, row, 1)) <= size);
    dns_csv_free(csv);
}

static void tables_survive_damage(void **state)
{
    (void)state;
    const char *text = "query,original\n\"a\"\"b\",c\n\"d\ne\",f\r\n,\n";
    test_fuzz(text, strlen(text), 5000, parse_table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_lead_from_coarse_to_fine),
        cmocka_unit_test(excluded_videos_take_no_rank), cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(tables_are_read), cmocka_unit_test(tables_survive_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
