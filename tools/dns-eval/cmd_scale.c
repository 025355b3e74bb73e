#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "dnsel/json.h"
#include "dnsel/scale.h"
#include "recall_output.h"
#include "terminal.h"

enum { DIGITS = 5, MILLION = 1000000 };

struct settings {
    const char *out, *tiers;
    uint64_t seed;
    size_t videos, fine_videos, dim, queries, query_frames, jobs;
    double frames, seconds;
    int progress;
    bool growth, growth_codes, exhaustive, json, csv;
};

static const struct settings defaults = {.out = "dns-scale",
                                         .tiers = "coarse,codes,selector,fine_binary",
                                         .seed = 1,
                                         .videos = DNS_FIVR_VIDEOS,
                                         .fine_videos = 20000,
                                         .dim = 512,
                                         .queries = 20,
                                         .query_frames = 30,
                                         .frames = DNS_FIVR_FRAMES,
                                         .seconds = 2};

static dns_status parse_tiers(bool kept[DNS_KIND_COUNT], const char *text)
{
    static const dns_kind known[] = {DNS_KIND_COARSE, DNS_KIND_CODES, DNS_KIND_SELECTOR,
                                     DNS_KIND_FINE_BINARY};
    memset(kept, 0, DNS_KIND_COUNT * sizeof *kept);
    while (*text != '\0') {
        size_t n = strcspn(text, ","), i = 0;
        while (i < 4 && (strlen(dns_kind_name(known[i])) != n ||
                         strncmp(dns_kind_name(known[i]), text, n) != 0))
            i++;
        if (i == 4)
            return dns_status_set(DNS_ERR_ARG,
                                  "--tiers: '%.*s' is none of coarse, codes, selector, fine_binary",
                                  (int)n, text);
        kept[known[i]] = true;
        text += n + (text[n] == ',');
    }
    kept[DNS_KIND_COARSE] = true;
    return DNS_OK;
}

/* ---- for people ---- */

static void print_build(const dns_scale_built *b, const dns_scale_options *o, const char *out)
{
    if (b->n_written == 0)
        printf("%s: an index of %zu generated videos was there\n", out, b->n_before);
    else
        printf("%s: %zu generated videos written in %.1f s, %.1f s of them generating: %.0f videos "
               "and %.0f MB a second\n",
               out, b->n_written, b->seconds, b->made_seconds, (double)b->n_written / b->seconds,
               (double)b->bytes_written / b->seconds / 1e6);
    if (o->kept[DNS_KIND_FINE_BINARY] && o->n_fine < o->n_videos)
        printf("only the first %zu of %zu videos have fine codes\n", o->n_fine, o->n_videos);
}

static void print_size(const dns_scale_report *r, const dns_scale_built *b)
{
    printf("\n%-14s %10s %12s %12s\n", "tier", "records", "bytes each", "MB");
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        if (r->stat.kinds[k].n_records > 0)
            printf("%-14s %10zu %12.1f %12.1f\n", dns_kind_name((dns_kind)k),
                   r->stat.kinds[k].n_records,
                   (double)r->stat.kinds[k].bytes / (double)r->stat.kinds[k].n_records,
                   (double)r->stat.kinds[k].bytes / 1e6);
    size_t n = r->stat.kinds[DNS_KIND_META].n_records;
    printf("index file %.1f MB, matrices %.1f MB; %.1f frames a video\n",
           (double)r->stat.file_bytes / 1e6, (double)r->stat.derived_bytes / 1e6,
           n > 0 ? (double)r->stat.n_frames / (double)n : 0.0);
    printf("\nopen and first coarse answer: %.1f + %.1f ms with %.0f %% of the pages dropped, "
           "%.1f + %.1f ms warm\n",
           1e3 * r->cold_open, 1e3 * r->cold_query, 100 * r->cold_share, 1e3 * r->warm_open,
           1e3 * r->warm_query);
    printf("resident after the queries: %.1f MB own, %.1f MB of mapped files%s\n",
           (double)r->memory / 1e6, (double)r->mapped_memory / 1e6,
           b->n_written > 0 ? "; what building used is in it" : "");
}

static void print_scan(const char *name, const dns_scale_scan *s)
{
    if (s->bytes > 0)
        printf("%-14s %10.1f MB %9.3f ms %9.3f ms %8.2f\n", name, (double)s->bytes / 1e6,
               1e3 * s->scan, 1e3 * s->read, s->scan / s->read);
}

