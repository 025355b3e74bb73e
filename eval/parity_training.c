/* The parts of a training step's comparison that all networks share. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"
#include "parity_set.h"

/* ---- batches ---- */

/* Real frames of each video: ones at the beginning of its mask. */
static dns_status read_lengths(dns_parity_batch *b, const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    float *masks = NULL;
    const dns_tensor *stored = dns_safetensors_find(inputs, "masks");
    b->masked = stored != NULL;
    for (size_t v = 0; v < b->n; v++)
        b->n_frames[v] = b->n_padded;
    if (stored == NULL)
        return DNS_OK;
    if (stored->rank != 2 || stored->shape[0] != b->n || stored->shape[1] != b->n_padded)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: masks do not fit videos", dns_safetensors_path(inputs));
    DNS_TRY(dns_alloc(&masks, b->n * b->n_padded, sizeof *masks));
    dns_tensor_to_f32(masks, stored);
    for (size_t v = 0; v < b->n; v++) {
        const float *mask = masks + v * b->n_padded;
        size_t n = 0;
        while (n < b->n_padded && mask[n] != 0)
            n++;
        b->n_frames[v] = n;
        while (n < b->n_padded && mask[n] == 0)
            n++;
        if (n < b->n_padded || b->n_frames[v] == 0)
            DNS_FAIL(DNS_ERR_UNSUPPORTED, "%s: the mask of video %zu is no run of ones, then zeros",
                     dns_safetensors_path(inputs), v);
    }
out:
    dns_free(masks);
    return status;
}

dns_status dns_parity_batch_read(dns_parity_batch *out, const dns_safetensors *inputs)
{
    dns_status status = DNS_OK;
    dns_parity_batch b = {0};
    const dns_tensor *videos;
    float *all = NULL;
    DNS_TRY(dns_parity_tensor(&videos, inputs, "videos"));
    if (videos->rank != 4)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: videos of rank %zu", dns_safetensors_path(inputs),
                 videos->rank);
    b.n = videos->shape[0];
    b.n_padded = videos->shape[1];
    b.n_regions = videos->shape[2];
    b.dim = videos->shape[3];
    DNS_TRY(dns_alloc(&b.n_frames, b.n, sizeof *b.n_frames));
    DNS_TRY(read_lengths(&b, inputs));
    DNS_TRY(dns_alloc(&all, dns_tensor_count(videos), sizeof *all));
    DNS_TRY(dns_alloc(&b.x, dns_tensor_count(videos), sizeof *b.x));
    dns_tensor_to_f32(all, videos);
    size_t frame = b.n_regions * b.dim;
    float *to = b.x;
    for (size_t v = 0; v < b.n; v++) {
        memcpy(to, all + v * b.n_padded * frame, b.n_frames[v] * frame * sizeof *to);
        to += b.n_frames[v] * frame;
    }
    *out = b;
    b = (dns_parity_batch){0};
out:
    dns_free(all);
    dns_parity_batch_free(&b);
    return status;
}

void dns_parity_batch_free(dns_parity_batch *batch)
{
    dns_free(batch->x);
    dns_free(batch->n_frames);
    *batch = (dns_parity_batch){0};
}

/* ---- gradients and steps ---- */

/* *values = the tensor `prefix` + name as f32, to be freed; NULL when the file has none. */
static dns_status read(float **values, const dns_tensor **stored, const dns_safetensors *file,
                       const char *prefix, const char *name)
{
    dns_status status = DNS_OK;
    char *whole = NULL;
    *values = NULL;
    DNS_TRY(dns_string_format(&whole, "%s%s", prefix, name));
    *stored = dns_safetensors_find(file, whole);
    if (*stored != NULL) {
        DNS_TRY(dns_alloc(values, dns_tensor_count(*stored), sizeof **values));
        dns_tensor_to_f32(*values, *stored);
    }
out:
    dns_free(whole);
    return status;
}

static double largest_of(const float *values, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)values[i]));
    return largest;
}

/* The largest stored gradient of the network. */
static dns_status largest_gradient(double *out, const dns_safetensors *train,
                                   const dns_parameters *parameters)
{
    *out = 0;
    for (size_t i = 0; i < dns_parameters_count(parameters); i++) {
        float *values;
        const dns_tensor *stored;
        dns_status status =
            read(&values, &stored, train, "grad.", dns_parameters_at(parameters, i)->name);
        if (status != DNS_OK)
            return status;
        if (values != NULL)
            *out = fmax(*out, largest_of(values, dns_tensor_count(stored)));
        dns_free(values);
    }
    return DNS_OK;
}

