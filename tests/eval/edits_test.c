/* Edited copies: drawn, applied to pictures and files, and whole sets of them. */
#include <stdlib.h>
#include <string.h>

#include "clip_reader.h"
#include "clip_writer.h"
#include "dnsel/csv.h"
#include "dnsel/edits.h"
#include "dnsel/file.h"
#include "support.h"

static dns_edit_plan plan, other;

static void draw(dns_edit_plan *out, dns_edit_kind kind, size_t width, size_t height, uint64_t seed)
{
    dns_random random = dns_random_seed(seed);
    dns_edit_draw(out, kind, width, height, &random);
}

/* ---- drawing ---- */

static void names_come_back(void **state)
{
    (void)state;
    dns_edit_kind kind;
    for (int i = 0; i < DNS_EDIT_KINDS; i++) {
        assert_ok(dns_edit_parse(&kind, dns_edit_name((dns_edit_kind)i)));
        assert_int_equal(kind, i);
        assert_int_equal(dns_edit_needs_host(kind), i == DNS_EDIT_PIP || i == DNS_EDIT_EMBED);
    }
    assert_status(dns_edit_parse(&kind, "color"), DNS_ERR_ARG);
    assert_non_null(strstr(dns_status_message(), "colour, blur"));
}

static void the_seed_decides(void **state)
{
    (void)state;
    for (int kind = 0; kind < DNS_EDIT_KINDS; kind++) {
        draw(&plan, (dns_edit_kind)kind, 320, 240, 7);
        draw(&other, (dns_edit_kind)kind, 320, 240, 7);
        assert_memory_equal(&plan, &other, sizeof plan);
        draw(&other, (dns_edit_kind)kind, 320, 240, 8);
        assert_memory_not_equal(&plan, &other, sizeof plan);
    }
}

static void size_does_not_change_how_much_is_drawn(void **state)
{
    (void)state;
    for (int kind = 0; kind < DNS_EDIT_KINDS; kind++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            dns_random small = dns_random_seed(seed), large = small;
            dns_edit_draw(&plan, (dns_edit_kind)kind, 16, 16, &small);
            dns_edit_draw(&other, (dns_edit_kind)kind, 1920, 1080, &large);
            assert_memory_equal(&small, &large, sizeof small);
            assert_int_equal(plan.base, other.base);
            assert_int_equal(plan.quality, other.quality);
        }
}

static void strengths_are_within_their_bounds(void **state)
{
    (void)state;
    for (int kind = 0; kind < DNS_EDIT_KINDS; kind++)
        for (uint64_t seed = 0; seed < 200; seed++) {
            draw(&plan, (dns_edit_kind)kind, 640, 360, seed);
            assert_true(plan.speed >= .5 && plan.speed <= 2 && plan.quality >= 8 &&
                        plan.quality <= 80);
            assert_true(plan.place >= 0 && plan.place < 1 && plan.share >= .15 &&
                        plan.share <= .85);
            assert_int_equal(plan.excerpt > 0, kind >= DNS_EDIT_EXCERPT);
            assert_int_equal(plan.around > 0, kind == DNS_EDIT_EMBED);
            assert_int_equal(plan.rate > 0, kind == DNS_EDIT_RATE);
            assert_true(plan.excerpt <= 8 && plan.around <= 40);
            assert_true(kind != DNS_EDIT_SPEED || plan.speed < .9 || plan.speed > 1.1);
            assert_true(strlen(plan.filter) < DNS_EDIT_FILTER_SIZE / 2);
        }
}

/* ---- pictures ---- */

static dns_pictures pictures(size_t n, size_t width, size_t height, int shade)
{
    dns_pictures p = {.n = n, .width = width, .height = height};
    assert_ok(dns_alloc(&p.pixels, n * width * height, 3));
    for (size_t i = 0; i < n * width * height; i++) {
        size_t x = i % width, y = i / width % height;
        p.pixels[3 * i] = (uint8_t)(shade + (int)(120 * x / width));
        p.pixels[3 * i + 1] = (uint8_t)(shade + (int)(100 * y / height));
        p.pixels[3 * i + 2] = (uint8_t)(shade + ((x / 8 + y / 8) % 2 ? 80 : 0));
    }
    return p;
}

static double mean_difference(const dns_pictures *a, const dns_pictures *b)
{
    double sum = 0;
    size_t n = a->n * a->width * a->height * 3;
    for (size_t i = 0; i < n; i++)
        sum += abs(a->pixels[i] - b->pixels[i]);
    return sum / (double)n;
}

