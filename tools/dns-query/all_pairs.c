#include "all_pairs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "terminal.h"

/* The file of --resume: a line that says what it belongs to, then for each video that is done, in
 * the order of the run, a line "id id score" for each pair and then one with its id alone. What a
 * run left unfinished, before the empty line of the next, counts for nothing. */
struct progress {
    FILE *stream;
    uint64_t *done; /* ascending */
    size_t n, capacity;
    dns_pair_list pairs;
};

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_done(const struct progress *p, uint64_t id)
{
    return p->n > 0 && bsearch(&id, p->done, p->n, sizeof id, by_id) != NULL;
}

static dns_status read_done(struct progress *p, const char *path, const char *heading)
{
    char *text;
    size_t size;
    dns_status status = dns_file_read(&text, &size, path, (size_t)1 << 32);
    if (status == DNS_ERR_NOTFOUND)
        return DNS_OK;
    if (status != DNS_OK)
        return status;
    const char *line = text, *end;
    if (size > 0 && strncmp(text, heading, strlen(heading)) != 0)
        status = dns_status_set(DNS_ERR_FORMAT,
                                "%s: not the progress of this index with this --min-score", path);
    size_t n_sure = 0; /* pairs of videos that are done */
    for (; status == DNS_OK && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char words[2][17] = {""};
        uint64_t a, b;
        float score;
        int used = 0;
        if (end == line)
            p->pairs.n = n_sure;
        if (sscanf(line, "%16[0-9a-f] %16[0-9a-f] %f%n", words[0], words[1], &score, &used) == 3 &&
            line + used == end && dns_id_parse(&a, words[0]) && dns_id_parse(&b, words[1])) {
            status = dns_pair_list_add(&p->pairs, a, b, score);
        } else if (end - line == 16 && dns_id_parse(&a, words[0])) {
            n_sure = p->pairs.n;
            status = dns_reserve(&p->done, &p->capacity, p->n + 1, sizeof *p->done);
            if (status == DNS_OK)
                p->done[p->n++] = a;
        }
    }
    p->pairs.n = n_sure;
    if (p->n > 1)
        qsort(p->done, p->n, sizeof *p->done, by_id);
    dns_free(text);
    return status;
}

static dns_status open_progress(struct progress *p, const dns_all_pairs *all)
{
    char identity[33], heading[96];
    if (all->resume == NULL)
        return DNS_OK;
    dns_digest digest = dns_store_identity(all->store);
    dns_digest_text(&digest, identity);
    snprintf(heading, sizeof heading, "dnsel.all/2 %s %g\n", identity, all->min_score);
    dns_status status = read_done(p, all->resume, heading);
    if (status != DNS_OK)
        return status;
    p->stream = fopen(all->resume, "abe");
    if (p->stream == NULL)
        return dns_status_set_errno("%s", all->resume);
    /* After an unfinished line the next begins anew. */
    bool empty = fseek(p->stream, 0, SEEK_END) == 0 && ftell(p->stream) == 0;
    fputs(empty ? heading : "\n", p->stream);
    return DNS_OK;
}

/* The pairs from `first` on are those of the video. */
static dns_status note_done(struct progress *p, const dns_all_pairs *all, uint64_t id, size_t first)
{
    char text[17], other[17];
    if (fflush(stdout) != 0)
        return dns_status_set_errno("standard output");
    if (p->stream == NULL)
        return DNS_OK;
    dns_id_text(id, text);
    for (size_t i = first; i < p->pairs.n; i++) {
        dns_id_text(p->pairs.items[i].b, other);
        fprintf(p->stream, "%s %s %.9g\n", text, other, (double)p->pairs.items[i].score);
    }
    if (fprintf(p->stream, "%s\n", text) < 0 || fflush(p->stream) != 0)
        return dns_status_set_errno("%s", all->resume);
    return DNS_OK;
}

/* Coarse scores that were not calibrated are on another scale than fine ones: where there is a fine
 * comparison only what it saw counts. */
static bool counts(const dns_all_pairs *all, const dns_result *r)
{
    return r->stage == DNS_STAGE_FINE || dns_searcher_fine(all->searcher) == DNS_FINE_NONE ||
           dns_searcher_is_calibrated(all->searcher);
}

static void put_ndjson(const dns_all_pairs *all, const char *name, const char *path,
                       const dns_answer *a)
{
    dns_json_writer w = dns_json_writer_to(stdout, false);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "schema", "dnsel.duplicates/1");
    dns_json_put_string(&w, "id", name);
    dns_json_put_string(&w, "path", path);
    dns_json_begin_array(&w, "duplicates");
    for (size_t i = 0; i < a->n_results; i++) {
        const dns_result *r = &a->results[i];
        if (!counts(all, r))
            continue;
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "id", r->name);
        dns_json_put_string(&w, "path", r->path);
        dns_json_put_number(&w, "score", (double)r->score, 6);
        dns_json_put_number(&w, "coarse", (double)r->coarse, 6);
        dns_json_put_number(&w, "fine", (double)r->fine, 6);
        dns_json_end_object(&w);
    }
    dns_json_end_array(&w);
    dns_json_put_integer(&w, "pairs", (int64_t)a->n_pairs);
    dns_json_put_integer(&w, "pairs_wanted", (int64_t)a->n_wanted);
    dns_json_end_object(&w);
    fputc('\n', stdout);
}

