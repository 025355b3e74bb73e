/* Files that are damaged, no videos, or meant to do harm. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clip_reader.h"
#include "clip_writer.h"
#include "dnsel/file.h"
#include "support.h"

static test_reading reading;

static void read_with(const char *path, dns_media_options options)
{
    test_read(&reading, path, &options);
}

static void read_plainly(const char *path)
{
    read_with(path, test_options(DNS_SAMPLING_EXACT));
}

static void assert_refused(const char *path, dns_status expected, const char *text)
{
    read_plainly(path);
    if (reading.end != expected)
        fail_msg("%s: %s (%s), expected %s", path, dns_status_name(reading.end),
                 dns_status_message(), dns_status_name(expected));
    if (strstr(dns_status_message(), text) == NULL)
        fail_msg("message '%s' has no '%s'", dns_status_message(), text);
    assert_null(strchr(dns_status_message(), '\n'));
}

static void write_text(const char *name, const char *text)
{
    assert_ok(dns_file_write(test_path(name), text, strlen(text)));
}

static void what_is_no_file_is_refused_and_never_waited_for(void **state)
{
    (void)state;
    assert_refused(test_path("missing.mp4"), DNS_ERR_NOTFOUND, "missing.mp4");
    assert_refused(test_folder(), DNS_ERR_FORMAT, "is a directory");
    assert_int_equal(mkfifo(test_path("fifo.mp4"), 0600), 0);
    assert_refused(test_path("fifo.mp4"), DNS_ERR_FORMAT, "not a regular file");
    assert_refused("/dev/zero", DNS_ERR_FORMAT, "not a regular file");
    assert_int_equal(symlink("loop.mp4", test_path("loop.mp4")), 0);
    assert_refused(test_path("loop.mp4"), DNS_ERR_IO, "loop.mp4");
    test_clip clip = {.n_frames = 3};
    test_clip_write(test_path("secret.mp4"), &clip);
    assert_int_equal(chmod(test_path("secret.mp4"), 0), 0);
    if (geteuid() != 0) /* root reads everything */
        assert_refused(test_path("secret.mp4"), DNS_ERR_IO, "secret.mp4");
}

static void what_is_no_video_is_refused(void **state)
{
    (void)state;
    write_text("empty.mp4", "");
    assert_refused(test_path("empty.mp4"), DNS_ERR_FORMAT, "empty file");
    write_text("text.mp4", "This is no video, whatever its name says.\nNor is the second line.\n");
    assert_refused(test_path("text.mp4"), DNS_ERR_FORMAT, "text.mp4");
    char *zeros;
    assert_ok(dns_alloc(&zeros, 100000, 1));
    assert_ok(dns_file_write(test_path("zeros.mp4"), zeros, 100000));
    dns_free(zeros);
    assert_refused(test_path("zeros.mp4"), DNS_ERR_FORMAT, "not a media file");
    write_text(
        "sub.mkv",
        "1\n00:00:01,000 --> 00:00:02,000\nHello\n\n2\n00:00:03,000 --> 00:00:04,000\nYou\n");
    assert_refused(test_path("sub.mkv"), DNS_ERR_FORMAT, "sub.mkv");
    test_sound_write(test_path("sound.wav"), false);
    assert_refused(test_path("sound.wav"), DNS_ERR_UNSUPPORTED, "no video stream");
    test_sound_write(test_path("song.flac"), true);
    assert_refused(test_path("song.flac"), DNS_ERR_UNSUPPORTED, "only cover art");
}

/* Each of these makes FFmpeg's own programs open the file named within. */
static void what_opens_other_files_is_refused(void **state)
{
    (void)state;
    test_clip clip = {.n_frames = 30};
    test_clip_write(test_path("inner.ts"), &clip);
    char text[1024];
    const char *folder = test_folder();
    snprintf(text, sizeof text,
             "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n%s/"
             "inner.ts\n#EXT-X-ENDLIST\n",
             folder);
    write_text("list.m3u8", text);
    write_text("list.mp4", text);
    assert_refused(test_path("list.m3u8"), DNS_ERR_FORMAT, "'hls' files are not read");
    assert_refused(test_path("list.mp4"), DNS_ERR_FORMAT, "'hls' files are not read");
    snprintf(text, sizeof text, "ffconcat version 1.0\nfile '%s/inner.ts'\n", folder);
    write_text("list.ffconcat", text);
    assert_refused(test_path("list.ffconcat"), DNS_ERR_FORMAT, "'concat' files are not read");
    write_text("list.mpd", "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
                           "profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" "
                           "type=\"static\"><Period></Period></MPD>\n");
    assert_refused(test_path("list.mpd"), DNS_ERR_FORMAT, "list.mpd");
    write_text(
        "list.sdp",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n");
    assert_refused(test_path("list.sdp"), DNS_ERR_FORMAT, "list.sdp");
    write_text("drawing.svg",
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"></svg>\n");
    assert_refused(test_path("drawing.svg"), DNS_ERR_FORMAT, "drawing.svg");
}

static void any_name_is_a_name(void **state)
{
    (void)state;
    static const char *const names[] = {"-i.mp4",   "file:x.mp4",   "concat:a.mp4|b.mp4",
                                        "http:",    "a\nb.mp4",     "\xff\xfe\x80.mp4",
                                        "%d.mp4",   "pipe:0",       "data:,x",
                                        "  ",       "no extension", "audio.mp3",
                                        "clip.m3u8"};
    char before[4096];
    test_clip clip = {.n_frames = 26};
    test_clip_write(test_path("plain.mp4"), &clip);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(test_folder()), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(rename(i == 0 ? "plain.mp4" : names[i - 1], names[i]), 0);
        read_plainly(names[i]);
        test_assert_frames(&reading, (const int[]){0, 25}, 2, 25);
    }
    assert_int_equal(chdir(before), 0);
}

