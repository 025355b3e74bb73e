#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/published.h"

/* A network as its authors' program lists it: one "name shape" a line, floating values. */
static const char fine_attention[] =
    "attention.transform.weight 512,512\nattention.transform.bias 512\n"
    "attention.context_vector.weight 1,512\n"
    "visil_head.conv1.weight 32,1,3,3\nvisil_head.conv1.bias 32\n"
    "visil_head.conv2.weight 64,32,3,3\nvisil_head.conv2.bias 64\n"
    "visil_head.conv3.weight 128,64,3,3\nvisil_head.conv3.bias 128\n"
    "visil_head.fconv.weight 1,128,1,1\nvisil_head.fconv.bias 1\n";
static const char fine_binary[] = "binarization.W 512,512\n"
                                  "visil_head.conv1.weight 32,1,3,3\nvisil_head.conv1.bias 32\n"
                                  "visil_head.conv2.weight 64,32,3,3\nvisil_head.conv2.bias 64\n"
                                  "visil_head.conv3.weight 128,64,3,3\nvisil_head.conv3.bias 128\n"
                                  "visil_head.fconv.weight 1,128,1,1\nvisil_head.fconv.bias 1\n";
static const char teacher[] =
    "attention.context_vector.weight 1,3840\n"
    "video_comperator.conv1.weight 32,1,3,3\nvideo_comperator.conv1.bias 32\n"
    "video_comperator.conv2.weight 64,32,3,3\nvideo_comperator.conv2.bias 64\n"
    "video_comperator.conv3.weight 128,64,3,3\nvideo_comperator.conv3.bias 128\n"
    "video_comperator.fconv.weight 1,128,1,1\nvideo_comperator.fconv.bias 1\n";
static const char selector_mlp[] = "mlp.model.0.weight 100,3\nmlp.model.1.weight "
                                   "100\nmlp.model.1.bias 100\nmlp.model.1.running_mean 100\n"
                                   "mlp.model.1.running_var 100\nmlp.model.4.weight "
                                   "100,100\nmlp.model.5.weight 100\nmlp.model.5.bias 100\n"
                                   "mlp.model.5.running_mean 100\nmlp.model.5.running_var "
                                   "100\nmlp.model.8.weight 1,100\nmlp.model.8.bias 1\n";
/* The published one is 512 wide with 64 clusters and 1024 values. */
static const char coarse[] =
    "attention.transform.weight 64,64\nattention.transform.bias "
    "64\nattention.context_vector.weight 1,64\n"
    "transformer.layers.0.self_attn.in_proj_weight "
    "192,64\ntransformer.layers.0.self_attn.in_proj_bias 192\n"
    "transformer.layers.0.self_attn.out_proj.weight "
    "64,64\ntransformer.layers.0.self_attn.out_proj.bias 64\n"
    "transformer.layers.0.linear1.weight 256,64\ntransformer.layers.0.linear1.bias 256\n"
    "transformer.layers.0.linear2.weight 64,256\ntransformer.layers.0.linear2.bias 64\n"
    "transformer.layers.0.norm1.weight 64\ntransformer.layers.0.norm1.bias 64\n"
    "transformer.layers.0.norm2.weight 64\ntransformer.layers.0.norm2.bias 64\n"
    "transformer.norm.weight 64\ntransformer.norm.bias 64\n"
    "netvlad.centroids 8,64\nnetvlad.conv.weight 8,64,1,1\nnetvlad.reduction_layer.weight 128,512\n"
    "netvlad.norm.weight 128\nnetvlad.norm.bias 128\n";

enum { MAX_TENSORS = 64 };

typedef struct made {
    dns_named_tensor tensors[MAX_TENSORS];
    char names[MAX_TENSORS][96];
    size_t n;
} made;

static float values[1 << 19];

/* Tensors of a listing, all over the same random values, `prefix` before each name. */
static void make(made *m, const char *prefix, const char *listing)
{
    dns_random random = dns_random_seed(3);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        values[i] = (float)dns_random_normal(&random);
    for (const char *line = listing; *line != '\0'; line = strchr(line, '\n') + 1) {
        char name[64];
        size_t shape[4] = {0};
        int rank =
            sscanf(line, "%63s %zu,%zu,%zu,%zu", name, &shape[0], &shape[1], &shape[2], &shape[3]) -
            1;
        snprintf(m->names[m->n], sizeof m->names[m->n], "%s%s", prefix, name);
        m->tensors[m->n] =
            (dns_named_tensor){m->names[m->n], dns_tensor_f32(values, (size_t)rank, shape)};
        m->n++;
    }
}

static dns_checkpoint *open_made(const made *m)
{
    char path[256];
    dns_checkpoint *checkpoint;
    snprintf(path, sizeof path, "%s/made.safetensors", test_folder());
    assert_ok(dns_safetensors_write(path, m->tensors, m->n, NULL, 0));
    assert_ok(dns_checkpoint_open(&checkpoint, path));
    return checkpoint;
}

