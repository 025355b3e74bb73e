#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/edits.h"
#include "dnsel/file.h"
#include "dnsel/file_list.h"
#include "dnsel/memory.h"

/* A file of the folder. */
typedef struct video {
    const char *path, *name; /* name: below the folder */
    const char *group;       /* its own name when there is none */
    double duration;
    bool is_readable, is_host, is_edited;
} video;

/* A copy to be made. */
typedef struct copy {
    video *original;
    const video *host;
    dns_edit_kind kind;
    char *name; /* below `out` */
    bool is_made;
    dns_edit_plan plan;
    dns_edit_facts facts;
} copy;

typedef struct set {
    const dns_edit_set_options *options;
    const char *out;
    dns_file_list files, host_files;
    dns_csv *groups;
    video *videos, *hosts;
    size_t n_videos, n_hosts;
    copy *copies;
    size_t n_copies;
    pthread_mutex_t lock; /* of what follows, and of reports */
    size_t n_done, n_failed;
} set;

dns_edit_set_options dns_edit_set_options_default(void)
{
    dns_edit_set_options o = {.seed = 1, .file = dns_edit_file_options_default()};
    for (int i = 0; i < DNS_EDIT_KINDS; i++)
        o.kinds[i] = true;
    return o;
}

static void report(set *s, const char *name, const char *what)
{
    dns_logger_print(s->options->logger, DNS_MESSAGE_WARNING, "%s: %s", name, what);
}

/* ---- what there is ---- */

static dns_status list_videos(set *s, dns_file_list *files, video **videos, size_t *n,
                              const char *folder)
{
    dns_status status = DNS_OK;
    char root[PATH_MAX];
    *n = 0;
    if (!dns_directory_exists(folder) || realpath(folder, root) == NULL)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no such folder", folder);
    DNS_TRY(dns_file_list_add(files, folder, NULL));
    for (size_t i = 0; i < files->n_problems; i++)
        report(s, folder, files->problems[i]);
    DNS_TRY(dns_alloc(videos, files->n, sizeof **videos));
    size_t n_root = strlen(root);
    for (size_t i = 0; i < files->n; i++) {
        const char *path = files->paths[i];
        bool is_below = strncmp(path, root, n_root) == 0 && path[n_root] == '/';
        const char *name = is_below ? path + n_root + 1 : strrchr(path, '/') + 1;
        (*videos)[(*n)++] = (video){.path = path, .name = name, .group = name};
    }
out:
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const video *)a)->name, ((const video *)b)->name);
}

/* Sets the groups of videos that the table names. A manifest.csv of another kind is passed over. */
static dns_status read_groups(set *s, const char *folder)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    bool is_given = s->options->groups != NULL;
    if (is_given)
        DNS_TRY(dns_string_copy(&path, s->options->groups));
    else
        DNS_TRY(dns_path_join(&path, folder, "manifest.csv"));
    if (!is_given && !dns_file_exists(path))
        goto out;
    DNS_TRY(dns_csv_read(&s->groups, path));
    size_t file = dns_csv_column(s->groups, "file"),
           group = dns_csv_column(s->groups, "scene_group");
    if (is_given && (file == SIZE_MAX || group == SIZE_MAX))
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no columns 'file' and 'scene_group'", path);
    for (size_t row = 0; row < dns_csv_rows(s->groups); row++) {
        video key = {.name = dns_csv_field(s->groups, row, file)};
        const char *name = dns_csv_field(s->groups, row, group);
        video *found = bsearch(&key, s->videos, s->n_videos, sizeof *s->videos, compare_names);
        if (found != NULL && name[0] != '\0')
            found->group = name;
    }
out:
    dns_free(path);
    return status;
}

static dns_status measure(void *payload, size_t i, size_t worker)
{
    (void)worker;
    set *s = payload;
    video *v = i < s->n_videos ? &s->videos[i] : &s->hosts[i - s->n_videos];
    dns_media *media = NULL;
    dns_media_options o = dns_media_options_default();
    o.cancel = s->options->file.cancel;
    dns_status status = dns_media_open(&media, v->path, &o);
    if (status == DNS_ERR_CANCELLED || status == DNS_ERR_NOMEM)
        return status;
    if (status == DNS_OK) {
        v->duration = dns_media_info(media).duration;
        v->is_readable = true;
    } else {
        pthread_mutex_lock(&s->lock);
        dns_logger_print(s->options->logger, DNS_MESSAGE_WARNING, "%s", dns_status_message());
        pthread_mutex_unlock(&s->lock);
    }
    dns_media_close(media);
    return DNS_OK;
}