static void every_edit_changes_pictures_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{16, 16}, {97, 64}, {64, 131}, {224, 224}};
    dns_media_options fit = dns_media_options_default();
    fit.geometry = DNS_GEOMETRY_STRETCH;
    fit.size = 64;
    for (size_t i = 0; i < 4; i++) {
        dns_pictures in = pictures(3, sizes[i][0], sizes[i][1], 20),
                     host = pictures(2, 50, 40, 120), plain, same;
        assert_ok(dns_pictures_fit(&plain, &in, &fit));
        for (int kind = 0; kind < DNS_EDIT_KINDS; kind++)
            for (uint64_t seed = 0; seed < 6; seed++) {
                dns_pictures out, small;
                draw(&plan, (dns_edit_kind)kind, in.width, in.height, seed);
                assert_ok(dns_edit_apply_pictures(&out, &in, &host, &plan));
                assert_int_equal(out.n, 3);
                assert_ok(dns_pictures_fit(&small, &out, &fit));
                assert_true(mean_difference(&small, &plain) > .5);
                assert_ok(dns_edit_apply_pictures(&same, &in, &host, &plan));
                assert_memory_equal(out.pixels, same.pixels, out.n * out.width * out.height * 3);
                dns_pictures_free(&out);
                dns_pictures_free(&small);
                dns_pictures_free(&same);
            }
        dns_pictures_free(&in);
        dns_pictures_free(&host);
        dns_pictures_free(&plain);
    }
}

static void edits_do_what_their_names_say(void **state)
{
    (void)state;
    dns_pictures in = pictures(1, 128, 96, 40), host = pictures(1, 128, 96, 0), out;
    memset(host.pixels, 250, 128 * 96 * 3);
    for (uint64_t seed = 0; seed < 8; seed++) {
        draw(&plan, DNS_EDIT_FLIP, 128, 96, seed);
        assert_ok(dns_edit_apply_pictures(&out, &in, NULL, &plan));
        assert_true(out.pixels[3 * (48 * 128 + 5)] >
                    out.pixels[3 * (48 * 128 + 122)] + 60); /* red falls now */
        dns_pictures_free(&out);
        draw(&plan, DNS_EDIT_CROP, 128, 96, seed);
        assert_ok(dns_edit_apply_pictures(&out, &in, NULL, &plan));
        assert_in_range(out.width, 62, 98);
        assert_in_range(out.height, 46, 74);
        dns_pictures_free(&out);
        draw(&plan, DNS_EDIT_PIP, 128, 96, seed);
        assert_ok(dns_edit_apply_pictures(&out, &in, &host, &plan));
        size_t n_white = 0;
        for (size_t i = 0; i < 128 * 96; i++)
            n_white += out.pixels[3 * i + 1] > 215;
        assert_in_range(n_white, 128 * 96 * 55 / 100,
                        128 * 96 * 90 / 100); /* 1 - .62^2 to 1 - .4^2 */
        dns_pictures_free(&out);
        draw(&plan, DNS_EDIT_REENCODE, 128, 96, seed);
        assert_ok(dns_edit_apply_pictures(&out, &in, NULL, &plan));
        assert_in_range(out.width, 50, 90);
        dns_pictures_free(&out);
    }
    dns_pictures_free(&in);
    dns_pictures_free(&host);
}

static void wrong_pictures_are_refused(void **state)
{
    (void)state;
    dns_pictures in = pictures(1, 64, 64, 0), out;
    draw(&plan, DNS_EDIT_FLIP, 64, 48, 1);
    assert_status(dns_edit_apply_pictures(&out, &in, NULL, &plan), DNS_ERR_ARG);
    draw(&plan, DNS_EDIT_PIP, 64, 64, 1);
    assert_status(dns_edit_apply_pictures(&out, &in, NULL, &plan), DNS_ERR_ARG);
    assert_null(out.pixels);
    dns_pictures_free(&in);
}

/* ---- files ---- */

/* Eight seconds of noise-free stripes that say the number of the frame. */
static const char *original_file(char *path)
{
    test_clip clip = {.n_frames = 80, .rate = 10, .width = 160, .height = 120};
    strcpy(path, test_path("original.mp4"));
    test_clip_write(path, &clip);
    return path;
}

static void paint_gray(AVFrame *frame, int number)
{
    (void)number;
    test_frame_fill(frame, (const int[]){120, 128, 128, 255});
}

/* Half a minute of nothing but gray. */
static const char *gray_file(char *path)
{
    test_clip clip = {
        .n_frames = 300, .rate = 10, .width = 160, .height = 120, .paint = paint_gray};
    strcpy(path, test_path("gray.mp4"));
    test_clip_write(path, &clip);
    return path;
}

