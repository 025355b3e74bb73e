#include "support.h"

#include <math.h>

#include "dnsel/budget.h"
#include "dnsel/rank.h"
#include "dnsel/router.h"

static void ranking_is_descending_and_stable(void **state)
{
    (void)state;
    const float values[] = {0, -1, 3, -0.0f, 3, -INFINITY, INFINITY, 1e-45f, -1e-45f};
    const uint32_t expected[] = {6, 2, 4, 7, 0, 3, 8, 1, 5};
    uint32_t order[9];
    assert_ok(dns_rank_descending(order, values, 9));
    assert_memory_equal(order, expected, sizeof order);
    assert_ok(dns_rank_descending(order, values, 0));
    const float nan[] = {1, NAN};
    assert_status(dns_rank_descending(order, nan, 2), DNS_ERR_RANGE);
#if SIZE_MAX > UINT32_MAX
    assert_status(dns_rank_descending(order, values, (size_t)UINT32_MAX + 1), DNS_ERR_LIMIT);
#endif
}

static void ranking_sorts_any_numbers(void **state)
{
    enum { N = 20000 };
    static float values[N];
    static uint32_t order[N];
    static bool seen[N];
    (void)state;
    dns_random random = dns_random_seed(1);
    for (size_t i = 0; i < N; i++) {
        double scale = pow(10, (double)dns_random_below(&random, 60) - 30);
        values[i] = (float)(dns_random_normal(&random) * scale);
    }
    for (size_t i = 0; i < N; i += 3)
        values[i] = (float)dns_random_below(&random, 10);
    assert_ok(dns_rank_descending(order, values, N));
    for (size_t i = 0; i < N; i++) {
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
        if (i > 0)
            assert_true(values[order[i - 1]] > values[order[i]] ||
                        (values[order[i - 1]] == values[order[i]] && order[i - 1] < order[i]));
    }
}

enum { N_TARGETS = 6 };
static const float coarse[] = {0.1f, 0.9f, 0.5f, 0.7f, 0.5f, 0.3f};
static const float confidence[] = {0.9f, 0.2f, 0.8f, 0.2f, 0.8f, 0.95f};
static const float expected[] = {0.4f, 0.8f, 0.6f, 0.7f, 0.6f, 0.2f};
static const float deviation[] = {0.1f, 0, 0.3f, 0, 0.05f, 0.35f};
static const float probability[] = {0.9f, 0.1f, 0.9f, 0, 1, 0.5f};
static const dns_router_input input = {N_TARGETS, coarse,    confidence,
                                       expected,  deviation, probability};

static void assert_chosen(const dns_router_options *options, size_t k, const uint32_t *wanted)
{
    uint32_t chosen[N_TARGETS];
    assert_ok(dns_router_choose(chosen, k, &input, options));
    assert_memory_equal(chosen, wanted, k * sizeof *wanted);
}

static void routers_take_the_best_by_their_measure(void **state)
{
    (void)state;
    dns_router_options o = DNS_ROUTER_OPTIONS_INIT;
    assert_chosen(&o, 4, (uint32_t[]){1, 3, 2, 4});
    o.router = DNS_ROUTER_SELECTOR;
    assert_chosen(&o, 6, (uint32_t[]){5, 0, 2, 4, 1, 3});
    o.router = DNS_ROUTER_HYBRID;
    o.hybrid_share = 0.5; /* within 1, 3, 2 */
    assert_chosen(&o, 3, (uint32_t[]){2, 1, 3});
    o.hybrid_share = 0.1; /* no room for two: the best two by coarse score */
    assert_chosen(&o, 2, (uint32_t[]){1, 3});
    o.router = DNS_ROUTER_EXPECTED;
    assert_chosen(&o, 4, (uint32_t[]){1, 3, 2, 4});
    o.optimism = 1;
    assert_chosen(&o, 3, (uint32_t[]){2, 1, 3});
    assert_chosen(&o, 0, NULL);
    o.router = DNS_ROUTER_PAIR;
    assert_chosen(&o, 4, (uint32_t[]){4, 0, 2, 5});
}

