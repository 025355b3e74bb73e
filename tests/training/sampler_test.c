#include "dnsel/sampler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "synthetic_set.h"

static const test_set_options options = {.n_scenes = 40,
                                         .n_folds = 4,
                                         .dim = 16,
                                         .n_regions = 3,
                                         .n_copies = 4,
                                         .n_hosts = 3,
                                         .noise = 0.5,
                                         .seed = 3};

static dns_training_set *set;

static int open_set(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/set", test_folder());
    test_set_write(path, &options);
    assert_ok(dns_training_set_open(&set, path));
    return 0;
}

static int close_set(void **state)
{
    (void)state;
    dns_training_set_close(set);
    return 0;
}

static size_t scene_of(size_t video)
{
    return dns_training_set_video(set, video)->scene;
}

static void check_frames(const dns_clips *clips, size_t held_out)
{
    for (size_t i = 0; i < clips->n_all; i++) {
        const dns_clip_frame f = clips->frames[i];
        assert_true(f.video < dns_training_set_n_videos(set));
        assert_true(f.view < dns_training_set_video(set, f.video)->n_views);
        assert_true(f.frame < dns_training_set_view(set, f.video, f.view).n_frames);
        assert_int_not_equal(dns_training_set_video(set, f.video)->fold, held_out);
    }
}

/* Frames of a clip that are of the video, and those that are of another. */
static size_t count_own(const dns_clips *clips, size_t clip, size_t video)
{
    size_t own = 0;
    const dns_clip_frame *f = clips->frames + dns_clips_first(clips, clip);
    for (size_t i = 0; i < clips->n_frames[clip]; i++)
        own += f[i].video == video;
    return own;
}

static void contrastive_batches_are_as_the_recipe_says(void **state)
{
    (void)state;
    dns_sampler *sampler;
    dns_sampler_options o = dns_sampler_options_default();
    dns_sample s = {0};
    size_t n_embedded = 0, n_copies = 0, n_original_targets = 0, n_all = 0;
    o.held_out = 1;
    assert_ok(dns_sampler_create(&sampler, set, &o, NULL));
    for (size_t step = 1; step <= 60; step++) {
        assert_ok(dns_sampler_contrast(&s, sampler, step));
        assert_int_equal(s.n, 16);
        assert_int_equal(s.clips.n, 32);
        check_frames(&s.clips, 1);
        for (size_t i = 0; i < 16; i++) {
            size_t n_query = s.clips.n_frames[i], n_target = s.clips.n_frames[16 + i];
            size_t own = count_own(&s.clips, i, s.videos[i]);
            assert_false(dns_training_set_video(set, s.videos[i])->host);
            assert_true(n_query % 4 == 0 && n_query <= 16 && n_target % 4 == 0 && n_target <= 16);
            assert_true(own > 0);
            assert_int_equal(count_own(&s.clips, 16 + i, s.videos[i]), n_target);
            n_embedded += own < n_query;
            n_original_targets += s.clips.frames[dns_clips_first(&s.clips, 16 + i)].view == 0;
            for (size_t j = 0; j < n_query; j++) {
                const dns_clip_frame f = s.clips.frames[dns_clips_first(&s.clips, i) + j];
                for (size_t k = 0; k < 16 && f.video != s.videos[i]; k++)
                    assert_int_not_equal(scene_of(f.video), scene_of(s.videos[k]));
                if (f.video == s.videos[i]) {
                    n_copies += f.view > 0;
                    n_all++;
                }
            }
            for (size_t k = 0; k < i; k++)
                assert_int_not_equal(scene_of(s.videos[i]), scene_of(s.videos[k]));
        }
    }
    assert_float_equal((double)n_embedded / 960, 0.35, 0.06);
    assert_float_equal((double)n_original_targets / 960, 0.7, 0.06);
    assert_float_equal((double)n_copies / (double)n_all, 0.92, 0.05);
    dns_sample_free(&s);
    dns_sampler_free(sampler);
}

static bool equal(const dns_sample *a, const dns_sample *b)
{
    return a->n == b->n && a->clips.n_all == b->clips.n_all &&
           memcmp(a->videos, b->videos, a->n * sizeof *a->videos) == 0 &&
           memcmp(a->clips.n_frames, b->clips.n_frames, a->clips.n * sizeof *a->clips.n_frames) ==
               0 &&
           memcmp(a->clips.frames, b->clips.frames, a->clips.n_all * sizeof *a->clips.frames) == 0;
}

