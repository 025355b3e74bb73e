/* What the selector promises for any sizes; agreement with the published code is `dns-eval parity`.
 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/activation.h"
#include "dnsel/losses.h"
#include "dnsel/optimiser.h"
#include "dnsel/selector_training.h"

enum { DIM = 16, REGIONS = 3, MOST = DNS_SELECTOR_CHUNK + 10 };

static const dns_selector_shape shape = {
    .dim = DIM, .hidden = 10, .channels = {4, 5, 6}, .widths = {37, 20}};

/* All tensors random, so that none hides behind its first value. */
static dns_selector *random_net(const dns_selector_shape *s, bool training)
{
    dns_selector *net;
    dns_random random = dns_random_seed(5);
    assert_ok(dns_selector_create(&net, s, training));
    dns_parameters *p = dns_selector_parameters(net);
    for (size_t i = 0; i < dns_parameters_count(p); i++) {
        dns_parameters_set_normal(p, i, 0.5, &random);
        float *w = dns_parameters_weight(p, i);
        if (strstr(dns_parameters_at(p, i)->name, "running_var") != NULL) {
            for (size_t j = 0; j < dns_parameters_at(p, i)->count; j++)
                w[j] = w[j] * w[j] + 0.1f;
        }
        if (dns_parameters_at(p, i)->kind == DNS_PARAMETER_COUNTER)
            w[0] = 7;
    }
    return net;
}

static const float *random_frames(void)
{
    static float x[MOST * REGIONS * DIM];
    dns_random random = dns_random_seed(6);
    for (size_t i = 0; i < MOST * REGIONS * DIM; i++)
        x[i] = (float)dns_random_normal(&random) * 0.3f;
    return x;
}

/* ---- scalar ---- */

/* The gate of one region vector, by its definition. */
static double gate_of(const dns_selector *net, const float *x)
{
    const dns_parameters *p = dns_selector_parameters(net);
    const float *w = dns_parameters_weight(p, dns_parameters_find(p, "attention.transform.weight"));
    const float *b = dns_parameters_weight(p, dns_parameters_find(p, "attention.transform.bias"));
    const float *u =
        dns_parameters_weight(p, dns_parameters_find(p, "attention.context_vector.weight"));
    double sum = 0;
    for (size_t i = 0; i < shape.hidden; i++) {
        double z = (double)b[i];
        for (size_t j = 0; j < DIM; j++)
            z += (double)w[i * DIM + j] * (double)x[j];
        sum += (double)u[i] * tanh(z);
    }
    return 1 / (1 + exp(-sum));
}

static void the_map_is_the_mean_of_all_products_of_regions(void **state)
{
    enum { FRAMES = 9 };
    (void)state;
    const float *x = random_frames();
    dns_selector *net = random_net(&shape, false);
    dns_selector_session *session;
    float scalar;
    size_t n;
    assert_ok(dns_selector_session_create(&session, net));
    assert_null(dns_selector_last_map(session, &n));
    assert_ok(dns_selector_scalar(session, &scalar, x, FRAMES, REGIONS));
    const float *map = dns_selector_last_map(session, &n);
    assert_int_equal(n, FRAMES);
    for (size_t i = 0; i < FRAMES; i++) {
        for (size_t j = 0; j < FRAMES; j++) {
            double sum = 0;
            for (size_t o = 0; o < REGIONS; o++) {
                for (size_t p = 0; p < REGIONS; p++) {
                    const float *a = x + (i * REGIONS + o) * DIM, *b = x + (j * REGIONS + p) * DIM;
                    double product = 0;
                    for (size_t d = 0; d < DIM; d++)
                        product += (double)a[d] * (double)b[d];
                    sum += gate_of(net, a) * gate_of(net, b) * product;
                }
            }
            assert_float_equal(map[i * FRAMES + j], sum / (REGIONS * REGIONS), 1e-6);
        }
    }
    dns_selector_session_free(session);
    dns_selector_free(net);
}