/* A dash for what was not measured. */
static void print_growth(const dns_scale_growth *g)
{
    const double times[] = {g->scan, g->codes, g->route};
    printf("%10zu", g->n);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i] > 0)
            printf(" %12.4f", 1e3 * times[i]);
        else
            printf(" %12s", "-");
    printf("\n");
}

static void print_times(const dns_scale_report *r, const dns_scale_options *o)
{
    printf("\n%-14s %13s %12s %12s %8s\n", "scan", "bytes", "scan", "only read", "ratio");
    print_scan("coarse", &r->floats);
    print_scan("codes", &r->codes);
    if (r->codes.bytes > 0)
        printf("%.1f %% of the first ten by floats are among the first %d by codes\n",
               100 * r->recall, DNS_SCALE_CANDIDATES);
    putchar('\n');
    dns_recall_print(r->scans);
    printf("\nmedian ms of %zu queries; router %s; after %g s a query a budget is left\n"
           "%6s %9s %9s %9s %9s %9s %9s %9s %9s %9s\n",
           o->n_queries, dns_router_name(r->router), o->max_seconds, "budget", "scan", "route",
           "fine", "pairs", "left", "wanted", "ms/pair", "cpu/pair", "whole");
    for (size_t i = 0; i < DNS_SCALE_BUDGETS; i++) {
        const dns_scale_budget *b = &r->budgets[i];
        if (i > 0 && b->wanted == 0)
            continue;
        printf("%4.0f %% %9.3f %9.3f %9.1f %9zu %9zu %9zu %9.4f %9.4f %9.1f\n",
               100 * dns_scale_budgets[i], 1e3 * b->scan, 1e3 * b->route, 1e3 * b->fine, b->made,
               b->left, b->wanted, 1e3 * b->pair, 1e3 * b->cpu, 1e3 * b->whole);
    }
    printf("left: comparisons left before their end; cpu/pair: ms of one processor\n"
           "whole: scan, route, and all wanted pairs at the measured ms a pair\n"
           "%zu of %zu originals came first by coarse vectors alone\n",
           r->found, o->n_queries);
    printf("\n%10s %12s %12s %12s\n", "videos", "scan ms", "codes ms", "route ms");
    for (size_t i = 0; i < r->n_growth; i++)
        print_growth(&r->growth[i]);
    if (r->n_growth > 1)
        printf("%10s %12.2f %12.2f %12.2f\n", "n to the", r->scan_exponent, r->codes_exponent,
               r->route_exponent);
}

/* ---- for programs ---- */

static void put_ms(dns_json_writer *w, const char *key, double seconds)
{
    dns_json_put_number(w, key, 1e3 * seconds, DIGITS);
}

static void put_scan(dns_json_writer *w, const char *key, const dns_scale_scan *s)
{
    if (s->bytes == 0)
        return;
    dns_json_begin_object(w, key);
    dns_json_put_integer(w, "bytes", (int64_t)s->bytes);
    put_ms(w, "scan_ms", s->scan);
    put_ms(w, "read_ms", s->read);
    dns_json_end_object(w);
}

static void put_build(dns_json_writer *w, const dns_scale_built *b, const dns_scale_options *o)
{
    dns_json_put_integer(w, "videos", (int64_t)o->n_videos);
    dns_json_put_integer(w, "dim", (int64_t)o->corpus.dim);
    dns_json_put_integer(w, "threads", (int64_t)dns_pool_size(o->pool));
    dns_json_begin_object(w, "build");
    dns_json_put_integer(w, "videos_before", (int64_t)b->n_before);
    dns_json_put_integer(w, "videos_written", (int64_t)b->n_written);
    dns_json_put_integer(w, "bytes_written", (int64_t)b->bytes_written);
    dns_json_put_number(w, "seconds", b->seconds, DIGITS);
    dns_json_put_number(w, "seconds_generating", b->made_seconds, DIGITS);
    dns_json_end_object(w);
}

