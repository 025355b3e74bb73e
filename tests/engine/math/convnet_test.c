#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/convnet.h"

/* ---- graphs with random weights ---- */

static const float *random_values(size_t n, double scale, uint64_t seed)
{
    static float values[1 << 20];
    dns_random random = dns_random_seed(seed);
    assert_true(n <= sizeof values / sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(scale * dns_random_normal(&random));
    return values;
}

/* Adds a convolution whose outputs are about as large as its inputs. */
static int add(dns_graph *graph, dns_layer layer)
{
    int node;
    size_t in_channels = dns_graph_layer(graph, (size_t)layer.input)->out_channels;
    size_t per_channel = in_channels / layer.groups * layer.kernel * layer.kernel;
    float bias[512];
    memcpy(bias, random_values(layer.out_channels, 0.3, 1000 + dns_graph_size(graph)),
           layer.out_channels * sizeof *bias);
    layer.kind = DNS_LAYER_CONVOLUTION;
    layer.weights = random_values(layer.out_channels * per_channel, 1.5 / sqrt((double)per_channel),
                                  dns_graph_size(graph));
    layer.bias = bias;
    assert_ok(dns_graph_add(graph, &node, &layer));
    return node;
}

static int pool(dns_graph *graph, int input)
{
    int node;
    assert_ok(dns_graph_add(graph, &node,
                            &(dns_layer){.kind = DNS_LAYER_MAX_POOL,
                                         .name = "pool",
                                         .input = input,
                                         .kernel = 3,
                                         .stride = 2,
                                         .pad_begin = 1,
                                         .pad_end = 1,
                                         .residual = DNS_NO_NODE}));
    return node;
}

/* Inverted residuals with uneven padding, as in EfficientNet; every map tapped. */
static dns_graph *mobile_graph(void)
{
    dns_graph *graph;
    assert_ok(dns_graph_create(&graph, 30, 26, 3));
    int x = add(graph, (dns_layer){.name = "stem",
                                   .input = 0,
                                   .out_channels = 32,
                                   .kernel = 3,
                                   .stride = 2,
                                   .pad_end = 1,
                                   .groups = 1,
                                   .activation = DNS_ACTIVATION_RELU6,
                                   .residual = DNS_NO_NODE});
    x = add(graph, (dns_layer){.name = "depthwise 3",
                               .input = x,
                               .out_channels = 32,
                               .kernel = 3,
                               .stride = 1,
                               .pad_begin = 1,
                               .pad_end = 1,
                               .groups = 32,
                               .activation = DNS_ACTIVATION_RELU6,
                               .residual = DNS_NO_NODE});
    int trunk = add(graph, (dns_layer){.name = "project",
                                       .input = x,
                                       .out_channels = 16,
                                       .kernel = 1,
                                       .stride = 1,
                                       .groups = 1,
                                       .residual = DNS_NO_NODE});
    for (int block = 0; block < 2; block++) {
        x = add(graph, (dns_layer){.name = "expand",
                                   .input = trunk,
                                   .out_channels = 96,
                                   .kernel = 1,
                                   .stride = 1,
                                   .groups = 1,
                                   .activation = DNS_ACTIVATION_RELU6,
                                   .residual = DNS_NO_NODE});
        x = add(graph, (dns_layer){.name = "depthwise 5",
                                   .input = x,
                                   .out_channels = 96,
                                   .kernel = 5,
                                   .stride = 1,
                                   .pad_begin = 2,
                                   .pad_end = 2,
                                   .groups = 96,
                                   .activation = DNS_ACTIVATION_RELU6,
                                   .residual = DNS_NO_NODE});
        trunk = add(graph, (dns_layer){.name = "project",
                                       .input = x,
                                       .out_channels = 16,
                                       .kernel = 1,
                                       .stride = 1,
                                       .groups = 1,
                                       .residual = trunk});
    }
    x = add(graph, (dns_layer){.name = "depthwise 5 by 2",
                               .input = x,
                               .out_channels = 96,
                               .kernel = 5,
                               .stride = 2,
                               .pad_begin = 1,
                               .pad_end = 2,
                               .groups = 96,
                               .activation = DNS_ACTIVATION_RELU6,
                               .residual = DNS_NO_NODE});
    add(graph, (dns_layer){.name = "head",
                           .input = x,
                           .out_channels = 128,
                           .kernel = 1,
                           .stride = 1,
                           .groups = 1,
                           .activation = DNS_ACTIVATION_RELU6,
                           .residual = DNS_NO_NODE});
    return graph;
}

/* Bottlenecks with a projected shortcut, as in ResNet. The block input is also read after it was a
 * residual, and is a residual twice. */
static dns_graph *residual_graph(void)
{
    dns_graph *graph;
    assert_ok(dns_graph_create(&graph, 32, 32, 3));
    int x = add(graph, (dns_layer){.name = "stem",
                                   .input = 0,
                                   .out_channels = 64,
                                   .kernel = 7,
                                   .stride = 2,
                                   .pad_begin = 3,
                                   .pad_end = 3,
                                   .groups = 1,
                                   .activation = DNS_ACTIVATION_RELU,
                                   .residual = DNS_NO_NODE});
    int trunk = pool(graph, x);
    for (int block = 0; block < 3; block++) {
        x = add(graph, (dns_layer){.name = "in",
                                   .input = trunk,
                                   .out_channels = 32,
                                   .kernel = 1,
                                   .stride = 1,
                                   .groups = 1,
                                   .activation = DNS_ACTIVATION_RELU,
                                   .residual = DNS_NO_NODE});
        x = add(graph, (dns_layer){.name = "middle",
                                   .input = x,
                                   .out_channels = 32,
                                   .kernel = 3,
                                   .stride = 1,
                                   .pad_begin = 1,
                                   .pad_end = 1,
                                   .groups = block == 1 ? 4 : 1,
                                   .activation = DNS_ACTIVATION_RELU,
                                   .residual = DNS_NO_NODE});
        int shortcut = block != 0 ? trunk
                                  : add(graph, (dns_layer){.name = "shortcut",
                                                           .input = trunk,
                                                           .out_channels = 128,
                                                           .kernel = 1,
                                                           .stride = 1,
                                                           .groups = 1,
                                                           .residual = DNS_NO_NODE});
        int next = add(graph, (dns_layer){.name = "out",
                                          .input = x,
                                          .out_channels = 128,
                                          .kernel = 1,
                                          .stride = 1,
                                          .groups = 1,
                                          .activation = DNS_ACTIVATION_RELU,
                                          .residual = shortcut});
        if (block == 2)
            add(graph, (dns_layer){.name = "old trunk again",
                                   .input = trunk,
                                   .out_channels = 128,
                                   .kernel = 1,
                                   .stride = 1,
                                   .groups = 1,
                                   .activation = DNS_ACTIVATION_RELU,
                                   .residual = trunk});
        trunk = next;
    }
    return graph;
}

static void tap_all(dns_graph *graph)
{
    for (size_t i = 1; i < dns_graph_size(graph); i++)
        assert_ok(dns_graph_tap(graph, (int)i));
}

/* ---- maps ---- */

struct maps {
    float *values[64]; /* by tap: [pictures so far][...] */
    size_t size[64];
};

static dns_status keep(void *payload, size_t tap, const dns_map *map)
{
    struct maps *maps = payload;
    size_t n = map->n * map->height * map->width * map->channels;
    float *values = realloc(maps->values[tap], (maps->size[tap] + n) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < n; i++)
        values[maps->size[tap] + i] = map->dtype == DNS_F32 ? ((const float *)map->data)[i]
                                      : map->dtype == DNS_U8
                                          ? map->scale * (float)((const uint8_t *)map->data)[i]
                                          : map->scale * (float)((const int8_t *)map->data)[i];
    maps->values[tap] = values;
    maps->size[tap] += n;
    return DNS_OK;
}

static void drop(struct maps *maps)
{
    for (size_t i = 0; i < 64; i++)
        free(maps->values[i]);
    memset(maps, 0, sizeof *maps);
}

static void run_compiled(struct maps *maps, const dns_graph *graph, const float *pictures, size_t n,
                         size_t batch, dns_precision precision, const float *ranges)
{
    dns_convnet *net;
    dns_convnet_session *session;
    const dns_layer *picture = dns_graph_layer(graph, 0);
    size_t size = picture->height * picture->width * picture->out_channels * batch;
    assert_ok(dns_convnet_create(&net, graph, batch, precision, ranges));
    assert_int_equal(dns_convnet_batch(net), batch);
    assert_ok(dns_convnet_session_create(&session, net));
    for (size_t i = 0; i < n / batch; i++) {
        memcpy(dns_convnet_session_input(session), pictures + i * size, size * sizeof *pictures);
        assert_ok(dns_convnet_run(session, keep, maps, NULL));
    }
    dns_convnet_session_free(session);
    dns_convnet_free(net);
}

static float *random_pictures(const dns_graph *graph, size_t n)
{
    const dns_layer *picture = dns_graph_layer(graph, 0);
    size_t size = n * picture->height * picture->width * picture->out_channels;
    float *pictures;
    assert_ok(dns_alloc(&pictures, size, sizeof *pictures));
    memcpy(pictures, random_values(size, 0.6, 99), size * sizeof *pictures);
    return pictures;
}

static void compare_f32(dns_graph *graph)
{
    enum { N = 4 };
    struct maps plain = {0}, fast = {0};
    tap_all(graph);
    float *pictures = random_pictures(graph, N);
    assert_ok(dns_graph_run_plain(graph, pictures, N, keep, &plain));
    for (size_t batch = 1; batch <= N; batch *= 2) {
        run_compiled(&fast, graph, pictures, N, batch, DNS_PRECISION_F32, NULL);
        for (size_t tap = 0; tap < dns_graph_n_taps(graph); tap++) {
            assert_int_equal(fast.size[tap], plain.size[tap]);
            test_assert_close(dns_graph_layer(graph, tap + 1)->name, fast.values[tap],
                              plain.values[tap], plain.size[tap], 2e-5, 2e-5);
        }
        drop(&fast);
    }
    drop(&plain);
    dns_free(pictures);
    dns_graph_free(graph);
}

static void compiled_f32_equals_the_plain_form(void **state)
{
    compare_f32(mobile_graph());
    compare_f32(residual_graph());
}

/* Relative error of the whole map. */
static double relative_error(const float *a, const float *b, size_t n)
{
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

static void compare_int8(dns_graph *graph)
{
    enum { N = 4 };
    struct maps plain = {0}, fast = {0};
    float ranges[64];
    tap_all(graph);
    float *pictures = random_pictures(graph, N);
    assert_ok(dns_graph_run_plain(graph, pictures, N, keep, &plain));
    assert_ok(dns_graph_calibrate(ranges, graph, pictures, N));
    run_compiled(&fast, graph, pictures, N, 2, DNS_PRECISION_INT8, ranges);
    for (size_t tap = 0; tap < dns_graph_n_taps(graph); tap++) {
        assert_int_equal(fast.size[tap], plain.size[tap]);
        double error = relative_error(fast.values[tap], plain.values[tap], plain.size[tap]);
        if (!(error < 0.06))
            fail_msg("layer '%s': relative error %.4f", dns_graph_layer(graph, tap + 1)->name,
                     error);
    }
    drop(&fast);
    drop(&plain);
    dns_free(pictures);
    dns_graph_free(graph);
}

static void compiled_int8_is_near_the_plain_form(void **state)
{
    if (!dns_precision_available(DNS_PRECISION_INT8))
        skip();
    compare_int8(mobile_graph());
    compare_int8(residual_graph());
}

static void calibration_is_the_mean_of_the_largest_magnitudes(void **state)
{
    enum { N = 3 };
    dns_graph *graph = mobile_graph();
    struct maps plain = {0};
    float ranges[64];
    tap_all(graph);
    float *pictures = random_pictures(graph, N);
    assert_ok(dns_graph_run_plain(graph, pictures, N, keep, &plain));
    assert_ok(dns_graph_calibrate(ranges, graph, pictures, N));
    for (size_t tap = 0; tap < dns_graph_n_taps(graph); tap++) {
        size_t size = plain.size[tap] / N;
        float mean = 0.0f;
        for (size_t p = 0; p < N; p++) {
            float largest = 0.0f;
            for (size_t i = 0; i < size; i++)
                largest = fmaxf(largest, fabsf(plain.values[tap][p * size + i]));
            mean += largest / N;
        }
        test_assert_close("range", &ranges[tap + 1], &mean, 1, 1e-5, 1e-5);
    }
    assert_status(dns_graph_calibrate(ranges, graph, pictures, 0), DNS_ERR_ARG);
    drop(&plain);
    dns_free(pictures);
    dns_graph_free(graph);
}

static dns_status stop(void *payload, size_t tap, const dns_map *map)
{
    return dns_status_set(DNS_ERR_CANCELLED, "tap %zu", tap);
}

static void no_step_runs_reference_code(void **state)
{
    dns_graph *graphs[] = {mobile_graph(), residual_graph()};
    for (size_t g = 0; g < 2; g++) {
        dns_convnet *net;
        double total = 0.0, expected = 0.0;
        assert_ok(dns_convnet_create(&net, graphs[g], 2, DNS_PRECISION_F32, NULL));
        for (size_t i = 0; i < dns_convnet_n_steps(net); i++) {
            dns_convnet_step step = dns_convnet_step_at(net, i);
            assert_int_not_equal(strncmp(step.implementation, "ref", 3), 0);
            total += step.multiply_adds;
        }
        for (size_t i = 0; i < dns_graph_size(graphs[g]); i++)
            expected += 2.0 * dns_graph_cost(graphs[g], i);
        assert_true(expected > 0.0 && total == expected);
        dns_convnet_free(net);
        dns_graph_free(graphs[g]);
    }
}

static void a_failing_sink_ends_the_run(void **state)
{
    dns_graph *graph = mobile_graph();
    dns_convnet *net;
    dns_convnet_session *session;
    double seconds[64] = {0};
    assert_ok(dns_graph_tap(graph, 3));
    float *pictures = random_pictures(graph, 1);
    assert_status(dns_graph_run_plain(graph, pictures, 1, stop, NULL), DNS_ERR_CANCELLED);
    assert_ok(dns_convnet_create(&net, graph, 1, DNS_PRECISION_F32, NULL));
    assert_ok(dns_convnet_session_create(&session, net));
    assert_status(dns_convnet_run(session, stop, NULL, seconds), DNS_ERR_CANCELLED);
    assert_ok(dns_convnet_run(session, NULL, NULL, seconds));
    assert_true(seconds[0] > 0.0);
    dns_convnet_session_free(session);
    dns_convnet_free(net);
    dns_free(pictures);
    dns_graph_free(graph);
}

static void taps_are_numbered_in_the_order_of_the_nodes(void **state)
{
    dns_graph *graph = mobile_graph();
    assert_ok(dns_graph_tap(graph, 5));
    assert_ok(dns_graph_tap(graph, 2));
    assert_ok(dns_graph_tap(graph, 5));
    assert_int_equal(dns_graph_n_taps(graph), 2);
    assert_int_equal(dns_graph_layer(graph, 2)->tap, 0);
    assert_int_equal(dns_graph_layer(graph, 5)->tap, 1);
    assert_int_equal(dns_graph_find(graph, "stem"), 1);
    assert_int_equal(dns_graph_find(graph, "no such layer"), DNS_NO_NODE);
    assert_null(dns_graph_layer(graph, dns_graph_size(graph)));
    assert_status(dns_graph_tap(graph, 0), DNS_ERR_ARG);
    assert_status(dns_graph_tap(graph, 100), DNS_ERR_ARG);
    dns_graph_free(graph);
}

static void what_does_not_fit_is_refused(void **state)
{
    dns_graph *graph;
    int node;
    float weights[64] = {0}, bias[8] = {0};
    assert_status(dns_graph_create(&graph, 0, 8, 3), DNS_ERR_SHAPE);
    assert_status(dns_graph_create(&graph, 8, 8, 1 << 20), DNS_ERR_SHAPE);
    assert_ok(dns_graph_create(&graph, 8, 8, 4));
    const dns_layer good = {.kind = DNS_LAYER_CONVOLUTION,
                            .name = "layer",
                            .input = 0,
                            .out_channels = 8,
                            .kernel = 1,
                            .stride = 1,
                            .groups = 1,
                            .residual = DNS_NO_NODE,
                            .weights = weights,
                            .bias = bias};
    dns_layer bad = good;
    bad.input = 1;
    assert_status(dns_graph_add(graph, &node, &bad), DNS_ERR_ARG);
    bad = good, bad.weights = NULL;
    assert_status(dns_graph_add(graph, &node, &bad), DNS_ERR_ARG);
    bad = good, bad.groups = 3;
    assert_status(dns_graph_add(graph, &node, &bad), DNS_ERR_SHAPE);
    bad = good, bad.kernel = 9;
    assert_status(dns_graph_add(graph, &node, &bad), DNS_ERR_SHAPE);
    bad = good, bad.pad_end = 1;
    assert_status(dns_graph_add(graph, &node, &bad), DNS_ERR_SHAPE);
    bad = good, bad.stride = 0;
    assert_status(dns_graph_add(graph, &node, &bad), DNS_ERR_SHAPE);
    bad = good, bad.residual = 0;
    assert_status(dns_graph_add(graph, &node, &bad), DNS_ERR_SHAPE);
    assert_int_equal(node, DNS_NO_NODE);
    bias[3] = NAN;
    assert_status(dns_graph_add(graph, &node, &good), DNS_ERR_RANGE);
    bias[3] = 0.0f;
    weights[5] = INFINITY;
    assert_status(dns_graph_add(graph, &node, &good), DNS_ERR_RANGE);
    weights[5] = 0.0f;
    assert_int_equal(dns_graph_size(graph), 1);
    assert_ok(dns_graph_add(graph, &node, &good));

    dns_convnet *net;
    const float ranges[2] = {1.0f, 0.0f};
    assert_status(dns_convnet_create(&net, graph, 0, DNS_PRECISION_F32, NULL), DNS_ERR_ARG);
    assert_status(dns_convnet_create(&net, graph, 1, DNS_PRECISION_F32, ranges), DNS_ERR_ARG);
    assert_status(dns_convnet_create(&net, graph, 1, DNS_PRECISION_INT8, NULL), DNS_ERR_ARG);
    assert_status(dns_convnet_create(&net, graph, 1, DNS_PRECISION_INT8, ranges),
                  dns_precision_available(DNS_PRECISION_INT8) ? DNS_ERR_RANGE
                                                              : DNS_ERR_UNSUPPORTED);
    assert_null(net);
    dns_graph_free(graph);
}

static void precisions_have_names(void **state)
{
    dns_precision precision;
    assert_ok(dns_precision_parse(&precision, "int8"));
    assert_int_equal(precision, DNS_PRECISION_INT8);
    assert_string_equal(dns_precision_name(DNS_PRECISION_F32), "f32");
    assert_status(dns_precision_parse(&precision, "f64"), DNS_ERR_ARG);
    assert_true(dns_precision_available(DNS_PRECISION_F32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiled_f32_equals_the_plain_form),
        cmocka_unit_test(compiled_int8_is_near_the_plain_form),
        cmocka_unit_test(calibration_is_the_mean_of_the_largest_magnitudes),
        cmocka_unit_test(no_step_runs_reference_code),
        cmocka_unit_test(a_failing_sink_ends_the_run),
        cmocka_unit_test(taps_are_numbered_in_the_order_of_the_nodes),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(precisions_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