static void short_videos_are_extended(void **state)
{
    (void)state;
    const float *x = random_frames();
    static float doubled[6 * REGIONS * DIM];
    for (size_t t = 0; t < 6; t++)
        memcpy(doubled + t * REGIONS * DIM, x + t % 3 * REGIONS * DIM,
               REGIONS * DIM * sizeof(float));
    dns_selector *net = random_net(&shape, false);
    dns_selector_session *session;
    float a, b;
    size_t n;
    assert_ok(dns_selector_session_create(&session, net));
    assert_ok(dns_selector_scalar(session, &a, x, 3, REGIONS));
    assert_non_null(dns_selector_last_map(session, &n));
    assert_int_equal(n, 6);
    assert_ok(dns_selector_scalar(session, &b, doubled, 6, REGIONS));
    assert_float_equal(a, b, 1e-6);
    assert_ok(dns_selector_scalar(session, &a, x, 1, REGIONS));
    dns_selector_last_map(session, &n);
    assert_int_equal(n, 4);
    dns_selector_session_free(session);
    dns_selector_free(net);
}

static void long_videos_are_cut_into_chunks(void **state)
{
    (void)state;
    const float *x = random_frames();
    dns_selector *net = random_net(&shape, false);
    dns_selector_session *session;
    float whole, first, rest, cut;
    assert_ok(dns_selector_session_create(&session, net));
    assert_ok(dns_selector_scalar(session, &first, x, DNS_SELECTOR_CHUNK, REGIONS));
    assert_ok(
        dns_selector_scalar(session, &rest, x + DNS_SELECTOR_CHUNK * REGIONS * DIM, 10, REGIONS));
    assert_ok(dns_selector_scalar(session, &whole, x, MOST, REGIONS));
    assert_float_equal(whole, (first + rest) / 2, 1e-6);
    assert_ok(dns_selector_scalar(session, &cut, x, DNS_SELECTOR_CHUNK + 3, REGIONS));
    assert_float_equal(cut, first, 0);
    dns_selector_session_free(session);
    dns_selector_free(net);
}

static void bad_videos_are_refused(void **state)
{
    (void)state;
    static float broken[5 * REGIONS * DIM];
    memcpy(broken, random_frames(), sizeof broken);
    dns_selector *net = random_net(&shape, false);
    dns_selector_session *session;
    float scalar;
    assert_ok(dns_selector_session_create(&session, net));
    assert_status(dns_selector_scalar(session, &scalar, broken, 0, REGIONS), DNS_ERR_ARG);
    assert_string_equal(dns_status_message(), "no frames");
    broken[40] = NAN;
    assert_status(dns_selector_scalar(session, &scalar, broken, 5, REGIONS), DNS_ERR_RANGE);
    broken[40] = -INFINITY;
    assert_status(dns_selector_scalar(session, &scalar, broken, 5, REGIONS), DNS_ERR_RANGE);
    dns_selector_session_free(session);
    dns_selector_free(net);
}

/* ---- pairs ---- */

enum { N = 20000 };
static float inputs[N * 3], targets[N], coarse[N], dense[N], routed[N], again[N];

static void fill_pairs(double scale, double spread)
{
    dns_random random = dns_random_seed(9);
    for (size_t i = 0; i < N; i++) {
        targets[i] = (float)(scale * dns_random_normal(&random));
        coarse[i] = (float)(spread * (2 * dns_random_uniform(&random) - 1));
        inputs[i * 3] = 0.7f;
        inputs[i * 3 + 1] = targets[i];
        inputs[i * 3 + 2] = coarse[i];
    }
}

