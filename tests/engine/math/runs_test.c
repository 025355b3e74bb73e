#include "support.h"

#include <string.h>

#include "dnsel/runs.h"

static const uint16_t lengths[5] = {2, 1, 4, 1, 3};

static void a_part_begins_within_a_run(void **state)
{
    (void)state;
    static const size_t of[11] = {0, 0, 1, 2, 2, 2, 2, 3, 4, 4, 4};
    const dns_runs whole = dns_runs_of(lengths, 5), plain = dns_runs_of(NULL, 11),
                   one = dns_runs_of(NULL, 1);
    float map[5] = {0, 1, 2, 3, 4}, row[11], straight[11];
    assert_int_equal(whole.n_frames, 11);
    assert_int_equal(plain.n_frames, 11);
    for (size_t first = 0; first < 11; first++)
        for (size_t n = 1; first + n <= 11; n++) {
            size_t at;
            const dns_runs part = dns_runs_part(&at, &whole, first, n);
            assert_int_equal(at, of[first]);
            assert_int_equal(at + part.n - 1, of[first + n - 1]);
            assert_int_equal(part.n_frames, n);
            dns_runs_expand(row, map + at, &one, &part);
            for (size_t i = 0; i < n; i++)
                assert_true(row[i] == (float)of[first + i]);
            const dns_runs same = dns_runs_part(&at, &plain, first, n);
            assert_int_equal(at, first);
            assert_int_equal(same.n, n);
            for (size_t i = 0; i < 11; i++)
                straight[i] = (float)i;
            dns_runs_expand(row, straight + at, &one, &same);
            assert_memory_equal(row, straight + first, n * sizeof *row);
        }
}

static void rows_and_columns_are_repeated(void **state)
{
    (void)state;
    const uint16_t rows[2] = {3, 1}, columns[3] = {1, 2, 1};
    const float map[6] = {1, 2, 3, 4, 5, 6};
    const float expected[4][4] = {{1, 2, 2, 3}, {1, 2, 2, 3}, {1, 2, 2, 3}, {4, 5, 5, 6}};
    float out[4][4];
    const dns_runs r = dns_runs_of(rows, 2), c = dns_runs_of(columns, 3);
    dns_runs_expand(&out[0][0], map, &r, &c);
    assert_memory_equal(out, expected, sizeof out);
    size_t at;
    const dns_runs tail = dns_runs_part(&at, &r, 2, 2);
    dns_runs_expand(&out[0][0], map, &tail, &c);
    assert_memory_equal(out, expected[2], 2 * sizeof expected[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_begins_within_a_run),
        cmocka_unit_test(rows_and_columns_are_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