static dns_named_tensor *find(made *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->names[i], name) == 0)
            return &m->tensors[i];
    fail_msg("no tensor '%s'", name);
    return NULL;
}

static dns_status select_made(const made *m, dns_published_kind kind)
{
    dns_checkpoint *checkpoint = open_made(m);
    dns_published *published;
    dns_status status = dns_published_select(&published, checkpoint, kind);
    assert_true((status == DNS_OK) == (published != NULL));
    dns_published_free(published);
    dns_checkpoint_close(checkpoint);
    return status;
}

static void check_recognised(const char *prefix, const char *listing, const char *more,
                             const char *section, size_t dim)
{
    made m = {.n = 0};
    make(&m, prefix, listing);
    make(&m, prefix, more);
    size_t n = m.n;
    make(&m, prefix, "something.else 3\n");
    dns_checkpoint *checkpoint = open_made(&m);
    dns_published_kind kind = dns_published_recognise(checkpoint);
    assert_string_equal(dns_published_name(kind), section);
    dns_published *p;
    assert_ok(dns_published_select(&p, checkpoint, kind));
    assert_int_equal(p->kind, kind);
    assert_int_equal(p->dim, dim);
    assert_int_equal(p->n_tensors, n);
    assert_int_equal(p->n_unused, 1);
    for (size_t i = 0; i < p->n_tensors; i++) {
        char full[128];
        snprintf(full, sizeof full, "%s%s", prefix, p->tensors[i].name);
        const dns_tensor *source = dns_checkpoint_find(checkpoint, full);
        assert_non_null(source);
        assert_int_equal(dns_tensor_count(&p->tensors[i].tensor), dns_tensor_count(source));
        if (kind != DNS_PUBLISHED_TEACHER)
            assert_memory_equal(p->tensors[i].tensor.data, source->data, dns_tensor_bytes(source));
    }
    dns_published_free(p);
    dns_checkpoint_close(checkpoint);
}

static void networks_are_known_by_their_tensors(void **state)
{
    (void)state;
    check_recognised("", fine_attention, "", "fine_attention", 512);
    check_recognised("module.", fine_attention, "", "fine_attention", 512);
    check_recognised("", fine_binary, "", "fine_binary", 512);
    check_recognised("", teacher, "", "teacher", 3840);
    check_recognised("", coarse, "", "coarse", 64);
    check_recognised("", strstr(coarse, "transformer.layers"), "", "coarse",
                     64); /* without attention */
    check_recognised("", fine_attention, selector_mlp, "selector", 512);
    check_recognised("", "mean 96\nd 96\nV 96,96\n", "", "whitening", 96);
    check_recognised("", "pca.mean 96\npca.DVt 96,64\n", "", "whitening", 96);
    check_recognised("", "proj 512,512\n", "", "itq", 512);
    made other = {.n = 0};
    make(&other, "", "weights 3,4\n");
    dns_checkpoint *checkpoint = open_made(&other);
    assert_int_equal(dns_published_recognise(checkpoint), DNS_PUBLISHED_NONE);
    assert_string_equal(dns_published_name(DNS_PUBLISHED_NONE), "");
    dns_checkpoint_close(checkpoint);
    assert_status(select_made(&other, DNS_PUBLISHED_COARSE), DNS_ERR_UNSUPPORTED);
    assert_status(select_made(&other, DNS_PUBLISHED_NONE), DNS_ERR_UNSUPPORTED);
}

static void an_extractor_holds_a_whitening_and_a_backbone(void **state)
{
    (void)state;
    made m = {.n = 0};
    make(&m, "",
         "normalizer.mean 3\npca.mean 96\npca.DVt 96,64\ncnn.conv1.weight 64,3,7,7\n"
         "cnn.layer4.2.conv3.weight 20,5,1,1\n");
    dns_checkpoint *checkpoint = open_made(&m);
    dns_published *p;
    assert_int_equal(dns_published_recognise(checkpoint), DNS_PUBLISHED_WHITENING);
    assert_ok(dns_published_select(&p, checkpoint, DNS_PUBLISHED_BACKBONE));
    assert_int_equal(p->n_tensors, 2);
    assert_int_equal(p->n_unused, 3);
    assert_string_equal(p->tensors[0].name, "conv1.weight");
    assert_string_equal(p->tensors[1].name, "layer4.2.conv3.weight");
    dns_published_free(p);
    dns_checkpoint_close(checkpoint);
}

static void assert_mentions(const char *text)
{
    if (strstr(dns_status_message(), text) == NULL)
        fail_msg("'%s' does not mention '%s'", dns_status_message(), text);
}

