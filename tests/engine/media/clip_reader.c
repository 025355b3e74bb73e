#include "clip_reader.h"

#include <stdio.h>
#include <string.h>

#include "clip_writer.h"
#include "dnsel/file.h"
#include "support.h"

dns_media_options test_options(dns_sampling sampling)
{
    dns_media_options options = dns_media_options_default();
    options.sampling = sampling;
    options.geometry = DNS_GEOMETRY_STRETCH;
    options.size = 64;
    return options;
}

void test_read(test_reading *r, const char *path, const dns_media_options *options)
{
    dns_media *media = NULL;
    dns_frame frame;
    *r = (test_reading){0};
    r->end = dns_media_open(&media, path, options);
    if (r->end != DNS_OK) {
        assert_null(media);
        return;
    }
    double latest = -1;
    while ((r->end = dns_media_next(media, &frame)) == DNS_OK) {
        assert_true(r->n < TEST_MAX_FRAMES);
        assert_true(frame.time > latest && frame.width == options->size &&
                    frame.height == options->size);
        latest = frame.time;
        r->numbers[r->n] = test_frame_number(frame.pixels, frame.width, frame.height);
        r->checksums[r->n] = dns_checksum(frame.pixels, frame.width * frame.height * 3);
        r->times[r->n++] = frame.time;
    }
    assert_int_equal(dns_media_next(media, &frame), r->end); /* and so ever after */
    assert_null(frame.pixels);
    r->facts = dns_media_info(media);
    r->facts.container = r->facts.codec = NULL;
    assert_int_equal(r->facts.n_frames, r->n);
    dns_media_close(media);
}

const char *test_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

void test_assert_frames(const test_reading *r, const int *numbers, size_t n, double rate)
{
    char got[256] = "";
    for (size_t i = 0; i < r->n && i < 24; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), " %d@%.3f", r->numbers[i],
                 r->times[i]);
    if (r->end != DNS_EOF)
        fail_msg("%s: %s", dns_status_name(r->end), dns_status_message());
    if (r->n != n)
        fail_msg("%zu frames (%s), expected %zu", r->n, got, n);
    for (size_t i = 0; i < n; i++) {
        if (r->numbers[i] != numbers[i])
            fail_msg("frames%s: the one at %zu should be %d", got, i, numbers[i]);
        if (rate > 0)
            assert_near(r->times[i], numbers[i] / rate, 0.0011);
    }
}

void test_first_frame(uint8_t *pixels, const char *path, const dns_media_options *options)
{
    dns_media *media = NULL;
    dns_frame frame;
    assert_ok(dns_media_open(&media, path, options));
    assert_ok(dns_media_next(media, &frame));
    memcpy(pixels, frame.pixels, frame.width * frame.height * 3);
    dns_media_close(media);
}
