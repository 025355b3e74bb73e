#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/projection_training.h"
#include "support.h"

/* A picture is a point in DIM values; every view shifts it strongly along a few directions, which
 * a map can learn to leave out. */
enum { PICTURES = 60, VIEWS = 4, DIM = 24, WIDE = 20, OUT = 10, NUISANCE = 6 };

static dns_region_views *views;
static dns_whitening *wide;

static void make_view(float *regions, size_t picture, size_t view)
{
    dns_random content = dns_random_stream(1, picture),
               shift = dns_random_stream(2, picture * VIEWS + view);
    float moved[DIM] = {0};
    for (size_t k = 0; k < NUISANCE && view > 0; k++)
        moved[k] = (float)(2.5 * dns_random_normal(&shift));
    for (size_t r = 0; r < DNS_REGIONS; r++)
        for (size_t k = 0; k < DIM; k++)
            regions[r * DIM + k] =
                (float)(dns_random_normal(&content) + 0.9 * dns_random_normal(&shift)) + moved[k];
}

static int setup(void **state)
{
    (void)state;
    size_t scenes[PICTURES];
    float regions[DNS_REGIONS * DIM], back[DNS_REGIONS * DIM];
    for (size_t i = 0; i < PICTURES; i++)
        scenes[i] = i < 4 ? 0 : i;
    assert_status(dns_region_views_create(&views, DIM, scenes, PICTURES, 1), DNS_ERR_ARG);
    assert_status(dns_region_views_create(&views, DIM, scenes, 0, 2), DNS_ERR_ARG);
    assert_null(views);
    assert_ok(dns_region_views_create(&views, DIM, scenes, PICTURES, VIEWS));
    assert_int_equal(dns_region_views_count(views), PICTURES);
    for (size_t i = 0; i < PICTURES; i++)
        for (size_t v = 0; v < VIEWS; v++) {
            make_view(regions, i, v);
            dns_region_views_put(views, i, v, regions);
        }
    dns_region_views_get(back, views, PICTURES - 1, VIEWS - 1);
    for (size_t k = 0; k < DNS_REGIONS * DIM; k++)
        assert_true(fabsf(back[k] - regions[k]) <= 1e-3f * fabsf(regions[k]) + 1e-6f);
    assert_ok(dns_region_views_whitening(&wide, views, WIDE, NULL));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_region_views_free(views);
    dns_whitening_free(wide);
    return 0;
}

static dns_projection_training_options short_training(void)
{
    dns_projection_training_options o = dns_projection_training_options_default();
    o.steps = 120;
    o.batch = 20;
    o.out_dim = OUT;
    o.rate = 1e-2;
    return o;
}

static double find(const dns_whitening *w, const dns_picture_part *part)
{
    double mean, ranks[PICTURES];
    assert_ok(dns_region_views_find(&mean, ranks, views, w, part, NULL));
    return mean;
}

static void folds_keep_scenes_together(void **state)
{
    (void)state;
    size_t fold_of[PICTURES], n[3] = {0};
    assert_ok(dns_region_views_folds(fold_of, views, 3, 1));
    for (size_t i = 0; i < PICTURES; i++) {
        assert_true(fold_of[i] < 3);
        n[fold_of[i]]++;
        assert_true(i >= 4 || fold_of[i] == fold_of[0]);
    }
    assert_true(n[0] > 0 && n[1] > 0 && n[2] > 0);
    assert_status(dns_region_views_folds(fold_of, views, 1, 1), DNS_ERR_ARG);
}

/* Pictures of held-out scenes are found again more often than with the PCA. */
static void training_helps_pictures_not_seen(void **state)
{
    (void)state;
    size_t fold_of[PICTURES];
    dns_whitening *pca, *trained;
    dns_projection_training_options o = short_training();
    assert_ok(dns_region_views_folds(fold_of, views, 3, 1));
    const dns_picture_part seen = {fold_of, 0, true}, held_out = {fold_of, 0, false};
    assert_ok(dns_whitening_cut(&pca, wide, OUT));
    assert_ok(dns_projection_train(&trained, views, wide, &seen, &o, NULL));
    double before = find(pca, &held_out), after = find(trained, &held_out);
    if (!(after > before + 0.1))
        fail_msg("found %.3f before, %.3f after", before, after);
    double ranks[PICTURES], mean;
    assert_ok(dns_region_views_find(&mean, ranks, views, pca, &held_out, NULL));
    for (size_t i = 0; i < PICTURES; i++)
        assert_true(isnan(ranks[i]) == (fold_of[i] != 0));
    dns_whitening_free(pca);
    dns_whitening_free(trained);
}

