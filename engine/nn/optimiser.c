#include "dnsel/optimiser.h"

#include <math.h>

enum { STRETCH = 1 << 16 };

static bool is_moved(const dns_parameter *t)
{
    return t->kind == DNS_PARAMETER_TRAINED && t->rate != 0;
}

double dns_gradient_norm(const dns_parameters *p)
{
    double sum = 0;
    for (size_t i = 0; i < dns_parameters_count(p); i++) {
        const dns_parameter *t = dns_parameters_at(p, i);
        const dns_real *g = dns_parameters_gradient(p, i);
        for (size_t j = 0; is_moved(t) && j < t->count; j++)
            sum += (double)g[j] * (double)g[j];
    }
    return sqrt(sum);
}

double dns_gradient_clip(dns_parameters *p, double limit)
{
    double norm = dns_gradient_norm(p);
    if (norm > limit) {
        dns_real scale = (dns_real)(limit / norm), *g = dns_parameters_block(p, DNS_GRADIENTS);
        for (size_t i = 0; i < dns_parameters_size(p); i++)
            g[i] *= scale;
    }
    return norm;
}

struct adam_run {
    dns_parameters *p;
    const dns_adam *adam;
    double rate, correction1, correction2;
};

/* Entries [first, last) of one tensor; PyTorch's order of operations, in the number type of the
 * layers. */
static void move_entries(const struct adam_run *run, size_t index, size_t first, size_t last)
{
    const dns_adam *a = run->adam;
    const dns_parameter *t = dns_parameters_at(run->p, index);
    const dns_real *g = dns_parameters_gradient(run->p, index);
    dns_real *w = dns_parameters_weight(run->p, index);
    dns_real *m = dns_parameters_block(run->p, DNS_MOMENT_1) + t->offset;
    dns_real *v = dns_parameters_block(run->p, DNS_MOMENT_2) + t->offset;
    double rate = run->rate * t->rate;
    const dns_real b1 = (dns_real)a->beta1, b2 = (dns_real)a->beta2, epsilon = (dns_real)a->epsilon;
    const dns_real c1 = (dns_real)(1 - a->beta1), c2 = (dns_real)(1 - a->beta2);
    const dns_real joined = (dns_real)(a->decoupled ? 0 : a->weight_decay);
    const dns_real kept = (dns_real)(a->decoupled ? 1 - rate * a->weight_decay : 1);
    const dns_real step = (dns_real)(rate / run->correction1);
    const dns_real root = (dns_real)sqrt(run->correction2);
    for (size_t i = first; i < last; i++) {
        dns_real gi = g[i] + joined * w[i];
        m[i] = b1 * m[i] + c1 * gi;
        v[i] = b2 * v[i] + c2 * gi * gi;
        w[i] = kept * w[i] - step * (m[i] / ((dns_real)sqrt(v[i]) / root + epsilon));
    }
}

/* A stretch of the block, which may lie in several tensors. */
static dns_status adam_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct adam_run *run = payload;
    size_t first = task * STRETCH, last = first + STRETCH;
    for (size_t i = 0; i < dns_parameters_count(run->p); i++) {
        const dns_parameter *t = dns_parameters_at(run->p, i);
        size_t from = first > t->offset ? first - t->offset : 0;
        size_t to = last > t->offset ? last - t->offset : 0;
        if (is_moved(t))
            move_entries(run, i, from, to < t->count ? to : t->count);
    }
    return DNS_OK;
}

dns_status dns_adam_step(dns_parameters *p, const dns_adam *adam, double rate, size_t step,
                         dns_pool *pool)
{
    if (step == 0 || dns_parameters_block(p, DNS_GRADIENTS) == NULL)
        return dns_status_set(DNS_ERR_ARG, "Adam: step %zu of parameters %s training", step,
                              dns_parameters_block(p, DNS_GRADIENTS) == NULL ? "without" : "in");
    double norm = dns_gradient_norm(p);
    if (!isfinite(norm))
        return dns_status_set(DNS_ERR_RANGE, "step %zu: a gradient is not finite", step);
    struct adam_run run = {p, adam, rate, 1 - pow(adam->beta1, (double)step),
                           1 - pow(adam->beta2, (double)step)};
    return dns_pool_run(pool, (dns_parameters_size(p) + STRETCH - 1) / STRETCH, adam_task, &run);
}

double dns_schedule_rate(const dns_schedule *schedule, size_t step)
{
    const dns_schedule *s = schedule;
    if (step < s->warm_up)
        return s->peak * (double)step / (double)s->warm_up;
    if (s->shape == DNS_SCHEDULE_CONSTANT || s->steps <= s->warm_up)
        return s->peak;
    double done =
        step >= s->steps ? 1 : (double)(step - s->warm_up) / (double)(s->steps - s->warm_up);
    return s->peak * (s->last + (1 - s->last) * 0.5 * (1 + cos(3.14159265358979323846 * done)));
}
