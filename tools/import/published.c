#include "dnsel/published.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"

/* A tensor's name and its sizes, one character each: a digit is that size, a letter any size, but
 * the same wherever it stands in the network; '*' is the letter of the layer. */
typedef struct pattern {
    const char *name, *sizes;
} pattern;

/* Some tensors under a common prefix. An optional layer may be missing as a whole. */
typedef struct layer {
    const char *prefix;
    const pattern *patterns;
    char letter;
    bool is_optional;
} layer;

static const pattern weight_bias[] = {{"weight", "*"}, {"bias", "*"}, {0}};
static const pattern gate[] = {
    {"transform.weight", "HD"}, {"transform.bias", "H"}, {"context_vector.weight", "1H"}, {0}};
static const pattern unit_vector[] = {{"context_vector.weight", "1D"}, {0}};
static const pattern codes[] = {{"W", "DB"}, {0}};
static const pattern comparator[] = {
    {"conv1.weight", "a133"}, {"conv1.bias", "a"},      {"conv2.weight", "ba33"},
    {"conv2.bias", "b"},      {"conv3.weight", "cb33"}, {"conv3.bias", "c"},
    {"fconv.weight", "1c11"}, {"fconv.bias", "1"},      {0},
};
static const pattern batch_norm[] = {
    {"weight", "*"}, {"bias", "*"}, {"running_mean", "*"}, {"running_var", "*"}, {0}};
static const pattern counter[] = {{"num_batches_tracked", ""}, {0}};
/* t is 3 D and r is K D, see check_products. */
static const pattern encoder[] = {
    {"self_attn.in_proj_weight", "tD"},
    {"self_attn.in_proj_bias", "t"},
    {"self_attn.out_proj.weight", "DD"},
    {"self_attn.out_proj.bias", "D"},
    {"linear1.weight", "FD"},
    {"linear1.bias", "F"},
    {"linear2.weight", "DF"},
    {"linear2.bias", "D"},
    {0},
};
static const pattern netvlad[] = {
    {"centroids", "KD"}, {"conv.weight", "KD11"}, {"reduction_layer.weight", "Or"}, {0}};
static const pattern perceptron[] = {
    {"0.weight", "M3"}, {"4.weight", "NM"}, {"8.weight", "1N"}, {"8.bias", "1"}, {0}};
static const pattern eigenvectors[] = {{"mean", "D"}, {"d", "D"}, {"V", "DD"}, {0}};
static const pattern matrix[] = {{"mean", "D"}, {"DVt", "Dn"}, {0}};
static const pattern rotation[] = {{"proj", "DB"}, {0}};

static const layer fine_attention[] = {{.prefix = "attention.", .patterns = gate},
                                       {.prefix = "visil_head.", .patterns = comparator},
                                       {0}};
static const layer fine_binary[] = {{.prefix = "binarization.", .patterns = codes},
                                    {.prefix = "visil_head.", .patterns = comparator},
                                    {0}};
static const layer teacher[] = {{.prefix = "attention.", .patterns = unit_vector},
                                {.prefix = "video_comperator.", .patterns = comparator},
                                {0}};
static const layer coarse[] = {
    {.prefix = "attention.", .patterns = gate, .is_optional = true},
    {.prefix = "transformer.layers.0.", .patterns = encoder},
    {.prefix = "transformer.layers.0.norm1.", .patterns = weight_bias, .letter = 'D'},
    {.prefix = "transformer.layers.0.norm2.", .patterns = weight_bias, .letter = 'D'},
    {.prefix = "transformer.norm.", .patterns = weight_bias, .letter = 'D'},
    {.prefix = "netvlad.", .patterns = netvlad},
    {.prefix = "netvlad.norm.", .patterns = weight_bias, .letter = 'O'},
    {0},
};
static const layer selector[] = {
    {.prefix = "attention.", .patterns = gate},
    {.prefix = "visil_head.", .patterns = comparator},
    {.prefix = "mlp.model.", .patterns = perceptron},
    {.prefix = "mlp.model.1.", .patterns = batch_norm, .letter = 'M'},
    {.prefix = "mlp.model.1.", .patterns = counter, .is_optional = true},
    {.prefix = "mlp.model.5.", .patterns = batch_norm, .letter = 'N'},
    {.prefix = "mlp.model.5.", .patterns = counter, .is_optional = true},
    {0},
};
static const layer published_pca[] = {{.prefix = "", .patterns = eigenvectors}, {0}};
static const layer extractor_pca[] = {{.prefix = "pca.", .patterns = matrix}, {0}};
static const layer itq[] = {{.prefix = "", .patterns = rotation}, {0}};

