#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/losses.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"
#include "dnsel/optimiser.h"
#include "dnsel/video_similarity.h"
#include "dnsel/visil_training.h"
#include "visil_fixture.h"

/* ---- indexing ---- */

static void short_videos_are_extended_to_four_frames(void **state)
{
    (void)state;
    static const size_t expected[] = {0, 4, 4, 6, 4, 5};
    for (size_t n = 0; n < 6; n++)
        assert_int_equal(dns_visil_extended(n), expected[n]);
    static const dns_dtype types[] = {DNS_F32, DNS_F16, DNS_I8};
    dns_visil *net = make_net(&attention_shape, published, false);
    dns_visil_session *session = NULL;
    assert_ok(dns_visil_session_create(&session, net));
    float *x = make_video(1, 3);
    for (size_t t = 0; t < 3; t++) {
        struct stored s = store(session, net, x, 3, types[t]);
        size_t half = dns_visil_bytes(net, 6, REGIONS, types[t]) / 2;
        assert_int_equal(dns_visil_bytes(net, 3, REGIONS, types[t]), 2 * half);
        assert_memory_equal(s.data, (char *)s.data + half, half);
        assert_memory_equal(s.scales, s.scales + 3 * REGIONS, 3 * REGIONS * sizeof *s.scales);
        drop(&s);
    }
    dns_free(x);
    dns_visil_session_free(session);
    dns_visil_free(net);
}

static void smaller_forms_give_nearly_the_same_score(void **state)
{
    (void)state;
    dns_visil *net = make_net(&attention_shape, published, false);
    dns_visil_session *session = NULL;
    assert_ok(dns_visil_session_create(&session, net));
    float *x = make_video(1, 13), *y = make_video(2, 22);
    struct stored q = store(session, net, x, 13, DNS_F32), t = store(session, net, y, 22, DNS_F32);
    struct stored q16 = store(session, net, x, 13, DNS_F16),
                  t16 = store(session, net, y, 22, DNS_F16);
    struct stored q8 = store(session, net, x, 13, DNS_I8), t8 = store(session, net, y, 22, DNS_I8);
    float exact = score(session, &q, &t);
    assert_true(fabsf(score(session, &q16, &t16) - exact) < 1e-3F);
    assert_true(fabsf(score(session, &q8, &t8) - exact) < 1e-2F);
    assert_true(fabsf(score(session, &q, &t8) - exact) < 1e-2F); /* forms may differ */
    assert_true(fabsf(score(session, &q16, &t) - exact) < 1e-3F);
    struct stored *all[] = {&q, &t, &q16, &t16, &q8, &t8};
    for (size_t i = 0; i < 6; i++)
        drop(all[i]);
    dns_free(x);
    dns_free(y);
    dns_visil_session_free(session);
    dns_visil_free(net);
}

static void what_cannot_be_stored_or_compared_is_refused(void **state)
{
    (void)state;
    dns_visil *net = make_net(&attention_shape, published, false),
              *binary = make_net(&binary_shape, published, false);
    dns_visil_session *session = NULL, *codes = NULL;
    assert_ok(dns_visil_session_create(&session, net));
    assert_ok(dns_visil_session_create(&codes, binary));
    float *x = make_video(1, 5), s;
    struct stored v = store(session, net, x, 5, DNS_F32), c = store(codes, binary, x, 5, DNS_U8);
    assert_status(dns_visil_compare(session, &s, &v.video), DNS_ERR_ARG); /* no query yet */
    assert_status(dns_visil_index(session, v.data, NULL, x, 0, REGIONS, DNS_F32), DNS_ERR_ARG);
    assert_string_equal(dns_status_message(), "no frames");
    assert_status(dns_visil_index(session, v.data, NULL, x, 5, REGIONS, DNS_U8), DNS_ERR_ARG);
    assert_status(dns_visil_index(codes, v.data, NULL, x, 5, REGIONS, DNS_F16), DNS_ERR_ARG);
    assert_status(dns_visil_set_query(session, &c.video), DNS_ERR_ARG);
    dns_visil_video few = v.video, narrow = v.video;
    few.n_frames = 3;
    narrow.n_frames = 4;
    narrow.n_regions = 8;
    assert_status(dns_visil_set_query(session, &few), DNS_ERR_SHAPE);
    assert_ok(dns_visil_set_query(session, &v.video));
    assert_status(dns_visil_compare(session, &s, &few), DNS_ERR_SHAPE);
    assert_status(dns_visil_compare(session, &s, &narrow), DNS_ERR_SHAPE);
    assert_status(dns_visil_compare(session, &s, &c.video), DNS_ERR_ARG);
    x[100] = NAN;
    assert_status(dns_visil_index(session, v.data, NULL, x, 5, REGIONS, DNS_F32), DNS_ERR_RANGE);
    drop(&v);
    drop(&c);
    dns_free(x);
    dns_visil_session_free(session);
    dns_visil_session_free(codes);
    dns_visil_session_free(NULL);
    dns_visil_free(net);
    dns_visil_free(binary);
}

