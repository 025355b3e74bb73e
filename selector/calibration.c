#include "dnsel/calibration.h"

#include <math.h>
#include <string.h>

#include "dnsel/isotonic.h"
#include "dnsel/memory.h"
#include "dnsel/rank.h"

enum { STRETCHES = 32, FEWEST = 32 /* pairs in a stretch, when there are several */ };

static const float TIE_BREAKER = 1e-4f;

struct dns_calibration {
    dns_isotonic expected;
    /* Deviation, linear between the knots. */
    size_t n;
    float *x, *y;
};

static dns_status allocate(dns_calibration *c, size_t n)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&c->x, n, sizeof *c->x));
    DNS_TRY(dns_alloc(&c->y, n, sizeof *c->y));
out:
    return status;
}

/* Knots at the means of stretches of equally many pairs in order of their coarse scores. */
static dns_status fit_deviation(dns_calibration *c, const float *coarse, const float *fine,
                                const float *weights, size_t n)
{
    dns_status status = DNS_OK;
    uint32_t *order = NULL;
    size_t stretches = n / FEWEST < STRETCHES ? n / FEWEST : STRETCHES;
    stretches = stretches > 0 ? stretches : 1;
    DNS_TRY(allocate(c, stretches));
    DNS_TRY(dns_alloc(&order, n, sizeof *order));
    DNS_TRY(dns_rank_descending(order, coarse, n));
    for (size_t s = 0; s < stretches; s++) {
        double mass = 0, sum = 0, squares = 0;
        for (size_t i = n * s / stretches; i < n * (s + 1) / stretches; i++) {
            size_t at = order[n - 1 - i];
            double weight = weights != NULL ? (double)weights[at] : 1;
            double off = (double)fine[at] - (double)dns_isotonic_at(&c->expected, coarse[at]);
            mass += weight;
            sum += weight * (double)coarse[at];
            squares += weight * off * off;
        }
        float x = (float)(sum / mass), y = (float)sqrt(squares / mass);
        if (c->n > 0 && x <= c->x[c->n - 1]) { /* stretches of one coarse score */
            c->y[c->n - 1] = y > c->y[c->n - 1] ? y : c->y[c->n - 1];
            continue;
        }
        c->x[c->n] = x;
        c->y[c->n++] = y;
    }
out:
    dns_free(order);
    return status;
}

dns_status dns_calibration_fit(dns_calibration **out, const float *coarse, const float *fine,
                               const float *weights, size_t n)
{
    dns_status status = DNS_OK;
    dns_calibration *c = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&c, 1, sizeof *c));
    DNS_TRY(dns_isotonic_fit(&c->expected, coarse, fine, weights, n));
    DNS_TRY(fit_deviation(c, coarse, fine, weights, n));
    *out = c;
    c = NULL;
out:
    dns_calibration_free(c);
    return status;
}

void dns_calibration_free(dns_calibration *c)
{
    if (c == NULL)
        return;
    dns_isotonic_free(&c->expected);
    dns_free(c->x);
    dns_free(c->y);
    dns_free(c);
}

/* ---- files ---- */

/* Two vectors of the same length. */
static dns_status read_knots(const float **x, const float **y, size_t *n,
                             const dns_safetensors *file, const char *x_name, const char *y_name)
{
    dns_status status = DNS_OK;
    size_t shape[1] = {0};
    DNS_TRY(dns_safetensors_f32(x, file, x_name, 1, shape));
    DNS_TRY(dns_safetensors_f32(y, file, y_name, 1, shape)); /* of the size that x has */
    *n = shape[0];
out:
    return status;
}

static dns_status read_deviation(dns_calibration *c, const dns_safetensors *file)
{
    dns_status status = DNS_OK;
    const float *x, *y;
    size_t n;
    DNS_TRY(read_knots(&x, &y, &n, file, "deviation.x", "deviation.y"));
    if (n == 0)
        DNS_FAIL(DNS_ERR_RANGE, "%s: tensor 'deviation.x' is empty", dns_safetensors_path(file));
    DNS_TRY(allocate(c, n));
    for (size_t i = 0; i < n; i++) {
        if (!(isfinite(x[i]) && isfinite(y[i]) && y[i] >= 0 && (i == 0 || x[i] > x[i - 1])))
            DNS_FAIL(DNS_ERR_RANGE, "%s: tensor 'deviation.x': knot %zu (%g, %g)",
                     dns_safetensors_path(file), i, (double)x[i], (double)y[i]);
    }
    memcpy(c->x, x, n * sizeof *x);
    memcpy(c->y, y, n * sizeof *y);
    c->n = n;
out:
    return status;
}

dns_status dns_calibration_load(dns_calibration **out, const dns_safetensors *file)
{
    dns_status status = DNS_OK;
    dns_calibration *c = NULL;
    const float *x, *y;
    size_t n;
    *out = NULL;
    DNS_TRY(dns_alloc(&c, 1, sizeof *c));
    DNS_TRY(read_knots(&x, &y, &n, file, "expected.x", "expected.y"));
    status = dns_isotonic_create(&c->expected, x, y, n);
    if (status != DNS_OK) {
        dns_status_context(status, "%s: tensor 'expected.x'", dns_safetensors_path(file));
        goto out;
    }
    DNS_TRY(read_deviation(c, file));
    *out = c;
    c = NULL;
out:
    dns_calibration_free(c);
    return status;
}

dns_status dns_calibration_from_model(dns_calibration **out, const dns_model *model)
{
    const dns_safetensors *file = dns_model_weights(model, "calibration");
    *out = NULL;
    if (file == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "model '%s' has no calibration",
                              dns_model_name(model));
    return dns_calibration_load(out, file);
}

void dns_calibration_tensors(dns_named_tensor tensors[DNS_CALIBRATION_TENSORS],
                             const dns_calibration *c)
{
    const dns_isotonic *e = &c->expected;
    tensors[0] = (dns_named_tensor){"expected.x", dns_tensor_f32(e->x, 1, &e->n)};
    tensors[1] = (dns_named_tensor){"expected.y", dns_tensor_f32(e->y, 1, &e->n)};
    tensors[2] = (dns_named_tensor){"deviation.x", dns_tensor_f32(c->x, 1, &c->n)};
    tensors[3] = (dns_named_tensor){"deviation.y", dns_tensor_f32(c->y, 1, &c->n)};
}

/* ---- in use ---- */

static float deviation_at(const dns_calibration *c, float x)
{
    size_t low = 0, high = c->n - 1;
    if (!(x > c->x[low]))
        return c->y[low];
    if (x >= c->x[high])
        return c->y[high];
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (c->x[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    float share = (x - c->x[low]) / (c->x[high] - c->x[low]);
    return c->y[low] + share * (c->y[high] - c->y[low]);
}

void dns_calibration_map(const dns_calibration *c, float *expected, float *deviation,
                         const float *coarse, size_t n)
{
    for (size_t i = 0; deviation != NULL && i < n; i++)
        deviation[i] = deviation_at(c, coarse[i]);
    for (size_t i = 0; expected != NULL && i < n; i++)
        expected[i] = dns_isotonic_at(&c->expected, coarse[i]) + TIE_BREAKER * coarse[i];
}
