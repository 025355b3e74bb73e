#include <stdio.h>
#include <string.h>

#include "default_model.h"
#include "row_maker.h"
#include "terminal.h"
#include "train_commands.h"

struct settings {
    const char *index, *labels, *privileged, *model, *out;
    int task, progress;
    size_t anchors, negatives, pool, jobs;
    uint64_t seed;
};

static dns_status parse_blocks(struct row_maker *m, const char *blocks)
{
    const size_t most = sizeof m->wanted / sizeof *m->wanted - 1;
    for (const char *text = blocks; *text != '\0';) {
        size_t length = strcspn(text, ",");
        if (length != 2 || text[0] != 'p' || text[1] < '1' || (size_t)(text[1] - '0') > most)
            return dns_status_set(DNS_ERR_ARG, "--priv %s: p1 to p%zu, with commas between", blocks,
                                  most);
        m->wanted[text[1] - '0'] = true;
        text += length + (text[length] == ',');
    }
    return DNS_OK;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    int code = DNS_EXIT_OK;
    struct row_maker m = {.index = s->index,
                          .labels = s->labels,
                          .model_name = s->model,
                          .out = s->out,
                          .task = (dns_label_task)s->task,
                          .n_anchors = s->anchors,
                          .n_negatives = s->negatives,
                          .n_pool = s->pool,
                          .n_jobs = s->jobs,
                          .seed = s->seed,
                          .cancel = dns_interrupt_catch()};
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    m.progress = dns_terminal_progress(&terminal);
    if (s->index == NULL || s->labels == NULL || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--index, --labels and --out are needed");
    DNS_TRY(parse_blocks(&m, s->privileged));
    status = row_maker_open(&m);
    if (status == DNS_ERR_NOTFOUND && m.store == NULL)
        code = DNS_EXIT_NO_INDEX;
    if (status == DNS_OK)
        status = m.task == DNS_LABEL_PAIR ? make_pair_rows(&m) : make_video_rows(&m);
    if (status == DNS_OK && m.n_without_regions > 0)
        dns_complain(invocation,
                     "%zu videos have no region features: what is made of them is missing there",
                     m.n_without_regions);
out:
    dns_terminal_close(&terminal);
    row_maker_close(&m);
    if (status == DNS_OK)
        return DNS_EXIT_OK;
    int failed = dns_fail(invocation, status);
    return code == DNS_EXIT_OK ? failed : code;
}

static const struct settings defaults = {.privileged = "p1,p3,p4", .anchors = 128, .negatives = 50};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "index",
     .kind = DNS_OPTION_STRING,
     .offset = AT(index),
     .value = "INDEX",
     .help = "the videos"},
    {.name = "labels",
     .kind = DNS_OPTION_STRING,
     .offset = AT(labels),
     .value = "FILE",
     .help = "TSV or CSV with the columns video and label; of pairs video, other and label, or "
             "query and original as truth.csv of edits has; also group"},
    {.name = "task",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(task),
     .choices = "class|tags|pair",
     .help = "one label a video, several with | between, or pairs that are duplicates or not"},
    {.name = "priv",
     .kind = DNS_OPTION_STRING,
     .offset = AT(privileged),
     .value = "BLOCKS",
     .help = "p1 region statistics, p2 fine similarity to anchors, p3 temporal structure and "
             "alignment with the nearest anchor, p4 metadata; pairs have a block of their own"},
    {.name = "anchors",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(anchors),
     .value = "N",
     .help = "videos without a label, at most half of them, that p2 and p3 compare with, and that "
             "give no row",
     .minimum = 1,
     .maximum = 100000},
    {.name = "negatives",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(negatives),
     .value = "N",
     .help = "with query and original: other originals that each query is no duplicate of, half of "
             "them the most similar; 0: all",
     .maximum = 1000000000},
    {.name = "pool",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(pool),
     .value = "N",
     .help = "pairs: also so many without a label of each video, half with the most similar",
     .maximum = 1000000},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "of the pairs that are drawn"},
    DNS_MODEL_OPTION(struct settings, model),
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "FILE",
     .help = "rows to learn from, .cpf"},
    {0},
};
const dns_command dns_train_classifier_data = {
    .name = "classifier-data",
    .synopsis = "",
    .summary = "make rows for a classifier from an index and labels",
    .description =
        "Regular features are the coarse vector, the selector's scalar and the log duration. Every "
        "video of the index gives a row, without a label where the table has none. Videos are "
        "named "
        "by path, id or file name. The rows go to dns-train classifier.\n\n"
        "With --task pair every row is a pair of videos, of which a search knows the coarse "
        "vectors, "
        "scalars and durations. The classifier is a router (dns-train classifier --install, "
        "dns-query --router pair).",
    .examples =
        "  dns-train classifier-data --index videos.dns --labels labels.tsv --out train.cpf\n"
        "  dns-train classifier-data --task pair --index both.dns --labels edits/truth.csv "
        "--out pairs.cpf\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
