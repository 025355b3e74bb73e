#include <stdio.h>

#include "dnsel/json.h"
#include "dnsel/verify.h"
#include "index_tool.h"
#include "terminal.h"

struct settings {
    bool structure, json;
    int progress;
};

static const char *const class_names[] = {"ok", "repairable", "corrupt"};

/* Problems are printed as they are found; as JSON they are members of an array that is open
 * meanwhile. */
struct output {
    bool json;
    dns_json_writer w;
};

static void on_problem(void *payload, const dns_verify_problem *p)
{
    struct output *o = payload;
    char id[17] = "";
    if (p->has_id)
        dns_id_text(p->id, id);
    if (!o->json) {
        printf("%s: %s%s%s%s%s: %s\n", class_names[p->severity], p->kind, p->has_id ? " of " : "",
               id, p->path[0] != '\0' ? " " : "", p->path, p->text);
        return;
    }
    dns_json_begin_object(&o->w, NULL);
    dns_json_put_string(&o->w, "class", class_names[p->severity]);
    dns_json_put_string(&o->w, "kind", p->kind);
    dns_json_put_string(&o->w, "id", p->has_id ? id : NULL);
    dns_json_put_string(&o->w, "path", p->path);
    dns_json_put_string(&o->w, "problem", p->text);
    dns_json_end_object(&o->w);
}

/* The approximate index, which the store knows nothing of. One that is older than the index is no
 * problem: queries know what to do with it. */
static dns_status check_ann(struct output *o, dns_verify_report *r, const char *directory,
                            bool structure_only)
{
    dns_store *store = NULL;
    dns_snapshot *snapshot = NULL;
    dns_coarse_ann_state state;
    char text[320] = "";
    dns_status status = dns_store_open(&store, directory, DNS_STORE_READ, NULL);
    if (status == DNS_OK)
        status = dns_snapshot_open(&snapshot, store);
    if (status == DNS_OK)
        status = dns_coarse_ann_look(&state, snapshot, !structure_only);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    if (status == DNS_ERR_CANCELLED || status == DNS_ERR_NOMEM)
        return status;
    if (status != DNS_OK) /* the store's own check has told what is wrong with it */
        return DNS_OK;
    if (state.why[0] != '\0')
        snprintf(text, sizeof text, "not used: %s", state.why);
    else if (state.n_wrong > 0)
        snprintf(text, sizeof text,
                 "%zu of its vectors are not those of the index; build it anew with: dns-index "
                 "ann %.80s --rebuild",
                 state.n_wrong, directory);
    else
        return DNS_OK;
    const dns_verify_problem problem = {
        .severity = DNS_VERIFY_REPAIRABLE, .path = "", .kind = DNS_COARSE_ANN_FILE, .text = text};
    on_problem(o, &problem);
    r->n_repairable++;
    if (r->verdict < DNS_VERIFY_REPAIRABLE)
        r->verdict = DNS_VERIFY_REPAIRABLE;
    return DNS_OK;
}