static void cut_files_give_the_frames_that_are_left(void **state)
{
    (void)state;
    static const char *const files[] = {"cut.mkv", "cut.avi", "cut.ts", "first.mp4", "last.mp4"};
    for (size_t i = 0; i < 5; i++) {
        char *data;
        size_t size, n_before = 0;
        test_clip clip = {.n_frames = 100, .width = 320, .height = 240};
        clip.muxer_options =
            i == 3 ? "movflags=faststart" : NULL; /* the index before the pictures */
        test_clip_write(test_path(files[i]), &clip);
        assert_ok(dns_file_read(&data, &size, test_path(files[i]), 1 << 24));
        for (size_t tenth = 1; tenth < 10; tenth++) {
            assert_ok(dns_file_write(test_path(files[i]), data, size * tenth / 10));
            read_plainly(test_path(files[i]));
            if (i == 4) {
                assert_int_equal(reading.end, DNS_ERR_DECODE);
                continue;
            }
            assert_true(reading.n >= n_before && reading.n <= 4);
            for (size_t f = 0; f < reading.n; f++)
                assert_int_equal(reading.numbers[f], f * 25);
            assert_true(i != 3 || reading.n == 0 || reading.facts.n_errors > 0);
            n_before = reading.n;
        }
        assert_true(i == 4 || n_before >= 3);
        dns_free(data);
    }
}

static void damage_is_counted(void **state)
{
    (void)state;
    char *data;
    size_t size;
    test_clip clip = {.n_frames = 100, .width = 320, .height = 240};
    test_clip_write(test_path("hurt.avi"), &clip);
    read_plainly(test_path("hurt.avi"));
    assert_int_equal(reading.facts.n_errors, 0);
    assert_ok(dns_file_read(&data, &size, test_path("hurt.avi"), 1 << 24));
    for (size_t at = size / 2; at < size * 3 / 4; at += 50)
        data[at] ^= 0x55;
    assert_ok(dns_file_write(test_path("hurt.avi"), data, size));
    dns_free(data);
    read_plainly(test_path("hurt.avi"));
    assert_int_equal(reading.end, DNS_EOF);
    assert_true(reading.facts.n_errors > 0);
    assert_true(reading.n >= 1);
    assert_int_equal(reading.numbers[0], 0);
}

static void a_video_without_a_single_good_frame_is_an_error(void **state)
{
    (void)state;
    char *data;
    size_t size;
    test_clip clip = {.codec = "png", .format = AV_PIX_FMT_RGB24, .n_frames = 1};
    test_clip_write(test_path("broken.png"), &clip);
    assert_ok(dns_file_read(&data, &size, test_path("broken.png"), 1 << 24));
    memset(data + 40, 0x55, size - 60);
    assert_ok(dns_file_write(test_path("broken.png"), data, size));
    dns_free(data);
    assert_refused(test_path("broken.png"), DNS_ERR_DECODE, "");
}

static void limits_are_kept(void **state)
{
    (void)state;
    test_clip clip = {.n_frames = 100};
    test_clip_write(test_path("limits.mkv"), &clip);
    const char *path = test_path("limits.mkv");
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    o.max_frames = 4;
    read_with(path, o);
    assert_int_equal(reading.end, DNS_EOF);
    o.max_frames = 3;
    read_with(path, o);
    assert_int_equal(reading.end, DNS_ERR_LIMIT);
    assert_int_equal(reading.n, 3);
    o = test_options(DNS_SAMPLING_EXACT);
    o.max_duration = 1.5;
    read_with(path, o);
    assert_int_equal(reading.end, DNS_ERR_LIMIT);
    assert_int_equal(reading.n, 2);
    o = test_options(DNS_SAMPLING_EXACT);
    o.max_pixels = 64 * 48;
    read_with(path, o);
    assert_int_equal(reading.end, DNS_EOF);
    o.max_pixels--;
    read_with(path, o);
    assert_int_equal(reading.end, DNS_ERR_LIMIT);
    o = test_options(DNS_SAMPLING_EXACT);
    o.max_seconds = 1e-9;
    read_with(path, o);
    assert_int_equal(reading.end, DNS_ERR_TIMEOUT);
    o.max_pixels = o.max_frames = 0;
    o.max_seconds = o.max_duration = 0;
    read_with(path, o);
    assert_int_equal(reading.end, DNS_EOF);
}

