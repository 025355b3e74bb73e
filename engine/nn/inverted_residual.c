#include "dnsel/inverted_residual.h"

#include "dnsel/depthwise.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"

void dns_relu6_forward(dns_real *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] < 0 ? 0 : y[i] > 6 ? 6 : y[i];
}

void dns_relu6_backward(dns_real *dy, const dns_real *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dy[i] = y[i] > 0 && y[i] < 6 ? dy[i] : 0;
}

void dns_inverted_residual_trace_free(dns_inverted_residual_trace *trace)
{
    dns_free(trace->e);
    dns_free(trace->d);
    dns_free(trace->scratch);
    *trace = (dns_inverted_residual_trace){0};
}

static dns_depthwise middle(const dns_inverted_residual *b, size_t n)
{
    return (dns_depthwise){
        .n = n, .height = b->size, .width = b->size, .channels = b->expanded, .kernel = b->kernel};
}

dns_status dns_inverted_residual_forward(dns_real *y, dns_inverted_residual_trace *t,
                                         const dns_inverted_residual *b, const dns_real *x,
                                         size_t n, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t cells = n * b->size * b->size, expanded = cells * b->expanded;
    const dns_depthwise shape = middle(b, n);
    DNS_TRY(dns_reserve(&t->e, &t->e_capacity, expanded, sizeof *t->e));
    DNS_TRY(dns_reserve(&t->d, &t->d_capacity, expanded, sizeof *t->d));
    DNS_TRY(dns_linear_forward(t->e, x, b->expand_w, b->expand_b, cells, b->in, b->expanded, pool));
    dns_relu6_forward(t->e, expanded);
    DNS_TRY(dns_depthwise_forward(t->d, t->e, b->depthwise_w, b->depthwise_b, &shape, pool));
    dns_relu6_forward(t->d, expanded);
    DNS_TRY(
        dns_linear_forward(y, t->d, b->project_w, b->project_b, cells, b->expanded, b->out, pool));
    for (size_t i = 0; b->in == b->out && i < cells * b->out; i++)
        y[i] += x[i];
out:
    return status;
}

dns_status dns_inverted_residual_backward(dns_real *dx, dns_inverted_residual_gradient *g,
                                          const dns_real *dy, dns_inverted_residual_trace *t,
                                          const dns_inverted_residual *b, const dns_real *x,
                                          size_t n, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t cells = n * b->size * b->size, expanded = cells * b->expanded;
    const dns_depthwise shape = middle(b, n);
    DNS_TRY(dns_reserve(&t->scratch, &t->scratch_capacity, 2 * expanded, sizeof *t->scratch));
    dns_real *dd = t->scratch, *de = t->scratch + expanded;
    DNS_TRY(dns_linear_backward(dd, g->project_w, g->project_b, dy, t->d, b->project_w, cells,
                                b->expanded, b->out, pool));
    dns_relu6_backward(dd, t->d, expanded);
    DNS_TRY(dns_depthwise_backward(de, g->depthwise_w, g->depthwise_b, dd, t->e, b->depthwise_w,
                                   &shape, pool));
    dns_relu6_backward(de, t->e, expanded);
    DNS_TRY(dns_linear_backward(dx, g->expand_w, g->expand_b, de, x, b->expand_w, cells, b->in,
                                b->expanded, pool));
    for (size_t i = 0; dx != NULL && b->in == b->out && i < cells * b->in; i++)
        dx[i] += dy[i];
out:
    return status;
}