/* ---- comparing ---- */

static void long_targets_are_the_mean_of_their_chunks(void **state)
{
    (void)state;
    dns_visil *net = make_net(&attention_shape, published, false);
    dns_visil_session *session = NULL;
    assert_ok(dns_visil_session_create(&session, net));
    float *x = make_video(1, 12), *y = make_video(2, 23);
    struct stored q = store(session, net, x, 12, DNS_I8), t = store(session, net, y, 23, DNS_I8);
    dns_visil_set_chunk(session, 10);
    float parts[2], whole = score(session, &q, &t); /* 10, 10, and 3, which are left out */
    for (size_t i = 0; i < 2; i++) {
        dns_visil_video part = t.video;
        part.n_frames = 10;
        part.data = (const int8_t *)t.data + i * 10 * REGIONS * DIM;
        part.scales = t.scales + i * 10 * REGIONS;
        assert_ok(dns_visil_compare(session, &parts[i], &part));
    }
    assert_true(fabsf(whole - (parts[0] + parts[1]) / 2) < 1e-6F);
    assert_true(parts[0] != parts[1]);
    dns_visil_set_chunk(session, 19); /* 19 and 4 */
    float two = score(session, &q, &t);
    dns_visil_set_chunk(session, 2048);
    float one = score(session, &q, &t);
    assert_true(two != one && one != whole);
    drop(&q);
    drop(&t);
    dns_free(x);
    dns_free(y);
    dns_visil_session_free(session);
    dns_visil_free(net);
}

/* The score is what the rule says of the map that the session shows. */
static void scores_follow_the_rule(void **state)
{
    (void)state;
    const dns_visil_shape *shapes[] = {&attention_shape, &teacher_shape, &binary_shape,
                                       &plain_shape};
    float *x = make_video(1, 12), *y = make_video(2, 21);
    for (size_t k = 0; k < 4; k++) {
        for (int d = DNS_DIRECTION_QUERY; d <= DNS_DIRECTION_SYMMETRIC; d++) {
            for (int r = DNS_REGIONS_CHAMFER; r <= DNS_REGIONS_SYMMETRIC; r++) {
                dns_visil *net = make_net(shapes[k], (dns_similarity_rule){d, r}, false);
                dns_visil_session *session = NULL;
                dns_dtype dtype = shapes[k]->codes ? DNS_U8 : DNS_F32;
                assert_ok(dns_visil_session_create(&session, net));
                struct stored q = store(session, net, x, 12, dtype),
                              t = store(session, net, y, 21, dtype);
                float clipped[3 * 5], s = score(session, &q, &t), reversed;
                dns_visil_maps maps = dns_visil_last_maps(session);
                assert_int_equal(maps.n_query, 12);
                assert_int_equal(maps.n_target, 21);
                dns_hardtanh_forward(clipped, maps.comparator, 15);
                dns_score_map map = {.map = clipped, .rows = 3, .columns = 5};
                assert_true(fabsf(s - dns_video_similarity_forward(&map, d)) < 1e-6F);
                assert_true(dns_visil_rule(net).direction == (dns_direction)d);
                reversed = score(session, &t, &q);
                if (d == DNS_DIRECTION_QUERY && r == DNS_REGIONS_CHAMFER)
                    assert_true(s != reversed);
                drop(&q);
                drop(&t);
                dns_visil_session_free(session);
                dns_visil_free(net);
            }
        }
    }
    dns_free(x);
    dns_free(y);
}

/* ---- merged frames, shorter codes ---- */

enum { STORED = 11 };
static const uint16_t lengths[STORED] = {1, 3, 1, 7, 2, 1, 1, 9, 1, 4, 2};

