#include <math.h>

#include "dnsel/attention.h"
#include "dnsel/gemm.h"
#include "dnsel/mapcnn.h"
#include "dnsel/memory.h"
#include "selector_mlp.h"

enum { GATE_FRAMES = 64 }; /* whose hidden layer of the gate is held at once */

struct buffer {
    float *data;
    size_t capacity;
};

struct dns_selector_session {
    dns_selector_shape shape;
    float *gate_w, *gate_b, *gate_u;
    dns_mapcnn *comparator;
    selector_mlp mlp;
    struct buffer gates, hidden, means, map, out;
    void *scratch;
    size_t scratch_capacity;
    size_t n_frames; /* of the last map */
};

static dns_status copy(float **out, const dns_selector *net, selector_tensor tensor)
{
    size_t n = dns_parameters_at(net->parameters, tensor)->count;
    dns_status status = dns_alloc(out, n, sizeof **out);
    for (size_t i = 0; status == DNS_OK && i < n; i++)
        (*out)[i] = dns_selector_weight(net, tensor)[i];
    return status;
}

dns_status dns_selector_session_create(dns_selector_session **out, const dns_selector *net)
{
    dns_status status = DNS_OK;
    dns_selector_session *s = NULL;
    dns_mapcnn_weights weights = {.replicate = false};
    *out = NULL;
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->shape = net->shape;
    DNS_TRY(copy(&s->gate_w, net, GATE_W));
    DNS_TRY(copy(&s->gate_b, net, GATE_B));
    DNS_TRY(copy(&s->gate_u, net, GATE_U));
    for (size_t l = 0; l < DNS_COMPARATOR_LAYERS; l++) {
        if (l < 3)
            weights.channels[l] = net->shape.channels[l];
        weights.weight[l] = dns_selector_weight(net, CONV_W + (selector_tensor)l);
        weights.bias[l] = dns_selector_weight(net, CONV_B + (selector_tensor)l);
    }
    DNS_TRY(dns_mapcnn_create(&s->comparator, DNS_MAPCNN_F32, &weights));
    DNS_TRY(dns_selector_mlp_create(&s->mlp, net));
    *out = s;
    s = NULL;
out:
    dns_selector_session_free(s);
    return status;
}

void dns_selector_session_free(dns_selector_session *s)
{
    if (s == NULL)
        return;
    dns_free(s->gate_w);
    dns_free(s->gate_b);
    dns_free(s->gate_u);
    dns_mapcnn_free(s->comparator);
    dns_selector_mlp_free(&s->mlp);
    struct buffer *buffers[] = {&s->gates, &s->hidden, &s->means, &s->map, &s->out};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        dns_free(buffers[i]->data);
    dns_free(s->scratch);
    dns_free(s);
}

static dns_status grow(struct buffer *buffer, size_t rows, size_t columns)
{
    size_t n;
    if (!dns_size_multiply(rows, columns, &n))
        return dns_status_set(DNS_ERR_NOMEM, "%zu x %zu values", rows, columns);
    return dns_reserve(&buffer->data, &buffer->capacity, n, sizeof(float));
}

/* s->means [extended, dim]; frames that extend the video are copies. */
static dns_status find_means(dns_selector_session *s, const float *x, size_t n_frames,
                             size_t extended, size_t n_regions)
{
    dns_status status = DNS_OK;
    size_t dim = s->shape.dim;
    DNS_TRY(grow(&s->gates, GATE_FRAMES, n_regions));
    DNS_TRY(grow(&s->hidden, GATE_FRAMES * n_regions, s->shape.hidden));
    DNS_TRY(grow(&s->means, extended, dim));
    for (size_t t = 0; t < n_frames; t += GATE_FRAMES) {
        size_t count = n_frames - t < GATE_FRAMES ? n_frames - t : GATE_FRAMES;
        const float *frames = x + t * n_regions * dim;
        DNS_TRY(dns_attention_forward(s->gates.data, s->hidden.data, frames, s->gate_w, s->gate_b,
                                      s->gate_u, count * n_regions, dim, s->shape.hidden, NULL));
        dns_selector_frame_means(s->means.data + t * dim, frames, s->gates.data, count, n_regions,
                                 dim);
    }
    for (size_t i = 0; i < n_frames * dim; i++) {
        if (!isfinite(s->means.data[i]))
            DNS_FAIL(DNS_ERR_RANGE, "region vectors are not finite");
    }
    for (size_t i = n_frames * dim; i < extended * dim; i++)
        s->means.data[i] = s->means.data[i - n_frames * dim];
out:
    return status;
}

/* *scalar of a chunk: its map through the comparator, and the mean of what comes out. */
static dns_status scalar_of(dns_selector_session *s, double *scalar, const float *means, size_t n)
{
    dns_status status = DNS_OK;
    size_t side = dns_mapcnn_output(n), size = dns_mapcnn_scratch(s->comparator, n, n);
    double sum = 0;
    if (size == 0)
        DNS_FAIL(DNS_ERR_NOMEM, "selector: %zu frames", n);
    DNS_TRY(grow(&s->map, n, n));
    DNS_TRY(grow(&s->out, side, side));
    DNS_TRY(dns_reserve(&s->scratch, &s->scratch_capacity, size, 1));
    DNS_TRY(dns_gemm_dense_f32(false, true, n, n, s->shape.dim, means, means, 0, s->map.data));
    s->n_frames = n;
    DNS_TRY(dns_mapcnn_run(s->out.data, s->comparator, s->map.data, n, n, s->scratch));
    for (size_t i = 0; i < side * side; i++)
        sum += (double)s->out.data[i];
    *scalar = sum / (double)(side * side);
out:
    return status;
}

dns_status dns_selector_scalar(dns_selector_session *s, float *scalar, const float *x,
                               size_t n_frames, size_t n_regions)
{
    dns_status status = DNS_OK;
    size_t extended = n_frames, n_chunks = 0;
    double sum = 0, one = 0;
    if (n_frames == 0)
        DNS_FAIL(DNS_ERR_ARG, "no frames");
    while (extended < 4)
        extended *= 2;
    DNS_TRY(find_means(s, x, n_frames, extended, n_regions));
    for (size_t first = 0; first < extended; first += DNS_SELECTOR_CHUNK) {
        size_t n = extended - first < DNS_SELECTOR_CHUNK ? extended - first : DNS_SELECTOR_CHUNK;
        if (n < 4)
            break;
        DNS_TRY(scalar_of(s, &one, s->means.data + first * s->shape.dim, n));
        sum += one;
        n_chunks++;
    }
    *scalar = (float)(sum / (double)n_chunks);
out:
    return status;
}

const float *dns_selector_last_map(const dns_selector_session *session, size_t *n_frames)
{
    *n_frames = session->n_frames;
    return session->n_frames > 0 ? session->map.data : NULL;
}

dns_status dns_selector_confidence(dns_selector_session *session, float *confidence,
                                   const float *inputs, size_t n)
{
    return dns_selector_mlp_run(confidence, &session->mlp, inputs, n);
}

dns_status dns_selector_route(dns_selector_session *session, float *confidence, float query,
                              const float *targets, const float *coarse, size_t n, dns_pool *pool)
{
    return dns_selector_mlp_route(confidence, &session->mlp, query, targets, coarse, n, pool);
}
