/* import: features that other programs extracted, without any video. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dnsel/feature_import.h"
#include "dnsel/features_file.h"
#include "dnsel/memory.h"
#include "index_tool.h"
#include "ingest_tool.h"

struct settings {
    dns_ingest_settings common;
    size_t memory;
};

/* The files that could be opened, and one line for each that could not. */
struct inputs {
    dns_feature_source *sources;
    size_t n;
    char **problems;
    size_t n_problems;
    dns_status problem; /* the first */
    size_t dim, memory;
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

static dns_status make_embedder(dns_embedder **out, void *payload, const dns_model *model,
                                size_t n_workers)
{
    (void)n_workers;
    return dns_embedder_create_for_features(out, model, ((struct inputs *)payload)->dim);
}

static dns_status take_features(dns_ingest_report *report, void *payload, dns_store *store,
                                const dns_embedder *embedder, const dns_ingest_options *options)
{
    const struct inputs *in = payload;
    /* A row in hand lies in memory once, its records about once more. */
    size_t max_values = in->memory / dns_pool_size(options->pool) / (2 * sizeof(float));
    return dns_ingest_features(report, store, embedder, in->sources, in->n, max_values, options);
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    struct inputs in = {.memory = s->memory};
    int code;
    dns_status status = open_inputs(&in, invocation->operands + 1, invocation->n_operands - 1);
    if (status == DNS_OK)
        status = find_dim(&in.dim, &in);
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    else
        code = dns_index_take_in(&(dns_take_in){.invocation = invocation,
                                                .s = &s->common,
                                                .create = true,
                                                .any_sampling = true,
                                                .payload = &in,
                                                .make_embedder = make_embedder,
                                                .run = take_features,
                                                .problems = (char *const *const *)&in.problems,
                                                .n_problems = &in.n_problems});
    close_inputs(&in);
    return code;
}

static const struct settings defaults = {.common = DNS_INGEST_DEFAULTS, .memory = (size_t)1 << 30};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    DNS_INGEST_OPTIONS(struct settings, common),
    DNS_ANN_OPTION(struct settings, common),
    {.name = "memory",
     .kind = DNS_OPTION_BYTES,
     .offset = AT(memory),
     .value = "SIZE",
     .help = "for the videos in hand; a video that does not fit is skipped"},
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