/* x with each frame repeated as often as it stands for; *n_frames of them. */
static float *repeat(size_t *n_frames, const float *x)
{
    float *out = NULL;
    size_t frame = REGIONS * DIM, n = 0;
    assert_ok(dns_alloc(&out, 32 * frame, sizeof *out));
    for (size_t i = 0; i < STORED; i++)
        for (size_t k = 0; k < lengths[i]; k++, n++)
            memcpy(out + n * frame, x + i * frame, frame * sizeof *out);
    *n_frames = n;
    return out;
}

static void merged_frames_score_as_repeated_ones_to_the_bit(void **state)
{
    (void)state;
    static const struct {
        const dns_visil_shape *shape;
        dns_dtype dtype;
        dns_region_step regions;
    } cases[] = {{&attention_shape, DNS_F32, DNS_REGIONS_CHAMFER},
                 {&attention_shape, DNS_F16, DNS_REGIONS_SAME},
                 {&attention_shape, DNS_I8, DNS_REGIONS_CHAMFER},
                 {&attention_shape, DNS_I8, DNS_REGIONS_SYMMETRIC},
                 {&binary_shape, DNS_U8, DNS_REGIONS_CHAMFER},
                 {&binary_shape, DNS_U8, DNS_REGIONS_SAME},
                 {&binary_shape, DNS_U8, DNS_REGIONS_SYMMETRIC}};
    float *x = make_video(71, STORED), *y = make_video(72, STORED);
    size_t n;
    float *long_x = repeat(&n, x), *long_y = repeat(&n, y);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        dns_similarity_rule rule = {DNS_DIRECTION_QUERY, cases[c].regions};
        dns_visil *net = make_net(cases[c].shape, rule, false);
        dns_visil_session *session = NULL;
        assert_ok(dns_visil_session_create(&session, net));
        struct stored q = store(session, net, x, STORED, cases[c].dtype);
        struct stored t = store(session, net, y, STORED, cases[c].dtype);
        struct stored long_q = store(session, net, long_x, n, cases[c].dtype);
        struct stored long_t = store(session, net, long_y, n, cases[c].dtype);
        q.video.runs = t.video.runs = lengths;
        for (size_t chunk = 5; chunk < 100; chunk += 6) {
            dns_visil_set_chunk(session, chunk);
            float whole = score(session, &long_q, &long_t);
            assert_true(score(session, &q, &t) == whole);
            assert_true(score(session, &q, &long_t) == whole);
            assert_true(score(session, &long_q, &t) == whole);
            float above;
            assert_ok(dns_visil_set_query(session, &q.video));
            assert_ok(dns_visil_compare_above(session, &above, whole, &t.video));
            assert_true(above == whole);
            assert_ok(dns_visil_compare_above(session, &above, whole + 0.01F, &t.video));
            assert_true(above == whole || above == -INFINITY);
            assert_true(score(session, &long_t, &q) == score(session, &t, &long_q));
        }
        drop(&q);
        drop(&t);
        drop(&long_q);
        drop(&long_t);
        dns_visil_session_free(session);
        dns_visil_free(net);
    }
    dns_free(x);
    dns_free(y);
    dns_free(long_x);
    dns_free(long_y);
}

/* Its codes cut to the first `bits`. */
static struct stored cut(const struct stored *s, size_t bits)
{
    struct stored out = {.video = s->video};
    size_t rows = s->video.n_frames * REGIONS;
    assert_ok(dns_alloc(&out.data, rows, bits / 8));
    for (size_t i = 0; i < rows; i++)
        memcpy((char *)out.data + i * bits / 8, (char *)s->data + i * BITS / 8, bits / 8);
    out.video.data = out.data;
    out.video.row_bytes = bits / 8;
    return out;
}

