#include "support.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void test_assert_close(const char *what, const float *a, const float *b, size_t n, double absolute,
                       double relative)
{
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= absolute + relative * fabs((double)b[i])))
            fail_msg("%s[%zu of %zu]: %.9g, expected %.9g", what, i, n, (double)a[i], (double)b[i]);
    }
}

static char folder[64];

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_folder(void)
{
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/dnsel-test-XXXXXX");
        if (mkdtemp(folder) == NULL)
            abort();
        atexit(remove_folder);
    }
    return folder;
}

void test_data_path(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", DNS_TEST_DATA, name);
}

const char *test_shared(void)
{
    static char path[4096];
    const char *given = getenv("DNS_SHARED");
    snprintf(path, sizeof path, "%s", given != NULL ? given : DNS_TEST_DATA "/../../../shared");
    return access(path, R_OK) == 0 ? path : NULL;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

static void damage(dns_random *random, uint8_t *bytes, size_t *size, size_t capacity)
{
    static const uint8_t extremes[] = {0x00, 0xff, 0x7f, 0x80, 0x01};
    size_t n = *size;
    if (n == 0)
        return;
    size_t at = dns_random_below(random, n),
           length = 1 + dns_random_below(random, n - at < 16 ? n - at : 16);
    switch (dns_random_below(random, 6)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << dns_random_below(random, 8));
        break;
    case 1:
        *size = at;
        break;
    case 2:
        memset(bytes + at, extremes[dns_random_below(random, sizeof extremes)], length);
        break;
    case 3:
        for (size_t i = 0; i < length; i++)
            bytes[at + i] = (uint8_t)dns_random_next(random);
        break;
    case 4: /* a piece is repeated */
        if (n + length <= capacity) {
            memmove(bytes + at + length, bytes + at, n - at);
            *size = n + length;
        }
        break;
    case 5: /* a piece is left out */
        memmove(bytes + at, bytes + at + length, n - at - length);
        *size = n - length;
        break;
    }
}

void test_fuzz(const void *bytes, size_t size, size_t n_rounds,
               void (*parse)(const uint8_t *bytes, size_t size))
{
    uint64_t seed = from_environment("DNS_TEST_SEED", 1);
    n_rounds *= from_environment("DNS_FUZZ_ROUNDS", 1);
    size_t capacity = size + 256;
    uint8_t *copy = malloc(capacity);
    assert_non_null(copy);
    for (size_t cut = 0; cut < 64 && cut < size; cut++) {
        memcpy(copy, bytes, cut);
        parse(copy, cut);
    }
    for (size_t round = 0; round < n_rounds; round++) {
        dns_random random = dns_random_stream(seed, round);
        memcpy(copy, bytes, size);
        size_t n = size;
        size_t n_damages = 1 + dns_random_below(&random, 4);
        for (size_t i = 0; i < n_damages; i++)
            damage(&random, copy, &n, capacity);
        uint8_t *exact = malloc(
            n > 0 ? n : 1); /* of just this size, so that a sanitizer sees a read past the end */
        assert_non_null(exact);
        memcpy(exact, copy, n);
        parse(exact, n);
        free(exact);
    }
    free(copy);
}
