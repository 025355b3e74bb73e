#include "dnsel/training_set.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/store.h"
#include "support.h"
#include "synthetic_set.h"

static const test_set_options small = {.n_scenes = 10,
                                       .n_folds = 2,
                                       .dim = 16,
                                       .n_regions = 3,
                                       .n_copies = 2,
                                       .n_hosts = 1,
                                       .noise = 0.5,
                                       .seed = 7};

static dns_training_set *open_small(char path[512])
{
    dns_training_set *set;
    snprintf(path, 512, "%s/small", test_folder());
    if (!dns_directory_exists(path))
        test_set_write(path, &small);
    assert_ok(dns_training_set_open(&set, path));
    return set;
}

static void a_set_gives_back_what_was_written(void **state)
{
    (void)state;
    char path[512];
    dns_training_set *set = open_small(path);
    assert_int_equal(dns_training_set_n_videos(set), 12);
    assert_int_equal(dns_training_set_n_scenes(set), 10);
    assert_int_equal(dns_training_set_n_folds(set), 2);
    assert_int_equal(dns_training_set_n_regions(set), 3);
    assert_int_equal(dns_training_set_dim(set), 16);
    assert_string_equal(dns_training_set_settings(set), "{\"seed\":1}");
    const dns_training_video *v = dns_training_set_video(set, 1),
                             *last = dns_training_set_video(set, 11);
    assert_string_equal(v->path, "/v0b");
    assert_int_equal(v->scene, 0);
    assert_int_equal(v->n_views, 3);
    assert_false(v->host);
    assert_true(last->host);
    assert_string_equal(dns_training_set_view(set, 1, 2).edit, "blur");
    assert_int_equal(dns_training_set_view(set, 1, 2).n_frames, 6);
    float x[2 * 48], whole[6 * 48];
    dns_training_set_read(x, set, 1, 2, 3, 2);
    dns_training_set_read(whole, set, 1, 2, 0, 6);
    assert_memory_equal(x, whole + 3 * 48, sizeof x);
    for (size_t r = 0; r < 6; r++) {
        double sum = 0;
        for (size_t k = 0; k < 16; k++)
            sum += (double)x[r * 16 + k] * (double)x[r * 16 + k];
        assert_float_equal(sum, 1, 1e-2);
    }
    dns_training_set_close(set);
}

static void means_have_unit_length_and_are_near_within_a_scene(void **state)
{
    (void)state;
    char path[512];
    float means[12 * 16];
    dns_training_set *set = open_small(path);
    assert_ok(dns_training_set_means(means, set, NULL));
    double same = 0, length = 0;
    for (size_t k = 0; k < 16; k++) {
        length += (double)means[k] * (double)means[k];
        same += (double)means[k] * (double)means[16 + k];
    }
    assert_float_equal(length, 1, 1e-4);
    assert_true(same > 0.9);
    dns_training_set_close(set);
}

static void clips_are_put_together_from_frames_of_views(void **state)
{
    (void)state;
    char path[512];
    dns_training_set *set = open_small(path);
    dns_clips clips = {0};
    float x[9 * 48], one[48], again[4 * 48];
    assert_ok(dns_clips_begin(&clips));
    assert_ok(dns_clips_add(&clips, 2, 1, 4));
    assert_ok(dns_clips_add(&clips, 3, 0, 0));
    assert_ok(dns_clips_add(&clips, 3, 0, 1));
    assert_ok(dns_clips_wrap(&clips));
    assert_ok(dns_clips_begin(&clips));
    for (size_t i = 0; i < 5; i++)
        assert_ok(dns_clips_add(&clips, 1, 0, i));
    assert_int_equal(clips.n, 2);
    assert_int_equal(clips.n_frames[0], 4);
    assert_int_equal(clips.frames[3].video, 2);
    assert_int_equal(dns_clips_first(&clips, 1), 4);
    assert_ok(dns_clips_read(x, set, &clips, NULL));
    dns_training_set_read(one, set, 2, 1, 4, 1);
    assert_memory_equal(x, one, sizeof one);
    assert_memory_equal(x + 3 * 48, one, sizeof one);
    dns_clips_read_one(again, set, &clips, 0);
    assert_memory_equal(again, x, sizeof again);
    dns_clips_clear(&clips);
    assert_int_equal(clips.n_all, 0);
    dns_clips_free(&clips);
    dns_training_set_close(set);
}

