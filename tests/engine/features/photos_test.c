/* The installed EfficientNet-Lite0 must name what is in photographs; skipped where weights or
 * photographs are absent. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/extractor.h"

enum { CLASSES = 1000, CHANNELS = 1280, EVERY = 8 };

/* ---- the classifier: mean of the head's map, one linear layer ---- */

static dns_status take_mean(void *payload, size_t tap, const dns_map *map)
{
    float *means = payload;
    if (map->channels != CHANNELS)
        return DNS_OK;
    const float *values = map->data;
    memset(means, 0, CHANNELS * sizeof *means);
    for (size_t i = 0; i < map->height * map->width; i++)
        for (size_t c = 0; c < CHANNELS; c++)
            means[c] += values[i * CHANNELS + c] / (float)(map->height * map->width);
    return DNS_OK;
}

/* How many classes score higher than `label`. */
static size_t rank_of(size_t label, const float *means, const float *weights, const float *bias)
{
    float scores[CLASSES];
    size_t rank = 0;
    for (size_t k = 0; k < CLASSES; k++) {
        scores[k] = bias[k];
        for (size_t c = 0; c < CHANNELS; c++)
            scores[k] += weights[k * CHANNELS + c] * means[c];
    }
    for (size_t k = 0; k < CLASSES; k++)
        rank += scores[k] > scores[label];
    return rank;
}

/* ---- photographs: i_<wordnet id>.jpg, one a class, classes in the order of the ids, nine of them
 * absent ---- */

static const char *const absent[] = {"i_n01748264", "i_n01798484", "i_n01882714",
                                     "i_n02364673", "i_n02692877", "i_n02992529",
                                     "i_n03781244", "i_n04238763", "i_n04332243"};

enum { N_ABSENT = sizeof absent / sizeof *absent, N_PHOTOS = CLASSES - N_ABSENT };

static size_t label_of(size_t photo, const char *name)
{
    size_t label = photo;
    for (size_t i = 0; i < N_ABSENT; i++)
        label += strcmp(absent[i], name) < 0;
    return label;
}

static int is_photo(const struct dirent *entry)
{
    return strncmp(entry->d_name, "i_n", 3) == 0;
}

static void classify(size_t n_right[2], const char *folder, struct dirent **photos,
                     dns_convnet_session *session, const dns_backbone *backbone,
                     const float *weights, const float *bias)
{
    for (size_t i = 0; i < N_PHOTOS; i += EVERY) {
        char path[8192];
        float means[CHANNELS];
        dns_media *media;
        dns_frame frame;
        size_t label = label_of(i, photos[i]->d_name);
        assert_true(snprintf(path, sizeof path, "%s/%s", folder, photos[i]->d_name) > 0);
        assert_ok(dns_media_open(&media, path, NULL));
        assert_ok(dns_media_next(media, &frame));
        dns_frames_normalise(dns_convnet_session_input(session), frame.pixels,
                             frame.width * frame.height, backbone);
        assert_ok(dns_convnet_run(session, take_mean, means, NULL));
        size_t rank = rank_of(label, means, weights, bias);
        n_right[0] += rank < 1;
        n_right[1] += rank < 5;
        dns_media_close(media);
    }
}

static void photographs_are_named(void **state)
{
    char folder[4096], *weights_path;
    struct dirent **photos;
    const dns_backbone *backbone;
    dns_safetensors *base;
    dns_graph *graph;
    dns_convnet *net;
    dns_convnet_session *session;
    const float *weights, *bias;
    size_t shape[2] = {CLASSES, CHANNELS}, n_right[2] = {0, 0};
    assert_ok(dns_backbone_find(&backbone, "efficientnet-lite0"));
    if (test_shared() == NULL || dns_backbone_path(&weights_path, backbone->name) != DNS_OK)
        skip();
    bool installed = dns_safetensors_open(&base, weights_path) == DNS_OK;
    dns_free(weights_path);
    if (!installed)
        skip();
    snprintf(folder, sizeof folder, "%s/photos", test_shared());
    assert_int_equal(scandir(folder, &photos, is_photo, alphasort), N_PHOTOS);
    assert_ok(dns_safetensors_f32(&weights, base, "_fc.weight", 2, shape));
    assert_ok(dns_safetensors_f32(&bias, base, "_fc.bias", 1, shape));
    assert_ok(dns_backbone_graph(&graph, backbone, base, NULL));
    assert_ok(dns_convnet_create(&net, graph, 1, DNS_PRECISION_F32, NULL));
    assert_ok(dns_convnet_session_create(&session, net));

    classify(n_right, folder, photos, session, backbone, weights, bias);
    const size_t n = (N_PHOTOS + EVERY - 1) / EVERY;
    print_message("%zu photographs: first guess right %zu, among five %zu\n", n, n_right[0],
                  n_right[1]);
    assert_true(n_right[0] * 100 >= n * 70);
    assert_true(n_right[1] * 100 >= n * 90);

    dns_convnet_session_free(session);
    dns_convnet_free(net);
    dns_graph_free(graph);
    dns_safetensors_close(base);
    for (size_t i = 0; i < N_PHOTOS; i++)
        free(photos[i]);
    free(photos);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(photographs_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
