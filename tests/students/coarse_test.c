/* What the coarse networks promise for any sizes; agreement with the published code is `dns-eval
 * parity`. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/coarse_training.h"
#include "dnsel/losses.h"
#include "dnsel/optimiser.h"

enum { DIM = 24, REGIONS = 3, OUT = 20, MOST = 700 };

static const dns_coarse_shape published = {.kind = DNS_COARSE_PUBLISHED,
                                           .dim = DIM,
                                           .out = OUT,
                                           .hidden = 10,
                                           .n_heads = 4,
                                           .feed_forward = 30,
                                           .n_clusters = 6};
static const dns_coarse_shape projected = {.dim = DIM, .out = OUT, .projection = true};
static const dns_coarse_shape plain_mean = {.dim = DIM, .out = DIM};

/* All tensors random, so that none hides behind its first value. */
static dns_coarse *random_net(const dns_coarse_shape *shape, bool training)
{
    dns_coarse *net;
    dns_random random = dns_random_seed(5);
    assert_ok(dns_coarse_create(&net, shape, training));
    dns_parameters *p = dns_coarse_parameters(net);
    for (size_t i = 0; i < dns_parameters_count(p); i++)
        dns_parameters_set_normal(p, i, 0.3, &random);
    return net;
}

static const float *random_frames(void)
{
    static float x[MOST * REGIONS * DIM];
    dns_random random = dns_random_seed(6);
    for (size_t i = 0; i < MOST * REGIONS * DIM; i++)
        x[i] = (float)dns_random_normal(&random);
    return x;
}

static void embed(float *out, const dns_coarse *net, const dns_coarse_video *videos, size_t n,
                  dns_pool *pool)
{
    dns_coarse_session *session;
    assert_ok(dns_coarse_session_create(&session, net, pool));
    assert_ok(dns_coarse_embed(session, out, videos, n, REGIONS));
    dns_coarse_session_free(session);
}

/* 150 videos of many lengths: several batches, several groups, some frames in several videos. */
enum { VIDEOS = 150 };

static void many_videos(dns_coarse_video videos[VIDEOS])
{
    const float *x = random_frames();
    dns_random random = dns_random_seed(7);
    for (size_t v = 0; v < VIDEOS; v++) {
        videos[v].n_frames = v == 70 ? MOST : 1 + dns_random_below(&random, 40);
        videos[v].x = x + dns_random_below(&random, MOST - videos[v].n_frames + 1) * REGIONS * DIM;
    }
}

static void a_batch_equals_its_videos_alone(void **state)
{
    static const dns_coarse_shape *const shapes[] = {&published, &projected, &plain_mean};
    static float together[VIDEOS * DIM];
    dns_coarse_video videos[VIDEOS];
    (void)state;
    many_videos(videos);
    for (size_t i = 0; i < 3; i++) {
        dns_coarse *net = random_net(shapes[i], false);
        size_t out = shapes[i]->out;
        embed(together, net, videos, VIDEOS, NULL);
        for (size_t v = 0; v < VIDEOS; v++) {
            float alone[DIM];
            double length = 0;
            embed(alone, net, &videos[v], 1, NULL);
            test_assert_close("embedding", together + v * out, alone, out, 2e-6, 0);
            for (size_t j = 0; j < out; j++)
                length += (double)alone[j] * (double)alone[j];
            assert_true(fabs(length - 1) < 1e-6);
        }
        dns_coarse_free(net);
    }
}

static void threads_do_not_change_a_bit(void **state)
{
    static const dns_coarse_shape *const shapes[] = {&published, &projected};
    static float alone[VIDEOS * DIM], together[VIDEOS * DIM];
    dns_coarse_video videos[VIDEOS];
    (void)state;
    many_videos(videos);
    for (size_t i = 0; i < 2; i++) {
        dns_coarse *net = random_net(shapes[i], false);
        embed(alone, net, videos, VIDEOS, NULL);
        for (size_t n = 2; n <= 4; n += 2) {
            dns_pool *pool;
            assert_ok(dns_pool_create(&pool, n));
            embed(together, net, videos, VIDEOS, pool);
            assert_memory_equal(alone, together, VIDEOS * shapes[i]->out * sizeof(float));
            embed(together, net, &videos[70], 1, pool); /* a single group is shared out within */
            embed(alone, net, &videos[70], 1, NULL);
            assert_memory_equal(alone, together, shapes[i]->out * sizeof(float));
            embed(alone, net, videos, VIDEOS, NULL);
            dns_pool_free(pool);
        }
        dns_coarse_free(net);
    }
}