static void what_is_drawn_depends_on_seed_and_step_alone(void **state)
{
    (void)state;
    dns_sampler *one, *other;
    dns_pool *pool;
    dns_sampler_options o = dns_sampler_options_default();
    dns_sample a = {0}, b = {0};
    assert_ok(dns_pool_create(&pool, 3));
    assert_ok(dns_sampler_create(&one, set, &o, NULL));
    assert_ok(dns_sampler_create(&other, set, &o, pool));
    assert_ok(dns_sampler_contrast(&a, one, 1));
    assert_ok(dns_sampler_contrast(&a, one, 9));
    assert_ok(dns_sampler_contrast(&b, other, 9));
    assert_true(equal(&a, &b));
    assert_ok(dns_sampler_contrast(&b, other, 10));
    assert_false(equal(&a, &b));
    assert_ok(dns_sampler_triplets(&a, one, 5));
    assert_ok(dns_sampler_triplets(&b, other, 5));
    assert_true(equal(&a, &b));
    assert_int_equal(dns_sampler_n_videos(one), 45);
    dns_sample_free(&a);
    dns_sample_free(&b);
    dns_sampler_free(one);
    dns_sampler_free(other);
    dns_pool_free(pool);
}

static void triplets_pass_over_all_videos(void **state)
{
    (void)state;
    dns_sampler *sampler;
    dns_sampler_options o = dns_sampler_options_default();
    dns_sample s = {0};
    size_t seen[64] = {0}, n_other = 0;
    o.batch = 5;
    o.max_frames = 64;
    assert_ok(dns_sampler_create(&sampler, set, &o, NULL));
    for (size_t step = 1; step <= 9; step++) {
        assert_ok(dns_sampler_triplets(&s, sampler, step));
        assert_int_equal(s.clips.n, 15);
        check_frames(&s.clips, 99);
        for (size_t i = 0; i < 5; i++) {
            size_t anchor = s.clips.frames[dns_clips_first(&s.clips, i)].video,
                   positive = s.clips.frames[dns_clips_first(&s.clips, 5 + i)].video,
                   negative = s.clips.frames[dns_clips_first(&s.clips, 10 + i)].video;
            seen[anchor]++;
            n_other += positive != anchor;
            assert_int_equal(scene_of(anchor), scene_of(positive));
            assert_int_not_equal(scene_of(anchor), scene_of(negative));
            assert_true(isnan(s.similarities[i]));
            assert_int_equal(s.clips.n_frames[i], dns_training_set_view(set, anchor, 0).n_frames);
        }
    }
    for (size_t i = 0; i < 45; i++)
        assert_int_equal(seen[i], 1);
    assert_true(n_other > 0);
    dns_sample_free(&s);
    dns_sampler_free(sampler);
}

static void labelled_pairs_replace_what_is_drawn(void **state)
{
    (void)state;
    dns_sampler *sampler;
    dns_sampler_options o = dns_sampler_options_default();
    dns_sample s = {0};
    const dns_labelled_pair pairs[] = {
        {4, 5, 0.9f, true}, {4, 6, -0.5f, false}, {4, 7, -0.6f, false}, {8, 9, 0.8f, true}};
    o.batch = 4;
    assert_ok(dns_sampler_create(&sampler, set, &o, NULL));
    assert_status(dns_sampler_set_pairs(sampler, pairs + 3, 1), DNS_ERR_ARG);
    assert_ok(dns_sampler_set_pairs(sampler, pairs, 4));
    assert_ok(dns_sampler_triplets(&s, sampler, 1));
    for (size_t i = 0; i < 4; i++) {
        size_t negative = s.clips.frames[dns_clips_first(&s.clips, 8 + i)].video;
        assert_int_equal(s.videos[i], 4);
        assert_int_equal(s.clips.frames[dns_clips_first(&s.clips, 4 + i)].video, 5);
        assert_true(negative == 6 || negative == 7);
        assert_float_equal(s.similarities[i], 0.9, 1e-6);
        assert_float_equal(s.similarities[4 + i], negative == 6 ? -0.5 : -0.6, 1e-6);
    }
    dns_sample_free(&s);
    dns_sampler_free(sampler);
}

static void a_batch_needs_enough_scenes(void **state)
{
    (void)state;
    dns_sampler *sampler;
    dns_sampler_options o = dns_sampler_options_default();
    dns_sample s = {0};
    o.batch = 41;
    assert_ok(dns_sampler_create(&sampler, set, &o, NULL));
    assert_status(dns_sampler_contrast(&s, sampler, 1), DNS_ERR_ARG);
    dns_sampler_free(sampler);
    dns_sample_free(&s);
    o.max_frames = 4;
    assert_status(dns_sampler_create(&sampler, set, &o, NULL), DNS_ERR_ARG);
    assert_null(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contrastive_batches_are_as_the_recipe_says),
        cmocka_unit_test(what_is_drawn_depends_on_seed_and_step_alone),
        cmocka_unit_test(triplets_pass_over_all_videos),
        cmocka_unit_test(labelled_pairs_replace_what_is_drawn),
        cmocka_unit_test(a_batch_needs_enough_scenes),
    };
    return cmocka_run_group_tests(tests, open_set, close_set);
}
