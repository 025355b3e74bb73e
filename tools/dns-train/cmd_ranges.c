#include <stdio.h>

#include "dnsel/memory.h"
#include "ranges.h"
#include "terminal.h"
#include "train_commands.h"

struct settings {
    dns_string_list videos;
    const char *out;
    uint64_t seed;
};

static const struct settings defaults = {.seed = 1};

static const dns_option options[] = {
    {.name = "videos",
     .kind = DNS_OPTION_LIST,
     .offset = offsetof(struct settings, videos),
     .value = "PATH",
     .help = "a video, or a folder of videos; may be repeated"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, out),
     .value = "DIR",
     .help = "the model directory, which is changed"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = offsetof(struct settings, seed),
     .value = "N",
     .help = "of the choice of frames"},
    {0},
};

static dns_status calibrate(size_t *n_frames, const struct settings *s, const dns_file_list *list)
{
    dns_status status = DNS_OK;
    dns_model *model = NULL;
    dns_json_text backbone = {0};
    DNS_TRY(dns_model_open(&model, s->out));
    DNS_TRY(dns_ranges_measure(&backbone, n_frames, model, list, s->seed, dns_interrupt_catch()));
    const dns_model_edit edit = {"backbone", backbone.data, NULL, 0};
    DNS_TRY(dns_model_edit_apply(s->out, &edit, 1));
out:
    dns_json_text_free(&backbone);
    dns_model_close(model);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_file_list list = {0};
    size_t n_frames = 0;
    int code = DNS_EXIT_OK;
    if (s->videos.n == 0 || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--videos and --out are needed");
    for (size_t i = 0; i < s->videos.n; i++)
        DNS_TRY(dns_file_list_add(&list, s->videos.items[i], NULL));
    DNS_TRY(dns_file_list_unique(&list));
    for (size_t i = 0; i < list.n_problems; i++)
        dns_complain(invocation, "%s", list.problems[i]);
    DNS_TRY(calibrate(&n_frames, s, &list));
    if (!invocation->quiet)
        printf("ranges from %zu frames of %zu videos\n", n_frames, list.n);
    if (list.n_problems > 0)
        code = DNS_EXIT_PARTIAL;
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_file_list_free(&list);
    return code;
}

const dns_command dns_train_ranges = {
    .name = "ranges",
    .summary = "measure what int8 needs, for a model without it",
    .description =
        "Runs frames of the videos through the backbone of a model, in floats, and notes the "
        "largest value of each of its maps in the model. With these ranges `dns-index build "
        "--int8` computes in bytes. Nothing else of the model changes; but it is another model "
        "then, and an index made with the former one has to be built again.\n\n"
        "A few dozen frames of any kind are enough. `dns-train whitening` does the same along with "
        "the whitening.",
    .examples = "dns-train ranges --videos ~/Videos --out my-model\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
