#include "duplicate_groups.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv_output.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"

dns_status dns_pair_list_add(dns_pair_list *list, uint64_t a, uint64_t b, float score)
{
    dns_status status =
        dns_reserve(&list->items, &list->capacity, list->n + 1, sizeof *list->items);
    if (status == DNS_OK)
        list->items[list->n++] = (dns_pair){a, b, score};
    return status;
}

struct member {
    uint64_t id;
    size_t root;   /* leads, perhaps over others, to the first of its set; a first one is its own */
    dns_meta meta; /* strings borrowed from the snapshot */
    float score;   /* with the kept one, or the best in the set */
    bool direct;   /* it is the former */
    bool kept, gone;
};

struct group {
    size_t first, n;  /* members */
    uint64_t surplus; /* bytes of those that are like the kept one itself */
};

struct groups {
    struct member *members; /* ascending by id, at the end by group */
    size_t n_members;
    size_t *best; /* [n_members] of each root: the member to keep */
    struct group *items;
    size_t n;
};

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct member *)a)->id, y = ((const struct member *)b)->id;
    return (x > y) - (x < y);
}

static struct member *find(const struct groups *g, uint64_t id)
{
    const struct member key = {.id = id};
    return bsearch(&key, g->members, g->n_members, sizeof key, by_id);
}

static size_t root_of(const struct groups *g, size_t i)
{
    while (g->members[i].root != i) {
        g->members[i].root = g->members[g->members[i].root].root;
        i = g->members[i].root;
    }
    return i;
}

/* Each video of a pair once, with what the index says of it. */
static dns_status gather(struct groups *g, const dns_pair_list *pairs, const dns_snapshot *snapshot)
{
    dns_status status = DNS_OK;
    size_t n = 0;
    DNS_TRY(dns_alloc(&g->members, 2 * pairs->n, sizeof *g->members));
    for (size_t i = 0; i < pairs->n; i++) {
        g->members[2 * i].id = pairs->items[i].a;
        g->members[2 * i + 1].id = pairs->items[i].b;
    }
    qsort(g->members, 2 * pairs->n, sizeof *g->members, by_id);
    for (size_t i = 0; i < 2 * pairs->n; i++)
        if (i == 0 || g->members[i].id != g->members[i - 1].id)
            g->members[n++] = g->members[i];
    g->n_members = n;
    for (size_t i = 0; i < n; i++) {
        struct member *m = &g->members[i];
        m->root = i;
        status = dns_snapshot_meta(&m->meta, snapshot, m->id);
        m->gone = status == DNS_ERR_NOTFOUND;
        if (status != DNS_OK && !m->gone)
            goto out;
    }
    status = DNS_OK;
out:
    return status;
}

static void connect(struct groups *g, const dns_pair_list *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const struct member *a = find(g, pairs->items[i].a), *b = find(g, pairs->items[i].b);
        if (a->gone || b->gone)
            continue;
        size_t x = root_of(g, (size_t)(a - g->members)), y = root_of(g, (size_t)(b - g->members));
        g->members[x > y ? x : y].root = x > y ? y : x;
    }
}

/* Which of two is the better one to keep: negative when it is a. */
static int by_worth(const struct member *a, const struct member *b)
{
    const dns_meta *x = &a->meta, *y = &b->meta;
    double pixels_x = (double)x->width * x->height, pixels_y = (double)y->width * y->height;
    if (x->damaged != y->damaged)
        return x->damaged ? 1 : -1;
    if (round(x->duration) != round(y->duration))
        return x->duration > y->duration ? -1 : 1;
    if (pixels_x != pixels_y)
        return pixels_x > pixels_y ? -1 : 1;
    if (x->file_size != y->file_size)
        return x->file_size > y->file_size ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_group(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->root != y->root)
        return x->root < y->root ? -1 : 1;
    if (x->kept != y->kept)
        return x->kept ? -1 : 1;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return by_id(a, b);
}

static int by_surplus(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->surplus != y->surplus)
        return x->surplus > y->surplus ? -1 : 1;
    return x->first < y->first ? -1 : 1;
}

static void note_score(struct groups *g, struct member *m, const struct member *other, float score)
{
    bool direct = other == &g->members[g->best[m->root]];
    if (direct ? !m->direct || score > m->score : !m->direct && score > m->score)
        m->score = score;
    m->direct |= direct;
}

/* The best member of each set, and what the others score. */
static dns_status choose_kept(struct groups *g, const dns_pair_list *pairs)
{
    dns_status status = dns_alloc(&g->best, g->n_members, sizeof *g->best);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < g->n_members; i++) {
        struct member *m = &g->members[i];
        size_t root = m->root = root_of(g, i);
        m->score = -INFINITY;
        if (root == i || by_worth(m, &g->members[g->best[root]]) < 0)
            g->best[root] = i;
    }
    for (size_t i = 0; i < pairs->n; i++) {
        struct member *a = find(g, pairs->items[i].a), *b = find(g, pairs->items[i].b);
        if (a->gone || b->gone)
            continue;
        note_score(g, a, b, pairs->items[i].score);
        note_score(g, b, a, pairs->items[i].score);
    }
    for (size_t i = 0; i < g->n_members; i++) {
        struct member *best = &g->members[g->best[g->members[i].root]];
        best->kept = true;
        best->direct = false;
    }
    return DNS_OK;
}

/* Members by group, groups by what they waste. */
static dns_status arrange(struct groups *g)
{
    dns_status status = dns_alloc(&g->items, g->n_members, sizeof *g->items);
    if (status != DNS_OK)
        return status;
    if (g->n_members > 1)
        qsort(g->members, g->n_members, sizeof *g->members, by_group);
    for (size_t i = 0, end; i < g->n_members; i = end) {
        struct group group = {.first = i};
        for (end = i; end < g->n_members && g->members[end].root == g->members[i].root; end++)
            group.surplus += g->members[end].direct ? g->members[end].meta.file_size : 0;
        group.n = end - i;
        if (group.n > 1)
            g->items[g->n++] = group;
    }
    if (g->n > 1)
        qsort(g->items, g->n, sizeof *g->items, by_surplus);
    return DNS_OK;
}

