/* Damaged files: what is read is right or an error, verify sees it, and nothing crashes. */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/verify.h"
#include "pages.h"
#include "sample.h"

enum { N_VIDEOS = 40 };

static char folder[256], path[300];
static char *image; /* data.mdb as it should be */
static size_t image_size;
static dns_digest right;

/* Videos 0 .. N_VIDEOS-1, every third replaced, some removed: a file with several commits and free
 * pages. */
static bool present(size_t i)
{
    return i % 10 != 7;
}

static unsigned version(size_t i)
{
    return i % 3 == 0 ? 1 : 0;
}

static dns_status digest_now(dns_digest *digest)
{
    dns_store *store;
    dns_snapshot *snapshot = NULL;
    dns_status status = dns_store_open(&store, folder, DNS_STORE_READ, NULL);
    if (status == DNS_OK)
        status = dns_snapshot_open(&snapshot, store);
    if (status == DNS_OK)
        status = dns_snapshot_digest(digest, snapshot, NULL);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return status;
}

static int make_image(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    sample_folder(folder, "damage");
    sample_index(folder, N_VIDEOS);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t i = 0; i < N_VIDEOS; i++) {
        if (!present(i))
            assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(i))));
        else if (version(i) != 0)
            assert_ok(sample_put(batch, i, version(i)));
        if (i % 8 == 0)
            assert_ok(dns_batch_commit(batch));
    }
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    assert_ok(dns_file_read(&image, &image_size, path, (size_t)1 << 30));
    assert_ok(digest_now(&right));
    return 0;
}

static int drop_image(void **state)
{
    (void)state;
    dns_free(image);
    return 0;
}