static void routing_agrees_with_the_whole_mlp(void **state)
{
    static const dns_selector_shape wide = {
        .dim = DIM, .hidden = 10, .channels = {4, 5, 6}, .widths = {100, 100}};
    static const dns_selector_shape *const shapes[] = {&shape, &wide};
    static const double scales[][2] = {{1, 1}, {0, 1}, {3, 0}, {0, 0}, {1e-3, 0.3}, {200, 1}};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        dns_selector *net = random_net(shapes[k], false);
        dns_selector_session *session;
        assert_ok(dns_selector_session_create(&session, net));
        for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
            fill_pairs(scales[i][0], scales[i][1]);
            assert_ok(dns_selector_confidence(session, dense, inputs, N));
            assert_ok(dns_selector_route(session, routed, 0.7f, targets, coarse, N, NULL));
            test_assert_close("routed", routed, dense, N, 2e-5, 0);
            assert_ok(dns_selector_route(session, again, 0.7f, targets, coarse, 3, NULL));
            test_assert_close("a few", again, dense, 3, 2e-5, 0);
        }
        assert_ok(dns_selector_route(session, again, 0.7f, targets, coarse, 0, NULL));
        dns_selector_session_free(session);
        dns_selector_free(net);
    }
}

static void routing_is_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    dns_selector *net = random_net(&shape, false);
    dns_selector_session *session;
    assert_ok(dns_selector_session_create(&session, net));
    fill_pairs(1, 1);
    assert_ok(dns_selector_route(session, routed, -0.2f, targets, coarse, N, NULL));
    for (size_t n = 2; n <= 3; n++) {
        dns_pool *pool;
        assert_ok(dns_pool_create(&pool, n));
        assert_ok(dns_selector_route(session, again, -0.2f, targets, coarse, N, pool));
        assert_memory_equal(routed, again, sizeof routed);
        dns_pool_free(pool);
    }
    dns_selector_session_free(session);
    dns_selector_free(net);
}

static void bad_pairs_are_refused(void **state)
{
    (void)state;
    dns_selector *net = random_net(&shape, false);
    dns_selector_session *session;
    const float bad[] = {0, NAN, 0}, good[] = {0, 0, 0};
    float p[3];
    assert_ok(dns_selector_session_create(&session, net));
    assert_status(dns_selector_confidence(session, p, bad, 1), DNS_ERR_RANGE);
    assert_status(dns_selector_route(session, p, NAN, good, good, 3, NULL), DNS_ERR_RANGE);
    assert_status(dns_selector_route(session, p, 0, bad, good, 3, NULL), DNS_ERR_RANGE);
    assert_status(dns_selector_route(session, p, 0, good, bad, 3, NULL), DNS_ERR_RANGE);
#if SIZE_MAX > UINT32_MAX
    assert_status(dns_selector_route(session, p, 0, good, good, (size_t)UINT32_MAX + 1, NULL),
                  DNS_ERR_LIMIT);
#endif
    dns_selector_session_free(session);
    dns_selector_free(net);
}

/* ---- files ---- */