static size_t drop_unreadable(video *videos, size_t n)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++)
        if (videos[i].is_readable)
            videos[n_kept++] = videos[i];
    return n_kept;
}

/* Longest first. */
static int compare_durations(const void *a, const void *b)
{
    const video *x = *(video *const *)a, *y = *(video *const *)b;
    return x->duration != y->duration ? (x->duration < y->duration ? 1 : -1)
                                      : strcmp(x->name, y->name);
}

/* A tenth of the videos, the longest of those that have a scene of their own, become hosts. */
static dns_status set_aside(set *s)
{
    dns_status status = DNS_OK;
    video **alone = NULL;
    size_t n_alone = 0, n_wanted = (s->n_videos + 9) / 10;
    DNS_TRY(dns_alloc(&alone, s->n_videos, sizeof *alone));
    DNS_TRY(dns_alloc(&s->hosts, n_wanted, sizeof *s->hosts));
    for (size_t i = 0; i < s->n_videos; i++) {
        size_t n_same = 0;
        for (size_t j = 0; j < s->n_videos; j++)
            n_same += strcmp(s->videos[i].group, s->videos[j].group) == 0;
        if (n_same == 1)
            alone[n_alone++] = &s->videos[i];
    }
    qsort(alone, n_alone, sizeof *alone, compare_durations);
    if (s->n_videos < 2)
        n_wanted = 0;
    for (size_t i = 0; i < n_wanted && i < n_alone; i++) {
        alone[i]->is_host = true;
        s->hosts[s->n_hosts++] = *alone[i];
    }
out:
    dns_free(alone);
    return status;
}

static dns_status look_around(set *s, const char *folder, dns_edit_set_report *r)
{
    dns_status status = DNS_OK;
    DNS_TRY(list_videos(s, &s->files, &s->videos, &s->n_videos, folder));
    qsort(s->videos, s->n_videos, sizeof *s->videos, compare_names);
    DNS_TRY(read_groups(s, folder));
    if (s->options->hosts != NULL) {
        DNS_TRY(list_videos(s, &s->host_files, &s->hosts, &s->n_hosts, s->options->hosts));
        qsort(s->hosts, s->n_hosts, sizeof *s->hosts, compare_names);
    }
    size_t n_files = s->n_videos + s->n_hosts;
    DNS_TRY(dns_pool_run(s->options->pool, n_files, measure, s));
    s->n_videos = drop_unreadable(s->videos, s->n_videos);
    s->n_hosts = drop_unreadable(s->hosts, s->n_hosts);
    r->n_unreadable = n_files - s->n_videos - s->n_hosts;
    if (s->n_videos == 0)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no videos", folder);
    if (s->options->hosts == NULL)
        DNS_TRY(set_aside(s));
    r->n_hosts = s->n_hosts;
    r->n_originals = s->n_videos - (s->options->hosts == NULL ? s->n_hosts : 0);
out:
    return status;
}

/* ---- what is to be made ---- */

/* Which originals are edited in this way: all, or as many as are wanted, drawn by seed. */
static dns_status choose(const set *s, dns_edit_kind kind, size_t **chosen, size_t *n)
{
    dns_status status = dns_alloc(chosen, s->n_videos, sizeof **chosen);
    if (status != DNS_OK)
        return status;
    *n = 0;
    for (size_t i = 0; i < s->n_videos; i++)
        if (!s->videos[i].is_host)
            (*chosen)[(*n)++] = i;
    if (s->options->per_kind > 0 && s->options->per_kind < *n) {
        dns_random random = dns_random_stream(s->options->seed, (uint64_t)kind);
        dns_random_shuffle(&random, *chosen, *n);
        *n = s->options->per_kind;
    }
    return DNS_OK;
}