static void codes_are_compared_by_the_bits_that_both_have(void **state)
{
    (void)state;
    float *x = make_video(81, 24), *y = make_video(82, 30);
    for (int symmetric = 0; symmetric < 2; symmetric++)
        for (size_t bits = 64 - 40 * (size_t)symmetric; bits < BITS; bits *= 3) {
            dns_similarity_rule rule = {DNS_DIRECTION_QUERY,
                                        symmetric ? DNS_REGIONS_SYMMETRIC : DNS_REGIONS_CHAMFER};
            dns_visil_shape narrow_shape = binary_shape;
            narrow_shape.code_bits = bits;
            dns_visil *net = make_net(&binary_shape, rule, false);
            dns_visil *narrow = make_net(&narrow_shape, rule, false);
            dns_visil_session *session = NULL, *narrow_session = NULL;
            assert_ok(dns_visil_session_create(&session, net));
            assert_ok(dns_visil_session_create(&narrow_session, narrow));
            struct stored q = store(session, net, x, 24, DNS_U8);
            struct stored t = store(session, net, y, 30, DNS_U8);
            struct stored short_q = cut(&q, bits), short_t = cut(&t, bits);
            float all = score(session, &q, &t);
            float expected = score(narrow_session, &short_q, &short_t);
            assert_true(all != expected);
            assert_true(score(session, &short_q, &short_t) == expected);
            assert_true(score(session, &short_q, &t) == expected);
            assert_true(score(session, &q, &short_t) == expected);
            float again;
            dns_visil_session *borrower = NULL;
            assert_ok(dns_visil_session_create(&borrower, net));
            dns_visil_borrow_query(borrower, session);
            assert_ok(dns_visil_compare(borrower, &again, &short_t.video));
            assert_true(again == expected);
            assert_ok(dns_visil_compare(borrower, &again, &t.video));
            assert_true(again == all);
            dns_visil_session_free(borrower);
            assert_ok(dns_visil_compare(session, &again, &t.video));
            assert_true(again == all);
            /* Weights, too: their first ones, made to add up to 1 again. */
            struct stored weights = store(session, net, x, 24, DNS_F32), few = weights;
            assert_ok(dns_alloc(&few.data, 24 * REGIONS * bits, sizeof(float)));
            for (size_t i = 0; i < 24 * REGIONS; i++) {
                const float *from = (const float *)weights.data + i * BITS;
                float *to = (float *)few.data + i * bits, sum = 0;
                for (size_t k = 0; k < bits; k++)
                    sum += fabsf(from[k]);
                for (size_t k = 0; k < bits; k++)
                    to[k] = from[k] / sum;
            }
            few.video.data = few.data;
            assert_true(score(session, &weights, &short_t) ==
                        score(narrow_session, &few, &short_t));
            dns_free(few.data);
            drop(&weights);
            q.video.row_bytes = BITS / 8;
            assert_status(dns_visil_set_query(narrow_session, &q.video), DNS_ERR_SHAPE);
            drop(&q);
            drop(&t);
            drop(&short_q);
            drop(&short_t);
            dns_visil_session_free(session);
            dns_visil_session_free(narrow_session);
            dns_visil_free(net);
            dns_visil_free(narrow);
        }
    dns_free(x);
    dns_free(y);
}

/* ---- training ---- */

enum { VIDEOS = 4, PAIRS = 4 };
static const dns_visil_pair pairs[PAIRS] = {{0, 1}, {0, 2}, {3, 1}, {2, 3}};

struct lesson {
    float *x;
    size_t n_frames[VIDEOS];
    dns_visil_batch batch;
};

static void make_lesson(struct lesson *l, const size_t *n_frames, size_t padded)
{
    size_t at = 0;
    assert_ok(dns_alloc(&l->x, VIDEOS * MOST_FRAMES * REGIONS * DIM, sizeof *l->x));
    for (size_t v = 0; v < VIDEOS; v++) {
        float *video = make_video(20 + v, n_frames[v]);
        memcpy(l->x + at, video, n_frames[v] * REGIONS * DIM * sizeof *video);
        at += n_frames[v] * REGIONS * DIM;
        l->n_frames[v] = n_frames[v];
        dns_free(video);
    }
    l->batch = (dns_visil_batch){.x = l->x,
                                 .n_frames = l->n_frames,
                                 .n_videos = VIDEOS,
                                 .n_regions = REGIONS,
                                 .padded_frames = padded,
                                 .pairs = pairs,
                                 .n_pairs = PAIRS};
}