static void every_edit_writes_a_file(void **state)
{
    (void)state;
    char original[256], host[256], path[256];
    static test_reading reading;
    dns_edit_facts facts;
    original_file(original);
    gray_file(host);
    strcpy(path, test_path("copy.mp4"));
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    for (int kind = 0; kind < DNS_EDIT_KINDS; kind++)
        for (uint64_t seed = 0; seed < 2; seed++) {
            dns_random random = dns_random_seed(seed);
            assert_ok(dns_edit_apply_file(&plan, &facts, path, original, host, (dns_edit_kind)kind,
                                          &random, NULL));
            test_read(&reading, path, &o);
            assert_int_equal(reading.end, DNS_EOF);
            assert_near(reading.facts.duration, facts.duration, .05);
            assert_true(facts.start >= 0 && facts.end > facts.start &&
                        facts.end <= facts.duration + .2);
            double shown = (plan.excerpt > 0 ? plan.excerpt : 8) / plan.speed;
            assert_near(facts.end - facts.start, shown, .3);
            if (kind == DNS_EDIT_RATE)
                assert_near(reading.facts.frame_rate, fmin(plan.rate, 10), .01);
        }
}

/* Chroma of half the size needs even sizes, which not every file has. */
static void files_of_odd_sizes_are_edited(void **state)
{
    (void)state;
    char original[256], host[256], path[256];
    dns_edit_facts facts;
    test_clip clip = {.n_frames = 40,
                      .rate = 10,
                      .width = 161,
                      .height = 121,
                      .codec = "ffv1",
                      .container = "matroska"};
    strcpy(original, test_path("odd.mkv"));
    strcpy(path, test_path("copy.mp4"));
    test_clip_write(original, &clip);
    gray_file(host);
    for (int kind = 0; kind < DNS_EDIT_KINDS; kind++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            dns_random random = dns_random_seed(seed);
            assert_ok(dns_edit_apply_file(&plan, &facts, path, original, host, (dns_edit_kind)kind,
                                          &random, NULL));
        }
}

/* The gray of the host is there before and after the excerpt, and something else between. */
static void embedded_excerpts_lie_where_the_facts_say(void **state)
{
    (void)state;
    char original[256], host[256], path[256];
    dns_edit_facts facts;
    original_file(original);
    gray_file(host);
    strcpy(path, test_path("embedded.mp4"));
    dns_media_options o = test_options(DNS_SAMPLING_EXACT);
    for (uint64_t seed = 0; seed < 4; seed++) {
        dns_random random = dns_random_seed(seed);
        dns_media *media;
        dns_frame frame;
        size_t n_inside = 0, n_outside = 0;
        assert_ok(dns_edit_apply_file(&plan, &facts, path, original, host, DNS_EDIT_EMBED, &random,
                                      NULL));
        assert_ok(dns_media_open(&media, path, &o));
        while (dns_media_next(media, &frame) == DNS_OK) {
            double spread = 0;
            for (size_t i = 0; i < 64 * 64; i++)
                spread += abs(frame.pixels[3 * i] - 121);
            bool is_gray = spread / (64 * 64) < 4;
            if (frame.time > facts.start + .3 && frame.time < facts.end - .3) {
                assert_false(is_gray);
                n_inside++;
            } else if (frame.time < facts.start - .3 || frame.time > facts.end + .3) {
                assert_true(is_gray);
                n_outside++;
            }
        }
        dns_media_close(media);
        assert_true(n_inside >= 1 && n_outside >= 8);
    }
}

static void files_that_cannot_be_edited_are_refused(void **state)
{
    (void)state;
    char original[256], tiny[256], out[256];
    dns_edit_facts facts;
    dns_random random = dns_random_seed(1);
    dns_cancel cancel = {true};
    dns_edit_file_options o = dns_edit_file_options_default();
    test_clip clip = {.n_frames = 3, .width = 8, .height = 8};
    original_file(original);
    strcpy(tiny, test_path("tiny.mkv"));
    strcpy(out, test_path("refused.mp4"));
    test_clip_write(tiny, &clip);
    assert_status(
        dns_edit_apply_file(&plan, &facts, out, original, NULL, DNS_EDIT_PIP, &random, NULL),
        DNS_ERR_ARG);
    assert_status(
        dns_edit_apply_file(&plan, &facts, out, original, NULL, DNS_EDIT_EMBED, &random, NULL),
        DNS_ERR_ARG);
    assert_status(
        dns_edit_apply_file(&plan, &facts, out, original, tiny, DNS_EDIT_EMBED, &random, NULL),
        DNS_ERR_ARG);
    assert_status(dns_edit_apply_file(&plan, &facts, out, tiny, NULL, DNS_EDIT_FLIP, &random, NULL),
                  DNS_ERR_ARG);
    assert_status(
        dns_edit_apply_file(&plan, &facts, out, "/nowhere", NULL, DNS_EDIT_FLIP, &random, NULL),
        DNS_ERR_NOTFOUND);
    o.cancel = &cancel;
    assert_status(
        dns_edit_apply_file(&plan, &facts, out, original, NULL, DNS_EDIT_FLIP, &random, &o),
        DNS_ERR_CANCELLED);
    assert_false(dns_file_exists(out));
}

