#include <stdio.h>

#include "dnsel/coarse_recall.h"
#include "dnsel/json.h"
#include "index_tool.h"
#include "recall_output.h"
#include "terminal.h"

enum { QUERIES = 100 }; /* of --recall */

struct settings {
    bool json, digest, recall;
};

static const char *networks_note(const dns_store_settings *settings)
{
    if (settings->kept[DNS_KIND_FINE_ATTENTION])
        return "fine attention student";
    if (settings->kept[DNS_KIND_FINE_BINARY])
        return "fine binary student";
    if (settings->kept[DNS_KIND_REGIONS])
        return "region features compared directly, no fine network";
    return "none";
}

double dns_index_bytes_a_video(const dns_store_stat *stat)
{
    uint64_t bytes = 0;
    for (int kind = 0; kind < DNS_KIND_COUNT; kind++)
        bytes += stat->kinds[kind].bytes;
    size_t n = stat->kinds[DNS_KIND_META].n_records;
    return n > 0 ? (double)bytes / (double)n : 0;
}

/* "fine_binary:256" where codes were cut. */
static const char *kind_text(char text[48], dns_kind kind, const dns_store_settings *settings)
{
    bool cut = kind == DNS_KIND_FINE_BINARY && settings->code_bits > 0;
    snprintf(text, 48, cut ? "%s:%zu" : "%s", dns_kind_name(kind), settings->code_bits);
    return text;
}

/* Records that no search reads: the archive, and region features beside a fine tier. */
static bool is_reserve(dns_kind kind, const dns_store_settings *settings)
{
    return kind == DNS_KIND_ARCHIVE ||
           (kind == DNS_KIND_REGIONS &&
            (settings->kept[DNS_KIND_FINE_ATTENTION] || settings->kept[DNS_KIND_FINE_BINARY]));
}

static void print_kinds(const dns_store_settings *settings, const dns_store_stat *stat)
{
    size_t n = stat->kinds[DNS_KIND_META].n_records;
    double searched = 0, on_disk = 0, pages = 0;
    printf("%-16s %10s %14s %14s %14s %10s\n", "record", "videos", "bytes", "bytes a video",
           "on disk", "frames");
    for (int kind = 0; kind < DNS_KIND_COUNT; kind++) {
        double records = (double)stat->kinds[kind].n_records;
        double bytes = (double)stat->kinds[kind].bytes;
        double disk = (double)stat->kinds[kind].page_bytes;
        char name[48], frames[16] = "";
        if (records == 0)
            continue;
        if (stat->kinds[kind].n_frames > 0 && stat->n_frames > 0)
            snprintf(frames, sizeof frames, "%.1f %%",
                     100 * (double)stat->kinds[kind].n_frames / (double)stat->n_frames);
        printf("%-16s %10.0f %14.0f %14.0f %14.0f %10s\n",
               kind_text(name, (dns_kind)kind, settings), records, bytes, bytes / records,
               disk / records, frames);
        pages += disk;
        if (!is_reserve((dns_kind)kind, settings)) {
            searched += bytes;
            on_disk += disk;
        }
    }
    double videos = n > 0 ? (double)n : 1;
    printf("%-16s %10zu %14.0f %14.0f %14.0f\n", "for searching", n, searched, searched / videos,
           on_disk / videos);
    printf("%-16s %10zu %14.0f %14.0f %14.0f\n", "all", n,
           dns_index_bytes_a_video(stat) * (double)n, dns_index_bytes_a_video(stat),
           pages / videos);
    if (settings->merge > 0)
        printf("\nframes up to %g apart are stored once\n", (double)settings->merge);
}

/* What was found out; NULL: not asked for. */
struct findings {
    dns_store_stat stat;
    dns_coarse_ann_state ann;
    const dns_digest *contents;
    const dns_coarse_recall *recall;
};

static void print_text(const char *directory, const dns_store *store, const struct findings *f)
{
    const dns_store_stat *stat = &f->stat;
    const dns_store_settings *settings = dns_store_settings_get(store);
    char digest[33];
    dns_digest_text(&settings->model, digest);
    size_t n = stat->kinds[DNS_KIND_META].n_records;
    printf("index      %s\nmade by    %s\nmodel      %s (%s)\nfine       %s\n", directory,
           dns_store_created_by(store), settings->model_name, digest, networks_note(settings));
    printf("videos     %zu, %.1f h, %llu frames\n", n, stat->duration / 3600,
           (unsigned long long)stat->n_frames);
    printf("file       %.1f MB, of it %.1f MB free; derived files %.1f MB\n",
           (double)stat->file_bytes / 1e6, (double)stat->free_bytes / 1e6,
           (double)(stat->derived_bytes + f->ann.bytes) / 1e6);
    dns_index_print_ann(&f->ann);
    putchar('\n');
    if (f->contents != NULL) {
        dns_digest_text(f->contents, digest);
        printf("contents   %s\n\n", digest);
    }
    print_kinds(settings, stat);
    if (f->recall != NULL) {
        putchar('\n');
        dns_recall_print(f->recall);
    }
}

