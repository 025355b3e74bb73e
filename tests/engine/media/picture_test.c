/* What frames look like: colours, formats, geometry, orientation. */
#include <stdlib.h>
#include <string.h>

#include <libavutil/pixdesc.h>

#include "clip_reader.h"
#include "clip_writer.h"
#include "dnsel/file.h"
#include "media_picture.h"
#include "media_resize.h"
#include "support.h"

enum { SIZE = 64 };

static uint8_t pixels[SIZE * SIZE * 3], others[SIZE * SIZE * 3];

static void assert_colour(const uint8_t *at, int r, int g, int b, int tolerance)
{
    if (abs(at[0] - r) > tolerance || abs(at[1] - g) > tolerance || abs(at[2] - b) > tolerance)
        fail_msg("colour %d %d %d, expected %d %d %d", at[0], at[1], at[2], r, g, b);
}

static const uint8_t *pixel(size_t x, size_t y)
{
    return pixels + 3 * (y * SIZE + x);
}

static dns_media_options in_mode(dns_geometry geometry, dns_interpolation interpolation)
{
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    o.geometry = geometry;
    o.interpolation = interpolation;
    o.short_side = SIZE;
    return o;
}

/* tests/data/opencv_cubic.bin: cv2.resize(..., interpolation=cv2.INTER_CUBIC) of OpenCV 4.10 with
 * cv2.setUseOptimized(False) on pictures whose byte i is (i * 2654435761 mod 2^32) >> 13 mod 256;
 * the centre windows of those with a short side, then the stretched ones. */
static void cubic_has_the_bytes_of_opencv(void **state)
{
    (void)state;
    static const size_t cases[][4] = {/* width, height, short side (0: stretched), size */
                                      {37, 29, 32, 24}, {64, 48, 32, 24},  {29, 37, 20, 20},
                                      {5, 3, 32, 32},   {120, 90, 16, 14}, {1, 1, 8, 8},
                                      {3, 200, 16, 16}, {50, 40, 0, 24},   {10, 300, 0, 16}};
    char path[4096], *golden;
    size_t n_golden, at = 0;
    test_data_path(path, sizeof path, "opencv_cubic.bin");
    assert_ok(dns_file_read(&golden, &n_golden, path, 1 << 20));
    static uint8_t source[120 * 90 * 3], out[32 * 32 * 3];
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = (uint8_t)((uint32_t)(i * 2654435761u) >> 13);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t w = cases[i][0], h = cases[i][1], short_side = cases[i][2], size = cases[i][3];
        dns_cubic q = {.width = w, .height = h, .stride = 3 * w, .size = size};
        if (short_side > 0)
            dns_cubic_centre(&q, short_side);
        else
            dns_cubic_stretch(&q);
        assert_ok(dns_cubic_resize(&q, source, out));
        assert_true(at + size * size * 3 <= n_golden);
        assert_memory_equal(out, golden + at, size * size * 3);
        at += size * size * 3;
    }
    assert_int_equal(at, n_golden);
    dns_free(golden);
}

static void orientation_comes_from_matrix_and_exif(void **state)
{
    (void)state;
    enum { ONE = 1 << 16 };
    static const struct {
        int32_t matrix[9];
        int exif;
    } same[] = {{{ONE, 0, 0, 0, ONE}, 1},   {{-ONE, 0, 0, 0, ONE}, 2}, {{-ONE, 0, 0, 0, -ONE}, 3},
                {{ONE, 0, 0, 0, -ONE}, 4},  {{0, ONE, 0, ONE, 0}, 5},  {{0, ONE, 0, -ONE, 0}, 6},
                {{0, -ONE, 0, -ONE, 0}, 7}, {{0, -ONE, 0, ONE, 0}, 8}};
    for (size_t i = 0; i < 8; i++) {
        dns_orientation a = dns_orientation_of_matrix(same[i].matrix),
                        b = dns_orientation_of_exif(same[i].exif);
        assert_true(a.transpose == b.transpose && a.mirror_x == b.mirror_x &&
                    a.mirror_y == b.mirror_y);
    }
    dns_orientation none = dns_orientation_of_matrix(NULL);
    assert_false(none.transpose || none.mirror_x || none.mirror_y);
    none = dns_orientation_of_exif(99);
    assert_false(none.transpose || none.mirror_x || none.mirror_y);
}

/* Left half red, right half blue, the upper quarter of both white. */
static void paint_corners(AVFrame *frame, int number)
{
    (void)number;
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++) {
            uint8_t *at = frame->data[0] + (ptrdiff_t)y * frame->linesize[0] + 3 * x;
            bool white = y < frame->height / 4, red = x < frame->width / 2;
            at[0] = white || red ? 255 : 0;
            at[1] = white ? 255 : 0;
            at[2] = white || !red ? 255 : 0;
        }
}

