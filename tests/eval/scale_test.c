#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/made_corpus.h"
#include "dnsel/scale.h"

enum { DIM = 64, MANY = 4000, VIDEOS = 200 };

static const dns_made_corpus small = {.seed = 5, .dim = DIM, .mean_frames = 20};

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static size_t popcount(const uint8_t *a, const uint8_t *b, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (size_t)__builtin_popcount((unsigned)(a[i] ^ b[i]));
    return sum;
}

static void lengths_and_kinds_have_the_promised_shares(void **state)
{
    (void)state;
    const dns_made_corpus c = dns_made_corpus_default();
    size_t kinds[DNS_MADE_KINDS] = {0}, n_long = 0;
    double frames = 0;
    for (size_t v = 0; v < MANY; v++) {
        const dns_made_video video = dns_made_video_at(&c, v);
        kinds[video.kind]++;
        frames += (double)video.n_frames;
        n_long += video.n_frames > 3 * DNS_FIVR_FRAMES;
        assert_true(video.n_frames >= 4);
        assert_true(video.kind == DNS_MADE_OWN || video.parent < v);
        assert_true((video.content == v) ==
                    (video.kind == DNS_MADE_OWN || video.kind == DNS_MADE_SCENE));
    }
    assert_true(fabs(frames / MANY - DNS_FIVR_FRAMES) < 8);
    assert_true(n_long > MANY / 50 && n_long < MANY / 10);
    const double expected[] = {0.55, 0.30, 0.10, 0.05};
    for (size_t k = 0; k < DNS_MADE_KINDS; k++)
        assert_true(fabs((double)kinds[k] / MANY - expected[k]) < 0.03);
}

static void vectors_are_as_alike_as_their_videos(void **state)
{
    (void)state;
    static const double expected[DNS_MADE_KINDS] = {0, 0.70, 0.95, 0.85};
    double sums[DNS_MADE_KINDS] = {0};
    size_t n[DNS_MADE_KINDS] = {0};
    float x[DIM], y[DIM];
    for (size_t v = 1; v < MANY; v++) {
        const dns_made_video video = dns_made_video_at(&small, v);
        const dns_made_video other =
            dns_made_video_at(&small, video.kind == DNS_MADE_OWN ? v - 1 : video.parent);
        dns_made_vector(x, &small, &video);
        dns_made_vector(y, &small, &other);
        assert_true(fabs(dot(x, x) - 1) < 1e-5);
        sums[video.kind] += dot(x, y);
        n[video.kind]++;
    }
    for (size_t k = 0; k < DNS_MADE_KINDS; k++)
        if (k == DNS_MADE_OWN)
            assert_true(sums[k] / (double)n[k] > 0.02 && sums[k] / (double)n[k] < 0.2);
        else
            assert_true(fabs(sums[k] / (double)n[k] - expected[k]) < 0.02);
}

/* Bits that differ between a frame of a copy and the frame that it shows. */
static void codes_of_copies_are_near_those_of_their_originals(void **state)
{
    (void)state;
    enum { FRAME = DNS_MADE_REGIONS * DNS_MADE_CODE_BYTES };
    uint8_t *x = NULL, *y = NULL;
    size_t nx = 0, ny = 0, n_frames = 0, near = 0, far = 0;
    for (size_t v = 1; v < 600; v++) {
        const dns_made_video video = dns_made_video_at(&small, v);
        if (video.n_generations != 1)
            continue;
        const dns_made_video original = dns_made_video_at(&small, video.content);
        assert_true(video.first_frame + video.n_frames <= original.n_frames);
        assert_ok(dns_reserve(&x, &nx, video.n_frames, FRAME));
        assert_ok(dns_reserve(&y, &ny, original.n_frames, FRAME));
        dns_made_codes(x, &small, &video);
        dns_made_codes(y, &small, &original);
        for (size_t t = 0; t < video.n_frames; t++) {
            near += popcount(x + t * FRAME, y + (video.first_frame + t) * FRAME, FRAME);
            far += popcount(x + t * FRAME,
                            y + (video.first_frame + t + 7) % original.n_frames * FRAME, FRAME);
        }
        n_frames += video.n_frames;
    }
    double bits = 8.0 * FRAME * (double)n_frames;
    assert_true(n_frames > 500);
    assert_true(fabs((double)near / bits - 0.125) < 0.01);
    assert_true((double)far / bits > 0.4);
    dns_free(x);
    dns_free(y);
}