static void put_size(dns_json_writer *w, const dns_scale_report *r)
{
    dns_json_begin_array(w, "tiers");
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        if (r->stat.kinds[k].n_records == 0)
            continue;
        dns_json_begin_object(w, NULL);
        dns_json_put_string(w, "tier", dns_kind_name((dns_kind)k));
        dns_json_put_integer(w, "records", (int64_t)r->stat.kinds[k].n_records);
        dns_json_put_integer(w, "bytes", (int64_t)r->stat.kinds[k].bytes);
        dns_json_end_object(w);
    }
    dns_json_end_array(w);
    dns_json_put_integer(w, "frames", (int64_t)r->stat.n_frames);
    dns_json_put_integer(w, "file_bytes", (int64_t)r->stat.file_bytes);
    dns_json_put_integer(w, "matrix_bytes", (int64_t)r->stat.derived_bytes);
    put_ms(w, "cold_open_ms", r->cold_open);
    put_ms(w, "cold_query_ms", r->cold_query);
    dns_json_put_number(w, "cold_share", r->cold_share, DIGITS);
    put_ms(w, "warm_open_ms", r->warm_open);
    put_ms(w, "warm_query_ms", r->warm_query);
    dns_json_put_integer(w, "resident_bytes", (int64_t)r->memory);
    dns_json_put_integer(w, "resident_mapped_bytes", (int64_t)r->mapped_memory);
}

static void put_budgets(dns_json_writer *w, const dns_scale_report *r)
{
    dns_json_put_string(w, "router", dns_router_name(r->router));
    put_ms(w, "answer_ms", r->answer);
    dns_json_put_integer(w, "found_first", (int64_t)r->found);
    dns_json_begin_array(w, "budgets");
    for (size_t i = 0; i < DNS_SCALE_BUDGETS; i++) {
        const dns_scale_budget *b = &r->budgets[i];
        if (i > 0 && b->wanted == 0)
            continue;
        dns_json_begin_object(w, NULL);
        dns_json_put_number(w, "budget", dns_scale_budgets[i], DIGITS);
        put_ms(w, "scan_ms", b->scan);
        put_ms(w, "route_ms", b->route);
        put_ms(w, "fine_ms", b->fine);
        dns_json_put_integer(w, "asked", (int64_t)b->asked);
        dns_json_put_integer(w, "pairs_wanted", (int64_t)b->wanted);
        dns_json_put_integer(w, "pairs_made", (int64_t)b->made);
        dns_json_put_integer(w, "pairs_left", (int64_t)b->left);
        put_ms(w, "pair_ms", b->pair);
        put_ms(w, "pair_cpu_ms", b->cpu);
        put_ms(w, "whole_ms", b->whole);
        dns_json_end_object(w);
    }
    dns_json_end_array(w);
}

static dns_status print_json(const dns_scale_built *b, const dns_scale_report *r,
                             const dns_scale_options *o)
{
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "schema", "dnsel.scale/1");
    put_build(&w, b, o);
    put_size(&w, r);
    put_scan(&w, "scan_coarse", &r->floats);
    put_scan(&w, "scan_codes", &r->codes);
    if (r->codes.bytes > 0)
        dns_json_put_number(&w, "codes_recall", r->recall, DIGITS);
    dns_recall_put(&w, r->scans);
    dns_json_put_integer(&w, "queries", (int64_t)o->n_queries);
    put_budgets(&w, r);
    dns_json_begin_array(&w, "growth");
    for (size_t i = 0; i < r->n_growth; i++) {
        dns_json_begin_object(&w, NULL);
        dns_json_put_integer(&w, "videos", (int64_t)r->growth[i].n);
        if (r->growth[i].scan > 0)
            put_ms(&w, "scan_ms", r->growth[i].scan);
        if (r->growth[i].codes > 0)
            put_ms(&w, "codes_ms", r->growth[i].codes);
        put_ms(&w, "route_ms", r->growth[i].route);
        dns_json_end_object(&w);
    }
    dns_json_end_array(&w);
    dns_json_put_number(&w, "scan_exponent", r->scan_exponent, DIGITS);
    dns_json_put_number(&w, "codes_exponent", r->codes_exponent, DIGITS);
    dns_json_put_number(&w, "route_exponent", r->route_exponent, DIGITS);
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

static void print_csv(const dns_scale_report *r)
{
    puts("videos,scan_ms,codes_ms,route_ms");
    for (size_t i = 0; i < r->n_growth; i++)
        printf("%zu,%.6g,%.6g,%.6g\n", r->growth[i].n, 1e3 * r->growth[i].scan,
               1e3 * r->growth[i].codes, 1e3 * r->growth[i].route);
}

/* ---- the command ---- */

