/* import: features that other programs extracted, without any video. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "default_model.h"
#include "dnsel/feature_import.h"
#include "dnsel/features_file.h"
#include "dnsel/memory.h"
#include "index_tool.h"
#include "ingest_tool.h"
#include "terminal.h"

struct settings {
    const char *model, *keep;
    size_t jobs, memory;
    bool dry_run, json;
    int progress;
};

/* The files that could be opened, and one line for each that could not. */
struct inputs {
    dns_feature_source *sources;
    size_t n;
    char **problems;
    size_t n_problems;
    dns_status problem; /* the first */
};

static const char *id_of(void *file, size_t row)
{
    return dns_features_file_id(file, row);
}

static dns_status shape_of(size_t shape[3], void *file, size_t row)
{
    dns_features_shape s;
    dns_status status = dns_features_file_shape(&s, file, row);
    if (status == DNS_OK) {
        shape[0] = s.n_frames;
        shape[1] = s.n_regions;
        shape[2] = s.dim;
    }
    return status;
}

static dns_status read_rows(float *x, void *file, size_t row)
{
    dns_features_shape s;
    dns_status status = dns_features_file_shape(&s, file, row);
    return status == DNS_OK ? dns_features_file_read(x, file, row, 0, s.n_frames) : status;
}

static dns_status open_inputs(struct inputs *in, char **paths, size_t n)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&in->sources, n, sizeof *in->sources));
    DNS_TRY(dns_alloc(&in->problems, n, sizeof *in->problems));
    for (size_t i = 0; i < n; i++) {
        dns_features_file *file;
        struct stat info;
        dns_status opened = dns_features_file_open(&file, paths[i]);
        if (opened == DNS_OK && stat(paths[i], &info) != 0) {
            opened = dns_status_set_errno("%s", paths[i]);
            dns_features_file_close(file);
        }
        if (opened != DNS_OK) {
            in->problem = in->n_problems == 0 ? opened : in->problem;
            DNS_TRY(dns_string_copy(&in->problems[in->n_problems++], dns_status_message()));
            continue;
        }
        in->sources[in->n++] = (dns_feature_source){
            .name = paths[i],
            .n = dns_features_file_count(file),
            .payload = file,
            .id = id_of,
            .shape = shape_of,
            .read = read_rows,
            .file_size = (uint64_t)info.st_size,
            .mtime_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec};
    }
out:
    return status;
}

static void close_inputs(struct inputs *in)
{
    for (size_t i = 0; i < in->n; i++)
        dns_features_file_close(in->sources[i].payload);
    for (size_t i = 0; i < in->n_problems; i++)
        dns_free(in->problems[i]);
    dns_free(in->sources);
    dns_free(in->problems);
}

/* Length of the region vectors: that of the first row that can be read. */
static dns_status find_dim(size_t *dim, const struct inputs *in)
{
    size_t shape[3];
    for (size_t i = 0; i < in->n; i++)
        for (size_t row = 0; row < in->sources[i].n; row++)
            if (shape_of(shape, in->sources[i].payload, row) == DNS_OK) {
                *dim = shape[2];
                return DNS_OK;
            }
    if (in->n_problems > 0)
        return dns_status_set(in->problem, "%s", in->problems[0]);
    return dns_status_set(DNS_ERR_FORMAT, "%s: no features", in->sources[0].name);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    const char *directory = invocation->operands[0];
    dns_status status = DNS_OK;
    struct inputs in = {0};
    dns_ingest_report report = {0};
    dns_model *model = NULL;
    dns_embedder *embedder = NULL;
    dns_store *store = NULL;
    dns_pool *pool = NULL;
    size_t dim = 0;
    int code = DNS_EXIT_OK;
    DNS_TRY(open_inputs(&in, invocation->operands + 1, invocation->n_operands - 1));
    DNS_TRY(find_dim(&dim, &in));
    DNS_TRY(dns_default_model_open(&model, s->model));
    DNS_TRY(dns_embedder_create_for_features(&embedder, model, dim));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    const dns_index_opening how = {
        .create = true, .dry_run = s->dry_run, .any_sampling = true, .keep = s->keep};
    status = dns_index_open_for(&store, directory, embedder, &how);
    if (status == DNS_ERR_NOTFOUND) {
        code = dns_index_open_failed(invocation, directory, status);
        status = DNS_OK;
        goto out;
    }
    if (status != DNS_OK)
        goto out;
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_ingest_options options = {.pool = pool,
                                        .dry_run = s->dry_run,
                                        .progress = dns_terminal_progress(&terminal),
                                        .cancel = dns_interrupt_catch()};
    /* A row in hand lies in memory once, its records about once more. */
    size_t max_values = s->memory / dns_pool_size(pool) / (2 * sizeof(float));
    status = dns_ingest_features(&report, store, embedder, in.sources, in.n, max_values, &options);
    dns_terminal_close(&terminal);
    dns_index_print_report(invocation, &report, in.problems, in.n_problems, s->dry_run, s->json);
    if (status != DNS_OK)
        goto out;
    if (!s->dry_run)
        dns_index_refresh(invocation, store);
    code = report.interrupted                           ? DNS_EXIT_INTERRUPTED
           : report.n_failures > 0 || in.n_problems > 0 ? DNS_EXIT_PARTIAL
                                                        : DNS_EXIT_OK;
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_ingest_report_free(&report);
    close_inputs(&in);
    dns_store_close(store);
    dns_embedder_free(embedder);
    dns_model_close(model);
    dns_pool_free(pool);
    return code;
}

static const struct settings defaults = {.memory = (size_t)1 << 30};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    DNS_MODEL_OPTION(struct settings, model),
    DNS_KEEP_OPTION(struct settings, keep),
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
     .help = "for the videos in hand; a video that does not fit is skipped"},
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
     .help = "print the report as JSON"},
    {0},
};

const dns_command dns_index_import = {
    .name = "import",
    .synopsis = "INDEX FILE...",
    .summary = "make an index of features that are there already, or go on with one",
    .description = "Takes the features in FILE... into INDEX, which is made where there is none: "
                   "HDF5 as published with DnS and ViSiL, .npz, .npy and safetensors, an array "
                   "[frames,9,values] or [frames,values] a video, by its id. They must be whitened "
                   "already, one frame a second; the model needs no backbone. dns-query then "
                   "takes the id for a video.\n\nMay be stopped at any moment and run again: what "
                   "came from the same file is left alone. A bad array costs one line on "
                   "standard error and exit code 3.",
    .examples = "  dns-index import fivr.dns features.hdf5 --model dns-published\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run,
};
