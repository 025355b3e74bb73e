/*
 * Edited copies of videos, as people make them: drawn by seed, described in text, applied to files
 * or to pictures in memory (docs/edits.md).
 */
#ifndef DNSEL_EDITS_H
#define DNSEL_EDITS_H

#include "dnsel/pool.h"
#include "dnsel/random.h"
#include "dnsel/remake.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_edit_kind {
    DNS_EDIT_REENCODE, /* small and of low quality */
    DNS_EDIT_CROP,     /* a part of 0.5 to 0.75 of the sides */
    DNS_EDIT_FLIP,     /* mirrored */
    DNS_EDIT_ROTATE,   /* by 8 to 30 degrees */
    DNS_EDIT_OVERLAY,  /* two to four boxes and a word */
    DNS_EDIT_COLOUR,   /* gray, hue, sepia, dark, bright, negative or contrast */
    DNS_EDIT_BLUR,     /* blur or noise */
    DNS_EDIT_PAD,      /* at 0.5 to 0.75 of the size on a plain ground, or letterboxed */
    DNS_EDIT_PIXELATE, /* squares of 8 to 18 pixels where the short side has 256 */
    DNS_EDIT_PIP,      /* at 0.4 to 0.62 of the size within other footage */
    DNS_EDIT_SPEED,    /* at 0.5 to 2 times the speed */
    DNS_EDIT_RATE,     /* 8 to 15 frames a second */
    /* Mixtures: perhaps mirrored, at 0.75 to 1.35 times the speed. */
    DNS_EDIT_MIX_A,   /* crop, colour */
    DNS_EDIT_MIX_B,   /* rotate, overlay, small */
    DNS_EDIT_MIX_C,   /* colour, pad, blur or noise */
    DNS_EDIT_EXCERPT, /* 3 to 8 seconds, edited by one of the others */
    DNS_EDIT_EMBED    /* such an excerpt within 15 to 40 seconds of other footage */
} dns_edit_kind;

enum { DNS_EDIT_KINDS = DNS_EDIT_EMBED + 1, DNS_EDIT_FILTER_SIZE = 8192 };

/* "reencode", "crop", ..., "mix-a", "excerpt", "embed". Parsing an unknown name is DNS_ERR_ARG, and
 * the message lists the known ones. */
DNS_API const char *dns_edit_name(dns_edit_kind kind);
DNS_API DNS_MUST_CHECK dns_status dns_edit_parse(dns_edit_kind *out, const char *name);

/* One drawn edit: a plain value, to be copied and stored. */
typedef struct dns_edit_plan {
    dns_edit_kind kind;
    dns_edit_kind base;   /* what is done to the pictures: not `kind` for EXCERPT and EMBED */
    size_t width, height; /* of the pictures that it was drawn for */
    bool uses_host;    /* other footage is needed, in the pictures (PIP) or around them (EMBED) */
    double speed;      /* 1 unless changed */
    double rate;       /* frames a second; 0: as the original */
    double excerpt;    /* seconds of the original; 0: all */
    double around;     /* seconds of other footage around the excerpt; 0: none */
    double place;      /* 0 to 1: of the part that is used within the original */
    double host_place; /* 0 to 1: likewise within the other footage */
    double share;      /* 0 to 1: of the footage around that comes before */
    int quality;       /* 1 to 100, to be read as that of JPEG */
    /* FFmpeg's description, from [0] and, for PIP, [1] to [out]. */
    char filter[DNS_EDIT_FILTER_SIZE];
} dns_edit_plan;

/* Draws an edit for pictures of width x height. The same numbers give the same plan; how
 * many are drawn does not depend on the size. */
DNS_API void dns_edit_draw(dns_edit_plan *plan, dns_edit_kind kind, size_t width, size_t height,
                           dns_random *random);

/* *out = what the plan makes of pictures, one for one; time is left alone (speed, rate, excerpt,
 * around). `host`: the pictures for a plan whose base is PIP, the last one repeated when they are
 * fewer; NULL otherwise. Pictures must have the size that the plan was drawn for, the result may
 * have another (dns_pictures_fit). Free with dns_pictures_free. Errors: DNS_ERR_ARG, DNS_ERR_NOMEM.
 * Safe to call from several threads. */
DNS_API DNS_MUST_CHECK dns_status dns_edit_apply_pictures(dns_pictures *out,
                                                          const dns_pictures *original,
                                                          const dns_pictures *host,
                                                          const dns_edit_plan *plan);

/* Start from dns_edit_file_options_default. */
typedef struct dns_edit_file_options {
    size_t short_side;  /* 360: originals are brought down to it first, never up */
    double max_seconds; /* 60: of an original that is used */
    dns_cancel *cancel; /* NULL */
} dns_edit_file_options;

DNS_API dns_edit_file_options dns_edit_file_options_default(void);

/* What was written. */
typedef struct dns_edit_facts {
    double start, end; /* seconds of the new file that show the original */
    double duration;   /* of the new file */
} dns_edit_facts;

/* Draws an edit of a file and writes the copy. *plan, *facts: what was done. `host` may be NULL for
 * kinds that need none. Errors: DNS_ERR_ARG (no host, a tiny original) and those of
 * dns_remake_file. */
DNS_API DNS_MUST_CHECK dns_status dns_edit_apply_file(dns_edit_plan *plan, dns_edit_facts *facts,
                                                      const char *path, const char *original,
                                                      const char *host, dns_edit_kind kind,
                                                      dns_random *random,
                                                      const dns_edit_file_options *options);

/* ---- a whole set ---- */

typedef struct dns_edit_set_options {
    uint64_t seed;
    size_t per_kind;    /* originals drawn for each kind; 0: all */
    const char *hosts;  /* folder of other footage; NULL: a tenth of the videos is set aside */
    const char *groups; /* CSV with file and scene_group; NULL: the folder's manifest.csv, if any */
    bool kinds[DNS_EDIT_KINDS];
    dns_edit_file_options file;
    dns_pool *pool;
    const dns_progress *progress; /* NULL: none. Unit "copies" */
    const dns_logger *logger;     /* told what cannot be used; NULL: none */
} dns_edit_set_options;

/* Seed 1, all kinds, dns_edit_file_options_default, the rest zero. */
DNS_API dns_edit_set_options dns_edit_set_options_default(void);

typedef struct dns_edit_set_report {
    size_t n_originals, n_hosts; /* set aside, or in the folder of hosts */
    size_t n_unreadable;         /* files that are no videos */
    size_t n_copies, n_failed;
} dns_edit_set_report;

/* Writes edited copies of the videos in a folder and its sub-folders to the folder `out`, and with
 * them truth.csv (what each copy shows), plans.csv (how it was made), originals.txt and hosts.txt
 * (what belongs into the index and what must not be there); formats in docs/edits.md. The same seed
 * and files give the same bytes for any number of threads. Copies that fail are reported and left
 * out. Errors: DNS_ERR_NOTFOUND (no videos), DNS_ERR_FORMAT (groups), DNS_ERR_CANCELLED,
 * DNS_ERR_IO, DNS_ERR_FULL. */
DNS_API DNS_MUST_CHECK dns_status dns_edit_set_make(dns_edit_set_report *report, const char *videos,
                                                    const char *out,
                                                    const dns_edit_set_options *options);

/* Whether the kind needs other footage. */
DNS_API bool dns_edit_needs_host(dns_edit_kind kind);

#ifdef __cplusplus
}
#endif

#endif
