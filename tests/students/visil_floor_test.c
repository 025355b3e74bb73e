/* Comparing as search does: forms of query and comparator, and leaving below a floor. */
#include "support.h"

#include <math.h>

#include "dnsel/binarise.h"
#include "dnsel/normalise.h"
#include "dnsel/video_similarity.h"
#include "dnsel/visil.h"

enum { DIM = 64, REGIONS = 9, BITS = 128, MOST_FRAMES = 60 };

static dns_random draws;

static size_t below(size_t n)
{
    return (size_t)dns_random_below(&draws, n);
}

static dns_visil *make_net(bool codes, dns_similarity_rule rule, double identity)
{
    dns_visil *net;
    const dns_visil_shape shape = {.codes = codes,
                                   .gate = codes ? DNS_GATE_NONE : DNS_GATE_STUDENT,
                                   .padding = DNS_PADDING_ZERO,
                                   .dim = DIM,
                                   .hidden = codes ? 0 : 32,
                                   .code_bits = codes ? BITS : 0,
                                   .channels = {8, 20, 16}};
    assert_ok(dns_visil_create(&net, &shape, rule, false));
    assert_ok(dns_visil_initialise(net, identity, &draws));
    return net;
}

/* Unit vectors; with `like`, noisy copies of its frames from `at` on. */
static float *make_video(size_t n_frames, const float *like, size_t n_like, double noise)
{
    float *x;
    assert_ok(dns_alloc(&x, n_frames * REGIONS * DIM, sizeof *x));
    for (size_t i = 0; i < n_frames * REGIONS * DIM; i++)
        x[i] = (float)(noise * dns_random_normal(&draws)) +
               (like != NULL ? like[i % (n_like * REGIONS * DIM)] : 0);
    dns_normalise_forward(x, NULL, x, n_frames * REGIONS, DIM);
    return x;
}

struct stored {
    dns_visil_video video;
    void *data;
    float *scales;
};

static struct stored store(dns_visil_session *session, const dns_visil *net, const float *x,
                           size_t n_frames, dns_dtype dtype)
{
    struct stored s = {0};
    assert_ok(dns_alloc(&s.data, dns_visil_bytes(net, n_frames, REGIONS, dtype), 1));
    assert_ok(dns_alloc(&s.scales, n_frames * REGIONS, sizeof *s.scales));
    assert_ok(dns_visil_index(session, s.data, s.scales, x, n_frames, REGIONS, dtype));
    s.video = (dns_visil_video){.dtype = dtype,
                                .n_frames = n_frames,
                                .n_regions = REGIONS,
                                .data = s.data,
                                .scales = dtype == DNS_I8 ? s.scales : NULL};
    return s;
}

static void drop(struct stored *s)
{
    dns_free(s->data);
    dns_free(s->scales);
}

/* Random networks and videos: above the floor the same bits, below it the same or nothing. */
static void nothing_above_the_floor_is_lost(void **state)
{
    (void)state;
    size_t n_left = 0, n_kept = 0;
    draws = dns_random_seed(11);
    for (size_t round = 0; round < 96; round++) {
        const dns_similarity_rule rule = {(dns_direction)(round % 4),
                                          (dns_region_step)(round / 4 % 3)};
        bool codes = round % 5 < 3;
        dns_dtype dtype = codes ? DNS_U8 : round % 2 == 0 ? DNS_I8 : DNS_F32;
        dns_visil *net = make_net(codes, rule, round % 7 == 0 ? 0 : 1);
        dns_visil_session *session;
        assert_ok(dns_visil_session_create(&session, net));
        assert_ok(dns_visil_set_comparator(session, round % 3 ? DNS_MAPCNN_I8 : DNS_MAPCNN_F32));
        if (round % 6 == 5)
            dns_visil_set_chunk(session, 12);
        size_t n = 4 + below(MOST_FRAMES), m = 4 + below(MOST_FRAMES);
        float *x = make_video(n, NULL, 0, 1), *y = make_video(m, round % 2 ? x : NULL, n, 0.3);
        struct stored q = store(session, net, x, n, dtype), t = store(session, net, y, m, dtype);
        float exact, got;
        assert_ok(dns_visil_set_query(session, &q.video));
        assert_ok(dns_visil_compare(session, &exact, &t.video));
        for (size_t i = 0; i < 12; i++) {
            float floor = i == 0 ? exact : (float)(2.4 * dns_random_uniform(&draws) - 1.2);
            assert_ok(dns_visil_compare_above(session, &got, floor, &t.video));
            assert_true(got == exact || (exact < floor && isinf(got) && got < 0));
            n_left += isinf(got);
            n_kept += exact < floor && !isinf(got);
        }
        drop(&q), drop(&t);
        dns_free(x), dns_free(y);
        dns_visil_session_free(session);
        dns_visil_free(net);
    }
    assert_true(n_left > 100 && n_kept > 100);
}

/* The definition: each bit of a target counts by the magnitude that the query's had. */
static float weighted(const float *z, const uint8_t *code)
{
    double sum = 0, of = 0;
    for (size_t k = 0; k < BITS; k++) {
        sum += fabs((double)z[k]);
        of += (double)z[k] * (code[k / 8] >> k % 8 & 1 ? 1 : -1);
    }
    return (float)(of / sum);
}

