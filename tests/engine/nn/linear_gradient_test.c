#include "gradient.h"

#include <string.h>

#include "dnsel/linear.h"

enum { N = 131, IN = 7, OUT = 67 };

struct probe {
    dns_real x[N * IN], w[OUT * IN], b[OUT], y[N * OUT], c[N * OUT];
    dns_real dx[N * IN], dw[OUT * IN], db[OUT];
    bool has_bias;
};

static double probe_loss(void *payload)
{
    struct probe *p = payload;
    assert_ok(dns_linear_forward(p->y, p->x, p->w, p->has_bias ? p->b : NULL, N, IN, OUT, NULL));
    return gradient_dot(p->y, p->c, N * OUT);
}

static void linear_matches_finite_differences(void **state)
{
    static struct probe p;
    (void)state;
    dns_random random = dns_random_seed(1);
    gradient_fill(&random, p.x, N * IN);
    gradient_fill(&random, p.w, OUT * IN);
    gradient_fill(&random, p.b, OUT);
    gradient_fill(&random, p.c, N * OUT);
    for (int has_bias = 0; has_bias < 2; has_bias++) {
        p.has_bias = has_bias;
        memset(p.dw, 0, sizeof p.dw);
        memset(p.db, 0, sizeof p.db);
        assert_ok(dns_linear_backward(p.dx, p.dw, has_bias ? p.db : NULL, p.c, p.x, p.w, N, IN, OUT,
                                      NULL));
        gradient_of arrays[] = {
            {"dx", p.x, p.dx, N * IN}, {"dw", p.w, p.dw, OUT * IN}, {"db", p.b, p.db, OUT}};
        gradient_check(probe_loss, &p, arrays, has_bias ? 3 : 2, 500, 1e-8);
    }
}

static void gradients_are_added_to(void **state)
{
    (void)state;
    dns_real x[] = {2, 3}, w[] = {5, 7}, dy[] = {1}, dw[] = {100, 200}, db[] = {300};
    assert_ok(dns_linear_backward(NULL, dw, db, dy, x, w, 1, 2, 1, NULL));
    assert_true(dw[0] == 102 && dw[1] == 203 && db[0] == 301);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_matches_finite_differences),
        cmocka_unit_test(gradients_are_added_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
