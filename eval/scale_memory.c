/* What the system knows: page cache, resident memory, and how fast memory is read. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dnsel/memory.h"
#include "scale_parts.h"

/* ---- the page cache ---- */

static size_t cached_pages(int file, size_t size, size_t page)
{
    size_t n = (size + page - 1) / page, cached = 0;
    unsigned char *present = NULL;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED)
        return n;
    if (dns_alloc(&present, n, 1) != DNS_OK || mincore(map, size, present) != 0)
        cached = n;
    else
        for (size_t i = 0; i < n; i++)
            cached += present[i] & 1;
    dns_free(present);
    munmap(map, size);
    return cached;
}

static void drop_file(size_t *pages, size_t *left, int file)
{
    struct stat info;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0)
        return;
    fdatasync(file); /* what is not on the device cannot be dropped */
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    *pages += ((size_t)info.st_size + page - 1) / page;
    *left += cached_pages(file, (size_t)info.st_size, page);
}

dns_status scale_drop(size_t *pages, size_t *left, const char *directory)
{
    DIR *folder = opendir(directory);
    if (folder == NULL)
        return dns_status_set_errno("%s", directory);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        int file = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (file < 0)
            continue;
        drop_file(pages, left, file);
        close(file);
    }
    closedir(folder);
    return DNS_OK;
}

/* ---- resident memory ---- */

void scale_resident(uint64_t *own, uint64_t *mapped)
{
    char line[128];
    unsigned long long kib;
    FILE *file = fopen("/proc/self/status", "re");
    *own = *mapped = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssAnon: %llu", &kib) == 1)
            *own = kib * 1024;
        else if (sscanf(line, "RssFile: %llu", &kib) == 1)
            *mapped = kib * 1024;
    if (file != NULL)
        fclose(file);
}

/* ---- reading memory ---- */

enum { PIECE = 1 << 20, LANES = 16, TRIES = 5 };

struct reading {
    const uint8_t *data;
    size_t bytes;
    uint64_t *sums; /* [workers * LANES]: kept, so that nothing is optimised away */
};

/* Independent sums leave the loads alone to wait for. */
static dns_status read_piece(void *payload, size_t task, size_t worker)
{
    const struct reading *r = payload;
    uint64_t sum[LANES] = {0}, words[LANES];
    size_t start = task * PIECE, end = r->bytes - start < PIECE ? r->bytes : start + PIECE;
    for (size_t at = start; at + sizeof words <= end; at += sizeof words) {
        memcpy(words, r->data + at, sizeof words);
        for (size_t i = 0; i < LANES; i++)
            sum[i] ^= words[i];
    }
    for (size_t i = 0; i < LANES; i++)
        r->sums[worker * LANES + i] ^= sum[i];
    return DNS_OK;
}

dns_status scale_read_time(double *seconds, const void *data, size_t bytes, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct reading r = {.data = data, .bytes = bytes};
    *seconds = 0;
    DNS_TRY(dns_alloc(&r.sums, dns_pool_size(pool) * LANES, sizeof *r.sums));
    for (int i = 0; i < TRIES; i++) {
        double start = dns_seconds();
        DNS_TRY(dns_pool_run(pool, (bytes + PIECE - 1) / PIECE, read_piece, &r));
        double taken = dns_seconds() - start;
        if (i == 0 || taken < *seconds)
            *seconds = taken;
    }
out:
    dns_free(r.sums);
    return status;
}