/* Where white, red and blue lie after a clockwise turn. */
static void turned_videos_are_shown_upright(void **state)
{
    (void)state;
    static const struct {
        int turn;
        size_t white[2], red[2], blue[2];
    } cases[] = {{0, {32, 4}, {16, 48}, {48, 48}},
                 {90, {60, 32}, {16, 16}, {16, 48}},
                 {180, {32, 60}, {48, 16}, {16, 16}},
                 {270, {4, 32}, {48, 48}, {48, 16}}};
    static const dns_interpolation ways[] = {DNS_INTERPOLATION_AREA,
                                             DNS_INTERPOLATION_OPENCV_CUBIC};
    for (size_t i = 0; i < 8; i++) {
        size_t c = i / 2;
        test_clip clip = {.codec = "png",
                          .format = AV_PIX_FMT_RGB24,
                          .turn = cases[c].turn,
                          .n_frames = 2,
                          .paint = paint_corners,
                          .width = 80,
                          .height = 60};
        test_clip_write(test_path("turned.mov"), &clip);
        dns_media_options o = in_mode(DNS_GEOMETRY_STRETCH, ways[i % 2]);
        test_first_frame(pixels, test_path("turned.mov"), &o);
        assert_colour(pixel(cases[c].white[0], cases[c].white[1]), 255, 255, 255, 2);
        assert_colour(pixel(cases[c].red[0], cases[c].red[1]), 255, 0, 0, 2);
        assert_colour(pixel(cases[c].blue[0], cases[c].blue[1]), 0, 0, 255, 2);
        dns_media *media;
        assert_ok(dns_media_open(&media, test_path("turned.mov"), &o));
        assert_int_equal(dns_media_info(media).width, cases[c].turn % 180 == 0 ? 80 : 60);
        dns_media_close(media);
    }
}

static int samples_to_fill[4];

static void paint_samples(AVFrame *frame, int number)
{
    (void)number;
    test_frame_fill(frame, samples_to_fill);
}

/* Pure colours in many formats: Y'CbCr values are computed here from the matrix and the range. */
static void colours_survive_formats_matrices_and_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *codec, *file;
        int format, space, range;
        double kr, kb; /* of the matrix; 0: RGB, -1: gray */
    } cases[] = {
        {"ffv1", "c.mkv", AV_PIX_FMT_YUV420P, AVCOL_SPC_UNSPECIFIED, 0, .299, .114},
        {"ffv1", "c.mkv", AV_PIX_FMT_YUV420P, AVCOL_SPC_SMPTE170M, AVCOL_RANGE_MPEG, .299, .114},
        {"ffv1", "c.mkv", AV_PIX_FMT_YUV444P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, .2126, .0722},
        {"ffv1", "c.mkv", AV_PIX_FMT_YUV422P, AVCOL_SPC_BT2020_NCL, AVCOL_RANGE_MPEG, .2627, .0593},
        {"ffv1", "c.mkv", AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_JPEG, .2126, .0722},
        {"ffv1", "c.mkv", AV_PIX_FMT_YUV420P10, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, .2126, .0722},
        {"ffv1", "c.mkv", AV_PIX_FMT_YUV444P12, AVCOL_SPC_SMPTE170M, AVCOL_RANGE_MPEG, .299, .114},
        {"mjpeg", "c.avi", AV_PIX_FMT_YUVJ420P, AVCOL_SPC_SMPTE170M, AVCOL_RANGE_JPEG, .299, .114},
        {"rawvideo", "c.avi", AV_PIX_FMT_YUYV422, 0, 0, .299, .114},
        {"ffv1", "c.mkv", AV_PIX_FMT_YUVA420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, .2126, .0722},
        {"ffv1", "c.mkv", AV_PIX_FMT_GRAY8, 0, 0, -1, 0},
        {"ffv1", "c.mkv", AV_PIX_FMT_GRAY8, 0, AVCOL_RANGE_MPEG, -1, 0},
        {"png", "c.mkv", AV_PIX_FMT_GRAY8, 0, 0, -1, 0},
        {"ffv1", "c.mkv", AV_PIX_FMT_GRAY16LE, 0, 0, -1, 0},
        {"png", "c.mkv", AV_PIX_FMT_RGBA, 0, 0, 0, 0},
        {"png", "c.mkv", AV_PIX_FMT_RGB24, 0, 0, 0, 0},
        {"rawvideo", "c.avi", AV_PIX_FMT_BGR24, 0, 0, 0, 0},
    };
    static const int colours[][3] = {
        {200, 40, 30}, {20, 180, 60}, {30, 50, 220}, {128, 128, 128}, {250, 240, 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t c = 0; c < 5; c++) {
            double r = colours[c][0], g = colours[c][1], b = colours[c][2];
            if (cases[i].kr < 0)
                g = b = r;
            bool full = cases[i].range == AVCOL_RANGE_JPEG, is_yuv = cases[i].kr > 0;
            bool limited_gray = cases[i].kr < 0 && cases[i].range == AVCOL_RANGE_MPEG;
            double y = cases[i].kr * r + cases[i].kb * b + (1 - cases[i].kr - cases[i].kb) * g;
            double cb = (b - y) / (2 - 2 * cases[i].kb), cr = (r - y) / (2 - 2 * cases[i].kr);
            samples_to_fill[0] = (int)lrint(limited_gray ? 16 + r * 219 / 255
                                            : is_yuv     ? full ? y : 16 + y * 219 / 255
                                                         : r);
            samples_to_fill[1] = (int)lrint(is_yuv ? 128 + cb * (full ? 1 : 224. / 255) : g);
            samples_to_fill[2] = (int)lrint(is_yuv ? 128 + cr * (full ? 1 : 224. / 255) : b);
            samples_to_fill[3] = 255;
            test_clip clip = {.codec = cases[i].codec,
                              .format = cases[i].format,
                              .n_frames = 1,
                              .colour_space = cases[i].space,
                              .colour_range = cases[i].range,
                              .paint = paint_samples};
            test_clip_write(test_path(cases[i].file), &clip);
            dns_media_options o =
                in_mode(c % 2 ? DNS_GEOMETRY_STRETCH : DNS_GEOMETRY_SHORT_SIDE_CROP,
                        c % 3 ? DNS_INTERPOLATION_AREA : DNS_INTERPOLATION_BICUBIC);
            test_first_frame(pixels, test_path(cases[i].file), &o);
            assert_colour(pixel(20, 40), (int)r, (int)g, (int)b, 4);
        }
}

