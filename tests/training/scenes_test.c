#include <stdio.h>

#include "dnsel/file.h"
#include "dnsel/preparation.h"
#include "support.h"

static void videos_in_a_chain_of_similar_ones_are_one_scene(void **state)
{
    (void)state;
    dns_training_video v[5] = {
        {.path = "/a"}, {.path = "/b"}, {.path = "/c"}, {.path = "/d"}, {.path = "/e"}};
    const float means[5][2] = {{1, 0}, {0, 1}, {0.8f, 0.6f}, {-1, 0}, {0.28f, 0.96f}};
    assert_ok(dns_training_find_scenes(v, 5, NULL, means[0], 2, 0.75));
    assert_int_equal(v[0].scene, 0); /* a - c - e - b: each pair of neighbours is near enough */
    assert_int_equal(v[1].scene, 0);
    assert_int_equal(v[2].scene, 0);
    assert_int_equal(v[3].scene, 1);
    assert_int_equal(v[4].scene, 0);
    assert_ok(dns_training_find_scenes(v, 5, NULL, means[0], 2, 0.9));
    assert_int_equal(v[2].scene, 2);
    assert_int_equal(v[4].scene, 1);
}

static void a_table_says_what_is_one_scene(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/scenes.csv", test_folder());
    static const char text[] =
        "file,scene_group\nb.mp4,x\nunknown.mp4,x\nd.mp4,x\na.mp4,\nc.mp4,\n";
    dns_training_video v[4] = {
        {.path = "/1/a.mp4"}, {.path = "/1/b.mp4"}, {.path = "/2/c.mp4"}, {.path = "/2/d.mp4"}};
    assert_ok(dns_file_write(path, text, sizeof text - 1));
    const float means[4][2] = {{1, 0}, {0, 1}, {0.8f, 0.6f}, {-1, 0}};
    assert_ok(dns_training_find_scenes(v, 4, path, means[0], 2, 1));
    assert_int_equal(v[0].scene, 0);
    assert_int_equal(v[1].scene, 1);
    assert_int_equal(v[2].scene, 2);
    assert_int_equal(v[3].scene, 1);
    assert_ok(dns_training_find_scenes(v, 4, path, means[0], 2, 0.7)); /* a and c look alike */
    assert_int_equal(v[2].scene, 0);
    assert_int_equal(v[3].scene, 1);
    assert_ok(dns_file_write(path, "name,group\n", 11));
    assert_status(dns_training_find_scenes(v, 4, path, means[0], 2, 1), DNS_ERR_FORMAT);
}

static void folds_hold_whole_scenes_and_hosts_are_the_longest(void **state)
{
    (void)state;
    enum { N = 66 };
    dns_training_video v[N] = {{0}};
    size_t n_frames[N], in_fold[4] = {0}, hosts_in[4] = {0}, n_hosts = 0;
    for (size_t i = 0; i < N; i++) {
        v[i].path = "/v";
        v[i].scene = i < 12 ? i / 2 : i - 6; /* six scenes of two videos */
        v[i].still = i >= 56;
        n_frames[i] = i < 12 ? 99 : i;
    }
    assert_ok(dns_training_make_folds(v, N, n_frames, 4, 1));
    for (size_t i = 0; i < N; i++) {
        assert_true(v[i].fold < 4);
        in_fold[v[i].fold] += !v[i].host && !v[i].still;
        hosts_in[v[i].fold] += v[i].host;
        n_hosts += v[i].host;
        if (v[i].host)
            assert_true(i >= 51 && i < 56);
        for (size_t j = 0; j < i; j++)
            if (v[i].scene == v[j].scene)
                assert_int_equal(v[i].fold, v[j].fold);
    }
    assert_int_equal(n_hosts, 5); /* of 50 scenes that are no pictures */
    for (size_t f = 0; f < 4; f++) {
        assert_true(in_fold[f] >= 12 && in_fold[f] <= 14);
        assert_true(hosts_in[f] >= 1 && hosts_in[f] <= 2);
    }
    assert_status(dns_training_make_folds(v, 2, n_frames, 4, 1), DNS_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(videos_in_a_chain_of_similar_ones_are_one_scene),
        cmocka_unit_test(a_table_says_what_is_one_scene),
        cmocka_unit_test(folds_hold_whole_scenes_and_hosts_are_the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