static void write_image(const char *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

/* Reads everything. 1: all right; 0: at least one error; never something else. */
static int read_all(void)
{
    dns_store *store;
    dns_snapshot *snapshot = NULL;
    int verdict = 1;
    if (dns_store_open(&store, folder, DNS_STORE_READ, NULL) != DNS_OK)
        return 0;
    if (dns_snapshot_open(&snapshot, store) != DNS_OK)
        verdict = 0;
    for (size_t i = 0; i < N_VIDEOS + 5 && snapshot != NULL; i++) {
        int one = sample_compare(snapshot, i, version(i), i < N_VIDEOS && present(i));
        if (one < 0)
            verdict = -1;
        else if (one == 0 && verdict > 0)
            verdict = 0;
    }
    for (int k = 0; k < DNS_KIND_COUNT && snapshot != NULL; k++) {
        uint64_t *ids;
        size_t n, expected = 0;
        for (size_t i = 0; i < N_VIDEOS; i++)
            expected += present(i);
        dns_status status = dns_snapshot_ids(&ids, &n, snapshot, (dns_kind)k);
        if (status != DNS_OK && verdict > 0)
            verdict = 0;
        if (status == DNS_OK && n != expected && k != DNS_KIND_ARCHIVE)
            verdict = -1;
        dns_free(ids);
    }
    dns_digest digest;
    if (verdict == 1 && (dns_snapshot_digest(&digest, snapshot, NULL) != DNS_OK ||
                         !dns_digest_equal(&digest, &right)))
        verdict = -1;
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return verdict;
}

/* LMDB gets to write only into a file that it can bear; afterwards everything is right or an error
 * again. */
static void write_some(void)
{
    dns_store *store;
    dns_batch *batch;
    if (dns_store_open(&store, folder, DNS_STORE_WRITE, NULL) != DNS_OK)
        return;
    assert_ok(dns_batch_create(&batch, store, NULL));
    dns_status status = DNS_OK;
    for (unsigned round = 0; round < 3 && status == DNS_OK; round++) {
        for (size_t i = 0; i < N_VIDEOS && status == DNS_OK; i += 2)
            if (present(i))
                status = sample_put(batch, i, version(i));
        for (size_t i = N_VIDEOS; i < N_VIDEOS + 3 && status == DNS_OK; i++)
            status = sample_put(batch, i, 0);
        if (status == DNS_OK)
            status = dns_batch_commit(batch);
        for (size_t i = N_VIDEOS; i < N_VIDEOS + 3 && status == DNS_OK; i++)
            status = dns_batch_remove(batch, dns_id_of_name(sample_name(i)));
        if (status == DNS_OK)
            status = dns_batch_commit(batch);
    }
    dns_batch_free(batch);
    dns_store_close(store);
}

static dns_verify_class verify_now(dns_verify_report *report)
{
    dns_status status = dns_store_verify(report, folder, NULL);
    if (status == DNS_ERR_VERSION) /* a flipped bit in the place of a version */
        return DNS_VERIFY_CORRUPT;
    assert_ok(status);
    return report->verdict;
}

/* $DNS_TEST_SEED and $DNS_FUZZ_ROUNDS, as for test_fuzz. */
static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void any_flipped_bit_is_harmless_or_found(void **state)
{
    (void)state;
    size_t n_found = 0, n_hidden = 0;
    dns_random random = dns_random_seed(from_environment("DNS_TEST_SEED", 11));
    size_t n_rounds = 500 * from_environment("DNS_FUZZ_ROUNDS", 1);
    for (size_t round = 0; round < n_rounds; round++) {
        /* One half anywhere, one half in the first bytes of a page, where its structure is. */
        size_t at = dns_random_below(&random, image_size);
        if (round % 2 == 0)
            at = at / 4096 * 4096 + dns_random_below(&random, 256);
        char bit = (char)(1 << dns_random_below(&random, 8));
        image[at] ^= bit;
        write_image(image, image_size);
        image[at] ^= bit;
        dns_verify_report report;
        int verdict = read_all();
        dns_verify_class found = verify_now(&report);
        if (verdict < 0 || (verdict == 0 && found == DNS_VERIFY_OK))
            fail_msg("bit %02x of byte %zu (page %zu + %zu): read %d, verify %d",
                     (unsigned char)bit, at, at / 4096, at % 4096, verdict, (int)found);
        n_found += found != DNS_VERIFY_OK;
        n_hidden += found == DNS_VERIFY_OK;
        if (round % 16 == 0) {
            write_some();
            verdict = read_all();
            if (verdict < 0)
                fail_msg("after writing, bit %02x of byte %zu: read %d", (unsigned char)bit, at,
                         verdict);
        }
    }
    assert_true(n_found > n_rounds / 5); /* else the test looks at free pages only */
    assert_true(n_hidden > n_rounds / 10);
    write_image(image, image_size);
    assert_int_equal(read_all(), 1);
}

static void a_file_cut_at_any_page_is_refused(void **state)
{
    (void)state;
    for (size_t size = 0; size < image_size; size += 4096) {
        write_image(image, size);
        dns_verify_report report;
        int verdict = read_all();
        assert_int_not_equal(verdict, -1);
        dns_verify_class found = verify_now(&report);
        if (verdict == 0)
            assert_int_equal(found, DNS_VERIFY_CORRUPT);
        dns_store *store;
        dns_status status = dns_store_open(&store, folder, DNS_STORE_WRITE, NULL);
        assert_true(status == DNS_OK || status == DNS_ERR_CORRUPT);
        if (found == DNS_VERIFY_CORRUPT && size < 8192)
            assert_int_equal(status, DNS_ERR_CORRUPT);
        dns_store_close(store);
    }
    for (size_t size = 0; size < 9000; size += 97) {
        write_image(image, size);
        assert_int_equal(read_all(), 0);
    }
    write_image(image, image_size);
}

typedef struct tally {
    size_t n, n_with_id;
    bool records[N_VIDEOS];
    char kinds[400];
} tally;

static void count_problem(void *payload, const dns_verify_problem *problem)
{
    tally *t = payload;
    t->n++;
    assert_true(problem->text[0] != '\0');
    strncat(t->kinds, problem->kind, sizeof t->kinds - strlen(t->kinds) - 2);
    strcat(t->kinds, " ");
    if (!problem->has_id)
        return;
    t->n_with_id++;
    for (size_t i = 0; i < N_VIDEOS; i++)
        if (dns_id_of_name(sample_name(i)) == problem->id) {
            t->records[i] = true;
            if (i != 11) /* its meta record, which has the name, is the damaged one */
                assert_string_equal(problem->path, sample_name(i));
        }
}

static void verify_names_every_damaged_record_and_copy_saves_the_rest(void **state)
{
    (void)state;
    tally t = {0};
    dns_verify_report report;
    dns_verify_options options = DNS_VERIFY_OPTIONS_INIT;
    options.payload = &t;
    options.problem = count_problem;
    write_image(image, image_size);
    assert_ok(dns_store_verify(&report, folder, &options));
    assert_int_equal(report.verdict, DNS_VERIFY_OK);
    assert_int_equal(t.n, 0);
    assert_int_equal(report.n_videos, 36);
    assert_int_equal(report.n_records, 36 * 7);
    assert_true(report.n_bytes > 36 * 10000 && report.n_pages > 100);

    static const size_t damaged[] = {2, 11, 30};
    sample_patch(folder, DNS_KIND_FINE_BINARY, dns_id_of_name(sample_name(2)), 64 + 99, "?", 1,
                 false);
    sample_patch(folder, DNS_KIND_META, dns_id_of_name(sample_name(11)), 64 + 48, "?", 1, false);
    sample_patch(folder, DNS_KIND_COARSE, dns_id_of_name(sample_name(30)), 40, "another model!!!",
                 16, true);
    assert_ok(dns_store_verify(&report, folder, &options));
    assert_int_equal(report.verdict, DNS_VERIFY_CORRUPT);
    assert_int_equal(t.n_with_id, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(t.records[damaged[i]]);

    char saved[256];
    dns_copy_report copied;
    dns_store *store;
    dns_snapshot *snapshot;
    sample_folder(saved, "saved");
    t = (tally){0};
    assert_ok(dns_store_copy(&copied, saved, folder, &options));
    assert_int_equal(copied.n_copied, 33);
    assert_int_equal(copied.n_lost, 3);
    assert_int_equal(t.n, 3);
    assert_ok(dns_store_verify(&report, saved, NULL));
    assert_int_equal(report.verdict, DNS_VERIFY_OK);
    assert_ok(dns_store_open(&store, saved, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    for (size_t i = 0; i < N_VIDEOS; i++)
        assert_int_equal(
            sample_compare(snapshot, i, version(i), present(i) && i != 2 && i != 11 && i != 30), 1);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    assert_status(dns_store_copy(&copied, saved, folder, NULL), DNS_ERR_EXISTS);
    write_image(image, image_size);
}

static void verify_tells_the_repairable_from_the_corrupt(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    char index[256], json[300];
    dns_verify_report report;
    tally t = {0};
    dns_verify_options options = DNS_VERIFY_OPTIONS_INIT;
    options.payload = &t;
    options.problem = count_problem;
    sample_folder(index, "repairable");
    assert_status(dns_store_verify(&report, index, NULL), DNS_ERR_NOTFOUND);
    sample_index(index, 5);
    assert_ok(dns_store_open(&store, index, DNS_STORE_WRITE, NULL));
    assert_status(dns_store_verify(&report, index, NULL), DNS_ERR_BUSY);
    assert_ok(dns_batch_create(&batch, store, NULL));
    uint64_t id = dns_id_of_name(sample_name(3));
    assert_ok(
        dns_batch_update(batch, id, NULL, NULL, 0, 1u << DNS_KIND_REGIONS)); /* lacks a kept kind */
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
    assert_ok(dns_store_verify(&report, index, &options));
    assert_int_equal(report.verdict, DNS_VERIFY_REPAIRABLE);
    assert_int_equal(t.n, 1);
    assert_true(t.records[3]);
    assert_string_equal(t.kinds, "regions ");

    /* The copy of index.json inside data.mdb serves when the file is damaged or gone. */
    snprintf(json, sizeof json, "%s/index.json", index);
    for (int round = 0; round < 2; round++) {
        if (round == 0)
            assert_ok(dns_file_write(json, "{}", 2));
        else
            assert_int_equal(unlink(json), 0);
        t = (tally){0};
        assert_status(dns_store_open(&store, index, DNS_STORE_READ, NULL),
                      round == 0 ? DNS_ERR_FORMAT : DNS_ERR_NOTFOUND);
        assert_ok(dns_store_verify(&report, index, &options));
        assert_int_equal(report.verdict, DNS_VERIFY_REPAIRABLE);
        assert_string_equal(t.kinds, "index.json regions ");
        char copy[256];
        dns_copy_report copied;
        sample_folder(copy, "rescued");
        assert_ok(dns_store_copy(&copied, copy, index, NULL));
        assert_int_equal(copied.n_copied, 5);
    }
    dns_cancel cancel = {true};
    options.cancel = &cancel;
    assert_status(dns_store_verify(&report, index, &options), DNS_ERR_CANCELLED);
}

/* ---- the reader of pages, on memory ---- */

static void walk_all(const dns_pages *pages, const dns_root *root, const dns_tree *tree)
{
    dns_walk walk = {0};
    dns_status status = dns_walk_start(&walk, pages, tree, NULL, 0);
    for (size_t n = 0; n < 100000; n++) {
        dns_entry entry, again, around[2];
        if (status == DNS_OK || status == DNS_ERR_CORRUPT)
            status = dns_walk_next(&entry, &walk);
        if (status == DNS_EOF)
            break;
        if (status != DNS_OK)
            continue;
        volatile uint8_t sum = 0;
        for (size_t i = 0; i < entry.value_size; i += 512)
            sum ^= entry.value[i];
        if (n % 8 == 0 &&
            dns_tree_get(&again, around, pages, tree, entry.key, entry.key_size) == DNS_OK)
            assert_int_equal(again.key_size, entry.key_size);
    }
}

static void parse_pages(const uint8_t *bytes, size_t size)
{
    dns_pages pages = {bytes, 0, 0, "image"};
    if (dns_pages_measure(&pages.page_size, bytes, size, "image") != DNS_OK)
        return;
    pages.n_pages = size / pages.page_size;
    for (unsigned which = 0; which < 2; which++) {
        dns_root root;
        dns_tree tree;
        size_t n_problems;
        uint64_t n_free;
        if (dns_pages_root(&root, &pages, which) != DNS_OK)
            continue;
        dns_status status =
            dns_pages_verify(&n_problems, &n_free, &pages, &root, which == 0, NULL, NULL);
        assert_true(status == DNS_OK || status == DNS_ERR_NOMEM);
        static const char *const names[] = {"meta",    "coarse", "regions",
                                            "journal", "state",  "nothing"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (dns_tree_open(&tree, &pages, &root, names[i]) == DNS_OK)
                walk_all(&pages, &root, &tree);
    }
}

static void the_page_reader_survives_anything(void **state)
{
    (void)state;
    parse_pages((const uint8_t *)image, image_size);
    test_fuzz(image, image_size, 200, parse_pages);
    /* The same where it hurts: single fields of page headers and entries. */
    dns_random random = dns_random_seed(12);
    uint8_t *copy = malloc(image_size);
    assert_non_null(copy);
    for (int round = 0; round < 600; round++) {
        memcpy(copy, image, image_size);
        for (int i = 0; i < 3; i++) {
            size_t at = dns_random_below(&random, image_size / 4096) * 4096 +
                        2 * dns_random_below(&random, 100);
            uint16_t value = (uint16_t)(dns_random_next(&random) >> dns_random_below(&random, 16));
            memcpy(copy + at, &value, 2);
        }
        parse_pages(copy, image_size);
    }
    free(copy);
}

static void a_sound_file_has_no_problems(void **state)
{
    (void)state;
    /* Many commits of random changes: every page accounted for, every time. */
    dns_store *store;
    dns_batch *batch;
    char index[256], file[300];
    sample_folder(index, "churn");
    sample_index(index, 10);
    snprintf(file, sizeof file, "%s/data.mdb", index);
    dns_random random = dns_random_seed(13);
    bool have[200] = {0};
    for (int round = 0; round < 15; round++) {
        dns_store_options options = {.bulk = round % 2 == 0};
        assert_ok(dns_store_open(&store, index, DNS_STORE_WRITE, &options));
        assert_ok(dns_batch_create(&batch, store, NULL));
        for (int i = 0; i < 20; i++) {
            size_t which = 10 + dns_random_below(&random, 190);
            if (have[which] && dns_random_below(&random, 2) == 0) {
                assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(which))));
                have[which] = false;
            } else {
                assert_ok(sample_put(batch, which, (unsigned)round));
                have[which] = true;
            }
            if (i % 7 == 0)
                assert_ok(dns_batch_commit(batch));
        }
        assert_ok(dns_batch_commit(batch));
        dns_batch_free(batch);
        dns_store_close(store);
        dns_verify_report report;
        assert_ok(dns_store_verify(&report, index, NULL));
        assert_int_equal(report.verdict, DNS_VERIFY_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_flipped_bit_is_harmless_or_found),
        cmocka_unit_test(a_file_cut_at_any_page_is_refused),
        cmocka_unit_test(verify_names_every_damaged_record_and_copy_saves_the_rest),
        cmocka_unit_test(verify_tells_the_repairable_from_the_corrupt),
        cmocka_unit_test(the_page_reader_survives_anything),
        cmocka_unit_test(a_sound_file_has_no_problems),
    };
    return cmocka_run_group_tests(tests, make_image, drop_image);
}
