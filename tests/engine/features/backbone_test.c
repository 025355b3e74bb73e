#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/extractor.h"
#include "random_backbone.h"

enum { REGIONS_KEPT = 3 };

static dns_safetensors *open_random(const char *name)
{
    char path[512];
    dns_safetensors *base;
    snprintf(path, sizeof path, "%s/%s.safetensors", test_folder(), name);
    random_backbone_write(name, path);
    assert_ok(dns_safetensors_open(&base, path));
    return base;
}

static void extract(float *regions, const dns_backbone *backbone, const dns_graph *graph,
                    dns_precision precision, const float *ranges, const uint8_t *frames, size_t n)
{
    dns_extractor *extractor;
    dns_extractor_session *session;
    assert_ok(dns_extractor_create(&extractor, backbone, graph, 0, precision, ranges));
    assert_ok(dns_extractor_session_create(&session, extractor));
    assert_ok(dns_extractor_run(session, regions, frames, n));
    dns_extractor_session_free(session);
    dns_extractor_free(extractor);
}

/* Regions 0, 4 and 8 of the first random frame, as PyTorch computes them. */
static void expected_regions(float *regions, const dns_backbone *backbone)
{
    char name[96], path[4096];
    dns_safetensors *file;
    const float *values;
    size_t shape[3] = {1, REGIONS_KEPT, backbone->region_dim};
    snprintf(name, sizeof name, "features/%s.regions.safetensors", backbone->name);
    test_data_path(path, sizeof path, name);
    assert_ok(dns_safetensors_open(&file, path));
    assert_ok(dns_safetensors_f32(&values, file, "regions", 3, shape));
    memcpy(regions, values, REGIONS_KEPT * backbone->region_dim * sizeof *values);
    dns_safetensors_close(file);
}

static double cosine(const float *a, const float *b, size_t n)
{
    double product = 0.0, a2 = 0.0, b2 = 0.0;
    for (size_t i = 0; i < n; i++) {
        product += (double)a[i] * (double)b[i];
        a2 += (double)a[i] * (double)a[i];
        b2 += (double)b[i] * (double)b[i];
    }
    return product / sqrt(a2 * b2);
}

static void compare_with_pytorch(const char *name)
{
    static const size_t kept[REGIONS_KEPT] = {0, 4, 8};
    static uint8_t frame[224 * 224 * 3];
    static float pixels[224 * 224 * 3], expected[REGIONS_KEPT * 3840], regions[DNS_REGIONS * 3840];
    float ranges[256];
    const dns_backbone *backbone;
    dns_graph *graph;
    assert_ok(dns_backbone_find(&backbone, name));
    dns_safetensors *base = open_random(name);
    assert_ok(dns_backbone_graph(&graph, backbone, base, NULL));
    random_frames(frame, 1);
    expected_regions(expected, backbone);
    size_t dim = backbone->region_dim;
    extract(regions, backbone, graph, DNS_PRECISION_F32, NULL, frame, 1);
    for (size_t i = 0; i < REGIONS_KEPT; i++)
        test_assert_close(name, regions + kept[i] * dim, expected + i * dim, dim, 2e-6, 2e-5);

    if (dns_precision_available(DNS_PRECISION_INT8)) {
        dns_frames_normalise(pixels, frame, (size_t)224 * 224, backbone);
        assert_ok(dns_graph_calibrate(ranges, graph, pixels, 1));
        extract(regions, backbone, graph, DNS_PRECISION_INT8, ranges, frame, 1);
        for (size_t i = 0; i < REGIONS_KEPT; i++)
            assert_true(cosine(regions + kept[i] * dim, expected + i * dim, dim) > 0.995);
    }
    dns_graph_free(graph);
    dns_safetensors_close(base);
}

static void resnet50_computes_what_pytorch_computes(void **state)
{
    compare_with_pytorch("resnet50");
}

static void lite0_computes_what_pytorch_computes(void **state)
{
    compare_with_pytorch("efficientnet-lite0");
}

static void lite2_computes_what_pytorch_computes(void **state)
{
    compare_with_pytorch("efficientnet-lite2");
}

static void registered_taps_add_up(void **state)
{
    assert_true(dns_backbone_count() >= 4);
    assert_null(dns_backbone_at(dns_backbone_count()));
    for (size_t i = 0; i < dns_backbone_count(); i++) {
        const dns_backbone *backbone = dns_backbone_at(i), *found;
        size_t dim = 0;
        for (size_t t = 0; t < DNS_BACKBONE_TAPS; t++) {
            const dns_backbone_tap *tap = &backbone->taps[t];
            dim += tap->channels;
            assert_int_equal(tap->stride, (tap->window + 1) / 2);
            assert_true(2 * tap->stride + tap->window <= tap->size);
        }
        assert_int_equal(dim, backbone->region_dim);
        assert_ok(dns_backbone_find(&found, backbone->name));
        assert_ptr_equal(found, backbone);
    }
    const dns_backbone *none;
    assert_status(dns_backbone_find(&none, "resnet51"), DNS_ERR_UNSUPPORTED);
    assert_non_null(strstr(dns_status_message(), "efficientnet-lite0, "));
    assert_null(none);
}

