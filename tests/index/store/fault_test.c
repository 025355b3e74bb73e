/*
 * Power failures and full disks. The system calls that write are replaced in this program (they
 * reach LMDB too, which is a shared library), so that the process can be killed, or the disk fill
 * up, at the first, second, ... of them, until a run comes through untouched. Beside that: kills at
 * random times, a real full file system, and a file size limit.
 */
#define _GNU_SOURCE
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnsel/matrix.h"
#include "dnsel/verify.h"
#include "sample.h"

/* ---- the replaced calls ---- */

typedef enum fault { NO_FAULT, KILL_BEFORE, KILL_HALF_WAY, NO_SPACE, CUT_SHORT } fault;

static fault armed;
static long countdown; /* calls until it strikes; goes below 0 after */
static bool lasting;   /* a disk stays full */

static bool strikes(void)
{
    if (armed == NO_FAULT)
        return false;
    countdown--;
    return countdown == 0 || (countdown < 0 && lasting);
}

#define REAL(name) (*(void **)(&real) = dlsym(RTLD_NEXT, name))

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    ssize_t (*real)(int, const void *, size_t, off_t);
    REAL("pwrite");
    if (!strikes())
        return real(fd, data, n, at);
    if (armed == KILL_HALF_WAY && real(fd, data, n / 2, at) < 0)
        die();
    if (armed == KILL_BEFORE || armed == KILL_HALF_WAY)
        die();
    if (armed == CUT_SHORT && n > 1)
        return real(fd, data, n / 2, at);
    errno = ENOSPC;
    return -1;
}

ssize_t pwritev(int fd, const struct iovec *parts, int n_parts, off_t at)
{
    ssize_t (*real)(int, const struct iovec *, int, off_t);
    REAL("pwritev");
    if (!strikes())
        return real(fd, parts, n_parts, at);
    if (armed == KILL_HALF_WAY && real(fd, parts, n_parts / 2, at) < 0)
        die();
    if (armed == KILL_BEFORE || armed == KILL_HALF_WAY)
        die();
    if (armed == CUT_SHORT && n_parts > 1)
        return real(fd, parts, n_parts / 2, at);
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *data, size_t n)
{
    ssize_t (*real)(int, const void *, size_t);
    REAL("write");
    if (fd <= 2 || !strikes())
        return real(fd, data, n);
    if (armed == KILL_BEFORE || armed == KILL_HALF_WAY)
        die();
    errno = ENOSPC;
    return -1;
}

int fdatasync(int fd)
{
    int (*real)(int);
    REAL("fdatasync");
    if (strikes() && (armed == KILL_BEFORE || armed == KILL_HALF_WAY))
        die();
    return 0; /* nobody pulls the plug here, and waiting for the disk takes most of the time */
}

int fsync(int fd)
{
    return fdatasync(fd);
}

int rename(const char *from, const char *to)
{
    int (*real)(const char *, const char *);
    REAL("rename");
    if (!strikes())
        return real(from, to);
    if (armed == KILL_BEFORE || armed == KILL_HALF_WAY)
        die();
    errno = ENOSPC;
    return -1;
}

/* Our own allocations, by the linker's --wrap. */
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static long allocations; /* until one fails; 0: none does */

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    if (allocations > 0 && --allocations == 0)
        return NULL;
    return __real_aligned_alloc(alignment, size);
}

/* ---- the work that is interrupted ---- */

enum { N_VIDEOS = 24 };

static char folder[256];

static bool removed(size_t i)
{
    return i % 5 == 3;
}

/* Makes the index or goes on with it: puts what is not there, four videos a commit, then removes
 * some and writes a matrix. */
