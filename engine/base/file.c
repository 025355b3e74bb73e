#include "dnsel/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "dnsel/memory.h"

/* O_NONBLOCK: opening a fifo without a writer must not hang. */
static dns_status open_regular(int *out, struct stat *info, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dns_status_set_errno("%s", path);
    dns_status status = DNS_OK;
    if (fstat(fd, info) != 0)
        status = dns_status_set_errno("%s", path);
    else if (!S_ISREG(info->st_mode))
        status = dns_status_set(DNS_ERR_FORMAT, "%s: not a regular file", path);
    if (status != DNS_OK)
        close(fd);
    else
        *out = fd;
    return status;
}

dns_status dns_file_read(char **data, size_t *size, const char *path, size_t limit)
{
    dns_status status = DNS_OK;
    int fd = -1;
    char *bytes = NULL;
    struct stat info;
    *data = NULL;
    *size = 0;
    DNS_TRY(open_regular(&fd, &info, path));
    size_t n = (size_t)info.st_size;
    if (n > limit)
        DNS_FAIL(DNS_ERR_LIMIT, "%s: %zu bytes, at most %zu are read", path, n, limit);
    DNS_TRY(dns_alloc(&bytes, n + 1, 1));
    size_t done = 0;
    while (done < n) {
        ssize_t got = read(fd, bytes + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = dns_status_set_errno("%s", path);
            goto out;
        }
        if (got == 0)
            DNS_FAIL(DNS_ERR_IO, "%s: became shorter while it was read", path);
        done += (size_t)got;
    }
    *data = bytes;
    *size = n;
    bytes = NULL;
out:
    dns_free(bytes);
    if (fd >= 0)
        close(fd);
    return status;
}

dns_status dns_mapping_open(dns_mapping *out, const char *path)
{
    *out = (dns_mapping){NULL, 0};
    int fd;
    struct stat info;
    dns_status status = open_regular(&fd, &info, path);
    if (status != DNS_OK)
        return status;
    if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = dns_status_set_errno("%s", path);
        else
            *out = (dns_mapping){data, (size_t)info.st_size};
    }
    close(fd);
    return status;
}

void dns_mapping_close(dns_mapping *mapping)
{
    if (mapping->data != NULL)
        munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (dns_mapping){NULL, 0};
}

struct dns_replacement {
    FILE *stream;
    char *path, *temporary;
};

dns_status dns_replacement_open(dns_replacement **out, FILE **stream, const char *path)
{
    dns_status status = DNS_OK;
    dns_replacement *r = NULL;
    *out = NULL;
    *stream = NULL;
    DNS_TRY(dns_alloc(&r, 1, sizeof *r));
    DNS_TRY(dns_string_copy(&r->path, path));
    DNS_TRY(dns_string_format(&r->temporary, "%s.tmp.%ld", path, (long)getpid()));
    r->stream = fopen(r->temporary, "wbe");
    if (r->stream == NULL) {
        status = dns_status_set_errno("%s", r->temporary);
        goto out;
    }
    *stream = r->stream;
    *out = r;
    r = NULL;
out:
    dns_replacement_abandon(r);
    return status;
}

/* Without this the rename itself may be lost in a power failure. */
static dns_status flush_directory_of(const char *path)
{
    char *directory;
    dns_status status = dns_string_copy(&directory, path);
    if (status != DNS_OK)
        return status;
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        memcpy(directory, ".", path[0] == '\0' ? 1 : 2);
    else
        slash[slash == directory ? 1 : 0] = '\0';
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(
            fd); /* some file systems refuse this on directories; the rename is done all the same */
        close(fd);
    }
    dns_free(directory);
    return DNS_OK;
}

dns_status dns_replacement_commit(dns_replacement *r)
{
    dns_status status = DNS_OK;
    if (fflush(r->stream) != 0 || fsync(fileno(r->stream)) != 0)
        status = dns_status_set_errno("%s", r->path);
    int closed = fclose(r->stream);
    r->stream = NULL;
    if (status == DNS_OK && closed != 0)
        status = dns_status_set_errno("%s", r->path);
    if (status == DNS_OK && rename(r->temporary, r->path) != 0)
        status = dns_status_set_errno("%s", r->path);
    if (status == DNS_OK)
        status = flush_directory_of(r->path);
    dns_replacement_abandon(r);
    return status;
}

void dns_replacement_abandon(dns_replacement *r)
{
    if (r == NULL)
        return;
    if (r->stream != NULL)
        fclose(r->stream);
    if (r->temporary != NULL)
        unlink(r->temporary); /* after a commit it is gone already */
    dns_free(r->temporary);
    dns_free(r->path);
    dns_free(r);
}