static void paths_follow_the_environment(void **state)
{
    char *path;
    assert_int_equal(setenv("HOME", "/home/someone", 1), 0);
    assert_int_equal(unsetenv("XDG_CACHE_HOME"), 0);
    assert_int_equal(unsetenv("DNS_BACKBONES"), 0);
    assert_int_equal(unsetenv("DNS_CACHE"), 0);
    assert_ok(dns_backbone_path(&path, "resnet50"));
    assert_string_equal(path, "/home/someone/.cache/dnsel/backbones/resnet50.safetensors");
    dns_free(path);
    assert_int_equal(setenv("XDG_CACHE_HOME", "/var/cache", 1), 0);
    assert_ok(dns_backbone_path(&path, "resnet50"));
    assert_string_equal(path, "/var/cache/dnsel/backbones/resnet50.safetensors");
    dns_free(path);
    assert_int_equal(setenv("DNS_CACHE", "/srv/dnsel", 1), 0);
    assert_ok(dns_backbone_path(&path, "resnet50"));
    assert_string_equal(path, "/srv/dnsel/backbones/resnet50.safetensors");
    dns_free(path);
    assert_int_equal(setenv("DNS_BACKBONES", "/srv/weights", 1), 0);
    assert_ok(dns_backbone_path(&path, "resnet50"));
    assert_string_equal(path, "/srv/weights/resnet50.safetensors");
    dns_free(path);
    assert_int_equal(unsetenv("DNS_BACKBONES") + unsetenv("DNS_CACHE"), 0);
    assert_int_equal(unsetenv("XDG_CACHE_HOME") + unsetenv("HOME"), 0);
    assert_status(dns_backbone_path(&path, "resnet50"), DNS_ERR_NOTFOUND);
    assert_null(path);
}

/* ---- weights files with one thing changed ---- */

struct change {
    const char *name;     /* tensor that is replaced or left out */
    const dns_tensor *by; /* NULL: left out */
    const char *prefix;   /* put before every name */
    const char *added;    /* one more tensor, of no layer */
};

