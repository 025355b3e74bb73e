#include "media_lookahead.h"

#include <math.h>
#include <stdlib.h>

#include <libavcodec/avcodec.h>

#include "dnsel/memory.h"

enum { MAX_PACKETS = 2048, MAX_BYTES = 64 << 20 };

typedef struct entry {
    AVPacket *packet;
    int64_t stamp;
    dns_verdict verdict;
    bool is_key, is_hidden; /* hidden: decoded, but not shown (cut by an edit list, VP8 alternate
                               reference) */
} entry;

struct dns_lookahead {
    dns_source *source;
    dns_sampler *sampler;
    dns_clock clock; /* a copy: stamps to seconds */
    bool is_planning, has_skippable_pictures, packets_are_frames;
    bool at_end, has_latest;
    int64_t latest; /* largest stamp of the groups before */
    size_t n, next; /* entries; the one to hand out */
    entry *group;
    entry **by_time;   /* scratch: the group in order of presentation */
    entry following;   /* first packet of the next group, packet NULL when there is none */
    AVPacket *current; /* handed out */
};

/* Codecs of which a packet gives exactly one frame, or visibly none. */
static bool gives_one_frame_a_packet(const AVCodecParameters *p)
{
    switch (p->codec_id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO:
        return p->field_order == AV_FIELD_PROGRESSIVE || p->field_order == AV_FIELD_UNKNOWN;
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_VP9:
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_MJPEG:
    case AV_CODEC_ID_PRORES:
    case AV_CODEC_ID_DNXHD:
    case AV_CODEC_ID_FFV1:
    case AV_CODEC_ID_RAWVIDEO:
        return true;
    default:
        return false;
    }
}

dns_status dns_lookahead_create(dns_lookahead **out, dns_source *source, dns_sampler *sampler,
                                const dns_clock *clock)
{
    dns_status status = DNS_OK;
    dns_lookahead *l = NULL;
    const AVCodecParameters *p = source->stream->codecpar;
    *out = NULL;
    DNS_TRY(dns_alloc(&l, 1, sizeof *l));
    l->source = source;
    l->sampler = sampler;
    l->clock = *clock;
    l->packets_are_frames = gives_one_frame_a_packet(p);
    l->has_skippable_pictures = p->codec_id == AV_CODEC_ID_H264 || p->codec_id == AV_CODEC_ID_VP8 ||
                                p->codec_id == AV_CODEC_ID_MPEG1VIDEO ||
                                p->codec_id == AV_CODEC_ID_MPEG2VIDEO;
    l->is_planning = sampler->sampling == DNS_SAMPLING_KEYFRAME ||
                     (sampler->sampling == DNS_SAMPLING_EXACT && l->packets_are_frames);
    DNS_TRY(dns_alloc(&l->group, MAX_PACKETS, sizeof *l->group));
    DNS_TRY(dns_alloc(&l->by_time, MAX_PACKETS, sizeof *l->by_time));
    *out = l;
    l = NULL;
out:
    dns_lookahead_free(l);
    return status;
}

void dns_lookahead_free(dns_lookahead *l)
{
    if (l == NULL)
        return;
    for (size_t i = l->next; l->group != NULL && i < l->n; i++)
        av_packet_free(&l->group[i].packet);
    av_packet_free(&l->following.packet);
    av_packet_free(&l->current);
    dns_free(l->group);
    dns_free(l->by_time);
    dns_free(l);
}

void dns_lookahead_give_up(dns_lookahead *l)
{
    l->is_planning = false;
}

bool dns_lookahead_origin(const dns_lookahead *l, int64_t *origin)
{
    *origin = l->clock.origin;
    return l->clock.has_origin;
}

