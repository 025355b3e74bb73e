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

/* volatile: so that the call is no jump. */
dns_status dns_speed_counted(const speed_case *item)
{
    volatile dns_status status = item->run(item->data);
    return status;
}

/* Seconds that the work takes at the peaks. Bytes without VNNI are multiplied as floats; reading
 * goes on meanwhile. */
static double floor_of(const dns_speed_peaks *peaks, const speed_work *work)
{
    if (work->words > 0.0 && peaks->words == 0.0)
        return 0.0;
    if (peaks->f32 == 0.0)
        return 0.0;
    double seconds = work->f32 / peaks->f32 + work->i8 / (peaks->i8 > 0.0 ? peaks->i8 : peaks->f32);
    if (work->words > 0.0)
        seconds += work->words / peaks->words;
    double reading = peaks->bytes > 0.0 ? work->bytes / peaks->bytes : 0.0;
    return seconds > reading ? seconds : reading;
}

/* A filter selects every item in whose name it occurs. */
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
    bool once_only = speed->options.once;
    if (!wanted(speed, item))
        return DNS_OK;
    if (dns_cancelled(speed->options.cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "cancelled");
    DNS_TRY(dns_alloc(&seconds, MOST_RUNS, sizeof *seconds));
    DNS_TRY(seconds_of(&once, item->run, item->data)); /* pages and caches are warm after it */
    if (once_only) {
        double start = dns_thread_seconds();
        DNS_TRY(dns_speed_counted(item));
        seconds[n++] = dns_thread_seconds() - start;
    }
    for (; !once_only && (n < FEWEST_RUNS || (n < MOST_RUNS && total < speed->options.seconds));
         n++) {
        DNS_TRY(seconds_of(&seconds[n], item->run, item->data));
        total += seconds[n];
    }
    double loss = item->loss != NULL ? item->loss(item->data) : 0.0;
    for (size_t i = 0; item->plain != NULL && !once_only && i < N_PLAIN_RUNS; i++) {
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

/* Groups are passed over when the filter wants nothing of them: they prepare more data than they
 * measure. */
static const struct group {
    dns_status (*measure)(dns_speed *speed);
    const char *names;
    bool counted; /* run with `once` too; the backbone is oneDNN's work, and takes too long there */
} groups[] = {
    {speed_tiles, "max_f32 both_f32 max_i8 min_hamming row_to_i8 conv_f32 conv_i8", true},
    {speed_students,
     "f2f_f32 f2f_by_gemm f2f_i8 f2f_codes f2f_asymmetric f2f_same f2f_same_i8 f2f_symmetric "
     "selector_map comparator_f32 comparator_i8 selector_map_i8 pair_attention_f32 "
     "pair_attention_i8 "
     "pair_binary_f32 pair_binary_i8",
     true},
    {speed_teacher, "pair_teacher_f32 pair_teacher_i8", true},
    {speed_products, "gate_product vlad_reduction_1 vlad_reduction_8 vlad_reduction_32", true},
    {speed_coarse, "coarse_32 coarse_1", true},
    {speed_selector, "selector_scalar selector_mlp rank", true},
    {speed_rows, "scan_f32 scan_i8 scan_codes", true},
    {speed_backbone, "frame_f32 frame_int8", false},
};

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
    if (!options->once)
        speed->peaks = speed_peaks_measure(flags);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if ((options->filter == NULL || strstr(groups[i].names, options->filter) != NULL) &&
            (groups[i].counted || !options->once))
            DNS_TRY(groups[i].measure(speed));
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