/* ---- writing ---- */

static const char *name_of(const struct member *m, char id[17])
{
    dns_id_text(m->id, id);
    return m->meta.imported ? m->meta.name : id;
}

/* What a person or a program can open: the path; of an imported row without one, its name. */
static const char *path_of(const struct member *m)
{
    return m->meta.path[0] != '\0' ? m->meta.path : m->meta.name;
}

static void put_text(const struct groups *g, const struct group *group, size_t number)
{
    printf("group %zu: %zu videos, %.1f MB in copies of the one to keep\n", number, group->n,
           (double)group->surplus / 1e6);
    for (size_t i = group->first; i < group->first + group->n; i++) {
        const struct member *m = &g->members[i];
        char score[16];
        snprintf(score, sizeof score,
                 m->kept     ? "keep"
                 : m->direct ? "%.3f"
                             : "(%.3f)",
                 (double)m->score);
        printf("  %-7s  %8.1f s  %5" PRIu32 "x%-5" PRIu32 "  %9.1f MB  %s%s\n", score,
               m->meta.duration, m->meta.width, m->meta.height, (double)m->meta.file_size / 1e6,
               path_of(m), m->meta.damaged ? "  (damaged)" : "");
    }
}

static void put_csv(const struct groups *g, const struct group *group, size_t number)
{
    for (size_t i = group->first; i < group->first + group->n; i++) {
        const struct member *m = &g->members[i];
        char id[17];
        printf("%zu,%s,", number, m->kept ? "yes" : "no");
        if (!m->kept)
            printf("%.6g", (double)m->score);
        printf(",%s,", m->kept ? "" : m->direct ? "yes" : "no");
        dns_csv_print(name_of(m, id));
        putchar(',');
        dns_csv_print(m->meta.path);
        printf(",%" PRIu64 ",%.3f,%" PRIu32 ",%" PRIu32 ",%s\n", m->meta.file_size,
               m->meta.duration, m->meta.width, m->meta.height, m->meta.damaged ? "yes" : "no");
    }
}

static void put_ndjson(const struct groups *g, const struct group *group, size_t number)
{
    dns_json_writer w = dns_json_writer_to(stdout, false);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "schema", "dnsel.group/1");
    dns_json_put_integer(&w, "group", (int64_t)number);
    dns_json_put_integer(&w, "surplus_bytes", (int64_t)group->surplus);
    dns_json_begin_array(&w, "videos");
    for (size_t i = group->first; i < group->first + group->n; i++) {
        const struct member *m = &g->members[i];
        char id[17];
        dns_json_begin_object(&w, NULL);
        dns_json_put_bool(&w, "keep", m->kept);
        dns_json_put_string(&w, "id", name_of(m, id));
        dns_json_put_string(&w, "path", m->meta.path);
        dns_json_put_number(&w, "score", m->kept ? (double)NAN : (double)m->score, 6);
        dns_json_put_bool(&w, "direct", m->direct);
        dns_json_put_integer(&w, "bytes", (int64_t)m->meta.file_size);
        dns_json_put_number(&w, "duration_s", m->meta.duration, 9);
        dns_json_put_integer(&w, "width", (int64_t)m->meta.width);
        dns_json_put_integer(&w, "height", (int64_t)m->meta.height);
        dns_json_put_bool(&w, "damaged", m->meta.damaged);
        dns_json_end_object(&w);
    }
    dns_json_end_array(&w);
    dns_json_end_object(&w);
    putchar('\n');
}

static void put_surplus(const struct groups *g, const struct group *group, char end)
{
    for (size_t i = group->first; i < group->first + group->n; i++)
        if (g->members[i].direct) {
            fputs(path_of(&g->members[i]), stdout);
            putchar(end);
        }
}

static void put_all(const struct groups *g, dns_groups_format format)
{
    if (format == DNS_GROUPS_CSV)
        puts("group,keep,score,direct,id,path,bytes,duration_s,width,height,damaged");
    for (size_t i = 0; i < g->n; i++)
        switch (format) {
        case DNS_GROUPS_TEXT:
            put_text(g, &g->items[i], i + 1);
            break;
        case DNS_GROUPS_CSV:
            put_csv(g, &g->items[i], i + 1);
            break;
        case DNS_GROUPS_NDJSON:
            put_ndjson(g, &g->items[i], i + 1);
            break;
        case DNS_GROUPS_SURPLUS:
        case DNS_GROUPS_SURPLUS_NULL:
            put_surplus(g, &g->items[i], format == DNS_GROUPS_SURPLUS ? '\n' : '\0');
            break;
        }
}

dns_status dns_groups_print(size_t *n, const dns_pair_list *pairs, dns_store *store,
                            dns_groups_format format)
{
    dns_status status = DNS_OK;
    struct groups g = {.members = NULL};
    dns_snapshot *snapshot = NULL;
    *n = 0;
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    if (pairs->n > 0) {
        DNS_TRY(gather(&g, pairs, snapshot));
        connect(&g, pairs);
        DNS_TRY(choose_kept(&g, pairs));
        DNS_TRY(arrange(&g));
    }
    put_all(&g, format);
    *n = g.n;
    if (fflush(stdout) != 0)
        status = dns_status_set_errno("standard output");
out:
    dns_snapshot_close(snapshot);
    dns_free(g.members);
    dns_free(g.best);
    dns_free(g.items);
    return status;
}