static void training_sees_the_scores_that_a_session_gives(void **state)
{
    (void)state;
    const dns_visil_shape *shapes[] = {&attention_shape, &teacher_shape, &plain_shape};
    const size_t n_frames[VIDEOS] = {9, 16, 7, 21};
    struct lesson l;
    make_lesson(&l, n_frames, 0);
    for (size_t k = 0; k < 3; k++) {
        dns_visil *net = make_net(shapes[k], published, true);
        dns_visil_trainer *trainer = NULL;
        dns_visil_session *session = NULL;
        float scores[PAIRS];
        double penalty;
        assert_ok(dns_visil_trainer_create(&trainer, net, NULL, NULL));
        assert_ok(dns_visil_session_create(&session, net));
        assert_ok(dns_visil_forward(trainer, &l.batch, scores, &penalty));
        for (size_t i = 0; i < PAIRS; i++) {
            float *q = make_video(20 + pairs[i].query, n_frames[pairs[i].query]);
            float *t = make_video(20 + pairs[i].target, n_frames[pairs[i].target]);
            struct stored query = store(session, net, q, n_frames[pairs[i].query], DNS_F32);
            struct stored target = store(session, net, t, n_frames[pairs[i].target], DNS_F32);
            assert_true(fabsf(score(session, &query, &target) - scores[i]) < 1e-5F);
            drop(&query);
            drop(&target);
            dns_free(q);
            dns_free(t);
        }
        dns_visil_session_free(session);
        dns_visil_trainer_free(trainer);
        dns_visil_free(net);
    }
    dns_free(l.x);
}

static void padding_changes_only_lengths_that_are_no_multiple_of_four(void **state)
{
    (void)state;
    const size_t whole[VIDEOS] = {8, 16, 4, 20}, ragged[VIDEOS] = {9, 16, 4, 20};
    dns_visil *net = make_net(&attention_shape, published, true);
    dns_visil_trainer *trainer = NULL;
    assert_ok(dns_visil_trainer_create(&trainer, net, NULL, NULL));
    float own[PAIRS], padded[PAIRS];
    double own_penalty, penalty;
    struct lesson l;
    make_lesson(&l, whole, 0);
    assert_ok(dns_visil_forward(trainer, &l.batch, own, &own_penalty));
    l.batch.padded_frames = 24;
    assert_ok(dns_visil_forward(trainer, &l.batch, padded, &penalty));
    assert_memory_equal(own, padded, sizeof own);
    assert_true(own_penalty == penalty);
    dns_parameters *p = dns_visil_parameters(net);
    dns_parameters_weight(p, dns_parameters_find(p, "visil_head.fconv.bias"))[0] = 1.5F;
    l.batch.padded_frames = 0;
    assert_ok(dns_visil_forward(trainer, &l.batch, own, &own_penalty));
    l.batch.padded_frames = 24;
    assert_ok(dns_visil_forward(trainer, &l.batch, padded, &penalty));
    size_t cells = PAIRS * 6 * 6 - (2 * 4 + 2 * 1 + 5 * 4 + 1 * 5);
    assert_true(fabs(penalty - own_penalty - 0.5 * (double)cells) < 1e-4);
    dns_free(l.x);

    dns_parameters_weight(p, dns_parameters_find(p, "visil_head.fconv.bias"))[0] = 0;
    make_lesson(&l, ragged, 0);
    assert_ok(dns_visil_forward(trainer, &l.batch, own, &own_penalty));
    l.batch.padded_frames = 20;
    assert_ok(dns_visil_forward(trainer, &l.batch, padded, &penalty));
    assert_true(own[0] != padded[0] && own[2] == padded[2]);
    dns_free(l.x);
    dns_visil_trainer_free(trainer);
    dns_visil_free(net);
}