static void what_is_transparent_is_black(void **state)
{
    (void)state;
    static const int formats[] = {AV_PIX_FMT_RGBA, AV_PIX_FMT_YUVA444P};
    for (int i = 0; i < 2; i++) {
        for (int alpha = 0; alpha <= 255; alpha += 255) {
            memcpy(samples_to_fill, (int[4]){200, 120, 120, alpha}, sizeof samples_to_fill);
            test_clip clip = {.codec = i == 0 ? "png" : "ffv1",
                              .format = formats[i],
                              .n_frames = 1,
                              .paint = paint_samples};
            test_clip_write(test_path("alpha.mkv"), &clip);
            dns_media_options o = in_mode(DNS_GEOMETRY_SHORT_SIDE_CROP, DNS_INTERPOLATION_AREA);
            test_first_frame(pixels, test_path("alpha.mkv"), &o);
            if (alpha == 0)
                assert_colour(pixel(32, 32), 0, 0, 0, 2);
            else
                assert_true(pixel(32, 32)[0] > 190);
        }
    }
}

static void paint_black_and_white(AVFrame *frame, int number)
{
    (void)number;
    for (int y = 0; y < frame->height; y++)
        memset(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], y < frame->height / 2 ? 0 : 0xff,
               (size_t)(frame->width + 7) / 8);
}

static void one_bit_pictures_may_be_cut(void **state)
{
    (void)state;
    test_clip clip = {.codec = "png",
                      .format = AV_PIX_FMT_MONOBLACK,
                      .n_frames = 1,
                      .width = 201,
                      .height = 101,
                      .paint = paint_black_and_white};
    test_clip_write(test_path("bits.mkv"), &clip);
    for (int way = 0; way < 3; way++) {
        dns_media_options o = in_mode(DNS_GEOMETRY_SHORT_SIDE_CROP, (dns_interpolation)way);
        test_first_frame(pixels, test_path("bits.mkv"), &o);
        assert_colour(pixel(32, 8), 0, 0, 0, 1);
        assert_colour(pixel(32, 56), 255, 255, 255, 1);
    }
}

/* Red rises with x and green with y, both from 0 to 255 over the frame. */
static void paint_ramps(AVFrame *frame, int number)
{
    (void)number;
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++) {
            uint8_t *at = frame->data[0] + (ptrdiff_t)y * frame->linesize[0] + 3 * x;
            at[0] = (uint8_t)((2 * x + 1) * 255 / (2 * frame->width));
            at[1] = (uint8_t)((2 * y + 1) * 255 / (2 * frame->height));
            at[2] = 0;
        }
}

