#include "support.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/json.h"
#include "dnsel/pool.h"
#include "dnsel/progress.h"

static void status_keeps_one_line(void **state)
{
    (void)state;
    assert_int_equal(dns_status_set(DNS_ERR_FORMAT, "a\nb%s", "\x1b[0m\n"), DNS_ERR_FORMAT);
    assert_string_equal(dns_status_message(), "a?b?[0m");
    assert_int_equal(dns_status_context(DNS_ERR_FORMAT, "file %d", 7), DNS_ERR_FORMAT);
    assert_string_equal(dns_status_message(), "file 7: a?b?[0m");
    errno = ENOSPC;
    assert_int_equal(dns_status_set_errno("x"), DNS_ERR_FULL);
}

static void memory_refuses_overflow(void **state)
{
    (void)state;
    void *block = &block;
    assert_status(dns_alloc(&block, SIZE_MAX / 2, 4), DNS_ERR_NOMEM);
    assert_null(block);
    int *numbers = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        assert_ok(dns_reserve(&numbers, &capacity, (size_t)i + 1, sizeof *numbers));
        numbers[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    assert_int_equal((uintptr_t)numbers % 64, 0);
    dns_free(numbers);
}

static dns_status count_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    atomic_fetch_add((atomic_size_t *)payload, task + 1);
    return DNS_OK;
}

static dns_status failing_task(void *payload, size_t task, size_t worker)
{
    (void)payload, (void)worker;
    return task >= 3 ? dns_status_set(DNS_ERR_RANGE, "task %zu", task) : DNS_OK;
}

static void pool_runs_all_and_reports_the_lowest_failure(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 4; n++) {
        dns_pool *pool;
        assert_ok(dns_pool_create(&pool, n));
        for (int round = 0; round < 200; round++) {
            atomic_size_t sum = 0;
            assert_ok(dns_pool_run(pool, 100, count_task, &sum));
            assert_int_equal(sum, 5050);
        }
        assert_status(dns_pool_run(pool, 50, failing_task, NULL), DNS_ERR_RANGE);
        assert_string_equal(dns_status_message(), "task 3");
        dns_pool_free(pool);
    }
    assert_status(dns_pool_run(NULL, 50, failing_task, NULL), DNS_ERR_RANGE);
}

