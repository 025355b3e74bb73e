#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/optimiser.h"

/* Two tensors and a counter, sized so that there are gaps in the block. */
static dns_parameters *make(bool training, uint64_t seed)
{
    dns_parameters *p = NULL;
    size_t w, b, n, index;
    assert_ok(dns_parameters_create(&p));
    assert_ok(
        dns_parameters_add(p, &w, "linear.weight", 2, (size_t[]){5, 7}, DNS_PARAMETER_TRAINED));
    assert_ok(dns_parameters_add(p, &n, "seen", 0, NULL, DNS_PARAMETER_COUNTER));
    assert_ok(dns_parameters_add(p, &b, "linear.bias", 1, (size_t[]){5}, DNS_PARAMETER_TRAINED));
    assert_status(dns_parameters_add(p, &index, "seen", 0, NULL, DNS_PARAMETER_COUNTER),
                  DNS_ERR_EXISTS);
    assert_status(dns_parameters_add(p, &index, "empty", 1, (size_t[]){0}, DNS_PARAMETER_BUFFER),
                  DNS_ERR_SHAPE);
    assert_status(
        dns_parameters_add(p, &index, "deep", 5, (size_t[]){1, 1, 1, 1, 1}, DNS_PARAMETER_BUFFER),
        DNS_ERR_SHAPE);
    assert_status(dns_parameters_add(p, &index, "huge", 2,
                                     (size_t[]){(size_t)1 << 40, (size_t)1 << 40},
                                     DNS_PARAMETER_BUFFER),
                  DNS_ERR_LIMIT);
    assert_ok(dns_parameters_allocate(p, training));
    assert_status(dns_parameters_add(p, &index, "late", 0, NULL, DNS_PARAMETER_BUFFER),
                  DNS_ERR_ARG);
    assert_status(dns_parameters_allocate(p, training), DNS_ERR_ARG);
    dns_random random = dns_random_seed(seed);
    dns_parameters_set_xavier(p, w, &random);
    dns_parameters_set_normal(p, b, 0.5, &random);
    dns_parameters_set_constant(p, n, 3);
    return p;
}

static void draw_gradients(dns_parameters *p, dns_random *random)
{
    for (size_t i = 0; i < dns_parameters_count(p); i++) {
        if (dns_parameters_at(p, i)->kind == DNS_PARAMETER_TRAINED) {
            for (size_t j = 0; j < dns_parameters_at(p, i)->count; j++)
                dns_parameters_gradient(p, i)[j] = (float)dns_random_normal(random);
        }
    }
}

static void tensors_lie_in_one_block(void **state)
{
    (void)state;
    dns_parameters *p = make(true, 1);
    assert_int_equal(dns_parameters_count(p), 3);
    assert_int_equal(dns_parameters_find(p, "linear.bias"), 2);
    assert_int_equal(dns_parameters_find(p, "nothing"), 3);
    assert_int_equal(dns_parameters_at(p, 2)->offset, 48 + 16);
    assert_int_equal(dns_parameters_size(p), 48 + 16 + 16);
    assert_ptr_equal(dns_parameters_weight(p, 2), dns_parameters_block(p, DNS_WEIGHTS) + 64);
    assert_ptr_equal(dns_parameters_gradient(p, 2), dns_parameters_block(p, DNS_GRADIENTS) + 64);
    float bound = sqrtf(6.0F / 12), largest = 0;
    for (size_t i = 0; i < 35; i++)
        largest = fmaxf(largest, fabsf(dns_parameters_weight(p, 0)[i]));
    assert_true(largest <= bound && largest > 0.8F * bound);
    dns_parameters_free(p);
    p = make(false, 1);
    assert_null(dns_parameters_gradient(p, 0));
    assert_null(dns_parameters_block(p, DNS_MOMENT_2));
    dns_parameters_zero_gradients(p);
    assert_status(dns_adam_step(p, &(dns_adam)DNS_ADAM_INIT, 1, 1, NULL), DNS_ERR_ARG);
    assert_status(dns_parameters_save_checkpoint(p, "unused", NULL, 0), DNS_ERR_ARG);
    dns_parameters_free(p);
    dns_parameters_free(NULL);
}

