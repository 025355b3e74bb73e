/* The store with several processes and threads, and with a map that grows. */
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnsel/json.h"
#include "dnsel/store.h"
#include "sample.h"

static char folder[256];

/* Runs `body` in a child, whose exit status tells; asserts do not reach the parent from there. */
static int in_child(int (*body)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int try_to_write(void)
{
    dns_store *store;
    char expected[64];
    snprintf(expected, sizeof expected, "process %ld is", (long)getppid());
    if (dns_store_open(&store, folder, DNS_STORE_WRITE, NULL) != DNS_ERR_BUSY)
        return 1;
    if (strstr(dns_status_message(), expected) == NULL)
        return 2;
    dns_store_settings settings = sample_settings();
    return dns_store_create(&store, folder, &settings, NULL) == DNS_ERR_BUSY ? 0 : 3;
}

static void a_second_writer_is_told_who_the_first_is(void **state)
{
    (void)state;
    dns_store *store;
    sample_folder(folder, "writers");
    sample_index(folder, 3);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    /* A child inherits the list of what this process has open, and must not run into it first. */
    assert_int_equal(in_child(try_to_write), 0);
    dns_store_close(store);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    dns_store_close(store);
}

/* Reads the whole index again and again while the parent writes; all videos must always be of one
 * version. */
static int read_until_version_9(void)
{
    dns_store *store;
    if (dns_store_open(&store, folder, DNS_STORE_READ, NULL) != DNS_OK)
        return 1;
    for (double start = dns_seconds(); dns_seconds() - start < 30;) {
        dns_snapshot *snapshot;
        if (dns_snapshot_open(&snapshot, store) != DNS_OK)
            return 2;
        uint32_t version = 0;
        for (size_t i = 0; i < 60; i++) {
            dns_meta meta;
            dns_record record;
            uint64_t id = dns_id_of_name(sample_name(i));
            if (dns_snapshot_meta(&meta, snapshot, id) != DNS_OK ||
                (i > 0 && meta.n_errors != version))
                return 3;
            version = meta.n_errors;
            if (dns_snapshot_get(&record, snapshot, DNS_KIND_REGIONS, id, true) != DNS_OK)
                return 4;
        }
        dns_snapshot_close(snapshot);
        if (version == 9) {
            dns_store_close(store);
            return 0;
        }
    }
    return 5;
}

static void another_process_reads_whole_commits_during_a_build(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    sample_folder(folder, "reader");
    sample_index(folder, 60);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(read_until_version_9());
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    dns_batch_options options = {.max_videos = 0};
    assert_ok(dns_batch_create(&batch, store, &options));
    for (unsigned version = 1; version <= 9; version++) {
        for (size_t i = 0; i < 60; i++)
            assert_ok(sample_put(batch, i, version));
        assert_ok(dns_batch_commit(batch));
        usleep(20000);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    dns_batch_free(batch);
    dns_store_close(store);
}

static void killed_readers_do_not_hold_pages(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    char path[300];
    struct stat before, after;
    sample_folder(folder, "stale");
    sample_index(folder, 60);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dns_snapshot *snapshot;
        if (dns_store_open(&store, folder, DNS_STORE_READ, NULL) != DNS_OK ||
            dns_snapshot_open(&snapshot, store) != DNS_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (unsigned version = 1; version <= 3; version++) {
        for (size_t i = 0; i < 60; i++)
            assert_ok(sample_put(batch, i, version));
        assert_ok(dns_batch_commit(batch));
    }
    assert_int_equal(stat(path, &before), 0);
    for (unsigned version = 4; version <= 20; version++) {
        for (size_t i = 0; i < 60; i++)
            assert_ok(sample_put(batch, i, version));
        assert_ok(dns_batch_commit(batch));
    }
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size < before.st_size + before.st_size / 2);
    close(ready[0]);
    close(ready[1]);
    dns_batch_free(batch);
    dns_store_close(store);
}

static void the_map_grows_by_itself(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *old, *new;
    sample_folder(folder, "grow");
    sample_index(folder, 1);
    dns_store_options bulk = DNS_STORE_OPTIONS_INIT;
    bulk.bulk = true;
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, &bulk));
    assert_ok(dns_snapshot_open(&old, store));
    assert_ok(dns_batch_create(&batch, store, NULL));
    uint8_t *codes;
    enum { T = 2000 };
    assert_ok(dns_alloc(&codes, T * 9 * 64, 1));
    dns_record record = {.kind = DNS_KIND_FINE_BINARY,
                         .dtype = DNS_U8,
                         .rank = 3,
                         .shape = {T, 9, 64},
                         .data = codes};
    char name[32];
    for (unsigned i = 0; i < 60; i++) { /* 69 MB; the first map has 16 */
        snprintf(name, sizeof name, "long %u", i);
        codes[0] = (uint8_t)i;
        dns_meta meta = {.name = name, .n_frames = T};
        assert_ok(dns_batch_put(batch, &meta, &record, 1, NULL));
    }
    assert_ok(dns_batch_commit(batch));
    sample_expect(old, 0, 0); /* LMDB's map has moved meanwhile, ours has not */
    assert_ok(dns_snapshot_open(&new, store));
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "long %u", i);
        assert_ok(dns_snapshot_get(&record, new, DNS_KIND_FINE_BINARY, dns_id_of_name(name), true));
        assert_int_equal(*(const uint8_t *)record.data, i);
    }
    dns_store_stat stat_of;
    assert_ok(dns_snapshot_stat(&stat_of, new));
    assert_int_equal(stat_of.kinds[DNS_KIND_FINE_BINARY].n_records, 61);
    assert_true(stat_of.kinds[DNS_KIND_FINE_BINARY].bytes > 60 * T * 9 * 64);
    assert_true(stat_of.file_bytes > 60 * T * 9 * 64);
    assert_true(stat_of.n_frames >= 60 * T + 4);
    dns_free(codes);
    dns_snapshot_close(old);
    dns_snapshot_close(new);
    dns_batch_free(batch);
    dns_store_close(store);
}

