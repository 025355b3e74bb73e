#include <stdio.h>

#include "commands.h"
#include "dnsel/json.h"
#include "dnsel/speed.h"
#include "terminal.h"

enum { DIGITS = 4, JSON_VERSION = 1 };

struct settings {
    bool json, once;
    const char *filter;
    double seconds;
};

static const struct settings defaults = {.seconds = 0.3};

static const dns_option options[] = {
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "print one JSON document"},
    {.name = "filter",
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, filter),
     .value = "NAME",
     .help = "measure only what has NAME in its name"},
    {.name = "once",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, once),
     .help = "run each of them once, without peaks and twins: for eval/instructions"},
    {.name = "seconds",
     .kind = DNS_OPTION_NUMBER,
     .offset = offsetof(struct settings, seconds),
     .value = "S",
     .help = "how long to repeat each of them",
     .minimum = 0.001,
     .maximum = 3600},
    {0},
};

/* "  12.3x", or a dash for 0. */
static void print_ratio(double value, double scale, const char *unit)
{
    if (value > 0)
        printf(" %7.*f%s", value * scale < 100 ? 1 : 0, value * scale, unit);
    else
        printf(" %7s%*s", "-", (int)sizeof unit[0], "");
}

static void print_text(const dns_speed *speed)
{
    dns_speed_peaks peaks = dns_speed_peaks_of(speed);
    printf("%s (%s)\n", dns_speed_processor(speed), dns_speed_features(speed));
    if (peaks.f32 > 0)
        printf("one thread: %.0f GFLOP/s, %.0f G operations on bytes, %.1f G words counted, "
               "%.1f GB/s read\n",
               peaks.f32 / 1e9, peaks.i8 / 1e9, peaks.words / 1e9, peaks.bytes / 1e9);
    printf("\n");
    printf("%-20s %10s %10s %8s %8s %8s  %s\n", "", "least ms", "median ms", "to plain", "of peak",
           "loss", "");
    for (size_t i = 0; i < dns_speed_count(speed); i++) {
        const dns_speed_item *item = dns_speed_at(speed, i);
        printf("%-20s %10.4f %10.4f", item->name, item->minimum * 1e3, item->median * 1e3);
        print_ratio(item->plain / item->minimum, 1, "x");
        print_ratio(item->floor / item->minimum, 100, "%");
        if (item->loss > 0)
            printf(" %8.1e", item->loss);
        else
            printf(" %8s", "-");
        printf("  %s\n", item->what);
    }
}

static dns_status print_json(const dns_speed *speed)
{
    dns_speed_peaks peaks = dns_speed_peaks_of(speed);
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_integer(&w, "version", JSON_VERSION);
    dns_json_put_string(&w, "processor", dns_speed_processor(speed));
    dns_json_put_string(&w, "features", dns_speed_features(speed));
    dns_json_begin_object(&w, "peaks_per_second");
    dns_json_put_number(&w, "f32_operations", peaks.f32, DIGITS);
    dns_json_put_number(&w, "i8_operations", peaks.i8, DIGITS);
    dns_json_put_number(&w, "words_counted", peaks.words, DIGITS);
    dns_json_put_number(&w, "bytes_read", peaks.bytes, DIGITS);
    dns_json_end_object(&w);
    dns_json_begin_array(&w, "items");
    for (size_t i = 0; i < dns_speed_count(speed); i++) {
        const dns_speed_item *item = dns_speed_at(speed, i);
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "name", item->name);
        dns_json_put_string(&w, "what", item->what);
        dns_json_put_integer(&w, "runs", (int64_t)item->n_runs);
        dns_json_put_number(&w, "minimum_ms", item->minimum * 1e3, DIGITS);
        dns_json_put_number(&w, "median_ms", item->median * 1e3, DIGITS);
        if (item->plain > 0)
            dns_json_put_number(&w, "plain_ms", item->plain * 1e3, DIGITS);
        if (item->floor > 0)
            dns_json_put_number(&w, "share_of_peak", item->floor / item->minimum, DIGITS);
        dns_json_put_number(&w, "loss", item->loss, DIGITS);
        dns_json_end_object(&w);
    }
    dns_json_end_array(&w);
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_speed *speed = NULL;
    dns_terminal terminal = dns_terminal_open(DNS_PROGRESS_AUTO, invocation->quiet);
    dns_progress progress = dns_terminal_progress(&terminal);
    dns_speed_options wanted = dns_speed_defaults();
    wanted.filter = s->filter;
    wanted.seconds = s->seconds;
    wanted.once = s->once;
    wanted.progress = &progress;
    wanted.cancel = dns_interrupt_catch();
    int code = DNS_EXIT_OK;
    status = dns_speed_run(&speed, &wanted);
    dns_terminal_close(&terminal);
    if (status == DNS_OK && s->json)
        status = print_json(speed);
    else if (status == DNS_OK)
        print_text(speed);
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_speed_free(speed);
    return code;
}

const dns_command dns_eval_speed = {
    .name = "speed",
    .synopsis = "",
    .summary = "time the loops of search on this machine",
    .description = "First measures what one thread of this machine can do: multiplications of "
                   "floats and of bytes, bits "
                   "counted, and memory read. Then times the kernels that search is made of, each "
                   "beside its twin in plain C, and whole "
                   "comparisons of a query of 30 with a target of 60 frames.\n\n"
                   "Times are processor seconds of the thread; on a busy machine the least is the "
                   "one to trust. The share of the peak is "
                   "the time that the work would take at the measured peaks, divided by the least. "
                   "Times of plain twins are those of the "
                   "compiler's code for any x86-64. The loss is the largest difference from the "
                   "result in floats. Data are "
                   "random.\n\n"
                   "DNS_CPU_MASK=avx2 (or baseline, or a list: avx2,avx512,vnni,vpopcntdq,bf16) "
                   "measures as if the processor had no more.",
    .examples = "dns-eval speed                   # everything, about half a minute\n"
                "dns-eval speed --filter pair     # whole comparisons only\n"
                "DNS_CPU_MASK=avx2 dns-eval speed # as on a processor without AVX-512",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
