#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/pickle.h"

static dns_pickle *read_fixture(const char *name)
{
    char path[4096];
    test_data_path(path, sizeof path, name);
    dns_pickle *pickle;
    assert_ok(dns_pickle_read(&pickle, path));
    return pickle;
}

static bool has_element(const dns_pickle_value *set, const char *text)
{
    for (size_t i = 0; i < dns_pickle_size(set); i++)
        if (strcmp(dns_pickle_string(dns_pickle_at(set, i), ""), text) == 0)
            return true;
    return false;
}

static void check_numbers(const dns_pickle_value *numbers)
{
    static const int64_t expected[] = {0,  255,           256,          65535,     65536,
                                       -1, -2147483648LL, 2147483648LL, INT64_MIN, INT64_MAX};
    const size_t n = sizeof expected / sizeof *expected;
    assert_int_equal(dns_pickle_size(numbers), n + 2);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(dns_pickle_kind_of(dns_pickle_at(numbers, i)), DNS_PICKLE_INTEGER);
        assert_int_equal(dns_pickle_integer(dns_pickle_at(numbers, i), 7), expected[i]);
    }
    assert_true(dns_pickle_number(dns_pickle_at(numbers, n), 0) == ldexp(1, 80));
    assert_true(dns_pickle_number(dns_pickle_at(numbers, n + 1), 0) == -ldexp(1, 80));
}

static void check_annotation(const dns_pickle_value *root)
{
    assert_int_equal(dns_pickle_kind_of(root), DNS_PICKLE_DICT);
    const dns_pickle_value *queries = dns_pickle_get(root, "queries");
    assert_int_equal(dns_pickle_kind_of(queries), DNS_PICKLE_LIST);
    assert_int_equal(dns_pickle_size(queries), 2);
    assert_string_equal(dns_pickle_string(dns_pickle_at(queries, 1), ""), "q2");
    assert_ptr_equal(dns_pickle_get(root, "again"), queries);
    const dns_pickle_value *set = dns_pickle_get(dns_pickle_get(root, "sets"), "q1");
    assert_int_equal(dns_pickle_kind_of(set), DNS_PICKLE_SET);
    assert_int_equal(dns_pickle_size(set), 2);
    assert_true(has_element(set, "v1") && has_element(set, "v2"));
    assert_true(has_element(dns_pickle_get(root, "frozen"), "x"));
    assert_int_equal(dns_pickle_integer(dns_pickle_get(dns_pickle_get(root, "counts"), "a"), 0), 2);
    const dns_pickle_value *mixed = dns_pickle_get(dns_pickle_get(root, "default"), "k");
    assert_int_equal(dns_pickle_size(mixed), 5);
    assert_true(dns_pickle_number(dns_pickle_at(mixed, 1), 0) == 2.5);
    assert_true(dns_pickle_number(dns_pickle_at(mixed, 0), 0) == 1);
    assert_int_equal(dns_pickle_kind_of(dns_pickle_at(mixed, 2)), DNS_PICKLE_NONE);
    assert_true(dns_pickle_bool(dns_pickle_at(mixed, 3), false));
    assert_false(dns_pickle_bool(dns_pickle_at(mixed, 4), true));
    const dns_pickle_value *ordered = dns_pickle_get(root, "ordered");
    assert_string_equal(dns_pickle_string(dns_pickle_key_at(ordered, 0), ""), "z");
    assert_int_equal(dns_pickle_kind_of(dns_pickle_at(ordered, 1)), DNS_PICKLE_TUPLE);
    assert_int_equal(dns_pickle_size(dns_pickle_at(ordered, 1)), 4);
    check_numbers(dns_pickle_get(root, "numbers"));
    assert_string_equal(dns_pickle_string(dns_pickle_get(root, "text"), ""),
                        "h\xc3\xa4 \xc5\x82\xf0\x9f\x98\x80\n'\\");
    size_t size;
    const char *bytes = dns_pickle_bytes(dns_pickle_get(root, "bytes"), &size);
    assert_int_equal(dns_pickle_kind_of(dns_pickle_get(root, "bytes")), DNS_PICKLE_BYTES);
    assert_int_equal(size, 4);
    assert_memory_equal(bytes,
                        "\x00\xff\x80"
                        "a",
                        4);
    assert_int_equal(dns_pickle_size(dns_pickle_get(root, "empty")), 4);
}

