#include "ingest_tool.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dnsel/coarse_ann.h"
#include "dnsel/json.h"
#include "dnsel/matrix.h"
#include "dnsel/memory.h"
#include "index_tool.h"

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

/* "256" of fine_binary: how many bits of each code. */
static bool parse_bits(size_t *bits, dns_kind kind, const char *text)
{
    char *end;
    if (kind != DNS_KIND_FINE_BINARY || !isdigit((unsigned char)text[0]))
        return false;
    *bits = strtoul(text, &end, 10);
    return *end == '\0' && *bits > 0 && *bits % 64 == 0 && *bits <= 1 << 16;
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
        bool known = type == NULL || parse_bits(&settings->code_bits, kind, type);
        dtype = kinds[i].dtypes[0];
        for (size_t k = 0; !known && parse_type(&dtype, type) && k < kinds[i].n && !known; k++)
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
    char text[256] = "", bits[24];
    size_t n = 0;
    snprintf(bits, sizeof bits, "%zu", settings->code_bits);
    for (int kind = DNS_KIND_META + 1; kind < DNS_KIND_COUNT; kind++) {
        bool cut = kind == DNS_KIND_FINE_BINARY && settings->code_bits > 0;
        if (settings->kept[kind])
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s:%s", n > 0 ? "," : "",
                                  dns_kind_name((dns_kind)kind),
                                  cut ? bits : dns_dtype_name(settings->dtype[kind]));
    }
    return dns_string_copy(out, text);
}

/* An index that exists is not changed by what a run asks for. */
static dns_status check_opened(const dns_store *store, const dns_store_settings *wanted,
                               const dns_take_in *job)
{
    const dns_ingest_settings *s = job->s;
    const dns_store_settings *made = dns_store_settings_get(store);
    const char *directory = dns_store_directory(store);
    char *kept = NULL;
    if (!job->any_sampling && strcmp(made->sampling, wanted->sampling) != 0)
        return dns_status_set(DNS_ERR_MODEL, "%s: made with --sampling %s; %s is another",
                              directory, made->sampling, wanted->sampling);
    bool same = true;
    if (s->ann != NULL && strcmp(made->ann, wanted->ann) != 0)
        return dns_status_set(DNS_ERR_ARG,
                              "%s: made with another --ann; change it with: dns-index ann %s "
                              "--factory %s",
                              directory, directory, s->ann);
    if (!isnan(s->merge) && made->merge != wanted->merge)
        return dns_status_set(DNS_ERR_ARG,
                              "%s: merges frames up to %g; change it with: dns-index tiers %s "
                              "--merge %g",
                              directory, (double)made->merge, directory, s->merge);
    if (wanted->code_bits != 0 && wanted->kept[DNS_KIND_FINE_BINARY])
        same = made->code_bits == wanted->code_bits;
    for (int kind = 0; s->keep != NULL && kind < DNS_KIND_COUNT; kind++)
        same = same && made->kept[kind] == wanted->kept[kind] &&
               (!made->kept[kind] || made->dtype[kind] == wanted->dtype[kind]);
    if (same)
        return DNS_OK;
    dns_status status = dns_keep_text(&kept, made);
    if (status == DNS_OK)
        status = dns_status_set(DNS_ERR_ARG,
                                "%s: keeps %s; change it with: dns-index tiers %s "
                                "--keep %s",
                                directory, kept, directory, s->keep);
    dns_free(kept);
    return status;
}

