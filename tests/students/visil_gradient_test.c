/* Teacher and fine students as a whole, in double: every gradient against finite differences. */
#include "../engine/nn/gradient.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/visil_training.h"

enum { DIM = 6, REGIONS = 3, VIDEOS = 4, PAIRS = 5, FRAMES_MOST = 12 };

struct probe {
    dns_visil *net;
    dns_visil_trainer *trainer;
    dns_visil_batch batch;
    dns_real x[VIDEOS * FRAMES_MOST * REGIONS * DIM];
    dns_real scores[PAIRS], dscores[PAIRS];
    double penalty, penalty_weight;
};

static const dns_visil_pair pairs[PAIRS] = {{0, 1}, {0, 2}, {1, 3}, {3, 0}, {2, 2}};

static double probe_loss(void *payload)
{
    struct probe *p = payload;
    assert_ok(dns_visil_forward(p->trainer, &p->batch, p->scores, &p->penalty));
    return gradient_dot(p->scores, p->dscores, PAIRS) + p->penalty_weight * p->penalty;
}

/* Few channels are dead. */
static void draw_weights(dns_visil *net, double last_bias, dns_random *random)
{
    dns_parameters *parameters = dns_visil_parameters(net);
    assert_ok(dns_visil_initialise(net, 0, random));
    for (size_t i = 0; i < dns_parameters_count(parameters); i++) {
        const dns_parameter *t = dns_parameters_at(parameters, i);
        dns_real *w = dns_parameters_weight(parameters, i);
        for (size_t j = 0; j < t->count; j++)
            w[j] += (dns_real)(0.1 * dns_random_normal(random) +
                               (strstr(t->name, ".bias") != NULL ? 0.5 : 0));
        if (strstr(t->name, "fconv.bias") != NULL)
            w[0] = (dns_real)last_bias;
    }
}

/* Makes the last layer weaker until most scores are within (-1, 1), while parts of the maps still
 * lie beyond. */
static void calibrate(struct probe *p)
{
    dns_parameters *parameters = dns_visil_parameters(p->net);
    size_t index = dns_parameters_count(parameters) - 2, n_clipped = PAIRS;
    dns_real *last = dns_parameters_weight(parameters, index);
    for (size_t j = 0; j < dns_parameters_at(parameters, index)->count; j++)
        last[j] *= 20;
    for (size_t round = 0; n_clipped > 2; round++) {
        assert_true(round < 200);
        probe_loss(p);
        n_clipped = 0;
        for (size_t i = 0; i < PAIRS; i++)
            n_clipped += fabs((double)p->scores[i]) == 1;
        for (size_t j = 0; n_clipped > 2 && j < dns_parameters_at(parameters, index)->count; j++)
            last[j] *= (dns_real)0.9;
    }
}

static void check_network(dns_visil_shape shape, dns_similarity_rule rule,
                          const dns_visil_codes *codes, const size_t *n_frames,
                          size_t padded_frames)
{
    static struct probe p;
    dns_random random = dns_random_seed(1);
    memset(&p, 0, sizeof p);
    assert_ok(dns_visil_create(&p.net, &shape, rule, true));
    assert_ok(dns_visil_trainer_create(&p.trainer, p.net, codes, NULL));
    draw_weights(p.net, padded_frames == 0 ? 0 : -1.1, &random); /* padded cells have a penalty */
    gradient_fill(&random, p.x, sizeof p.x / sizeof *p.x);
    gradient_fill(&random, p.dscores, PAIRS);
    p.batch = (dns_visil_batch){.x = p.x,
                                .n_frames = n_frames,
                                .n_videos = VIDEOS,
                                .n_regions = REGIONS,
                                .padded_frames = padded_frames,
                                .pairs = pairs,
                                .n_pairs = PAIRS};
    p.penalty_weight = 0.3;
    dns_parameters *parameters = dns_visil_parameters(p.net);
    calibrate(&p);
    assert_true(p.penalty > 0);
    assert_ok(dns_visil_backward(p.trainer, &p.batch, p.dscores, p.penalty_weight));
    for (size_t i = 0; i < dns_parameters_count(parameters); i++) {
        const dns_parameter *t = dns_parameters_at(parameters, i);
        gradient_of array = {t->name, dns_parameters_weight(parameters, i),
                             dns_parameters_gradient(parameters, i), t->count};
        gradient_check(probe_loss, &p, &array, 1, 100, 1e-6);
    }
    dns_visil_trainer_free(p.trainer);
    dns_visil_free(p.net);
}

static const size_t whole[VIDEOS] = {8, 12, 5, 7}, ragged[VIDEOS] = {9, 11, 3, 6};

static const dns_visil_shape attention_shape = {
    .gate = DNS_GATE_STUDENT, .dim = DIM, .hidden = 5, .channels = {6, 8, 10}};
static const dns_visil_shape teacher_shape = {
    .gate = DNS_GATE_TEACHER, .padding = DNS_PADDING_EDGE, .dim = DIM, .channels = {6, 8, 10}};
static const dns_visil_shape binary_shape = {
    .codes = true, .dim = DIM, .code_bits = 7, .channels = {6, 8, 10}};
static const dns_visil_shape plain_shape = {.dim = DIM, .channels = {6, 8, 10}};

static void every_rule_has_its_gradient(void **state)
{
    (void)state;
    for (int direction = DNS_DIRECTION_QUERY; direction <= DNS_DIRECTION_SYMMETRIC; direction++) {
        for (int step = DNS_REGIONS_CHAMFER; step <= DNS_REGIONS_SYMMETRIC; step++)
            check_network(attention_shape, (dns_similarity_rule){direction, step}, NULL, whole, 0);
    }
}

static void every_network_has_its_gradient(void **state)
{
    (void)state;
    const dns_similarity_rule published = {DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER};
    const dns_similarity_rule symmetric = {DNS_DIRECTION_SYMMETRIC, DNS_REGIONS_SYMMETRIC};
    const dns_visil_codes smooth = {.sigma = 0.05};
    check_network(teacher_shape, published, NULL, whole, 0);
    check_network(teacher_shape, symmetric, NULL, whole, 0);
    check_network(binary_shape, published, &smooth, whole, 0);
    check_network(plain_shape, published, NULL, whole, 0);
}

static void padded_batches_have_their_gradient(void **state)
{
    (void)state;
    const dns_similarity_rule published = {DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER};
    const dns_visil_codes smooth = {.sigma = 0.05};
    for (size_t padded = 11; padded <= 14; padded++) {
        check_network(attention_shape, published, NULL, ragged, padded);
        check_network(binary_shape, published, &smooth, ragged, padded);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_has_its_gradient),
        cmocka_unit_test(every_network_has_its_gradient),
        cmocka_unit_test(padded_batches_have_their_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
