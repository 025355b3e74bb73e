#include "gradient.h"

#include <string.h>

#include "dnsel/netvlad.h"

enum { DIM = 11, CLUSTERS = 9, VIDEOS = 4, ROWS = 12, OUT = CLUSTERS * DIM };

/* One of a single frame, one without any. */
static const size_t offsets[VIDEOS + 1] = {0, 5, 6, 6, ROWS};
static const dns_sequences videos = {VIDEOS, offsets};

struct probe {
    dns_real x[ROWS * DIM], centroids[OUT], assignment[OUT], c[VIDEOS * OUT];
    dns_real v[VIDEOS * OUT], a[ROWS * CLUSTERS], lengths[VIDEOS * (CLUSTERS + 1)];
    dns_real dx[ROWS * DIM], dcentroids[OUT], dassignment[OUT], dv[VIDEOS * OUT];
};

static double loss(void *payload)
{
    struct probe *p = payload;
    dns_netvlad netvlad = {DIM, CLUSTERS, p->centroids, p->assignment};
    assert_ok(dns_netvlad_forward(p->v, p->a, p->lengths, p->x, videos, &netvlad, NULL));
    return gradient_dot(p->v, p->c, VIDEOS * OUT);
}

static void netvlad_matches_finite_differences(void **state)
{
    static struct probe p;
    (void)state;
    dns_random random = dns_random_seed(1);
    gradient_fill(&random, p.x, ROWS * DIM);
    gradient_fill(&random, p.centroids, OUT);
    gradient_fill(&random, p.assignment, OUT);
    gradient_fill(&random, p.c, VIDEOS * OUT);
    loss(&p);
    memcpy(p.dv, p.c, sizeof p.dv);
    dns_netvlad netvlad = {DIM, CLUSTERS, p.centroids, p.assignment};
    assert_ok(dns_netvlad_backward(p.dx, p.dcentroids, p.dassignment, p.dv, p.v, p.a, p.lengths,
                                   p.x, videos, &netvlad, NULL));
    gradient_of arrays[] = {{"x", p.x, p.dx, ROWS * DIM},
                            {"centroids", p.centroids, p.dcentroids, OUT},
                            {"assignment", p.assignment, p.dassignment, OUT}};
    gradient_check(loss, &p, arrays, 3, 1000, 1e-6);
}

static void a_video_without_frames_gives_zeros(void **state)
{
    static struct probe p;
    (void)state;
    dns_random random = dns_random_seed(2);
    gradient_fill(&random, p.x, ROWS * DIM);
    gradient_fill(&random, p.centroids, OUT);
    gradient_fill(&random, p.assignment, OUT);
    loss(&p);
    for (size_t i = 0; i < OUT; i++)
        assert_true(p.v[2 * OUT + i] == 0);
    assert_true(fabs(gradient_dot(p.v, p.v, OUT) - 1) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(netvlad_matches_finite_differences),
        cmocka_unit_test(a_video_without_frames_gives_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
