/* Reads a clip through dnsel/media.h and notes what came. */
#ifndef TEST_CLIP_READER_H
#define TEST_CLIP_READER_H

#include <math.h>

#include "dnsel/media.h"

#define assert_near(a, b, tolerance)                                 \
    do {                                                             \
        double near_a = (a), near_b = (b);                           \
        if (!(fabs(near_a - near_b) <= (tolerance)))                 \
            fail_msg("%s: %.9g, expected %.9g", #a, near_a, near_b); \
    } while (0)

enum { TEST_MAX_FRAMES = 512 };

typedef struct test_reading {
    size_t n;
    int numbers[TEST_MAX_FRAMES]; /* as test_clip_write painted them */
    double times[TEST_MAX_FRAMES];
    uint64_t checksums[TEST_MAX_FRAMES]; /* of the pixels */
    dns_status end;                      /* DNS_EOF, or the error; that of the opening too */
    dns_media_facts facts;               /* at the end; without the borrowed names */
} test_reading;

/* Stretched to 64x64 in the given mode, as numbers are read from whole frames. */
dns_media_options test_options(dns_sampling sampling);

void test_read(test_reading *reading, const char *path, const dns_media_options *options);

/* The path of a file in the test's folder, in a static buffer. */
const char *test_path(const char *name);

/* Fails unless just these frames came, and then the end. Times are frame/rate; rate 0: not looked
 * at. */
void test_assert_frames(const test_reading *reading, const int *numbers, size_t n, double rate);

/* The first frame of a file, in pixels[size][size][3]; fails the test when there is none. */
void test_first_frame(uint8_t *pixels, const char *path, const dns_media_options *options);

#endif