static void saved_selectors_load_again(void **state)
{
    (void)state;
    char path[256], directory[256];
    dns_selector *net = random_net(&shape, false), *loaded;
    dns_parameters *p = dns_selector_parameters(net);
    dns_safetensors *file;
    snprintf(path, sizeof path, "%s/selector.safetensors", test_folder());
    assert_ok(dns_parameters_save(p, path, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    assert_int_equal(dns_safetensors_find(file, "mlp.model.5.num_batches_tracked")->dtype, DNS_I64);
    assert_ok(dns_selector_load(&loaded, file, "", false));
    assert_memory_equal(dns_selector_shape_of(loaded), &shape, sizeof shape);
    assert_memory_equal(dns_parameters_block(dns_selector_parameters(loaded), DNS_WEIGHTS),
                        dns_parameters_block(p, DNS_WEIGHTS),
                        dns_parameters_size(p) * sizeof(float));
    dns_selector_free(loaded);
    assert_status(dns_selector_load(&loaded, file, "other.", false), DNS_ERR_NOTFOUND);
    assert_null(loaded);

    /* The same through a model. */
    dns_named_tensor tensors[64];
    dns_model *model;
    for (size_t i = 0; i < dns_safetensors_count(file); i++)
        tensors[i] =
            (dns_named_tensor){dns_safetensors_name(file, i), *dns_safetensors_at(file, i)};
    dns_model_edit edit = {"selector", "{}", tensors, dns_safetensors_count(file)};
    snprintf(directory, sizeof directory, "%s/model", test_folder());
    assert_ok(dns_model_edit_apply(directory, &edit, 1));
    assert_ok(dns_model_open(&model, directory));
    assert_ok(dns_selector_from_model(&loaded, model));
    assert_memory_equal(dns_selector_shape_of(loaded), &shape, sizeof shape);
    dns_selector_free(loaded);
    dns_model_close(model);
    edit = (dns_model_edit){.section = "selector"};
    assert_ok(dns_model_edit_apply(directory, &edit, 1));
    assert_ok(dns_model_open(&model, directory));
    assert_status(dns_selector_from_model(&loaded, model), DNS_ERR_UNSUPPORTED);
    dns_model_close(model);
    dns_safetensors_close(file);

    /* A variance below zero has no root. */
    dns_parameters_weight(p, dns_parameters_find(p, "mlp.model.1.running_var"))[3] = -1;
    assert_ok(dns_parameters_save(p, path, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    assert_status(dns_selector_load(&loaded, file, "", false), DNS_ERR_RANGE);
    dns_safetensors_close(file);
    dns_selector_free(net);
    dns_selector_shape none = shape;
    none.widths[1] = 0;
    assert_status(dns_selector_create(&net, &none, false), DNS_ERR_ARG);
}

/* ---- training ---- */

enum { VIDEOS = 6, PAIRS = 8 };
static const dns_selector_pair pairs[PAIRS] = {{0, 1}, {1, 2}, {2, 3}, {3, 4},
                                               {4, 5}, {5, 0}, {2, 2}, {0, 3}};
static const float pair_coarse[PAIRS] = {0.3f, 0.9f, -0.2f, 0.5f, 0.1f, 0.8f, 1, 0.4f};
static const float labels[PAIRS] = {1, 0, 0, 1, 1, 0, 0, 1};
static const float scalars[VIDEOS] = {0.1f, -0.4f, 0.9f, 0.3f, -0.8f, 0.5f};

static void fill_videos(dns_selector_video *videos)
{
    static const size_t lengths[VIDEOS] = {4, 7, 8, 9, 12, 5};
    for (size_t v = 0; v < VIDEOS; v++)
        videos[v] = (dns_selector_video){random_frames() + v * 100, lengths[v]};
}

static double training_loss(dns_selector_trainer *t, const dns_selector_batch *batch,
                            float *dlogits)
{
    float logits[PAIRS];
    assert_ok(dns_selector_forward(t, logits, batch));
    return dns_loss_cross_entropy(dlogits, logits, labels, PAIRS);
}

/* Along the gradient of each tensor in turn the loss grows as fast as the gradient is long. */
static void gradients_point_uphill(void **state)
{
    dns_selector_video videos[VIDEOS];
    const dns_dropout dropout = {0.3, dns_dropout_key(1, 1, 1)};
    (void)state;
    fill_videos(videos);
    for (size_t round = 0; round < 4; round++) { /* in use, padded, with dropout, MLP alone */
        dns_selector *net = random_net(&shape, true);
        dns_parameters *p = dns_selector_parameters(net);
        dns_selector_trainer *t;
        dns_selector_batch batch = {.videos = round < 3 ? videos : NULL,
                                    .scalars = scalars,
                                    .n_videos = VIDEOS,
                                    .n_regions = REGIONS,
                                    .padded_frames = round == 1 ? 13 : 0,
                                    .pairs = pairs,
                                    .coarse = pair_coarse,
                                    .n_pairs = PAIRS,
                                    .dropout = round == 2 ? &dropout : NULL};
        float dlogits[PAIRS];
        assert_ok(dns_selector_trainer_create(&t, net, NULL));
        dns_parameters_zero_gradients(p);
        training_loss(t, &batch, dlogits);
        assert_ok(dns_selector_backward(t, &batch, dlogits));
        for (size_t i = 0; i < dns_parameters_count(p); i++) {
            const dns_parameter *tensor = dns_parameters_at(p, i);
            float *w = dns_parameters_weight(p, i), kept[40 * 40], ignored[PAIRS];
            const float *g = dns_parameters_gradient(p, i);
            double squares = 0, sides[2];
            if (tensor->kind != DNS_PARAMETER_TRAINED)
                continue;
            for (size_t j = 0; j < tensor->count; j++)
                squares += (double)g[j] * (double)g[j];
            /* Batch norm takes any shift of the scalars out again. */
            if (strcmp(tensor->name, "visil_head.fconv.bias") == 0 ||
                (round == 3 && strstr(tensor->name, "mlp") == NULL)) {
                assert_true(sqrt(squares) < 1e-5);
                continue;
            }
            assert_true(squares > 0);
            memcpy(kept, w, tensor->count * sizeof *w);
            for (int side = 0; side < 2; side++) {
                double step = (side == 0 ? 2e-3 : -2e-3) / sqrt(squares);
                for (size_t j = 0; j < tensor->count; j++)
                    w[j] = (float)((double)kept[j] + step * (double)g[j]);
                sides[side] = training_loss(t, &batch, ignored);
            }
            memcpy(w, kept, tensor->count * sizeof *w);
            double slope = (sides[0] - sides[1]) / 4e-3;
            if (!(fabs(slope - sqrt(squares)) < 0.03 * sqrt(squares) + 2e-4))
                fail_msg("round %zu, %s: slope %g, gradient %g", round, tensor->name, slope,
                         sqrt(squares));
        }
        dns_selector_trainer_free(t);
        dns_selector_free(net);
    }
}

static void training_is_the_same_for_any_number_of_threads(void **state)
{
    dns_selector_video videos[VIDEOS];
    dns_selector *nets[3];
    (void)state;
    fill_videos(videos);
    const dns_selector_batch batch = {.videos = videos,
                                      .n_videos = VIDEOS,
                                      .n_regions = REGIONS,
                                      .pairs = pairs,
                                      .coarse = pair_coarse,
                                      .n_pairs = PAIRS};
    for (size_t n = 0; n < 3; n++) {
        dns_pool *pool;
        dns_selector_trainer *t;
        float dlogits[PAIRS];
        assert_ok(dns_pool_create(&pool, n + 1));
        nets[n] = random_net(&shape, true);
        assert_ok(dns_selector_trainer_create(&t, nets[n], pool));
        training_loss(t, &batch, dlogits);
        assert_ok(dns_selector_backward(t, &batch, dlogits));
        const dns_parameters *p = dns_selector_parameters(nets[n]),
                             *first = dns_selector_parameters(nets[0]);
        assert_memory_equal(dns_parameters_block(first, DNS_GRADIENTS),
                            dns_parameters_block(p, DNS_GRADIENTS),
                            dns_parameters_size(p) * sizeof(float));
        dns_selector_trainer_free(t);
        dns_pool_free(pool);
    }
    for (size_t n = 0; n < 3; n++)
        dns_selector_free(nets[n]);
}

static void training_learns_and_the_running_statistics_follow(void **state)
{
    enum { MANY = 256 };
    static float many_scalars[MANY], many_coarse[MANY], many_labels[MANY], logits[MANY],
        dlogits[MANY];
    static dns_selector_pair many_pairs[MANY];
    (void)state;
    dns_random random = dns_random_seed(11);
    for (size_t i = 0; i < MANY; i++) {
        many_scalars[i] = (float)dns_random_normal(&random);
        many_coarse[i] = (float)dns_random_uniform(&random);
        many_pairs[i] = (dns_selector_pair){i, (i * 7 + 1) % MANY};
    }
    for (size_t i = 0; i < MANY; i++)
        many_labels[i] = many_scalars[many_pairs[i].target] > 0.5f * many_scalars[i];
    const dns_selector_batch batch = {.scalars = many_scalars,
                                      .n_videos = MANY,
                                      .pairs = many_pairs,
                                      .coarse = many_coarse,
                                      .n_pairs = MANY};
    dns_selector *net;
    dns_selector_trainer *t;
    dns_selector_session *session;
    assert_ok(dns_selector_create(&net, &shape, true));
    dns_selector_initialise(net, &random);
    dns_parameters *p = dns_selector_parameters(net);
    assert_ok(dns_selector_trainer_create(&t, net, NULL));
    const dns_adam adam = DNS_ADAM_INIT;
    double loss = 0;
    for (size_t step = 1; step <= 150; step++) {
        assert_ok(dns_selector_forward(t, logits, &batch));
        loss = dns_loss_cross_entropy(dlogits, logits, many_labels, MANY);
        dns_parameters_zero_gradients(p);
        assert_ok(dns_selector_backward(t, &batch, dlogits));
        assert_ok(dns_adam_step(p, &adam, 3e-3, step, NULL));
    }
    assert_true(loss < 0.1);
    assert_true(dns_parameters_weight(
                    p, dns_parameters_find(p, "mlp.model.1.num_batches_tracked"))[0] == 150);
    /* In use, with the running statistics, it answers as it did in training. */
    size_t n_right = 0;
    assert_ok(dns_selector_session_create(&session, net));
    for (size_t i = 0; i < MANY; i++) {
        const float row[] = {many_scalars[many_pairs[i].query], many_scalars[many_pairs[i].target],
                             many_coarse[i]};
        float confidence;
        assert_ok(dns_selector_confidence(session, &confidence, row, 1));
        n_right += (confidence > 0.5f) == (many_labels[i] > 0.5f);
    }
    assert_true(n_right > MANY * 95 / 100);
    dns_selector_session_free(session);
    dns_selector_trainer_free(t);
    dns_selector_free(net);
}

static void bad_batches_are_refused(void **state)
{
    dns_selector_video videos[VIDEOS];
    float logits[PAIRS];
    (void)state;
    fill_videos(videos);
    dns_selector *net = random_net(&shape, false);
    dns_selector_trainer *t;
    assert_status(dns_selector_trainer_create(&t, net, NULL), DNS_ERR_ARG);
    dns_selector_free(net);
    net = random_net(&shape, true);
    assert_ok(dns_selector_trainer_create(&t, net, NULL));
    const dns_selector_batch good = {.videos = videos,
                                     .n_videos = VIDEOS,
                                     .n_regions = REGIONS,
                                     .pairs = pairs,
                                     .coarse = pair_coarse,
                                     .n_pairs = PAIRS};
    dns_selector_batch b = good;
    b.n_pairs = 1;
    assert_status(dns_selector_forward(t, logits, &b), DNS_ERR_ARG);
    b = good;
    b.n_videos = 5;
    assert_status(dns_selector_forward(t, logits, &b), DNS_ERR_ARG);
    b = good;
    b.padded_frames = 11; /* one has 12 */
    assert_status(dns_selector_forward(t, logits, &b), DNS_ERR_SHAPE);
    b = good;
    videos[2].n_frames = 3;
    assert_status(dns_selector_forward(t, logits, &b), DNS_ERR_SHAPE);
    videos[2].n_frames = 0;
    assert_status(dns_selector_forward(t, logits, &b), DNS_ERR_ARG);
    const float broken[PAIRS] = {NAN};
    b = good;
    b.videos = NULL;
    b.scalars = broken;
    assert_status(dns_selector_forward(t, logits, &b), DNS_ERR_RANGE);
    b.scalars = scalars;
    b.coarse = broken;
    assert_status(dns_selector_forward(t, logits, &b), DNS_ERR_RANGE);
    dns_selector_trainer_free(t);
    dns_selector_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_is_the_mean_of_all_products_of_regions),
        cmocka_unit_test(short_videos_are_extended),
        cmocka_unit_test(long_videos_are_cut_into_chunks),
        cmocka_unit_test(bad_videos_are_refused),
        cmocka_unit_test(routing_agrees_with_the_whole_mlp),
        cmocka_unit_test(routing_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(bad_pairs_are_refused),
        cmocka_unit_test(saved_selectors_load_again),
        cmocka_unit_test(gradients_point_uphill),
        cmocka_unit_test(training_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(training_learns_and_the_running_statistics_follow),
        cmocka_unit_test(bad_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
