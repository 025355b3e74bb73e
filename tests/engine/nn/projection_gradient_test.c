#include "gradient.h"

#include "dnsel/projection.h"

enum { N = 4, R = 3, IN = 7, OUT = 5 };

static dns_real a[N * R * IN], b[N * R * IN];
static dns_projection *net;
static const dns_projection_batch batch = {a, b, N, R, 0.2, 0.3};

static double loss(void *payload)
{
    (void)payload;
    double value;
    assert_ok(dns_projection_loss(&value, net, &batch, NULL));
    return value;
}

static int setup(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(3);
    assert_ok(dns_projection_create(&net, IN, OUT));
    gradient_fill(&random, a, N * R * IN);
    for (size_t i = 0; i < N * R * IN; i++)
        b[i] = a[i] + (dns_real)(0.5 * dns_random_normal(&random));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_projection_free(net);
    return 0;
}

static void starts_as_the_identity(void **state)
{
    (void)state;
    const dns_real *w = dns_parameters_weight(dns_projection_parameters(net), 0);
    for (size_t i = 0; i < OUT; i++)
        for (size_t j = 0; j < IN; j++)
            assert_true(w[i * IN + j] == (i == j));
    dns_projection *bad;
    assert_status(dns_projection_create(&bad, 4, 5), DNS_ERR_ARG);
    assert_status(dns_projection_create(&bad, 4, 0), DNS_ERR_ARG);
    assert_null(bad);
}

/* Away from the start, so that the pull has a gradient. */
static void gradient_equals_finite_differences(void **state)
{
    (void)state;
    dns_parameters *p = dns_projection_parameters(net);
    dns_random random = dns_random_seed(5);
    for (size_t i = 0; i < OUT * IN; i++)
        dns_parameters_weight(p, 0)[i] += (dns_real)(0.3 * dns_random_normal(&random));
    dns_parameters_zero_gradients(p);
    (void)loss(NULL);
    dns_real gradient[OUT * IN];
    for (size_t i = 0; i < OUT * IN; i++)
        gradient[i] = dns_parameters_gradient(p, 0)[i];
    const gradient_of arrays[] = {{"weight", dns_parameters_weight(p, 0), gradient, OUT * IN}};
    gradient_check(loss, NULL, arrays, 1, 100, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(starts_as_the_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(gradient_equals_finite_differences, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
