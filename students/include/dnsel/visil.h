/*
 * Networks that compare two videos frame by frame: the ViSiL teacher, the fine attention student
 * and the fine binary student (docs/networks/teacher.md). They are one network with options:
 *
 *     region vectors X [T, R, D] -> weight or code of each -> frame-to-frame similarity [Tq, Tt] ->
 * comparator [Tq/4, Tt/4] -> clip to [-1, 1] -> one score
 *
 *                     weight of a region     code of a region        padding of the comparator
 *     teacher         u.x/2 + 1/2            -                       edge
 *     fine attention  sigmoid(u.tanh(Wx+b))  -                       zeros
 *     fine binary     -                      sign(norm(x) W)         zeros
 *
 * All sizes come from the weights. See docs/networks/.
 */
#ifndef DNSEL_VISIL_H
#define DNSEL_VISIL_H

#include <stdbool.h>

#include "dnsel/comparator.h"
#include "dnsel/mapcnn.h"
#include "dnsel/model.h"
#include "dnsel/parameters.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the network ---- */

typedef enum dns_visil_gate { DNS_GATE_NONE, DNS_GATE_STUDENT, DNS_GATE_TEACHER } dns_visil_gate;

typedef struct dns_visil_shape {
    dns_visil_gate gate;
    bool codes; /* binary; then there is no gate */
    dns_padding padding;
    size_t dim;       /* D; 0 for a comparator alone whose D is not known yet (dns_visil_set_dim) */
    size_t hidden;    /* of the students' gate: rows of W */
    size_t code_bits; /* of binary codes: columns of W */
    size_t channels[3]; /* of the comparator; all 0: none, for codes alone */
} dns_visil_shape;

/* Immutable but for training: shared freely between threads and sessions, which it must outlive. */
typedef struct dns_visil dns_visil;

/* *out = a network with all weights 0, to be initialised or loaded. With `training` it has room for
 * gradients. Errors: DNS_ERR_ARG for a shape that contradicts itself. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_create(dns_visil **out, const dns_visil_shape *shape,
                                                   dns_similarity_rule rule, bool training);
DNS_API void dns_visil_free(dns_visil *net);

/*
 * The network whose tensors, under their published names (docs/networks/teacher.md), stand in the
 * file behind `prefix`. Which of them it is, is told by the names that are there: `binarization.W`;
 * `attention.transform.weight`; a comparator called `video_comperator` (edge padding) or
 * `visil_head` (zeros). A teacher's u that is not of unit length is divided by its length
 * (docs/networks/teacher.md). `binarization.W` by itself is a network without a comparator: the
 * frame-to-frame similarity of its codes is the map that the score is made of. Errors:
 * DNS_ERR_NOTFOUND, DNS_ERR_SHAPE, DNS_ERR_RANGE, all naming the tensor; DNS_ERR_UNSUPPORTED for
 * kernels other than 3x3 and 1x1.
 */
DNS_API DNS_MUST_CHECK dns_status dns_visil_load(dns_visil **out, const dns_safetensors *file,
                                                 const char *prefix, dns_similarity_rule rule,
                                                 bool training);

/* Tells a comparator alone, whose weights do not say it, the D of its regions. DNS_ERR_SHAPE when D
 * is known and another. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_set_dim(dns_visil *net, size_t dim);

/* As dns_visil_load from a section of a model, "teacher", "fine_attention" or "fine_binary", with
 * the model's rule; "dim" in the section is the D of a comparator alone. Errors also:
 * DNS_ERR_UNSUPPORTED when the model has no such section, DNS_ERR_FORMAT when "dim" is missing,
 * DNS_ERR_SHAPE when it is not that of the weights. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_from_model(dns_visil **out, const dns_model *model,
                                                       const char *section);

DNS_API const dns_visil_shape *dns_visil_shape_of(const dns_visil *net);
DNS_API dns_similarity_rule dns_visil_rule(const dns_visil *net);
/* Length of the teacher's u as it was stored when loading changed it; 0 when it did not. */
DNS_API double dns_visil_rescaled_from(const dns_visil *net);

/* The parameters, for the optimiser, and for saving under the published names. */
DNS_API dns_parameters *dns_visil_parameters(const dns_visil *net);

/* First values. The comparator: Xavier uniform, biases 0 (published); with `identity` it then
 * starts as "plain Chamfer" (docs/networks/teacher.md), its first taps multiplied by `identity` (1;
 * 4 behind a students' gate, whose weights begin near 1/2, so that products of two begin near 1/4).
 * 0: Xavier alone. Gates: uniform; u of the teacher a random unit vector; W of the codes a random
 * rotation. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_initialise(dns_visil *net, double identity,
                                                       dns_random *random);

/* *out = the codes of a binary network alone, compared without its comparator. Errors: DNS_ERR_ARG
 * for a network without codes. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_codes_alone(dns_visil **out, const dns_visil *net);

/* After each step of the optimiser: the teacher's u back to unit length, u / max(||u||, 1e-6).
 * Nothing for the others. */
DNS_API void dns_visil_project(dns_visil *net);

/* ---- comparing (docs/networks/teacher.md) ---- */

