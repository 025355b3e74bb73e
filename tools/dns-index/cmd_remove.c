#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"
#include "index_tool.h"
#include "ingest_tool.h"

struct settings {
    bool dry_run;
};

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    dns_store *store = NULL;
    dns_snapshot *snapshot = NULL;
    dns_batch *batch = NULL;
    size_t n_removed = 0, n_missing = 0;
    dns_status status =
        dns_store_open(&store, directory, s->dry_run ? DNS_STORE_READ : DNS_STORE_WRITE, NULL);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, directory, status);
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    if (!s->dry_run)
        DNS_TRY(dns_batch_create(&batch, store, NULL));
    for (size_t i = 1; i < invocation->n_operands; i++) {
        uint64_t id;
        status = dns_snapshot_find(&id, snapshot, invocation->operands[i]);
        if (status == DNS_OK && batch != NULL)
            status = dns_batch_remove(batch, id);
        if (status == DNS_ERR_NOTFOUND) {
            dns_complain(invocation, "%s: not in this index", invocation->operands[i]);
            n_missing++;
            status = DNS_OK;
            continue;
        }
        if (status != DNS_OK)
            goto out;
        n_removed++;
        if (!invocation->quiet)
            printf("%s %s\n", s->dry_run ? "would remove" : "removed", invocation->operands[i]);
    }
    if (batch != NULL)
        DNS_TRY(dns_batch_commit(batch));
    if (batch != NULL && n_removed > 0)
        dns_index_refresh(invocation, store);
out:
    dns_batch_free(batch);
    dns_snapshot_close(snapshot);
    int code = status != DNS_OK ? dns_fail(invocation, status)
               : n_missing == 0 ? DNS_EXIT_OK
               : n_removed > 0  ? DNS_EXIT_PARTIAL
                                : DNS_EXIT_NONE;
    dns_store_close(store);
    return code;
}

static const struct settings defaults;
static const dns_option options[] = {
    {.name = "dry-run",
     .letter = 'n',
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, dry_run),
     .help = "say what would be removed, change nothing"},
    {0},
};
const dns_command dns_index_remove = {
    .name = "remove",
    .synopsis = "INDEX VIDEO...",
    .summary = "take videos out of an index",
    .description = "Takes videos, given by path or id, out of an index. The video files are not "
                   "touched. The next query no "
                   "longer finds them.",
    .examples = "  dns-index remove films.dns ~/Videos/old.mp4\n  dns-index remove films.dns "
                "0f3a9c11d2e4b675\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run,
};
