#include "pictures.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/edits.h"
#include "dnsel/memory.h"

/* Larger than the 224 of the networks, so that crops keep some detail. */
enum { SIDE = 288 };

struct reading {
    const dns_file_list *list;
    const dns_training_pictures_options *o;
    dns_training_pictures *out;
    size_t *file_scene;    /* [files] */
    uint8_t **file_pixels; /* [files]: up to per_video pictures */
    size_t *file_n;
    pthread_mutex_t lock;
    size_t n_done;
};

/* Keeps `per_video` of the frames, evenly spread: when twice as many have come, every second one
 * goes. */
static dns_status read_file(struct reading *r, size_t file)
{
    dns_status status = DNS_OK;
    dns_media *media = NULL;
    dns_frame frame;
    dns_media_options options = dns_media_options_default();
    size_t most = 2 * r->o->per_video, bytes = (size_t)SIDE * SIDE * 3, n = 0, stride = 1,
           n_seen = 0;
    uint8_t *kept = NULL;
    options.size = options.short_side = SIDE;
    options.cancel = r->o->cancel;
    DNS_TRY(dns_alloc(&kept, most, bytes));
    DNS_TRY(dns_media_open(&media, r->list->paths[file], &options));
    while ((status = dns_media_next(media, &frame)) == DNS_OK) {
        if (n_seen++ % stride != 0)
            continue;
        if (n == most) {
            for (size_t i = 0; 2 * i < n; i++)
                memmove(kept + i * bytes, kept + 2 * i * bytes, bytes);
            n /= 2;
            stride *= 2;
            if ((n_seen - 1) % stride != 0)
                continue;
        }
        memcpy(kept + n++ * bytes, frame.pixels, bytes);
    }
    if (status != DNS_EOF)
        goto out;
    status = DNS_OK;
    size_t wanted = n < r->o->per_video ? n : r->o->per_video;
    for (size_t i = 0; i < wanted; i++)
        memmove(kept + i * bytes, kept + (i * n / wanted) * bytes, bytes);
    r->file_n[file] = wanted;
    r->file_pixels[file] = kept;
    kept = NULL;
out:
    dns_media_close(media);
    dns_free(kept);
    return status;
}

static dns_status read_task(void *payload, size_t file, size_t worker)
{
    (void)worker;
    struct reading *r = payload;
    dns_status status = read_file(r, file);
    pthread_mutex_lock(&r->lock);
    if (status != DNS_OK && status != DNS_ERR_CANCELLED && status != DNS_ERR_NOMEM) {
        dns_logger_print(&r->o->logger, DNS_MESSAGE_WARNING, "left out %s: %s",
                         r->list->paths[file], dns_status_message());
        r->out->n_unreadable++;
        status = DNS_OK;
    }
    r->n_done++;
    if (r->o->progress.report != NULL)
        r->o->progress.report(r->o->progress.payload, r->n_done, r->list->n, "files");
    pthread_mutex_unlock(&r->lock);
    return status;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Files that the table puts into one group share a scene; each other file is its own. */
static dns_status find_scenes(struct reading *r)
{
    dns_status status = DNS_OK;
    dns_csv *table = NULL;
    size_t n = r->list->n;
    for (size_t i = 0; i < n; i++)
        r->file_scene[i] = i;
    if (r->o->scenes == NULL)
        return DNS_OK;
    DNS_TRY(dns_csv_read(&table, r->o->scenes));
    size_t file = dns_csv_column(table, "file"), group = dns_csv_column(table, "scene_group");
    if (file == SIZE_MAX || group == SIZE_MAX)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no columns 'file' and 'scene_group'", r->o->scenes);
    const char **groups = NULL;
    DNS_TRY(dns_alloc(&groups, n, sizeof *groups));
    for (size_t row = 0; row < dns_csv_rows(table); row++)
        for (size_t i = 0; i < n; i++)
            if (strcmp(name_of(r->list->paths[i]), dns_csv_field(table, row, file)) == 0)
                groups[i] = dns_csv_field(table, row, group);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i && groups[i] != NULL; j++)
            if (groups[j] != NULL && strcmp(groups[i], groups[j]) == 0) {
                r->file_scene[i] = r->file_scene[j];
                break;
            }
    dns_free(groups);
out:
    dns_csv_free(table);
    return status;
}

static dns_status gather(struct reading *r)
{
    dns_training_pictures *out = r->out;
    size_t bytes = (size_t)SIDE * SIDE * 3;
    for (size_t i = 0; i < r->list->n; i++)
        out->n += r->file_n[i];
    if (out->n == 0)
        return dns_status_set(DNS_ERR_NOTFOUND, "none of %zu files can be decoded", r->list->n);
    dns_status status = dns_alloc(&out->pixels, out->n, bytes);
    if (status == DNS_OK)
        status = dns_alloc(&out->scenes, out->n, sizeof *out->scenes);
    size_t n = 0;
    for (size_t i = 0; i < r->list->n && status == DNS_OK; i++)
        for (size_t k = 0; k < r->file_n[i]; k++) {
            memcpy(out->pixels + n * bytes, r->file_pixels[i] + k * bytes, bytes);
            out->scenes[n++] = r->file_scene[i];
        }
    return status;
}

