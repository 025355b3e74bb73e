#include "support.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/whitening_training.h"
#include "random_backbone.h"

enum { OUT = 8, FRAMES = 3 };

static dns_extractor *extractor;
static float mean_of_seed_1[2336];

static int set_up(void **state)
{
    char path[512];
    const dns_backbone *backbone;
    dns_safetensors *base;
    dns_graph *graph;
    snprintf(path, sizeof path, "%s/base.safetensors", test_folder());
    random_backbone_write("efficientnet-lite0", path);
    assert_ok(dns_backbone_find(&backbone, "efficientnet-lite0"));
    assert_ok(dns_safetensors_open(&base, path));
    assert_ok(dns_backbone_graph(&graph, backbone, base, NULL));
    assert_ok(dns_extractor_create(&extractor, backbone, graph, 1, DNS_PRECISION_F32, NULL));
    dns_graph_free(graph);
    dns_safetensors_close(base);
    return 0;
}

static int tear_down(void **state)
{
    dns_extractor_free(extractor);
    return 0;
}

/* Three clips and a file that is none. */
static const char *const *paths(void)
{
    static const char *const names[] = {"clips/frog.webm", "clips/ATTRIBUTION.md", "clips/pig.webm",
                                        "clips/elf.webm"};
    static char text[4][4096];
    static const char *list[4];
    for (size_t i = 0; i < 4; i++) {
        test_data_path(text[i], sizeof text[i], names[i]);
        list[i] = text[i];
    }
    return list;
}

static dns_whitening_training_options options(void)
{
    dns_whitening_training_options o = dns_whitening_training_options_default();
    o.out_dim = OUT;
    o.frames_per_video = FRAMES;
    o.copies = 2;
    return o;
}

static dns_status darken(void *payload, uint8_t *frame, size_t size, dns_random *random)
{
    atomic_size_t *count = payload;
    double factor = 0.3 + 0.5 * dns_random_uniform(random);
    for (size_t i = 0; i < size * size * 3; i++)
        frame[i] = (uint8_t)(factor * frame[i]);
    if (count != NULL)
        atomic_fetch_add(count, 1);
    return DNS_OK;
}

struct log {
    size_t n_lines, n_reports, last_done;
    char line[1024];
};

static void note(void *payload, dns_message_level level, const char *line)
{
    struct log *log = payload;
    log->n_lines++;
    snprintf(log->line, sizeof log->line, "%s", line);
}

static void count_report(void *payload, size_t done, size_t total, const char *unit)
{
    struct log *log = payload;
    log->n_reports++;
    log->last_done = done;
    assert_int_equal(total, 4);
}

static void the_same_for_any_number_of_threads(void **state)
{
    dns_whitening *results[2];
    for (size_t i = 0; i < 2; i++) {
        dns_pool *pool = NULL;
        struct log log = {0};
        atomic_size_t n_copies = 0;
        const dns_logger logger = {&log, note};
        const dns_progress progress = {&log, count_report};
        dns_whitening_training_facts facts;
        dns_whitening_training_options o = options();
        o.edit = darken;
        o.payload = &n_copies;
        o.logger = &logger;
        o.progress = &progress;
        if (i == 1)
            assert_ok(dns_pool_create(&pool, 3));
        assert_ok(dns_whitening_train(&results[i], &facts, extractor, paths(), 4, &o, pool));
        dns_pool_free(pool);
        assert_int_equal(facts.n_videos, 3);
        assert_int_equal(facts.n_skipped, 1);
        assert_int_equal(facts.n_frames, 3 * FRAMES);
        assert_int_equal(facts.n_vectors, 3 * FRAMES * 3 * DNS_REGIONS);
        assert_int_equal(n_copies, 3 * FRAMES * 2);
        assert_int_equal(log.n_lines, 1);
        assert_non_null(strstr(log.line, "ATTRIBUTION.md"));
        assert_true(log.n_reports >= 1 && log.last_done == 4);
    }
    assert_int_equal(dns_whitening_out_dim(results[0]), OUT);
    size_t n = dns_whitening_in_dim(results[0]);
    assert_memory_equal(dns_whitening_mean(results[0]), dns_whitening_mean(results[1]),
                        n * sizeof(float));
    assert_memory_equal(dns_whitening_matrix(results[0]), dns_whitening_matrix(results[1]),
                        n * OUT * sizeof(float));
    memcpy(mean_of_seed_1, dns_whitening_mean(results[0]), sizeof mean_of_seed_1);
    dns_whitening_free(results[0]);
    dns_whitening_free(results[1]);
}

static void the_seed_chooses_the_frames(void **state)
{
    dns_whitening *whitening;
    dns_whitening_training_facts facts;
    dns_whitening_training_options o = options();
    o.seed = 5;
    o.edit = darken;
    assert_ok(dns_whitening_train(&whitening, &facts, extractor, paths(), 4, &o, NULL));
    assert_memory_not_equal(dns_whitening_mean(whitening), mean_of_seed_1, sizeof mean_of_seed_1);
    dns_whitening_free(whitening);
}

static dns_status refuse(void *payload, uint8_t *frame, size_t size, dns_random *random)
{
    return dns_status_set(DNS_ERR_UNSUPPORTED, "no edit");
}

static void failures_are_reported(void **state)
{
    dns_whitening *whitening;
    dns_whitening_training_facts facts;
    dns_whitening_training_options o = options();
    o.out_dim = FRAMES * DNS_REGIONS;
    assert_status(dns_whitening_train(&whitening, &facts, extractor, paths(), 1, &o, NULL),
                  DNS_ERR_LIMIT);
    assert_null(whitening);
    o = options();
    o.edit = refuse;
    assert_status(dns_whitening_train(&whitening, &facts, extractor, paths(), 1, &o, NULL),
                  DNS_ERR_UNSUPPORTED);
    o = options();
    o.media.size = 112;
    assert_status(dns_whitening_train(&whitening, &facts, extractor, paths(), 1, &o, NULL),
                  DNS_ERR_SHAPE);
    o = options();
    o.frames_per_video = 0;
    assert_status(dns_whitening_train(&whitening, &facts, extractor, paths(), 1, &o, NULL),
                  DNS_ERR_ARG);
    dns_cancel cancel = {true};
    o = options();
    o.cancel = &cancel;
    assert_status(dns_whitening_train(&whitening, &facts, extractor, paths(), 1, &o, NULL),
                  DNS_ERR_CANCELLED);
}

static void frames_are_drawn_from_all_videos(void **state)
{
    enum { N = 7, FRAME = 224 * 224 * 3 };
    static uint8_t frames[2][N * FRAME];
    const dns_media_options media = dns_media_options_default();
    for (size_t i = 0; i < 2; i++) {
        size_t n;
        assert_ok(dns_frames_draw(frames[i], &n, N, paths(), 4, &media, 3, NULL));
        assert_int_equal(n, N);
    }
    assert_memory_equal(frames[0], frames[1], sizeof frames[0]);
    for (size_t i = 1; i < N; i++)
        assert_memory_not_equal(frames[0], frames[0] + i * FRAME, FRAME);
    dns_cancel cancel = {true};
    size_t n;
    assert_status(dns_frames_draw(frames[0], &n, N, paths(), 4, &media, 3, &cancel),
                  DNS_ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_for_any_number_of_threads),
        cmocka_unit_test(the_seed_chooses_the_frames),
        cmocka_unit_test(failures_are_reported),
        cmocka_unit_test(frames_are_drawn_from_all_videos),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