/* ---- sets ---- */

static char videos[256], hosts[256];

static void write_text(const char *folder, const char *name, const char *text)
{
    char *path;
    assert_ok(dns_path_join(&path, folder, name));
    assert_ok(dns_file_write(path, text, strlen(text)));
    dns_free(path);
}

/* Three clips, of which two are of one scene, a file that is none, and a folder with another. */
static int make_folders(void **state)
{
    (void)state;
    static const char *const names[] = {"a.mp4", "b, c.mp4", "deep/d.mkv", "broken.mp4"};
    strcpy(videos, test_path("videos"));
    strcpy(hosts, test_path("hosts"));
    char *path;
    assert_ok(dns_path_join(&path, videos, "deep"));
    assert_ok(dns_directory_make(path));
    dns_free(path);
    assert_ok(dns_directory_make(hosts));
    for (int i = 0; i < 3; i++) {
        test_clip clip = {.n_frames = 40 + 10 * i, .rate = 10, .width = 64, .height = 64};
        assert_ok(dns_path_join(&path, videos, names[i]));
        test_clip_write(path, &clip);
        dns_free(path);
    }
    write_text(videos, names[3], "this is no video");
    write_text(videos, "manifest.csv",
               "scene_group,file\ng1,a.mp4\ng1,\"b, c.mp4\"\ng2,deep/d.mkv\ng3,absent.mp4\n");
    test_clip clip = {.n_frames = 120, .rate = 10, .paint = paint_gray, .width = 64, .height = 64};
    assert_ok(dns_path_join(&path, hosts, "h.mp4"));
    test_clip_write(path, &clip);
    dns_free(path);
    return 0;
}

static void read_table(dns_csv **table, const char *folder)
{
    char *path;
    assert_ok(dns_path_join(&path, folder, "truth.csv"));
    assert_ok(dns_csv_read(table, path));
    dns_free(path);
}

static dns_digest digest_below(const char *folder, const char *name)
{
    char *path;
    dns_digest digest;
    assert_ok(dns_path_join(&path, folder, name));
    assert_ok(dns_digest_of_file(&digest, path));
    dns_free(path);
    return digest;
}

static void a_set_is_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    char first[256], second[256];
    dns_edit_set_report r;
    dns_pool *pool;
    dns_csv *truth;
    strcpy(first, test_path("first"));
    strcpy(second, test_path("second"));
    dns_edit_set_options o = dns_edit_set_options_default();
    o.hosts = hosts;
    assert_ok(dns_edit_set_make(&r, videos, first, &o));
    assert_int_equal(r.n_originals, 3);
    assert_int_equal(r.n_hosts, 1);
    assert_int_equal(r.n_unreadable, 1);
    assert_int_equal(r.n_copies, 3 * DNS_EDIT_KINDS);
    assert_int_equal(r.n_failed, 0);
    assert_ok(dns_pool_create(&pool, 3));
    o.pool = pool;
    assert_ok(dns_edit_set_make(&r, videos, second, &o));
    dns_pool_free(pool);
    read_table(&truth, first);
    size_t query = dns_csv_column(truth, "query"), original = dns_csv_column(truth, "original"),
           group = dns_csv_column(truth, "scene_group"), exclude = dns_csv_column(truth, "exclude");
    assert_int_equal(dns_csv_rows(truth), 3 * DNS_EDIT_KINDS);
    for (size_t row = 0; row < dns_csv_rows(truth); row++) {
        dns_digest a = digest_below(first, dns_csv_field(truth, row, query)),
                   b = digest_below(second, dns_csv_field(truth, row, query));
        if (!dns_digest_equal(&a, &b))
            fail_msg("%s differs", dns_csv_field(truth, row, query));
        bool is_deep = strcmp(dns_csv_field(truth, row, original), "deep/d.mkv") == 0;
        assert_string_equal(dns_csv_field(truth, row, group), is_deep ? "g2" : "g1");
        assert_string_equal(dns_csv_field(truth, row, exclude), ""); /* hosts from elsewhere */
    }
    dns_csv_free(truth);
    static const char *const lists[] = {"truth.csv", "plans.csv", "hosts.txt", "originals.txt"};
    for (int i = 0; i < 4; i++) {
        dns_digest a = digest_below(first, lists[i]), b = digest_below(second, lists[i]);
        if (!dns_digest_equal(&a, &b))
            fail_msg("%s differs", lists[i]);
    }
}

