/* What tests share. */
#ifndef DNS_TEST_SUPPORT_H
#define DNS_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dnsel/memory.h"
#include "dnsel/random.h"
#include "dnsel/status.h"

/* Fails the test with the text of the error. */
#define assert_ok(expression)                                          \
    do {                                                               \
        dns_status assert_ok_status = (expression);                    \
        if (assert_ok_status != DNS_OK)                                \
            fail_msg("%s: %s (%s)", #expression, dns_status_message(), \
                     dns_status_name(assert_ok_status));               \
    } while (0)

#define assert_status(expression, expected)                                                       \
    do {                                                                                          \
        dns_status assert_status_got = (expression);                                              \
        if (assert_status_got != (expected))                                                      \
            fail_msg("%s: %s (%s), expected %s", #expression, dns_status_name(assert_status_got), \
                     dns_status_message(), dns_status_name(expected));                            \
    } while (0)

/* Fails unless |a - b| <= absolute + relative * |b| for all entries; names the first that is not.
 */
void test_assert_close(const char *what, const float *a, const float *b, size_t n, double absolute,
                       double relative);

/* A new temporary folder, removed with all its files at exit. Borrowed. */
const char *test_folder(void);

/* tests/data/<name>, in the source tree. */
void test_data_path(char *path, size_t size, const char *name);

/* The folder ../shared beside the checkout (or $DNS_SHARED), NULL where there is none: such tests
 * then skip(). */
const char *test_shared(void);

/* Calls `parse` on `n_rounds` damaged copies of the bytes (flips, cuts, repeats, random runs, huge
 * lengths) and on every cut of the first 64 bytes. It must return without crashing; what it returns
 * does not matter. Seed from $DNS_TEST_SEED. The number of rounds is multiplied by
 * $DNS_FUZZ_ROUNDS. */
void test_fuzz(const void *bytes, size_t size, size_t n_rounds,
               void (*parse)(const uint8_t *bytes, size_t size));

#endif
