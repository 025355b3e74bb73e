/* build and add: the same run, but build makes an index where there is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "default_model.h"
#include "dnsel/file.h"
#include "dnsel/ingest.h"
#include "dnsel/memory.h"
#include "index_tool.h"
#include "ingest_tool.h"
#include "terminal.h"

struct settings {
    const char *model, *keep;
    dns_string_list files_from;
    bool null, all_files, hidden, prune, dry_run, int8, json;
    size_t jobs, memory;
    int sampling, progress;
    size_t max_pixels;
    double max_seconds;
};

static dns_status read_all(char **text, size_t *size, FILE *stream, const char *source)
{
    size_t capacity = 0;
    *text = NULL;
    *size = 0;
    for (;;) {
        dns_status status = dns_reserve(text, &capacity, *size + 65536, 1);
        if (status != DNS_OK)
            return status;
        size_t n = fread(*text + *size, 1, capacity - *size, stream);
        *size += n;
        if (n == 0)
            return ferror(stream) ? dns_status_set_errno("%s", source) : DNS_OK;
    }
}

static dns_status add_list(dns_file_list *list, const struct settings *s, const char *source)
{
    const dns_file_list_options options = {.all_files = s->all_files, .hidden = s->hidden};
    bool standard = strcmp(source, "-") == 0;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = standard ? stdin : fopen(source, "rbe");
    if (stream == NULL)
        return dns_status_set_errno("%s", source);
    dns_status status = read_all(&text, &size, stream, source);
    if (status == DNS_OK)
        status = dns_file_list_add_text(list, text, size, s->null, &options);
    if (!standard)
        fclose(stream);
    dns_free(text);
    return status;
}

static dns_status collect(dns_file_list *list, const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const dns_file_list_options options = {.all_files = s->all_files, .hidden = s->hidden};
    dns_status status = DNS_OK;
    for (size_t i = 1; i < invocation->n_operands; i++)
        DNS_TRY(dns_file_list_add(list, invocation->operands[i], &options));
    for (size_t i = 0; i < s->files_from.n; i++)
        DNS_TRY(add_list(list, s, s->files_from.items[i]));
    DNS_TRY(dns_file_list_unique(list));
out:
    return status;
}

static dns_embedder_options embedder_options(const struct settings *s, size_t n_workers)
{
    dns_embedder_options options = dns_embedder_options_default();
    options.media.sampling = (dns_sampling)s->sampling;
    options.media.max_pixels = s->max_pixels;
    options.media.max_seconds = s->max_seconds;
    options.int8 = s->int8;
    options.max_frames = s->memory / n_workers / DNS_EMBEDDER_FRAME_BYTES;
    return options;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    dns_status status = DNS_OK;
    dns_file_list list = {0};
    dns_ingest_report report = {0};
    dns_model *model = NULL;
    dns_embedder *embedder = NULL;
    dns_store *store = NULL;
    dns_pool *pool = NULL;
    int code = DNS_EXIT_OK;
    DNS_TRY(dns_default_model_open(&model, s->model));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    dns_embedder_options options = embedder_options(s, dns_pool_size(pool));
    DNS_TRY(dns_embedder_create(&embedder, model, &options));
    const dns_index_opening how = {.create = invocation->command == &dns_index_build,
                                   .dry_run = s->dry_run,
                                   .any_sampling = false,
                                   .keep = s->keep};
    status = dns_index_open_for(&store, directory, embedder, &how);
    if (status == DNS_ERR_NOTFOUND) {
        code = dns_index_open_failed(invocation, directory, status);
        status = DNS_OK;
        goto out;
    }
    if (status != DNS_OK)
        goto out;
    DNS_TRY(collect(&list, invocation));
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_ingest_options ingest = {.pool = pool,
                                       .prune = s->prune,
                                       .dry_run = s->dry_run,
                                       .progress = dns_terminal_progress(&terminal),
                                       .cancel = dns_interrupt_catch()};
    status = dns_ingest_run(&report, store, embedder, &list, &ingest);
    dns_terminal_close(&terminal);
    dns_index_print_report(invocation, &report, list.problems, list.n_problems, s->dry_run,
                           s->json);
    if (status != DNS_OK)
        goto out;
    if (!s->dry_run)
        dns_index_refresh(invocation, store);
    code = report.interrupted                             ? DNS_EXIT_INTERRUPTED
           : report.n_failures > 0 || list.n_problems > 0 ? DNS_EXIT_PARTIAL
                                                          : DNS_EXIT_OK;
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_ingest_report_free(&report);
    dns_file_list_free(&list);
    dns_store_close(store);
    dns_embedder_free(embedder);
    dns_model_close(model);
    dns_pool_free(pool);
    return code;
}

static const struct settings defaults = {
    .memory = (size_t)1 << 30, .max_pixels = (size_t)1 << 26, .max_seconds = 3600};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    DNS_MODEL_OPTION(struct settings, model),
    DNS_KEEP_OPTION(struct settings, keep),
    {.name = "files-from",
     .letter = 'f',
     .kind = DNS_OPTION_LIST,
     .offset = AT(files_from),
     .value = "FILE",
     .help = "also take the files and folders named in FILE, one a line; - is standard input"},
    {.name = "null",
     .letter = '0',
     .kind = DNS_OPTION_FLAG,
     .offset = AT(null),
     .help = "names in --files-from end with a NUL byte instead of a new line"},
    {.name = "sampling",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(sampling),
     .choices = "exact|count|keyframe",
     .help = "which frames: exactly one a second, by counting as published, or key frames (about "
             "10 times cheaper)"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "videos at a time; 0 is one a processor",
     .maximum = 256,
     .environment = "DNS_JOBS"},
    {.name = "memory",
     .kind = DNS_OPTION_BYTES,
     .offset = AT(memory),
     .value = "SIZE",
     .help = "for region features of the videos in hand; longer videos are sampled more thinly "
             "until they fit"},
    {.name = "int8",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(int8),
     .help = "run the backbone in 8 bits where the processor can"},
    {.name = "all-files",
     .letter = 'a',
     .kind = DNS_OPTION_FLAG,
     .offset = AT(all_files),
     .help = "within folders try every file, whatever its extension"},
    {.name = "hidden",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(hidden),
     .help = "within folders take hidden files and folders too"},
    {.name = "prune",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(prune),
     .help = "remove videos from the index whose file is gone"},
    {.name = "dry-run",
     .letter = 'n',
     .kind = DNS_OPTION_FLAG,
     .offset = AT(dry_run),
     .help = "say what would be done, change nothing"},
    {.name = "max-pixels",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(max_pixels),
     .value = "N",
     .help = "refuse videos with larger pictures"},
    {.name = "max-seconds",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(max_seconds),
     .value = "S",
     .help = "give up on a file that takes longer to decode"},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {.name = "json",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(json),
     .help = "print the report as JSON"},
    {0},
};

const dns_command dns_index_build = {
    .name = "build",
    .synopsis = "INDEX PATH...",
    .summary = "make an index of files and folders, or go on with one",
    .description = "Makes an index of the videos in PATH... (files, or folders with all below "
                   "them). Run again, it takes in what is new, "
                   "does again what changed, and leaves the rest alone. It may be stopped or "
                   "killed at any moment: finished videos are "
                   "kept, and the next run goes on.\n\nA file that cannot be read costs one line "
                   "on standard error and exit code 3, "
                   "never the run.",
    .examples =
        "  dns-index build films.dns ~/Videos\n"
        "  find /media -name '*.mkv' -print0 | dns-index build films.dns --files-from - -0\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run,
};
const dns_command dns_index_add = {
    .name = "add",
    .synopsis = "INDEX PATH...",
    .summary = "add files and folders to an index that exists",
    .description = "As build, but the index must exist: a mistyped name makes no new index.",
    .examples = "  dns-index add films.dns ~/Videos/new.mp4\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .run = run,
};
