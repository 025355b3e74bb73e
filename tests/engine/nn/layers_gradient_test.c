#include "gradient.h"

#include <string.h>

#include "dnsel/attention.h"
#include "dnsel/binarise.h"
#include "dnsel/losses.h"
#include "dnsel/normalise.h"

/* Arrays of one test: x with gradient dx, and so on; filled with normal numbers. */
enum { N = 13, DIM = 11, HIDDEN = 5, MOST = 600 };

struct probe {
    dns_real x[MOST], w[MOST], b[MOST], u[MOST], y[MOST], h[MOST], gate[MOST], norm[MOST], c[MOST];
    dns_real dx[MOST], dw[MOST], db[MOST], du[MOST], dgate[MOST];
};

static struct probe *make_probe(uint64_t seed)
{
    static struct probe p;
    memset(&p, 0, sizeof p);
    dns_random random = dns_random_seed(seed);
    gradient_fill(&random, p.x, MOST);
    gradient_fill(&random, p.w, MOST);
    gradient_fill(&random, p.b, MOST);
    gradient_fill(&random, p.u, MOST);
    gradient_fill(&random, p.c, MOST);
    return &p;
}

/* The weighted vectors, as the networks use the gate: loss depends on x twice. */
static double attention_loss(void *payload)
{
    struct probe *p = payload;
    assert_ok(dns_attention_forward(p->gate, p->h, p->x, p->w, p->b, p->u, N, DIM, HIDDEN, NULL));
    dns_attention_apply(p->y, p->x, p->gate, N, DIM);
    return gradient_dot(p->y, p->c, N * DIM);
}

static void attention_matches_finite_differences(void **state)
{
    (void)state;
    struct probe *p = make_probe(1);
    dns_real through_gate[N * DIM];
    attention_loss(p);
    dns_attention_apply_backward(p->dx, p->dgate, p->c, p->x, p->gate, N, DIM);
    assert_ok(dns_attention_backward(through_gate, p->dw, p->db, p->du, p->dgate, p->gate, p->h,
                                     p->x, p->w, p->u, N, DIM, HIDDEN, NULL));
    for (size_t i = 0; i < N * DIM; i++)
        p->dx[i] += through_gate[i];
    gradient_of arrays[] = {{"dx", p->x, p->dx, N * DIM},
                            {"dw", p->w, p->dw, HIDDEN * DIM},
                            {"db", p->b, p->db, HIDDEN},
                            {"du", p->u, p->du, HIDDEN}};
    gradient_check(attention_loss, p, arrays, 4, MOST, 1e-8);
}

static double teacher_loss(void *payload)
{
    struct probe *p = payload;
    assert_ok(dns_attention_teacher_forward(p->gate, p->x, p->u, N, DIM, NULL));
    return gradient_dot(p->gate, p->c, N);
}

static void teacher_attention_matches_finite_differences(void **state)
{
    (void)state;
    struct probe *p = make_probe(2);
    assert_ok(dns_attention_teacher_backward(p->dx, p->du, p->c, p->x, p->u, N, DIM, NULL));
    gradient_of arrays[] = {{"dx", p->x, p->dx, N * DIM}, {"du", p->u, p->du, DIM}};
    gradient_check(teacher_loss, p, arrays, 2, MOST, 1e-8);
    dns_real half[] = {0.5, 0, 0}, one[] = {1, 0, 0}, gate;
    assert_ok(dns_attention_teacher_forward(&gate, half, one, 1, 3, NULL));
    assert_true(gate == 0.75);
}

static double normalise_loss(void *payload)
{
    struct probe *p = payload;
    dns_normalise_forward(p->y, p->norm, p->x, N, DIM);
    return gradient_dot(p->y, p->c, N * DIM);
}

static void normalisation_matches_finite_differences(void **state)
{
    (void)state;
    struct probe *p = make_probe(3);
    normalise_loss(p);
    dns_normalise_backward(p->dx, p->c, p->y, p->norm, N, DIM);
    gradient_of arrays[] = {{"dx", p->x, p->dx, N * DIM}};
    gradient_check(normalise_loss, p, arrays, 1, MOST, 1e-8);
}

static void normalisation_keeps_zero_and_divides_by_the_smallest(void **state)
{
    (void)state;
    dns_real x[] = {0, 0, 3e-13, 4e-13, 3, 4}, y[6], norm[3], dy[] = {1, 2, 1, 2, 1, 2}, dx[6];
    dns_normalise_forward(y, norm, x, 3, 2);
    assert_true(y[0] == 0 && y[1] == 0 && norm[0] == 1e-12);
    assert_true(fabs(y[2] - 0.3) < 1e-12 && norm[1] == 1e-12);
    assert_true(fabs(y[4] - 0.6) < 1e-12 && norm[2] == 5);
    dns_normalise_backward(dx, dy, y, norm, 3, 2);
    assert_true(dx[0] == 1e12 && dx[3] == 2e12);
}