static void a_writer_goes_on_where_it_was_killed(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/resumed", test_folder());
    dns_training_writer *w;
    dns_training_set *set;
    dns_training_source source = {.dim = 4, .settings = "{\"seed\":1}"};
    const float x[8] = {1, 0, 0, 0, 0, 1, 0, 0};
    float mean[4];
    size_t n;
    assert_ok(dns_training_writer_open(&w, path, &source));
    assert_false(dns_training_writer_has(&n, w, "/a", "original"));
    assert_ok(dns_training_writer_put(w, "/a", "original", x, 2, 1));
    assert_status(dns_training_writer_put(w, "/a", "crop", x, 1, 2), DNS_ERR_SHAPE);
    dns_training_writer_close(w);
    assert_status(dns_training_set_open(&set, path), DNS_ERR_FORMAT);
    source.settings = "{\"seed\":2}";
    assert_status(dns_training_writer_open(&w, path, &source), DNS_ERR_MODEL);
    source.settings = "{\"seed\":1}";
    assert_ok(dns_training_writer_open(&w, path, &source));
    assert_status(dns_training_writer_put(w, "/b", "original", x, 1, 2), DNS_ERR_SHAPE);
    assert_true(dns_training_writer_has(&n, w, "/a", "original"));
    assert_int_equal(n, 2);
    assert_ok(dns_training_writer_mean(mean, w, "/a", "original"));
    assert_float_equal(mean[0], sqrt(0.5), 1e-3);
    const dns_training_video videos[] = {{.path = "/a"}, {.path = "/b"}};
    assert_status(dns_training_writer_finish(w, videos, 2, 1, NULL, 0), DNS_ERR_NOTFOUND);
    assert_status(dns_training_writer_finish(w, videos, 0, 1, NULL, 0), DNS_ERR_ARG);
    assert_ok(dns_training_writer_finish(w, videos, 1, 1, NULL, 0));
    dns_training_writer_close(w);
    assert_ok(dns_training_set_open(&set, path));
    assert_int_equal(dns_training_set_n_videos(set), 1);
    dns_digest zero = {{0}}, features = dns_training_set_features(set);
    assert_true(dns_digest_equal(&features, &zero));
    dns_training_set_close(set);
}

static void other_and_damaged_manifests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        dns_status status;
    } cases[] = {
        {"{}", DNS_ERR_FORMAT},
        {"{\"schema\":\"dnsel.training/9\"}", DNS_ERR_VERSION},
        {"{\"schema\":\"dnsel.training/1\",\"videos\":[{}]}", DNS_ERR_FORMAT},
        {"{\"schema\":\"dnsel.training/1\",\"folds\":1,\"regions\":3,\"dim\":16,"
         "\"features\":\"00000000000000000000000000000000\",\"videos\":[{\"path\":\"/v0\","
         "\"scene\":0,\"fold\":5,\"views\":[\"original\"]}]}",
         DNS_ERR_FORMAT},
        {"{\"schema\":\"dnsel.training/1\",\"folds\":1,\"regions\":3,\"dim\":16,"
         "\"features\":\"00000000000000000000000000000000\",\"videos\":[{\"path\":\"/gone\","
         "\"scene\":0,\"fold\":0,\"views\":[\"original\"]}]}",
         DNS_ERR_CORRUPT},
        {"{\"schema\":\"dnsel.training/1\",\"folds\":1,\"regions\":4,\"dim\":16,"
         "\"features\":\"00000000000000000000000000000000\",\"videos\":[{\"path\":\"/v0\","
         "\"scene\":0,\"fold\":0,\"views\":[\"original\"]}]}",
         DNS_ERR_CORRUPT},
    };
    char path[512], manifest[640];
    dns_training_set *set = open_small(path);
    dns_training_set_close(set);
    snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(dns_file_write(manifest, cases[i].text, strlen(cases[i].text)));
        assert_status(dns_training_set_open(&set, path), cases[i].status);
        assert_null(set);
    }
}

static void open_damaged(const uint8_t *bytes, size_t size)
{
    char manifest[512], path[448];
    dns_training_set *set;
    snprintf(path, sizeof path, "%s/fuzzed", test_folder());
    snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    assert_ok(dns_file_write(manifest, bytes, size));
    if (dns_training_set_open(&set, path) == DNS_OK)
        dns_training_set_close(set);
    else
        assert_null(set);
}

static void damaged_manifests_do_not_crash(void **state)
{
    (void)state;
    char path[512], manifest[640], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/fuzzed", test_folder());
    test_set_write(path, &small);
    snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    assert_ok(dns_file_read(&text, &size, manifest, 1 << 20));
    test_fuzz(text, size, 200, open_damaged);
    dns_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_gives_back_what_was_written),
        cmocka_unit_test(means_have_unit_length_and_are_near_within_a_scene),
        cmocka_unit_test(clips_are_put_together_from_frames_of_views),
        cmocka_unit_test(a_writer_goes_on_where_it_was_killed),
        cmocka_unit_test(damaged_manifests_do_not_crash),
        cmocka_unit_test(other_and_damaged_manifests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
