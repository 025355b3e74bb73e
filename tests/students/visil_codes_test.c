#include "support.h"

#include <math.h>
#include <stdio.h>

#include "dnsel/f2f.h"
#include "dnsel/video_similarity.h"
#include "dnsel/visil_training.h"
#include "visil_fixture.h"

/* The score of codes alone, by definition. */
static float score_of_codes(const struct stored *q, const struct stored *t, dns_direction direction)
{
    dns_f2f_query *query = NULL;
    float map[40 * 40];
    void *scratch = NULL;
    assert_ok(
        dns_f2f_query_create_bits(&query, DNS_F2F_SAME, q->data, q->video.n_frames, REGIONS, BITS));
    assert_ok(dns_alloc(&scratch, dns_f2f_scratch(query), 1));
    const dns_tensor target = {.dtype = DNS_U8,
                               .rank = 3,
                               .shape = {t->video.n_frames, REGIONS, BITS / 8},
                               .data = t->data};
    assert_ok(dns_f2f_run(map, query, &target, NULL, scratch));
    dns_free(scratch);
    dns_f2f_query_free(query);
    const dns_score_map whole = {
        .map = map, .rows = q->video.n_frames, .columns = t->video.n_frames};
    return dns_video_similarity_forward(&whole, direction);
}

static void codes_alone_are_compared_without_a_comparator(void **state)
{
    (void)state;
    float *x = make_video(91, 22), *y = make_video(92, 35);
    char path[300];
    snprintf(path, sizeof path, "%s/codes.safetensors", test_folder());
    for (int d = DNS_DIRECTION_QUERY; d <= DNS_DIRECTION_SYMMETRIC; d++) {
        dns_visil *whole =
            make_net(&binary_shape, (dns_similarity_rule){d, DNS_REGIONS_SAME}, true);
        dns_visil *net = NULL, *loaded = NULL;
        dns_visil_session *session = NULL;
        dns_visil_trainer *trainer;
        const dns_visil_codes codes = {.sigma = 1e-6};
        assert_ok(dns_visil_codes_alone(&net, whole));
        assert_int_equal(dns_parameters_count(dns_visil_parameters(net)), 1);
        assert_int_equal(dns_visil_shape_of(net)->channels[0], 0);
        assert_ok(dns_visil_session_create(&session, net));
        struct stored q = store(session, net, x, 22, DNS_U8),
                      t = store(session, net, y, 35, DNS_U8);
        float expected = score_of_codes(&q, &t, (dns_direction)d), s = score(session, &q, &t);
        assert_true(s == expected);
        dns_visil_maps maps = dns_visil_last_maps(session);
        assert_int_equal(maps.n_rows, 22);
        assert_int_equal(maps.n_columns, 35);
        /* The floor changes no score that reaches it. */
        assert_ok(dns_visil_compare_above(session, &s, expected, &t.video));
        assert_true(s == expected);
        assert_ok(dns_visil_compare_above(session, &s, expected + .01F, &t.video));
        assert_true(s == expected || isinf(s));
        /* A longer target is cut, and its parts' scores averaged. */
        dns_visil_set_chunk(session, 20);
        struct stored first = t, second = t;
        first.video.n_frames = 20;
        second.video.n_frames = 15;
        second.data = (char *)t.data + 20 * REGIONS * BITS / 8;
        assert_ok(dns_visil_compare(session, &s, &t.video));
        float halves = score_of_codes(&q, &first, (dns_direction)d) +
                       score_of_codes(&q, &second, (dns_direction)d);
        assert_true(fabsf(s - halves / 2) < 1e-6F);
        dns_safetensors *file = NULL;
        assert_ok(dns_parameters_save(dns_visil_parameters(net), path, NULL, 0));
        assert_ok(dns_safetensors_open(&file, path));
        assert_ok(dns_visil_load(&loaded, file, "", dns_visil_rule(net), false));
        assert_int_equal(dns_visil_shape_of(loaded)->code_bits, BITS);
        assert_int_equal(dns_visil_shape_of(loaded)->channels[0], 0);
        dns_safetensors_close(file);
        assert_status(dns_visil_trainer_create(&trainer, net, &codes, NULL), DNS_ERR_ARG);
        drop(&q);
        drop(&t);
        dns_visil_session_free(session);
        dns_visil_free(loaded);
        dns_visil_free(net);
        dns_visil_free(whole);
    }
    dns_visil *plain = make_net(&plain_shape, published, false), *none;
    assert_status(dns_visil_codes_alone(&none, plain), DNS_ERR_ARG);
    dns_visil_free(plain);
    const dns_visil_shape bare = {.dim = DIM};
    assert_status(dns_visil_create(&none, &bare, published, false), DNS_ERR_ARG);
    dns_free(x);
    dns_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_alone_are_compared_without_a_comparator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