dns_status dns_training_files(dns_file_list *out, const dns_string_list *videos,
                              const dns_string_list *photos)
{
    const dns_file_list_options any = {.all_files = true};
    dns_status status = DNS_OK;
    for (size_t i = 0; i < videos->n && status == DNS_OK; i++)
        status = dns_file_list_add(out, videos->items[i], NULL);
    for (size_t i = 0; i < photos->n && status == DNS_OK; i++)
        status = dns_file_list_add(out, photos->items[i], &any);
    return status == DNS_OK ? dns_file_list_unique(out) : status;
}

dns_status dns_training_pictures_read(dns_training_pictures *out, const dns_file_list *list,
                                      const dns_training_pictures_options *options)
{
    dns_status status = DNS_OK;
    struct reading r = {.list = list, .o = options, .out = out};
    *out = (dns_training_pictures){
        .side = SIDE, .n_files = list->n, .fit = options->media, .seed = options->seed};
    pthread_mutex_init(&r.lock, NULL);
    DNS_TRY(dns_alloc(&r.file_scene, list->n, sizeof *r.file_scene));
    DNS_TRY(dns_alloc(&r.file_pixels, list->n, sizeof *r.file_pixels));
    DNS_TRY(dns_alloc(&r.file_n, list->n, sizeof *r.file_n));
    DNS_TRY(find_scenes(&r));
    DNS_TRY(dns_pool_run(options->pool, list->n, read_task, &r));
    DNS_TRY(gather(&r));
out:
    for (size_t i = 0; r.file_pixels != NULL && i < list->n; i++)
        dns_free(r.file_pixels[i]);
    dns_free(r.file_pixels);
    dns_free(r.file_n);
    dns_free(r.file_scene);
    pthread_mutex_destroy(&r.lock);
    if (status != DNS_OK)
        dns_training_pictures_free(out);
    return status;
}

void dns_training_pictures_free(dns_training_pictures *p)
{
    dns_free(p->pixels);
    dns_free(p->scenes);
    p->pixels = NULL;
    p->scenes = NULL;
    p->n = 0;
}

static dns_pictures borrow(const dns_training_pictures *p, size_t picture)
{
    return (dns_pictures){.pixels = p->pixels + picture * p->side * p->side * 3,
                          .n = 1,
                          .width = p->side,
                          .height = p->side};
}

/* One drawn edit; other footage, where it is wanted, is another picture. */
static dns_status edit_once(dns_pictures *out, const dns_training_pictures *p,
                            const dns_pictures *in, dns_random *random)
{
    static const dns_edit_kind kinds[] = {
        DNS_EDIT_REENCODE, DNS_EDIT_CROP,  DNS_EDIT_FLIP,  DNS_EDIT_ROTATE,   DNS_EDIT_OVERLAY,
        DNS_EDIT_COLOUR,   DNS_EDIT_BLUR,  DNS_EDIT_PAD,   DNS_EDIT_PIXELATE, DNS_EDIT_PIP,
        DNS_EDIT_MIX_A,    DNS_EDIT_MIX_B, DNS_EDIT_MIX_C, DNS_EDIT_CROP,     DNS_EDIT_PIP};
    dns_edit_plan plan;
    dns_edit_kind kind = kinds[dns_random_below(random, sizeof kinds / sizeof kinds[0])];
    const dns_pictures host = borrow(p, dns_random_below(random, p->n));
    dns_edit_draw(&plan, kind, in->width, in->height, random);
    return dns_edit_apply_pictures(out, in, plan.uses_host ? &host : NULL, &plan);
}

dns_status dns_training_view(void *payload, uint8_t *frame, size_t picture, size_t view,
                             size_t worker)
{
    (void)worker;
    const dns_training_pictures *p = payload;
    dns_status status = DNS_OK;
    dns_random random = dns_random_stream(p->seed, picture * 4096 + view);
    const dns_pictures original = borrow(p, picture);
    dns_pictures once = {0}, twice = {0}, fitted = {0};
    const dns_pictures *edited = &original;
    if (view > 0) {
        DNS_TRY(edit_once(&once, p, edited, &random));
        edited = &once;
    }
    if (view > 0 && dns_random_below(&random, 3) > 0 && once.width >= 16 && once.height >= 16) {
        DNS_TRY(edit_once(&twice, p, edited, &random));
        edited = &twice;
    }
    DNS_TRY(dns_pictures_fit(&fitted, edited, &p->fit));
    memcpy(frame, fitted.pixels, fitted.width * fitted.height * 3);
out:
    dns_pictures_free(&once);
    dns_pictures_free(&twice);
    dns_pictures_free(&fitted);
    return status;
}
