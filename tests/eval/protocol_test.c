#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/protocol.h"
#include "dnsel/safetensors.h"

static dns_json *json(const char *text)
{
    dns_json *root;
    assert_ok(dns_json_parse(&root, text, strlen(text), "test"));
    return root;
}

static double figure(const dns_protocol_report *report, const char *name)
{
    for (size_t i = 0; i < report->n_figures; i++)
        if (strcmp(report->figures[i].name, name) == 0)
            return report->figures[i].value;
    fail_msg("no figure %s", name);
    return 0;
}

static dns_protocol_report *run(const char *protocol, const char *annotations, const char *scores,
                                const dns_protocol_options *options)
{
    dns_json *a = json(annotations), *s = json(scores);
    dns_scores *matrix;
    dns_protocol_report *report;
    assert_ok(dns_scores_from_json(&matrix, s));
    assert_ok(dns_protocol_run(&report, protocol, a, matrix, options));
    dns_scores_free(matrix);
    dns_json_free(a);
    dns_json_free(s);
    return report;
}

static void assert_figure(const dns_protocol_report *report, const char *name, double expected)
{
    double value = figure(report, name);
    if (fabs(value - expected) > 1e-12)
        fail_msg("%s: %.17g, expected %.17g", name, value, expected);
}

/* c has no score and takes no rank; q itself takes none, but its own label counts. */
static void fivr_by_hand(void **state)
{
    (void)state;
    const char *annotations =
        "{\"5k\":{\"queries\":[\"q\",\"absent\"],\"database\":[\"a\",\"b\",\"c\",\"d\",\"q\"]},"
        "\"annotation\":{\"q\":{\"ND\":[\"b\",\"c\"],\"DS\":[\"b\"],\"IS\":[\"q\",\"d\","
        "\"elsewhere\"]}}}";
    const char *scores = "{\"q\":{\"a\":0.9,\"b\":0.8,\"d\":0.8,\"q\":1,\"x\":5}}";
    dns_protocol_report *report = run("FIVR-5K", annotations, scores, NULL);
    assert_figure(report, "DSVR", 1.0 / 2);
    assert_figure(report, "ISVR", (1.0 / 2 + 2.0 / 3) / 3);
    assert_figure(report, "DSVD", 1.0 / 3); /* b and d tie: one step of the threshold */
    assert_int_equal(report->n_queries, 2);
    assert_int_equal(report->n_queries_found, 1);
    assert_int_equal(report->n_database_found, 4);
    dns_protocol_report_free(report);
    report = run("FIVR-5K", annotations, scores, &(dns_protocol_options){.drop_self_labels = true});
    assert_figure(report, "ISVR", (1.0 / 2 + 2.0 / 3) / 2);
    dns_protocol_report_free(report);
}

/* Video 3 is positive and absent: it stays in the denominator. 5 is excluded in the clean variants,
 * 9 has no label. */
static void cc_web_by_hand(void **state)
{
    (void)state;
    const char *annotations = "{\"index\":{\"1/q\":1,\"1/b\":2,\"1/c\":3,\"1/x\":4,\"1/e\":5,\"2/"
                              "z\":9},\"queries\":[\"1/q\"],"
                              "\"ground_truth\":[{\"1\":\"E\",\"2\":\"S\",\"3\":\"L\",\"4\":\"X\","
                              "\"5\":\"V\"}],\"excluded\":[[5]]}";
    const char *scores = "{\"1/q\":{\"1/q\":1,\"2/z\":0.9,\"1/x\":0.8,\"1/b\":0.7,\"1/e\":0.6}}";
    dns_protocol_report *report = run("CC_WEB_VIDEO", annotations, scores, NULL);
    assert_figure(report, "mAP", (1 + 2.0 / 3 + 3.0 / 4) / 4);
    assert_figure(report, "mAP_star", (1 + 2.0 / 4 + 3.0 / 5) / 4);
    assert_figure(report, "mAP_c", (1 + 2.0 / 3) / 3);
    assert_figure(report, "mAP_c_star", (1 + 2.0 / 4) / 3);
    dns_protocol_report_free(report);
}

static void evve_by_hand(void **state)
{
    (void)state;
    const char *annotations =
        "{\"annotation\":{\"e1\":{\"queries\":[\"p\",\"q\"],\"positives\":[\"a\",\"c\"]}},"
        "\"queries\":[\"p\",\"q\"],\"database\":[\"a\",\"b\",\"c\"]}";
    const char *scores = "{\"p\":{\"a\":3,\"b\":2,\"c\":1},\"q\":{\"b\":1,\"a\":0}}";
    dns_protocol_report *report = run("EVVE", annotations, scores, NULL);
    double p = ((1 + 1.0) / 2 + (1.0 / 2 + 2.0 / 3) / 2) / 2, q = (0.0 + 1.0 / 2) / 2;
    assert_figure(report, "mAP", (p + q) / 2);
    assert_figure(report, "event e1", (p + q) / 2);
    dns_protocol_report_free(report);
}