static void the_order_of_frames_does_not_matter(void **state)
{
    (void)state;
    const float *x = random_frames();
    static float turned[9 * REGIONS * DIM];
    for (size_t t = 0; t < 9; t++)
        memcpy(turned + t * REGIONS * DIM, x + (t * 4 % 9) * REGIONS * DIM,
               REGIONS * DIM * sizeof(float));
    const dns_coarse_video videos[] = {{x, 9}, {turned, 9}, {x, 8}};
    float e[3 * OUT];
    dns_coarse *net = random_net(&published, false);
    embed(e, net, videos, 3, NULL);
    test_assert_close("turned", e, e + OUT, OUT, 1e-6, 0);
    double difference = 0;
    for (size_t j = 0; j < OUT; j++)
        difference += fabs((double)e[j] - (double)e[2 * OUT + j]);
    assert_true(difference > 1e-3);
    dns_coarse_free(net);
}

static void short_videos_are_extended(void **state)
{
    (void)state;
    static const size_t extended[] = {0, 4, 4, 6, 4, 5};
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(dns_coarse_extended(n), extended[n]);
    const float *x = random_frames();
    static float doubled[6 * REGIONS * DIM];
    for (size_t t = 0; t < 6; t++)
        memcpy(doubled + t * REGIONS * DIM, x + t % 3 * REGIONS * DIM,
               REGIONS * DIM * sizeof(float));
    const dns_coarse_video videos[] = {{x, 3}, {doubled, 6}};
    float e[2 * OUT];
    dns_coarse *net = random_net(&published, false);
    dns_coarse_session *session;
    assert_ok(dns_coarse_session_create(&session, net, NULL));
    assert_null(dns_coarse_last_stages(session).pooled);
    assert_ok(dns_coarse_embed(session, e, videos, 2, REGIONS));
    test_assert_close("extended", e, e + OUT, OUT, 1e-6, 0);
    dns_coarse_stages stages = dns_coarse_last_stages(session);
    assert_int_equal(stages.n_frames, 12);
    assert_memory_equal(stages.pooled, stages.pooled + 3 * DIM, 3 * DIM * sizeof(float));
    assert_memory_equal(stages.encoded, stages.encoded + 3 * DIM, DIM * sizeof(float));
    dns_coarse_session_free(session);
    dns_coarse_free(net);
}

static void a_mean_is_the_normalised_mean(void **state)
{
    (void)state;
    const float x[] = {3, 0, 1, 0, 0, 4, 0, 4}; /* 2 frames, 2 regions */
    const dns_coarse_video video = {x, 2};
    const dns_coarse_shape mean = {.dim = 2, .out = 2},
                           three = {.dim = 2, .out = 3, .projection = true};
    float e[3];
    dns_coarse *net;
    dns_coarse_session *session;
    assert_ok(dns_coarse_create(&net, &mean, false));
    assert_ok(dns_coarse_session_create(&session, net, NULL));
    assert_ok(dns_coarse_embed(session, e, &video, 1, 2));
    test_assert_close("mean", e, (float[]){0.4472136f, 0.8944272f}, 2, 1e-6, 0);
    dns_coarse_session_free(session);
    dns_coarse_free(net);
    assert_ok(dns_coarse_create(&net, &three, false));
    dns_random random = dns_random_seed(1);
    dns_coarse_initialise(net, &random); /* the identity and a row of zeros */
    assert_ok(dns_coarse_session_create(&session, net, NULL));
    assert_ok(dns_coarse_embed(session, e, &video, 1, 2));
    test_assert_close("projection", e, (float[]){0.4472136f, 0.8944272f, 0}, 3, 1e-6, 0);
    dns_coarse_session_free(session);
    dns_coarse_free(net);
}

