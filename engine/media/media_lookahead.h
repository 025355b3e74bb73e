/*
 * Which packets need decoding at all. Packets are read one group ahead (from a key frame to the
 * next); those whose frames will be kept are known from their time stamps, and what no kept frame
 * depends on is left out.
 *
 * EXACT: the kept frames are the same as with full decoding. Left out are the packets after the
 * last kept one of a group when the next group refers to nothing before it (IDR; key frames of VP9,
 * AV1 and intra codecs), and, within a group, pictures that no other refers to (H.264 nal_ref_idc
 * 0, B pictures of MPEG-1/2). It gives up, and everything is decoded from there on, where a time
 * stamp is missing or out of order, a group is longer than it holds, the stream is interlaced (one
 * packet may be a field) or its codec is not one whose packets are frames one by one.
 */
#ifndef DNS_MEDIA_LOOKAHEAD_H
#define DNS_MEDIA_LOOKAHEAD_H

#include "media_sampler.h"
#include "media_source.h"

/* What to do with a packet and its frame. It travels through the decoder as
 * AVCodecContext.reordered_opaque. */
typedef enum dns_verdict {
    DNS_VERDICT_ASK = 1,  /* decode; ask the sampler when the frame comes out */
    DNS_VERDICT_ASK_KEY,  /* the same for a key frame */
    DNS_VERDICT_KEEP,     /* decode and keep */
    DNS_VERDICT_PASS,     /* decode, for others depend on it; not kept */
    DNS_VERDICT_PASS_REF, /* the same, unless nothing refers to it */
    DNS_VERDICT_DROP      /* not needed */
} dns_verdict;

typedef struct dns_lookahead dns_lookahead;

/* `sampler` is the caller's, who asks it only for frames whose verdict is to ask. */
dns_status dns_lookahead_create(dns_lookahead **out, dns_source *source, dns_sampler *sampler,
                                const dns_clock *clock);
void dns_lookahead_free(dns_lookahead *lookahead);

/* The next packet to decode, borrowed until the next call; DNS_EOF at the end. */
dns_status dns_lookahead_next(dns_lookahead *lookahead, AVPacket **packet, dns_verdict *verdict);

/* Something was damaged: decode everything from the next group on, for another frame may have to
 * step in. */
void dns_lookahead_give_up(dns_lookahead *lookahead);

/* The time stamp at which the stream starts; false while it is unknown. */
bool dns_lookahead_origin(const dns_lookahead *lookahead, int64_t *origin);

#endif
