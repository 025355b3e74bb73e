#include "dnsel/file_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "dnsel/file.h"
#include "dnsel/memory.h"

bool dns_file_list_is_video(const char *path)
{
    static const char *const extensions[] = {
        "mp4", "m4v", "mov",  "mkv", "webm", "avi",  "mpg",  "mpeg", "mpe", "m2v",
        "ts",  "mts", "m2ts", "wmv", "asf",  "flv",  "f4v",  "ogv",  "ogg", "3gp",
        "3g2", "vob", "mxf",  "gif", "y4m",  "h264", "h265", "hevc", "ivf", "divx",
        "dv",  "rm",  "rmvb", "nut", "wtv",  "mjpg", "apng",
    };
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash != NULL ? slash : path, '.');
    for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof extensions[0]; i++)
        if (strcasecmp(dot + 1, extensions[i]) == 0)
            return true;
    return false;
}

static dns_status add_problem(dns_file_list *list, const char *path, const char *reason)
{
    dns_status status = dns_reserve(&list->problems, &list->problems_capacity, list->n_problems + 1,
                                    sizeof *list->problems);
    if (status == DNS_OK)
        status = dns_string_format(&list->problems[list->n_problems], "%s: %s", path, reason);
    if (status == DNS_OK)
        list->n_problems++;
    return status;
}

static dns_status add_file(dns_file_list *list, const char *path)
{
    char *absolute = realpath(path, NULL);
    if (absolute == NULL)
        return add_problem(list, path, strerror(errno));
    dns_status status =
        dns_reserve(&list->paths, &list->capacity, list->n + 1, sizeof *list->paths);
    if (status == DNS_OK)
        status = dns_string_copy(&list->paths[list->n], absolute);
    if (status == DNS_OK)
        list->n++;
    free(absolute);
    return status;
}

/* The folders walked so far, by device and inode: links may lead back. */
struct walk {
    dns_file_list *list;
    const dns_file_list_options *options;
    struct visited {
        dev_t device;
        ino_t inode;
    } * visited;
    size_t n_visited, capacity;
};

static bool seen_before(struct walk *walk, const struct stat *info, dns_status *status)
{
    for (size_t i = 0; i < walk->n_visited; i++)
        if (walk->visited[i].device == info->st_dev && walk->visited[i].inode == info->st_ino)
            return true;
    *status =
        dns_reserve(&walk->visited, &walk->capacity, walk->n_visited + 1, sizeof *walk->visited);
    if (*status == DNS_OK)
        walk->visited[walk->n_visited++] = (struct visited){info->st_dev, info->st_ino};
    return false;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* *names = what a folder holds, in byte order; a folder that cannot be read is a problem, not an
 * error. */
static dns_status read_folder(struct walk *walk, char ***names, size_t *n, const char *path)
{
    dns_status status = DNS_OK;
    size_t capacity = 0;
    *names = NULL;
    *n = 0;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return add_problem(walk->list, path, strerror(errno));
    for (struct dirent *entry; status == DNS_OK && (entry = readdir(folder)) != NULL;) {
        bool hidden = entry->d_name[0] == '.';
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            (hidden && !walk->options->hidden))
            continue;
        status = dns_reserve(names, &capacity, *n + 1, sizeof **names);
        if (status == DNS_OK)
            status = dns_string_copy(&(*names)[*n], entry->d_name);
        if (status == DNS_OK)
            *n += 1;
    }
    closedir(folder);
    if (*n > 0)
        qsort(*names, *n, sizeof **names, by_bytes);
    return status;
}

static dns_status walk_folder(struct walk *walk, const char *path);

static dns_status walk_entry(struct walk *walk, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return add_problem(walk->list, path, strerror(errno));
    if (S_ISDIR(info.st_mode)) {
        dns_status status = DNS_OK;
        bool seen = seen_before(walk, &info, &status);
        return status != DNS_OK || seen ? status : walk_folder(walk, path);
    }
    if (S_ISREG(info.st_mode) && (walk->options->all_files || dns_file_list_is_video(path)))
        return add_file(walk->list, path);
    return DNS_OK;
}

static dns_status walk_folder(struct walk *walk, const char *path)
{
    char **names;
    size_t n;
    dns_status status = read_folder(walk, &names, &n, path);
    for (size_t i = 0; i < n; i++) {
        char *entry = NULL;
        if (status == DNS_OK)
            status = dns_path_join(&entry, path, names[i]);
        if (status == DNS_OK)
            status = walk_entry(walk, entry);
        dns_free(entry);
        dns_free(names[i]);
    }
    dns_free(names);
    return status;
}

dns_status dns_file_list_add(dns_file_list *list, const char *path,
                             const dns_file_list_options *options)
{
    static const dns_file_list_options none = {0};
    struct walk walk = {.list = list, .options = options != NULL ? options : &none};
    struct stat info;
    dns_status status;
    if (stat(path, &info) != 0)
        status = add_problem(list, path, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        status = walk_entry(&walk, path);
    else
        status = add_file(list, path); /* named by the user: tried whatever it is called */
    dns_free(walk.visited);
    return status;
}

dns_status dns_file_list_add_text(dns_file_list *list, const char *text, size_t size, bool null,
                                  const dns_file_list_options *options)
{
    dns_status status = DNS_OK;
    const char *end = text + size, separator = null ? '\0' : '\n';
    while (text < end && status == DNS_OK) {
        const char *stop = memchr(text, separator, (size_t)(end - text));
        size_t n = (size_t)((stop != NULL ? stop : end) - text);
        char *name = NULL;
        if (n > 0)
            status = dns_alloc(&name, n + 1, 1);
        if (name != NULL) {
            memcpy(name, text, n);
            status = dns_file_list_add(list, name, options);
        }
        dns_free(name);
        text += n + 1;
    }
    return status;
}

static int by_path_then_position(const void *a, const void *b)
{
    char *const *x = *(char *const *const *)a, *const *y = *(char *const *const *)b;
    int order = strcmp(*x, *y);
    return order != 0 ? order : x < y ? -1 : x > y;
}

dns_status dns_file_list_unique(dns_file_list *list)
{
    char ***sorted;
    dns_status status = dns_alloc(&sorted, list->n, sizeof *sorted);
    if (status != DNS_OK || list->n == 0) {
        dns_free(sorted);
        return status;
    }
    for (size_t i = 0; i < list->n; i++)
        sorted[i] = &list->paths[i];
    qsort(sorted, list->n, sizeof *sorted, by_path_then_position);
    char **kept = sorted[0];
    for (size_t i = 1; i < list->n; i++) {
        if (strcmp(*kept, *sorted[i]) != 0) {
            kept = sorted[i];
            continue;
        }
        dns_free(*sorted[i]);
        *sorted[i] = NULL;
    }
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->paths[i] != NULL)
            list->paths[n++] = list->paths[i];
    list->n = n;
    dns_free(sorted);
    return DNS_OK;
}

void dns_file_list_free(dns_file_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        dns_free(list->paths[i]);
    for (size_t i = 0; i < list->n_problems; i++)
        dns_free(list->problems[i]);
    dns_free(list->paths);
    dns_free(list->problems);
    *list = (dns_file_list){0};
}