/* Type of the first slice in an H.264 or HEVC packet, -1 when there is none. */
static int first_slice_type(const AVPacket *packet, const AVCodecParameters *p)
{
    bool is_hevc = p->codec_id == AV_CODEC_ID_HEVC;
    bool has_lengths = p->extradata_size > (is_hevc ? 22 : 6) && p->extradata[0] == 1;
    size_t length_size = has_lengths ? (p->extradata[is_hevc ? 21 : 4] & 3u) + 1 : 0;
    const uint8_t *at = packet->data, *end = packet->data + packet->size;
    while (at < end) {
        if (has_lengths) {
            size_t length = 0;
            if ((size_t)(end - at) <= length_size)
                return -1;
            for (size_t i = 0; i < length_size; i++)
                length = length << 8 | *at++;
            int type = is_hevc ? *at >> 1 & 63 : *at & 31;
            if (is_hevc ? type < 32 : type >= 1 && type <= 5)
                return type;
            if (length > (size_t)(end - at))
                return -1;
            at += length;
        } else {
            while (end - at > 3 && !(at[0] == 0 && at[1] == 0 && at[2] == 1))
                at++;
            if (end - at <= 3)
                return -1;
            at += 3;
            int type = is_hevc ? *at >> 1 & 63 : *at & 31;
            if (is_hevc ? type < 32 : type >= 1 && type <= 5)
                return type;
        }
    }
    return -1;
}

/* Whether nothing from this key frame on refers to anything before it. */
static bool starts_anew(const AVPacket *packet, const AVCodecParameters *p)
{
    switch (p->codec_id) {
    case AV_CODEC_ID_H264:
        return first_slice_type(packet, p) == 5; /* IDR */
    case AV_CODEC_ID_HEVC: {
        int type = first_slice_type(packet, p);
        return type == 19 || type == 20; /* IDR_W_RADL, IDR_N_LP */
    }
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO:
        return false; /* groups are mostly open */
    default:
        return true;
    }
}

static dns_status read_entry(dns_lookahead *l, entry *e)
{
    *e = (entry){.packet = av_packet_alloc()};
    if (e->packet == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "no memory for a packet");
    dns_status status = dns_source_read(l->source, e->packet);
    if (status != DNS_OK) {
        av_packet_free(&e->packet);
        l->at_end = status == DNS_EOF;
        return status;
    }
    e->is_key = e->packet->flags & AV_PKT_FLAG_KEY;
    e->is_hidden = e->packet->flags & AV_PKT_FLAG_DISCARD ||
                   (l->source->stream->codecpar->codec_id == AV_CODEC_ID_VP8 &&
                    !(e->packet->data[0] & 0x10)); /* show_frame */
    e->stamp = e->packet->pts;
    if (e->stamp == AV_NOPTS_VALUE && l->sampler->sampling == DNS_SAMPLING_KEYFRAME)
        e->stamp = e->packet->dts;
    e->verdict = e->is_key ? DNS_VERDICT_ASK_KEY : DNS_VERDICT_ASK;
    return DNS_OK;
}

/* Reads up to the next key frame. *is_whole is false when the group is too long to be held. */
static dns_status read_group(dns_lookahead *l, bool *is_whole)
{
    int64_t n_bytes = 0;
    *is_whole = true;
    l->n = l->next = 0;
    if (l->following.packet != NULL)
        l->group[l->n++] = l->following;
    l->following = (entry){0};
    for (;;) {
        entry e;
        dns_status status = read_entry(l, &e);
        if (status == DNS_EOF)
            return DNS_OK;
        if (status != DNS_OK)
            return status;
        if (e.is_key && l->n > 0) {
            l->following = e;
            return DNS_OK;
        }
        l->group[l->n++] = e;
        n_bytes += e.packet->size;
        if (l->n == MAX_PACKETS || n_bytes > MAX_BYTES) {
            *is_whole = false;
            return DNS_OK;
        }
    }
}

static int compare_stamps(const void *a, const void *b)
{
    int64_t x = (*(entry *const *)a)->stamp, y = (*(entry *const *)b)->stamp;
    return x < y ? -1 : x > y;
}