static void annotations_of_all_protocols_are_equal(void **state)
{
    (void)state;
    for (int protocol = 0; protocol <= 5; protocol++) {
        char name[64];
        snprintf(name, sizeof name, "import/annotation.%d.pickle", protocol);
        dns_pickle *pickle = read_fixture(name);
        check_annotation(dns_pickle_root(pickle));
        dns_pickle_free(pickle);
    }
    dns_pickle *old = read_fixture("import/python2.pickle");
    const dns_pickle_value *list = dns_pickle_get(dns_pickle_root(old), "idA");
    assert_int_equal(dns_pickle_size(list), 4);
    assert_int_equal(dns_pickle_integer(dns_pickle_at(list, 0), 0), 5);
    assert_true(dns_pickle_bool(dns_pickle_at(list, 1), false));
    assert_string_equal(dns_pickle_string(dns_pickle_at(list, 3), ""), "idA");
    dns_pickle_free(old);
}

static void getters_answer_for_absent_and_other_kinds(void **state)
{
    (void)state;
    dns_pickle *pickle = read_fixture("import/annotation.4.pickle");
    const dns_pickle_value *root = dns_pickle_root(pickle), *none = dns_pickle_get(root, "nothing");
    size_t size = 1;
    assert_null(none);
    assert_int_equal(dns_pickle_kind_of(none), DNS_PICKLE_NONE);
    assert_int_equal(dns_pickle_size(none), 0);
    assert_null(dns_pickle_at(none, 0));
    assert_null(dns_pickle_at(root, dns_pickle_size(root)));
    assert_null(dns_pickle_key_at(root, dns_pickle_size(root)));
    assert_null(dns_pickle_key_at(dns_pickle_get(root, "queries"), 0));
    assert_null(dns_pickle_get(dns_pickle_get(root, "queries"), "q1"));
    assert_null(dns_pickle_name(root));
    assert_null(dns_pickle_arguments(root));
    assert_null(dns_pickle_state(none));
    assert_null(dns_pickle_bytes(root, &size));
    assert_int_equal(size, 0);
    assert_int_equal(dns_pickle_integer(root, -3), -3);
    assert_true(dns_pickle_number(dns_pickle_get(root, "text"), -3) == -3);
    assert_true(dns_pickle_bool(dns_pickle_get(root, "text"), true));
    assert_string_equal(dns_pickle_string(root, "other"), "other");
    dns_pickle_free(pickle);
    dns_pickle_free(NULL);
}

