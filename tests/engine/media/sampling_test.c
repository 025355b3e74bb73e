/* Which frames are kept: the rules on their own, then through real containers and codecs. */
#include <math.h>
#include <string.h>

#include "clip_reader.h"
#include "clip_writer.h"
#include "media_sampler.h"
#include "support.h"

#define INTS(...) ((const int[]){__VA_ARGS__}), sizeof((const int[]){__VA_ARGS__}) / sizeof(int)

static test_reading reading;

static void read_as(const char *path, dns_sampling sampling)
{
    dns_media_options options = test_options(sampling);
    test_read(&reading, path, &options);
}

/* ---- rules ---- */

static void count_step_rounds_half_to_even(void **state)
{
    (void)state;
    dns_media_options o = test_options(DNS_SAMPLING_COUNT);
    static const double cases[][2] = {{25, 25},   {29.97, 30}, {24.5, 24}, {25.5, 26},
                                      {144, 144}, {144.1, 25}, {0, 25},    {0.49, 0},
                                      {0.5, 0},   {0.51, 1},   {1.5, 2},   {90000, 25}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(dns_sampler_make(&o, cases[i][0], 0).step, (size_t)cases[i][1]);
    dns_sampler s = dns_sampler_make(&o, 0.3, 0);
    for (int i = 0; i < 5; i++)
        assert_true(dns_sampler_keep(&s, i, false, INFINITY));
}

static void exact_serves_each_second_once(void **state)
{
    (void)state;
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    dns_sampler s = dns_sampler_make(&o, 25, 0);
    static const struct {
        double time;
        bool keep;
    } frames[] = {{-0.2, false}, {0, true},    {0.5, false}, {0.999, false},
                  {1.0, true},   {1.9, false}, {2.2, true},  {2.9, false},
                  {3.0, true},   {7.5, true},  {7.9, false}, {8.0, true}};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        assert_int_equal(dns_sampler_keep(&s, frames[i].time, false, INFINITY), frames[i].keep);
}

static void key_frames_fill_gaps_of_the_given_length(void **state)
{
    (void)state;
    dns_media_options o = test_options(DNS_SAMPLING_KEYFRAME);
    o.gap_seconds = 5;
    assert_near(dns_sampler_make(&o, 25, 0).gap, 5, 0);
    assert_near(dns_sampler_make(&o, 25, 100).gap, 5, 0);
    assert_near(dns_sampler_make(&o, 25, 8).gap, 2, 0);
    assert_near(dns_sampler_make(&o, 25, 2).gap, 1, 0);
    dns_sampler s = dns_sampler_make(&o, 25, 0);
    assert_true(dns_sampler_keep(&s, 0, true, 0.5));
    assert_false(dns_sampler_keep(&s, 0.5, true, 3));
    assert_true(dns_sampler_keep(&s, 3, true, 13.5));
    assert_false(dns_sampler_keep(&s, 7.9, false, 13.5));
    assert_true(dns_sampler_keep(&s, 8, false, 13.5));
    assert_false(dns_sampler_keep(&s, 13, false, 13.5)); /* the key frame is near */
    assert_true(dns_sampler_keep(&s, 13.5, true, INFINITY));
}

static void clock_never_goes_backwards(void **state)
{
    (void)state;
    dns_clock c = {.unit_num = 1, .unit_den = 30, .period = 1. / 30};
    assert_near(dns_clock_time(&c, true, 1000), 0, 0);
    assert_near(dns_clock_time(&c, true, 1030), 1, 0); /* exactly */
    assert_near(dns_clock_time(&c, false, 0), 1 + 1. / 30, 1e-12);
    assert_near(dns_clock_time(&c, true, 1030), 1 + 2. / 30, 1e-12);
    assert_near(dns_clock_time(&c, true, 1090), 3, 1e-12);
    assert_near(dns_clock_time(&c, true, 0), 3 + 1. / 30, 1e-12); /* starts again */
    assert_near(dns_clock_time(&c, true, 30), 4 + 1. / 30, 1e-12);
    double last = dns_clock_time(&c, true, INT64_MIN + 1);
    assert_true(isfinite(last) && last > 4);
}

static void clock_without_stamps_counts_periods(void **state)
{
    (void)state;
    dns_clock c = {.unit_num = 1, .unit_den = 1000, .period = 0.04};
    for (int i = 0; i < 100; i++)
        assert_near(dns_clock_time(&c, false, 0), i * 0.04, 1e-9);
    assert_near(dns_clock_time(&c, true, 777), 4, 1e-9); /* the first stamp goes on from here */
    assert_near(dns_clock_time(&c, true, 1777), 5, 1e-9);
}

/* ---- through files ---- */

static void exact_keeps_the_first_frame_of_each_second(void **state)
{
    (void)state;
    static const char *const files[] = {"e.mp4", "e.mkv", "e.avi", "e.mov",
                                        "e.ts",  "e.nut", "e.mpg"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = test_path(files[i]);
        test_clip clip = {.n_frames = 80, .codec = strstr(path, "mpg") ? "mpeg1video" : NULL};
        test_clip_write(path, &clip);
        read_as(path, DNS_SAMPLING_EXACT);
        test_assert_frames(&reading, INTS(0, 25, 50, 75), 25);
        assert_int_equal(reading.facts.n_errors, 0);
        assert_int_equal(reading.facts.width, 64);
        assert_near(reading.facts.frame_rate, 25, 0.01);
        if (strstr(path, "mpg") == NULL) /* which only guesses */
            assert_near(reading.facts.duration, 3.2, 0.2);
    }
}

static void variable_rates_follow_the_stamps(void **state)
{
    (void)state;
    static const int64_t stamps[] = {0,    10,   900,  999,  1001, 1500,
                                     2600, 2700, 3000, 3001, 9000, 9500};
    test_clip clip = {.n_frames = 12, .stamps = stamps};
    test_clip_write(test_path("vfr.mkv"), &clip);
    read_as(test_path("vfr.mkv"), DNS_SAMPLING_EXACT);
    test_assert_frames(&reading, INTS(0, 4, 6, 8, 10), 0);
    assert_near(reading.times[1], 1.001, 1e-9);
    assert_near(reading.times[4], 9, 1e-9);
}

static void times_count_from_the_first_frame(void **state)
{
    (void)state;
    static const char *const files[] = {"offset.mkv", "offset.ts", "offset.mp4"};
    static int64_t stamps[40];
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int i = 0; i < 40; i++)
            stamps[i] = sign * 700 + 100 * i;
        for (size_t i = 0; i < 3; i++) {
            test_clip clip = {.n_frames = 40, .stamps = stamps, .keep_negative = true};
            test_clip_write(test_path(files[i]), &clip);
            read_as(test_path(files[i]), DNS_SAMPLING_EXACT);
            if (sign < 0 && i == 2) /* an edit list hides what is before 0 */
                test_assert_frames(&reading, INTS(7, 17, 27, 37), 0);
            else
                test_assert_frames(&reading, INTS(0, 10, 20, 30), 10);
            assert_near(reading.times[0], 0, 0);
            assert_near(reading.times[3], 3, 0);
        }
    }
}