/* The textbook formula in double, entry by entry. */
static void adam_moves_as_written(void **state)
{
    (void)state;
    for (int decoupled = 0; decoupled < 2; decoupled++) {
        dns_parameters *p = make(true, 2);
        dns_adam adam = DNS_ADAM_INIT;
        adam.weight_decay = 0.1;
        adam.decoupled = decoupled;
        double w = dns_parameters_weight(p, 0)[3], m = 0, v = 0;
        dns_random random = dns_random_seed(3);
        for (size_t step = 1; step <= 5; step++) {
            draw_gradients(p, &random);
            double g = dns_parameters_gradient(p, 0)[3];
            assert_ok(dns_adam_step(p, &adam, 0.01, step, NULL));
            if (decoupled)
                w -= 0.01 * 0.1 * w;
            else
                g += 0.1 * w;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            w -= 0.01 * m / (1 - pow(0.9, (double)step)) /
                 (sqrt(v / (1 - pow(0.999, (double)step))) + 1e-8);
            assert_true(fabs(w - dns_parameters_weight(p, 0)[3]) < 1e-6);
        }
        assert_true(dns_parameters_weight(p, 1)[0] == 3);
        dns_parameters_free(p);
    }
}

static void adam_is_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    float *kept = NULL;
    const size_t large = 200000;
    for (size_t n = 1; n <= 3; n++) {
        dns_pool *pool;
        dns_parameters *p;
        size_t a, b;
        assert_ok(dns_pool_create(&pool, n));
        assert_ok(dns_parameters_create(&p));
        assert_ok(dns_parameters_add(p, &a, "a", 1, &large, DNS_PARAMETER_TRAINED));
        assert_ok(dns_parameters_add(p, &b, "b", 1, &large, DNS_PARAMETER_TRAINED));
        assert_ok(dns_parameters_allocate(p, true));
        dns_random random = dns_random_seed(4);
        draw_gradients(p, &random);
        assert_ok(dns_adam_step(p, &(dns_adam)DNS_ADAM_INIT, 0.01, 1, pool));
        if (kept == NULL) {
            assert_ok(dns_alloc(&kept, dns_parameters_size(p), sizeof *kept));
            memcpy(kept, dns_parameters_block(p, DNS_WEIGHTS),
                   dns_parameters_size(p) * sizeof *kept);
            for (size_t i = 0; i < 2 * large; i++)
                assert_true(fabsf(fabsf(kept[i]) - 0.01F) < 1e-3F);
        }
        assert_memory_equal(kept, dns_parameters_block(p, DNS_WEIGHTS),
                            dns_parameters_size(p) * sizeof *kept);
        dns_parameters_free(p);
        dns_pool_free(pool);
    }
    dns_free(kept);
}

static void frozen_tensors_stay(void **state)
{
    (void)state;
    dns_parameters *p = make(true, 5);
    dns_random random = dns_random_seed(6);
    draw_gradients(p, &random);
    double whole = dns_gradient_norm(p);
    float before = dns_parameters_weight(p, 0)[0];
    assert_int_equal(dns_parameters_set_rate(p, "linear.w", 0), 1);
    assert_true(dns_gradient_norm(p) < whole);
    assert_ok(dns_adam_step(p, &(dns_adam)DNS_ADAM_INIT, 0.01, 1, NULL));
    assert_true(dns_parameters_weight(p, 0)[0] == before);
    assert_true(dns_parameters_block(p, DNS_MOMENT_1)[0] == 0);
    assert_int_equal(dns_parameters_set_rate(p, "linear.", 2), 2);
    dns_parameters_gradient(p, 0)[0] = NAN;
    assert_status(dns_adam_step(p, &(dns_adam)DNS_ADAM_INIT, 0.01, 1, NULL), DNS_ERR_RANGE);
    assert_status(dns_adam_step(p, &(dns_adam)DNS_ADAM_INIT, 0.01, 0, NULL), DNS_ERR_ARG);
    dns_parameters_free(p);
}

static void clipping_scales_to_the_limit(void **state)
{
    (void)state;
    dns_parameters *p = make(true, 7);
    dns_parameters_gradient(p, 0)[0] = 3;
    dns_parameters_gradient(p, 2)[1] = -4;
    assert_true(dns_gradient_clip(p, 6) == 5);
    assert_true(dns_parameters_gradient(p, 0)[0] == 3);
    assert_true(dns_gradient_clip(p, 1) == 5);
    assert_true(fabs(dns_gradient_norm(p) - 1) < 1e-6);
    assert_true(fabsf(dns_parameters_gradient(p, 2)[1] + 0.8F) < 1e-6F);
    dns_parameters_zero_gradients(p);
    assert_true(dns_gradient_norm(p) == 0);
    dns_parameters_free(p);
}

