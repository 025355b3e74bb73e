/* Contrast with a teacher's opinion of the negatives (dnsel/cross_entropy.h). */
#include <string.h>

#include "dnsel/cross_entropy.h"
#include "dnsel/memory.h"

static void transpose(dns_real *out, const dns_real *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            out[j * n + i] = in[i * n + j];
}

/* (1 - share) * the diagonal + share * softmax(teacher / tau), row by row. */
static void make_targets(dns_real *targets, const dns_real *teacher, size_t n, double tau,
                         double share)
{
    if (share > 0) {
        for (size_t i = 0; i < n * n; i++)
            targets[i] = (dns_real)((double)teacher[i] / tau);
        dns_softmax(targets, n, n);
    }
    for (size_t i = 0; i < n * n; i++)
        targets[i] = (dns_real)(share * (double)targets[i] + (1 - share) * (i / n == i % n));
}

dns_status dns_distilled_contrast(double *loss, dns_real *ds, const dns_real *s,
                                  const dns_real *teacher, size_t n,
                                  const dns_distilled_contrast_options *o)
{
    dns_status status = DNS_OK;
    dns_real *targets = NULL, *turned = NULL, *turned_teacher = NULL, *dturned = NULL;
    double rows, columns;
    if (n == 0 || !(o->tau > 0) || !(o->share >= 0 && o->share <= 1) ||
        (o->share > 0 && (teacher == NULL || !(o->teacher_tau > 0))))
        DNS_FAIL(DNS_ERR_ARG, "contrast of %zu pairs, tau %g, share %g of a teacher", n, o->tau,
                 o->share);
    DNS_TRY(dns_alloc(&targets, n * n, sizeof *targets));
    DNS_TRY(dns_alloc(&turned, n * n, sizeof *turned));
    DNS_TRY(dns_alloc(&turned_teacher, n * n, sizeof *turned_teacher));
    DNS_TRY(dns_alloc(&dturned, n * n, sizeof *dturned));
    make_targets(targets, teacher, n, o->teacher_tau, o->share);
    dns_cross_entropy(&rows, ds, s, targets, NULL, n, n, 1 / o->tau);
    transpose(turned, s, n);
    if (o->share > 0)
        transpose(turned_teacher, teacher, n);
    make_targets(targets, turned_teacher, n, o->teacher_tau, o->share);
    dns_cross_entropy(&columns, ds != NULL ? dturned : NULL, turned, targets, NULL, n, n,
                      1 / o->tau);
    *loss = (rows + columns) / 2;
    for (size_t i = 0; ds != NULL && i < n * n; i++)
        ds[i] = (ds[i] + dturned[i % n * n + i / n]) / 2;
out:
    dns_free(targets);
    dns_free(turned);
    dns_free(turned_teacher);
    dns_free(dturned);
    return status;
}
