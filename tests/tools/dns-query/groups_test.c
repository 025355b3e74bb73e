#include "support.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/file.h"
#include "duplicate_groups.h"

static const dns_meta videos[] = {
    {.name = "/a", .duration = 10, .width = 640, .height = 360, .file_size = 3000000},
    {.name = "/b", .duration = 10.3, .width = 1280, .height = 720, .file_size = 2000000},
    {.name = "/c, d", .duration = 30, .width = 320, .height = 180, .file_size = 500000},
    {.name = "/e", .duration = 5, .width = 640, .height = 360, .file_size = 90000000},
    {.name = "/f", .duration = 5, .width = 640, .height = 360, .file_size = 91000000},
    {.name = "/g",
     .duration = 60,
     .width = 1920,
     .height = 1080,
     .file_size = 99000000,
     .damaged = true},
    {.name = "/h", .duration = 5, .width = 640, .height = 360, .file_size = 91000000},
    {.name = "/i", .duration = 1, .width = 64, .height = 36, .file_size = 1},
};
enum { VIDEOS = sizeof videos / sizeof *videos };

static dns_store *store;

static int setup(void **state)
{
    (void)state;
    char directory[256];
    dns_store_settings settings = dns_store_settings_init();
    dns_batch *batch;
    snprintf(directory, sizeof directory, "%s/index", test_folder());
    settings.kept[DNS_KIND_COARSE] = false;
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t i = 0; i < VIDEOS; i++)
        assert_ok(dns_batch_put(batch, &videos[i], NULL, 0, NULL));
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_store_close(store);
    return 0;
}

static void add(dns_pair_list *pairs, const char *a, const char *b, float score)
{
    assert_ok(dns_pair_list_add(pairs, dns_id_of_name(a), dns_id_of_name(b), score));
}

/* What is written to standard output, to be freed. */
static char *print(size_t *n, const dns_pair_list *pairs, dns_groups_format format)
{
    char path[256], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/out", test_folder());
    fflush(stdout);
    int terminal = dup(1);
    assert_non_null(freopen(path, "w", stdout));
    dns_status status = dns_groups_print(n, pairs, store, format);
    fflush(stdout);
    dup2(terminal, 1);
    close(terminal);
    assert_ok(status);
    assert_ok(dns_file_read(&text, &size, path, 1 << 20));
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0')
            text[i] = '|';
    return text;
}

/* /a, /b and /c are connected by two pairs; /e to /h, of the most bytes, by four; a pair of a video
 * that is no longer there connects nothing. */
static void sets_are_connected_and_the_best_is_kept(void **state)
{
    (void)state;
    dns_pair_list pairs = {0};
    size_t n;
    add(&pairs, "/b", "/a", 0.75f);
    add(&pairs, "/b", "/c, d", 0.5f);
    add(&pairs, "/h", "/e", 0.625f);
    add(&pairs, "/g", "/h", 0.875f);
    add(&pairs, "/f", "/g", 0.9375f);
    add(&pairs, "/f", "/g", 0.9375f);
    add(&pairs, "/e", "/f", 0.5f);
    add(&pairs, "/i", "/gone", 1);
    add(&pairs, "/a", "/gone", 1);
    char *csv = print(&n, &pairs, DNS_GROUPS_CSV);
    char expected[1024], ids[VIDEOS][17];
    for (size_t i = 0; i < VIDEOS; i++)
        dns_id_text(dns_id_of_name(videos[i].name), ids[i]);
    snprintf(expected, sizeof expected,
             "group,keep,score,direct,id,path,bytes,duration_s,width,height,damaged\n"
             "1,yes,,,%s,/f,91000000,5.000,640,360,no\n"
             "1,no,0.9375,yes,%s,/g,99000000,60.000,1920,1080,yes\n"
             "1,no,0.875,no,%s,/h,91000000,5.000,640,360,no\n"
             "1,no,0.5,yes,%s,/e,90000000,5.000,640,360,no\n"
             "2,yes,,,%s,\"/c, d\",500000,30.000,320,180,no\n"
             "2,no,0.75,no,%s,/a,3000000,10.000,640,360,no\n"
             "2,no,0.5,yes,%s,/b,2000000,10.300,1280,720,no\n",
             ids[4], ids[5], ids[6], ids[3], ids[2], ids[0], ids[1]);
    assert_string_equal(csv, expected);
    assert_int_equal(n, 2);
    dns_free(csv);
    char *surplus = print(&n, &pairs, DNS_GROUPS_SURPLUS_NULL);
    assert_string_equal(surplus, "/g|/e|/b|");
    dns_free(surplus);
    surplus = print(&n, &pairs, DNS_GROUPS_SURPLUS);
    assert_string_equal(surplus, "/g\n/e\n/b\n");
    dns_free(surplus);
    char *text = print(&n, &pairs, DNS_GROUPS_TEXT);
    assert_non_null(strstr(text, "group 1: 4 videos, 189.0 MB in copies of the one to keep\n"));
    assert_non_null(strstr(text, "(0.875)"));
    assert_non_null(strstr(text, "/g  (damaged)\n"));
    dns_free(text);
    char *json = print(&n, &pairs, DNS_GROUPS_NDJSON);
    assert_non_null(strstr(json,
                           "{\"schema\":\"dnsel.group/1\",\"group\":2,\"surplus_bytes\":2000000,"
                           "\"videos\":[{\"keep\":true,"));
    assert_non_null(strstr(json, "\"score\":null,\"direct\":false"));
    dns_free(json);
    dns_free(pairs.items);
}

static void no_pairs_make_no_groups(void **state)
{
    (void)state;
    const dns_pair_list none = {0};
    size_t n = 7;
    char *text = print(&n, &none, DNS_GROUPS_TEXT);
    assert_string_equal(text, "");
    assert_int_equal(n, 0);
    dns_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_connected_and_the_best_is_kept),
        cmocka_unit_test(no_pairs_make_no_groups),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