static void svd_and_vcdb_by_hand(void **state)
{
    (void)state;
    dns_json *pairs;
    assert_ok(dns_protocol_pairs(&pairs, "q a 1\nq b 0\nr c 1\n", "svd.txt"));
    assert_int_equal(dns_json_size(dns_json_get(pairs, "pairs")), 3);
    dns_json_free(pairs);
    assert_status(dns_protocol_pairs(&pairs, "q a 1\nlonely\n", "svd.txt"), DNS_ERR_FORMAT);
    assert_non_null(strstr(dns_status_message(), "line 2"));
    /* u is unlabelled and above a; c belongs to another query and is no candidate */
    dns_protocol_report *report =
        run("SVD", "{\"pairs\":[[\"q\",\"a\",1],[\"q\",\"b\",0],[\"r\",\"c\",1]]}",
            "{\"q\":{\"a\":0.5,\"b\":0.4,\"c\":0.9,\"u\":0.7}}", NULL);
    assert_figure(report, "mAP", 1.0 / 2);
    dns_protocol_report_free(report);
    report = run("VCDB", "{\"pairs\":[[\"q\",\"a\",1],[\"q\",\"a\",1]]}",
                 "{\"q\":{\"q\":1,\"a\":0.5,\"b\":0.4},\"a\":{\"b\":0.9,\"q\":0.3}}", NULL);
    assert_figure(report, "mAP", (1 + 1.0 / 2) / 2);
    assert_figure(report, "uAP", (1.0 / 2 + 2.0 / 4) / 2);
    dns_protocol_report_free(report);
}

static void wrong_annotations_are_refused(void **state)
{
    (void)state;
    dns_json *scores_json = json("{\"q\":{\"a\":1}}"), *empty = json("{}");
    dns_scores *scores;
    dns_protocol_report *report;
    assert_ok(dns_scores_from_json(&scores, scores_json));
    static const char *const names[] = {"FIVR-5K", "FIVR-200K", "CC_WEB_VIDEO",
                                        "EVVE",    "SVD",       "VCDB"};
    for (size_t i = 0; i < 6; i++)
        assert_status(dns_protocol_run(&report, names[i], empty, scores, NULL), DNS_ERR_FORMAT);
    assert_status(dns_protocol_run(&report, "other", empty, scores, NULL), DNS_ERR_ARG);
    assert_status(dns_protocol_check("FIVR"), DNS_ERR_ARG);
    for (size_t i = 0; i < 6; i++)
        assert_ok(dns_protocol_check(names[i]));
    dns_json *foreign = json("{\"pairs\":[[\"z\",\"a\",1]]}");
    assert_status(dns_protocol_run(&report, "SVD", foreign, scores, NULL), DNS_ERR_NOTFOUND);
    dns_scores_free(scores);
    dns_json_free(scores_json);
    dns_json_free(empty);
    dns_json_free(foreign);
    dns_json *bad = json("{\"q\":{\"a\":\"high\"}}");
    assert_status(dns_scores_from_json(&scores, bad), DNS_ERR_FORMAT);
    dns_json_free(bad);
    const char *twice[] = {"a", "a"}, *query[] = {"q"};
    assert_status(dns_scores_create(&scores, query, 1, twice, 2), DNS_ERR_FORMAT);
}

static size_t split_lines(char *text, const char **lines, size_t most)
{
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line != NULL && n < most; line = strtok(NULL, "\n"))
        lines[n++] = line;
    return n;
}

static void compare_published(const char *name, const char *annotations_file)
{
    const char *shared = test_shared();
    char path[4200], *queries_text, *database_text;
    static const char *queries[1000], *database[20000];
    size_t size, shape[2] = {0, 0};
    const float *values;
    dns_safetensors *file;
    dns_json *annotations, *expected;
    dns_scores *scores;
    dns_protocol_report *report;
    snprintf(path, sizeof path, "%s/golden/eval/%s.scores.safetensors", shared, name);
    assert_ok(dns_safetensors_open(&file, path));
    assert_ok(dns_safetensors_f32(&values, file, "scores", 2, shape));
    snprintf(path, sizeof path, "%s/golden/eval/%s.queries.txt", shared, name);
    assert_ok(dns_file_read(&queries_text, &size, path, 1 << 24));
    snprintf(path, sizeof path, "%s/golden/eval/%s.database.txt", shared, name);
    assert_ok(dns_file_read(&database_text, &size, path, 1 << 24));
    assert_int_equal(split_lines(queries_text, queries, 1000), shape[0]);
    assert_int_equal(split_lines(database_text, database, 20000), shape[1]);
    assert_ok(dns_scores_from_matrix(&scores, queries, shape[0], database, shape[1], values, NULL));
    snprintf(path, sizeof path, "%s/annotations/%s", shared, annotations_file);
    assert_ok(dns_json_read(&annotations, path));
    snprintf(path, sizeof path, "%s/golden/eval/expected.json", shared);
    assert_ok(dns_json_read(&expected, path));
    assert_ok(dns_protocol_run(&report, name, annotations, scores, NULL));
    static const char *const figures[] = {"DSVR",     "CSVR",  "ISVR",      "mAP",
                                          "mAP_star", "mAP_c", "mAP_c_star"};
    size_t n_compared = 0;
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        const dns_json *value = dns_json_get(dns_json_get(expected, name), figures[i]);
        if (value == NULL)
            continue;
        n_compared++;
        if (fabs(figure(report, figures[i]) - dns_json_number(value, NAN)) > 1e-9)
            fail_msg("%s %s: %.12f, expected %.12f", name, figures[i], figure(report, figures[i]),
                     dns_json_number(value, NAN));
    }
    assert_true(n_compared > 0);
    dns_protocol_report_free(report);
    dns_json_free(annotations);
    dns_json_free(expected);
    dns_scores_free(scores);
    dns_safetensors_close(file);
    dns_free(queries_text);
    dns_free(database_text);
}

static void published_evaluators_agree(void **state)
{
    (void)state;
    if (test_shared() == NULL)
        skip();
    compare_published("FIVR-5K", "fivr.json");
    compare_published("CC_WEB_VIDEO", "cc_web_video.json");
    compare_published("EVVE", "evve.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fivr_by_hand),
        cmocka_unit_test(cc_web_by_hand),
        cmocka_unit_test(evve_by_hand),
        cmocka_unit_test(svd_and_vcdb_by_hand),
        cmocka_unit_test(wrong_annotations_are_refused),
        cmocka_unit_test(published_evaluators_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