/* Sorts what will be seen by time; false when the stamps are no base for a plan. */
static bool arrange(dns_lookahead *l, size_t *n_seen)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->group[i].stamp == AV_NOPTS_VALUE)
            return false;
        if (!l->group[i].is_hidden)
            l->by_time[n++] = &l->group[i];
    }
    *n_seen = n;
    qsort(l->by_time, n, sizeof *l->by_time, compare_stamps);
    for (size_t i = 1; i < n; i++)
        if (l->by_time[i]->stamp == l->by_time[i - 1]->stamp)
            return false;
    if (n == 0)
        return true;
    if (l->has_latest && l->by_time[0]->stamp <= l->latest)
        return false;
    l->has_latest = true;
    l->latest = l->by_time[n - 1]->stamp;
    if (!l->clock.has_origin) {
        /* Pictures shown before the first key frame refer to what is not there. */
        size_t first = 0;
        while (first < n - 1 && l->by_time[first]->stamp < l->group[0].stamp)
            first++;
        l->clock.origin = l->by_time[first]->stamp;
        l->clock.has_origin = true;
    }
    return true;
}

/* Gives every packet of the group its verdict; false when that cannot be done. */
static bool judge_group(dns_lookahead *l)
{
    size_t n_seen, end = 0; /* end: one past the last packet that is needed */
    bool keys_only = l->sampler->sampling == DNS_SAMPLING_KEYFRAME;
    if (!l->group[0].is_key || !arrange(l, &n_seen))
        return false;
    bool is_last = l->following.packet == NULL;
    double next_key = INFINITY;
    if (!is_last && l->following.stamp != AV_NOPTS_VALUE)
        next_key = dns_clock_seconds(&l->clock, l->following.stamp);
    for (size_t i = 0; i < l->n; i++)
        l->group[i].verdict = l->has_skippable_pictures ? DNS_VERDICT_PASS_REF : DNS_VERDICT_PASS;
    for (size_t i = 0; i < n_seen; i++) {
        entry *e = l->by_time[i];
        bool leads = keys_only && e->stamp < l->group[0].stamp;
        double time = dns_clock_seconds(&l->clock, e->stamp);
        if (leads)
            e->verdict = DNS_VERDICT_DROP; /* refers to the group before, which was left out */
        if (leads || !dns_sampler_keep(l->sampler, time, e->is_key, next_key))
            continue;
        e->verdict = DNS_VERDICT_KEEP;
        size_t position = (size_t)(e - l->group);
        end = position >= end ? position + 1 : end;
    }
    bool may_drop =
        is_last || keys_only || starts_anew(l->following.packet, l->source->stream->codecpar);
    for (size_t i = end; may_drop && i < l->n; i++)
        l->group[i].verdict = DNS_VERDICT_DROP;
    return true;
}

/* Takes the next packet without a plan. */
static dns_status take_one(dns_lookahead *l)
{
    l->n = l->next = 0;
    if (l->following.packet != NULL) {
        l->group[l->n++] = l->following;
        l->following = (entry){0};
        return DNS_OK;
    }
    dns_status status = read_entry(l, &l->group[0]);
    l->n = status == DNS_OK;
    return status;
}

dns_status dns_lookahead_next(dns_lookahead *l, AVPacket **packet, dns_verdict *verdict)
{
    av_packet_free(&l->current);
    for (;;) {
        while (l->next < l->n) {
            entry e = l->group[l->next++];
            if (e.verdict == DNS_VERDICT_DROP) {
                av_packet_free(&e.packet);
                continue;
            }
            *packet = l->current = e.packet;
            *verdict = e.verdict;
            return DNS_OK;
        }
        if (l->at_end && l->following.packet == NULL)
            return DNS_EOF;
        bool is_whole = true;
        dns_status status = l->is_planning ? read_group(l, &is_whole) : take_one(l);
        if (status != DNS_OK)
            return status;
        if (l->is_planning && l->n > 0)
            l->is_planning = is_whole && judge_group(l);
    }
}
