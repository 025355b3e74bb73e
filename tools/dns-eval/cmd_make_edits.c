#include <stdio.h>

#include "commands.h"
#include "dnsel/edits.h"
#include "terminal.h"

struct settings {
    const char *videos, *out, *hosts, *groups;
    dns_string_list edits;
    uint64_t seed;
    size_t per_class, short_side, jobs;
    double max_seconds;
    int progress;
};

static const struct settings defaults = {.seed = 1, .short_side = 360, .max_seconds = 60};

#define AT(field) offsetof(struct settings, field)

static const dns_option options[] = {
    {.name = "videos",
     .kind = DNS_OPTION_STRING,
     .offset = AT(videos),
     .value = "DIR",
     .help = "folder of the originals"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "DIR",
     .help = "folder for the copies and truth.csv"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "the same seed and files give the same bytes"},
    {.name = "edit",
     .kind = DNS_OPTION_LIST,
     .offset = AT(edits),
     .value = "CLASS",
     .help = "only this class of edits; may be repeated; all without it"},
    {.name = "per-class",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(per_class),
     .value = "N",
     .help = "originals drawn for each class; 0 is all of them"},
    {.name = "hosts",
     .kind = DNS_OPTION_STRING,
     .offset = AT(hosts),
     .value = "DIR",
     .help = "footage to embed copies in; without it a tenth of the videos is set aside"},
    {.name = "groups",
     .kind = DNS_OPTION_STRING,
     .offset = AT(groups),
     .value = "FILE",
     .help = "CSV with the columns file and scene_group; otherwise manifest.csv among the videos"},
    {.name = "short-side",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(short_side),
     .value = "PIXELS",
     .help = "larger originals are brought down to it first",
     .minimum = 64,
     .maximum = 4096},
    {.name = "max-seconds",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(max_seconds),
     .value = "S",
     .help = "of an original that is used",
     .minimum = 1,
     .maximum = 86400},
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
    {0},
};

/* What the library has to say comes between two states of the progress line. */
struct talk {
    const dns_invocation *invocation;
    dns_terminal *terminal;
};

static void complain(void *payload, dns_message_level level, const char *line)
{
    struct talk *talk = payload;
    if (level > DNS_MESSAGE_WARNING)
        return;
    dns_terminal_close(talk->terminal);
    dns_complain(talk->invocation, "%s", line);
}

static dns_status fill(dns_edit_set_options *o, const struct settings *s)
{
    o->seed = s->seed;
    o->per_kind = s->per_class;
    o->hosts = s->hosts;
    o->groups = s->groups;
    o->file.short_side = s->short_side;
    o->file.max_seconds = s->max_seconds;
    o->file.cancel = dns_interrupt_catch();
    for (int i = 0; i < DNS_EDIT_KINDS; i++)
        o->kinds[i] = s->edits.n == 0;
    for (size_t i = 0; i < s->edits.n; i++) {
        dns_edit_kind kind;
        dns_status status = dns_edit_parse(&kind, s->edits.items[i]);
        if (status != DNS_OK)
            return status;
        o->kinds[kind] = true;
    }
    return DNS_OK;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_pool *pool = NULL;
    dns_edit_set_report r = {0};
    dns_edit_set_options o = dns_edit_set_options_default();
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_progress progress = dns_terminal_progress(&terminal);
    struct talk talk = {invocation, &terminal};
    const dns_logger logger = {&talk, complain};
    if (s->videos == NULL || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--videos and --out are needed");
    DNS_TRY(fill(&o, s));
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    o.pool = pool;
    o.progress = &progress;
    o.logger = &logger;
    status = dns_edit_set_make(&r, s->videos, s->out, &o);
out:
    dns_terminal_close(&terminal);
    dns_pool_free(pool);
    if (status != DNS_OK)
        return dns_fail(invocation, status);
    if (!invocation->quiet)
        printf("%zu copies of %zu originals, %zu hosts; %zu copies failed, %zu files could not be "
               "read\n",
               r.n_copies, r.n_originals, r.n_hosts, r.n_failed, r.n_unreadable);
    return r.n_copies == 0                   ? DNS_EXIT_NONE
           : r.n_failed + r.n_unreadable > 0 ? DNS_EXIT_PARTIAL
                                             : DNS_EXIT_OK;
}

const dns_command dns_eval_make_edits = {
    .name = "make-edits",
    .synopsis = "",
    .summary = "make edited copies of videos, with the truth about them",
    .description =
        "Writes copies of the videos below --videos as people edit them: re-encoded, cropped, "
        "mirrored, rotated, with "
        "boxes and words, in other colours, blurred, padded, pixelated, within other pictures, "
        "faster and slower, "
        "several of these together, and short excerpts alone and within other footage. With them "
        "come truth.csv, which "
        "dns-eval retrieval reads, plans.csv, originals.txt and hosts.txt (docs/edits.md).\n\n"
        "Classes: reencode, crop, flip, rotate, overlay, colour, blur, pad, pixelate, pip, speed, "
        "rate, mix-a, mix-b, "
        "mix-c, excerpt, embed.\n\n"
        "Ends with 3 when some copies failed or some files were no videos, with 1 when there is no "
        "copy at all.",
    .examples =
        "dns-eval make-edits --videos clips --out edits --per-class 20  # 20 copies of each class\n"
        "dns-index build clips.dns --files-from edits/originals.txt     # without the footage set "
        "aside\n"
        "dns-eval retrieval --index clips.dns --queries edits --truth edits/truth.csv",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