/* In the order in which they are recognised: before those whose names a network has too. */
static const struct {
    dns_published_kind kind;
    const char *mark;    /* those further down do not have this tensor */
    const layer *layers; /* NULL: all tensors */
} networks[] = {
    {DNS_PUBLISHED_SELECTOR, "mlp.model.0.weight", selector},
    {DNS_PUBLISHED_COARSE, "netvlad.centroids", coarse},
    {DNS_PUBLISHED_FINE_BINARY, "binarization.W", fine_binary},
    {DNS_PUBLISHED_TEACHER, "video_comperator.conv1.weight", teacher},
    {DNS_PUBLISHED_FINE_ATTENTION, "visil_head.conv1.weight", fine_attention},
    {DNS_PUBLISHED_WHITENING, "V", published_pca},
    {DNS_PUBLISHED_WHITENING, "pca.DVt", extractor_pca},
    {DNS_PUBLISHED_ITQ, "proj", itq},
    {DNS_PUBLISHED_BACKBONE, "layer4.2.conv3.weight", NULL},
    {DNS_PUBLISHED_BACKBONE, "_conv_stem.weight", NULL},
    {DNS_PUBLISHED_BACKBONE, "cnn.layer4.2.conv3.weight", NULL},
};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

static const char parallel[] = "module.";
static const char extractor[] = "cnn.";

const char *dns_published_name(dns_published_kind kind)
{
    static const char *const names[] = {
        [DNS_PUBLISHED_NONE] = "",
        [DNS_PUBLISHED_FINE_ATTENTION] = "fine_attention",
        [DNS_PUBLISHED_FINE_BINARY] = "fine_binary",
        [DNS_PUBLISHED_COARSE] = "coarse",
        [DNS_PUBLISHED_SELECTOR] = "selector",
        [DNS_PUBLISHED_TEACHER] = "teacher",
        [DNS_PUBLISHED_WHITENING] = "whitening",
        [DNS_PUBLISHED_ITQ] = "itq",
        [DNS_PUBLISHED_BACKBONE] = "backbone",
    };
    return names[kind];
}

/* "module." when all names begin so, "" otherwise. */
static const char *prefix_of(const dns_checkpoint *c)
{
    for (size_t i = 0; i < dns_checkpoint_count(c); i++)
        if (strncmp(dns_checkpoint_tensors(c)[i].name, parallel, sizeof parallel - 1) != 0)
            return "";
    return parallel;
}

static const dns_tensor *find(const dns_checkpoint *c, const char *name)
{
    char full[256];
    int n = snprintf(full, sizeof full, "%s%s", prefix_of(c), name);
    return n > 0 && (size_t)n < sizeof full ? dns_checkpoint_find(c, full) : NULL;
}

dns_published_kind dns_published_recognise(const dns_checkpoint *c)
{
    for (size_t i = 0; i < N_NETWORKS; i++)
        if (find(c, networks[i].mark) != NULL)
            return networks[i].kind;
    return DNS_PUBLISHED_NONE;
}

/* ---- shapes ---- */

/* Sizes that letters stand for; 0: not met yet. */
typedef struct letters {
    size_t size[128];
} letters;