enum {
    CROP = DNS_GEOMETRY_SHORT_SIDE_CROP,
    STRETCH = DNS_GEOMETRY_STRETCH,
    CUBIC = DNS_INTERPOLATION_OPENCV_CUBIC,
    AREA = DNS_INTERPOLATION_AREA,
    BICUBIC = DNS_INTERPOLATION_BICUBIC
};

/* What is seen, as shares of the frame. */
static const struct {
    int width, height;
    AVRational aspect;
    int geometry, way;
    size_t short_side;
    double left, top, right, bottom;
} windows[] = {
    {320, 240, {0, 1}, STRETCH, AREA, 64, 0, 0, 1, 1},
    {320, 240, {0, 1}, STRETCH, CUBIC, 64, 0, 0, 1, 1},
    {320, 240, {0, 1}, CROP, AREA, 64, .125, 0, .875, 1},
    {320, 240, {0, 1}, CROP, CUBIC, 64, .125, 0, .875, 1},
    {240, 320, {0, 1}, CROP, BICUBIC, 64, 0, .125, 1, .875},
    {320, 240, {0, 1}, CROP, AREA, 128, .3125, .25, .6875, .75},
    {320, 240, {0, 1}, CROP, CUBIC, 128, .3125, .25, .6875, .75},
    /* shown as 640x240, so the middle 240 of 640 */
    {320, 240, {2, 1}, CROP, AREA, 64, .3125, 0, .6875, 1},
    {320, 240, {2, 1}, STRETCH, AREA, 64, 0, 0, 1, 1},
    {320, 240, {2, 1}, CROP, CUBIC, 64, .125, 0, .875, 1},
    {321, 123, {0, 1}, CROP, AREA, 64, .3084, 0, .6916, 1},
    {1000, 2, {0, 1}, CROP, AREA, 64, .499, 0.25, .501, .75},
};

/* The ramps tell which part of the frame is seen. */
static void geometry_shows_the_right_part(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        test_clip clip = {.codec = "png",
                          .format = AV_PIX_FMT_RGB24,
                          .n_frames = 1,
                          .aspect = windows[i].aspect,
                          .width = windows[i].width,
                          .height = windows[i].height,
                          .paint = paint_ramps};
        test_clip_write(test_path("ramps.mkv"), &clip);
        dns_media_options o =
            in_mode((dns_geometry)windows[i].geometry, (dns_interpolation)windows[i].way);
        o.short_side = windows[i].short_side;
        test_first_frame(pixels, test_path("ramps.mkv"), &o);
        double half_x = (windows[i].right - windows[i].left) / SIZE / 2,
               half_y = (windows[i].bottom - windows[i].top) / SIZE / 2;
        assert_near(pixel(0, 32)[0] / 255., windows[i].left + half_x, .012);
        assert_near(pixel(63, 32)[0] / 255., windows[i].right - half_x, .012);
        assert_near(pixel(32, 0)[1] / 255., windows[i].top + half_y, .012);
        assert_near(pixel(32, 63)[1] / 255., windows[i].bottom - half_y, .012);
    }
}

static void any_size_becomes_the_size_asked_for(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1},   {2, 1},   {1, 3},    {3, 5},    {17, 33},
                                   {101, 1}, {1, 500}, {4000, 3}, {255, 257}};
    static const size_t wanted[] = {1, 7, 64};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < 6; kind++) {
            int samples[4] = {180, 128, 128, 255};
            memcpy(samples_to_fill, samples, sizeof samples);
            test_clip clip = {.codec = "ffv1",
                              .format = i % 2 ? AV_PIX_FMT_YUV420P : AV_PIX_FMT_YUV444P,
                              .n_frames = 2,
                              .width = sizes[i][0],
                              .height = sizes[i][1],
                              .paint = paint_samples};
            test_clip_write(test_path("size.mkv"), &clip);
            dns_media_options o = in_mode((dns_geometry)(kind % 2), (dns_interpolation)(kind / 2));
            o.size = wanted[i % 3];
            test_first_frame(pixels, test_path("size.mkv"), &o);
            for (size_t p = 0; p < o.size * o.size; p++)
                assert_colour(pixels + 3 * p, 191, 191, 191, 3);
        }
}

