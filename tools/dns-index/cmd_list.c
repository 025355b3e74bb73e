#include <stdio.h>

#include "csv_output.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "index_tool.h"

struct settings {
    dns_format_options format;
    bool null;
};

static void put_row(dns_json_writer *w, uint64_t id, const dns_meta *meta)
{
    char text[17], digest[33];
    dns_id_text(id, text);
    dns_digest_text(&meta->content, digest);
    dns_json_begin_object(w, NULL);
    dns_json_put_string(w, "id", meta->imported ? meta->name : text);
    dns_json_put_string(w, "key", text);
    dns_json_put_string(w, "path", meta->path);
    dns_json_put_number(w, "duration_s", meta->duration, 9);
    dns_json_put_integer(w, "frames", meta->n_frames);
    dns_json_put_integer(w, "width", meta->width);
    dns_json_put_integer(w, "height", meta->height);
    dns_json_put_integer(w, "bytes", (int64_t)meta->file_size);
    dns_json_put_string(w, "content", meta->imported ? NULL : digest);
    dns_json_put_bool(w, "damaged", meta->damaged);
    dns_json_end_object(w);
}

static void print_row(const struct settings *s, dns_json_writer *w, uint64_t id,
                      const dns_meta *meta)
{
    char text[17];
    dns_id_text(id, text);
    const char *shown = meta->imported ? meta->name : text;
    if (s->format.json || s->format.ndjson) {
        put_row(w, id, meta);
        if (s->format.ndjson)
            fputc('\n', stdout);
    } else if (s->format.csv) {
        dns_csv_print(shown);
        putchar(',');
        dns_csv_print(meta->path);
        printf(",%.9g,%u,%u,%u,%llu,%d\n", meta->duration, meta->n_frames, meta->width,
               meta->height, (unsigned long long)meta->file_size, meta->damaged);
    } else if (s->null) {
        fputs(meta->path[0] != '\0' ? meta->path : meta->name, stdout);
        putchar('\0');
    } else {
        printf("%s  %9.1f s  %6u frames  %s%s\n", shown, meta->duration, meta->n_frames, meta->path,
               meta->damaged ? "  (damaged)" : "");
    }
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    dns_store *store = NULL;
    dns_snapshot *snapshot = NULL;
    uint64_t *ids = NULL;
    size_t n = 0;
    int code = DNS_EXIT_OK;
    dns_status status = dns_store_open(&store, directory, DNS_STORE_READ, NULL);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, directory, status);
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_snapshot_ids(&ids, &n, snapshot, DNS_KIND_META));
    dns_json_writer w = dns_json_writer_to(stdout, s->format.json && !s->format.ndjson);
    if (s->format.json) {
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "schema", "dnsel.list/1");
        dns_json_begin_array(&w, "videos");
    } else if (s->format.csv) {
        puts("id,path,duration_s,frames,width,height,bytes,damaged");
    }
    for (size_t i = 0; i < n; i++) {
        dns_meta meta;
        DNS_TRY(dns_snapshot_meta(&meta, snapshot, ids[i]));
        print_row(s, &w, ids[i], &meta);
    }
    if (s->format.json) {
        dns_json_end_array(&w);
        dns_json_end_object(&w);
        DNS_TRY(dns_json_finish(&w));
    }
    code = n > 0 ? DNS_EXIT_OK : DNS_EXIT_NONE;
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_free(ids);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return code;
}

static const struct settings defaults;
static const dns_option options[] = {
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, format.json),
     .help = "one JSON document"},
    {.name = "ndjson",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, format.ndjson),
     .help = "one JSON object a line"},
    {.name = "csv",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, format.csv),
     .help = "CSV with a heading"},
    {.name = "null",
     .letter = '0',
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, null),
     .help = "paths alone, each ended by a NUL byte"},
    {0},
};
const dns_command dns_index_list = {
    .name = "list",
    .synopsis = "INDEX",
    .summary = "list the videos of an index",
    .description =
        "Lists the videos of an index, in order of their ids. Exit code 1 when it is empty.",
    .examples =
        "  dns-index list films.dns\n  dns-index list films.dns --json | jq -r '.videos[].path'\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
