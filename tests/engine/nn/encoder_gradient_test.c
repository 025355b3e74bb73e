/* Self-attention and the encoder layer against finite differences, with and without dropout. */
#include "gradient.h"

#include <string.h>

#include "dnsel/encoder.h"
#include "dnsel/self_attention.h"

enum { DIM = 12, HEADS = 3, HIDDEN = 20, VIDEOS = 4, ROWS = 12 };

/* One of a single frame, one without any. */
static const size_t offsets[VIDEOS + 1] = {0, 5, 6, 6, ROWS};
static const dns_sequences videos = {VIDEOS, offsets};

static const size_t counts[DNS_ENCODER_TENSORS] = {
    [DNS_ENCODER_IN_W] = 3 * DIM * DIM,
    [DNS_ENCODER_IN_B] = 3 * DIM,
    [DNS_ENCODER_OUT_W] = DIM * DIM,
    [DNS_ENCODER_OUT_B] = DIM,
    [DNS_ENCODER_LINEAR1_W] = HIDDEN * DIM,
    [DNS_ENCODER_LINEAR1_B] = HIDDEN,
    [DNS_ENCODER_LINEAR2_W] = DIM * HIDDEN,
    [DNS_ENCODER_LINEAR2_B] = DIM,
    [DNS_ENCODER_NORM1_W] = DIM,
    [DNS_ENCODER_NORM1_B] = DIM,
    [DNS_ENCODER_NORM2_W] = DIM,
    [DNS_ENCODER_NORM2_B] = DIM,
};

struct probe {
    dns_real x[ROWS * 3 * DIM], y[ROWS * DIM], c[ROWS * DIM], dx[ROWS * 3 * DIM];
    dns_real p[HEADS * ROWS * ROWS];
    dns_real weights[DNS_ENCODER_TENSORS][3 * DIM * DIM],
        gradients[DNS_ENCODER_TENSORS][3 * DIM * DIM];
    dns_encoder encoder;
    dns_encoder_tape *tape;
    const dns_dropout *dropout;
};

static void fill(struct probe *p, uint64_t seed)
{
    dns_random random = dns_random_seed(seed);
    memset(p, 0, sizeof *p);
    gradient_fill(&random, p->x, ROWS * 3 * DIM);
    gradient_fill(&random, p->c, ROWS * DIM);
    p->encoder = (dns_encoder){.dim = DIM, .n_heads = HEADS, .hidden = HIDDEN};
    for (size_t i = 0; i < DNS_ENCODER_TENSORS; i++) {
        gradient_fill(&random, p->weights[i], counts[i]);
        for (size_t j = 0; j < counts[i]; j++)
            p->weights[i][j] *= 0.4;
        p->encoder.w[i] = p->weights[i];
    }
}

static double attention_loss(void *payload)
{
    struct probe *p = payload;
    assert_ok(dns_self_attention_forward(p->y, p->p, p->x, videos, HEADS, DIM, p->dropout, NULL));
    return gradient_dot(p->y, p->c, ROWS * DIM);
}

static void self_attention_matches_finite_differences(void **state)
{
    static struct probe p;
    dns_dropout dropout = {0.3, dns_dropout_key(1, 2, 3)};
    (void)state;
    for (int dropped = 0; dropped < 2; dropped++) {
        fill(&p, 1);
        p.dropout = dropped ? &dropout : NULL;
        double loss = attention_loss(&p);
        assert_true((fabs(loss - attention_loss(&p)) == 0));
        assert_ok(
            dns_self_attention_backward(p.dx, p.c, p.x, p.p, videos, HEADS, DIM, p.dropout, NULL));
        gradient_of arrays[] = {{"qkv", p.x, p.dx, ROWS * 3 * DIM}};
        gradient_check(attention_loss, &p, arrays, 1, 1000, 1e-7);
    }
}

static double encoder_loss(void *payload)
{
    struct probe *p = payload;
    assert_ok(
        dns_encoder_forward(p->y, p->tape, true, p->x, videos, &p->encoder, p->dropout, NULL));
    return gradient_dot(p->y, p->c, ROWS * DIM);
}

static void encoder_matches_finite_differences(void **state)
{
    static struct probe p;
    dns_dropout dropout = {0.3, dns_dropout_key(4, 5, 6)};
    double losses[2];
    (void)state;
    for (int dropped = 0; dropped < 2; dropped++) {
        fill(&p, 2);
        assert_ok(dns_encoder_tape_create(&p.tape));
        p.dropout = dropped ? &dropout : NULL;
        dns_real *gradients[DNS_ENCODER_TENSORS];
        gradient_of arrays[DNS_ENCODER_TENSORS + 1] = {{"x", p.x, p.dx, ROWS * DIM}};
        for (size_t i = 0; i < DNS_ENCODER_TENSORS; i++) {
            static const char *const names[] = {"in_w",      "in_b",      "out_w",     "out_b",
                                                "linear1_w", "linear1_b", "linear2_w", "linear2_b",
                                                "norm1_w",   "norm1_b",   "norm2_w",   "norm2_b"};
            gradients[i] = p.gradients[i];
            arrays[i + 1] = (gradient_of){names[i], p.weights[i], p.gradients[i], counts[i]};
        }
        losses[dropped] = encoder_loss(&p);
        assert_ok(dns_encoder_backward(p.dx, gradients, p.c, p.tape, p.x, videos, &p.encoder,
                                       p.dropout, NULL));
        gradient_check(encoder_loss, &p, arrays, DNS_ENCODER_TENSORS + 1, 200, 1e-6);
        dns_encoder_tape_free(p.tape);
    }
    assert_true(fabs(losses[0] - losses[1]) > 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(self_attention_matches_finite_differences),
        cmocka_unit_test(encoder_matches_finite_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
