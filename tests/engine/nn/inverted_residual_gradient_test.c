#include "gradient.h"

#include <string.h>

#include "dnsel/depthwise.h"
#include "dnsel/inverted_residual.h"

enum { N = 2, SIZE = 4, IN = 5, EXPANDED = 37, OUT = 5, KERNEL = 5, CELLS = N * SIZE * SIZE };

static dns_real x[CELLS * IN], expand_w[EXPANDED * IN], expand_b[EXPANDED];
static dns_real depthwise_w[EXPANDED * KERNEL * KERNEL], depthwise_b[EXPANDED],
    project_w[OUT * EXPANDED], project_b[OUT];
static dns_real dx[CELLS * IN], dexpand_w[EXPANDED * IN], dexpand_b[EXPANDED];
static dns_real ddepthwise_w[EXPANDED * KERNEL * KERNEL], ddepthwise_b[EXPANDED],
    dproject_w[OUT * EXPANDED], dproject_b[OUT];
static dns_real y[CELLS * OUT], c[CELLS * OUT];
static dns_inverted_residual_trace trace;
static dns_pool *pool;

static dns_inverted_residual block(size_t in)
{
    return (dns_inverted_residual){.size = SIZE,
                                   .in = in,
                                   .expanded = EXPANDED,
                                   .out = OUT,
                                   .kernel = KERNEL,
                                   .expand_w = expand_w,
                                   .expand_b = expand_b,
                                   .depthwise_w = depthwise_w,
                                   .depthwise_b = depthwise_b,
                                   .project_w = project_w,
                                   .project_b = project_b};
}

static double loss(void *payload)
{
    const dns_inverted_residual b = block(*(size_t *)payload);
    assert_ok(dns_inverted_residual_forward(y, &trace, &b, x, N, pool));
    return gradient_dot(y, c, CELLS * OUT);
}

static void draw(void)
{
    dns_random random = dns_random_seed(5);
    gradient_fill(&random, x, CELLS * IN);
    gradient_fill(&random, expand_w, EXPANDED * IN);
    gradient_fill(&random, expand_b, EXPANDED);
    gradient_fill(&random, depthwise_w, EXPANDED * KERNEL * KERNEL);
    gradient_fill(&random, depthwise_b, EXPANDED);
    gradient_fill(&random, project_w, OUT * EXPANDED);
    gradient_fill(&random, project_b, OUT);
    gradient_fill(&random, c, CELLS * OUT);
}

static void check(size_t in)
{
    const dns_inverted_residual b = block(in);
    dns_inverted_residual_gradient g = {dexpand_w,    dexpand_b,  ddepthwise_w,
                                        ddepthwise_b, dproject_w, dproject_b};
    memset(dexpand_w, 0, sizeof dexpand_w);
    memset(dexpand_b, 0, sizeof dexpand_b);
    memset(ddepthwise_w, 0, sizeof ddepthwise_w);
    memset(ddepthwise_b, 0, sizeof ddepthwise_b);
    memset(dproject_w, 0, sizeof dproject_w);
    memset(dproject_b, 0, sizeof dproject_b);
    (void)loss(&in);
    assert_ok(dns_inverted_residual_backward(dx, &g, c, &trace, &b, x, N, pool));
    const gradient_of arrays[] = {
        {"x", x, dx, CELLS * in},
        {"expand.w", expand_w, dexpand_w, EXPANDED * in},
        {"expand.b", expand_b, dexpand_b, EXPANDED},
        {"depthwise.w", depthwise_w, ddepthwise_w, EXPANDED * KERNEL * KERNEL},
        {"depthwise.b", depthwise_b, ddepthwise_b, EXPANDED},
        {"project.w", project_w, dproject_w, OUT * EXPANDED},
        {"project.b", project_b, dproject_b, OUT},
    };
    gradient_check(loss, &in, arrays, sizeof arrays / sizeof arrays[0], 60, 1e-6);
}

static void gradients_equal_finite_differences(void **state)
{
    (void)state;
    draw();
    check(OUT);     /* with the residual */
    check(OUT - 1); /* without */
}

static void threads_change_nothing(void **state)
{
    (void)state;
    draw();
    size_t in = OUT;
    double alone = loss(&in);
    assert_ok(dns_pool_create(&pool, 3));
    assert_true(loss(&in) == alone);
    dns_real before[EXPANDED * IN];
    check(OUT);
    memcpy(before, dexpand_w, sizeof before);
    dns_pool_free(pool);
    pool = NULL;
    check(OUT);
    assert_memory_equal(before, dexpand_w, sizeof before);
}

/* Direct definition, for sizes smaller than the kernel too. */
static void depthwise_equals_its_definition(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(9);
    for (size_t round = 0; round < 20; round++) {
        dns_depthwise s = {1 + dns_random_below(&random, 3), 1 + dns_random_below(&random, 8),
                           1 + dns_random_below(&random, 8), 1 + dns_random_below(&random, 70),
                           1 + 2 * dns_random_below(&random, 3)};
        size_t n = s.n * s.height * s.width * s.channels;
        dns_real *in, *out, *w, *b;
        assert_ok(dns_alloc(&in, n, sizeof *in));
        assert_ok(dns_alloc(&out, n, sizeof *out));
        assert_ok(dns_alloc(&w, s.channels * s.kernel * s.kernel, sizeof *w));
        assert_ok(dns_alloc(&b, s.channels, sizeof *b));
        gradient_fill(&random, in, n);
        gradient_fill(&random, w, s.channels * s.kernel * s.kernel);
        gradient_fill(&random, b, s.channels);
        assert_ok(dns_depthwise_forward(out, in, w, b, &s, NULL));
        for (size_t at = 0; at < n; at++) {
            size_t k = at % s.channels, col = at / s.channels % s.width,
                   row = at / s.channels / s.width % s.height;
            size_t image = at / s.channels / s.width / s.height;
            double sum = (double)b[k];
            for (size_t u = 0; u < s.kernel; u++)
                for (size_t v = 0; v < s.kernel; v++) {
                    size_t r = row + u - s.kernel / 2,
                           l = col + v - s.kernel / 2; /* wraps far above when negative */
                    if (r < s.height && l < s.width)
                        sum += (double)in[((image * s.height + r) * s.width + l) * s.channels + k] *
                               (double)w[(k * s.kernel + u) * s.kernel + v];
                }
            assert_true(fabs(sum - (double)out[at]) < 1e-10);
        }
        dns_free(in);
        dns_free(out);
        dns_free(w);
        dns_free(b);
    }
    dns_depthwise even = {1, 2, 2, 1, 2};
    assert_status(dns_depthwise_forward(y, x, depthwise_w, depthwise_b, &even, NULL),
                  DNS_ERR_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(depthwise_equals_its_definition),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dns_inverted_residual_trace_free(&trace);
    return failed;
}