static void schedules_warm_up_and_fall(void **state)
{
    (void)state;
    dns_schedule s = {DNS_SCHEDULE_COSINE, 1e-3, 20, 200, 0.05};
    assert_true(fabs(dns_schedule_rate(&s, 1) - 1e-3 / 20) < 1e-12);
    assert_true(fabs(dns_schedule_rate(&s, 20) - 1e-3) < 1e-12);
    assert_true(fabs(dns_schedule_rate(&s, 110) - 1e-3 * 0.525) < 1e-12);
    assert_true(fabs(dns_schedule_rate(&s, 200) - 5e-5) < 1e-12);
    assert_true(fabs(dns_schedule_rate(&s, 900) - 5e-5) < 1e-12);
    s = (dns_schedule){.shape = DNS_SCHEDULE_CONSTANT, .peak = 1e-4};
    assert_true(dns_schedule_rate(&s, 1) == 1e-4 && dns_schedule_rate(&s, 1000000) == 1e-4);
}

static void saved_weights_come_back(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s/weights.safetensors", test_folder());
    dns_parameters *p = make(false, 8), *q = make(false, 9);
    dns_metadata line = {"heads", "8"};
    dns_safetensors *file = NULL;
    assert_ok(dns_parameters_save(p, path, &line, 1));
    assert_ok(dns_safetensors_open(&file, path));
    assert_string_equal(dns_safetensors_metadata(file, "heads"), "8");
    assert_int_equal(dns_safetensors_find(file, "seen")->dtype, DNS_I64);
    assert_ok(dns_parameters_load(q, file, ""));
    assert_memory_equal(dns_parameters_block(p, DNS_WEIGHTS), dns_parameters_block(q, DNS_WEIGHTS),
                        dns_parameters_size(p) * sizeof(float));
    assert_status(dns_parameters_load(q, file, "student."), DNS_ERR_NOTFOUND);
    dns_parameters *other = NULL;
    size_t index;
    assert_ok(dns_parameters_create(&other));
    assert_ok(dns_parameters_add(other, &index, "linear.weight", 2, (size_t[]){7, 5},
                                 DNS_PARAMETER_TRAINED));
    assert_ok(dns_parameters_allocate(other, false));
    assert_status(dns_parameters_load(other, file, ""), DNS_ERR_SHAPE);
    assert_non_null(strstr(dns_status_message(), "[5,7], expected [7,5]"));
    dns_safetensors_close(file);
    dns_parameters_weight(p, 0)[4] = INFINITY;
    assert_ok(dns_parameters_save(p, path, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    assert_status(dns_parameters_load(q, file, ""), DNS_ERR_RANGE);
    dns_safetensors_close(file);
    dns_parameters_free(other);
    dns_parameters_free(q);
    dns_parameters_free(p);
}

static void a_checkpoint_continues_as_if_never_stopped(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", test_folder());
    dns_adam adam = DNS_ADAM_INIT;
    dns_parameters *p = make(true, 10), *q = make(true, 11);
    dns_random random = dns_random_seed(12);
    dns_safetensors *file = NULL;
    for (size_t step = 1; step <= 6; step++) {
        draw_gradients(p, &random);
        if (step == 4) {
            assert_ok(dns_parameters_save_checkpoint(p, path, NULL, 0));
            assert_ok(dns_safetensors_open(&file, path));
            assert_ok(dns_parameters_load_checkpoint(q, file));
            dns_safetensors_close(file);
        }
        assert_ok(dns_adam_step(p, &adam, 0.01, step, NULL));
        if (step >= 4) {
            memcpy(dns_parameters_block(q, DNS_GRADIENTS), dns_parameters_block(p, DNS_GRADIENTS),
                   dns_parameters_size(p) * sizeof(float));
            assert_ok(dns_adam_step(q, &adam, 0.01, step, NULL));
        }
    }
    assert_memory_equal(dns_parameters_block(p, DNS_WEIGHTS), dns_parameters_block(q, DNS_WEIGHTS),
                        dns_parameters_size(p) * sizeof(float));
    dns_parameters_free(q);
    dns_parameters_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_lie_in_one_block),
        cmocka_unit_test(adam_moves_as_written),
        cmocka_unit_test(adam_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(frozen_tensors_stay),
        cmocka_unit_test(clipping_scales_to_the_limit),
        cmocka_unit_test(schedules_warm_up_and_fall),
        cmocka_unit_test(saved_weights_come_back),
        cmocka_unit_test(a_checkpoint_continues_as_if_never_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