static dns_status finish(struct output *o, const dns_verify_report *r, const char *directory)
{
    if (!o->json) {
        printf(
            "%s: %s: %zu videos, %zu records, %.1f MB compared; %zu damaged, %zu to be repaired\n",
            directory, class_names[r->verdict], r->n_videos, r->n_records, (double)r->n_bytes / 1e6,
            r->n_corrupt, r->n_repairable);
        if (r->verdict == DNS_VERIFY_CORRUPT)
            printf("save what is whole with: dns-index repair %s NEW\n", directory);
        else if (r->verdict == DNS_VERIFY_REPAIRABLE)
            printf("mend it by running dns-index build or dns-index add again\n");
        return DNS_OK;
    }
    dns_json_end_array(&o->w);
    dns_json_put_string(&o->w, "verdict", class_names[r->verdict]);
    dns_json_put_integer(&o->w, "videos", (int64_t)r->n_videos);
    dns_json_put_integer(&o->w, "records", (int64_t)r->n_records);
    dns_json_put_integer(&o->w, "bytes", (int64_t)r->n_bytes);
    dns_json_put_integer(&o->w, "corrupt", (int64_t)r->n_corrupt);
    dns_json_put_integer(&o->w, "repairable", (int64_t)r->n_repairable);
    dns_json_end_object(&o->w);
    return dns_json_finish(&o->w);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    struct output output = {s->json, dns_json_writer_to(stdout, true)};
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_progress progress = dns_terminal_progress(&terminal);
    const dns_verify_options how = {.structure_only = s->structure,
                                    .progress = &progress,
                                    .cancel = dns_interrupt_catch(),
                                    .payload = &output,
                                    .problem = on_problem};
    dns_verify_report report;
    if (s->json) {
        dns_json_begin_object(&output.w, NULL);
        dns_json_put_string(&output.w, "schema", "dnsel.verify/1");
        dns_json_put_string(&output.w, "index", directory);
        dns_json_begin_array(&output.w, "problems");
    }
    dns_status status = dns_store_verify(&report, directory, &how);
    if (status == DNS_OK)
        status = check_ann(&output, &report, directory, s->structure);
    dns_terminal_close(&terminal);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, directory, status);
    status = finish(&output, &report, directory);
    if (status != DNS_OK)
        return dns_fail(invocation, status);
    return report.verdict == DNS_VERIFY_OK           ? DNS_EXIT_OK
           : report.verdict == DNS_VERIFY_REPAIRABLE ? DNS_EXIT_PARTIAL
                                                     : DNS_EXIT_CORRUPT;
}

static const struct settings defaults;
static const dns_option options[] = {
    {.name = "structure",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, structure),
     .help = "look at pages and headers only, do not read every record"},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = offsetof(struct settings, progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "one JSON document"},
    {0},
};
const dns_command dns_index_verify = {
    .name = "verify",
    .synopsis = "INDEX",
    .summary = "check every record of an index",
    .description =
        "Compares every record with its checksum, and the kinds of records of a video with each "
        "other. Exit code 0: "
        "all is well; 3: something can be made again (run build or add); 13: records are damaged.",
    .examples = "  dns-index verify films.dns\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};

struct repair_settings {
    int progress;
};

static int run_repair(const dns_invocation *invocation)
{
    const struct repair_settings *s = invocation->settings;
    const char *from = invocation->operands[0], *to = invocation->operands[1];
    struct output output = {.json = false};
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_progress progress = dns_terminal_progress(&terminal);
    const dns_verify_options how = {.progress = &progress,
                                    .cancel = dns_interrupt_catch(),
                                    .payload = &output,
                                    .problem = invocation->quiet ? NULL : on_problem};
    dns_copy_report report;
    dns_status status = dns_store_copy(&report, to, from, &how);
    dns_terminal_close(&terminal);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, from, status);
    if (!invocation->quiet)
        printf("%zu videos copied to %s, %zu lost\n", report.n_copied, to, report.n_lost);
    return report.n_lost > 0 ? DNS_EXIT_PARTIAL : DNS_EXIT_OK;
}

static const struct repair_settings repair_defaults;
static const dns_option repair_options[] = {
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = offsetof(struct repair_settings, progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {0},
};
const dns_command dns_index_repair = {
    .name = "repair",
    .synopsis = "INDEX NEW",
    .summary = "copy all whole videos of a damaged index into a new one",
    .description = "Makes a new index of all videos of INDEX whose records are whole, and names "
                   "the others. INDEX is left as it "
                   "is. On a healthy index this gives back unused space.",
    .examples = "  dns-index repair films.dns saved.dns\n",
    .options = repair_options,
    .settings_size = sizeof(struct repair_settings),
    .defaults = &repair_defaults,
    .min_operands = 2,
    .max_operands = 2,
    .run = run_repair,
};
