#include "support.h"

#include <string.h>

#include "dnsel/backbone_split.h"
#include "dnsel/extractor.h"

#include "small_backbone.h"

enum { N = 5, OUT = 4 };

static uint8_t frames[N * SIZE * SIZE * 3];

/* Front and tail together give the region vectors that the whole network gives. */
static void front_and_tail_make_the_whole(void **state)
{
    (void)state;
    dns_graph *graph = make_graph(true);
    dns_extractor *extractor;
    dns_extractor_session *whole;
    dns_backbone_front *front;
    dns_backbone_front_session *session;
    dns_backbone_tail *tail;
    static float expected[N * DNS_REGIONS * TAP_SUM], joined[N * DNS_REGIONS * TAP_SUM],
        regions[N * DNS_REGIONS * OUT];
    static float trunk[N * 7 * 7 * 6], fixed[N * DNS_REGIONS * (TAP_SUM - 10)], mean[TAP_SUM],
        matrix[TAP_SUM * OUT];
    for (size_t i = 0; i < sizeof frames; i++)
        frames[i] = (uint8_t)dns_random_next(&randomness);
    for (size_t i = 0; i < TAP_SUM * OUT; i++)
        matrix[i] = (float)dns_random_normal(&randomness);
    assert_ok(dns_extractor_create(&extractor, &small, graph, 2, DNS_PRECISION_F32, NULL));
    assert_ok(dns_extractor_session_create(&whole, extractor));
    assert_ok(dns_extractor_run(whole, expected, frames, N));
    assert_ok(dns_backbone_front_create(&front, &small, graph));
    assert_int_equal(dns_backbone_front_trunk(front), 7 * 7 * 6);
    assert_int_equal(dns_backbone_front_fixed(front), TAP_SUM - 10);
    assert_ok(dns_backbone_front_session_create(&session, front));
    assert_ok(dns_backbone_front_run(session, trunk, fixed, frames, N));
    assert_ok(dns_backbone_tail_of(&tail, &small, graph, OUT, true));
    dns_backbone_tail_set_whitening(tail, mean, matrix);
    const dns_tail_batch batch = {trunk, fixed, N};
    assert_ok(dns_backbone_tail_forward(tail, regions, joined, &batch, NULL));
    test_assert_close("joined", joined, expected, N * DNS_REGIONS * TAP_SUM, 2e-6, 0);
    const dns_parameters *p = dns_backbone_tail_parameters(tail);
    assert_int_equal(dns_parameters_count(p), 8);
    assert_string_equal(dns_parameters_at(p, 0)->name, "expand1.weight");
    assert_string_equal(dns_parameters_at(p, 7)->name, "head.bias");
    dns_backbone_tail_free(tail);
    dns_backbone_front_session_free(session);
    dns_backbone_front_free(front);
    dns_extractor_session_free(whole);
    dns_extractor_free(extractor);
    dns_graph_free(graph);
}

static void other_networks_are_refused(void **state)
{
    (void)state;
    dns_graph *graph = make_graph(false);
    dns_backbone_tail *tail;
    dns_backbone_front *front;
    assert_status(dns_backbone_tail_of(&tail, &small, graph, OUT, false), DNS_ERR_UNSUPPORTED);
    assert_status(dns_backbone_front_create(&front, &small, graph), DNS_ERR_UNSUPPORTED);
    dns_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(front_and_tail_make_the_whole),
        cmocka_unit_test(other_networks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
