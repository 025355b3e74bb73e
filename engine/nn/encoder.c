#include "dnsel/encoder.h"

#include "dnsel/layer_norm.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"
#include "dnsel/self_attention.h"

/* Arrays of the tape. N frames, d = dim. */
enum array {
    QKV,     /* [N, 3d] */
    P,       /* attention probabilities, kept for backward only */
    CONTEXT, /* [N, d] attention's output */
    SUM1,    /* [N, d] what LN1 reads */
    X1,      /* [N, d] */
    HIDDEN,  /* [N, hidden] after ReLU and dropout */
    SUM2,    /* [N, d] what LN2 reads */
    MEAN1,   /* [N] */
    RSTD1,
    MEAN2,
    RSTD2,
    GRADIENT, /* [N, max(3d, hidden)] */
    RESIDUAL, /* [N, d] a gradient that waits for its sum */
    N_ARRAYS
};

struct dns_encoder_tape {
    dns_real *arrays[N_ARRAYS];
    size_t capacities[N_ARRAYS];
};

dns_status dns_encoder_tape_create(dns_encoder_tape **out)
{
    return dns_alloc(out, 1, sizeof **out);
}

void dns_encoder_tape_free(dns_encoder_tape *tape)
{
    for (size_t i = 0; tape != NULL && i < N_ARRAYS; i++)
        dns_free(tape->arrays[i]);
    dns_free(tape);
}

static dns_status reserve(dns_encoder_tape *tape, enum array array, size_t rows, size_t columns)
{
    return dns_reserve(&tape->arrays[array], &tape->capacities[array], rows * columns,
                       sizeof(dns_real));
}

static dns_status reserve_forward(dns_encoder_tape *tape, bool keep, dns_sequences videos,
                                  const dns_encoder *e)
{
    dns_status status = DNS_OK;
    size_t n = dns_sequences_rows(videos);
    DNS_TRY(reserve(tape, QKV, n, 3 * e->dim));
    DNS_TRY(reserve(tape, HIDDEN, n, e->hidden));
    DNS_TRY(reserve(tape, CONTEXT, n, e->dim));
    DNS_TRY(reserve(tape, SUM1, n, e->dim));
    DNS_TRY(reserve(tape, X1, n, e->dim));
    DNS_TRY(reserve(tape, SUM2, n, e->dim));
    if (keep)
        DNS_TRY(reserve(tape, P, dns_self_attention_count(videos, e->n_heads), 1));
    for (enum array a = MEAN1; a <= RSTD2; a++)
        DNS_TRY(reserve(tape, a, n, 1));
out:
    return status;
}

/* The four uses of dropout have a key each. */
enum use { IN_ATTENTION, AFTER_ATTENTION, IN_FEED_FORWARD, AFTER_FEED_FORWARD, N_USES };

static void split_dropout(dns_dropout uses[N_USES], const dns_dropout *dropout)
{
    for (uint64_t i = 0; i < N_USES; i++) {
        uses[i] = (dns_dropout){0};
        if (dropout != NULL)
            uses[i] = (dns_dropout){dropout->rate, dns_dropout_key(dropout->key, 0, i)};
    }
}