static dns_status measure(const dns_invocation *invocation, dns_scale_options *o)
{
    const struct settings *s = invocation->settings;
    dns_scale_built built = {0};
    dns_scale_report report;
    dns_status status = dns_scale_build(&built, s->out, o);
    if (status == DNS_OK)
        status = dns_scale_measure(&report, s->out, o);
    if (status != DNS_OK)
        return status;
    if (s->json)
        return print_json(&built, &report, o);
    if (s->csv) {
        print_csv(&report);
    } else {
        print_build(&built, o, s->out);
        print_size(&report, &built);
        print_times(&report, o);
    }
    return DNS_OK;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_pool *pool = NULL;
    dns_scale_options o = dns_scale_options_default();
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_progress progress = dns_terminal_progress(&terminal);
    o.corpus = (dns_made_corpus){.seed = s->seed, .dim = s->dim, .mean_frames = s->frames};
    o.n_videos = s->videos;
    o.n_fine = s->fine_videos;
    o.n_queries = s->queries;
    o.query_frames = s->query_frames;
    o.exhaustive = s->exhaustive;
    o.max_seconds = s->seconds;
    o.n_growth = s->growth ? MILLION : 0;
    o.n_growth_codes = s->growth_codes ? 10 * MILLION : 0;
    o.progress = &progress;
    o.cancel = dns_interrupt_catch();
    DNS_TRY(parse_tiers(o.kept, s->tiers));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    o.pool = pool;
    status = measure(invocation, &o);
out:
    dns_terminal_close(&terminal);
    dns_pool_free(pool);
    return status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
}

#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "videos",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(videos),
     .value = "N",
     .help = "generated videos in the index",
     .minimum = 1,
     .maximum = 100 * (double)MILLION},
    {.name = "fine-videos",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(fine_videos),
     .value = "N",
     .help = "of them, those with fine codes, 576 bytes a frame",
     .maximum = 100 * (double)MILLION},
    {.name = "tiers",
     .kind = DNS_OPTION_STRING,
     .offset = AT(tiers),
     .value = "LIST",
     .help = "what is written, of coarse,codes,selector,fine_binary; coarse always is"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "DIR",
     .help = "where the index is made, or found again"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "the same seed gives the same index"},
    {.name = "dim",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(dim),
     .value = "N",
     .help = "of coarse vectors; as many bits in a code",
     .minimum = 8,
     .maximum = 65536},
    {.name = "frames",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(frames),
     .value = "N",
     .help = "mean frames of a video",
     .minimum = 8,
     .maximum = 10000},
    {.name = "queries",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(queries),
     .value = "N",
     .help = "copies that are asked for",
     .minimum = 1,
     .maximum = 10000},
    {.name = "query-frames",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(query_frames),
     .value = "N",
     .help = "the first so many frames of a query are asked for; 0: all",
     .maximum = 10000},
    {.name = "exhaustive",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(exhaustive),
     .help = "finish every fine comparison, as dns-query --exhaustive does"},
    {.name = "seconds",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(seconds),
     .value = "S",
     .help = "a budget is left after so long, times queries, and one query at least",
     .minimum = 0.001,
     .maximum = 86400},
    {.name = "growth",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(growth),
     .help = "also scan a million vectors, generated in memory"},
    {.name = "growth-codes",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(growth_codes),
     .help = "also scan ten million codes, generated in memory (0.7 GB, some minutes)"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(json),
     .help = "one JSON document with every figure"},
    {.name = "csv", .kind = DNS_OPTION_FLAG, .offset = AT(csv), .help = "growth as CSV"},
    {0},
};

const dns_command dns_eval_scale = {
    .name = "scale",
    .synopsis = "",
    .summary = "measure an index of any size, made of generated embeddings",
    .description =
        "Writes an index of generated embeddings (scenes, copies, excerpts, lengths with a long "
        "tail) as dns-index writes one, and measures bytes a video, time to build, to open cold "
        "and warm, milliseconds a query by stage at budgets of 0, 1, 5 and 30 %, resident memory, "
        "each scan beside merely reading the same bytes, and how scans grow with the number of "
        "videos (docs/benchmark.md).\n\n"
        "The default has the size of FIVR-200K: 225,960 videos of 113 frames on average. Fine "
        "codes of all of them take 14.7 GB, so that only 20,000 videos get them unless "
        "--fine-videos says otherwise.\n\n"
        "What is in --out is used again when it was made with the same options; an index that is "
        "shorter, because of Ctrl-C or of a smaller --videos, is lengthened.",
    .examples =
        "dns-eval scale --out /tmp/scale                  # FIVR-200K's size\n"
        "dns-eval scale --videos 1000000 --tiers codes    # vectors and codes alone\n"
        "dns-eval scale --videos 20000 --growth --json    # all figures, a million in memory\n"
        "dns-eval scale --growth --growth-codes           # and ten million by codes alone",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