static dns_status list_copies(set *s)
{
    dns_status status = DNS_OK;
    size_t capacity = 0, n = 0, *chosen = NULL;
    for (int kind = 0; kind < DNS_EDIT_KINDS; kind++) {
        if (!s->options->kinds[kind])
            continue;
        if (dns_edit_needs_host((dns_edit_kind)kind) && s->n_hosts == 0) {
            report(s, dns_edit_name((dns_edit_kind)kind),
                   "left out, for there is no other footage");
            continue;
        }
        DNS_TRY(choose(s, (dns_edit_kind)kind, &chosen, &n));
        DNS_TRY(dns_reserve(&s->copies, &capacity, s->n_copies + n, sizeof *s->copies));
        for (size_t i = 0; i < n; i++) {
            copy *c = &s->copies[s->n_copies++];
            c->original = &s->videos[chosen[i]];
            c->kind = (dns_edit_kind)kind;
            DNS_TRY(dns_string_format(&c->name, "%s.%s.mp4", c->original->name,
                                      dns_edit_name(c->kind)));
        }
        dns_free(chosen);
        chosen = NULL;
    }
out:
    dns_free(chosen);
    return status;
}

static dns_status make_folder_of(const char *path)
{
    char *folder = NULL;
    dns_status status = dns_string_copy(&folder, path);
    if (status != DNS_OK)
        return status;
    *strrchr(folder, '/') = '\0';
    status = dns_directory_make(folder);
    dns_free(folder);
    return status;
}

static dns_status make_copy(void *payload, size_t i, size_t worker)
{
    (void)worker;
    set *s = payload;
    copy *c = &s->copies[i];
    char *path = NULL;
    dns_status status = DNS_OK;
    /* A copy's numbers depend on nothing but seed, name and kind. */
    uint64_t name = dns_checksum(c->original->name, strlen(c->original->name));
    dns_random random = dns_random_stream(s->options->seed, name + (uint64_t)c->kind);
    if (dns_edit_needs_host(c->kind))
        c->host = &s->hosts[dns_random_below(&random, s->n_hosts)];
    DNS_TRY(dns_path_join(&path, s->out, c->name));
    DNS_TRY(make_folder_of(path));
    status = dns_edit_apply_file(&c->plan, &c->facts, path, c->original->path,
                                 c->host != NULL ? c->host->path : NULL, c->kind, &random,
                                 &s->options->file);
    c->is_made = status == DNS_OK;
    pthread_mutex_lock(&s->lock);
    if (!c->is_made && status != DNS_ERR_CANCELLED) {
        s->n_failed++;
        report(s, c->name, dns_status_message());
    }
    s->n_done++;
    const dns_progress *p = s->options->progress;
    if (p != NULL && p->report != NULL)
        p->report(p->payload, s->n_done, s->n_copies, "copies");
    pthread_mutex_unlock(&s->lock);
    /* One bad video does not end the work; a full disk, a lack of memory or a wish to stop do. */
    if (status != DNS_ERR_CANCELLED && status != DNS_ERR_FULL && status != DNS_ERR_NOMEM)
        status = DNS_OK;
out:
    dns_free(path);
    return status;
}

/* ---- what was made ---- */

/* Writes a field (RFC 4180), and a comma or the end of the line behind it. */
static void write_field(FILE *stream, const char *field, bool is_last)
{
    bool is_quoted = field[strcspn(field, ",\"\r\n")] != '\0';
    if (is_quoted)
        fputc('"', stream);
    for (const char *c = field; *c != '\0'; c++) {
        if (*c == '"')
            fputc('"', stream);
        fputc(*c, stream);
    }
    if (is_quoted)
        fputc('"', stream);
    fputc(is_last ? '\n' : ',', stream);
}

static void write_number(FILE *stream, double x, int n_decimals)
{
    char text[32];
    snprintf(text, sizeof text, "%.*f", n_decimals, x);
    write_field(stream, text, false);
}

static void write_truth_row(FILE *stream, const set *s, const copy *c, const video *original)
{
    write_field(stream, c->name, false);
    write_field(stream, original->name, false);
    write_field(stream, dns_edit_name(c->kind), false);
    write_number(stream, c->facts.start, 3);
    write_number(stream, c->facts.end, 3);
    write_field(stream, original->group, false);
    write_field(stream, c->host != NULL && s->options->hosts == NULL ? c->host->name : "", true);
}