static dns_status open_store(dns_store **out, const char *directory, const dns_embedder *embedder,
                             const dns_take_in *job)
{
    dns_status status = DNS_OK;
    dns_store_settings wanted = dns_embedder_settings(embedder);
    const dns_store_options options = {.model = &wanted.model};
    bool dry = job->s->dry_run;
    *out = NULL;
    if (job->s->keep != NULL)
        DNS_TRY(dns_keep_parse(&wanted, job->s->keep));
    if (job->s->ann != NULL)
        DNS_TRY(dns_index_set_ann(&wanted, job->s->ann));
    if (!isnan(job->s->merge))
        wanted.merge = (float)job->s->merge;
    DNS_TRY(dns_embedder_check(embedder, &wanted));
    status = dns_store_open(out, directory, dry ? DNS_STORE_READ : DNS_STORE_WRITE, &options);
    if (status == DNS_ERR_NOTFOUND && job->create && !dry)
        status = dns_store_create(out, directory, &wanted, &options);
    if (status == DNS_OK)
        status = check_opened(*out, &wanted, job);
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

static void print_report(const dns_invocation *invocation, const dns_ingest_report *r,
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

dns_status dns_ingest_frame_open(dns_ingest_frame *out, const dns_invocation *invocation,
                                 const dns_ingest_settings *s)
{
    *out = (dns_ingest_frame){.pool = NULL};
    dns_status status = dns_pool_create(&out->pool, s->jobs);
    out->terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    out->options = (dns_ingest_options){.pool = out->pool,
                                        .dry_run = s->dry_run,
                                        .progress = dns_terminal_progress(&out->terminal),
                                        .cancel = dns_interrupt_catch()};
    return status;
}

void dns_ingest_frame_close(dns_ingest_frame *frame)
{
    dns_pool_free(frame->pool);
}

int dns_ingest_exit_code(const dns_ingest_report *r, size_t n_problems)
{
    if (r->interrupted)
        return DNS_EXIT_INTERRUPTED;
    return r->n_failures > 0 || n_problems > 0 ? DNS_EXIT_PARTIAL : DNS_EXIT_OK;
}

int dns_index_take_in(const dns_take_in *job)
{
    const dns_invocation *invocation = job->invocation;
    const char *directory = invocation->operands[0];
    dns_status status = DNS_OK;
    dns_ingest_report report = {0};
    dns_ingest_frame frame = {.pool = NULL};
    dns_model *model = NULL;
    dns_embedder *embedder = NULL;
    dns_store *store = NULL;
    int code = DNS_EXIT_OK;
    DNS_TRY(dns_default_model_open(&model, job->s->model));
    DNS_TRY(dns_ingest_frame_open(&frame, invocation, job->s));
    DNS_TRY(job->make_embedder(&embedder, job->payload, model, dns_pool_size(frame.pool)));
    status = open_store(&store, directory, embedder, job);
    if (status == DNS_ERR_NOTFOUND) {
        code = dns_index_open_failed(invocation, directory, status);
        status = DNS_OK;
        goto out;
    }
    if (status != DNS_OK)
        goto out;
    status = job->run(&report, job->payload, store, embedder, &frame.options);
    dns_terminal_close(&frame.terminal);
    print_report(invocation, &report, *job->problems, *job->n_problems, job->s->dry_run,
                 job->s->json);
    if (status != DNS_OK)
        goto out;
    if (!job->s->dry_run)
        dns_index_refresh(invocation, store);
    code = dns_ingest_exit_code(&report, *job->n_problems);
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_ingest_report_free(&report);
    dns_store_close(store);
    dns_embedder_free(embedder);
    dns_model_close(model);
    dns_ingest_frame_close(&frame);
    return code;
}

void dns_index_refresh(const dns_invocation *invocation, dns_store *store)
{
    dns_snapshot *snapshot = NULL;
    dns_status status = dns_snapshot_open(&snapshot, store);
    dns_coarse_ann_report report;
    dns_pool *pool = NULL;
    if (status == DNS_OK)
        status = dns_matrix_refresh_all(snapshot, NULL, NULL);
    if (status == DNS_OK)
        status = dns_pool_create(&pool, 0);
    if (status == DNS_OK)
        status = dns_coarse_ann_refresh(&report, snapshot, false, pool, dns_interrupt_catch());
    dns_pool_free(pool);
    if (status != DNS_OK)
        dns_complain(invocation, "queries will start slowly: %s", dns_status_message());
    dns_snapshot_close(snapshot);
}
