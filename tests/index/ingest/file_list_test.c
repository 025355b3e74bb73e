#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dnsel/file.h"
#include "dnsel/file_list.h"

static char top[256];

static char *in(const char *name)
{
    static char path[4][512];
    static size_t next;
    char *out = path[next++ % 4];
    snprintf(out, 512, "%s/%s", top, name);
    return out;
}

static int setup(void **state)
{
    (void)state;
    char *folder = realpath(test_folder(), NULL);
    snprintf(top, sizeof top, "%s/list", folder);
    free(folder);
    assert_ok(dns_directory_make(in("b/deep")));
    assert_ok(dns_directory_make(in(".hidden")));
    static const char *const files[] = {"z.mp4",        "A.MKV",     "b/x.webm",
                                        "b/deep/y.avi", "notes.txt", ".hidden/h.mp4",
                                        "new\nline.mp4"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        assert_ok(dns_file_write(in(files[i]), "x", 1));
    assert_int_equal(symlink(top, in("b/loop")), 0);
    assert_int_equal(symlink("z.mp4", in("link.mp4")), 0);
    assert_int_equal(symlink("nowhere", in("dangling.mp4")), 0);
    assert_int_equal(mkfifo(in("fifo.mp4"), 0600), 0);
    return 0;
}

static void folders_are_walked_in_order_once(void **state)
{
    (void)state;
    dns_file_list list = {0};
    assert_ok(dns_file_list_add(&list, top, NULL));
    assert_ok(dns_file_list_unique(&list));
    static const char *const expected[] = {"A.MKV", "b/deep/y.avi", "b/x.webm", "z.mp4",
                                           "new\nline.mp4"};
    assert_int_equal(list.n, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(list.paths[i], in(expected[i]));
    assert_int_equal(list.n_problems, 1);
    assert_non_null(strstr(list.problems[0], "dangling.mp4"));
    dns_file_list_free(&list);
    const dns_file_list_options all = {.all_files = true, .hidden = true};
    assert_ok(dns_file_list_add(&list, top, &all));
    assert_ok(dns_file_list_unique(&list));
    assert_int_equal(list.n, 7);
    dns_file_list_free(&list);
}

static void named_files_are_taken_whatever_they_are_called(void **state)
{
    (void)state;
    dns_file_list list = {0};
    assert_ok(dns_file_list_add(&list, in("notes.txt"), NULL));
    assert_ok(dns_file_list_add(&list, in("absent.mp4"), NULL));
    assert_int_equal(list.n, 1);
    assert_int_equal(list.n_problems, 1);
    dns_file_list_free(&list);
}

static void lists_are_read_by_line_or_by_nul(void **state)
{
    (void)state;
    dns_file_list list = {0};
    char text[2048];
    int n = snprintf(text, sizeof text, "%s\n\n%s\n%s", in("z.mp4"), in("A.MKV"), in("z.mp4"));
    assert_ok(dns_file_list_add_text(&list, text, (size_t)n, false, NULL));
    assert_int_equal(list.n, 3);
    assert_ok(dns_file_list_unique(&list));
    assert_int_equal(list.n, 2);
    assert_string_equal(list.paths[0], in("z.mp4"));
    dns_file_list_free(&list);
    n = snprintf(text, sizeof text, "%s%c%s", in("new\nline.mp4"), '\0', in("z.mp4"));
    assert_ok(dns_file_list_add_text(&list, text, (size_t)n, true, NULL));
    assert_int_equal(list.n, 2);
    assert_int_equal(list.n_problems, 0);
    dns_file_list_free(&list);
}

static void videos_are_known_by_extension(void **state)
{
    (void)state;
    assert_true(dns_file_list_is_video("a/b.c/x.Mp4"));
    assert_false(dns_file_list_is_video("a.mp4/x"));
    assert_false(dns_file_list_is_video("x.jpg"));
    assert_false(dns_file_list_is_video("mp4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_are_walked_in_order_once),
        cmocka_unit_test(named_files_are_taken_whatever_they_are_called),
        cmocka_unit_test(lists_are_read_by_line_or_by_nul),
        cmocka_unit_test(videos_are_known_by_extension),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
