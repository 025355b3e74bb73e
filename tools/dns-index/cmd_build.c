/* build and add: the same run, but build makes an index where there is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "index_tool.h"
#include "ingest_tool.h"

struct settings {
    dns_ingest_settings common;
    dns_string_list files_from;
    bool null, all_files, hidden, prune, int8;
    size_t memory, max_pixels;
    int sampling;
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

/* What one run of this command needs besides the frame of all. */
struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_file_list list;
    char *const *problems;
};

static dns_status make_embedder(dns_embedder **out, void *payload, const dns_model *model,
                                size_t n_workers)
{
    const struct settings *s = ((struct work *)payload)->s;
    dns_embedder_options options = dns_embedder_options_default();
    options.media.sampling = (dns_sampling)s->sampling;
    options.media.max_pixels = s->max_pixels;
    options.media.max_seconds = s->max_seconds;
    options.int8 = s->int8;
    options.max_frames = s->memory / n_workers / DNS_EMBEDDER_FRAME_BYTES;
    return dns_embedder_create(out, model, &options);
}

static dns_status take_files(dns_ingest_report *report, void *payload, dns_store *store,
                             const dns_embedder *embedder, const dns_ingest_options *options)
{
    struct work *w = payload;
    dns_ingest_options pruning = *options;
    pruning.prune = w->s->prune;
    dns_status status = collect(&w->list, w->invocation);
    w->problems = w->list.problems;
    return status == DNS_OK ? dns_ingest_run(report, store, embedder, &w->list, &pruning) : status;
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    int code = dns_index_take_in(&(dns_take_in){.invocation = invocation,
                                                .s = &w.s->common,
                                                .create = invocation->command == &dns_index_build,
                                                .payload = &w,
                                                .make_embedder = make_embedder,
                                                .run = take_files,
                                                .problems = &w.problems,
                                                .n_problems = &w.list.n_problems});
    dns_file_list_free(&w.list);
    return code;
}

static const struct settings defaults = {.common = DNS_INGEST_DEFAULTS,
                                         .memory = (size_t)1 << 30,
                                         .max_pixels = (size_t)1 << 26,
                                         .max_seconds = 3600};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    DNS_INGEST_OPTIONS(struct settings, common),
    DNS_ANN_OPTION(struct settings, common),
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