/* deep/d.mkv alone has a scene of its own, so it is set aside; one of a and b is drawn for each
 * kind. */
static void footage_is_set_aside_and_the_scene_is_whole(void **state)
{
    (void)state;
    char out[256], *text;
    size_t size, n_for_b = 0;
    dns_edit_set_report r;
    dns_csv *truth;
    strcpy(out, test_path("aside"));
    dns_edit_set_options o = dns_edit_set_options_default();
    memset(o.kinds, 0, sizeof o.kinds);
    o.kinds[DNS_EDIT_PIP] = true;
    o.per_kind = 1;
    assert_ok(dns_edit_set_make(&r, videos, out, &o));
    assert_int_equal(r.n_originals, 2);
    assert_int_equal(r.n_hosts, 1);
    assert_int_equal(r.n_copies, 1);
    read_table(&truth, out);
    /* The copy, and the other video of its scene, which the index will hold as well. */
    assert_int_equal(dns_csv_rows(truth), 2);
    for (size_t row = 0; row < 2; row++) {
        assert_string_equal(dns_csv_field(truth, row, dns_csv_column(truth, "exclude")),
                            "deep/d.mkv");
        assert_string_equal(dns_csv_field(truth, row, dns_csv_column(truth, "edit")), "pip");
        n_for_b +=
            strcmp(dns_csv_field(truth, row, dns_csv_column(truth, "original")), "b, c.mp4") == 0;
    }
    assert_int_equal(n_for_b, 1);
    dns_csv_free(truth);
    char *path;
    assert_ok(dns_path_join(&path, out, "hosts.txt"));
    assert_ok(dns_file_read(&text, &size, path, 4096));
    assert_string_equal(text, "deep/d.mkv\n");
    dns_free(text);
    dns_free(path);
    assert_ok(dns_path_join(&path, out, "originals.txt"));
    assert_ok(dns_file_read(&text, &size, path, 4096));
    assert_null(strstr(text, "d.mkv"));
    assert_non_null(strstr(text, "/b, c.mp4\n"));
    dns_free(text);
    dns_free(path);
}

static void sets_that_cannot_be_made_are_refused(void **state)
{
    (void)state;
    char empty[256], out[256], table[256];
    dns_edit_set_report r;
    dns_cancel cancel = {true};
    strcpy(empty, test_path("empty"));
    strcpy(out, test_path("nothing"));
    strcpy(table, test_path("table.csv"));
    assert_ok(dns_directory_make(empty));
    dns_edit_set_options o = dns_edit_set_options_default();
    assert_status(dns_edit_set_make(&r, "/no/such/folder", out, &o), DNS_ERR_NOTFOUND);
    assert_status(dns_edit_set_make(&r, empty, out, &o), DNS_ERR_NOTFOUND);
    o.groups = table;
    assert_status(dns_edit_set_make(&r, videos, out, &o), DNS_ERR_NOTFOUND);
    write_text(test_folder(), "table.csv", "name,scene\na.mp4,1\n");
    assert_status(dns_edit_set_make(&r, videos, out, &o), DNS_ERR_FORMAT);
    o.groups = NULL;
    o.file.cancel = &cancel;
    assert_status(dns_edit_set_make(&r, videos, out, &o), DNS_ERR_CANCELLED);
    assert_false(dns_directory_exists(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_back),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(size_does_not_change_how_much_is_drawn),
        cmocka_unit_test(strengths_are_within_their_bounds),
        cmocka_unit_test(every_edit_changes_pictures_of_every_size),
        cmocka_unit_test(edits_do_what_their_names_say),
        cmocka_unit_test(wrong_pictures_are_refused),
        cmocka_unit_test(every_edit_writes_a_file),
        cmocka_unit_test(files_of_odd_sizes_are_edited),
        cmocka_unit_test(embedded_excerpts_lie_where_the_facts_say),
        cmocka_unit_test(files_that_cannot_be_edited_are_refused),
        cmocka_unit_test(a_set_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(footage_is_set_aside_and_the_scene_is_whole),
        cmocka_unit_test(sets_that_cannot_be_made_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folders, NULL);
}
