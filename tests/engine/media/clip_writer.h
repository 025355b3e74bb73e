/* Writes tiny videos whose frames carry their number, so that a test can tell which frames it got.
 */
#ifndef TEST_CLIP_WRITER_H
#define TEST_CLIP_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libavcodec/avcodec.h>
#include <libavutil/frame.h>

/* Zeros mean the defaults: mpeg4, the container of the file's name, 64x48, yuv420p, 25 frames a
 * second, all of them 25, key frames 12 apart. */
typedef struct test_clip {
    const char *codec, *container;
    const char *encoder_options; /* "crf=20:preset=ultrafast" */
    const char *muxer_options;   /* "movflags=faststart" */
    int width, height, format;
    int n_frames, rate, gop, n_b_frames;
    const int64_t *stamps; /* milliseconds of each frame; the time base is then 1/1000 */
    bool without_stamps;   /* packets are written with none */
    bool keep_negative;    /* the muxer does not shift them to 0 */
    int turn;              /* clockwise degrees in the display matrix */
    AVRational aspect;     /* of a pixel */
    int colour_space, colour_range;
    int second_width, second_height;           /* of the later half of the frames */
    void (*paint)(AVFrame *frame, int number); /* NULL: the number in eight bars */
} test_clip;

/* Whether the encoder is there. */
bool test_has_encoder(const char *name);

/* Fails the test when the clip cannot be written. */
void test_clip_write(const char *path, const test_clip *clip);

/* Sound without pictures; `with_cover` attaches a picture (flac only). */
void test_sound_write(const char *path, bool with_cover);

/* The number in RGB pixels of a whole (stretched) frame. */
int test_frame_number(const uint8_t *pixels, size_t width, size_t height);

/* Fills a planar or packed frame of 8 bits with one colour, given as its samples in order of
 * components. */
void test_frame_fill(AVFrame *frame, const int samples[4]);

#endif