static void bad_input_is_refused(void **state)
{
    static const dns_coarse_shape *const shapes[] = {&published, &projected};
    (void)state;
    static float broken[8 * REGIONS * DIM];
    memcpy(broken, random_frames(), sizeof broken);
    const dns_coarse_video videos[] = {{random_frames(), 5}, {broken, 8}}, none[] = {{broken, 0}};
    float e[2 * DIM];
    for (size_t i = 0; i < 2; i++) {
        dns_coarse *net = random_net(shapes[i], false);
        dns_coarse_session *session;
        assert_ok(dns_coarse_session_create(&session, net, NULL));
        assert_status(dns_coarse_embed(session, e, none, 1, REGIONS), DNS_ERR_ARG);
        assert_non_null(strstr(dns_status_message(), "no frames"));
        broken[100] = NAN;
        assert_status(dns_coarse_embed(session, e, videos, 2, REGIONS), DNS_ERR_RANGE);
        assert_non_null(strstr(dns_status_message(), "video 1"));
        broken[100] = INFINITY;
        assert_status(dns_coarse_embed(session, e, videos, 2, REGIONS), DNS_ERR_RANGE);
        broken[100] = 1;
        assert_ok(dns_coarse_embed(session, e, videos, 2, REGIONS));
        assert_ok(dns_coarse_embed(session, e, videos, 0, REGIONS));
        dns_coarse_session_free(session);
        dns_coarse_free(net);
    }
    dns_coarse *net;
    dns_coarse_shape shape = published;
    shape.n_heads = 5;
    assert_status(dns_coarse_create(&net, &shape, false), DNS_ERR_ARG);
    assert_null(net);
    shape = plain_mean;
    shape.out = 7;
    assert_status(dns_coarse_create(&net, &shape, false), DNS_ERR_ARG);
    dns_coarse_trainer *trainer;
    net = random_net(&published, false);
    assert_status(dns_coarse_trainer_create(&trainer, net, NULL), DNS_ERR_ARG);
    dns_coarse_free(net);
    net = random_net(&plain_mean, true); /* nothing to train */
    assert_status(dns_coarse_trainer_create(&trainer, net, NULL), DNS_ERR_ARG);
    dns_coarse_free(net);
}

/* ---- files ---- */

static void saved_networks_load_again(void **state)
{
    static const dns_coarse_shape *const shapes[] = {&published, &projected};
    char path[256];
    (void)state;
    const dns_coarse_video video = {random_frames(), 11};
    for (size_t i = 0; i < 2; i++) {
        dns_coarse *net = random_net(shapes[i], false), *loaded;
        dns_safetensors *file;
        float before[DIM], after[DIM];
        snprintf(path, sizeof path, "%s/%zu.safetensors", test_folder(), i);
        assert_ok(dns_parameters_save(dns_coarse_parameters(net), path, NULL, 0));
        assert_ok(dns_safetensors_open(&file, path));
        assert_ok(dns_coarse_load(&loaded, file, "", 4, false));
        assert_memory_equal(dns_coarse_shape_of(loaded), shapes[i], sizeof *shapes[i]);
        embed(before, net, &video, 1, NULL);
        embed(after, loaded, &video, 1, NULL);
        assert_memory_equal(before, after, shapes[i]->out * sizeof(float));
        dns_coarse_free(loaded);
        assert_status(dns_coarse_load(&loaded, file, "other.", 4, false), DNS_ERR_NOTFOUND);
        assert_null(loaded);
        if (shapes[i] == &published) /* 24 columns in 7 heads */
            assert_status(dns_coarse_load(&loaded, file, "", 7, false), DNS_ERR_SHAPE);
        dns_safetensors_close(file);
        dns_coarse_free(net);
    }
}

/* Writes a model whose section "coarse" is `json`, with the weights of `net` unless it is NULL, and
 * opens it. */
