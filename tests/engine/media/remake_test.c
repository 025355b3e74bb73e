/* Files and pictures through graphs of filters. */
#include <stdlib.h>
#include <string.h>

#include "clip_reader.h"
#include "clip_writer.h"
#include "dnsel/file.h"
#include "dnsel/remake.h"
#include "support.h"

static test_reading reading;

static void copy_path(char *path, const char *name)
{
    strcpy(path, test_path(name));
}

/* Eight seconds of ten frames, then read back one a second. */
static void remake_and_read(const dns_remake_input *inputs, size_t n_inputs,
                            const char *description, const dns_remake_options *options)
{
    char path[256];
    size_t n_frames;
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    copy_path(path, "made.mp4");
    assert_ok(dns_remake_file(path, inputs, n_inputs, description, options, &n_frames));
    test_read(&reading, path, &o);
    assert_int_equal(reading.end, DNS_EOF);
    assert_int_equal(reading.facts.n_errors, 0);
    assert_near(reading.facts.duration * reading.facts.frame_rate, (double)n_frames, 1);
}

static const char *numbered(char *path, const char *name, int turn)
{
    test_clip clip = {
        .n_frames = 80, .rate = 10, .width = 128, .height = 96, .gop = 30, .turn = turn};
    copy_path(path, name);
    test_clip_write(path, &clip);
    return path;
}

static void a_copy_shows_the_same_frames(void **state)
{
    (void)state;
    char path[256];
    dns_remake_input input = {.path = numbered(path, "a.mp4", 0)};
    dns_remake_options o = dns_remake_options_default();
    o.rate = 10;
    remake_and_read(&input, 1, "[0]null[out]", &o);
    test_assert_frames(&reading, (const int[]){0, 10, 20, 30, 40, 50, 60, 70}, 8, 10);
    o.rate = 5;
    o.quality = 20;
    remake_and_read(&input, 1, "[0]null[out]", &o);
    assert_int_equal(reading.n, 8);
    assert_near(reading.facts.frame_rate, 5, 1e-6);
    remake_and_read(&input, 1, "[0]setpts=PTS/2[out]", &o);
    assert_int_equal(reading.n, 4);
}