static void batches_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    const size_t n_frames[VIDEOS] = {8, 16, 4, 20};
    dns_visil *net = make_net(&attention_shape, published, true),
              *fixed = make_net(&attention_shape, published, false);
    dns_visil *teacher = make_net(&teacher_shape, published, true),
              *binary = make_net(&binary_shape, published, true);
    dns_visil_trainer *trainer = NULL, *other = NULL;
    assert_status(dns_visil_trainer_create(&trainer, fixed, NULL, NULL), DNS_ERR_ARG);
    assert_status(dns_visil_trainer_create(&trainer, binary, NULL, NULL), DNS_ERR_ARG);
    assert_null(trainer);
    assert_ok(dns_visil_trainer_create(&trainer, net, NULL, NULL));
    assert_ok(dns_visil_trainer_create(&other, teacher, NULL, NULL));
    struct lesson l;
    float scores[PAIRS];
    double penalty;
    make_lesson(&l, n_frames, 19);
    assert_status(dns_visil_forward(trainer, &l.batch, scores, &penalty), DNS_ERR_SHAPE);
    l.batch.padded_frames = 20;
    assert_status(dns_visil_forward(other, &l.batch, scores, &penalty), DNS_ERR_ARG);
    l.batch.n_videos = 3;
    assert_status(dns_visil_forward(trainer, &l.batch, scores, &penalty), DNS_ERR_ARG);
    l.batch.n_videos = VIDEOS;
    l.n_frames[1] = 0;
    assert_status(dns_visil_forward(trainer, &l.batch, scores, &penalty), DNS_ERR_ARG);
    l.n_frames[1] = 3;
    l.batch.padded_frames = 0;
    assert_status(dns_visil_forward(trainer, &l.batch, scores, &penalty), DNS_ERR_SHAPE);
    dns_free(l.x);
    dns_visil_trainer_free(trainer);
    dns_visil_trainer_free(other);
    dns_visil_free(net);
    dns_visil_free(fixed);
    dns_visil_free(teacher);
    dns_visil_free(binary);
}

/* Twenty steps towards given scores, on some threads; the last loss. */
static double learn(dns_visil *net, dns_pool *pool, const dns_visil_codes *codes)
{
    const size_t n_frames[VIDEOS] = {9, 16, 7, 21};
    const float wanted[PAIRS] = {0.8F, -0.5F, 0.3F, -0.2F};
    dns_parameters *p = dns_visil_parameters(net);
    dns_visil_trainer *trainer = NULL;
    const dns_adam adam = DNS_ADAM_INIT;
    struct lesson l;
    double first = 0, loss = 0;
    make_lesson(&l, n_frames, 24);
    assert_ok(dns_visil_trainer_create(&trainer, net, codes, pool));
    for (size_t step = 1; step <= 20; step++) {
        float scores[PAIRS], dscores[PAIRS];
        double penalty;
        assert_ok(dns_visil_forward(trainer, &l.batch, scores, &penalty));
        loss = dns_loss_l1(dscores, scores, wanted, PAIRS);
        first = step == 1 ? loss : first;
        dns_parameters_zero_gradients(p);
        assert_ok(dns_visil_backward(trainer, &l.batch, dscores, 1e-3));
        assert_ok(dns_adam_step(p, &adam, 1e-2, step, pool));
    }
    assert_true(loss < 0.8 * first);
    dns_free(l.x);
    dns_visil_trainer_free(trainer);
    return loss;
}

static void training_lowers_the_loss_alike_on_any_number_of_threads(void **state)
{
    (void)state;
    const dns_visil_shape *shapes[] = {&attention_shape, &binary_shape, &binary_shape};
    const dns_visil_codes codes[] = {{.sigma = 0.05}, {.sigma = 0.05}, {.straight_through = 1}};
    for (size_t k = 0; k < 3; k++) {
        dns_visil *kept = make_net(shapes[k], published, true);
        dns_parameters *p = dns_visil_parameters(kept);
        learn(kept, NULL, &codes[k]);
        for (size_t n = 2; n <= 3; n++) {
            dns_pool *pool;
            assert_ok(dns_pool_create(&pool, n));
            dns_visil *net = make_net(shapes[k], published, true);
            learn(net, pool, &codes[k]);
            assert_memory_equal(dns_parameters_block(p, DNS_WEIGHTS),
                                dns_parameters_block(dns_visil_parameters(net), DNS_WEIGHTS),
                                dns_parameters_size(p) * sizeof(float));
            dns_visil_free(net);
            dns_pool_free(pool);
        }
        dns_visil_free(kept);
    }
}

/* ---- networks ---- */

static void weights_come_back_under_their_published_names(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/net.safetensors", test_folder());
    const dns_visil_shape *shapes[] = {&attention_shape, &teacher_shape, &binary_shape};
    for (size_t k = 0; k < 3; k++) {
        dns_visil *net = make_net(shapes[k], published, false), *again = NULL;
        dns_safetensors *file = NULL;
        assert_ok(dns_parameters_save(dns_visil_parameters(net), path, NULL, 0));
        assert_ok(dns_safetensors_open(&file, path));
        assert_ok(dns_visil_load(&again, file, "", published, false));
        assert_memory_equal(dns_visil_shape_of(again), shapes[k], sizeof *shapes[k]);
        assert_true(dns_visil_rescaled_from(again) == 0);
        dns_parameters *a = dns_visil_parameters(net), *b = dns_visil_parameters(again);
        assert_memory_equal(dns_parameters_block(a, DNS_WEIGHTS),
                            dns_parameters_block(b, DNS_WEIGHTS),
                            dns_parameters_size(a) * sizeof(float));
        dns_visil_free(again);
        assert_status(dns_visil_load(&again, file, "elsewhere.", published, false),
                      DNS_ERR_NOTFOUND);
        assert_null(again);
        dns_safetensors_close(file);
        dns_visil_free(net);
    }
}

