/* tiers: another choice of what an index keeps, without decoding videos. */
#include <stdio.h>

#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "dnsel/tiers.h"
#include "index_tool.h"
#include "ingest_tool.h"

struct settings {
    dns_ingest_settings common;
};

static dns_status bytes_a_video(double *out, dns_store *store)
{
    dns_snapshot *snapshot;
    dns_store_stat stat;
    dns_status status = dns_snapshot_open(&snapshot, store);
    if (status != DNS_OK)
        return status;
    status = dns_snapshot_stat(&stat, snapshot);
    dns_snapshot_close(snapshot);
    *out = status == DNS_OK ? dns_index_bytes_a_video(&stat) : 0;
    return status;
}

static dns_status print_result(const dns_invocation *invocation, const dns_ingest_report *r,
                               dns_store *store, double before)
{
    const dns_ingest_settings *s = &((const struct settings *)invocation->settings)->common;
    dns_status status = DNS_OK;
    char *kept = NULL;
    double after;
    for (size_t i = 0; i < r->n_failures; i++)
        dns_complain(invocation, "left as it was: %s", r->failures[i].message);
    DNS_TRY(bytes_a_video(&after, store));
    DNS_TRY(dns_keep_text(&kept, dns_store_settings_get(store)));
    if (s->json) {
        dns_json_writer w = dns_json_writer_to(stdout, true);
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "schema", "dnsel.tiers/1");
        dns_json_put_string(&w, "kept", kept);
        dns_json_put_integer(&w, "changed", (int64_t)r->n_updated);
        dns_json_put_integer(&w, "unchanged", (int64_t)r->n_unchanged);
        dns_json_put_integer(&w, "failed", (int64_t)r->n_failures);
        dns_json_put_number(&w, "bytes_a_video_before", before, 12);
        dns_json_put_number(&w, "bytes_a_video_after", after, 12);
        dns_json_put_number(&w, "wall_s", r->wall_seconds, 6);
        dns_json_put_bool(&w, "interrupted", r->interrupted);
        dns_json_end_object(&w);
        status = dns_json_finish(&w);
    } else if (!invocation->quiet) {
        printf("%s%zu changed, %zu as they were, %zu failed; keeps %s\n",
               s->dry_run ? "would be: " : "", r->n_updated, r->n_unchanged, r->n_failures, kept);
        if (!s->dry_run)
            printf("bytes a video: %.0f before, %.0f now\n", before, after);
    }
out:
    dns_free(kept);
    return status;
}

/* What is asked for, and the model where something must be made of X. */
static dns_status open_parts(dns_model **model, dns_store_settings *wanted, dns_store *store,
                             const dns_ingest_settings *s)
{
    dns_status status = DNS_OK;
    dns_tiers_plan plan;
    *wanted = *dns_store_settings_get(store);
    if (s->keep == NULL && isnan(s->merge))
        DNS_FAIL(DNS_ERR_ARG, "tiers: give the kinds with --keep, or --merge");
    if (s->keep != NULL)
        DNS_TRY(dns_keep_parse(wanted, s->keep));
    if (!isnan(s->merge))
        wanted->merge = (float)s->merge;
    DNS_TRY(dns_tiers_plan_make(&plan, store, wanted));
    if (plan.n_make > 0)
        DNS_TRY(dns_default_model_open(model, s->model));
out:
    return status == DNS_ERR_NOTFOUND ? DNS_ERR_ARG : status;
}

static int run(const dns_invocation *invocation)
{
    const dns_ingest_settings *s = &((const struct settings *)invocation->settings)->common;
    const char *directory = invocation->operands[0];
    dns_ingest_report report = {0};
    dns_ingest_frame frame = {.pool = NULL};
    dns_store_settings wanted;
    dns_model *model = NULL;
    dns_store *store = NULL;
    double before;
    int code = DNS_EXIT_OK;
    dns_status status =
        dns_store_open(&store, directory, s->dry_run ? DNS_STORE_READ : DNS_STORE_WRITE, NULL);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, directory, status);
    DNS_TRY(open_parts(&model, &wanted, store, s));
    DNS_TRY(bytes_a_video(&before, store));
    DNS_TRY(dns_ingest_frame_open(&frame, invocation, s));
    status = dns_tiers_run(&report, store, model, &wanted, &frame.options);
    dns_terminal_close(&frame.terminal);
    if (status != DNS_OK)
        goto out;
    DNS_TRY(print_result(invocation, &report, store, before));
    if (!s->dry_run)
        dns_index_refresh(invocation, store);
    code = dns_ingest_exit_code(&report, 0);
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_ingest_report_free(&report);
    dns_store_close(store);
    dns_model_close(model);
    dns_ingest_frame_close(&frame);
    return code;
}

static const struct settings defaults = {.common = DNS_INGEST_DEFAULTS};
static const dns_option options[] = {DNS_INGEST_OPTIONS(struct settings, common), {0}};

const dns_command dns_index_tiers = {
    .name = "tiers",
    .synopsis = "INDEX [--keep LIST] [--merge X]",
    .summary = "change what an index keeps of its videos, without decoding them",
    .description = "Makes the records that LIST asks for from the region features in the index "
                   "(its archive or regions records), and drops those that LIST does not name. "
                   "What only becomes smaller, codes of fewer bits and merged frames, is made of "
                   "the records themselves; an index that holds no region features can go that "
                   "way and lose records, but not back. It may be stopped or killed "
                   "at any moment; run again, it goes on.\n\nThe file keeps its size, with free "
                   "room in it: dns-index repair copies an index into a smaller one.",
    .examples = "  dns-index tiers films.dns --keep fine_binary,archive\n"
                "  dns-index tiers films.dns --keep fine_binary:256 --merge 0.3\n"
                "  dns-index tiers films.dns --keep fine_attention:int8  # and no way back\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