static dns_safetensors *open_changed(const dns_safetensors *base, const struct change *change)
{
    static char names[400][96];
    dns_named_tensor tensors[401];
    char path[512];
    dns_safetensors *file;
    size_t n = 0;
    static unsigned count;
    assert_true(dns_safetensors_count(base) <= 400);
    for (size_t i = 0; i < dns_safetensors_count(base); i++) {
        const char *name = dns_safetensors_name(base, i);
        bool changed = change->name != NULL && strcmp(name, change->name) == 0;
        if (changed && change->by == NULL)
            continue;
        snprintf(names[n], sizeof names[n], "%s%s", change->prefix ? change->prefix : "", name);
        tensors[n] =
            (dns_named_tensor){names[n], changed ? *change->by : *dns_safetensors_at(base, i)};
        n++;
    }
    static const float value;
    size_t one = 1;
    if (change->added != NULL)
        tensors[n++] = (dns_named_tensor){change->added, dns_tensor_f32(&value, 1, &one)};
    snprintf(path, sizeof path, "%s/changed.%u.safetensors", test_folder(), count++);
    assert_ok(dns_safetensors_write(path, tensors, n, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    return file;
}

static dns_digest digest_of(const dns_backbone *backbone, const dns_safetensors *base)
{
    dns_digest digest;
    assert_ok(dns_backbone_digest(&digest, backbone, base));
    return digest;
}

static void the_digest_is_that_of_the_used_tensors(void **state)
{
    const dns_backbone *backbone;
    assert_ok(dns_backbone_find(&backbone, "resnet50"));
    dns_safetensors *base = open_random("resnet50");
    dns_digest digest = digest_of(backbone, base);

    dns_safetensors *prefixed =
        open_changed(base, &(struct change){.prefix = "cnn.", .added = "pca.mean"});
    dns_digest same = digest_of(backbone, prefixed);
    assert_true(dns_digest_equal(&digest, &same));

    float bias[64];
    dns_tensor changed = *dns_safetensors_find(base, "bn1.bias");
    dns_tensor_to_f32(bias, &changed);
    bias[63] += 1e-6f;
    changed.data = bias;
    dns_safetensors *other = open_changed(base, &(struct change){"bn1.bias", &changed, NULL, NULL});
    dns_digest different = digest_of(backbone, other);
    assert_false(dns_digest_equal(&digest, &different));
    dns_safetensors_close(prefixed);
    dns_safetensors_close(other);
    dns_safetensors_close(base);
}

static dns_status graph_of(const dns_backbone *backbone, const dns_safetensors *base,
                           const struct change *change)
{
    dns_graph *graph;
    dns_safetensors *file = open_changed(base, change);
    dns_status status = dns_backbone_graph(&graph, backbone, file, NULL);
    assert_true((status == DNS_OK) == (graph != NULL));
    dns_graph_free(graph);
    dns_safetensors_close(file);
    return status;
}

static void unfit_weights_are_refused(void **state)
{
    const dns_backbone *backbone;
    assert_ok(dns_backbone_find(&backbone, "efficientnet-lite0"));
    dns_safetensors *base = open_random("efficientnet-lite0");
    const char *name = "_blocks.2._bn1.running_var";
    float values[144];
    dns_tensor tensor = *dns_safetensors_find(base, name);
    dns_tensor_to_f32(values, &tensor);
    tensor.data = values;

    assert_status(graph_of(backbone, base, &(struct change){.name = name}), DNS_ERR_NOTFOUND);
    assert_non_null(strstr(dns_status_message(), name));
    assert_status(graph_of(backbone, base, &(struct change){.name = "_conv_head.weight"}),
                  DNS_ERR_NOTFOUND);
    tensor.shape[0] = 143;
    assert_status(graph_of(backbone, base, &(struct change){.name = name, .by = &tensor}),
                  DNS_ERR_SHAPE);
    tensor.shape[0] = 144;
    values[100] = -0.5f;
    assert_status(graph_of(backbone, base, &(struct change){.name = name, .by = &tensor}),
                  DNS_ERR_RANGE);
    values[100] = NAN;
    assert_status(graph_of(backbone, base, &(struct change){.name = name, .by = &tensor}),
                  DNS_ERR_RANGE);
    values[100] = 1.0f;
    assert_ok(graph_of(backbone, base, &(struct change){.name = name, .by = &tensor}));
    dns_safetensors_close(base);
}

/* ---- a trained tail ---- */

static dns_safetensors *write_tail(const dns_layer *layer, const char *extra)
{
    char path[512], weight_name[96], bias_name[96];
    const size_t shape[] = {layer->out_channels, layer->in_channels / layer->groups, layer->kernel,
                            layer->kernel};
    size_t n = shape[0] * shape[1] * shape[2] * shape[3];
    uint16_t *halves;
    dns_safetensors *tail;
    assert_ok(dns_alloc(&halves, n, sizeof *halves));
    for (size_t i = 0; i < n; i++)
        halves[i] = dns_f16_from_f32(0.5f * layer->weights[i]);
    dns_tensor weights = dns_tensor_f32(NULL, 4, shape);
    weights.dtype = DNS_F16;
    weights.data = halves;
    dns_tensor bias = dns_tensor_f32(layer->bias, 1, shape);
    snprintf(weight_name, sizeof weight_name, "%s.weight", layer->name);
    snprintf(bias_name, sizeof bias_name, "%s.bias", layer->name);
    const dns_named_tensor tensors[] = {{weight_name, weights}, {bias_name, bias}, {extra, bias}};
    snprintf(path, sizeof path, "%s/tail.safetensors", test_folder());
    assert_ok(dns_safetensors_write(path, tensors, extra == NULL ? 2 : 3, NULL, 0));
    assert_ok(dns_safetensors_open(&tail, path));
    dns_free(halves);
    return tail;
}

static void a_tail_replaces_the_folded_layers_it_names(void **state)
{
    const dns_backbone *backbone;
    dns_graph *plain, *changed;
    assert_ok(dns_backbone_find(&backbone, "efficientnet-lite0"));
    dns_safetensors *base = open_random("efficientnet-lite0");
    assert_ok(dns_backbone_graph(&plain, backbone, base, NULL));
    const dns_layer *layer =
        dns_graph_layer(plain, (size_t)dns_graph_find(plain, "_blocks.14._depthwise_conv"));
    dns_safetensors *tail = write_tail(layer, NULL);
    assert_ok(dns_backbone_graph(&changed, backbone, base, tail));
    assert_int_equal(dns_graph_size(changed), dns_graph_size(plain));
    for (size_t i = 1; i < dns_graph_size(plain); i++) {
        const dns_layer *a = dns_graph_layer(plain, i), *b = dns_graph_layer(changed, i);
        float factor = strcmp(a->name, layer->name) == 0 ? 0.5f : 1.0f;
        size_t n = a->out_channels * (a->in_channels / a->groups) * a->kernel * a->kernel;
        for (size_t k = 0; k < n; k++)
            assert_true(fabsf(b->weights[k] - factor * a->weights[k]) <=
                        (factor < 1.0f ? 1e-3f * fabsf(a->weights[k]) + 1e-6f : 0.0f));
        assert_memory_equal(a->bias, b->bias, a->out_channels * sizeof(float));
    }
    dns_graph_free(changed);
    dns_safetensors_close(tail);
    tail = write_tail(layer, "_blocks.99._depthwise_conv.bias");
    assert_status(dns_backbone_graph(&changed, backbone, base, tail), DNS_ERR_FORMAT);
    assert_null(changed);
    dns_safetensors_close(tail);
    dns_graph_free(plain);
    dns_safetensors_close(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resnet50_computes_what_pytorch_computes),
        cmocka_unit_test(lite0_computes_what_pytorch_computes),
        cmocka_unit_test(lite2_computes_what_pytorch_computes),
        cmocka_unit_test(registered_taps_add_up),
        cmocka_unit_test(the_digest_is_that_of_the_used_tensors),
        cmocka_unit_test(unfit_weights_are_refused),
        cmocka_unit_test(a_tail_replaces_the_folded_layers_it_names),
        cmocka_unit_test(paths_follow_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