static const double SIGMA = 0.3;

static double erf_loss(void *payload)
{
    struct probe *p = payload;
    dns_binarise_erf_forward(p->y, p->x, N * DIM, SIGMA);
    return gradient_dot(p->y, p->c, N * DIM);
}

static void smooth_codes_match_finite_differences(void **state)
{
    (void)state;
    struct probe *p = make_probe(4);
    dns_binarise_erf_backward(p->dx, p->c, p->x, N * DIM, SIGMA);
    gradient_of arrays[] = {{"dz", p->x, p->dx, N * DIM}};
    gradient_check(erf_loss, p, arrays, 1, MOST, 1e-8);
}

static void codes_are_signs_and_bits_in_order(void **state)
{
    (void)state;
    dns_real z[11] = {1, -1, 0, 1e-30, -1e-30, 5, -5, 2, -3, 0.5, 4}, y[11], back[11];
    uint8_t bits[2];
    dns_binarise_sign_forward(y, z, 11);
    dns_binarise_pack(bits, z, 1, 11);
    assert_int_equal(bits[0], 1 + 8 + 32 + 128);
    assert_int_equal(bits[1], 2 + 4);
    dns_binarise_unpack(back, bits, 1, 11);
    for (size_t i = 0; i < 11; i++)
        assert_true(back[i] == y[i] && y[i] == (z[i] > 0 ? 1 : -1));
    assert_int_equal(dns_code_bytes(512), 64);
    assert_int_equal(dns_code_bytes(513), 65);
    dns_real dy[11] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, dz[11];
    dns_binarise_sign_backward(dz, dy, z, 11, 1);
    assert_true(dz[0] == 0 && dz[2] == 3 && dz[5] == 0 && dz[9] == 10);
}

static double l1_loss(void *payload)
{
    struct probe *p = payload;
    return dns_loss_l1(p->y, p->x, p->w, N);
}

static double triplet_loss(void *payload)
{
    struct probe *p = payload;
    return dns_loss_triplet(p->y, p->h, p->x, p->w, N, 0.5);
}

static double entropy_loss(void *payload)
{
    struct probe *p = payload;
    return dns_loss_cross_entropy(p->y, p->x, p->w, N);
}

static void losses_match_finite_differences(void **state)
{
    (void)state;
    struct probe *p = make_probe(5);
    dns_loss_l1(p->dx, p->x, p->w, N);
    gradient_check(l1_loss, p, &(gradient_of){"ds", p->x, p->dx, N}, 1, MOST, 1e-8);
    dns_loss_triplet(p->dx, p->dw, p->x, p->w, N, 0.5);
    gradient_of both[] = {{"dpositive", p->x, p->dx, N}, {"dnegative", p->w, p->dw, N}};
    gradient_check(triplet_loss, p, both, 2, MOST, 1e-8);
    for (size_t i = 0; i < N; i++)
        p->w[i] = (dns_real)(i % 2);
    dns_loss_cross_entropy(p->dx, p->x, p->w, N);
    gradient_check(entropy_loss, p, &(gradient_of){"dlogits", p->x, p->dx, N}, 1, MOST, 1e-8);
}

static void losses_have_their_values(void **state)
{
    (void)state;
    dns_real s[] = {1, 2, 3}, t[] = {2, 2, 1}, ds[3], dt[3];
    assert_true(dns_loss_l1(ds, s, t, 3) == 1);
    assert_true(ds[0] == -1.0 / 3 && ds[1] == 0 && ds[2] == 1.0 / 3);
    assert_true(fabs(dns_loss_triplet(ds, dt, s, t, 3, 0.5) - (1.5 + 0.5) / 3) < 1e-15);
    assert_true(ds[2] == 0 && dt[2] == 0 && dt[1] == 1.0 / 3);
    dns_real logits[] = {1000, -1000, 0}, labels[] = {1, 1, 0};
    assert_true(fabs(dns_loss_cross_entropy(ds, logits, labels, 3) - (1000 + log(2)) / 3) < 1e-12);
    assert_true(ds[0] == 0 && ds[1] == -1.0 / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_matches_finite_differences),
        cmocka_unit_test(teacher_attention_matches_finite_differences),
        cmocka_unit_test(normalisation_matches_finite_differences),
        cmocka_unit_test(normalisation_keeps_zero_and_divides_by_the_smallest),
        cmocka_unit_test(smooth_codes_match_finite_differences),
        cmocka_unit_test(codes_are_signs_and_bits_in_order),
        cmocka_unit_test(losses_match_finite_differences),
        cmocka_unit_test(losses_have_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
