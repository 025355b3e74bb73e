/* What the commands share that make records: options, the choice of what is kept, the run, the
 * report. */
#ifndef DNS_INGEST_TOOL_H
#define DNS_INGEST_TOOL_H

#include <math.h>

#include "default_model.h"
#include "dnsel/ingest.h"
#include "program.h"
#include "terminal.h"

typedef struct dns_ingest_settings {
    const char *model, *keep, *ann;
    double merge; /* NAN: not given */
    size_t jobs;
    bool dry_run, json;
    int progress;
} dns_ingest_settings;

#define DNS_INGEST_DEFAULTS \
    {                       \
        .merge = NAN        \
    }

/* Their options: the first of a table, `field` being the dns_ingest_settings in `type`. */
#define DNS_INGEST_OPTIONS(type, field)                                                       \
    DNS_MODEL_OPTION(type, field.model),                                                      \
        {.name = "keep",                                                                      \
         .kind = DNS_OPTION_STRING,                                                           \
         .offset = offsetof(type, field.keep),                                                \
         .value = "LIST",                                                                     \
         .help = "what the index keeps of a video, with commas: coarse, selector, "           \
                 "fine_binary:512|256|128, fine_attention:int8|f16|f32, "                     \
                 "regions:f16|f32|int8, archive, codes:u8|int8; coarse always"},              \
        {.name = "merge",                                                                     \
         .kind = DNS_OPTION_NUMBER,                                                           \
         .offset = offsetof(type, field.merge),                                               \
         .value = "X",                                                                        \
         .help = "store consecutive frames once whose region vectors are at most X apart, 0 " \
                 "to 2: smaller, and no similarity of two frames changes by more than X a "   \
                 "side; 0, as an index is made, merges equal ones and changes no score",      \
         .maximum = 2},                                                                       \
        {.name = "jobs",                                                                      \
         .letter = 'j',                                                                       \
         .kind = DNS_OPTION_COUNT,                                                            \
         .offset = offsetof(type, field.jobs),                                                \
         .value = "N",                                                                        \
         .help = "videos at a time; 0 is one a processor",                                    \
         .maximum = 256,                                                                      \
         .environment = "DNS_JOBS"},                                                          \
        {.name = "dry-run",                                                                   \
         .letter = 'n',                                                                       \
         .kind = DNS_OPTION_FLAG,                                                             \
         .offset = offsetof(type, field.dry_run),                                             \
         .help = "say what would be done, change nothing"},                                   \
        {.name = "progress",                                                                  \
         .kind = DNS_OPTION_CHOICE,                                                           \
         .offset = offsetof(type, field.progress),                                            \
         .choices = DNS_PROGRESS_CHOICES,                                                     \
         .help = "how progress is shown on standard error"},                                  \
    {                                                                                         \
        .name = "json", .kind = DNS_OPTION_FLAG, .offset = offsetof(type, field.json),        \
        .help = "print the report as JSON"                                                    \
    }

/* Of those that may make an index. */
#define DNS_ANN_OPTION(type, field)                                                             \
    {                                                                                           \
        .name = "ann", .kind = DNS_OPTION_STRING, .offset = offsetof(type, field.ann),          \
        .value = "KIND",                                                                        \
        .help = "how a new index has its coarse vectors in FAISS, too: auto, none, or FAISS's " \
                "text, say IVF1024,SQ8; dns-index ann changes it"                               \
    }

/* The kinds of "coarse,fine_attention:int8,archive" and the bits of "fine_binary:256" into
 * `settings`; other kinds are no longer kept. DNS_ERR_ARG. */
DNS_MUST_CHECK dns_status dns_keep_parse(dns_store_settings *settings, const char *list);

/* "coarse:F32,fine_binary:256,archive:I8" of what is kept, to be freed with dns_free. */
DNS_MUST_CHECK dns_status dns_keep_text(char **out, const dns_store_settings *settings);

/* One run that takes videos or features into an index. */
typedef struct dns_take_in {
    const dns_invocation *invocation; /* its first operand is the index */
    const dns_ingest_settings *s;
    bool create;       /* the index where there is none */
    bool any_sampling; /* an index of frames chosen in another way will do */
    void *payload;
    dns_status (*make_embedder)(dns_embedder **out, void *payload, const dns_model *model,
                                size_t n_workers);
    dns_status (*run)(dns_ingest_report *report, void *payload, dns_store *store,
                      const dns_embedder *embedder, const dns_ingest_options *options);
    /* What was named but cannot be read, one line each; looked at after `run`. */
    char *const *const *problems;
    const size_t *n_problems;
} dns_take_in;

/* Opens model, embedder and index, runs, prints the report and renews the scanned files. Returns
 * the exit code. */
int dns_index_take_in(const dns_take_in *job);

/* What every run has: threads, progress and the wish to stop. Freed with dns_ingest_frame_close. */
typedef struct dns_ingest_frame {
    dns_pool *pool;
    dns_terminal terminal;
    dns_ingest_options options;
} dns_ingest_frame;

DNS_MUST_CHECK dns_status dns_ingest_frame_open(dns_ingest_frame *out,
                                                const dns_invocation *invocation,
                                                const dns_ingest_settings *s);
void dns_ingest_frame_close(dns_ingest_frame *frame);

/* The exit code of a run that came to its end. */
int dns_ingest_exit_code(const dns_ingest_report *report, size_t n_problems);

/* Renews the contiguous files that queries scan. They can be rebuilt at any time, so a failure
 * here costs speed only. */
void dns_index_refresh(const dns_invocation *invocation, dns_store *store);

#endif