dns_status dns_file_write(const char *path, const void *data, size_t size)
{
    dns_replacement *r;
    FILE *stream;
    dns_status status = dns_replacement_open(&r, &stream, path);
    if (status != DNS_OK)
        return status;
    if (size > 0 && fwrite(data, 1, size, stream) != size) {
        status = dns_status_set_errno("%s", path);
        dns_replacement_abandon(r);
        return status;
    }
    return dns_replacement_commit(r);
}

dns_status dns_directory_make(const char *path)
{
    char *copy;
    dns_status status = dns_string_copy(&copy, path);
    if (status != DNS_OK)
        return status;
    for (char *c = copy + (copy[0] == '/');; c++) {
        if (*c != '/' && *c != '\0')
            continue;
        char kept = *c;
        *c = '\0';
        if (copy[0] != '\0' && mkdir(copy, 0777) != 0 && errno != EEXIST) {
            status = dns_status_set_errno("%s", copy);
            break;
        }
        *c = kept;
        if (kept == '\0')
            break;
    }
    if (status == DNS_OK && !dns_directory_exists(path))
        status = dns_status_set(DNS_ERR_EXISTS, "%s: exists and is not a directory", path);
    dns_free(copy);
    return status;
}

bool dns_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool dns_directory_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

dns_status dns_path_join(char **out, const char *directory, const char *name)
{
    size_t n = strlen(directory);
    if (n == 0 || name[0] == '/')
        return dns_string_copy(out, name);
    return dns_string_format(out, "%s%s%s", directory, directory[n - 1] == '/' ? "" : "/", name);
}

static dns_digest digest_from(XXH128_hash_t hash)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    dns_digest digest;
    memcpy(digest.bytes, canonical.digest, sizeof digest.bytes);
    return digest;
}

dns_digest dns_digest_of(const void *data, size_t size)
{
    return digest_from(XXH3_128bits(data, size));
}

void dns_digest_text(const dns_digest *digest, char text[33])
{
    for (size_t i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", digest->bytes[i]);
}

static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool dns_digest_parse(dns_digest *digest, const char *text)
{
    for (size_t i = 0; i < 16; i++) {
        int high = hexadecimal(text[2 * i]);
        int low = high < 0 ? -1 : hexadecimal(text[2 * i + 1]);
        if (low < 0)
            return false;
        digest->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return text[32] == '\0';
}

bool dns_digest_equal(const dns_digest *a, const dns_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

struct dns_hasher {
    XXH3_state_t *state;
};

dns_status dns_hasher_create(dns_hasher **out)
{
    dns_status status = dns_alloc(out, 1, sizeof **out);
    if (status != DNS_OK)
        return status;
    (*out)->state = XXH3_createState();
    if ((*out)->state == NULL) {
        dns_free(*out);
        *out = NULL;
        return dns_status_set(DNS_ERR_NOMEM, "out of memory for a hash");
    }
    XXH3_128bits_reset((*out)->state);
    return DNS_OK;
}

void dns_hasher_add(dns_hasher *hasher, const void *data, size_t size)
{
    if (size > 0)
        XXH3_128bits_update(hasher->state, data, size);
}

dns_digest dns_hasher_digest(const dns_hasher *hasher)
{
    return digest_from(XXH3_128bits_digest(hasher->state));
}

void dns_hasher_free(dns_hasher *hasher)
{
    if (hasher == NULL)
        return;
    XXH3_freeState(hasher->state);
    dns_free(hasher);
}

dns_status dns_digest_of_file(dns_digest *digest, const char *path)
{
    enum { PIECE = 1 << 18 };
    dns_status status = DNS_OK;
    int fd = -1;
    char *piece = NULL;
    dns_hasher *hasher = NULL;
    struct stat info;
    DNS_TRY(open_regular(&fd, &info, path));
    DNS_TRY(dns_alloc(&piece, PIECE, 1));
    DNS_TRY(dns_hasher_create(&hasher));
    for (;;) {
        ssize_t got = read(fd, piece, PIECE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = dns_status_set_errno("%s", path);
            goto out;
        }
        if (got == 0)
            break;
        dns_hasher_add(hasher, piece, (size_t)got);
    }
    *digest = dns_hasher_digest(hasher);
out:
    dns_hasher_free(hasher);
    dns_free(piece);
    if (fd >= 0)
        close(fd);
    return status;
}

uint64_t dns_checksum(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}
