#include "dnsel/losses.h"

#include <math.h>

double dns_loss_l1(dns_real *ds, const dns_real *s, const dns_real *t, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        dns_real d = s[i] - t[i];
        sum += fabs((double)d);
        ds[i] = (dns_real)((d > 0) - (d < 0)) / (dns_real)n;
    }
    return sum / (double)n;
}

double dns_loss_triplet(dns_real *dpositive, dns_real *dnegative, const dns_real *positive,
                        const dns_real *negative, size_t n, double margin)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double loss = (double)negative[i] - (double)positive[i] + margin;
        sum += fmax(0, loss);
        dnegative[i] = loss > 0 ? 1 / (dns_real)n : 0;
        dpositive[i] = -dnegative[i];
    }
    return sum / (double)n;
}

double dns_loss_cross_entropy(dns_real *dlogits, const dns_real *logits, const dns_real *labels,
                              size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double l = logits[i], y = labels[i];
        sum += fmax(l, 0) + log1p(exp(-fabs(l))) - y * l;
        dlogits[i] = (dns_real)((1 / (1 + exp(-l)) - y) / (double)n);
    }
    return sum / (double)n;
}
