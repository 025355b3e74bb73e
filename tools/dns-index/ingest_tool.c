#include "ingest_tool.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "dnsel/json.h"
#include "dnsel/matrix.h"
#include "dnsel/memory.h"
#include "terminal.h"

/* The types that a kind may be kept as, the usual one first. */
static const struct {
    dns_kind kind;
    dns_dtype dtypes[3];
    size_t n;
} kinds[] = {
    {DNS_KIND_COARSE, {DNS_F32}, 1},
    {DNS_KIND_CODES, {DNS_U8, DNS_I8}, 2},
    {DNS_KIND_SELECTOR, {DNS_F32}, 1},
    {DNS_KIND_FINE_BINARY, {DNS_U8}, 1},
    {DNS_KIND_FINE_ATTENTION, {DNS_I8, DNS_F16, DNS_F32}, 3},
    {DNS_KIND_REGIONS, {DNS_F16, DNS_F32, DNS_I8}, 3},
    {DNS_KIND_ARCHIVE, {DNS_I8}, 1},
};

static bool parse_type(dns_dtype *out, const char *text)
{
    static const struct {
        const char *text;
        dns_dtype dtype;
    } names[] = {
        {"int8", DNS_I8}, {"i8", DNS_I8}, {"u8", DNS_U8}, {"f16", DNS_F16}, {"f32", DNS_F32}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(text, names[i].text) == 0) {
            *out = names[i].dtype;
            return true;
        }
    return false;
}

static dns_status keep_one(dns_store_settings *settings, char *text)
{
    char *type = strchr(text, ':');
    dns_kind kind;
    dns_dtype dtype;
    if (type != NULL)
        *type++ = '\0';
    for (size_t i = 0; dns_kind_parse(&kind, text) && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].kind != kind)
            continue;
        bool known = type == NULL;
        dtype = kinds[i].dtypes[0];
        for (size_t k = 0; type != NULL && parse_type(&dtype, type) && k < kinds[i].n && !known;
             k++)
            known = kinds[i].dtypes[k] == dtype;
        if (!known)
            return dns_status_set(DNS_ERR_ARG, "--keep: %s cannot be kept as '%s'", text, type);
        settings->kept[kind] = true;
        settings->dtype[kind] = dtype;
        return DNS_OK;
    }
    return dns_status_set(DNS_ERR_ARG,
                          "--keep: '%s' is none of coarse, codes, selector, fine_binary, "
                          "fine_attention, regions, archive",
                          text);
}

dns_status dns_keep_parse(dns_store_settings *settings, const char *list)
{
    char *copy, *rest;
    dns_status status = dns_string_copy(&copy, list);
    if (status != DNS_OK)
        return status;
    for (int kind = DNS_KIND_META + 1; kind < DNS_KIND_COUNT; kind++)
        settings->kept[kind] = false;
    settings->kept[DNS_KIND_COARSE] = true; /* without it nothing can be searched */
    settings->dtype[DNS_KIND_COARSE] = DNS_F32;
    for (char *one = strtok_r(copy, ",", &rest); one != NULL && status == DNS_OK;
         one = strtok_r(NULL, ",", &rest))
        status = keep_one(settings, one);
    dns_free(copy);
    return status;
}

dns_status dns_keep_text(char **out, const dns_store_settings *settings)
{
    char text[256] = "";
    size_t n = 0;
    for (int kind = DNS_KIND_META + 1; kind < DNS_KIND_COUNT; kind++)
        if (settings->kept[kind])
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s:%s", n > 0 ? "," : "",
                                  dns_kind_name((dns_kind)kind),
                                  dns_dtype_name(settings->dtype[kind]));
    return dns_string_copy(out, text);
}

static dns_status check_opened(const dns_store *store, const dns_store_settings *wanted,
                               const dns_index_opening *how)
{
    const dns_store_settings *made = dns_store_settings_get(store);
    const char *directory = dns_store_directory(store);
    char *kept = NULL;
    if (!how->any_sampling && strcmp(made->sampling, wanted->sampling) != 0)
        return dns_status_set(DNS_ERR_MODEL, "%s: made with --sampling %s; %s is another",
                              directory, made->sampling, wanted->sampling);
    bool same = true;
    for (int kind = 0; how->keep != NULL && kind < DNS_KIND_COUNT; kind++)
        same = same && made->kept[kind] == wanted->kept[kind] &&
               (!made->kept[kind] || made->dtype[kind] == wanted->dtype[kind]);
    if (same)
        return DNS_OK;
    dns_status status = dns_keep_text(&kept, made);
    if (status == DNS_OK)
        status = dns_status_set(DNS_ERR_ARG,
                                "%s: keeps %s; change it with: dns-index tiers %s "
                                "--keep %s",
                                directory, kept, directory, how->keep);
    dns_free(kept);
    return status;
}