static void no_rate_is_the_pca(void **state)
{
    (void)state;
    dns_whitening *pca, *trained, *none;
    dns_projection_training_options o = short_training();
    const dns_picture_part all = {0};
    o.steps = 1;
    o.rate = 0;
    assert_ok(dns_whitening_cut(&pca, wide, OUT));
    assert_status(dns_whitening_cut(&none, wide, WIDE + 1), DNS_ERR_ARG);
    assert_null(none);
    assert_ok(dns_projection_train(&trained, views, wide, &all, &o, NULL));
    test_assert_close("matrix", dns_whitening_matrix(trained), dns_whitening_matrix(pca),
                      (size_t)DIM * OUT, 1e-6, 1e-6);
    dns_whitening_free(pca);
    dns_whitening_free(trained);
}

static void threads_and_interruptions_change_nothing(void **state)
{
    (void)state;
    char path[256];
    dns_pool *pool;
    dns_cancel cancel = {0};
    dns_whitening *whole, *resumed, *other;
    dns_projection_training_options o = short_training();
    const dns_picture_part all = {0};
    snprintf(path, sizeof path, "%s/projection.checkpoint", test_folder());
    o.steps = 30;
    assert_ok(dns_projection_train(&whole, views, wide, &all, &o, NULL));
    assert_ok(dns_pool_create(&pool, 3));
    o.checkpoint = path;
    o.checkpoint_every = 10;
    o.cancel = &cancel;
    atomic_store(&cancel.wanted, true);
    assert_status(dns_projection_train(&resumed, views, wide, &all, &o, pool), DNS_ERR_CANCELLED);
    assert_null(resumed);
    atomic_store(&cancel.wanted, false);
    assert_ok(dns_projection_train(&resumed, views, wide, &all, &o, pool));
    assert_memory_equal(dns_whitening_matrix(whole), dns_whitening_matrix(resumed),
                        (size_t)DIM * OUT * sizeof(float));
    o.seed = 2;
    assert_status(dns_projection_train(&other, views, wide, &all, &o, pool), DNS_ERR_MODEL);
    o.checkpoint = NULL;
    o.batch = PICTURES;
    assert_status(dns_projection_train(&other, views, wide, &all, &o, pool), DNS_ERR_ARG);
    o.batch = 20;
    o.out_dim = WIDE + 1;
    assert_status(dns_projection_train(&other, views, wide, &all, &o, pool), DNS_ERR_ARG);
    dns_pool_free(pool);
    dns_whitening_free(whole);
    dns_whitening_free(resumed);
}

/* An interruption between two steps, not before the first. */
static dns_cancel in_the_middle;
static void stop_at_17(void *payload, size_t done, size_t total, const char *unit)
{
    (void)payload, (void)total, (void)unit;
    if (done == 17)
        atomic_store(&in_the_middle.wanted, true);
}

static void a_checkpoint_between_steps_is_exact(void **state)
{
    (void)state;
    char path[256];
    dns_whitening *whole, *resumed;
    dns_projection_training_options o = short_training();
    const dns_picture_part all = {0};
    snprintf(path, sizeof path, "%s/middle.checkpoint", test_folder());
    o.steps = 30;
    assert_ok(dns_projection_train(&whole, views, wide, &all, &o, NULL));
    o.checkpoint = path;
    o.cancel = &in_the_middle;
    o.progress.report = stop_at_17;
    assert_status(dns_projection_train(&resumed, views, wide, &all, &o, NULL), DNS_ERR_CANCELLED);
    atomic_store(&in_the_middle.wanted, false);
    assert_ok(dns_projection_train(&resumed, views, wide, &all, &o, NULL));
    assert_memory_equal(dns_whitening_matrix(whole), dns_whitening_matrix(resumed),
                        (size_t)DIM * OUT * sizeof(float));
    dns_whitening_free(whole);
    dns_whitening_free(resumed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_keep_scenes_together),
        cmocka_unit_test(training_helps_pictures_not_seen),
        cmocka_unit_test(no_rate_is_the_pca),
        cmocka_unit_test(threads_and_interruptions_change_nothing),
        cmocka_unit_test(a_checkpoint_between_steps_is_exact),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
