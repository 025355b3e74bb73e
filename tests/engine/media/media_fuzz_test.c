/* Damaged copies of tiny clips: any frames, any error, but no crash and an end. */
#include <string.h>

#include "clip_reader.h"
#include "clip_writer.h"
#include "dnsel/file.h"
#include "support.h"

static const char *path;
static unsigned round_number;

static void read_damaged(const uint8_t *bytes, size_t size)
{
    dns_media *media = NULL;
    dns_frame frame;
    dns_media_options o = test_options((dns_sampling)(round_number % 3));
    o.interpolation = (dns_interpolation)(round_number / 3 % 3);
    o.geometry = (dns_geometry)(round_number / 9 % 2);
    o.short_side = 64;
    o.size = 32;
    o.max_pixels = 1 << 18;
    o.max_frames = 50;
    o.max_seconds = 10;
    round_number++;
    assert_ok(dns_file_write(path, bytes, size));
    dns_status status = dns_media_open(&media, path, &o);
    while (status == DNS_OK)
        status = dns_media_next(media, &frame);
    assert_true(status < 0);
    assert_int_not_equal(status, DNS_ERR_TIMEOUT);
    dns_media_close(media);
}

static void fuzz(const char *name, const char *codec, int format)
{
    char *bytes;
    size_t size;
    if (!test_has_encoder(codec))
        skip();
    test_clip clip = {
        .codec = codec, .format = format, .n_frames = 30, .rate = 10, .width = 32, .height = 32};
    test_clip_write(test_path(name), &clip);
    assert_ok(dns_file_read(&bytes, &size, test_path(name), 1 << 22));
    path = test_path("damaged");
    test_fuzz(bytes, size, 150, read_damaged);
    dns_free(bytes);
}

static void mp4_with_h264(void **state)
{
    (void)state;
    fuzz("f.mp4", "libx264", AV_PIX_FMT_YUV420P);
}

static void mp4_with_mpeg4(void **state)
{
    (void)state;
    fuzz("g.mp4", "mpeg4", AV_PIX_FMT_YUV420P);
}

static void matroska_with_h264(void **state)
{
    (void)state;
    fuzz("f.mkv", "libx264", AV_PIX_FMT_YUV420P);
}

static void avi_with_mjpeg(void **state)
{
    (void)state;
    fuzz("f.avi", "mjpeg", AV_PIX_FMT_YUVJ420P);
}

static void webm_with_vp8(void **state)
{
    (void)state;
    fuzz("f.webm", "libvpx", AV_PIX_FMT_YUV420P);
}

static void gif(void **state)
{
    (void)state;
    fuzz("f.gif", "gif", AV_PIX_FMT_BGR8);
}

static void transport_stream_with_mpeg2(void **state)
{
    (void)state;
    fuzz("f.ts", "mpeg2video", AV_PIX_FMT_YUV420P);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mp4_with_h264),
        cmocka_unit_test(mp4_with_mpeg4),
        cmocka_unit_test(matroska_with_h264),
        cmocka_unit_test(avi_with_mjpeg),
        cmocka_unit_test(webm_with_vp8),
        cmocka_unit_test(gif),
        cmocka_unit_test(transport_stream_with_mpeg2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