static dns_status work(void)
{
    dns_status status = DNS_OK;
    dns_store *store = NULL;
    dns_batch *batch = NULL;
    dns_snapshot *snapshot = NULL;
    dns_store_settings settings = sample_settings();
    dns_batch_options options = {.max_videos = 4};
    status = dns_store_open(&store, folder, DNS_STORE_WRITE, NULL);
    if (status == DNS_ERR_NOTFOUND)
        status = dns_store_create(&store, folder, &settings, NULL);
    if (status != DNS_OK)
        goto out;
    DNS_TRY(dns_batch_create(&batch, store, &options));
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    for (size_t i = 0; i < N_VIDEOS; i++) {
        dns_meta meta;
        status = dns_snapshot_meta(&meta, snapshot, dns_id_of_name(sample_name(i)));
        if (status == DNS_ERR_NOTFOUND)
            status = sample_put(batch, i, 0);
        if (status != DNS_OK)
            goto out;
    }
    DNS_TRY(dns_batch_commit(batch));
    for (size_t i = 0; i < N_VIDEOS; i++)
        if (removed(i))
            DNS_TRY(dns_batch_remove(batch, dns_id_of_name(sample_name(i))));
    DNS_TRY(dns_batch_commit(batch));
    dns_snapshot_close(snapshot);
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL, NULL));
out:
    dns_batch_free(batch);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return status;
}