static void put_text(const dns_all_pairs *all, const char *name, const char *path,
                     const dns_answer *a)
{
    puts(path[0] != '\0' ? path : name);
    for (size_t i = 0; i < a->n_results; i++) {
        const dns_result *r = &a->results[i];
        if (counts(all, r))
            printf("  %.3f  %s\n", (double)r->score, r->path[0] != '\0' ? r->path : r->name);
    }
}

static dns_status put_duplicates(dns_all_pairs *all, uint64_t id, const dns_answer *answer)
{
    dns_snapshot *snapshot;
    dns_meta meta;
    char text[17];
    size_t n = 0;
    for (size_t i = 0; i < answer->n_results; i++)
        n += counts(all, &answer->results[i]);
    all->n_pairs += n;
    if (n == 0 || all->groups)
        return DNS_OK;
    dns_status status = dns_snapshot_open(&snapshot, all->store);
    if (status != DNS_OK)
        return status;
    status = dns_snapshot_meta(&meta, snapshot, id);
    dns_id_text(id, text);
    if (status == DNS_OK)
        (all->ndjson ? put_ndjson : put_text)(all, meta.imported ? meta.name : text, meta.path,
                                              answer);
    dns_snapshot_close(snapshot);
    return status;
}

/* One video against those of higher id. */
static dns_status compare(dns_all_pairs *all, dns_pair_list *pairs, uint64_t id)
{
    char text[17];
    dns_query query;
    dns_answer *answer = NULL;
    dns_id_text(id, text);
    dns_status status = dns_searcher_stored_query(&query, all->searcher, text);
    if (status == DNS_ERR_NOTFOUND || id == UINT64_MAX)
        return DNS_OK; /* removed meanwhile; none after it */
    all->options.first_id = id + 1;
    if (status == DNS_OK)
        status = dns_search(&answer, all->searcher, &query, &all->options);
    if (status == DNS_OK)
        status = put_duplicates(all, id, answer);
    for (size_t i = 0; status == DNS_OK && i < answer->n_results; i++)
        if (counts(all, &answer->results[i]))
            status = dns_pair_list_add(pairs, id, answer->results[i].id, answer->results[i].score);
    dns_answer_free(answer);
    return status == DNS_ERR_NOTFOUND ? DNS_OK : status;
}

dns_status dns_all_pairs_run(dns_all_pairs *all)
{
    dns_status status = DNS_OK;
    struct progress progress = {0};
    dns_snapshot *snapshot = NULL;
    uint64_t *ids = NULL;
    size_t n;
    dns_terminal terminal = dns_terminal_open(DNS_PROGRESS_AUTO, all->invocation->quiet);
    const dns_progress shown = dns_terminal_progress(&terminal);
    all->options.k = 0;
    all->options.min_score = all->min_score;
    DNS_TRY(open_progress(&progress, all));
    DNS_TRY(dns_snapshot_open(&snapshot, all->store));
    DNS_TRY(dns_snapshot_ids(&ids, &n, snapshot, DNS_KIND_COARSE));
    dns_snapshot_close(snapshot);
    snapshot = NULL;
    for (size_t i = 0; i < n; i++) {
        if (is_done(&progress, ids[i]))
            continue;
        if (dns_cancelled(all->options.cancel))
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted after %zu of %zu videos", i, n);
        if (shown.report != NULL && all->groups)
            shown.report(shown.payload, i, n, "videos");
        size_t first = progress.pairs.n;
        status = compare(all, &progress.pairs, ids[i]);
        if (status == DNS_ERR_CANCELLED || status == DNS_ERR_NOMEM)
            goto out;
        if (status == DNS_OK) {
            DNS_TRY(note_done(&progress, all, ids[i], first));
            if (!all->groups)
                progress.pairs.n = 0;
            continue;
        }
        dns_complain(all->invocation, "%s", dns_status_message());
        progress.pairs.n = first;
        all->n_failed++;
        status = DNS_OK;
    }
    dns_terminal_close(&terminal);
    if (all->groups)
        DNS_TRY(dns_groups_print(&all->n_groups, &progress.pairs, all->store, all->groups_format));
out:
    if (progress.stream != NULL && fclose(progress.stream) != 0 && status == DNS_OK)
        status = dns_status_set_errno("%s", all->resume);
    dns_free(progress.done);
    dns_free(progress.pairs.items);
    dns_free(ids);
    dns_snapshot_close(snapshot);
    return status;
}