dns_status dns_index_open_for(dns_store **out, const char *directory, const dns_embedder *embedder,
                              const dns_index_opening *how)
{
    dns_status status = DNS_OK;
    dns_store_settings wanted = dns_embedder_settings(embedder);
    const dns_store_options options = {.model = &wanted.model};
    *out = NULL;
    if (how->keep != NULL)
        DNS_TRY(dns_keep_parse(&wanted, how->keep));
    DNS_TRY(dns_embedder_check(embedder, &wanted));
    status =
        dns_store_open(out, directory, how->dry_run ? DNS_STORE_READ : DNS_STORE_WRITE, &options);
    if (status == DNS_ERR_NOTFOUND && how->create && !how->dry_run)
        status = dns_store_create(out, directory, &wanted, &options);
    if (status == DNS_OK)
        status = check_opened(*out, &wanted, how);
out:
    if (status != DNS_OK) {
        dns_store_close(*out);
        *out = NULL;
    }
    return status;
}

static dns_status print_json_report(const dns_ingest_report *r, size_t n_problems)
{
    dns_json_writer w = dns_json_writer_to(stdout, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "schema", "dnsel.build/1");
    dns_json_put_integer(&w, "added", (int64_t)r->n_added);
    dns_json_put_integer(&w, "updated", (int64_t)r->n_updated);
    dns_json_put_integer(&w, "unchanged", (int64_t)r->n_unchanged);
    dns_json_put_integer(&w, "removed", (int64_t)r->n_removed);
    dns_json_put_integer(&w, "failed", (int64_t)(r->n_failures + n_problems));
    dns_json_put_integer(&w, "damaged", (int64_t)r->n_damaged);
    dns_json_put_integer(&w, "frames", (int64_t)r->n_frames);
    dns_json_put_number(&w, "video_s", r->video_seconds, 9);
    dns_json_put_number(&w, "decode_cpu_s", r->decode_seconds, 6);
    dns_json_put_number(&w, "features_cpu_s", r->feature_seconds, 6);
    dns_json_put_number(&w, "records_cpu_s", r->record_seconds, 6);
    dns_json_put_number(&w, "store_cpu_s", r->store_seconds, 6);
    dns_json_put_number(&w, "wall_s", r->wall_seconds, 6);
    dns_json_put_bool(&w, "interrupted", r->interrupted);
    dns_json_begin_array(&w, "failures");
    for (size_t i = 0; i < r->n_failures; i++) {
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "path", r->failures[i].path);
        dns_json_put_string(&w, "code", dns_status_name(r->failures[i].status));
        dns_json_put_string(&w, "message", r->failures[i].message);
        dns_json_end_object(&w);
    }
    dns_json_end_array(&w);
    dns_json_end_object(&w);
    return dns_json_finish(&w);
}

void dns_index_print_report(const dns_invocation *invocation, const dns_ingest_report *r,
                            char *const *problems, size_t n_problems, bool dry_run, bool json)
{
    for (size_t i = 0; i < n_problems; i++)
        dns_complain(invocation, "skipped %s", problems[i]);
    for (size_t i = 0; i < r->n_failures; i++)
        dns_complain(invocation, "skipped %s", r->failures[i].message);
    if (json) {
        if (print_json_report(r, n_problems) != DNS_OK)
            dns_complain(invocation, "%s", dns_status_message());
        return;
    }
    if (invocation->quiet)
        return;
    char wall[32];
    dns_duration_text(wall, sizeof wall, r->wall_seconds);
    printf("%s%zu added, %zu updated, %zu unchanged, %zu removed, %zu skipped: %zu frames of %.1f "
           "min of video in %s\n",
           dry_run ? "would be: " : "", r->n_added, r->n_updated, r->n_unchanged, r->n_removed,
           r->n_failures + n_problems, r->n_frames, r->video_seconds / 60, wall);
    double cpu = r->decode_seconds + r->feature_seconds + r->record_seconds + r->store_seconds;
    if (cpu > 0)
        printf("processor time %.1f s: decoding %.0f %%, features %.0f %%, networks %.0f %%, store "
               "%.0f %%\n",
               cpu, 100 * r->decode_seconds / cpu, 100 * r->feature_seconds / cpu,
               100 * r->record_seconds / cpu, 100 * r->store_seconds / cpu);
    if (r->n_damaged > 0)
        printf("%zu of them are damaged or cut short; what could be decoded is in the index\n",
               r->n_damaged);
}

void dns_index_refresh(const dns_invocation *invocation, dns_store *store)
{
    dns_snapshot *snapshot = NULL;
    dns_status status = dns_snapshot_open(&snapshot, store);
    if (status == DNS_OK)
        status = dns_matrix_refresh_all(snapshot, NULL, NULL);
    if (status != DNS_OK)
        dns_complain(invocation, "queries will start slowly: %s", dns_status_message());
    dns_snapshot_close(snapshot);
}
