#include "gradient.h"

#include <string.h>

#include "dnsel/mlp.h"

enum { N = 9, LAYERS = 3, WIDEST = 13 };

static const size_t sizes[LAYERS + 1] = {5, 13, 7, 3};

struct probe {
    dns_real x[N * 5], c[N * 3], dx[N * 5];
    dns_real w[LAYERS][WIDEST * WIDEST], b[LAYERS][WIDEST], y[LAYERS][N * WIDEST];
    dns_real dw[LAYERS][WIDEST * WIDEST], db[LAYERS][WIDEST];
};

static dns_mlp mlp_of(struct probe *p)
{
    static const dns_real *w[LAYERS], *b[LAYERS];
    for (size_t l = 0; l < LAYERS; l++) {
        w[l] = p->w[l];
        b[l] = l == 1 ? NULL : p->b[l];
    }
    return (dns_mlp){LAYERS, sizes, w, b};
}

static double loss(void *payload)
{
    struct probe *p = payload;
    dns_mlp mlp = mlp_of(p);
    dns_real *outputs[] = {p->y[0], p->y[1], p->y[2]};
    assert_ok(dns_mlp_forward(outputs, p->x, N, &mlp, NULL));
    return gradient_dot(p->y[2], p->c, N * 3);
}

static void mlp_matches_finite_differences(void **state)
{
    static struct probe p;
    (void)state;
    dns_random random = dns_random_seed(1);
    gradient_fill(&random, p.x, N * 5);
    gradient_fill(&random, p.c, N * 3);
    for (size_t l = 0; l < LAYERS; l++) {
        gradient_fill(&random, p.w[l], WIDEST * WIDEST);
        gradient_fill(&random, p.b[l], WIDEST);
    }
    loss(&p);
    dns_mlp mlp = mlp_of(&p);
    const dns_real *outputs[] = {p.y[0], p.y[1], p.y[2]};
    dns_real *dw[] = {p.dw[0], p.dw[1], p.dw[2]}, *db[] = {p.db[0], NULL, p.db[2]};
    assert_ok(dns_mlp_backward(p.dx, dw, db, p.c, outputs, p.x, N, &mlp, NULL));
    gradient_of arrays[] = {{"x", p.x, p.dx, N * 5},
                            {"w0", p.w[0], p.dw[0], sizes[1] * sizes[0]},
                            {"b0", p.b[0], p.db[0], sizes[1]},
                            {"w1", p.w[1], p.dw[1], sizes[2] * sizes[1]},
                            {"w2", p.w[2], p.dw[2], sizes[3] * sizes[2]},
                            {"b2", p.b[2], p.db[2], sizes[3]}};
    gradient_check(loss, &p, arrays, 6, 1000, 1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlp_matches_finite_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