static dns_digest digest_of(const char *directory)
{
    dns_store *store;
    dns_snapshot *snapshot;
    dns_digest digest;
    assert_ok(dns_store_open(&store, directory, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_digest(&digest, snapshot, NULL));
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return digest;
}

/* Whole videos only, and those of the first commits before those of later ones. Returns how many
 * there are. */
static size_t expect_whole_videos(void)
{
    dns_store *store;
    dns_snapshot *snapshot;
    dns_verify_report report;
    dns_status status = dns_store_open(&store, folder, DNS_STORE_READ, NULL);
    if (status == DNS_ERR_NOTFOUND)
        return 0; /* not even created */
    assert_ok(status);
    assert_ok(dns_snapshot_open(&snapshot, store));
    size_t n = dns_snapshot_count(snapshot, DNS_KIND_META), n_found = 0;
    for (size_t i = 0; i < N_VIDEOS; i++) {
        bool there = sample_compare(snapshot, i, 0, true) == 1;
        if (!there)
            assert_int_equal(sample_compare(snapshot, i, 0, false), 1);
        n_found += there;
    }
    assert_int_equal(n, n_found);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    assert_ok(dns_store_verify(&report, folder, NULL));
    if (report.n_corrupt > 0)
        fail_msg("verify: %s", dns_status_message());
    return n;
}

/* Runs the work in a child with a fault at call number `at`. Returns the child's wait status. */
static int work_with_fault(fault what, long at, bool stays)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        armed = what;
        countdown = at;
        lasting = stays;
        dns_status status = work();
        armed = NO_FAULT;
        _exit(status == DNS_OK ? 0 : status == DNS_ERR_FULL ? 28 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static dns_digest uninterrupted(void)
{
    sample_folder(folder, "whole");
    assert_ok(work());
    assert_int_equal(expect_whole_videos(), N_VIDEOS - 5);
    return digest_of(folder);
}

static void killed_at(fault what, const char *name)
{
    dns_digest expected = uninterrupted();
    long at = 1;
    for (int status = 1; status != 0; at++) {
        sample_folder(folder, name);
        status = work_with_fault(what, at, false);
        if (status != 0) {
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            expect_whole_videos();
            assert_ok(work()); /* going on where it stopped */
        }
        assert_int_equal(expect_whole_videos(), N_VIDEOS - 5);
        dns_digest got = digest_of(folder);
        assert_true(dns_digest_equal(&got, &expected));
    }
    print_message("%ld calls\n", at - 2);
    assert_true(at > 30); /* else the calls were not replaced */
}

static void a_kill_at_any_call_loses_no_commit(void **state)
{
    (void)state;
    killed_at(KILL_BEFORE, "kill");
}

static void a_kill_within_a_write_loses_no_commit(void **state)
{
    (void)state;
    killed_at(KILL_HALF_WAY, "half");
}

static void full_at(fault what, const char *name)
{
    dns_digest expected = uninterrupted();
    long at = 1;
    for (int status = 1; status != 0; at++) {
        sample_folder(folder, name);
        status = work_with_fault(what, at, true);
        assert_true(WIFEXITED(status));
        if (status != 0) {
            if (what == NO_SPACE)
                assert_int_equal(WEXITSTATUS(status), 28);
            expect_whole_videos();
            assert_ok(work()); /* space was freed */
        }
        dns_digest got = digest_of(folder);
        assert_true(dns_digest_equal(&got, &expected));
    }
    assert_true(at > 25);
}

static void a_disk_full_at_any_call_is_told_and_loses_no_commit(void **state)
{
    (void)state;
    full_at(NO_SPACE, "full");
}

static void a_write_cut_short_at_any_call_loses_no_commit(void **state)
{
    (void)state;
    full_at(CUT_SHORT, "short");
}

static void kills_at_random_times_lose_no_commit(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(21);
    sample_folder(folder, "random");
    dns_store_settings settings = sample_settings();
    dns_store *store;
    assert_ok(dns_store_create(&store, folder, &settings, NULL));
    dns_store_close(store);
    const char *more = getenv("DNS_FUZZ_ROUNDS");
    unsigned n_rounds = 40 * (more != NULL ? (unsigned)strtoul(more, NULL, 10) : 1);
    for (unsigned round = 1; round <= n_rounds; round++) {
        int told[2];
        assert_int_equal(pipe(told), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) { /* tells the number of each video whose commit has come back */
            dns_batch *batch;
            if (dns_store_open(&store, folder, DNS_STORE_WRITE, NULL) != DNS_OK ||
                dns_batch_create(&batch, store, NULL) != DNS_OK)
                _exit(1);
            for (uint8_t i = 0;; i = (uint8_t)((i + 1) % N_VIDEOS))
                if (sample_put(batch, i, round) != DNS_OK || dns_batch_commit(batch) != DNS_OK ||
                    write(told[1], &i, 1) != 1)
                    _exit(1);
        }
        close(told[1]);
        usleep((useconds_t)(2000 + dns_random_below(&random, 30000)));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        uint8_t done;
        bool committed[N_VIDEOS] = {false};
        while (read(told[0], &done, 1) == 1)
            committed[done] = true;
        close(told[0]);
        dns_snapshot *snapshot;
        dns_verify_report report;
        assert_ok(dns_store_verify(&report, folder, NULL));
        assert_int_equal(report.n_corrupt, 0);
        assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
        assert_ok(dns_snapshot_open(&snapshot, store));
        for (size_t i = 0; i < N_VIDEOS; i++) {
            dns_meta meta;
            dns_status found = dns_snapshot_meta(&meta, snapshot, dns_id_of_name(sample_name(i)));
            if (committed[i]) {
                assert_ok(found);
                assert_int_equal(meta.n_errors, round);
            }
            if (found == DNS_OK) /* of this round or an earlier one, but of one */
                assert_int_equal(sample_compare(snapshot, i, meta.n_errors, true), 1);
        }
        dns_snapshot_close(snapshot);
        dns_store_close(store);
    }
}

/* Everything that reads, on an index that is there. */
static dns_status read_everything(void)
{
    dns_status status = DNS_OK;
    dns_store *store = NULL;
    dns_snapshot *snapshot = NULL;
    dns_matrix *matrix = NULL;
    dns_verify_report report;
    dns_digest digest;
    dns_store_stat sizes;
    uint64_t *ids = NULL;
    size_t n;
    DNS_TRY(dns_store_verify(&report, folder, NULL));
    DNS_TRY(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_snapshot_digest(&digest, snapshot, NULL));
    DNS_TRY(dns_snapshot_stat(&sizes, snapshot));
    DNS_TRY(dns_snapshot_changes(&ids, &n, snapshot, 0));
    DNS_TRY(dns_matrix_open(&matrix, snapshot, DNS_MATRIX_COARSE, NULL));
    dns_matrix_close(matrix);
    matrix = NULL;
    DNS_TRY(dns_matrix_open(&matrix, snapshot, DNS_MATRIX_CODES, NULL));
out:
    dns_matrix_close(matrix);
    dns_free(ids);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return status;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    dns_digest expected = uninterrupted();
    static dns_status (*const jobs[])(void) = {work, read_everything};
    for (size_t job = 0; job < 2; job++) {
        dns_status status = DNS_ERR_NOMEM;
        long at = 0;
        for (; status != DNS_OK; at += job == 0 ? 4 : 1) {
            if (job == 0)
                sample_folder(folder, "memory");
            allocations = at + 1;
            status = jobs[job]();
            bool struck = allocations == 0;
            allocations = 0;
            if (status != DNS_OK || struck)
                assert_status(status, DNS_ERR_NOMEM);
            if (status != DNS_OK && job == 0)
                assert_ok(work());
        }
        assert_true(at > 20);
        dns_digest got = digest_of(folder);
        assert_true(dns_digest_equal(&got, &expected));
    }
}

/* Puts videos until there is no space; then frees some of the limit and goes on. */
static int fill(void)
{
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    dns_store_settings settings = sample_settings();
    if (dns_store_create(&store, folder, &settings, NULL) != DNS_OK)
        return 1;
    if (dns_batch_create(&batch, store, NULL) != DNS_OK)
        return 2;
    size_t n = 0;
    dns_status status = DNS_OK;
    while (status == DNS_OK && n < 2000) {
        for (size_t i = 0; i < 3 && status == DNS_OK; i++)
            status = sample_put(batch, n + i, 0);
        if (status == DNS_OK)
            status = dns_batch_commit(batch);
        if (status == DNS_OK)
            n += 3;
    }
    if (status != DNS_ERR_FULL) {
        fprintf(stderr, "after %zu: %s\n", n, dns_status_message());
        return 3;
    }
    if (n < 6 || dns_batch_pending(batch) != 3)
        return 4;
    if (dns_snapshot_open(&snapshot, store) != DNS_OK) /* the index still answers */
        return 5;
    for (size_t i = 0; i < n; i++)
        if (sample_compare(snapshot, i, 0, true) != 1)
            return 6;
    if (dns_snapshot_count(snapshot, DNS_KIND_META) != n)
        return 7;
    dns_snapshot_close(snapshot);
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    char spare[300];
    snprintf(spare, sizeof spare, "%s/../spare", folder);
    if (unlink(spare) != 0 && setrlimit(RLIMIT_FSIZE, &unlimited) != 0)
        return 8;
    if (dns_batch_commit(batch) != DNS_OK) /* what waited is still there */
        return 9;
    if (dns_snapshot_open(&snapshot, store) != DNS_OK ||
        dns_snapshot_count(snapshot, DNS_KIND_META) != n + 3)
        return 10;
    dns_snapshot_close(snapshot);
    dns_batch_free(batch);
    dns_store_close(store);
    return 0;
}

static int fill_in_child(void (*prepare)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prepare();
        _exit(fill());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void limit_files(void)
{
    struct rlimit limit = {2 << 20, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(99);
}

static void a_file_size_limit_counts_as_a_full_disk(void **state)
{
    (void)state;
    sample_folder(folder, "limit");
    assert_int_equal(fill_in_child(limit_files), 0);
}

static void no_preparation(void)
{
}

static void a_full_file_system_is_told_and_can_be_gone_on_with(void **state)
{
    (void)state;
    char mounted[256], spare[300];
    sample_folder(mounted, "tmpfs");
    assert_ok(dns_directory_make(mounted));
    for (unsigned kib = 1024; kib <= 3072; kib += 512) {
        char options[32];
        snprintf(options, sizeof options, "size=%uk", kib);
        if (mount("tmpfs", mounted, "tmpfs", 0, options) != 0)
            skip(); /* only root may */
        assert_true(snprintf(folder, sizeof folder, "%s/index", mounted) < (int)sizeof folder);
        snprintf(spare, sizeof spare, "%s/spare", mounted);
        FILE *stream = fopen(spare, "wb");
        static char block[400 << 10];
        size_t written = stream != NULL ? fwrite(block, 1, sizeof block, stream) : 0;
        if (stream != NULL)
            fclose(stream);
        int result = written == sizeof block ? fill_in_child(no_preparation) : -1;
        umount(mounted);
        assert_int_equal(result, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_at_any_call_loses_no_commit),
        cmocka_unit_test(a_kill_within_a_write_loses_no_commit),
        cmocka_unit_test(a_disk_full_at_any_call_is_told_and_loses_no_commit),
        cmocka_unit_test(a_write_cut_short_at_any_call_loses_no_commit),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(kills_at_random_times_lose_no_commit),
        cmocka_unit_test(a_file_size_limit_counts_as_a_full_disk),
        cmocka_unit_test(a_full_file_system_is_told_and_can_be_gone_on_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