static void weights_compare_with_codes(void **state)
{
    (void)state;
    enum { N = 9, M = 14 };
    draws = dns_random_seed(12);
    for (size_t round = 0; round < 6; round++) {
        const dns_similarity_rule rule = {DNS_DIRECTION_QUERY, (dns_region_step)(round % 3)};
        dns_visil *net = make_net(true, rule, 1);
        dns_visil_session *session;
        float *x = make_video(N, NULL, 0, 1), *y = make_video(M, x, N, 0.3), z[N * REGIONS][BITS];
        float score;
        assert_ok(dns_visil_session_create(&session, net));
        assert_int_equal(dns_visil_bytes(net, N, REGIONS, DNS_F32), sizeof z);
        struct stored q = store(session, net, x, N, DNS_F32), t = store(session, net, y, M, DNS_U8);
        const float *w = dns_parameters_weight(dns_visil_parameters(net), 0);
        assert_ok(dns_binarise_project(z[0], x, w, (size_t)N * REGIONS, DIM, BITS, NULL));
        assert_ok(dns_visil_set_query(session, &q.video));
        assert_ok(dns_visil_compare(session, &score, &t.video));
        dns_visil_maps maps = dns_visil_last_maps(session);
        for (size_t i = 0; i < (size_t)N * M; i++) {
            double rows = 0, columns = 0, same = 0;
            for (size_t o = 0; o < REGIONS; o++) {
                float row = -1, column = -1;
                for (size_t p = 0; p < REGIONS; p++) {
                    const uint8_t *code = (const uint8_t *)t.data + i % M * REGIONS * BITS / 8;
                    const float(*of)[BITS] = (const float(*)[BITS])z + i / M * REGIONS;
                    row = fmaxf(row, weighted(of[o], code + p * BITS / 8));
                    column = fmaxf(column, weighted(of[p], code + o * BITS / 8));
                    same += p == o ? (double)weighted(of[o], code + p * BITS / 8) : 0;
                }
                rows += (double)row / REGIONS, columns += (double)column / REGIONS;
            }
            double expected = rule.regions == DNS_REGIONS_SAME      ? same / REGIONS
                              : rule.regions == DNS_REGIONS_CHAMFER ? rows
                                                                    : (rows + columns) / 2;
            assert_true(fabs((double)maps.frames[i] - expected) < 3e-3);
        }
        assert_status(dns_visil_compare(session, &score, &q.video), DNS_ERR_ARG); /* no target */
        drop(&q), drop(&t);
        dns_free(x), dns_free(y);
        dns_visil_session_free(session);
        dns_visil_free(net);
    }
}

static void bytes_in_the_comparator_lose_little(void **state)
{
    (void)state;
    double largest = 0;
    draws = dns_random_seed(13);
    for (size_t round = 0; round < 20; round++) {
        const dns_similarity_rule rule = {DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER};
        dns_visil *net = make_net(true, rule, 1);
        dns_visil_session *session;
        float *x = make_video(30, NULL, 0, 1), *y = make_video(40, x, 30, 0.1 * (double)round);
        float exact, bytes;
        assert_ok(dns_visil_session_create(&session, net));
        struct stored q = store(session, net, x, 30, DNS_U8),
                      t = store(session, net, y, 40, DNS_U8);
        assert_ok(dns_visil_set_query(session, &q.video));
        assert_ok(dns_visil_compare(session, &exact, &t.video));
        assert_ok(dns_visil_set_comparator(session, DNS_MAPCNN_I8));
        assert_ok(dns_visil_compare(session, &bytes, &t.video));
        largest = fmax(largest, fabs((double)exact - (double)bytes));
        drop(&q), drop(&t);
        dns_free(x), dns_free(y);
        dns_visil_session_free(session);
        dns_visil_free(net);
    }
    assert_true(largest < 0.01);
}

static void a_query_is_lent(void **state)
{
    (void)state;
    static const dns_dtype types[] = {DNS_F32, DNS_I8, DNS_U8};
    draws = dns_random_seed(14);
    for (size_t i = 0; i < 3; i++) {
        const dns_similarity_rule rule = {DNS_DIRECTION_MAX, DNS_REGIONS_CHAMFER};
        dns_visil *net = make_net(types[i] == DNS_U8, rule, 1);
        dns_visil_session *first, *second;
        float *x = make_video(20, NULL, 0, 1), *y = make_video(9, x, 20, 0.4), a, b;
        assert_ok(dns_visil_session_create(&first, net));
        assert_ok(dns_visil_session_create(&second, net));
        struct stored q = store(first, net, x, 20, types[i]), t = store(first, net, y, 9, types[i]);
        assert_ok(dns_visil_set_query(first, &q.video));
        dns_visil_borrow_query(second, first);
        assert_ok(dns_visil_compare(first, &a, &t.video));
        assert_ok(dns_visil_compare(second, &b, &t.video));
        assert_true(a == b);
        if (types[i] == DNS_I8) { /* a form that the lender did not prepare */
            struct stored other = store(second, net, y, 9, DNS_F32);
            assert_ok(dns_visil_compare(second, &b, &other.video));
            assert_true(fabsf(a - b) < 0.01F);
            drop(&other);
        }
        drop(&q), drop(&t);
        dns_free(x), dns_free(y);
        dns_visil_session_free(second);
        dns_visil_session_free(first);
        dns_visil_free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_above_the_floor_is_lost),
        cmocka_unit_test(weights_compare_with_codes),
        cmocka_unit_test(bytes_in_the_comparator_lose_little),
        cmocka_unit_test(a_query_is_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
