/*
 * Which files to take in: folders walked, lists read, names made absolute.
 */
#ifndef DNSEL_FILE_LIST_H
#define DNSEL_FILE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_file_list {
    char **paths; /* absolute, links resolved, each once, in the order in which they were found */
    size_t n, capacity;
    /* What was named but is not there or cannot be read: one line each. */
    char **problems;
    size_t n_problems, problems_capacity;
} dns_file_list;

typedef struct dns_file_list_options {
    bool all_files; /* within folders: every regular file, not only those with the extension of a
                       video */
    bool hidden;    /* within folders: names that begin with a dot as well */
} dns_file_list_options;

/* Adds a file, whatever its extension, or all videos in a folder and its sub-folders, in ascending
 * byte order of names. A folder that is reached twice through links is walked once. What cannot be
 * read goes to `problems`; only running out of memory is an error. `options` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_file_list_add(dns_file_list *list, const char *path,
                                                    const dns_file_list_options *options);

/* Adds every name in `text` [size], separated by new lines, or by NUL bytes when `null` is true;
 * empty names are left out. */
DNS_API DNS_MUST_CHECK dns_status dns_file_list_add_text(dns_file_list *list, const char *text,
                                                         size_t size, bool null,
                                                         const dns_file_list_options *options);

/* Drops the second and later mention of a path; keeps the order. */
DNS_API DNS_MUST_CHECK dns_status dns_file_list_unique(dns_file_list *list);

DNS_API void dns_file_list_free(dns_file_list *list);

/* Whether the name ends as videos do (".mp4", ".MKV"); pictures do not count. */
DNS_API bool dns_file_list_is_video(const char *path);

#ifdef __cplusplus
}
#endif

#endif
