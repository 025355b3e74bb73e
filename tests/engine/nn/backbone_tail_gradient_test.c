#include "gradient.h"

#include <string.h>

#include "dnsel/backbone_tail.h"

enum { N = 3, SIZE = 5, IN = 4, FIXED = 6, HEAD = 7, OUT = 5, RD = DNS_TAIL_REGIONS };

static const dns_tail_shape shape = {
    .size = SIZE,
    .n_blocks = 2,
    .blocks = {{"b0.e", "b0.d", "b0.p", IN, 9, IN, 3}, {"b1.e", "b1.d", "b1.p", IN, 8, 6, 5}},
    .head_name = "head",
    .head = HEAD,
    .window = 3,
    .stride = 1,
    .fixed = FIXED,
    .out = OUT,
};

static dns_real trunk[N * SIZE * SIZE * IN], fixed[N * RD * FIXED], mean[FIXED + HEAD],
    matrix[(FIXED + HEAD) * OUT];
static dns_real regions[N * RD * OUT], c[N * RD * OUT];
static dns_backbone_tail *net;
static const dns_tail_batch batch = {trunk, fixed, N};

static double loss(void *payload)
{
    (void)payload;
    assert_ok(dns_backbone_tail_forward(net, regions, NULL, &batch, NULL));
    return gradient_dot(regions, c, N * RD * OUT);
}

static void setup(void)
{
    dns_random random = dns_random_seed(11);
    assert_ok(dns_backbone_tail_create(&net, &shape, true));
    dns_parameters *p = dns_backbone_tail_parameters(net);
    for (size_t i = 0; i < dns_parameters_count(p); i++)
        gradient_fill(&random, dns_parameters_weight(p, i), dns_parameters_at(p, i)->count);
    gradient_fill(&random, trunk, N * SIZE * SIZE * IN);
    gradient_fill(&random, fixed, N * RD * FIXED);
    gradient_fill(&random, mean, FIXED + HEAD);
    gradient_fill(&random, matrix, (FIXED + HEAD) * OUT);
    gradient_fill(&random, c, N * RD * OUT);
    dns_backbone_tail_set_whitening(net, mean, matrix);
}

static void gradients_equal_finite_differences(void **state)
{
    (void)state;
    setup();
    dns_parameters *p = dns_backbone_tail_parameters(net);
    gradient_of arrays[16];
    size_t n = dns_parameters_count(p);
    assert_int_equal(n, 14);
    (void)loss(NULL);
    dns_parameters_zero_gradients(p);
    assert_ok(dns_backbone_tail_backward(net, c, &batch, NULL));
    for (size_t i = 0; i < n; i++)
        arrays[i] = (gradient_of){dns_parameters_at(p, i)->name, dns_parameters_weight(p, i),
                                  dns_parameters_gradient(p, i), dns_parameters_at(p, i)->count};
    gradient_check(loss, NULL, arrays, n, 60, 1e-5);
    dns_backbone_tail_free(net);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    dns_pool *pool;
    dns_real alone[N * RD * OUT];
    setup();
    (void)loss(NULL);
    memcpy(alone, regions, sizeof alone);
    assert_ok(dns_pool_create(&pool, 3));
    assert_ok(dns_backbone_tail_forward(net, regions, NULL, &batch, pool));
    assert_memory_equal(alone, regions, sizeof alone);
    dns_pool_free(pool);
    dns_backbone_tail_free(net);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    dns_tail_shape bad = shape;
    bad.stride = 2;
    assert_status(dns_backbone_tail_create(&net, &bad, false), DNS_ERR_SHAPE);
    bad = shape;
    bad.blocks[1].in = 5;
    assert_status(dns_backbone_tail_create(&net, &bad, false), DNS_ERR_SHAPE);
    bad.n_blocks = 0;
    assert_status(dns_backbone_tail_create(&net, &bad, false), DNS_ERR_SHAPE);
}

enum { M = 4, R = 3, D = 5 };
static dns_real a[N * R * D], b[M * R * D], da[N * R * D], db[M * R * D], s[N * M], cs[N * M];
static uint8_t winners[N * R * M];

static double contrast_loss(void *payload)
{
    (void)payload;
    assert_ok(dns_region_contrast_forward(s, winners, a, b, N, M, R, D, NULL));
    return gradient_dot(s, cs, N * M);
}

static void contrast_equals_its_definition_and_differences(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(4);
    gradient_fill(&random, a, N * R * D);
    gradient_fill(&random, b, M * R * D);
    gradient_fill(&random, cs, N * M);
    (void)contrast_loss(NULL);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < M; j++) {
            double sum = 0;
            for (size_t o = 0; o < R; o++) {
                double best = -INFINITY;
                for (size_t p = 0; p < R; p++)
                    best = fmax(best, gradient_dot(a + (i * R + o) * D, b + (j * R + p) * D, D));
                sum += best;
            }
            assert_true(fabs(sum / R - (double)s[i * M + j]) < 1e-12);
        }
    assert_ok(dns_region_contrast_backward(da, db, cs, winners, a, b, N, M, R, D, NULL));
    const gradient_of arrays[] = {{"a", a, da, N * R * D}, {"b", b, db, M * R * D}};
    gradient_check(contrast_loss, NULL, arrays, 2, 100, 1e-6);
    assert_status(dns_region_contrast_forward(s, winners, a, b, N, M, 256, D, NULL), DNS_ERR_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(contrast_equals_its_definition_and_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
