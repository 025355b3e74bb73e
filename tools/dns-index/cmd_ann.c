/* ann: the coarse vectors in FAISS. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/coarse_ann.h"
#include "dnsel/json.h"
#include "index_tool.h"
#include "terminal.h"

struct settings {
    const char *factory;
    bool rebuild, json;
    size_t jobs;
};

dns_status dns_index_set_ann(dns_store_settings *settings, const char *kind)
{
    char resolved[DNS_ANN_FACTORY];
    dns_status status = dns_coarse_ann_factory(resolved, kind, 0);
    memset(settings->ann, 0, sizeof settings->ann);
    if (status == DNS_OK && strcmp(kind, "auto") != 0)
        strncpy(settings->ann, kind, sizeof settings->ann - 1);
    return status;
}

/* Another kind from now on. */
static dns_status set_factory(dns_store *store, const char *factory)
{
    dns_store_settings wanted = *dns_store_settings_get(store);
    dns_status status = dns_index_set_ann(&wanted, factory);
    return status == DNS_OK ? dns_store_set_kept(store, &wanted) : status;
}

static dns_status print_report(const dns_coarse_ann_report *r, bool json, bool quiet)
{
    if (json) {
        dns_json_writer w = dns_json_writer_to(stdout, true);
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "schema", "dnsel.ann/1");
        dns_json_put_string(&w, "factory", r->factory[0] != '\0' ? r->factory : NULL);
        dns_json_put_integer(&w, "vectors", (int64_t)r->n_vectors);
        dns_json_put_bool(&w, "rebuilt", r->rebuilt);
        dns_json_put_integer(&w, "changed", (int64_t)r->n_changed);
        dns_json_put_integer(&w, "effort", (int64_t)r->effort);
        dns_json_put_number(&w, "recall", r->recall, 6);
        dns_json_end_object(&w);
        return dns_json_finish(&w);
    }
    if (quiet)
        return DNS_OK;
    if (r->factory[0] == '\0') {
        puts("no approximate index: none is wanted, or there are too few videos for its kind");
        return DNS_OK;
    }
    printf("%s of %zu vectors: ", r->factory, r->n_vectors);
    if (!r->rebuilt)
        printf("%zu brought up to date\n", r->n_changed);
    else if (r->effort > 0)
        printf("built; with effort %zu it finds %.1f %% of the ten nearest\n", r->effort,
               100 * r->recall);
    else
        printf("built; it finds %.1f %% of the ten nearest\n", 100 * r->recall);
    return DNS_OK;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    dns_store *store = NULL;
    dns_snapshot *snapshot = NULL;
    dns_pool *pool = NULL;
    dns_coarse_ann_report report;
    dns_status status = dns_store_open(&store, directory, DNS_STORE_WRITE, NULL);
    if (status != DNS_OK)
        return dns_index_open_failed(invocation, directory, status);
    if (s->factory != NULL)
        DNS_TRY(set_factory(store, s->factory));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_coarse_ann_refresh(&report, snapshot, s->rebuild, pool, dns_interrupt_catch()));
    DNS_TRY(print_report(&report, s->json, invocation->quiet));
out:
    dns_snapshot_close(snapshot);
    dns_pool_free(pool);
    int code = status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
    dns_store_close(store);
    return code;
}

void dns_index_print_ann(const dns_coarse_ann_state *state)
{
    if (!state->exists)
        printf("faiss      none\n");
    else if (!state->usable)
        printf("faiss      not used: %s\n", state->why);
    else
        printf("faiss      %s of %zu vectors, %.1f MB, effort %zu; %zu videos changed since\n",
               state->info.factory, state->info.n_vectors, (double)state->bytes / 1e6,
               state->info.effort, state->n_changed);
}

void dns_index_put_ann(dns_json_writer *w, const dns_coarse_ann_state *state)
{
    dns_json_begin_object(w, "faiss");
    dns_json_put_string(w, "factory", state->usable ? state->info.factory : NULL);
    dns_json_put_string(w, "problem", state->why[0] != '\0' ? state->why : NULL);
    dns_json_put_integer(w, "vectors", (int64_t)state->info.n_vectors);
    dns_json_put_integer(w, "bytes", (int64_t)state->bytes);
    dns_json_put_integer(w, "effort", (int64_t)state->info.effort);
    dns_json_put_integer(w, "changed", (int64_t)state->n_changed);
    dns_json_end_object(w);
}

static const struct settings defaults;
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "factory",
     .kind = DNS_OPTION_STRING,
     .offset = AT(factory),
     .value = "TEXT",
     .help = "of which kind from now on: auto, none, or FAISS's text, say Flat, IVF1024,SQ8, "
             "HNSW32, IVF1024,PQ64; auto is Flat up to 20,000 videos, then IVF with SQ8"},
    {.name = "rebuild",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(rebuild),
     .help = "build it anew, even where it is of the index's state"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256,
     .environment = "DNS_JOBS"},
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(json),
     .help = "print the result as JSON"},
    {0},
};

const dns_command dns_index_ann = {
    .name = "ann",
    .synopsis = "INDEX",
    .summary = "choose and renew the approximate index of coarse vectors",
    .description = "An index has its coarse vectors in FAISS, too, in a file coarse.faiss that "
                   "build, add, import, tiers and remove renew. This chooses its kind, or builds "
                   "it anew. dns-query asks it with --scan faiss. The file can be deleted at any "
                   "time.",
    .examples = "  dns-index ann films.dns --factory HNSW32\n"
                "  dns-index ann films.dns --rebuild\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
