/* tiers: another choice of what an index keeps, without decoding videos. */
#include <stdio.h>

#include "default_model.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "dnsel/tiers.h"
#include "index_tool.h"
#include "ingest_tool.h"
#include "terminal.h"

struct settings {
    const char *model, *keep;
    size_t jobs;
    bool dry_run, json;
    int progress;
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
    const struct settings *s = invocation->settings;
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

/* The model is only needed where something must be made. */
static dns_status open_parts(dns_model **model, dns_store_settings *wanted, dns_store *store,
                             const struct settings *s)
{
    dns_tiers_plan plan;
    *wanted = *dns_store_settings_get(store);
    dns_status status = s->keep == NULL
                            ? dns_status_set(DNS_ERR_ARG, "tiers: give the kinds with --keep")
                            : dns_keep_parse(wanted, s->keep);
    if (status == DNS_OK)
        status = dns_tiers_plan_make(&plan, store, wanted);
    if (status == DNS_OK && plan.n_make > 0)
        status = dns_default_model_open(model, s->model);
    return status == DNS_ERR_NOTFOUND ? DNS_ERR_ARG : status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    dns_ingest_report report = {0};
    dns_store_settings wanted;
    dns_model *model = NULL;
    dns_store *store = NULL;
    dns_pool *pool = NULL;
    double before;
    int code = DNS_EXIT_OK;
    dns_status status =
        dns_store_open(&store, directory, s->dry_run ? DNS_STORE_READ : DNS_STORE_WRITE, NULL);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, directory, status);
    DNS_TRY(open_parts(&model, &wanted, store, s));
    DNS_TRY(bytes_a_video(&before, store));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_ingest_options options = {.pool = pool,
                                        .dry_run = s->dry_run,
                                        .progress = dns_terminal_progress(&terminal),
                                        .cancel = dns_interrupt_catch()};
    status = dns_tiers_run(&report, store, model, &wanted, &options);
    dns_terminal_close(&terminal);
    if (status != DNS_OK)
        goto out;
    DNS_TRY(print_result(invocation, &report, store, before));
    if (!s->dry_run)
        dns_index_refresh(invocation, store);
    code = report.interrupted      ? DNS_EXIT_INTERRUPTED
           : report.n_failures > 0 ? DNS_EXIT_PARTIAL
                                   : DNS_EXIT_OK;
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_ingest_report_free(&report);
    dns_store_close(store);
    dns_model_close(model);
    dns_pool_free(pool);
    return code;
}

static const struct settings defaults;
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    DNS_KEEP_OPTION(struct settings, keep),
    DNS_MODEL_OPTION(struct settings, model),
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "videos at a time; 0 is one a processor",
     .maximum = 256,
     .environment = "DNS_JOBS"},
    {.name = "dry-run",
     .letter = 'n',
     .kind = DNS_OPTION_FLAG,
     .offset = AT(dry_run),
     .help = "say what would be done, change nothing"},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(json),
     .help = "print the result as JSON"},
    {0},
};

const dns_command dns_index_tiers = {
    .name = "tiers",
    .synopsis = "INDEX --keep LIST",
    .summary = "change what an index keeps of its videos, without decoding them",
    .description = "Makes the records that LIST asks for from the region features in the index "
                   "(its archive or regions records), and drops those that LIST does not name. "
                   "An index that holds neither can only lose records. It may be stopped or killed "
                   "at any moment; run again, it goes on.\n\nThe file keeps its size, with free "
                   "room in it: dns-index repair copies an index into a smaller one.",
    .examples = "  dns-index tiers films.dns --keep fine_binary,archive\n"
                "  dns-index tiers films.dns --keep fine_attention:int8  # and no way back\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