static void random_is_reproducible_and_uniform(void **state)
{
    (void)state;
    dns_random a = dns_random_seed(1), b = dns_random_seed(1), c = dns_random_stream(1, 1);
    assert_int_equal(dns_random_next(&a), dns_random_next(&b));
    assert_int_not_equal(dns_random_next(&a), dns_random_next(&c));
    size_t counts[7] = {0};
    double sum = 0, square = 0;
    for (int i = 0; i < 70000; i++) {
        counts[dns_random_below(&a, 7)]++;
        double x = dns_random_normal(&a);
        sum += x;
        square += x * x;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_true(sum / 70000 < 0.02 && sum / 70000 > -0.02);
    assert_true(square / 70000 < 1.03 && square / 70000 > 0.97);
    size_t order[100];
    for (size_t i = 0; i < 100; i++)
        order[i] = i;
    dns_random_shuffle(&a, order, 100);
    size_t total = 0, moved = 0;
    for (size_t i = 0; i < 100; i++) {
        total += order[i];
        moved += order[i] != i;
    }
    assert_int_equal(total, 4950);
    assert_true(moved > 80);
}

static void replacement_is_all_or_nothing(void **state)
{
    (void)state;
    char path[256], *data;
    size_t size;
    snprintf(path, sizeof path, "%s/deep/er/file", test_folder());
    assert_status(dns_file_write(path, "x", 1), DNS_ERR_NOTFOUND);
    char directory[256];
    snprintf(directory, sizeof directory, "%s/deep/er", test_folder());
    assert_ok(dns_directory_make(directory));
    assert_ok(dns_directory_make(directory));
    assert_ok(dns_file_write(path, "old", 3));
    dns_replacement *r;
    FILE *stream;
    assert_ok(dns_replacement_open(&r, &stream, path));
    fputs("half", stream);
    dns_replacement_abandon(r);
    assert_ok(dns_file_read(&data, &size, path, 100));
    assert_int_equal(size, 3);
    assert_string_equal(data, "old");
    dns_free(data);
    assert_status(dns_file_read(&data, &size, path, 2), DNS_ERR_LIMIT);
    assert_status(dns_file_read(&data, &size, directory, 2), DNS_ERR_FORMAT);
    assert_status(dns_file_read(&data, &size, "/nowhere/at/all", 2), DNS_ERR_NOTFOUND);
    dns_mapping mapping;
    assert_ok(dns_mapping_open(&mapping, path));
    assert_memory_equal(mapping.data, "old", 3);
    dns_mapping_close(&mapping);
    dns_digest of_file, of_bytes = dns_digest_of("old", 3), parsed;
    assert_ok(dns_digest_of_file(&of_file, path));
    assert_true(dns_digest_equal(&of_file, &of_bytes));
    char text[33];
    dns_digest_text(&of_file, text);
    assert_true(dns_digest_parse(&parsed, text) && dns_digest_equal(&parsed, &of_file));
    assert_false(dns_digest_parse(&parsed, "12"));
}

static void json_goes_round(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    dns_json_writer w = dns_json_writer_to(stream, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "name", "new\nline \"quoted\" \xff\xc3\xa4");
    dns_json_put_number(&w, "third", 1.0 / 3.0, 17);
    dns_json_put_number(&w, "nothing", 0.0 / 0.0, 17);
    dns_json_begin_array(&w, "list");
    dns_json_put_integer(&w, NULL, -7);
    dns_json_begin_object(&w, NULL);
    dns_json_end_object(&w);
    dns_json_end_array(&w);
    dns_json_end_object(&w);
    assert_ok(dns_json_finish(&w));
    fclose(stream);
    dns_json *root;
    assert_ok(dns_json_parse(&root, text, size, "memory"));
    assert_string_equal(dns_json_string(dns_json_get(root, "name"), ""),
                        "new\nline \"quoted\" \xef\xbf\xbd\xc3\xa4");
    assert_true(dns_json_number(dns_json_get(root, "third"), 0) == 1.0 / 3.0);
    assert_int_equal(dns_json_kind_of(dns_json_get(root, "nothing")), DNS_JSON_NULL);
    assert_int_equal(dns_json_integer(dns_json_at(dns_json_get(root, "list"), 0), 0), -7);
    assert_int_equal(dns_json_size(dns_json_get(root, "list")), 2);
    assert_null(dns_json_get(dns_json_get(root, "absent"), "deeper"));
    dns_json_free(root);
    free(text);
    assert_status(dns_json_parse(&root, "{\"a\":1,\"a\":2}", 13, "memory"), DNS_ERR_FORMAT);
}

static void parse_json(const uint8_t *bytes, size_t size)
{
    dns_json *root;
    if (dns_json_parse(&root, (const char *)bytes, size, "fuzz") == DNS_OK)
        dns_json_free(root);
}

static void json_survives_damage(void **state)
{
    (void)state;
    const char *text = "{\"a\":[1,2.5e3,\"\\u00e4\",true,null],\"b\":{\"c\":{}}}";
    test_fuzz(text, strlen(text), 5000, parse_json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_keeps_one_line),
        cmocka_unit_test(memory_refuses_overflow),
        cmocka_unit_test(pool_runs_all_and_reports_the_lowest_failure),
        cmocka_unit_test(random_is_reproducible_and_uniform),
        cmocka_unit_test(replacement_is_all_or_nothing),
        cmocka_unit_test(json_goes_round),
        cmocka_unit_test(json_survives_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
