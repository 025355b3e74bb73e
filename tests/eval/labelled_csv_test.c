#include "dnsel/labelled_csv.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/file.h"
#include "support.h"

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static const char *table(const char *text)
{
    const char *path = path_of("rows.csv");
    assert_ok(dns_file_write(path, text, strlen(text)));
    return path;
}

static dns_row_file *read(const char *text, dns_label_task task)
{
    dns_row_file *file = NULL;
    assert_ok(dns_labelled_csv_read(&file, table(text), task, NULL, 0));
    return file;
}

static void a_table_becomes_rows(void **state)
{
    (void)state;
    dns_row_file *file = read("id,x1,x0,p2_0,p2_1,p7_0,label\n"
                              "a,2,1,0.5,-1,,dog\n"
                              "b,4,3,,,9,\n"
                              "c,6,5e0,1,1,1,\"cat, old\"\n",
                              DNS_LABEL_CLASS);
    const dns_labelled_rows *r = dns_row_file_rows(file);
    assert_int_equal(r->n, 3);
    assert_int_equal(r->dim, 2);
    assert_int_equal(r->n_blocks, 2);
    assert_int_equal(r->block_sizes[0], 2);
    assert_int_equal(r->block_sizes[1], 1);
    assert_int_equal(r->n_labels, 2);
    assert_string_equal(r->labels[0], "cat, old");
    assert_string_equal(r->labels[1], "dog");
    assert_memory_equal(r->x, ((const float[]){1, 2, 3, 4, 5, 6}), 6 * sizeof(float));
    assert_memory_equal(r->labelled, ((const uint8_t[]){1, 0, 1}), 3);
    assert_memory_equal(r->present, ((const uint8_t[]){1, 0, 0, 1, 1, 1}), 6);
    assert_memory_equal(r->y, ((const float[]){0, 1, 0, 0, 1, 0}), 6 * sizeof(float));
    assert_true(r->privileged[0] == 0.5F && r->privileged[1] == -1 && r->privileged[5] == 9);
    dns_row_file_free(file);
}

static void tags_and_pairs_have_their_own_labels(void **state)
{
    (void)state;
    dns_row_file *file = read("x0,label\n1,b|a\n2,||c|\n3,\n", DNS_LABEL_TAGS);
    const dns_labelled_rows *r = dns_row_file_rows(file);
    assert_int_equal(r->n_labels, 3);
    assert_memory_equal(r->y, ((const float[]){1, 1, 0, 0, 0, 1, 0, 0, 0}), 9 * sizeof(float));
    assert_memory_equal(r->labelled, ((const uint8_t[]){1, 1, 0}), 3);
    dns_row_file_free(file);
    file = read("x0,label\n1,1\n2,0\n3,duplicate\n4,\n", DNS_LABEL_PAIR);
    r = dns_row_file_rows(file);
    assert_int_equal(r->n_labels, 2);
    assert_memory_equal(r->y, ((const float[]){0, 1, 1, 0, 0, 1, 0, 0}), 8 * sizeof(float));
    dns_row_file_free(file);
    dns_row_file *none = NULL;
    assert_status(dns_labelled_csv_read(&none, table("x0,label\n1,2\n"), DNS_LABEL_PAIR, NULL, 0),
                  DNS_ERR_FORMAT);
}

static void groups_are_equal_where_their_names_are(void **state)
{
    (void)state;
    dns_row_file *file = read("x0,label,scene_group\n1,a,s\n2,b,t\n3,a,\n4,b,s\n", DNS_LABEL_CLASS);
    const int64_t *groups = dns_row_file_rows(file)->groups;
    assert_true(groups[0] >= 0 && groups[0] == groups[3] && groups[1] != groups[0]);
    assert_true(groups[1] >= 0 && groups[2] < 0);
    assert_true(groups[0] == dns_group_of_name("s") && dns_group_of_name("") < 0);
    char path[512];
    snprintf(path, sizeof path, "%s", path_of("groups.cpf"));
    assert_ok(dns_row_file_write(dns_row_file_rows(file), path));
    dns_row_file *again = NULL;
    assert_ok(dns_row_file_read(&again, path));
    assert_memory_equal(dns_row_file_rows(again)->groups, groups, 4 * sizeof *groups);
    dns_row_file_free(again);
    dns_row_file_free(file);
}