/* The picture grows beyond the limit in the middle. */
static void the_limit_of_pixels_holds_for_every_frame(void **state)
{
    (void)state;
    test_clip clip = {.codec = "mjpeg",
                      .format = AV_PIX_FMT_YUVJ420P,
                      .n_frames = 100,
                      .second_width = 640,
                      .second_height = 480};
    test_clip_write(test_path("grows.mkv"), &clip);
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    o.max_pixels = 64 * 48;
    read_with(test_path("grows.mkv"), o);
    assert_int_equal(reading.end, DNS_EOF);
    assert_int_equal(reading.n, 2);
    assert_true(reading.facts.n_errors > 0);
}

static void a_wish_to_stop_is_heard(void **state)
{
    (void)state;
    dns_cancel cancel = {false};
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    dns_media *media;
    dns_frame frame;
    o.cancel = &cancel;
    test_clip clip = {.n_frames = 100};
    test_clip_write(test_path("cancel.mkv"), &clip);
    assert_ok(dns_media_open(&media, test_path("cancel.mkv"), &o));
    assert_ok(dns_media_next(media, &frame));
    atomic_store(&cancel.wanted, true);
    assert_status(dns_media_next(media, &frame), DNS_ERR_CANCELLED);
    assert_status(dns_media_next(media, &frame), DNS_ERR_CANCELLED);
    dns_media_close(media);
    assert_status(dns_media_open(&media, test_path("cancel.mkv"), &o), DNS_ERR_CANCELLED);
    assert_null(media);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    dns_media *media;
    dns_media_options o[8];
    for (int i = 0; i < 8; i++)
        o[i] = dns_media_options_default();
    o[0].size = 0;
    o[1].size = 5000;
    o[2].short_side = 223;
    o[3].n_threads = 0;
    o[4].gap_seconds = 0;
    o[5].max_seconds = -1;
    o[6].max_duration = NAN;
    o[7].sampling = (dns_sampling)3;
    for (int i = 0; i < 8; i++) {
        assert_status(dns_media_open(&media, "x.mp4", &o[i]), DNS_ERR_ARG);
        assert_null(media);
    }
    dns_media_close(NULL);
}

static void several_decoder_threads_give_the_same(void **state)
{
    (void)state;
    test_clip clip = {.n_frames = 200, .n_b_frames = 2, .width = 320, .height = 240};
    if (test_has_encoder("libx264"))
        clip.codec = "libx264";
    test_clip_write(test_path("threads.mp4"), &clip);
    static test_reading one;
    for (int mode = 0; mode < 3; mode++) {
        dns_media_options o = test_options((dns_sampling)mode);
        read_with(test_path("threads.mp4"), o);
        one = reading;
        o.n_threads = 3;
        read_with(test_path("threads.mp4"), o);
        assert_int_equal(reading.n, one.n);
        assert_memory_equal(reading.checksums, one.checksums, one.n * sizeof one.checksums[0]);
        assert_memory_equal(reading.times, one.times, one.n * sizeof one.times[0]);
    }
}

/* Every second real clip, by key frames, some of them exactly. */
static void real_clips_are_read(void **state)
{
    (void)state;
    char folder[4096], path[8192];
    size_t n = 0;
    const char *shared = test_shared();
    if (shared != NULL)
        snprintf(folder, sizeof folder, "%s/videos", shared);
    else
        test_data_path(folder, sizeof folder, "clips");
    DIR *list = opendir(folder);
    if (list == NULL)
        skip();
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || dot[1] == '\0' || strstr(".mp4.mkv.webm.avi.mov", dot) == NULL)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (n++ % 2 == 0)
            continue;
        bool exact = n % 8 == 0;
        read_with(path, test_options(exact ? DNS_SAMPLING_EXACT : DNS_SAMPLING_KEYFRAME));
        if (reading.end != DNS_EOF || reading.n == 0 || reading.facts.n_errors > 0 ||
            (exact && fabs((double)reading.n - reading.facts.duration) > 1.5) ||
            (!exact && (double)reading.n < fmin(4, floor(reading.facts.duration)) - 1))
            fail_msg("%s: %s, %zu frames in %g s, %zu errors", entry->d_name,
                     dns_status_name(reading.end), reading.n, reading.facts.duration,
                     reading.facts.n_errors);
    }
    closedir(list);
    assert_true(n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_file_is_refused_and_never_waited_for),
        cmocka_unit_test(what_is_no_video_is_refused),
        cmocka_unit_test(what_opens_other_files_is_refused),
        cmocka_unit_test(any_name_is_a_name),
        cmocka_unit_test(cut_files_give_the_frames_that_are_left),
        cmocka_unit_test(damage_is_counted),
        cmocka_unit_test(a_video_without_a_single_good_frame_is_an_error),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(the_limit_of_pixels_holds_for_every_frame),
        cmocka_unit_test(a_wish_to_stop_is_heard),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(several_decoder_threads_give_the_same),
        cmocka_unit_test(real_clips_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