static void queries_are_copies_that_are_not_in_the_corpus(void **state)
{
    (void)state;
    float x[DIM], y[DIM];
    for (size_t q = 0; q < 20; q++) {
        const dns_made_video query = dns_made_query(&small, q, VIDEOS);
        assert_true(query.parent < VIDEOS && query.number >= MANY);
        const dns_made_video original = dns_made_video_at(&small, query.parent);
        dns_made_vector(x, &small, &query);
        dns_made_vector(y, &small, &original);
        assert_int_equal(query.n_frames, original.n_frames);
        assert_true(dot(x, y) > 0.85);
    }
}

static dns_scale_options small_options(void)
{
    dns_scale_options o = dns_scale_options_default();
    o.corpus = small;
    o.n_videos = VIDEOS;
    o.n_queries = 4;
    return o;
}

static dns_digest digest_of(const char *directory)
{
    char path[512];
    dns_store *store;
    dns_snapshot *snapshot;
    dns_digest digest;
    snprintf(path, sizeof path, "%s/index.dns", directory);
    assert_ok(dns_store_open(&store, path, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_digest(&digest, snapshot, NULL));
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return digest;
}

static void an_index_depends_on_its_options_alone(void **state)
{
    (void)state;
    char a[300], b[300], c[300];
    dns_scale_built built;
    dns_scale_options o = small_options();
    snprintf(a, sizeof a, "%s/a", test_folder());
    snprintf(b, sizeof b, "%s/b", test_folder());
    snprintf(c, sizeof c, "%s/c", test_folder());
    assert_ok(dns_scale_build(&built, a, &o));
    assert_int_equal(built.n_written, VIDEOS);
    assert_true(built.seconds > 0 && built.bytes_written > dns_scale_bytes(&o) / 2);
    assert_ok(dns_scale_build(&built, a, &o));
    assert_int_equal(built.n_before, VIDEOS);
    assert_int_equal(built.n_written, 0);
    /* In two parts and by several threads. */
    assert_ok(dns_pool_create(&o.pool, 3));
    o.n_videos = 70;
    assert_ok(dns_scale_build(&built, b, &o));
    o.n_videos = VIDEOS;
    assert_ok(dns_scale_build(&built, b, &o));
    assert_int_equal(built.n_before, 70);
    assert_int_equal(built.n_written, VIDEOS - 70);
    dns_digest x = digest_of(a), y = digest_of(b);
    assert_true(dns_digest_equal(&x, &y));
    o.corpus.seed++;
    assert_ok(dns_scale_build(&built, c, &o));
    y = digest_of(c);
    assert_false(dns_digest_equal(&x, &y));
    dns_pool_free(o.pool);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    char directory[300];
    dns_scale_built built;
    dns_scale_report report;
    dns_scale_options o = small_options();
    snprintf(directory, sizeof directory, "%s/a", test_folder());
    o.n_videos--;
    assert_status(dns_scale_build(&built, directory, &o), DNS_ERR_EXISTS);
    o = small_options();
    o.corpus.seed++;
    assert_status(dns_scale_build(&built, directory, &o), DNS_ERR_MODEL);
    o = small_options();
    o.kept[DNS_KIND_CODES] = false;
    assert_status(dns_scale_build(&built, directory, &o), DNS_ERR_MODEL);
    o = small_options();
    o.n_queries = 0;
    assert_status(dns_scale_measure(&report, directory, &o), DNS_ERR_ARG);
    snprintf(directory, sizeof directory, "%s/refused", test_folder());
    o.corpus.dim = 12;
    assert_status(dns_scale_build(&built, directory, &o), DNS_ERR_ARG);
    o = small_options();
    o.n_videos = o.n_fine = 4000000000;
    o.corpus.mean_frames = 10000;
    assert_status(dns_scale_build(&built, directory, &o), DNS_ERR_FULL);
    snprintf(directory, sizeof directory, "%s/cancelled", test_folder());
    dns_cancel cancel = {true};
    o = small_options();
    o.cancel = &cancel;
    assert_status(dns_scale_build(&built, directory, &o), DNS_ERR_CANCELLED);
    assert_status(dns_scale_measure(&report, directory, &o), DNS_ERR_CANCELLED);
}

static void every_figure_is_measured(void **state)
{
    (void)state;
    char directory[300];
    dns_scale_report r;
    dns_scale_options o = small_options();
    snprintf(directory, sizeof directory, "%s/a", test_folder());
    o.n_growth = 2000;
    o.n_growth_codes = 5000;
    assert_ok(dns_scale_measure(&r, directory, &o));
    assert_int_equal(r.stat.kinds[DNS_KIND_FINE_BINARY].n_records, VIDEOS);
    assert_int_equal(r.stat.kinds[DNS_KIND_COARSE].bytes, VIDEOS * (64 + 4 * DIM));
    assert_true(r.cold_open > 0 && r.cold_query > 0 && r.warm_open > 0 && r.warm_query > 0);
    assert_true(r.cold_share >= 0 && r.cold_share <= 1);
    assert_true(r.memory > 0 && r.mapped_memory > 0);
    assert_int_equal(r.floats.bytes, VIDEOS * 4 * DIM);
    assert_int_equal(r.codes.bytes, VIDEOS * DIM / 8);
    assert_true(r.floats.scan > 0 && r.floats.read > 0 && r.codes.scan > 0);
    assert_int_equal(r.found, o.n_queries);
    assert_true(r.recall == 1); /* all rows are among the first thousand */
    const size_t wanted[DNS_SCALE_BUDGETS] = {0, 2, 10, 60};
    for (size_t b = 0; b < DNS_SCALE_BUDGETS; b++) {
        assert_int_equal(r.budgets[b].wanted, wanted[b]);
        assert_int_equal(r.budgets[b].made, wanted[b]);
        assert_int_equal(r.budgets[b].asked, o.n_queries);
        assert_true(r.budgets[b].scan > 0 && r.budgets[b].whole > 0);
    }
    o.max_seconds = 1e-9; /* too little for a second query */
    dns_scale_report hasty;
    assert_ok(dns_scale_measure(&hasty, directory, &o));
    for (size_t b = 1; b < DNS_SCALE_BUDGETS; b++)
        assert_true(hasty.budgets[b].asked == 1 && hasty.budgets[b].made == wanted[b]);
    assert_int_equal(r.n_growth, 3);
    assert_int_equal(r.growth[0].n, VIDEOS);
    assert_int_equal(r.growth[1].n, 2000);
    assert_true(r.growth[1].scan > 0 && r.growth[1].codes > 0 && r.growth[1].route > 0);
    assert_int_equal(r.growth[2].n, 5000);
    assert_true(r.growth[2].scan == 0 && r.growth[2].codes > 0 && r.growth[2].route > 0);
    assert_true(isfinite(r.scan_exponent) && isfinite(r.route_exponent));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_and_kinds_have_the_promised_shares),
        cmocka_unit_test(vectors_are_as_alike_as_their_videos),
        cmocka_unit_test(codes_of_copies_are_near_those_of_their_originals),
        cmocka_unit_test(queries_are_copies_that_are_not_in_the_corpus),
        cmocka_unit_test(an_index_depends_on_its_options_alone),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(every_figure_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