static dns_model *model_with(const char *json, const dns_coarse *net)
{
    static size_t number;
    char directory[256];
    dns_named_tensor tensors[32];
    size_t n = net == NULL ? 0 : dns_parameters_count(dns_coarse_parameters(net));
    for (size_t i = 0; i < n; i++) {
        const dns_parameter *t = dns_parameters_at(dns_coarse_parameters(net), i);
        const float *w = dns_parameters_weight(dns_coarse_parameters(net), i);
        tensors[i] = (dns_named_tensor){t->name, dns_tensor_f32(w, t->rank, t->shape)};
    }
    dns_model_edit edit = {"coarse", json, net == NULL ? NULL : tensors, n};
    dns_model *model;
    snprintf(directory, sizeof directory, "%s/model%zu", test_folder(), number++);
    assert_ok(dns_model_edit_apply(directory, &edit, 1));
    assert_ok(dns_model_open(&model, directory));
    return model;
}

static void models_say_which_network_it_is(void **state)
{
    (void)state;
    dns_coarse *deep = random_net(&published, false), *matrix = random_net(&projected, false), *net;
    const dns_coarse_shape *const shapes[] = {&published, &projected, &plain_mean};
    dns_model *const good[] = {model_with("{\"kind\": \"published\", \"heads\": 4}", deep),
                               model_with("{\"kind\": \"mean\"}", matrix),
                               model_with("{\"kind\": \"mean\", \"dim\": 24}", NULL)};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(dns_coarse_from_model(&net, good[i]));
        assert_memory_equal(dns_coarse_shape_of(net), shapes[i], sizeof *shapes[i]);
        dns_coarse_free(net);
        dns_model_close(good[i]);
    }
    const struct {
        dns_model *model;
        dns_status status;
    } bad[] = {
        {model_with(NULL, NULL), DNS_ERR_UNSUPPORTED},
        {model_with("{\"kind\": \"fisher\"}", deep), DNS_ERR_UNSUPPORTED},
        {model_with("{\"kind\": \"mean\"}", deep), DNS_ERR_FORMAT},
        {model_with("{\"kind\": \"published\"}", matrix), DNS_ERR_FORMAT},
        {model_with("{\"kind\": \"published\"}", NULL), DNS_ERR_FORMAT},
        {model_with("{\"kind\": \"mean\"}", NULL), DNS_ERR_FORMAT},
        {model_with("{\"kind\": \"mean\", \"dim\": -1}", NULL), DNS_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(dns_coarse_from_model(&net, bad[i].model), bad[i].status);
        assert_null(net);
        dns_model_close(bad[i].model);
    }
    dns_coarse_free(deep);
    dns_coarse_free(matrix);
}

/* ---- training ---- */

enum { BATCH = 4, PAIRS = 5 };

struct training {
    dns_coarse *net;
    dns_coarse_trainer *trainer;
    dns_coarse_batch batch;
    float embeddings[BATCH * OUT], dembeddings[BATCH * OUT], scores[PAIRS];
};

static const dns_coarse_pair pairs[PAIRS] = {{0, 1}, {0, 2}, {1, 3}, {3, 2}, {2, 2}};
static const float targets[PAIRS] = {0.9f, 0.1f, 0.5f, 0.7f, -1};

static double training_loss(struct training *t, float *dscores)
{
    assert_ok(dns_coarse_forward(t->trainer, t->embeddings, &t->batch));
    dns_coarse_scores(t->scores, t->embeddings, OUT, pairs, PAIRS);
    double loss = 0;
    for (size_t i = 0; i < PAIRS; i++) {
        double off = (double)t->scores[i] - (double)targets[i];
        dscores[i] = (float)(2 * off);
        loss += off * off;
    }
    return loss;
}

static void training_backward(struct training *t)
{
    float dscores[PAIRS];
    training_loss(t, dscores);
    memset(t->dembeddings, 0, sizeof t->dembeddings);
    dns_coarse_scores_backward(t->dembeddings, dscores, t->embeddings, OUT, pairs, PAIRS);
    dns_parameters_zero_gradients(dns_coarse_parameters(t->net));
    assert_ok(dns_coarse_backward(t->trainer, &t->batch, t->dembeddings));
}

