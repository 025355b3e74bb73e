#include "dnsel/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/file.h"
#include "support.h"

/* Least squares: w goes to a fixed place, by noisy gradients. */
enum { N = 40 };

struct fit {
    dns_parameters *p;
    size_t w;
    size_t n_moved, n_validated;
    size_t best_at;   /* validation peaks there */
    size_t cancel_at; /* 0: never */
    size_t die_at;
    dns_cancel cancel;
    size_t last_step;
};

static dns_status fit_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct fit *f = payload;
    const dns_real *w = dns_parameters_weight(f->p, f->w);
    dns_real *g = dns_parameters_gradient(f->p, f->w);
    dns_random random = dns_random_stream(5, step);
    for (size_t i = 0; i < N; i++) {
        double error = (double)w[i] - (double)i / N;
        g[i] += (dns_real)(2 * error + 0.05 * dns_random_normal(&random));
        facts->loss += error * error;
    }
    facts->operations = 6 * N;
    f->last_step = step;
    if (step == f->die_at && step > 0)
        return dns_status_set(DNS_ERR_IO, "killed");
    if (step == f->cancel_at)
        atomic_store(&f->cancel.wanted, true);
    return DNS_OK;
}

static void fit_moved(void *payload)
{
    ((struct fit *)payload)->n_moved++;
}

static dns_status fit_validate(void *payload, double *figure)
{
    struct fit *f = payload;
    f->n_validated++;
    *figure = -fabs((double)f->last_step - (double)f->best_at);
    return DNS_OK;
}

static struct fit make_fit(void)
{
    struct fit f = {0};
    const size_t shape[] = {N};
    assert_ok(dns_parameters_create(&f.p));
    assert_ok(dns_parameters_add(f.p, &f.w, "w", 1, shape, DNS_PARAMETER_TRAINED));
    assert_ok(dns_parameters_allocate(f.p, true));
    return f;
}

static dns_trainer_task task_of(struct fit *f)
{
    return (dns_trainer_task){
        .parameters = f->p, .payload = f, .step = fit_step, .description = "fit"};
}

static dns_trainer_options quick(void)
{
    dns_trainer_options o = dns_trainer_options_default();
    o.steps = 60;
    o.schedule.peak = 0.05;
    o.checkpoint_every = 7;
    return o;
}

static void training_lowers_the_loss(void **state)
{
    (void)state;
    struct fit f = make_fit();
    dns_trainer_task task = task_of(&f);
    dns_trainer_options o = quick();
    dns_trainer_report report;
    task.moved = fit_moved;
    assert_ok(dns_trainer_run(&report, &task, &o, NULL));
    assert_int_equal(report.steps, 60);
    assert_int_equal(f.n_moved, 60);
    assert_true(report.loss < 1.0); /* from 12.8 */
    assert_true(isnan(report.best));
    assert_float_equal(report.operations, 60 * 6 * N, 0);
    assert_true(report.seconds > 0 && report.processor_seconds > 0);
    dns_parameters_free(f.p);
}

static void copy_weights(dns_real *out, const struct fit *f)
{
    memcpy(out, dns_parameters_weight(f->p, f->w), N * sizeof *out);
}

static void interrupted_and_resumed_gives_the_same_bits(void **state)
{
    (void)state;
    char path[512], curve[512], whole_curve[512];
    snprintf(path, sizeof path, "%s/fit.checkpoint", test_folder());
    snprintf(curve, sizeof curve, "%s/fit.curve", test_folder());
    snprintf(whole_curve, sizeof whole_curve, "%s/whole.curve", test_folder());
    dns_real expected[N], got[N];
    dns_trainer_options o = quick();
    dns_trainer_report report, whole;
    struct fit f = make_fit(), first = make_fit(), second = make_fit();
    o.validate_every = 10;
    o.curve = whole_curve;
    f.best_at = 40;
    dns_trainer_task task = task_of(&f);
    task.validate = fit_validate;
    assert_ok(dns_trainer_run(&whole, &task, &o, NULL));
    copy_weights(expected, &f);
    assert_int_equal(whole.best_step, 40);

    o.checkpoint = path;
    o.curve = curve;
    first.cancel_at = 46; /* behind the best one, between two checkpoints */
    first.best_at = second.best_at = 40;
    task = task_of(&first);
    task.validate = fit_validate;
    o.cancel = &first.cancel;
    assert_status(dns_trainer_run(&report, &task, &o, NULL), DNS_ERR_CANCELLED);
    assert_int_equal(report.steps, 46);
    task = task_of(&second);
    task.validate = fit_validate;
    o.cancel = NULL;
    assert_ok(dns_trainer_run(&report, &task, &o, NULL));
    copy_weights(got, &second);
    assert_memory_equal(got, expected, sizeof got);
    assert_int_equal(report.best_step, 40);
    assert_float_equal(report.start, whole.start, 0);

    char *a, *b;
    size_t n_a, n_b;
    assert_ok(dns_file_read(&a, &n_a, whole_curve, 1 << 20));
    assert_ok(dns_file_read(&b, &n_b, curve, 1 << 20));
    assert_string_equal(a, b);
    dns_free(a);
    dns_free(b);
    dns_parameters_free(f.p);
    dns_parameters_free(first.p);
    dns_parameters_free(second.p);
}