static dns_status print_json(const char *directory, const dns_store *store,
                             const struct findings *f)
{
    const dns_store_stat *stat = &f->stat;
    const dns_store_settings *settings = dns_store_settings_get(store);
    char digest[33];
    dns_digest_text(&settings->model, digest);
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "schema", "dnsel.stat/1");
    dns_json_put_string(&w, "index", directory);
    dns_json_put_string(&w, "created_by", dns_store_created_by(store));
    dns_json_begin_object(&w, "model");
    dns_json_put_string(&w, "name", settings->model_name);
    dns_json_put_string(&w, "digest", digest);
    dns_json_put_string(&w, "fine", networks_note(settings));
    dns_json_end_object(&w);
    if (f->contents != NULL) {
        dns_digest_text(f->contents, digest);
        dns_json_put_string(&w, "contents", digest);
    }
    dns_json_put_integer(&w, "videos", (int64_t)stat->kinds[DNS_KIND_META].n_records);
    dns_json_put_integer(&w, "frames", (int64_t)stat->n_frames);
    dns_json_put_number(&w, "duration_s", stat->duration, 12);
    dns_json_put_integer(&w, "file_bytes", (int64_t)stat->file_bytes);
    dns_json_put_integer(&w, "free_bytes", (int64_t)stat->free_bytes);
    dns_json_put_integer(&w, "derived_bytes", (int64_t)(stat->derived_bytes + f->ann.bytes));
    dns_index_put_ann(&w, &f->ann);
    if (f->recall != NULL)
        dns_recall_put(&w, f->recall);
    dns_json_put_number(&w, "bytes_a_video", dns_index_bytes_a_video(stat), 12);
    dns_json_put_integer(&w, "code_bits", (int64_t)settings->code_bits);
    dns_json_put_number(&w, "merge", (double)settings->merge, 9);
    dns_json_begin_object(&w, "records");
    for (int kind = 0; kind < DNS_KIND_COUNT; kind++) {
        if (stat->kinds[kind].n_records == 0)
            continue;
        dns_json_begin_object(&w, dns_kind_name((dns_kind)kind));
        dns_json_put_integer(&w, "videos", (int64_t)stat->kinds[kind].n_records);
        dns_json_put_integer(&w, "bytes", (int64_t)stat->kinds[kind].bytes);
        dns_json_put_integer(&w, "page_bytes", (int64_t)stat->kinds[kind].page_bytes);
        if (stat->kinds[kind].n_frames > 0)
            dns_json_put_integer(&w, "frames", (int64_t)stat->kinds[kind].n_frames);
        dns_json_put_bool(&w, "searched", !is_reserve((dns_kind)kind, settings));
        dns_json_end_object(&w);
    }
    dns_json_end_object(&w);
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    dns_store *store = NULL;
    dns_snapshot *snapshot = NULL;
    dns_pool *pool = NULL;
    dns_digest contents;
    dns_coarse_recall recall[DNS_SCAN_COUNT];
    struct findings found = {0};
    dns_status status = dns_store_open(&store, directory, DNS_STORE_READ, NULL);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, directory, status);
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_snapshot_stat(&found.stat, snapshot));
    DNS_TRY(dns_coarse_ann_look(&found.ann, snapshot, false));
    if (s->digest) {
        DNS_TRY(dns_snapshot_digest(&contents, snapshot, NULL));
        found.contents = &contents;
    }
    if (s->recall && found.stat.kinds[DNS_KIND_COARSE].n_records > 0) {
        DNS_TRY(dns_pool_create(&pool, 0));
        DNS_TRY(dns_coarse_recall_measure(recall, snapshot, NULL, QUERIES, pool,
                                          dns_interrupt_catch()));
        found.recall = recall;
    }
    if (s->json)
        DNS_TRY(print_json(directory, store, &found));
    else
        print_text(directory, store, &found);
out:
    dns_pool_free(pool);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
}

static const struct settings defaults;
static const dns_option options[] = {
    {.name = "digest",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, digest),
     .help = "also a digest over all records: equal for equal contents, however they came about"},
    {.name = "recall",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, recall),
     .help =
         "also what each --scan of dns-query finds and takes: 100 videos of the index are asked "
         "for their ten nearest by coarse vectors"},
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "one JSON document"},
    {0},
};
const dns_command dns_index_stat = {
    .name = "stat",
    .synopsis = "INDEX",
    .summary = "say what an index holds and how large it is",
    .description =
        "Says which model and which networks made an index, how many videos it holds, "
        "and for every kind of record its bytes, what they take on disk in whole pages, and "
        "how many of the videos' frames it stores after equal ones, or those that "
        "--merge allowed, became one. The line 'for searching' leaves out what only "
        "tiers reads: the archive, and region features beside a fine tier.",
    .examples = "  dns-index stat films.dns\n  dns-index stat films.dns --recall\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