static void random_routing_repeats_and_spreads(void **state)
{
    (void)state;
    dns_router_options o = {.router = DNS_ROUTER_RANDOM};
    size_t hits[N_TARGETS] = {0};
    for (o.seed = 0; o.seed < 3000; o.seed++) {
        uint32_t first[2], again[2];
        assert_ok(dns_router_choose(first, 2, &input, &o));
        assert_ok(dns_router_choose(again, 2, &input, &o));
        assert_memory_equal(first, again, sizeof first);
        assert_int_not_equal(first[0], first[1]);
        hits[first[0]]++;
        hits[first[1]]++;
    }
    for (size_t i = 0; i < N_TARGETS; i++)
        assert_in_range(hits[i], 880, 1120);
}

static void bad_routing_is_refused(void **state)
{
    (void)state;
    uint32_t chosen[N_TARGETS];
    const float nan[] = {1, NAN};
    dns_router_options o = DNS_ROUTER_OPTIONS_INIT;
    dns_router_input none = {.n = 2}, broken = {.n = 2, .coarse = nan};
    assert_status(dns_router_choose(chosen, 7, &input, &o), DNS_ERR_ARG);
    assert_status(dns_router_choose(chosen, 1, &broken, &o), DNS_ERR_RANGE);
    static const dns_router routers[] = {DNS_ROUTER_COARSE, DNS_ROUTER_SELECTOR,
                                         DNS_ROUTER_HYBRID, DNS_ROUTER_EXPECTED,
                                         DNS_ROUTER_PAIR,   (dns_router)77};
    for (size_t i = 0; i < sizeof routers / sizeof routers[0]; i++) {
        o.router = routers[i];
        assert_status(dns_router_choose(chosen, 1, &none, &o), DNS_ERR_ARG);
    }
    o = (dns_router_options){.router = DNS_ROUTER_EXPECTED, .optimism = 1};
    dns_router_input sure = {.n = 2, .expected = coarse};
    assert_status(dns_router_choose(chosen, 1, &sure, &o), DNS_ERR_ARG);
    o.optimism = INFINITY;
    assert_status(dns_router_choose(chosen, 1, &input, &o), DNS_ERR_ARG);
    o = (dns_router_options){.router = DNS_ROUTER_HYBRID, .hybrid_share = 1.5};
    assert_status(dns_router_choose(chosen, 1, &input, &o), DNS_ERR_ARG);
}

static void router_names_go_both_ways(void **state)
{
    (void)state;
    for (dns_router r = DNS_ROUTER_RANDOM; r <= DNS_ROUTER_PAIR; r++) {
        dns_router back = (dns_router)99;
        assert_true(dns_router_parse(&back, dns_router_name(r)));
        assert_int_equal(back, r);
    }
    dns_router r;
    assert_false(dns_router_parse(&r, "oracle"));
    assert_null(dns_router_name((dns_router)77));
}

static void shares_are_floored(void **state)
{
    (void)state;
    assert_int_equal(dns_budget_share(0.05, 199), 9);
    assert_int_equal(dns_budget_share(0.29, 100), 29);
    assert_int_equal(dns_budget_share(0, 100), 0);
    assert_int_equal(dns_budget_share(NAN, 100), 0);
    assert_int_equal(dns_budget_share(1, SIZE_MAX), SIZE_MAX);
    for (size_t n = 0; n < 5000; n++)
        assert_int_equal(dns_budget_share(0.05, n), n / 20);
}