static void parts_are_cut_at_their_seconds(void **state)
{
    (void)state;
    char path[256];
    dns_remake_input input = {.path = numbered(path, "a.mp4", 0), .start = 2, .duration = 3};
    dns_remake_options o = dns_remake_options_default();
    o.rate = 10;
    remake_and_read(&input, 1, "[0]null[out]", &o);
    assert_int_equal(reading.n, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(reading.numbers[i], 20 + 10 * i);
    input = (dns_remake_input){.path = path, .start = 6.5}; /* past the place from which it seeks */
    remake_and_read(&input, 1, "[0]null[out]", &o);
    assert_int_equal(reading.n, 2);
    assert_int_equal(reading.numbers[0], 65);
    assert_int_equal(reading.numbers[1], 75);
}

static void three_parts_are_joined(void **state)
{
    (void)state;
    char a[256], b[256];
    dns_remake_input inputs[] = {
        {numbered(a, "a.mp4", 0), 0, 2}, {numbered(b, "b.mp4", 0), 4, 3}, {a, 5, 1}};
    dns_remake_options o = dns_remake_options_default();
    o.rate = 10;
    remake_and_read(inputs, 3, "[0][1][2]concat=n=3:v=1:a=0[out]", &o);
    assert_int_equal(reading.n, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(reading.numbers[i], ((const int[]){0, 10, 40, 50, 60, 50})[i]);
}

static void inputs_arrive_upright(void **state)
{
    (void)state;
    char path[256];
    dns_remake_input input = {.path = numbered(path, "turned.mp4", 90)};
    remake_and_read(&input, 1, "[0]null[out]", NULL);
    assert_int_equal(reading.facts.width, 96);
    assert_int_equal(reading.facts.height, 128);
    remake_and_read(&input, 1, "[0]transpose=cclock[out]", NULL);
    assert_int_equal(reading.facts.width, 128);
    assert_int_equal(reading.numbers[3], 30);
}

static void the_same_call_gives_the_same_bytes(void **state)
{
    (void)state;
    char path[256], made[256];
    dns_digest first, second;
    dns_remake_input input = {.path = numbered(path, "a.mp4", 0)};
    const char *description = "[0]noise=alls=20:allf=t:all_seed=7,rotate=0.2,hue=h=50[out]";
    copy_path(made, "twice.mp4");
    assert_ok(dns_remake_file(made, &input, 1, description, NULL, NULL));
    assert_ok(dns_digest_of_file(&first, made));
    assert_ok(dns_remake_file(made, &input, 1, description, NULL, NULL));
    assert_ok(dns_digest_of_file(&second, made));
    assert_true(dns_digest_equal(&first, &second));
}

static void what_cannot_be_made_leaves_no_file(void **state)
{
    (void)state;
    char path[256], made[256], text[256];
    dns_remake_input input = {.path = numbered(path, "a.mp4", 0)},
                     missing = {.path = "/nowhere/x.mp4"};
    dns_remake_options o = dns_remake_options_default();
    dns_cancel cancel = {true};
    copy_path(made, "not-made.mp4");
    assert_status(dns_remake_file(made, &input, 1, "[0]no_such_filter[out]", NULL, NULL),
                  DNS_ERR_ARG);
    assert_non_null(strstr(dns_status_message(), "no_such_filter"));
    assert_status(dns_remake_file(made, &input, 1, "[0]null[elsewhere]", NULL, NULL), DNS_ERR_ARG);
    assert_status(dns_remake_file(made, &input, 1, "", NULL, NULL), DNS_ERR_ARG);
    assert_status(dns_remake_file(made, &input, 0, "[0]null[out]", NULL, NULL), DNS_ERR_ARG);
    assert_status(dns_remake_file(made, &input, 4, "[0]null[out]", NULL, NULL), DNS_ERR_ARG);
    assert_status(dns_remake_file(made, &missing, 1, "[0]null[out]", NULL, NULL), DNS_ERR_NOTFOUND);
    input.start = 100;
    assert_status(dns_remake_file(made, &input, 1, "[0]null[out]", NULL, NULL), DNS_ERR_DECODE);
    input.start = -1;
    assert_status(dns_remake_file(made, &input, 1, "[0]null[out]", NULL, NULL), DNS_ERR_ARG);
    input.start = 0;
    assert_status(dns_remake_file(made, &input, 1, "[0]trim=end=0[out]", NULL, NULL),
                  DNS_ERR_DECODE);
    o.quality = 0;
    assert_status(dns_remake_file(made, &input, 1, "[0]null[out]", &o, NULL), DNS_ERR_ARG);
    o = dns_remake_options_default();
    o.rate = 0;
    assert_status(dns_remake_file(made, &input, 1, "[0]null[out]", &o, NULL), DNS_ERR_ARG);
    o = dns_remake_options_default();
    o.cancel = &cancel;
    assert_status(dns_remake_file(made, &input, 1, "[0]null[out]", &o, NULL), DNS_ERR_CANCELLED);
    o = dns_remake_options_default();
    o.max_pixels = 1000;
    assert_status(dns_remake_file(made, &input, 1, "[0]null[out]", &o, NULL), DNS_ERR_LIMIT);
    assert_false(dns_file_exists(made));
    snprintf(text, sizeof text, "%s/no/such/folder.mp4", test_folder());
    assert_int_not_equal(dns_remake_file(text, &input, 1, "[0]null[out]", NULL, NULL), DNS_OK);
}

/* ---- pictures ---- */

enum { WIDTH = 60, HEIGHT = 40 };

/* Colours rise with x and y, and from picture to picture. */
static dns_pictures some_pictures(size_t n)
{
    dns_pictures p = {.n = n, .width = WIDTH, .height = HEIGHT};
    assert_ok(dns_alloc(&p.pixels, n * WIDTH * HEIGHT, 3));
    for (size_t i = 0; i < n * WIDTH * HEIGHT; i++) {
        p.pixels[3 * i] = (uint8_t)(i % WIDTH * 4);
        p.pixels[3 * i + 1] = (uint8_t)(i / WIDTH % HEIGHT * 6);
        p.pixels[3 * i + 2] = (uint8_t)(i / (WIDTH * HEIGHT) * 20);
    }
    return p;
}

static const uint8_t *at(const dns_pictures *p, size_t i, size_t y, size_t x)
{
    return p->pixels + 3 * ((i * p->height + y) * p->width + x);
}

static double mean_difference(const dns_pictures *a, const dns_pictures *b)
{
    double sum = 0;
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    size_t n = a->n * a->width * a->height * 3;
    for (size_t i = 0; i < n; i++)
        sum += abs(a->pixels[i] - b->pixels[i]);
    return sum / (double)n;
}

static void pictures_come_back(void **state)
{
    (void)state;
    dns_pictures in = some_pictures(5), out, worse, worst;
    assert_ok(dns_remake_pictures(&out, &in, 1, "[0]null[out]", 0));
    assert_true(mean_difference(&in, &out) < 2);
    assert_ok(dns_remake_pictures(&worse, &in, 1, "[0]null[out]", 80));
    assert_ok(dns_remake_pictures(&worst, &in, 1, "[0]null[out]", 20));
    assert_true(mean_difference(&in, &worse) < 4);
    assert_true(mean_difference(&in, &worst) > mean_difference(&in, &worse));
    dns_pictures_free(&out);
    dns_pictures_free(&worse);
    dns_pictures_free(&worst);
    assert_ok(dns_remake_pictures(&out, &in, 1, "[0]hflip,crop=30:40:0:0[out]", 0));
    assert_int_equal(out.n, 5);
    assert_int_equal(out.width, 30);
    assert_near(at(&out, 2, 20, 10)[0], at(&in, 2, 20, WIDTH - 1 - 10)[0], 6);
    assert_near(at(&out, 4, 20, 10)[2], 80, 8);
    dns_pictures_free(&out);
    dns_pictures_free(&in);
    assert_null(in.pixels);
}

static void pictures_lie_in_others(void **state)
{
    (void)state;
    dns_pictures in[2] = {some_pictures(3), some_pictures(6)}, out;
    memset(in[0].pixels, 200, 3 * 3 * WIDTH * HEIGHT);
    assert_ok(dns_remake_pictures(
        &out, in, 2, "[0]scale=30:20[small];[1][small]overlay=10:10:shortest=1[out]", 0));
    assert_int_equal(out.n, 3);
    assert_near(at(&out, 1, 20, 25)[0], 200, 3);
    assert_near(at(&out, 1, 5, 25)[0], 100, 6);
    dns_pictures_free(&out);
    dns_pictures_free(&in[0]);
    dns_pictures_free(&in[1]);
}

static void pictures_that_cannot_be_made_are_refused(void **state)
{
    (void)state;
    dns_pictures in = some_pictures(2), none = {.width = 4, .height = 4}, out;
    assert_status(dns_remake_pictures(&out, &in, 1, "[0]nonsense[out]", 0), DNS_ERR_ARG);
    assert_null(out.pixels);
    assert_status(dns_remake_pictures(&out, &none, 1, "[0]null[out]", 0), DNS_ERR_ARG);
    assert_status(dns_remake_pictures(&out, &in, 1, "[0]null[out]", 101), DNS_ERR_ARG);
    assert_status(dns_remake_pictures(&out, &in, 0, "[0]null[out]", 0), DNS_ERR_ARG);
    assert_status(dns_remake_pictures(&out, &in, 1, "[0]trim=end=0[out]", 0), DNS_ERR_DECODE);
    dns_media_options o = dns_media_options_default();
    o.size = 0;
    assert_status(dns_pictures_fit(&out, &in, &o), DNS_ERR_ARG);
    assert_status(dns_pictures_fit(&out, &none, NULL), DNS_ERR_ARG);
    dns_pictures_free(&in);
}

static void fitting_shows_the_right_part(void **state)
{
    (void)state;
    static dns_pictures in;
    dns_pictures out;
    in = some_pictures(1);
    for (int way = 0; way < 6; way++) {
        dns_media_options o = dns_media_options_default();
        o.geometry = (dns_geometry)(way % 2);
        o.interpolation = (dns_interpolation)(way / 2);
        o.short_side = 36;
        o.size = 32;
        assert_ok(dns_pictures_fit(&out, &in, &o));
        assert_int_equal(out.n, 1);
        assert_int_equal(out.width, 32);
        double half = way % 2 == 0 ? 32. / 36 * HEIGHT / WIDTH / 2 : .5;
        assert_near(at(&out, 0, 16, 0)[0], 236 * (.5 - half * 31 / 32), 5);
        assert_near(at(&out, 0, 16, 31)[0], 236 * (.5 + half * 31 / 32), 5);
        dns_pictures_free(&out);
    }
    dns_pictures_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_shows_the_same_frames),
        cmocka_unit_test(parts_are_cut_at_their_seconds),
        cmocka_unit_test(three_parts_are_joined),
        cmocka_unit_test(inputs_arrive_upright),
        cmocka_unit_test(the_same_call_gives_the_same_bytes),
        cmocka_unit_test(what_cannot_be_made_leaves_no_file),
        cmocka_unit_test(pictures_come_back),
        cmocka_unit_test(pictures_lie_in_others),
        cmocka_unit_test(pictures_that_cannot_be_made_are_refused),
        cmocka_unit_test(fitting_shows_the_right_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