static void size_may_change_on_the_way(void **state)
{
    (void)state;
    static test_reading reading;
    static const struct {
        const char *file, *codec;
        int format;
    } cases[] = {{"change.mkv", "mjpeg", AV_PIX_FMT_YUVJ420P},
                 {"change.ts", "mpeg2video", AV_PIX_FMT_YUV420P}};
    for (int i = 0; i < 2; i++) {
        test_clip clip = {.codec = cases[i].codec,
                          .format = cases[i].format,
                          .n_frames = 100,
                          .width = 64,
                          .height = 64,
                          .second_width = 160,
                          .second_height = 48,
                          .gop = 10};
        test_clip_write(test_path(cases[i].file), &clip);
        dns_media_options o = test_options(DNS_SAMPLING_EXACT);
        test_read(&reading, test_path(cases[i].file), &o);
        test_assert_frames(&reading, (const int[]){0, 25, 50, 75}, 4, 25);
    }
}

/* Puts an Exif segment of nothing but an orientation behind the first marker of a JPEG file. */
static void add_exif(const char *path, uint8_t orientation)
{
    const uint8_t segment[] = {0xff, 0xe1, 0, 34, 'E', 'x',         'i', 'f', 0,    0,    'M', 'M',
                               0,    42,   0, 0,  0,   8,           0,   1,   0x01, 0x12, 0,   3,
                               0,    0,    0, 1,  0,   orientation, 0,   0,   0,    0,    0,   0};
    static char file[65536];
    char *data;
    size_t size;
    assert_ok(dns_file_read(&data, &size, path, sizeof file - sizeof segment));
    memcpy(file, data, 2);
    memcpy(file + 2, segment, sizeof segment);
    memcpy(file + 2 + sizeof segment, data + 2, size - 2);
    assert_ok(dns_file_write(path, file, size + sizeof segment));
    dns_free(data);
}

static void paint_upper_half(AVFrame *frame, int number)
{
    (void)number;
    for (int y = 0; y < frame->height; y++)
        memset(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], y < frame->height / 2 ? 255 : 0,
               (size_t)frame->width);
    for (int c = 1; c < 3; c++)
        memset(frame->data[c], 128, (size_t)(frame->linesize[c] * (frame->height / 2)));
}

static void photographs_are_shown_upright(void **state)
{
    (void)state;
    test_clip clip = {
        .codec = "mjpeg", .format = AV_PIX_FMT_YUVJ420P, .n_frames = 1, .paint = paint_upper_half};
    test_clip_write(test_path("photo.jpg"), &clip);
    add_exif(test_path("photo.jpg"),
             6); /* to be turned clockwise by a quarter: the white goes to the right */
    dns_media_options o = in_mode(DNS_GEOMETRY_STRETCH, DNS_INTERPOLATION_AREA);
    test_first_frame(pixels, test_path("photo.jpg"), &o);
    assert_colour(pixel(60, 8), 255, 255, 255, 8);
    assert_colour(pixel(60, 56), 255, 255, 255, 8);
    assert_colour(pixel(4, 8), 0, 0, 0, 8);
    assert_colour(pixel(4, 56), 0, 0, 0, 8);
}

/* OpenCV knows no tags: the same bytes come whatever the tag says, while the other ways follow it.
 */
static void opencv_cubic_ignores_tags(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        dns_media_options o = in_mode(DNS_GEOMETRY_SHORT_SIDE_CROP, (dns_interpolation)way);
        memcpy(samples_to_fill, (int[4]){90, 100, 200, 0}, sizeof samples_to_fill);
        test_clip clip = {.codec = "ffv1",
                          .n_frames = 1,
                          .paint = paint_samples,
                          .colour_space = AVCOL_SPC_BT709};
        test_clip_write(test_path("tag.mkv"), &clip);
        test_first_frame(pixels, test_path("tag.mkv"), &o);
        clip.colour_space = AVCOL_SPC_SMPTE170M;
        test_clip_write(test_path("tag.mkv"), &clip);
        test_first_frame(others, test_path("tag.mkv"), &o);
        bool same = memcmp(pixels, others, sizeof pixels) == 0;
        assert_int_equal(same, way == DNS_INTERPOLATION_OPENCV_CUBIC);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cubic_has_the_bytes_of_opencv),
        cmocka_unit_test(orientation_comes_from_matrix_and_exif),
        cmocka_unit_test(turned_videos_are_shown_upright),
        cmocka_unit_test(colours_survive_formats_matrices_and_ranges),
        cmocka_unit_test(what_is_transparent_is_black),
        cmocka_unit_test(one_bit_pictures_may_be_cut),
        cmocka_unit_test(geometry_shows_the_right_part),
        cmocka_unit_test(any_size_becomes_the_size_asked_for),
        cmocka_unit_test(size_may_change_on_the_way),
        cmocka_unit_test(photographs_are_shown_upright),
        cmocka_unit_test(opencv_cubic_ignores_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
