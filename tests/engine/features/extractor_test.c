#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/extractor.h"
#include "frame_kernels.h"
#include "random_backbone.h"

enum { FRAME = 224 * 224 * 3, DIM = 2336 };

static const char *base_path(void)
{
    static char path[512];
    if (path[0] == '\0') {
        snprintf(path, sizeof path, "%s/base.safetensors", test_folder());
        random_backbone_write("efficientnet-lite0", path);
    }
    return path;
}

/* ---- kernels ---- */

static void every_form_equals_its_plain_twin(void **state)
{
    enum { SIZE = 9, MOST = 208 };
    static float map[SIZE * SIZE * MOST], pixels[2][1000];
    static uint8_t bytes[SIZE * SIZE * MOST];
    float factor[48], offset[48];
    dns_random random = dns_random_seed(3);
    const dns_frame_kernels *plain = dns_frame_kernels_at(0);
    for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
        map[i] = (float)dns_random_normal(&random);
        bytes[i] = (uint8_t)dns_random_below(&random, 256);
    }
    for (size_t i = 0; i < 48; i++) {
        factor[i] = (float)dns_random_normal(&random);
        offset[i] = (float)dns_random_normal(&random);
    }
    for (size_t form = 1; form < DNS_FRAME_KERNELS; form++) {
        const dns_frame_kernels *kernels = dns_frame_kernels_at(form);
        if (kernels == NULL)
            continue;
        static const size_t channels[] = {1, 5, 16, 64, 144, 203, 208};
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
            for (size_t window = 1; window <= 4; window++) {
                float a[MOST], b[MOST];
                uint8_t p[MOST], q[MOST];
                size_t n = channels[c], corner = 3 * n;
                plain->window_max_f32(a, map + corner, SIZE, n, window);
                kernels->window_max_f32(b, map + corner, SIZE, n, window);
                assert_memory_equal(a, b, n * sizeof *a);
                plain->window_max_u8(p, bytes + corner, SIZE, n, window);
                kernels->window_max_u8(q, bytes + corner, SIZE, n, window);
                assert_memory_equal(p, q, n);
            }
        for (size_t n = 0; n <= 1000; n += 37) {
            plain->scale_bytes(pixels[0], bytes, n, factor, offset);
            kernels->scale_bytes(pixels[1], bytes, n, factor, offset);
            test_assert_close(kernels->isa, pixels[1], pixels[0], n, 1e-4, 1e-6);
        }
    }
}

static void bytes_are_normalised_as_the_backbone_says(void **state)
{
    for (size_t b = 0; b < dns_backbone_count(); b++) {
        const dns_backbone *backbone = dns_backbone_at(b);
        uint8_t bytes[256 * 3];
        float pixels[256 * 3];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(i / 3);
        dns_frames_normalise(pixels, bytes, 256, backbone);
        for (size_t i = 0; i < sizeof bytes; i++) {
            float expected =
                (float)((bytes[i] - backbone->mean[i % 3]) / backbone->deviation[i % 3]);
            test_assert_close(backbone->name, &pixels[i], &expected, 1, 1e-6, 1e-6);
        }
    }
}

/* ---- regions ---- */

static void regions_are_the_maxima_of_their_windows(void **state)
{
    enum { SIZE = 14, CHANNELS = 20, WINDOW = 6, STRIDE = 3, OUT = 25 };
    static float values[2 * SIZE * SIZE * CHANNELS];
    static uint8_t bytes[2 * SIZE * SIZE * CHANNELS];
    float regions[DNS_REGIONS * OUT];
    dns_random random = dns_random_seed(4);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)dns_random_below(&random, 256);
        values[i] = 0.5f * (float)bytes[i];
    }
    const dns_map maps[] = {{2, SIZE, SIZE, CHANNELS, DNS_F32, 1.0f, values},
                            {2, SIZE, SIZE, CHANNELS, DNS_U8, 0.5f, bytes}};
    for (size_t m = 0; m < 2; m++)
        for (size_t index = 0; index < 2; index++) {
            assert_ok(dns_region_pool(regions, OUT, &maps[m], index, WINDOW, STRIDE));
            for (size_t r = 0; r < DNS_REGIONS; r++)
                for (size_t c = 0; c < CHANNELS; c++) {
                    float largest = -1.0f;
                    for (size_t y = r / 3 * STRIDE; y < r / 3 * STRIDE + WINDOW; y++)
                        for (size_t x = r % 3 * STRIDE; x < r % 3 * STRIDE + WINDOW; x++)
                            largest = fmaxf(largest,
                                            values[((index * SIZE + y) * SIZE + x) * CHANNELS + c]);
                    assert_true(regions[r * OUT + c] == largest);
                }
        }
    assert_status(dns_region_pool(regions, OUT, &maps[0], 2, WINDOW, STRIDE), DNS_ERR_SHAPE);
    assert_status(dns_region_pool(regions, OUT, &maps[0], 0, 7, 4), DNS_ERR_SHAPE);
    assert_status(dns_region_pool(regions, OUT, &maps[0], 0, 0, 3), DNS_ERR_SHAPE);
    dns_map bad = maps[0];
    bad.dtype = DNS_I32;
    assert_status(dns_region_pool(regions, OUT, &bad, 0, WINDOW, STRIDE), DNS_ERR_SHAPE);
}