static dns_status wrong_shape(const char *name, const char *sizes, const dns_tensor *tensor,
                              const letters *known)
{
    char found[128], expected[128] = "[";
    dns_tensor_shape_text(tensor, found, sizeof found);
    for (size_t i = 0; sizes[i] != '\0'; i++) {
        size_t used = strlen(expected), size = known->size[(int)sizes[i]];
        if (size > 0)
            snprintf(expected + used, sizeof expected - used, "%s%zu", i > 0 ? "," : "", size);
        else
            snprintf(expected + used, sizeof expected - used, "%sany", i > 0 ? "," : "");
    }
    return dns_status_set(DNS_ERR_SHAPE, "tensor '%s': shape %s, expected %s]", name, found,
                          expected);
}

static dns_status match_shape(const char *name, const pattern *p, char letter,
                              const dns_tensor *tensor, letters *known)
{
    char sizes[8] = "";
    for (size_t i = 0; p->sizes[i] != '\0'; i++)
        sizes[i] = p->sizes[i] == '*' ? letter : p->sizes[i];
    if (tensor->rank != strlen(sizes))
        return wrong_shape(name, sizes, tensor, known);
    for (size_t i = 0; i < tensor->rank; i++) {
        size_t *size = &known->size[(int)sizes[i]];
        if (*size == 0)
            *size = tensor->shape[i];
        if (*size == 0 || *size != tensor->shape[i])
            return wrong_shape(name, sizes, tensor, known);
    }
    return DNS_OK;
}

static dns_status check_products(const letters *known)
{
    size_t d = known->size['D'], t = known->size['t'], k = known->size['K'], r = known->size['r'];
    if (t > 0 && (t / 3 != d || t % 3 != 0))
        return dns_status_set(
            DNS_ERR_SHAPE,
            "tensor 'transformer.layers.0.self_attn.in_proj_weight': %zu rows, expected 3 x %zu", t,
            d);
    if (r > 0 && (r / d != k || r % d != 0))
        return dns_status_set(
            DNS_ERR_SHAPE,
            "tensor 'netvlad.reduction_layer.weight': %zu columns, expected %zu x %zu", r, k, d);
    return DNS_OK;
}

/* ---- values ---- */

static dns_status keep_block(dns_published *p, void *block)
{
    size_t capacity = p->n_blocks;
    dns_status status = dns_reserve(&p->blocks, &capacity, p->n_blocks + 1, sizeof *p->blocks);
    if (status == DNS_OK)
        p->blocks[p->n_blocks++] = block;
    else
        dns_free(block);
    return status;
}

static bool is_floating(dns_dtype dtype)
{
    return dtype == DNS_F32 || dtype == DNS_F64 || dtype == DNS_F16 || dtype == DNS_BF16;
}

/* Floating values become F32, and all must be finite. */
static dns_status add_tensor(dns_published *p, size_t *capacity, const char *name,
                             const dns_tensor *tensor)
{
    dns_status status = DNS_OK;
    float *values = NULL;
    dns_tensor kept = *tensor;
    size_t n = dns_tensor_count(tensor);
    if (is_floating(tensor->dtype)) {
        DNS_TRY(dns_alloc(&values, n, sizeof *values));
        DNS_TRY(keep_block(p, values));
        dns_tensor_to_f32(values, tensor);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(values[i]))
                DNS_FAIL(DNS_ERR_RANGE, "tensor '%s': entry %zu is not finite", name, i);
        kept.dtype = DNS_F32;
        kept.data = values;
    }
    DNS_TRY(dns_reserve(&p->tensors, capacity, p->n_tensors + 1, sizeof *p->tensors));
    p->tensors[p->n_tensors++] = (dns_named_tensor){name, kept};
out:
    return status;
}