static void wrong_shapes_are_named(void **state)
{
    (void)state;
    made m = {.n = 0};
    make(&m, "", fine_attention);
    dns_named_tensor *u = find(&m, "attention.context_vector.weight");
    u->tensor.shape[1] = 511;
    assert_status(select_made(&m, DNS_PUBLISHED_FINE_ATTENTION), DNS_ERR_SHAPE);
    assert_mentions("'attention.context_vector.weight': shape [1,511], expected [1,512]");
    u->tensor.rank = 1;
    u->tensor.shape[0] = 512;
    assert_status(select_made(&m, DNS_PUBLISHED_FINE_ATTENTION), DNS_ERR_SHAPE);
    u->name = "attention.other";
    assert_status(select_made(&m, DNS_PUBLISHED_FINE_ATTENTION), DNS_ERR_UNSUPPORTED);
    assert_mentions("no tensor 'attention.context_vector.weight'");
    made c = {.n = 0};
    make(&c, "", coarse);
    find(&c, "netvlad.reduction_layer.weight")->tensor.shape[1] = 511;
    assert_status(select_made(&c, DNS_PUBLISHED_COARSE), DNS_ERR_SHAPE);
    assert_mentions("netvlad.reduction_layer.weight");
    find(&c, "netvlad.reduction_layer.weight")->tensor.shape[1] = 512;
    find(&c, "transformer.layers.0.self_attn.in_proj_weight")->tensor.shape[0] = 193;
    find(&c, "transformer.layers.0.self_attn.in_proj_bias")->tensor.shape[0] = 193;
    assert_status(select_made(&c, DNS_PUBLISHED_COARSE), DNS_ERR_SHAPE);
    assert_mentions("3 x 64");
    /* A network of which half the gate is there. */
    find(&c, "transformer.layers.0.self_attn.in_proj_weight")->tensor.shape[0] = 192;
    find(&c, "transformer.layers.0.self_attn.in_proj_bias")->tensor.shape[0] = 192;
    find(&c, "attention.transform.bias")->name = "attention.other";
    assert_status(select_made(&c, DNS_PUBLISHED_COARSE), DNS_ERR_UNSUPPORTED);
}

static void values_are_finite_f32_whatever_they_were(void **state)
{
    (void)state;
    made m = {.n = 0};
    make(&m, "", fine_binary);
    uint16_t halves[64];
    for (size_t i = 0; i < 64; i++)
        halves[i] = dns_f16_from_f32((float)i);
    dns_named_tensor *bias = find(&m, "visil_head.conv2.bias");
    bias->tensor.dtype = DNS_F16;
    bias->tensor.data = halves;
    dns_checkpoint *checkpoint = open_made(&m);
    dns_published *p;
    assert_ok(dns_published_select(&p, checkpoint, DNS_PUBLISHED_FINE_BINARY));
    for (size_t i = 0; i < p->n_tensors; i++) {
        assert_int_equal(p->tensors[i].tensor.dtype, DNS_F32);
        if (strcmp(p->tensors[i].name, "visil_head.conv2.bias") == 0)
            assert_true(((const float *)p->tensors[i].tensor.data)[63] == 63);
    }
    dns_published_free(p);
    dns_checkpoint_close(checkpoint);
    halves[5] = 0x7e00;
    assert_status(select_made(&m, DNS_PUBLISHED_FINE_BINARY), DNS_ERR_RANGE);
    assert_mentions("'visil_head.conv2.bias': entry 5");
}

static void a_teachers_vector_becomes_a_unit_vector(void **state)
{
    (void)state;
    made m = {.n = 0};
    make(&m, "", teacher);
    double square = 0;
    for (size_t i = 0; i < 3840; i++)
        square += (double)values[i] * (double)values[i];
    for (int round = 0; round < 2; round++) {
        dns_checkpoint *checkpoint = open_made(&m);
        dns_published *p;
        assert_ok(dns_published_select(&p, checkpoint, DNS_PUBLISHED_TEACHER));
        double length = 0;
        for (size_t i = 0; i < p->n_tensors; i++) {
            if (strcmp(p->tensors[i].name, "attention.context_vector.weight") != 0)
                continue;
            const float *u = p->tensors[i].tensor.data;
            for (size_t k = 0; k < 3840; k++)
                length += (double)u[k] * (double)u[k];
            memcpy(values, u, 3840 * sizeof *u); /* the second round gets the unit vector */
        }
        assert_true(fabs(length - 1) < 1e-6);
        assert_true(round == 0 ? fabs(p->u_length - sqrt(square)) < 1e-9 : p->u_length == 0);
        dns_published_free(p);
        dns_checkpoint_close(checkpoint);
    }
    dns_published_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_are_known_by_their_tensors),
        cmocka_unit_test(an_extractor_holds_a_whitening_and_a_backbone),
        cmocka_unit_test(wrong_shapes_are_named),
        cmocka_unit_test(values_are_finite_f32_whatever_they_were),
        cmocka_unit_test(a_teachers_vector_becomes_a_unit_vector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