static dns_graph *random_graph(void)
{
    const dns_backbone *backbone;
    dns_safetensors *base;
    dns_graph *graph;
    assert_ok(dns_backbone_find(&backbone, "efficientnet-lite0"));
    assert_ok(dns_safetensors_open(&base, base_path()));
    assert_ok(dns_backbone_graph(&graph, backbone, base, NULL));
    dns_safetensors_close(base);
    return graph;
}

static void a_frame_does_not_depend_on_its_neighbours(void **state)
{
    enum { N = 3 };
    static uint8_t frames[N * FRAME];
    static float regions[N * DNS_REGIONS * DIM], alone[DNS_REGIONS * DIM];
    dns_graph *graph = random_graph();
    dns_extractor *extractor;
    dns_extractor_session *session;
    random_frames(frames, N);
    assert_ok(
        dns_extractor_create(&extractor, dns_backbone_at(0), graph, 2, DNS_PRECISION_F32, NULL));
    assert_ok(dns_extractor_session_create(&session, extractor));
    assert_ok(dns_extractor_run(session, regions, frames, N));
    for (size_t i = 0; i < N; i++) {
        assert_ok(dns_extractor_run(session, alone, frames + i * FRAME, 1));
        assert_memory_equal(alone, regions + i * DNS_REGIONS * DIM, sizeof alone);
    }
    for (size_t r = 0; r < N * DNS_REGIONS; r++) {
        double square = 0.0;
        for (size_t k = 0; k < DIM; k++)
            square += (double)regions[r * DIM + k] * (double)regions[r * DIM + k];
        assert_true(fabs(square - 1.0) < 1e-5);
    }
    assert_ok(dns_extractor_run(session, regions, frames, 0));

    size_t n_steps = dns_convnet_n_steps(dns_extractor_net(extractor));
    double seconds[256] = {0};
    assert_true(n_steps <= 256);
    assert_ok(dns_extractor_profile(session, seconds, regions, frames));
    for (size_t i = 0; i < n_steps; i++)
        assert_true(seconds[i] > 0.0);
    dns_extractor_session_free(session);
    dns_extractor_free(extractor);
    dns_graph_free(graph);
}

static void graphs_without_the_taps_are_refused(void **state)
{
    dns_graph *graph;
    dns_extractor *extractor;
    assert_ok(dns_graph_create(&graph, 224, 224, 3));
    assert_status(
        dns_extractor_create(&extractor, dns_backbone_at(0), graph, 1, DNS_PRECISION_F32, NULL),
        DNS_ERR_SHAPE);
    assert_null(extractor);
    dns_graph_free(graph);
    graph = random_graph(); /* of another network */
    assert_status(
        dns_extractor_create(&extractor, dns_backbone_at(3), graph, 1, DNS_PRECISION_F32, NULL),
        DNS_ERR_SHAPE);
    dns_graph_free(graph);
}

/* ---- from a model ---- */

static dns_status open_with(const char *backbone_json, int precision, const char *path,
                            dns_precision *got)
{
    char directory[512];
    static unsigned count;
    dns_model *model;
    dns_extractor *extractor;
    snprintf(directory, sizeof directory, "%s/model%u", test_folder(), count++);
    const dns_model_edit edit = {"backbone", backbone_json, NULL, 0};
    const dns_model_edit nothing = {"description", "\"none\"", NULL, 0};
    assert_ok(dns_model_edit_apply(directory, backbone_json == NULL ? &nothing : &edit, 1));
    assert_ok(dns_model_open(&model, directory));
    dns_extractor_options options = dns_extractor_options_default();
    options.backbone_path = path;
    options.precision = precision;
    dns_status status = dns_extractor_open(&extractor, model, &options);
    assert_true((status == DNS_OK) == (extractor != NULL));
    if (extractor != NULL) {
        assert_string_equal(dns_extractor_backbone(extractor)->name, "efficientnet-lite0");
        *got = dns_extractor_precision(extractor);
    }
    dns_extractor_free(extractor);
    dns_model_close(model);
    return status;
}

static const char *section(const char *digest, const char *more)
{
    static char json[4096];
    snprintf(json, sizeof json, "{\"name\": \"efficientnet-lite0\", \"weights\": \"%s\"%s}", digest,
             more);
    return json;
}