static void known_labels_keep_their_order(void **state)
{
    (void)state;
    static const char *const known[] = {"z", "a"};
    dns_row_file *file = NULL;
    assert_ok(
        dns_labelled_csv_read(&file, table("x0,label\n1,a\n2,z\n"), DNS_LABEL_CLASS, known, 2));
    assert_memory_equal(dns_row_file_rows(file)->y, ((const float[]){0, 1, 1, 0}),
                        4 * sizeof(float));
    char rows[512];
    snprintf(rows, sizeof rows, "%s", path_of("rows.cpf"));
    assert_ok(dns_row_file_write(dns_row_file_rows(file), rows));
    dns_row_file_free(file);
    assert_ok(dns_labelled_file_read(&file, rows, DNS_LABEL_CLASS, known, 2));
    dns_row_file_free(file);
    assert_status(dns_labelled_file_read(&file, rows, DNS_LABEL_TAGS, known, 2), DNS_ERR_MODEL);
    assert_status(dns_labelled_file_read(&file, rows, DNS_LABEL_CLASS, known, 1), DNS_ERR_MODEL);
    assert_status(dns_labelled_csv_read(&file, table("x0,label\n1,b\n"), DNS_LABEL_CLASS, known, 2),
                  DNS_ERR_FORMAT);
    assert_null(file);
}

static void labels_alone_need_no_features(void **state)
{
    (void)state;
    dns_row_file *file = NULL;
    assert_ok(dns_label_table_read(&file, table("video,label\na,cat\nb,\n"), DNS_LABEL_CLASS));
    assert_int_equal(dns_row_file_rows(file)->dim, 0);
    assert_int_equal(dns_row_file_rows(file)->n, 2);
    dns_row_file_free(file);
    assert_status(dns_label_table_read(&file, table("video,label\na,\n"), DNS_LABEL_CLASS),
                  DNS_ERR_ARG);
    assert_null(file);
}

static void bad_tables_are_refused_by_row(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"label\ncat\n", "no column x0"},
        {"x0,label\n1,cat\nnan,dog\n", "row 2: x0 is 'nan', no finite number"},
        {"x0,label\n1,cat\n1e39,dog\n", "row 2: x0 is '1e39', no finite number"},
        {"x0,label\n,cat\n", "row 1: x0 is '', no finite number"},
        {"x0,label\n3kg,cat\n", "row 1: x0 is '3kg', no finite number"},
        {"x0,p1_0,p1_1,label\n1,2,,cat\n", "row 1: p1_1 is '', no finite number"},
        {"x0,p1_0,label\n1,inf,cat\n", "row 1: p1_0 is 'inf', no finite number"},
        {"x0,label\n1,cat,dog\n", "rows.csv"},
        {"x0,label\n1,\"cat\n", "rows.csv"},
        {"", "rows.csv"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dns_row_file *file = NULL;
        assert_status(dns_labelled_csv_read(&file, table(bad[i].text), DNS_LABEL_CLASS, NULL, 0),
                      DNS_ERR_FORMAT);
        assert_null(file);
        if (strstr(dns_status_message(), bad[i].says) == NULL)
            fail_msg("'%s' lacks '%s'", dns_status_message(), bad[i].says);
    }
    dns_row_file *file = NULL;
    assert_status(dns_labelled_csv_read(&file, "/nonexistent.csv", DNS_LABEL_CLASS, NULL, 0),
                  DNS_ERR_NOTFOUND);
    assert_status(dns_labelled_file_read(&file, "/nonexistent.cpf", DNS_LABEL_CLASS, NULL, 0),
                  DNS_ERR_NOTFOUND);
}

static void parse(const uint8_t *bytes, size_t size)
{
    const char *path = path_of("fuzz.csv");
    assert_ok(dns_file_write(path, bytes, size));
    for (int task = DNS_LABEL_CLASS; task <= DNS_LABEL_PAIR; task++) {
        dns_row_file *file = NULL;
        if (dns_labelled_csv_read(&file, path, (dns_label_task)task, NULL, 0) == DNS_OK)
            assert_ok(dns_labelled_rows_check_values(dns_row_file_rows(file)));
        dns_row_file_free(file);
        file = NULL;
        if (dns_label_table_read(&file, path, (dns_label_task)task) == DNS_OK)
            dns_row_file_free(file);
    }
}

static void damaged_tables_do_no_harm(void **state)
{
    (void)state;
    static const char text[] = "id,x0,x1,p1_0,p1_1,p64_0,label\na,1,2,3,4,5,cat|dog\n"
                               "b,1e-3,-2,,,\"5\",\nc,0,0,1,1,,\"a \"\"b\"\"|1\"\n";
    test_fuzz(text, sizeof text - 1, 300, parse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_becomes_rows),
        cmocka_unit_test(tags_and_pairs_have_their_own_labels),
        cmocka_unit_test(groups_are_equal_where_their_names_are),
        cmocka_unit_test(known_labels_keep_their_order),
        cmocka_unit_test(labels_alone_need_no_features),
        cmocka_unit_test(bad_tables_are_refused_by_row),
        cmocka_unit_test(damaged_tables_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