/* The teacher's formula takes u as a unit vector (docs/importing.md). */
static void normalise_u(dns_published *p)
{
    for (size_t i = 0; i < p->n_tensors; i++) {
        if (strcmp(p->tensors[i].name, "attention.context_vector.weight") != 0)
            continue;
        const dns_tensor *u = &p->tensors[i].tensor;
        float *values = (float *)(uintptr_t)u->data;
        double square = 0;
        for (size_t k = 0; k < dns_tensor_count(u); k++)
            square += (double)values[k] * (double)values[k];
        double length = sqrt(square);
        if (fabs(length - 1) <= 1e-6 || length == 0)
            return;
        p->u_length = length;
        for (size_t k = 0; k < dns_tensor_count(u); k++)
            values[k] = (float)((double)values[k] / length);
    }
}

/* ---- the whole ---- */

static dns_status select_layer(dns_published *p, size_t *capacity, const dns_checkpoint *c,
                               const layer *each, letters *known)
{
    dns_status status = DNS_OK;
    char *name = NULL;
    for (const pattern *wanted = each->patterns; wanted->name != NULL; wanted++) {
        DNS_TRY(dns_string_format(&name, "%s%s", each->prefix, wanted->name));
        DNS_TRY(keep_block(p, name));
        const dns_tensor *tensor = find(c, name);
        if (tensor == NULL && each->is_optional && wanted == each->patterns)
            return DNS_OK;
        if (tensor == NULL)
            DNS_FAIL(DNS_ERR_UNSUPPORTED, "no tensor '%s'", name);
        DNS_TRY(match_shape(name, wanted, each->letter, tensor, known));
        DNS_TRY(add_tensor(p, capacity, name, tensor));
    }
out:
    return status;
}

static dns_status select_layers(dns_published *p, const dns_checkpoint *c, const layer *layers)
{
    dns_status status = DNS_OK;
    size_t capacity = 0;
    letters known = {{['1'] = 1, ['3'] = 3}};
    for (const layer *each = layers; each->patterns != NULL; each++)
        DNS_TRY(select_layer(p, &capacity, c, each, &known));
    DNS_TRY(check_products(&known));
    p->dim = known.size['D'];
    if (p->kind == DNS_PUBLISHED_TEACHER)
        normalise_u(p);
out:
    return status;
}

static dns_status select_backbone(dns_published *p, const dns_checkpoint *c)
{
    dns_status status = DNS_OK;
    size_t capacity = 0, skip = strlen(prefix_of(c));
    bool is_extractor = find(c, "cnn.layer4.2.conv3.weight") != NULL;
    for (size_t i = 0; i < dns_checkpoint_count(c); i++) {
        const dns_named_tensor *t = &dns_checkpoint_tensors(c)[i];
        const char *name = t->name + skip;
        if (is_extractor && strncmp(name, extractor, sizeof extractor - 1) != 0)
            continue;
        DNS_TRY(
            add_tensor(p, &capacity, name + (is_extractor ? sizeof extractor - 1 : 0), &t->tensor));
    }
out:
    return status;
}

dns_status dns_published_select(dns_published **out, const dns_checkpoint *c,
                                dns_published_kind kind)
{
    dns_status status = DNS_OK;
    dns_published *p = NULL;
    size_t i = 0;
    *out = NULL;
    while (i < N_NETWORKS && (networks[i].kind != kind || find(c, networks[i].mark) == NULL))
        i++;
    if (i == N_NETWORKS)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "its tensors are not those of a %s network",
                              kind == DNS_PUBLISHED_NONE ? "known" : dns_published_name(kind));
    DNS_TRY(dns_alloc(&p, 1, sizeof *p));
    p->kind = kind;
    DNS_TRY(networks[i].layers != NULL ? select_layers(p, c, networks[i].layers)
                                       : select_backbone(p, c));
    p->n_unused = dns_checkpoint_count(c) - p->n_tensors;
    *out = p;
    p = NULL;
out:
    dns_published_free(p);
    return status;
}

void dns_published_free(dns_published *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n_blocks; i++)
        dns_free(p->blocks[i]);
    dns_free(p->blocks);
    dns_free(p->tensors);
    dns_free(p);
}
