#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/training_set.h"

void dns_clips_clear(dns_clips *clips)
{
    clips->n = 0;
    clips->n_all = 0;
}

void dns_clips_free(dns_clips *clips)
{
    dns_free(clips->n_frames);
    dns_free(clips->frames);
    *clips = (dns_clips){0};
}

dns_status dns_clips_begin(dns_clips *clips)
{
    dns_status status =
        dns_reserve(&clips->n_frames, &clips->capacity, clips->n + 1, sizeof *clips->n_frames);
    if (status == DNS_OK)
        clips->n_frames[clips->n++] = 0;
    return status;
}

dns_status dns_clips_add(dns_clips *clips, size_t video, size_t view, size_t frame)
{
    dns_status status = dns_reserve(&clips->frames, &clips->frame_capacity, clips->n_all + 1,
                                    sizeof *clips->frames);
    if (status != DNS_OK)
        return status;
    clips->frames[clips->n_all++] =
        (dns_clip_frame){(uint32_t)video, (uint32_t)view, (uint32_t)frame};
    clips->n_frames[clips->n - 1]++;
    return DNS_OK;
}

dns_status dns_clips_wrap(dns_clips *clips)
{
    dns_status status = DNS_OK;
    size_t n = clips->n_frames[clips->n - 1], first = clips->n_all - n;
    for (size_t i = 0; status == DNS_OK && (n + i) % 4 != 0; i++) {
        const dns_clip_frame f = clips->frames[first + i % n];
        status = dns_clips_add(clips, f.video, f.view, f.frame);
    }
    return status;
}

size_t dns_clips_first(const dns_clips *clips, size_t clip)
{
    size_t first = 0;
    for (size_t i = 0; i < clip; i++)
        first += clips->n_frames[i];
    return first;
}

void dns_clips_read_one(float *x, const dns_training_set *set, const dns_clips *clips, size_t clip)
{
    size_t values = dns_training_set_n_regions(set) * dns_training_set_dim(set);
    const dns_clip_frame *f = clips->frames + dns_clips_first(clips, clip);
    for (size_t i = 0; i < clips->n_frames[clip]; i++)
        dns_training_set_read(x + i * values, set, f[i].video, f[i].view, f[i].frame, 1);
}

struct reading {
    float *x;
    const dns_training_set *set;
    const dns_clips *clips;
};

static dns_status read_task(void *payload, size_t clip, size_t worker)
{
    (void)worker;
    const struct reading *r = payload;
    size_t values = dns_training_set_n_regions(r->set) * dns_training_set_dim(r->set);
    dns_clips_read_one(r->x + dns_clips_first(r->clips, clip) * values, r->set, r->clips, clip);
    return DNS_OK;
}

dns_status dns_clips_read(float *x, const dns_training_set *set, const dns_clips *clips,
                          dns_pool *pool)
{
    struct reading r = {x, set, clips};
    return dns_pool_run(pool, clips->n, read_task, &r);
}
