/* The tile of every instruction set against its plain twin, and the layer against sums in double.
 */
#include "support.h"

#include <math.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/long_linear.h"
#include "long_linear_tile.h"

static void fill(dns_random *random, float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)dns_random_normal(random);
}

static void tiles_equal_their_plain_twin(void **state)
{
    enum { MOST = 300 };
    static float x[LONG_TILE * MOST], w[LONG_TILE * MOST];
    static const unsigned sets[] = {0, DNS_CPU_AVX2, DNS_CPU_AVX2 | DNS_CPU_AVX512};
    (void)state;
    dns_random random = dns_random_seed(1);
    fill(&random, x, LONG_TILE * MOST);
    fill(&random, w, LONG_TILE * MOST);
    for (size_t s = 0; s < 3; s++) {
        if ((sets[s] & ~dns_cpu_detect()) != 0)
            continue;
        long_linear_tile tile = dns_long_linear_tile_for(sets[s]);
        for (size_t k = 0; k <= 70; k++) {
            float got[LONG_TILE * 5], expected[LONG_TILE * 5];
            fill(&random, got, LONG_TILE * 5);
            memcpy(expected, got, sizeof got);
            tile(got, 5, x, MOST, w, MOST - 1, k);
            dns_long_linear_tile_plain(expected, 5, x, MOST, w, MOST - 1, k);
            test_assert_close("tile", got, expected, LONG_TILE * 5, 1e-5, 1e-6);
        }
    }
}

static void any_sizes_give_the_products(void **state)
{
    enum { MOST_IN = 5000, MOST_OUT = 135, MOST_N = 9 };
    static float x[MOST_N * MOST_IN], w[MOST_OUT * MOST_IN], y[MOST_N * MOST_OUT],
        again[MOST_N * MOST_OUT];
    static const size_t ins[] = {1, 17, 2048, 2049, MOST_IN}, outs[] = {1, 3, 4, 64, 65, MOST_OUT};
    (void)state;
    dns_random random = dns_random_seed(2);
    fill(&random, x, MOST_N * MOST_IN);
    fill(&random, w, MOST_OUT * MOST_IN);
    dns_pool *pool;
    assert_ok(dns_pool_create(&pool, 3));
    for (size_t a = 0; a < 5; a++) {
        for (size_t b = 0; b < 6; b++) {
            size_t in = ins[a], out = outs[b], n = 1 + (a + b) % MOST_N;
            assert_ok(dns_long_linear_forward(y, x, w, n, in, out, NULL));
            assert_ok(dns_long_linear_forward(again, x, w, n, in, out, pool));
            assert_memory_equal(y, again, n * out * sizeof *y);
            for (size_t i = 0; i < n * out; i++) {
                double sum = 0;
                for (size_t l = 0; l < in; l++)
                    sum += (double)x[i / out * in + l] * (double)w[i % out * in + l];
                assert_true(fabs((double)y[i] - sum) < 1e-6 * (double)(in + 10));
            }
            /* A row does not depend on the others. */
            assert_ok(dns_long_linear_forward(again, x + (n - 1) * in, w, 1, in, out, NULL));
            assert_memory_equal(again, y + (n - 1) * out, out * sizeof *y);
        }
    }
    dns_pool_free(pool);
    assert_ok(dns_long_linear_forward(y, x, w, 0, 5, 5, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_equal_their_plain_twin),
        cmocka_unit_test(any_sizes_give_the_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