typedef struct looker {
    dns_store *store;
    atomic_bool stop;
    atomic_int n_wrong;
    atomic_int n_snapshots;
} looker;

/* Every snapshot holds the videos 0 .. n-1 for some n, each whole. */
static void *look(void *payload)
{
    looker *l = payload;
    while (!atomic_load(&l->stop)) {
        dns_snapshot *snapshot;
        if (dns_snapshot_open(&snapshot, l->store) != DNS_OK) {
            atomic_fetch_add(&l->n_wrong, 1);
            continue;
        }
        size_t n = dns_snapshot_count(snapshot, DNS_KIND_META);
        for (size_t i = 0; i < n + 1; i += n / 4 + 1) {
            char name[32];
            dns_record record;
            snprintf(name, sizeof name, "long %zu", i);
            dns_status expected = i < n ? DNS_OK : DNS_ERR_NOTFOUND;
            if (dns_snapshot_get(&record, snapshot, DNS_KIND_FINE_BINARY, dns_id_of_name(name),
                                 true) != expected)
                atomic_fetch_add(&l->n_wrong, 1);
        }
        atomic_fetch_add(&l->n_snapshots, 1);
        dns_snapshot_close(snapshot);
    }
    return NULL;
}

static void threads_share_a_writer_while_its_map_grows(void **state)
{
    (void)state;
    enum { N_THREADS = 3, T = 300 };
    pthread_t threads[N_THREADS];
    looker l = {0};
    dns_batch *batch;
    sample_folder(folder, "threads");
    dns_store_settings settings = sample_settings();
    dns_store_options bulk = {.bulk = true};
    assert_ok(dns_store_create(&l.store, folder, &settings, &bulk));
    assert_ok(dns_batch_create(&batch, l.store, NULL));
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look, &l), 0);
    uint8_t *codes;
    assert_ok(dns_alloc(&codes, T * 9 * 64, 1));
    dns_record record = {.kind = DNS_KIND_FINE_BINARY,
                         .dtype = DNS_U8,
                         .rank = 3,
                         .shape = {T, 9, 64},
                         .data = codes};
    for (unsigned i = 0; i < 240; i++) { /* 41 MB */
        char name[32];
        snprintf(name, sizeof name, "long %u", i);
        dns_meta meta = {.name = name, .n_frames = T};
        assert_ok(dns_batch_put(batch, &meta, &record, 1, NULL));
        if (i % 4 == 0)
            assert_ok(dns_batch_commit(batch));
    }
    atomic_store(&l.stop, true);
    for (size_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(l.n_wrong, 0);
    assert_true(l.n_snapshots > 0);
    dns_free(codes);
    dns_batch_free(batch);
    dns_store_close(l.store);
}

static void a_creation_cut_short_can_be_repeated(void **state)
{
    (void)state;
    dns_store *store;
    char path[300];
    sample_folder(folder, "ruins");
    dns_store_settings settings = sample_settings();
    assert_ok(dns_store_create(&store, folder, &settings, NULL));
    dns_store_close(store);
    snprintf(path, sizeof path, "%s/index.json", folder);
    assert_int_equal(unlink(path), 0); /* as if killed just before it was written */
    assert_ok(dns_store_create(&store, folder, &settings, NULL));
    dns_batch *batch;
    assert_ok(dns_batch_create(&batch, store, NULL));
    assert_ok(sample_put(batch, 0, 0));
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
    assert_int_equal(unlink(path), 0);
    assert_status(dns_store_create(&store, folder, &settings, NULL),
                  DNS_ERR_EXISTS); /* it holds videos: kept */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_writer_is_told_who_the_first_is),
        cmocka_unit_test(another_process_reads_whole_commits_during_a_build),
        cmocka_unit_test(killed_readers_do_not_hold_pages),
        cmocka_unit_test(the_map_grows_by_itself),
        cmocka_unit_test(threads_share_a_writer_while_its_map_grows),
        cmocka_unit_test(a_creation_cut_short_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