static void a_context_vector_of_another_length_is_rescaled(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/teacher.safetensors", test_folder());
    dns_visil *net = make_net(&teacher_shape, published, false), *again = NULL;
    dns_parameters *p = dns_visil_parameters(net);
    float *u = dns_parameters_weight(p, dns_parameters_find(p, "attention.context_vector.weight")),
          first = u[0];
    for (size_t i = 0; i < DIM; i++)
        u[i] *= 3;
    dns_safetensors *file = NULL;
    assert_ok(dns_parameters_save(p, path, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    assert_ok(dns_visil_load(&again, file, "", published, false));
    assert_true(fabs(dns_visil_rescaled_from(again) - 3) < 1e-5);
    p = dns_visil_parameters(again);
    assert_true(fabsf(dns_parameters_weight(
                          p, dns_parameters_find(p, "attention.context_vector.weight"))[0] -
                      first) < 1e-6F);
    dns_safetensors_close(file);
    dns_visil_free(again);
    dns_visil_free(net);
}

static void files_with_other_kernels_are_refused(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/kernels.safetensors", test_folder());
    static const float values[5 * 5 * 4];
    const dns_named_tensor conv = {"visil_head.conv1.weight", {DNS_F32, 4, {4, 1, 5, 5}, values}};
    dns_safetensors *file = NULL;
    dns_visil *net = NULL;
    assert_ok(dns_safetensors_write(path, &conv, 1, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    assert_status(dns_visil_load(&net, file, "", published, false), DNS_ERR_UNSUPPORTED);
    dns_safetensors_close(file);
    dns_visil_shape odd = attention_shape;
    odd.codes = true;
    assert_status(dns_visil_create(&net, &odd, published, false), DNS_ERR_ARG);
    odd = attention_shape;
    odd.hidden = 0;
    assert_status(dns_visil_create(&net, &odd, published, false), DNS_ERR_ARG);
    assert_null(net);
    dns_visil_free(NULL);
}

static void a_network_starts_as_plain_chamfer_and_a_rotation(void **state)
{
    (void)state;
    dns_visil *net = make_net(&binary_shape, published, false);
    dns_parameters *p = dns_visil_parameters(net);
    const float *w = dns_parameters_weight(p, dns_parameters_find(p, "binarization.W"));
    for (size_t i = 0; i < 3;
         i++) { /* rows are orthonormal, there being more bits than dimensions */
        for (size_t j = 0; j < 3; j++) {
            double dot = 0;
            for (size_t k = 0; k < BITS; k++)
                dot += (double)w[i * BITS + k] * (double)w[j * BITS + k];
            assert_true(fabs(dot - (i == j)) < 1e-5);
        }
    }
    const float *c1 = dns_parameters_weight(p, dns_parameters_find(p, "visil_head.conv1.weight"));
    const float *c2 = dns_parameters_weight(p, dns_parameters_find(p, "visil_head.conv2.weight"));
    const float *last = dns_parameters_weight(p, dns_parameters_find(p, "visil_head.fconv.weight"));
    assert_true(c1[4] == 1 && c1[0] == 0 && c1[9] == c1[13] && fabsf(c1[17] - 1 / 3.0F) < 1e-7F &&
                c1[10] == 0);
    assert_true(c2[4] == 1 && c2[9 + 4] == 0 && c2[8 * 9 + 9 + 4] == 1 && c2[8 * 9 + 4] == 0);
    assert_true(last[0] == 0.5F && last[1] == 0.5F && fabsf(last[2]) < 0.1F);
    dns_visil_free(net);
    dns_visil_shape thin = attention_shape;
    thin.channels[1] = 1;
    dns_random random = dns_random_seed(1);
    assert_ok(dns_visil_create(&net, &thin, published, false));
    assert_status(dns_visil_initialise(net, 1, &random), DNS_ERR_ARG);
    dns_visil_free(net);
}

static dns_model *make_model(const dns_visil *net, const char *section)
{
    char folder[300];
    snprintf(folder, sizeof folder, "%s/model", test_folder());
    dns_parameters *p = dns_visil_parameters(net);
    dns_named_tensor tensors[16];
    for (size_t i = 0; i < dns_parameters_count(p); i++) {
        const dns_parameter *t = dns_parameters_at(p, i);
        tensors[i] = (dns_named_tensor){
            t->name, dns_tensor_f32(dns_parameters_weight(p, i), t->rank, t->shape)};
    }
    const dns_model_edit edits[] = {
        {.section = "similarity", .json = "{\"direction\": \"symmetric\", \"regions\": \"same\"}"},
        {.section = "fine_attention",
         .json = section,
         .tensors = tensors,
         .n_tensors = dns_parameters_count(p)},
    };
    assert_ok(dns_model_edit_apply(folder, edits, 2));
    dns_model *model = NULL;
    assert_ok(dns_model_open(&model, folder));
    return model;
}

static void models_name_their_networks(void **state)
{
    (void)state;
    dns_visil *net = make_net(&attention_shape, published, false), *again = NULL;
    dns_model *model = make_model(net, "{}");
    assert_ok(dns_visil_from_model(&again, model, "fine_attention"));
    assert_true(dns_visil_rule(again).direction == DNS_DIRECTION_SYMMETRIC);
    assert_true(dns_visil_rule(again).regions == DNS_REGIONS_SAME);
    dns_visil_free(again);
    assert_status(dns_visil_from_model(&again, model, "fine_binary"), DNS_ERR_UNSUPPORTED);
    assert_null(again);
    dns_model_close(model);
    dns_visil_free(net);
}

static void a_comparator_alone_is_told_its_dimensions(void **state)
{
    (void)state;
    dns_visil_shape unknown = plain_shape;
    unknown.dim = 0;
    dns_visil *net = make_net(&unknown, published, true), *again = NULL;
    dns_visil_session *session = NULL;
    dns_visil_trainer *trainer = NULL;
    assert_status(dns_visil_session_create(&session, net), DNS_ERR_ARG);
    assert_status(dns_visil_trainer_create(&trainer, net, NULL, NULL), DNS_ERR_ARG);
    assert_null(session);
    dns_model *model = make_model(net, "{}");
    assert_status(dns_visil_from_model(&again, model, "fine_attention"), DNS_ERR_FORMAT);
    dns_model_close(model);
    model = make_model(net, "{\"dim\": 64}");
    assert_ok(dns_visil_from_model(&again, model, "fine_attention"));
    assert_int_equal(dns_visil_shape_of(again)->dim, 64);
    assert_status(dns_visil_set_dim(again, 32), DNS_ERR_SHAPE);
    assert_ok(dns_visil_set_dim(again, 64));
    dns_visil_free(again);
    dns_model_close(model);
    dns_visil_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_videos_are_extended_to_four_frames),
        cmocka_unit_test(smaller_forms_give_nearly_the_same_score),
        cmocka_unit_test(what_cannot_be_stored_or_compared_is_refused),
        cmocka_unit_test(long_targets_are_the_mean_of_their_chunks),
        cmocka_unit_test(scores_follow_the_rule),
        cmocka_unit_test(merged_frames_score_as_repeated_ones_to_the_bit),
        cmocka_unit_test(codes_are_compared_by_the_bits_that_both_have),
        cmocka_unit_test(training_sees_the_scores_that_a_session_gives),
        cmocka_unit_test(padding_changes_only_lengths_that_are_no_multiple_of_four),
        cmocka_unit_test(batches_that_contradict_themselves_are_refused),
        cmocka_unit_test(training_lowers_the_loss_alike_on_any_number_of_threads),
        cmocka_unit_test(weights_come_back_under_their_published_names),
        cmocka_unit_test(a_context_vector_of_another_length_is_rescaled),
        cmocka_unit_test(files_with_other_kernels_are_refused),
        cmocka_unit_test(a_network_starts_as_plain_chamfer_and_a_rotation),
        cmocka_unit_test(models_name_their_networks),
        cmocka_unit_test(a_comparator_alone_is_told_its_dimensions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