/* What is stored of a video: weighted region vectors [n_frames, n_regions, dim] as F32, F16, or I8
 * with one scale a region (x = scale * i8); or codes as U8, dns_code_bytes(code_bits) a region.
 * Rows of the last dimension are dense. Frames that stand for several are compared once and count
 * as often: to the bit as if they were repeated. */
typedef struct dns_visil_video {
    dns_dtype dtype;
    size_t n_frames, n_regions; /* stored frames */
    const void *data;
    const float *scales;  /* [n_frames, n_regions], I8 only */
    size_t row_bytes;     /* of a code; fewer than the network makes: its first bits. 0: all */
    const uint16_t *runs; /* [n_frames] frames that each stands for; NULL: itself (dnsel/runs.h) */
} dns_visil_video;

/* Scratch for one thread at a time. */
typedef struct dns_visil_session dns_visil_session;

/* The comparator's weights are read now: later training does not change what this session compares
 * with. Errors: DNS_ERR_ARG when D is not known. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_session_create(dns_visil_session **out,
                                                           const dns_visil *net);
DNS_API void dns_visil_session_free(dns_visil_session *session);

/* The form in which sessions compare; they begin with DNS_MAPCNN_F32. The weights are read again.
 */
DNS_API DNS_MUST_CHECK dns_status dns_visil_set_comparator(dns_visil_session *session,
                                                           dns_mapcnn_form form);

/* Frames that a video of `n_frames` is extended to by appending itself: at least 4
 * (docs/networks/teacher.md: 1, 2 -> 4, 3 -> 6). */
DNS_API size_t dns_visil_extended(size_t n_frames);

/* Bytes of the stored form of a video of `n_frames` before extension. */
DNS_API size_t dns_visil_bytes(const dns_visil *net, size_t n_frames, size_t n_regions,
                               dns_dtype dtype);

/*
 * The stored form of X [n_frames, n_regions, dim], extended: written to `data` [dns_visil_bytes],
 * scales [dns_visil_extended(n_frames), n_regions] for I8, otherwise NULL. dtype is U8 for a
 * network with codes; F32, F16 or I8 for others. A network with codes also has a form for queries
 * alone, F32 [.., code_bits]: z / sum |z| of the z whose signs are the code, so that each bit
 * counts by how certain it was (the asymmetric comparison). Errors: DNS_ERR_ARG for no frames ("no
 * frames") and a dtype that does not fit; DNS_ERR_RANGE when X is not finite.
 */
DNS_API DNS_MUST_CHECK dns_status dns_visil_index(dns_visil_session *session, void *data,
                                                  float *scales, const float *x, size_t n_frames,
                                                  size_t n_regions, dns_dtype dtype);

/* The query of the comparisons that follow; its data must stay until the next one. It is prepared
 * for targets of its own form. Errors: DNS_ERR_SHAPE below 4 frames or for codes longer than the
 * network's, DNS_ERR_ARG for a dtype that the network does not make. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_set_query(dns_visil_session *session,
                                                      const dns_visil_video *query);

/* The same query as `from` has, a session of the same network, as it was prepared there; until
 * `from` gets another one or is freed. */
DNS_API void dns_visil_borrow_query(dns_visil_session *session, const dns_visil_session *from);

/*
 * *score = s(query, target) in [-1, 1]. A target longer than a chunk is cut into chunks of 2048
 * frames; those shorter than 4 frames are left out, and the score is the mean over the others; the
 * query is never cut. Of codes of different lengths the first bits are compared that both have.
 * Errors: DNS_ERR_SHAPE as there or when the regions are not as many as the query's; DNS_ERR_ARG
 * without a query or for the dtype.
 */
DNS_API DNS_MUST_CHECK dns_status dns_visil_compare(dns_visil_session *session, float *score,
                                                    const dns_visil_video *target);

/*
 * The same for who only wants scores of at least `floor`: *score is that of dns_visil_compare, bit
 * for bit, or -INFINITY for one below the floor. The comparator's output is made row by row, and
 * left as soon as ones in all rows that are missing would not lift the score to the floor. Rows
 * bound nothing where the direction is TARGET or MAX: then all is compared.
 */
DNS_API DNS_MUST_CHECK dns_status dns_visil_compare_above(dns_visil_session *session, float *score,
                                                          float floor,
                                                          const dns_visil_video *target);

/* Frames in a chunk, for the comparisons that follow: 2048 at first, at least 4. */
DNS_API void dns_visil_set_chunk(dns_visil_session *session, size_t n_frames);

/* What the last comparison saw of its last chunk; borrowed until the next call. */
typedef struct dns_visil_maps {
    const float *frames; /* frame-to-frame similarity [n_query, n_target] */
    size_t n_query, n_target;
    const float *comparator;  /* [n_rows, n_columns], not clipped; without a comparator = frames */
    size_t n_rows, n_columns; /* n_query / 4 and n_target / 4; without a comparator all of them */
} dns_visil_maps;

DNS_API dns_visil_maps dns_visil_last_maps(const dns_visil_session *session);

#ifdef __cplusplus
}
#endif

#endif