static void missing_stamps_come_from_the_rate(void **state)
{
    (void)state;
    test_clip clip = {.n_frames = 60, .n_b_frames = 2};
    test_clip_write(test_path("bare.m4v"), &clip);
    read_as(test_path("bare.m4v"), DNS_SAMPLING_EXACT);
    assert_int_equal(reading.end, DNS_EOF);
    assert_in_range(reading.n, 2, 3);
    clip = (test_clip){.n_frames = 60, .without_stamps = true};
    test_clip_write(test_path("nostamps.avi"), &clip);
    read_as(test_path("nostamps.avi"), DNS_SAMPLING_EXACT);
    test_assert_frames(&reading, INTS(0, 25, 50), 25);
}

static void slow_videos_give_each_frame_once(void **state)
{
    (void)state;
    static const int64_t stamps[] = {0, 2500, 5000, 7500};
    test_clip clip = {.n_frames = 4, .stamps = stamps};
    test_clip_write(test_path("slow.mkv"), &clip);
    read_as(test_path("slow.mkv"), DNS_SAMPLING_EXACT);
    test_assert_frames(&reading, INTS(0, 1, 2, 3), 0.4);
}

static void count_takes_every_rth_frame(void **state)
{
    (void)state;
    test_clip clip = {.n_frames = 70, .rate = 24};
    test_clip_write(test_path("count.mp4"), &clip);
    read_as(test_path("count.mp4"), DNS_SAMPLING_COUNT);
    test_assert_frames(&reading, INTS(0, 24, 48), 24);
    assert_int_equal(reading.facts.n_decoded, 70);
}

/* Of 25 frames a second, counting decodes all and keeps what exact sampling keeps: the same pixels
 * must come. */
