/* Layer norm, batch norm and the softmax losses against finite differences. */
#include "gradient.h"

#include <string.h>

#include "dnsel/batch_norm.h"
#include "dnsel/cross_entropy.h"
#include "dnsel/layer_norm.h"

enum { N = 37, DIM = 67 };

struct probe {
    dns_real x[N * DIM], w[DIM], b[DIM], c[N * DIM], y[N * DIM];
    dns_real dx[N * DIM], dw[DIM], db[DIM];
    dns_real mean[DIM], variance[DIM], rstd[DIM];
};

static void fill(struct probe *p, uint64_t seed)
{
    dns_random random = dns_random_seed(seed);
    memset(p, 0, sizeof *p);
    gradient_fill(&random, p->x, N * DIM);
    gradient_fill(&random, p->w, DIM);
    gradient_fill(&random, p->b, DIM);
    gradient_fill(&random, p->c, N * DIM);
}

static double layer_norm_loss(void *payload)
{
    struct probe *p = payload;
    assert_ok(dns_layer_norm_forward(p->y, p->mean, p->rstd, p->x, p->w, p->b, N, DIM, NULL));
    return gradient_dot(p->y, p->c, N * DIM);
}

static void layer_norm_matches_finite_differences(void **state)
{
    static struct probe p;
    (void)state;
    fill(&p, 1);
    layer_norm_loss(&p);
    assert_ok(
        dns_layer_norm_backward(p.dx, p.dw, p.db, p.c, p.x, p.mean, p.rstd, p.w, N, DIM, NULL));
    gradient_of arrays[] = {
        {"x", p.x, p.dx, N * DIM}, {"w", p.w, p.dw, DIM}, {"b", p.b, p.db, DIM}};
    gradient_check(layer_norm_loss, &p, arrays, 3, 400, 1e-7);
}

static double batch_norm_loss(void *payload)
{
    struct probe *p = payload;
    dns_batch_norm_statistics(p->mean, p->variance, p->x, N, DIM);
    dns_batch_norm_apply(p->y, p->x, p->mean, p->variance, p->w, p->b, N, DIM);
    return gradient_dot(p->y, p->c, N * DIM);
}

static void batch_norm_matches_finite_differences(void **state)
{
    static struct probe p;
    (void)state;
    fill(&p, 2);
    batch_norm_loss(&p);
    dns_batch_norm_backward(p.dx, p.dw, p.db, p.c, p.x, p.mean, p.variance, p.w, N, DIM);
    gradient_of arrays[] = {
        {"x", p.x, p.dx, N * DIM}, {"w", p.w, p.dw, DIM}, {"b", p.b, p.db, DIM}};
    gradient_check(batch_norm_loss, &p, arrays, 3, 400, 1e-7);
}

static double contrast_loss(void *payload)
{
    struct probe *p = payload;
    double loss;
    dns_info_nce(&loss, NULL, p->x, NULL, N, DIM, 0.3);
    return loss;
}

static void info_nce_matches_finite_differences(void **state)
{
    static struct probe p;
    double loss;
    (void)state;
    fill(&p, 3);
    dns_info_nce(&loss, p.dx, p.x, NULL, N, DIM, 0.3);
    assert_true(fabs(loss - contrast_loss(&p)) < 1e-12);
    gradient_of arrays[] = {{"similarities", p.x, p.dx, N * DIM}};
    gradient_check(contrast_loss, &p, arrays, 1, 2500, 1e-7);
}

static double soft_loss(void *payload)
{
    struct probe *p = payload;
    double loss;
    dns_cross_entropy(&loss, NULL, p->x, p->c, p->w, N, DIM, 1.7);
    return loss;
}

static void soft_cross_entropy_matches_finite_differences(void **state)
{
    static struct probe p;
    double loss;
    (void)state;
    fill(&p, 4);
    for (size_t i = 0; i < N * DIM; i++)
        p.c[i] = p.c[i] > 0 ? p.c[i] : 0; /* rows that do not sum to one */
    dns_cross_entropy(&loss, p.dx, p.x, p.c, p.w, N, DIM, 1.7);
    assert_true(fabs(loss - soft_loss(&p)) < 1e-12);
    gradient_of arrays[] = {{"logits", p.x, p.dx, N * DIM}};
    gradient_check(soft_loss, &p, arrays, 1, 2500, 1e-7);
}

enum { PAIRS = 6 };
static dns_real similarities[PAIRS * PAIRS], opinion[PAIRS * PAIRS], dsimilarities[PAIRS * PAIRS];
static const dns_distilled_contrast_options distilled = {
    .tau = 0.4, .teacher_tau = 0.7, .share = 0.3};

static double distilled_loss(void *payload)
{
    double loss;
    (void)payload;
    assert_ok(dns_distilled_contrast(&loss, NULL, similarities, opinion, PAIRS, &distilled));
    return loss;
}

static void distilled_contrast_matches_finite_differences(void **state)
{
    (void)state;
    double loss, rows, columns;
    dns_random random = dns_random_seed(6);
    gradient_fill(&random, similarities, PAIRS * PAIRS);
    gradient_fill(&random, opinion, PAIRS * PAIRS);
    assert_ok(
        dns_distilled_contrast(&loss, dsimilarities, similarities, opinion, PAIRS, &distilled));
    const gradient_of arrays[] = {{"similarities", similarities, dsimilarities, PAIRS * PAIRS}};
    gradient_check(distilled_loss, NULL, arrays, 1, 100, 1e-7);
    /* Without a teacher it is InfoNCE in both directions. */
    dns_real turned[PAIRS * PAIRS];
    for (size_t i = 0; i < PAIRS * PAIRS; i++)
        turned[i] = similarities[i % PAIRS * PAIRS + i / PAIRS];
    dns_info_nce(&rows, NULL, similarities, NULL, PAIRS, PAIRS, 0.4);
    dns_info_nce(&columns, NULL, turned, NULL, PAIRS, PAIRS, 0.4);
    dns_distilled_contrast_options o = {.tau = 0.4};
    assert_ok(dns_distilled_contrast(&loss, NULL, similarities, NULL, PAIRS, &o));
    assert_true(fabs(loss - (rows + columns) / 2) < 1e-12);
    o.share = 0.5;
    assert_status(dns_distilled_contrast(&loss, NULL, similarities, NULL, PAIRS, &o), DNS_ERR_ARG);
    o = (dns_distilled_contrast_options){.tau = 0};
    assert_status(dns_distilled_contrast(&loss, NULL, similarities, NULL, PAIRS, &o), DNS_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_matches_finite_differences),
        cmocka_unit_test(batch_norm_matches_finite_differences),
        cmocka_unit_test(info_nce_matches_finite_differences),
        cmocka_unit_test(soft_cross_entropy_matches_finite_differences),
        cmocka_unit_test(distilled_contrast_matches_finite_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
