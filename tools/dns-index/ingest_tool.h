/* What the commands share that take videos or features in: opening, the choice of kinds, the
 * report. */
#ifndef DNS_INGEST_TOOL_H
#define DNS_INGEST_TOOL_H

#include "dnsel/ingest.h"
#include "program.h"

#define DNS_KEEP_OPTION(type, field)                                                            \
    {                                                                                           \
        .name = "keep", .kind = DNS_OPTION_STRING, .offset = offsetof(type, field),             \
        .value = "LIST",                                                                        \
        .help = "what the index keeps of a video, with commas: coarse, selector, fine_binary, " \
                "fine_attention:int8|f16|f32, regions:f16|f32|int8, archive, codes:u8|int8; "   \
                "coarse always"                                                                 \
    }

/* The kinds of "coarse,fine_attention:int8,archive" into `settings`; others are no longer kept.
 * DNS_ERR_ARG. */
DNS_MUST_CHECK dns_status dns_keep_parse(dns_store_settings *settings, const char *list);

/* "coarse:F32,archive:I8" of what is kept, to be freed with dns_free. */
DNS_MUST_CHECK dns_status dns_keep_text(char **out, const dns_store_settings *settings);

typedef struct dns_index_opening {
    bool create;       /* where there is none */
    bool dry_run;      /* for reading; nothing is made */
    bool any_sampling; /* an index of frames chosen in another way will do */
    const char *keep;  /* NULL: what the model can make, or what the index already keeps */
} dns_index_opening;

/* Opens an index to take in what `embedder` makes. DNS_ERR_MODEL when it was made in another way,
 * DNS_ERR_ARG when it keeps other kinds than `keep` says. */
DNS_MUST_CHECK dns_status dns_index_open_for(dns_store **out, const char *directory,
                                             const dns_embedder *embedder,
                                             const dns_index_opening *how);

/* Failures and what could not be found on standard error, the rest as text or JSON. */
void dns_index_print_report(const dns_invocation *invocation, const dns_ingest_report *report,
                            char *const *problems, size_t n_problems, bool dry_run, bool json);

/* Renews the contiguous files that queries scan. They can be rebuilt at any time, so a failure
 * here costs speed only. */
void dns_index_refresh(const dns_invocation *invocation, dns_store *store);

#endif