dns_status dns_parity_gradients(dns_parity *p, const char *set, const dns_safetensors *train,
                                const dns_parameters *parameters, double tolerance)
{
    dns_status status = DNS_OK;
    float *values = NULL;
    double network;
    DNS_TRY(largest_gradient(&network, train, parameters));
    for (size_t i = 0; i < dns_parameters_count(parameters); i++) {
        const dns_parameter *t = dns_parameters_at(parameters, i);
        const dns_tensor *stored;
        char name[256];
        if (t->kind != DNS_PARAMETER_TRAINED)
            continue;
        snprintf(name, sizeof name, "grad.%s", t->name);
        DNS_TRY(read(&values, &stored, train, "grad.", t->name));
        if (values == NULL)
            DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no tensor '%s'", dns_safetensors_path(train), name);
        dns_parity_rule rule = {.tolerance = tolerance, .unit = "largest"};
        if (largest_of(values, dns_tensor_count(stored)) <= 1e-6 * network) /* analytically 0 */
            rule = (dns_parity_rule){.tolerance = 1e-5, .scale = network, .unit = "network's"};
        DNS_TRY(dns_parity_compare(p, set, name, dns_parameters_gradient(parameters, i), t->count,
                                   stored, &rule));
        dns_free(values);
        values = NULL;
    }
out:
    dns_free(values);
    return status;
}

/* Adam turns rounding noise into whole steps: entries with no first gradient to speak of may end
 * anywhere that three steps lead to, in either direction. */
static dns_status compare_moved(dns_parity *p, const char *set, const char *name,
                                const dns_tensor *stored, const float *weights,
                                const float *gradients, double network, double rate)
{
    dns_status status = DNS_OK;
    bool *noise = NULL, *signal = NULL;
    size_t n = dns_tensor_count(stored), n_noise = 0;
    double largest = largest_of(gradients, n);
    char small[256];
    DNS_TRY(dns_alloc(&noise, n, sizeof *noise));
    DNS_TRY(dns_alloc(&signal, n, sizeof *signal));
    for (size_t i = 0; i < n; i++) {
        double g = fabs((double)gradients[i]);
        noise[i] = g <= 1e-6 * network || g <= 1e-3 * largest;
        signal[i] = !noise[i];
        n_noise += noise[i];
    }
    dns_parity_rule moved = {DNS_PARITY_AFTER, 3 * rate, "3 lr", noise};
    dns_parity_rule anywhere = {1, 6 * rate, "6 lr", signal};
    if (n_noise < n)
        DNS_TRY(dns_parity_compare(p, set, name, weights, n, stored, &moved));
    snprintf(small, sizeof small, "%s (noise)", name);
    if (n_noise > 0)
        DNS_TRY(dns_parity_compare(p, set, small, weights, n, stored, &anywhere));
out:
    dns_free(signal);
    dns_free(noise);
    return status;
}

dns_status dns_parity_after3(dns_parity *p, const char *set, const dns_safetensors *train,
                             const dns_parameters *parameters, double rate)
{
    dns_status status = DNS_OK;
    float *gradients = NULL;
    double network;
    DNS_TRY(largest_gradient(&network, train, parameters));
    for (size_t i = 0; i < dns_safetensors_count(train); i++) {
        const char *name = dns_safetensors_name(train, i),
                   *plain = dns_parity_after(name, "after3.");
        const dns_tensor *stored = dns_safetensors_at(train, i), *ignored;
        if (plain == NULL)
            continue;
        size_t index = dns_parameters_find(parameters, plain);
        if (index == dns_parameters_count(parameters)) {
            DNS_TRY(dns_parity_unknown(p, set, name));
            continue;
        }
        const dns_parameter *t = dns_parameters_at(parameters, index);
        const float *weights = dns_parameters_weight(parameters, index);
        const dns_parity_rule running = {.tolerance = DNS_PARITY_RUNNING, .unit = "largest"};
        DNS_TRY(read(&gradients, &ignored, train, "grad.", plain));
        if (t->kind != DNS_PARAMETER_TRAINED)
            DNS_TRY(dns_parity_compare(p, set, name, weights, t->count, stored, &running));
        else if (gradients == NULL || dns_tensor_count(ignored) != t->count ||
                 dns_tensor_count(stored) != t->count)
            DNS_FAIL(DNS_ERR_SHAPE, "%s: '%s' without a gradient of its size",
                     dns_safetensors_path(train), name);
        else
            DNS_TRY(compare_moved(p, set, name, stored, weights, gradients, network, rate));
        dns_free(gradients);
        gradients = NULL;
    }
out:
    dns_free(gradients);
    return status;
}