static void costs_are_fitted_and_spent(void **state)
{
    (void)state;
    const double cells[] = {100, 400, 900}, seconds[] = {3, 9, 19};
    const double falling[] = {5, 4, 3}, steep[] = {0, 4, 10};
    dns_cost_model cost;
    assert_ok(dns_budget_fit_cost(&cost, cells, seconds, 3));
    assert_true(fabs(cost.fixed - 1) < 1e-9 && fabs(cost.per_cell - 0.02) < 1e-12);
    const uint32_t frames[] = {10, 20, 5, 100};
    /* 10 query frames: 3 + 5 + 2 + 21 seconds. */
    assert_int_equal(dns_budget_seconds(&cost, 31.001, 10, frames, 4), 4);
    assert_int_equal(dns_budget_seconds(&cost, 30.9, 10, frames, 4), 3);
    assert_int_equal(dns_budget_seconds(&cost, 7.9, 10, frames, 4), 1);
    assert_int_equal(dns_budget_seconds(&cost, 2.9, 10, frames, 4), 0);
    assert_int_equal(dns_budget_seconds(&cost, NAN, 10, frames, 4), 0);
    assert_ok(dns_budget_fit_cost(&cost, cells, falling, 3)); /* no slope below zero */
    assert_true(cost.per_cell == 0 && cost.fixed == 4);
    /* No fixed cost below zero: the best line through the origin. */
    assert_ok(dns_budget_fit_cost(&cost, cells, steep, 3));
    assert_true(cost.fixed == 0 && fabs(cost.per_cell - 10600.0 / 980000.0) < 1e-12);
    assert_ok(dns_budget_fit_cost(&cost, cells, seconds, 1));
    assert_true(cost.fixed == 3 && cost.per_cell == 0);
    assert_status(dns_budget_fit_cost(&cost, cells, seconds, 0), DNS_ERR_ARG);
    assert_status(dns_budget_fit_cost(&cost, cells, (double[]){1, NAN, 1}, 3), DNS_ERR_RANGE);
    assert_status(dns_budget_fit_cost(&cost, (double[]){-1}, seconds, 1), DNS_ERR_RANGE);
}

static void conformal_level_follows_its_formula(void **state)
{
    (void)state;
    const float loss[] = {
        1, 0.5f, 0.1f, 0, /* */
        1, 0.1f, 0.1f, 0, /* */
        1, 0.0f, 0.4f, 0, /* its loss grows with the budget: 0.4 counts at level 1 too */
    };
    size_t level;
    /* (sum + 1) / 4: 1, 0.5, 0.4, 0.25 */
    assert_ok(dns_budget_conformal(&level, loss, 3, 4, 1, 0.99));
    assert_int_equal(level, 1);
    assert_ok(dns_budget_conformal(&level, loss, 3, 4, 1, 0.45));
    assert_int_equal(level, 2);
    assert_ok(dns_budget_conformal(&level, loss, 3, 4, 1, 0.25));
    assert_int_equal(level, 3);
    assert_status(dns_budget_conformal(&level, loss, 3, 4, 1, 0.24), DNS_ERR_NOTFOUND);
    assert_status(dns_budget_conformal(&level, loss, 3, 4, 0.5, 0.5), DNS_ERR_RANGE);
    assert_status(dns_budget_conformal(&level, loss, 0, 4, 1, 0.5), DNS_ERR_ARG);
    assert_status(dns_budget_conformal(&level, loss, 3, 0, 1, 0.5), DNS_ERR_ARG);
    assert_status(dns_budget_conformal(&level, loss, 3, 4, 0, 0.5), DNS_ERR_ARG);
    assert_status(dns_budget_conformal(&level, loss, 3, 4, 1, NAN), DNS_ERR_ARG);
}

/* Queries whose loss is 1 until the budget passes a random need: the promise holds on new ones, and
 * is not bought with a needlessly large budget. */
static void conformal_promise_holds_on_new_queries(void **state)
{
    enum { QUERIES = 60, LEVELS = 101, ROUNDS = 400 };
    static float loss[QUERIES * LEVELS];
    (void)state;
    dns_random random = dns_random_seed(3);
    double total = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t q = 0; q < QUERIES; q++) {
            double need = pow(dns_random_uniform(&random), 2);
            for (size_t j = 0; j < LEVELS; j++)
                loss[q * LEVELS + j] = (double)j / (LEVELS - 1) < need;
        }
        size_t level;
        assert_ok(dns_budget_conformal(&level, loss, QUERIES, LEVELS, 1, 0.1));
        total +=
            1 - sqrt((double)level / (LEVELS - 1)); /* the chance that a new query needs more */
    }
    assert_true(total / ROUNDS < 0.1);
    assert_true(total / ROUNDS > 0.07);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranking_is_descending_and_stable),
        cmocka_unit_test(ranking_sorts_any_numbers),
        cmocka_unit_test(routers_take_the_best_by_their_measure),
        cmocka_unit_test(random_routing_repeats_and_spreads),
        cmocka_unit_test(bad_routing_is_refused),
        cmocka_unit_test(router_names_go_both_ways),
        cmocka_unit_test(shares_are_floored),
        cmocka_unit_test(costs_are_fitted_and_spent),
        cmocka_unit_test(conformal_level_follows_its_formula),
        cmocka_unit_test(conformal_promise_holds_on_new_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