/* Videos of the same scene of which there is no copy are named as further originals. */
static void write_truth(FILE *stream, const set *s)
{
    fputs("query,original,edit,start_s,end_s,scene_group,exclude\n", stream);
    for (size_t i = 0; i < s->n_copies; i++) {
        const copy *c = &s->copies[i];
        if (!c->is_made)
            continue;
        write_truth_row(stream, s, c, c->original);
        for (size_t j = 0; j < s->n_videos; j++) {
            const video *v = &s->videos[j];
            if (!v->is_edited && !v->is_host && strcmp(v->group, c->original->group) == 0)
                write_truth_row(stream, s, c, v);
        }
    }
}

static void write_plans(FILE *stream, const set *s)
{
    fputs("query,base,width,height,speed,rate,quality,host,filter\n", stream);
    for (size_t i = 0; i < s->n_copies; i++) {
        const copy *c = &s->copies[i];
        if (!c->is_made)
            continue;
        write_field(stream, c->name, false);
        write_field(stream, dns_edit_name(c->plan.base), false);
        write_number(stream, (double)c->plan.width, 0);
        write_number(stream, (double)c->plan.height, 0);
        write_number(stream, c->plan.speed, 4);
        write_number(stream, c->plan.rate, 0);
        write_number(stream, c->plan.quality, 0);
        write_field(stream, c->host != NULL ? c->host->name : "", false);
        write_field(stream, c->plan.filter, true);
    }
}

static void write_hosts(FILE *stream, const set *s)
{
    for (size_t i = 0; i < s->n_hosts; i++)
        fprintf(stream, "%s\n", s->hosts[i].name);
}

static void write_originals(FILE *stream, const set *s)
{
    for (size_t i = 0; i < s->n_videos; i++)
        if (!s->videos[i].is_host)
            fprintf(stream, "%s\n", s->videos[i].path);
}

static dns_status write_list(const set *s, const char *name,
                             void (*write)(FILE *stream, const set *s))
{
    dns_status status = DNS_OK;
    char *path = NULL;
    FILE *stream = NULL;
    dns_replacement *file = NULL, *whole = NULL;
    DNS_TRY(dns_path_join(&path, s->out, name));
    DNS_TRY(dns_replacement_open(&file, &stream, path));
    write(stream, s);
    whole = file;
    file = NULL;
    DNS_TRY(dns_replacement_commit(whole));
out:
    dns_replacement_abandon(file);
    dns_free(path);
    return status;
}

static void release(set *s)
{
    for (size_t i = 0; i < s->n_copies; i++)
        dns_free(s->copies[i].name);
    dns_free(s->copies);
    dns_free(s->videos);
    dns_free(s->hosts);
    dns_csv_free(s->groups);
    dns_file_list_free(&s->files);
    dns_file_list_free(&s->host_files);
    pthread_mutex_destroy(&s->lock);
}

dns_status dns_edit_set_make(dns_edit_set_report *r, const char *videos, const char *out,
                             const dns_edit_set_options *options)
{
    dns_status status = DNS_OK;
    dns_edit_set_options o = options != NULL ? *options : dns_edit_set_options_default();
    set s = {.options = &o, .out = out, .lock = PTHREAD_MUTEX_INITIALIZER};
    *r = (dns_edit_set_report){0};
    DNS_TRY(look_around(&s, videos, r));
    DNS_TRY(list_copies(&s));
    DNS_TRY(dns_directory_make(out));
    DNS_TRY(dns_pool_run(o.pool, s.n_copies, make_copy, &s));
    r->n_failed = s.n_failed;
    r->n_copies = s.n_copies - s.n_failed;
    for (size_t i = 0; i < s.n_copies; i++)
        if (s.copies[i].is_made)
            s.copies[i].original->is_edited = true;
    DNS_TRY(write_list(&s, "truth.csv", write_truth));
    DNS_TRY(write_list(&s, "plans.csv", write_plans));
    DNS_TRY(write_list(&s, "hosts.txt", write_hosts));
    DNS_TRY(write_list(&s, "originals.txt", write_originals));
out:
    release(&s);
    return status;
}