static void a_model_opens_the_backbone_it_was_made_with(void **state)
{
    dns_safetensors *base;
    dns_digest digest;
    dns_precision got;
    char hex[33], ranges[2048] = ", \"precision\": \"int8\", \"ranges\": [1";
    assert_ok(dns_safetensors_open(&base, base_path()));
    assert_ok(dns_backbone_digest(&digest, dns_backbone_at(0), base));
    dns_safetensors_close(base);
    dns_digest_text(&digest, hex);

    assert_ok(open_with(section(hex, ""), -1, base_path(), &got));
    assert_int_equal(got, DNS_PRECISION_F32);
    assert_status(open_with(section(hex, ""), -1, "/nowhere/base.safetensors", &got),
                  DNS_ERR_NOTFOUND);
    assert_non_null(strstr(dns_status_message(), "/nowhere/base.safetensors"));
    hex[0] = hex[0] == '0' ? '1' : '0';
    assert_status(open_with(section(hex, ""), -1, base_path(), &got), DNS_ERR_MODEL);
    hex[0] = hex[0] == '0' ? '1' : '0';
    dns_digest_text(&digest, hex);
    assert_status(open_with(section("", ""), -1, base_path(), &got), DNS_ERR_FORMAT);
    assert_status(open_with("{\"name\": \"vgg\"}", -1, base_path(), &got), DNS_ERR_UNSUPPORTED);
    assert_status(open_with(NULL, -1, base_path(), &got), DNS_ERR_FORMAT);
    assert_status(open_with(section(hex, ", \"precision\": \"f8\""), -1, base_path(), &got),
                  DNS_ERR_FORMAT);

    bool has_int8 = dns_precision_available(DNS_PRECISION_INT8);
    assert_int_equal(open_with(section(hex, ", \"precision\": \"int8\""), -1, base_path(), &got),
                     has_int8 ? DNS_ERR_FORMAT : DNS_OK); /* no ranges */
    dns_graph *graph = random_graph();
    for (size_t i = 1; i < dns_graph_size(graph); i++)
        strcat(ranges, ",1");
    strcat(ranges, "]");
    dns_graph_free(graph);
    assert_ok(open_with(section(hex, ranges), -1, base_path(), &got));
    assert_int_equal(got, has_int8 ? DNS_PRECISION_INT8 : DNS_PRECISION_F32);
    assert_ok(open_with(section(hex, ranges), DNS_PRECISION_F32, base_path(), &got));
    assert_int_equal(got, DNS_PRECISION_F32);
}

static dns_status media_options(dns_media_options *options, const char *json)
{
    char directory[512];
    dns_model *model;
    snprintf(directory, sizeof directory, "%s/media", test_folder());
    const dns_model_edit edit = {"preprocessing", json, NULL, 0};
    assert_ok(dns_model_edit_apply(directory, &edit, 1));
    assert_ok(dns_model_open(&model, directory));
    dns_status status = dns_model_media_options(options, model);
    dns_model_close(model);
    return status;
}

static void preprocessing_becomes_media_options(void **state)
{
    dns_media_options options, standard = dns_media_options_default();
    assert_ok(media_options(&options, NULL));
    assert_int_equal(options.geometry, standard.geometry);
    assert_int_equal(options.short_side, standard.short_side);
    assert_ok(media_options(
        &options, "{\"sampling\": \"count\", \"geometry\": \"stretch\", \"interpolation\": "
                  "\"opencv-cubic\", \"short_side\": 300, \"size\": 240}"));
    assert_int_equal(options.sampling, DNS_SAMPLING_COUNT);
    assert_int_equal(options.geometry, DNS_GEOMETRY_STRETCH);
    assert_int_equal(options.interpolation, DNS_INTERPOLATION_OPENCV_CUBIC);
    assert_int_equal(options.short_side, 300);
    assert_int_equal(options.size, 240);
    assert_status(media_options(&options, "{\"geometry\": \"round\"}"), DNS_ERR_FORMAT);
    assert_status(media_options(&options, "{\"size\": 0}"), DNS_ERR_FORMAT);
    assert_status(media_options(&options, "{\"short_side\": 100}"), DNS_ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_equals_its_plain_twin),
        cmocka_unit_test(bytes_are_normalised_as_the_backbone_says),
        cmocka_unit_test(regions_are_the_maxima_of_their_windows),
        cmocka_unit_test(a_frame_does_not_depend_on_its_neighbours),
        cmocka_unit_test(graphs_without_the_taps_are_refused),
        cmocka_unit_test(a_model_opens_the_backbone_it_was_made_with),
        cmocka_unit_test(preprocessing_becomes_media_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