/* Along the gradient of each tensor in turn the loss grows as fast as the gradient is long. */
static void gradients_point_uphill(void **state)
{
    static const dns_coarse_shape *const shapes[] = {&published, &projected};
    static struct training t;
    (void)state;
    const float *x = random_frames();
    const dns_coarse_video videos[BATCH] = {{x, 7}, {x + 500, 3}, {x + 1000, 1}, {x + 2000, 12}};
    const dns_dropout dropout = {0.2, dns_dropout_key(1, 1, 1)};
    for (size_t round = 0; round < 3; round++) {
        t.net = random_net(shapes[round / 2], true);
        t.batch = (dns_coarse_batch){videos, BATCH, REGIONS, round == 1 ? &dropout : NULL};
        assert_ok(dns_coarse_trainer_create(&t.trainer, t.net, NULL));
        training_backward(&t);
        dns_parameters *p = dns_coarse_parameters(t.net);
        for (size_t i = 0; i < dns_parameters_count(p); i++) {
            const dns_parameter *tensor = dns_parameters_at(p, i);
            float *w = dns_parameters_weight(p, i), kept[OUT * DIM * 6], dscores[PAIRS];
            const float *g = dns_parameters_gradient(p, i);
            double squares = 0, sides[2];
            for (size_t j = 0; j < tensor->count; j++)
                squares += (double)g[j] * (double)g[j];
            assert_true(squares > 0);
            memcpy(kept, w, tensor->count * sizeof *w);
            for (int side = 0; side < 2; side++) {
                double step = (side == 0 ? 4e-3 : -4e-3) / sqrt(squares);
                for (size_t j = 0; j < tensor->count; j++)
                    w[j] = (float)((double)kept[j] + step * (double)g[j]);
                sides[side] = training_loss(&t, dscores);
            }
            memcpy(w, kept, tensor->count * sizeof *w);
            double slope = (sides[0] - sides[1]) / 8e-3;
            if (!(fabs(slope / sqrt(squares) - 1) < 0.02))
                fail_msg("%s: slope %g, gradient %g", tensor->name, slope, sqrt(squares));
        }
        dns_coarse_trainer_free(t.trainer);
        dns_coarse_free(t.net);
    }
}

static void training_fits_scores(void **state)
{
    static struct training t;
    float dscores[PAIRS];
    (void)state;
    const float *x = random_frames();
    const dns_coarse_video videos[BATCH] = {{x, 7}, {x + 500, 9}, {x + 1000, 4}, {x + 2000, 12}};
    t.net = random_net(&published, true);
    dns_random random = dns_random_seed(3);
    dns_coarse_initialise(t.net, &random);
    t.batch = (dns_coarse_batch){videos, BATCH, REGIONS, NULL};
    assert_ok(dns_coarse_trainer_create(&t.trainer, t.net, NULL));
    double first = training_loss(&t, dscores);
    const dns_adam adam = DNS_ADAM_INIT;
    for (size_t step = 1; step <= 60; step++) {
        training_backward(&t);
        assert_ok(dns_adam_step(dns_coarse_parameters(t.net), &adam, 3e-3, step, NULL));
    }
    /* The pair of a video with itself cannot reach -1: (1 + 1)^2 stays. */
    assert_true(first - 4 > 0.05);
    assert_true(training_loss(&t, dscores) - 4 < 0.02 * (first - 4));
    dns_coarse_trainer_free(t.trainer);
    dns_coarse_free(t.net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_equals_its_videos_alone),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(the_order_of_frames_does_not_matter),
        cmocka_unit_test(short_videos_are_extended),
        cmocka_unit_test(a_mean_is_the_normalised_mean),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(saved_networks_load_again),
        cmocka_unit_test(models_say_which_network_it_is),
        cmocka_unit_test(gradients_point_uphill),
        cmocka_unit_test(training_fits_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