static void add(dns_real *y, const dns_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

dns_status dns_encoder_forward(dns_real *y, dns_encoder_tape *tape, bool keep, const dns_real *x,
                               dns_sequences videos, const dns_encoder *e,
                               const dns_dropout *dropout, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t n = dns_sequences_rows(videos), d = e->dim, hidden = e->hidden;
    const dns_real *const *w = e->w;
    dns_real **a = tape->arrays;
    dns_dropout drop[N_USES];
    split_dropout(drop, dropout);
    DNS_TRY(reserve_forward(tape, keep, videos, e));

    DNS_TRY(
        dns_linear_forward(a[QKV], x, w[DNS_ENCODER_IN_W], w[DNS_ENCODER_IN_B], n, d, 3 * d, pool));
    DNS_TRY(dns_self_attention_forward(a[CONTEXT], keep ? a[P] : NULL, a[QKV], videos, e->n_heads,
                                       d, dropout != NULL ? &drop[IN_ATTENTION] : NULL, pool));
    DNS_TRY(dns_linear_forward(a[SUM1], a[CONTEXT], w[DNS_ENCODER_OUT_W], w[DNS_ENCODER_OUT_B], n,
                               d, d, pool));
    DNS_TRY(dns_dropout_run(a[SUM1], a[SUM1], n * d, &drop[AFTER_ATTENTION], pool));
    add(a[SUM1], x, n * d);
    DNS_TRY(dns_layer_norm_forward(a[X1], a[MEAN1], a[RSTD1], a[SUM1], w[DNS_ENCODER_NORM1_W],
                                   w[DNS_ENCODER_NORM1_B], n, d, pool));

    DNS_TRY(dns_linear_forward(a[HIDDEN], a[X1], w[DNS_ENCODER_LINEAR1_W], w[DNS_ENCODER_LINEAR1_B],
                               n, d, hidden, pool));
    for (size_t i = 0; i < n * hidden; i++)
        a[HIDDEN][i] = a[HIDDEN][i] > 0 ? a[HIDDEN][i] : 0;
    DNS_TRY(dns_dropout_run(a[HIDDEN], a[HIDDEN], n * hidden, &drop[IN_FEED_FORWARD], pool));
    DNS_TRY(dns_linear_forward(a[SUM2], a[HIDDEN], w[DNS_ENCODER_LINEAR2_W],
                               w[DNS_ENCODER_LINEAR2_B], n, hidden, d, pool));
    DNS_TRY(dns_dropout_run(a[SUM2], a[SUM2], n * d, &drop[AFTER_FEED_FORWARD], pool));
    add(a[SUM2], a[X1], n * d);
    DNS_TRY(dns_layer_norm_forward(y, a[MEAN2], a[RSTD2], a[SUM2], w[DNS_ENCODER_NORM2_W],
                                   w[DNS_ENCODER_NORM2_B], n, d, pool));
out:
    return status;
}

dns_status dns_encoder_backward(dns_real *dx, dns_real *const *g, const dns_real *dy,
                                dns_encoder_tape *tape, const dns_real *x, dns_sequences videos,
                                const dns_encoder *e, const dns_dropout *dropout, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t n = dns_sequences_rows(videos), d = e->dim, hidden = e->hidden;
    const dns_real *const *w = e->w;
    dns_real **a = tape->arrays;
    dns_dropout drop[N_USES];
    split_dropout(drop, dropout);
    DNS_TRY(reserve(tape, GRADIENT, n, hidden > 3 * d ? hidden : 3 * d));
    DNS_TRY(reserve(tape, RESIDUAL, n, d));
    dns_real *wide = a[GRADIENT], *residual = a[RESIDUAL];

    DNS_TRY(dns_layer_norm_backward(residual, g[DNS_ENCODER_NORM2_W], g[DNS_ENCODER_NORM2_B], dy,
                                    a[SUM2], a[MEAN2], a[RSTD2], w[DNS_ENCODER_NORM2_W], n, d,
                                    pool));
    DNS_TRY(dns_dropout_run(dx, residual, n * d, &drop[AFTER_FEED_FORWARD], pool));
    DNS_TRY(dns_linear_backward(wide, g[DNS_ENCODER_LINEAR2_W], g[DNS_ENCODER_LINEAR2_B], dx,
                                a[HIDDEN], w[DNS_ENCODER_LINEAR2_W], n, hidden, d, pool));
    DNS_TRY(dns_dropout_run(wide, wide, n * hidden, &drop[IN_FEED_FORWARD], pool));
    for (size_t i = 0; i < n * hidden; i++) /* a dropped entry is 0 too, and its gradient with it */
        wide[i] = a[HIDDEN][i] > 0 ? wide[i] : 0;
    DNS_TRY(dns_linear_backward(dx, g[DNS_ENCODER_LINEAR1_W], g[DNS_ENCODER_LINEAR1_B], wide, a[X1],
                                w[DNS_ENCODER_LINEAR1_W], n, d, hidden, pool));
    add(residual, dx, n * d);

    DNS_TRY(dns_layer_norm_backward(residual, g[DNS_ENCODER_NORM1_W], g[DNS_ENCODER_NORM1_B],
                                    residual, a[SUM1], a[MEAN1], a[RSTD1], w[DNS_ENCODER_NORM1_W],
                                    n, d, pool));
    DNS_TRY(dns_dropout_run(dx, residual, n * d, &drop[AFTER_ATTENTION], pool));
    DNS_TRY(dns_linear_backward(a[X1], g[DNS_ENCODER_OUT_W], g[DNS_ENCODER_OUT_B], dx, a[CONTEXT],
                                w[DNS_ENCODER_OUT_W], n, d, d, pool)); /* X1 is no longer needed */
    DNS_TRY(dns_self_attention_backward(wide, a[X1], a[QKV], a[P], videos, e->n_heads, d,
                                        dropout != NULL ? &drop[IN_ATTENTION] : NULL, pool));
    DNS_TRY(dns_linear_backward(dx, g[DNS_ENCODER_IN_W], g[DNS_ENCODER_IN_B], wide, x,
                                w[DNS_ENCODER_IN_W], n, d, 3 * d, pool));
    add(dx, residual, n * d);
out:
    return status;
}
