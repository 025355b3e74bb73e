#include "dnsel/speed.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/memory.h"
#include "dnsel/random.h"
#include "speed_run.h"

enum { FEWEST_RUNS = 5, MOST_RUNS = 2000, N_PLAIN_RUNS = 3 };

struct dns_speed {
    dns_speed_options options;
    char processor[64], features[64];
    dns_speed_peaks peaks;
    dns_speed_item *items;
    size_t n_items, capacity;
};

dns_speed_options dns_speed_defaults(void)
{
    return (dns_speed_options){.seconds = 0.3};
}

dns_status speed_floats(float **out, size_t n, double scale)
{
    dns_status status = dns_alloc(out, n, sizeof **out);
    dns_random random = dns_random_seed(n);
    for (size_t i = 0; status == DNS_OK && i < n; i++)
        (*out)[i] = (float)(scale * (2.0 * dns_random_uniform(&random) - 1.0));
    return status;
}

dns_status speed_bytes(void *out, size_t n)
{
    uint64_t *words;
    dns_status status = dns_alloc(&words, n / 8 + 1, sizeof *words);
    dns_random random = dns_random_seed(n);
    for (size_t i = 0; status == DNS_OK && i < n / 8 + 1; i++)
        words[i] = dns_random_next(&random);
    memcpy(out, &words, sizeof words); /* `out` is the address of any object pointer */
    return status;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static dns_status seconds_of(double *seconds, dns_status (*run)(void *data), void *data)
{
    double start = dns_thread_seconds();
    dns_status status = run(data);
    *seconds = dns_thread_seconds() - start;
    return status;
}

/* Seconds that the work takes at the peaks. Bytes without VNNI are multiplied as floats; reading
 * goes on meanwhile. */
static double floor_of(const dns_speed_peaks *peaks, const speed_work *work)
{
    if (work->words > 0.0 && peaks->words == 0.0)
        return 0.0;
    double seconds = work->f32 / peaks->f32 + work->i8 / (peaks->i8 > 0.0 ? peaks->i8 : peaks->f32);
    if (work->words > 0.0)
        seconds += work->words / peaks->words;
    double reading = peaks->bytes > 0.0 ? work->bytes / peaks->bytes : 0.0;
    return seconds > reading ? seconds : reading;
}

static bool wanted(const dns_speed *speed, const speed_case *item)
{
    return speed->options.filter == NULL || strstr(item->name, speed->options.filter) != NULL;
}

dns_status speed_measure(dns_speed *speed, const speed_case *item)
{
    dns_status status = DNS_OK;
    double *seconds = NULL, total = 0.0, plain = 0.0, once,
           units = item->units > 0.0 ? item->units : 1.0;
    size_t n = 0;
    if (!wanted(speed, item))
        return DNS_OK;
    if (dns_cancelled(speed->options.cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "cancelled");
    DNS_TRY(dns_alloc(&seconds, MOST_RUNS, sizeof *seconds));
    DNS_TRY(seconds_of(&once, item->run, item->data)); /* pages and caches are warm after it */
    for (; n < FEWEST_RUNS || (n < MOST_RUNS && total < speed->options.seconds); n++) {
        DNS_TRY(seconds_of(&seconds[n], item->run, item->data));
        total += seconds[n];
    }
    double loss = item->loss != NULL ? item->loss(item->data) : 0.0;
    for (size_t i = 0; item->plain != NULL && i < N_PLAIN_RUNS; i++) {
        DNS_TRY(seconds_of(&once, item->plain, item->data));
        plain = i == 0 || once < plain ? once : plain;
    }
    qsort(seconds, n, sizeof *seconds, by_value);
    DNS_TRY(dns_reserve(&speed->items, &speed->capacity, speed->n_items + 1, sizeof *speed->items));
    speed->items[speed->n_items++] =
        (dns_speed_item){.name = item->name,
                         .what = item->what,
                         .n_runs = n,
                         .minimum = seconds[0] / units,
                         .median = seconds[n / 2] / units,
                         .plain = plain / units,
                         .floor = floor_of(&speed->peaks, &item->work) / units,
                         .loss = loss};
    const dns_progress *progress = speed->options.progress;
    if (progress != NULL)
        progress->report(progress->payload, speed->n_items, 0, "items");
out:
    dns_free(seconds);
    return status;
}

dns_status dns_speed_run(dns_speed **out, const dns_speed_options *options)
{
    dns_status status = DNS_OK;
    dns_speed *speed = NULL;
    unsigned flags = dns_cpu_flags();
    *out = NULL;
    DNS_TRY(dns_alloc(&speed, 1, sizeof *speed));
    speed->options = *options;
    dns_cpu_model(speed->processor, sizeof speed->processor);
    dns_cpu_text(speed->features, sizeof speed->features, flags);
    speed->peaks = speed_peaks_measure(flags);
    DNS_TRY(speed_tiles(speed));
    DNS_TRY(speed_pairs(speed));
    DNS_TRY(speed_products(speed));
    DNS_TRY(speed_rows(speed));
    DNS_TRY(speed_backbone(speed));
    if (speed->n_items == 0)
        DNS_FAIL(DNS_ERR_NOTFOUND, "no measurement is called '%s'", options->filter);
    *out = speed;
    speed = NULL;
out:
    dns_speed_free(speed);
    return status;
}

void dns_speed_free(dns_speed *speed)
{
    if (speed == NULL)
        return;
    dns_free(speed->items);
    dns_free(speed);
}

const char *dns_speed_processor(const dns_speed *speed)
{
    return speed->processor;
}

const char *dns_speed_features(const dns_speed *speed)
{
    return speed->features;
}

dns_speed_peaks dns_speed_peaks_of(const dns_speed *speed)
{
    return speed->peaks;
}

size_t dns_speed_count(const dns_speed *speed)
{
    return speed->n_items;
}

const dns_speed_item *dns_speed_at(const dns_speed *speed, size_t index)
{
    return &speed->items[index];
}