static void planned_decoding_changes_no_pixel(void **state)
{
    (void)state;
    static const struct {
        const char *file, *codec, *options;
        int gop, n_b_frames, format;
        size_t at_most; /* frames decoded of 130 */
    } cases[] = {
        {"p1.mp4", "libx264", "preset=ultrafast", 250, 0, 0, 126},
        {"p2.mp4", "libx264", "preset=fast:bf=3", 250, 3, 0, 80},
        {"p3.mp4", "libx264", "preset=fast:bf=3", 12, 3, 0, 60},
        {"p4.mkv", "libx264", "preset=fast:bf=3:x264-params=open-gop=1", 40, 3, 0, 90},
        {"p5.ts", "libx264", "preset=fast:bf=2", 30, 2, 0, 90},
        {"p6.mp4", "libx265", "preset=ultrafast:x265-params=log-level=none", 20, 3, 0, 130},
        {"p15.mp4", "libx265", "preset=ultrafast:x265-params=log-level=none\\:open-gop=0", 20, 3, 0,
         90},
        {"p7.webm", "libvpx", "deadline=realtime:cpu-used=8:auto-alt-ref=1:lag-in-frames=10", 30, 0,
         0, 130},
        {"p8.webm", "libvpx-vp9", "deadline=realtime:cpu-used=8", 20, 0, 0, 90},
        {"p9.avi", "mjpeg", NULL, 1, 0, AV_PIX_FMT_YUVJ420P, 6},
        {"p10.mkv", "mpeg2video", NULL, 12, 2, 0, 80},
        {"p11.mkv", "ffv1", NULL, 10, 0, 0, 60},
        {"p12.mp4", "mpeg4", NULL, 12, 2, 0, 130},
        {"p13.flv", "flv", NULL, 12, 0, 0, 130},
        {"p14.mp4", "libx264", "preset=fast:bf=2:flags=+ildct+ilme:x264-params=tff=1", 30, 2, 0,
         130},
    };
    int n_tried = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!test_has_encoder(cases[i].codec))
            continue;
        n_tried++;
        const char *path = test_path(cases[i].file);
        test_clip clip = {.codec = cases[i].codec,
                          .encoder_options = cases[i].options,
                          .gop = cases[i].gop,
                          .n_b_frames = cases[i].n_b_frames,
                          .format = cases[i].format,
                          .n_frames = 130};
        test_clip_write(path, &clip);
        read_as(path, DNS_SAMPLING_COUNT);
        test_assert_frames(&reading, INTS(0, 25, 50, 75, 100, 125), 25);
        test_reading full = reading;
        read_as(path, DNS_SAMPLING_EXACT);
        test_assert_frames(&reading, INTS(0, 25, 50, 75, 100, 125), 25);
        assert_memory_equal(reading.checksums, full.checksums, 6 * sizeof full.checksums[0]);
        assert_int_equal(reading.facts.n_errors, 0);
        if (reading.facts.n_decoded > cases[i].at_most)
            fail_msg("%s: %zu frames decoded, %zu expected at most", cases[i].file,
                     reading.facts.n_decoded, cases[i].at_most);
    }
    assert_true(n_tried >= 6); /* FFmpeg's own encoders are always there */
}

static void key_frames_alone_are_decoded(void **state)
{
    (void)state;
    static const char *const files[] = {"k.mp4", "k.mkv", "k.avi", "k.ts"};
    for (size_t i = 0; i < 4; i++) {
        test_clip clip = {.n_frames = 250, .rate = 10, .gop = 50};
        clip.encoder_options =
            "sc_threshold=1000000000"; /* key frames where the groups begin and nowhere else */
        test_clip_write(test_path(files[i]), &clip);
        read_as(test_path(files[i]), DNS_SAMPLING_KEYFRAME);
        test_assert_frames(&reading, INTS(0, 50, 100, 150, 200), 10);
        assert_int_equal(reading.facts.n_decoded, 5);
    }
    test_clip clip = {
        .n_frames = 40, .rate = 10, .gop = 4, .encoder_options = "sc_threshold=1000000000"};
    test_clip_write(test_path("dense.mp4"), &clip);
    read_as(test_path("dense.mp4"), DNS_SAMPLING_KEYFRAME);
    test_assert_frames(&reading, INTS(0, 12, 20, 32), 10);
}

static void sparse_key_frames_are_filled_in(void **state)
{
    (void)state;
    test_clip clip = {
        .n_frames = 250, .rate = 10, .gop = 600, .encoder_options = "sc_threshold=1000000000"};
    test_clip_write(test_path("sparse.mkv"), &clip);
    dns_media_options options = test_options(DNS_SAMPLING_KEYFRAME);
    options.gap_seconds = 5;
    test_read(&reading, test_path("sparse.mkv"), &options);
    test_assert_frames(&reading, INTS(0, 50, 100, 150, 200), 10);
    assert_true(reading.facts.n_decoded < 210);
    clip.n_frames = 80; /* eight seconds: four frames */
    test_clip_write(test_path("short.mp4"), &clip);
    read_as(test_path("short.mp4"), DNS_SAMPLING_KEYFRAME);
    test_assert_frames(&reading, INTS(0, 20, 40, 60), 10);
}