/* Parses a literal and returns what came of it. */
#define parse_literal(literal) parse_bytes(literal, sizeof literal - 1)
static dns_status parse_bytes(const char *bytes, size_t size)
{
    dns_pickle *pickle;
    size_t used;
    char *exact = malloc(size > 0 ? size : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    dns_status status = dns_pickle_parse(&pickle, &used, exact, size, "test");
    free(exact);
    assert_true((status == DNS_OK) == (pickle != NULL));
    dns_pickle_free(pickle);
    return status;
}

static void refusals_say_why(void **state)
{
    (void)state;
    assert_status(parse_literal("\x80\x02"
                                "cposix\nsystem\nX\x02\0\0\0ls\x85R."),
                  DNS_ERR_UNSUPPORTED);
    assert_string_equal(dns_status_message(),
                        "test: asks for 'posix.system', which is not run and not known");
    assert_status(parse_literal("\x80\x04\x8c\x08"
                                "builtins\x8c\x04"
                                "eval\x93."),
                  DNS_ERR_UNSUPPORTED);
    assert_status(parse_literal("\x80\x02"
                                "c__builtin__\nint\nX\x01\0\0\0"
                                "5\x85R."),
                  DNS_ERR_UNSUPPORTED);
    assert_string_equal(dns_status_message(), "test: calls 'builtins.int', which is not run");
    assert_status(parse_literal("\x80\x06N."), DNS_ERR_VERSION);
    assert_status(parse_literal(""), DNS_ERR_FORMAT);
    assert_status(parse_literal("{\"json\": 1}"), DNS_ERR_FORMAT);
    assert_status(parse_literal("\x89HDF\r\n"), DNS_ERR_FORMAT);
    assert_status(parse_literal("\x80\x02N"), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02\xff."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02X\xff\xff\xff\xff."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02h\x05."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02Nr\xff\xff\xff\x7f."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02]Ns."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02}(Nu."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02NNR."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02(N0t0."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02u."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02K\x01N\x62."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("\x80\x02NQ."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("(lI12x\na."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("(lS'\\q'\na."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("(lS'abc\na."), DNS_ERR_CORRUPT);
    assert_status(parse_literal("(lV\\u12\na."), DNS_ERR_CORRUPT);
    char path[4096];
    test_data_path(path, sizeof path, "import/nothing.pickle");
    dns_pickle *pickle;
    assert_status(dns_pickle_read(&pickle, path), DNS_ERR_NOTFOUND);
    assert_null(pickle);
}

static void loops_depth_and_bombs_are_refused(void **state)
{
    (void)state;
    char path[4096];
    test_data_path(path, sizeof path, "import/refused.loop.pickle");
    dns_pickle *pickle;
    assert_status(dns_pickle_read(&pickle, path), DNS_ERR_UNSUPPORTED);
    /* A loop through a dictionary and a tuple. */
    assert_status(parse_literal("\x80\x02}q\0X\x01\0\0\0kh\0\x85s."), DNS_ERR_UNSUPPORTED);
    /* [[[...]]], 63 levels and 65. */
    for (size_t depth = 62; depth <= 64; depth++) {
        char deep[512] = "\x80\x02";
        size_t n = 2;
        memset(deep + n, ']', depth + 1);
        n += depth + 1;
        memset(deep + n, 'a', depth);
        n += depth;
        deep[n++] = '.';
        assert_status(parse_bytes(deep, n), depth + 1 < 65 ? DNS_OK : DNS_ERR_LIMIT);
    }
    /* Each list holds the one before ten times: 1e10 values from 200 bytes. */
    char bomb[512] = "\x80\x02]q\0";
    size_t n = 5;
    for (char level = 1; level <= 10; level++) {
        bomb[n++] = ']';
        bomb[n++] = '(';
        for (int i = 0; i < 10; i++) {
            bomb[n++] = 'h';
            bomb[n++] = (char)(level - 1);
        }
        bomb[n++] = 'e';
        bomb[n++] = 'q';
        bomb[n++] = level;
    }
    bomb[n++] = '.';
    assert_status(parse_bytes(bomb, n), DNS_ERR_LIMIT);
    /* More values than are read. */
    const size_t many = 9 << 20;
    char *values = malloc(many + 4);
    assert_non_null(values);
    memcpy(values, "\x80\x02(", 3);
    memset(values + 3, 'N', many);
    values[many + 3] = '.';
    assert_status(parse_bytes(values, many + 4), DNS_ERR_LIMIT);
    free(values);
}

static void consecutive_pickles_and_rests_are_told(void **state)
{
    (void)state;
    static const char two[] = "\x80\x02K\x05.\x80\x02K\x06.";
    dns_pickle *pickle;
    size_t used;
    assert_ok(dns_pickle_parse(&pickle, &used, two, sizeof two - 1, "two"));
    assert_int_equal(used, 5);
    assert_int_equal(dns_pickle_integer(dns_pickle_root(pickle), 0), 5);
    dns_pickle_free(pickle);
    char path[256];
    snprintf(path, sizeof path, "%s/two.pickle", test_folder());
    assert_ok(dns_file_write(path, two, sizeof two - 1));
    assert_status(dns_pickle_read(&pickle, path), DNS_ERR_FORMAT);
}

static void objects_and_references_are_kept_apart(void **state)
{
    (void)state;
    static const char text[] = "\x80\x02(cargparse\nNamespace\n)\x81}X\x01\0\0\0aK\x03sb"
                               "ctorch\nFloatStorage\nX\x01\0\0\0k\x86Qt.";
    dns_pickle *pickle;
    assert_ok(dns_pickle_parse(&pickle, NULL, text, sizeof text - 1, "test"));
    const dns_pickle_value *object = dns_pickle_at(dns_pickle_root(pickle), 0);
    assert_int_equal(dns_pickle_kind_of(object), DNS_PICKLE_OBJECT);
    assert_string_equal(dns_pickle_name(object), "argparse.Namespace");
    assert_int_equal(dns_pickle_size(dns_pickle_arguments(object)), 0);
    assert_int_equal(dns_pickle_integer(dns_pickle_get(dns_pickle_state(object), "a"), 0), 3);
    const dns_pickle_value *reference = dns_pickle_at(dns_pickle_root(pickle), 1);
    assert_int_equal(dns_pickle_kind_of(reference), DNS_PICKLE_REFERENCE);
    assert_string_equal(dns_pickle_name(dns_pickle_at(reference, 0)), "torch.FloatStorage");
    dns_pickle_free(pickle);
}

static void json_is_well_formed(void **state)
{
    (void)state;
    dns_pickle *pickle = read_fixture("import/annotation.4.pickle");
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    dns_json_writer writer = dns_json_writer_to(stream, false);
    dns_pickle_write_json(&writer, NULL, dns_pickle_root(pickle));
    assert_ok(dns_json_finish(&writer));
    fclose(stream);
    dns_json *json;
    assert_ok(dns_json_parse(&json, text, size, "json"));
    assert_string_equal(dns_json_string(dns_json_get(json, "7"), ""), "seven");
    assert_int_equal(dns_json_size(dns_json_get(json, "queries")), 2);
    assert_int_equal(dns_json_kind_of(dns_json_get(json, "bytes")), DNS_JSON_NULL);
    assert_int_equal(dns_json_integer(dns_json_get(dns_json_get(json, "ordered"), "z"), 0), 1);
    dns_json_free(json);
    free(text);
    dns_pickle_free(pickle);
    /* Deeper than JSON is written. */
    char deep[128] = "\x80\x02";
    memset(deep + 2, ']', 41);
    memset(deep + 43, 'a', 40);
    deep[83] = '.';
    assert_ok(dns_pickle_parse(&pickle, NULL, deep, 84, "deep"));
    stream = open_memstream(&text, &size);
    writer = dns_json_writer_to(stream, false);
    dns_pickle_write_json(&writer, NULL, dns_pickle_root(pickle));
    assert_ok(dns_json_finish(&writer));
    fclose(stream);
    assert_ok(dns_json_parse(&json, text, size, "json"));
    dns_json_free(json);
    free(text);
    dns_pickle_free(pickle);
}

static void parse_damaged(const uint8_t *bytes, size_t size)
{
    dns_pickle *pickle;
    if (dns_pickle_parse(&pickle, NULL, bytes, size, "fuzz") != DNS_OK)
        return;
    char *text;
    size_t n;
    FILE *stream = open_memstream(&text, &n);
    dns_json_writer writer = dns_json_writer_to(stream, false);
    dns_pickle_write_json(&writer, NULL, dns_pickle_root(pickle));
    assert_ok(dns_json_finish(&writer));
    fclose(stream);
    free(text);
    dns_pickle_free(pickle);
}

static void damaged_pickles_never_crash(void **state)
{
    (void)state;
    for (int protocol = 0; protocol <= 5; protocol++) {
        char name[64], path[4096], *bytes;
        size_t size;
        snprintf(name, sizeof name, "import/annotation.%d.pickle", protocol);
        test_data_path(path, sizeof path, name);
        assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
        test_fuzz(bytes, size, 4000, parse_damaged);
        dns_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(annotations_of_all_protocols_are_equal),
        cmocka_unit_test(getters_answer_for_absent_and_other_kinds),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(loops_depth_and_bombs_are_refused),
        cmocka_unit_test(consecutive_pickles_and_rests_are_told),
        cmocka_unit_test(objects_and_references_are_kept_apart),
        cmocka_unit_test(json_is_well_formed),
        cmocka_unit_test(damaged_pickles_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