static void a_killed_training_goes_on_from_its_last_checkpoint(void **state)
{
    (void)state;
    char path[512], curve[512];
    snprintf(path, sizeof path, "%s/killed.checkpoint", test_folder());
    snprintf(curve, sizeof curve, "%s/killed.curve", test_folder());
    dns_real expected[N], got[N];
    dns_trainer_report report;
    struct fit whole = make_fit(), killed = make_fit(), again = make_fit();
    dns_trainer_options o = quick();
    dns_trainer_task task = task_of(&whole);
    assert_ok(dns_trainer_run(&report, &task, &o, NULL));
    copy_weights(expected, &whole);
    o.checkpoint = path;
    o.curve = curve;
    task = task_of(&killed);
    killed.die_at = 59; /* the last checkpoint is of step 56 */
    assert_status(dns_trainer_run(&report, &task, &o, NULL), DNS_ERR_IO);
    task = task_of(&again);
    assert_ok(dns_trainer_run(&report, &task, &o, NULL));
    assert_int_equal(again.last_step, 60);
    again.last_step = 0; /* once more: nothing is left to be done */
    assert_ok(dns_trainer_run(&report, &task, &o, NULL));
    assert_int_equal(again.last_step, 0);
    assert_int_equal(report.steps, 60);
    copy_weights(got, &again);
    assert_memory_equal(got, expected, sizeof got);
    char *text;
    size_t size, n_lines = 0;
    assert_ok(dns_file_read(&text, &size, curve, 1 << 20));
    for (size_t i = 0; i < size; i++)
        n_lines += text[i] == '\n';
    assert_int_equal(n_lines, 60);
    dns_free(text);
    o.schedule.peak = 0.06;
    assert_status(dns_trainer_run(&report, &task, &o, NULL), DNS_ERR_MODEL);
    dns_parameters_free(whole.p);
    dns_parameters_free(killed.p);
    dns_parameters_free(again.p);
}

static void the_untrained_start_is_kept_when_nothing_is_better(void **state)
{
    (void)state;
    struct fit f = make_fit();
    dns_trainer_task task = task_of(&f);
    dns_trainer_options o = quick();
    dns_trainer_report report;
    task.validate = fit_validate;
    o.validate_every = 5;
    o.patience = 3;
    assert_ok(dns_trainer_run(&report, &task, &o, NULL));
    assert_int_equal(report.best_step, 0);
    assert_int_equal(report.steps, 15); /* three in succession were worse */
    assert_int_equal(f.n_validated, 4);
    for (size_t i = 0; i < N; i++)
        assert_true(dns_parameters_weight(f.p, f.w)[i] == 0);
    dns_parameters_free(f.p);
}

static dns_status fail_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct fit *f = payload;
    facts->loss = 1;
    dns_parameters_gradient(f->p, f->w)[0] = step == 3 ? (dns_real)NAN : 1;
    return DNS_OK;
}

static void what_cannot_be_trained_is_said(void **state)
{
    (void)state;
    struct fit f = make_fit(), fixed = {0};
    dns_trainer_task task = task_of(&f);
    dns_trainer_options o = quick();
    dns_trainer_report report;
    const size_t shape[] = {N};
    task.step = fail_step;
    assert_status(dns_trainer_run(&report, &task, &o, NULL), DNS_ERR_RANGE);
    o.steps = 0;
    assert_status(dns_trainer_run(&report, &task, &o, NULL), DNS_ERR_ARG);
    assert_ok(dns_parameters_create(&fixed.p));
    assert_ok(dns_parameters_add(fixed.p, &fixed.w, "w", 1, shape, DNS_PARAMETER_TRAINED));
    assert_ok(dns_parameters_allocate(fixed.p, false));
    task = task_of(&fixed);
    o.steps = 1;
    assert_status(dns_trainer_run(&report, &task, &o, NULL), DNS_ERR_ARG);
    o.curve = "/nonexistent/folder/curve";
    task = task_of(&f);
    assert_status(dns_trainer_run(&report, &task, &o, NULL), DNS_ERR_NOTFOUND);
    dns_parameters_free(f.p);
    dns_parameters_free(fixed.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_lowers_the_loss),
        cmocka_unit_test(interrupted_and_resumed_gives_the_same_bits),
        cmocka_unit_test(a_killed_training_goes_on_from_its_last_checkpoint),
        cmocka_unit_test(the_untrained_start_is_kept_when_nothing_is_better),
        cmocka_unit_test(what_cannot_be_trained_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
