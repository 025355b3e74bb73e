#include "support.h"

#include <math.h>

#include "fine_cost.h"

static uint32_t ten(const void *payload, size_t i)
{
    if (payload != NULL)
        *(size_t *)(uintptr_t)payload = i;
    return 10;
}

/* 1 ms a comparison and 10 us a cell: 100 queries frames with 10 target frames take 11 ms. */
static void as_many_as_fit_by_a_fitted_model(void **state)
{
    (void)state;
    struct dns_fine_cost cost = {.n_seen = 0};
    size_t n, last = 0;
    assert_status(dns_fine_cost_plan(&n, &cost, 1, 100, 1000, ten, NULL), DNS_ERR_ARG);
    for (size_t i = 1; i <= 3 * DNS_COST_SAMPLES; i++)
        dns_fine_cost_add(&cost, 50.0 * (double)(i % 7),
                          i <= DNS_COST_SAMPLES ? 1000 : 1e-3 + 50e-5 * (double)(i % 7));
    assert_ok(dns_fine_cost_plan(&n, &cost, 1.1 + 1e-6, 100, 1000, ten, &last));
    assert_int_equal(n, 100);
    assert_true(last < 200); /* frames of far ones were not asked for */
    assert_ok(dns_fine_cost_plan(&n, &cost, 1.1 - 1e-6, 100, 1000, ten, NULL));
    assert_int_equal(n, 99);
    assert_ok(dns_fine_cost_plan(&n, &cost, 1e6, 100, 1000, ten, NULL));
    assert_int_equal(n, 1000);
    assert_ok(dns_fine_cost_plan(&n, &cost, 0, 100, 1000, ten, NULL));
    assert_int_equal(n, 0);
    assert_ok(dns_fine_cost_plan(&n, &cost, -1, 100, 1000, ten, NULL));
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_many_as_fit_by_a_fitted_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