static void groups_longer_than_the_lookahead_are_decoded_whole(void **state)
{
    (void)state;
    test_clip clip = {.n_frames = 2500, .rate = 100, .gop = 600, .width = 16, .height = 16};
    clip.codec = test_has_encoder("libx264") ? "libx264" : "mpeg4";
    if (strcmp(clip.codec, "libx264") == 0) {
        clip.gop = 2400;
        clip.encoder_options = "preset=ultrafast:sc_threshold=0";
    }
    test_clip_write(test_path("long.mkv"), &clip);
    read_as(test_path("long.mkv"), DNS_SAMPLING_EXACT);
    assert_int_equal(reading.end, DNS_EOF);
    assert_int_equal(reading.n, 25);
    for (int i = 0; i < 25; i++)
        assert_int_equal(reading.numbers[i], i * 100 % 256);
    assert_true(reading.facts.n_decoded >= 2048);
}

static void one_frame_is_a_video(void **state)
{
    (void)state;
    static const struct {
        const char *file, *codec;
        int format;
    } cases[] = {
        {"one.mp4", "mpeg4", AV_PIX_FMT_YUV420P},  {"one.png", "png", AV_PIX_FMT_RGB24},
        {"one.jpg", "mjpeg", AV_PIX_FMT_YUVJ420P}, {"one.gif", "gif", AV_PIX_FMT_BGR8},
        {"one.bmp", "bmp", AV_PIX_FMT_BGR24},      {"one.tiff", "tiff", AV_PIX_FMT_RGB24},
        {"one.ppm", "ppm", AV_PIX_FMT_RGB24},      {"one.webp", "libwebp", AV_PIX_FMT_YUV420P},
    };
    static const dns_sampling modes[] = {DNS_SAMPLING_EXACT, DNS_SAMPLING_COUNT,
                                         DNS_SAMPLING_KEYFRAME};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!test_has_encoder(cases[i].codec))
            continue;
        test_clip clip = {.codec = cases[i].codec, .format = cases[i].format, .n_frames = 1};
        if (strcmp(cases[i].codec, "libwebp") == 0)
            clip.container = "webp";
        clip.paint = NULL;
        test_clip_write(test_path(cases[i].file), &clip);
        for (size_t m = 0; m < 3; m++) {
            read_as(test_path(cases[i].file), modes[m]);
            test_assert_frames(&reading, INTS(0), 25);
        }
    }
}

static void names_come_back_and_unknown_ones_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        dns_sampling sampling;
        dns_interpolation interpolation;
        assert_ok(dns_sampling_parse(&sampling, dns_sampling_name((dns_sampling)i)));
        assert_int_equal(sampling, i);
        assert_ok(
            dns_interpolation_parse(&interpolation, dns_interpolation_name((dns_interpolation)i)));
        assert_int_equal(interpolation, i);
    }
    dns_geometry geometry;
    for (int i = 0; i < 2; i++) {
        assert_ok(dns_geometry_parse(&geometry, dns_geometry_name((dns_geometry)i)));
        assert_int_equal(geometry, i);
    }
    dns_sampling sampling;
    dns_interpolation interpolation;
    assert_status(dns_sampling_parse(&sampling, "Exact"), DNS_ERR_ARG);
    assert_string_equal(dns_status_message(),
                        "sampling 'Exact' is not one of: exact, count, keyframe");
    assert_status(dns_geometry_parse(&geometry, ""), DNS_ERR_ARG);
    assert_status(dns_interpolation_parse(&interpolation, "cubic"), DNS_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(count_step_rounds_half_to_even),
        cmocka_unit_test(exact_serves_each_second_once),
        cmocka_unit_test(key_frames_fill_gaps_of_the_given_length),
        cmocka_unit_test(clock_never_goes_backwards),
        cmocka_unit_test(clock_without_stamps_counts_periods),
        cmocka_unit_test(exact_keeps_the_first_frame_of_each_second),
        cmocka_unit_test(variable_rates_follow_the_stamps),
        cmocka_unit_test(times_count_from_the_first_frame),
        cmocka_unit_test(missing_stamps_come_from_the_rate),
        cmocka_unit_test(slow_videos_give_each_frame_once),
        cmocka_unit_test(count_takes_every_rth_frame),
        cmocka_unit_test(planned_decoding_changes_no_pixel),
        cmocka_unit_test(key_frames_alone_are_decoded),
        cmocka_unit_test(sparse_key_frames_are_filled_in),
        cmocka_unit_test(groups_longer_than_the_lookahead_are_decoded_whole),
        cmocka_unit_test(one_frame_is_a_video),
        cmocka_unit_test(names_come_back_and_unknown_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
