#include "synthetic_set.h"

#include <math.h>
#include <stdio.h>

#include "dnsel/linalg.h"
#include "support.h"

struct made {
    char paths[256][16];
    dns_training_video videos[256];
    size_t n;
};

static void noise(float *x, size_t n, size_t dim, double strength, dns_random *random)
{
    for (size_t i = 0; i < n * dim; i++)
        x[i] += (float)(strength * dns_random_normal(random) / sqrt((double)dim));
    dns_normalise_rows(x, n, dim);
}

static void add_video(dns_training_writer *w, struct made *m, const test_set_options *o,
                      size_t scene, const char *suffix)
{
    static const char *const labels[] = {"original", "crop", "blur", "mix-a", "mix-b"};
    size_t n_frames = 6 + scene % 9, row = o->n_regions * o->dim;
    dns_random random = dns_random_stream(o->seed, scene),
               own = dns_random_stream(o->seed, 999 + m->n);
    float *x, *copy;
    char *path = m->paths[m->n];
    snprintf(path, 16, "/v%zu%s", scene, suffix);
    assert_ok(dns_alloc(&x, n_frames, row * sizeof *x));
    assert_ok(dns_alloc(&copy, n_frames, row * sizeof *x));
    noise(x, o->n_regions, o->dim, 1, &random);
    for (size_t t = 1; t < n_frames; t++) {
        for (size_t k = 0; k < row; k++)
            x[t * row + k] = x[(t - 1) * row + k];
        noise(x + t * row, o->n_regions, o->dim, 0.7, &random);
    }
    if (suffix[0] != '\0')
        noise(x, n_frames * o->n_regions, o->dim, 0.3, &own);
    assert_ok(dns_training_writer_put(w, path, labels[0], x, n_frames, o->n_regions));
    for (size_t c = 1; c <= o->n_copies; c++) {
        for (size_t k = 0; k < n_frames * row; k++)
            copy[k] = x[k];
        noise(copy, n_frames * o->n_regions, o->dim, o->noise, &own);
        assert_ok(dns_training_writer_put(w, path, labels[c], copy, n_frames, o->n_regions));
    }
    m->videos[m->n++] = (dns_training_video){.path = path,
                                             .scene = scene,
                                             .fold = scene % o->n_folds,
                                             .host = scene + o->n_hosts >= o->n_scenes};
    dns_free(x);
    dns_free(copy);
}

void test_set_write(const char *directory, const test_set_options *o)
{
    static const char *const labels[] = {"crop", "blur", "mix-a", "mix-b"};
    dns_training_writer *w;
    struct made *m;
    const dns_training_source source = {.dim = o->dim, .settings = "{\"seed\":1}"};
    assert_ok(dns_alloc(&m, 1, sizeof *m));
    assert_ok(dns_training_writer_open(&w, directory, &source));
    for (size_t i = 0; i < o->n_scenes; i++) {
        add_video(w, m, o, i, "");
        if (i % 5 == 0)
            add_video(w, m, o, i, "b");
    }
    assert_ok(dns_training_writer_finish(w, m->videos, m->n, o->n_folds, labels, 4));
    dns_training_writer_close(w);
    dns_free(m);
}
