#include "dnsel/classifier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/cross_entropy.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "dnsel/mlp.h"
#include "dnsel/optimiser.h"
#include "dnsel/random.h"

enum { LAYERS = 2, CHUNK = 256, MOST_LABELS = 1 << 20 };

static const char kind[] = "dnsel.classifier";
static const char version[] = "1";
static const char section_name[] = "classifier"; /* of a model */

/* Of the tensors in the block of parameters. */
enum { W1, B1, W2, B2, MEAN, DEVIATION, THRESHOLDS, N_TENSORS };

struct dns_classifier {
    dns_classifier_shape shape;
    char **labels, *origin;
    size_t sizes[LAYERS + 1];
    dns_parameters *parameters;
    const float *w[LAYERS], *b[LAYERS];
    dns_mlp mlp;
};

static float *tensor(const dns_classifier *c, size_t index)
{
    return dns_parameters_weight(c->parameters, index);
}

void dns_classifier_free(dns_classifier *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; c->labels != NULL && i < c->shape.n_labels; i++)
        dns_free(c->labels[i]);
    dns_free(c->labels);
    dns_free(c->origin);
    dns_parameters_free(c->parameters);
    dns_free(c);
}

static dns_status declare(dns_classifier *c, bool training)
{
    const size_t dim = c->sizes[0], hidden = c->sizes[1], k = c->sizes[2];
    const struct {
        const char *name;
        size_t rank, shape[2];
        dns_parameter_kind kind;
    } tensors[N_TENSORS] = {
        [W1] = {"hidden.weight", 2, {hidden, dim}, DNS_PARAMETER_TRAINED},
        [B1] = {"hidden.bias", 1, {hidden}, DNS_PARAMETER_TRAINED},
        [W2] = {"output.weight", 2, {k, hidden}, DNS_PARAMETER_TRAINED},
        [B2] = {"output.bias", 1, {k}, DNS_PARAMETER_TRAINED},
        [MEAN] = {"input.mean", 1, {dim}, DNS_PARAMETER_BUFFER},
        [DEVIATION] = {"input.deviation", 1, {dim}, DNS_PARAMETER_BUFFER},
        [THRESHOLDS] = {"thresholds", 1, {k}, DNS_PARAMETER_BUFFER},
    };
    dns_status status = DNS_OK;
    size_t index;
    DNS_TRY(dns_parameters_create(&c->parameters));
    for (size_t i = 0; i < N_TENSORS; i++)
        DNS_TRY(dns_parameters_add(c->parameters, &index, tensors[i].name, tensors[i].rank,
                                   tensors[i].shape, tensors[i].kind));
    DNS_TRY(dns_parameters_allocate(c->parameters, training));
out:
    return status;
}

static dns_status create(dns_classifier **out, const dns_classifier_shape *shape, size_t hidden,
                         bool training)
{
    dns_status status = DNS_OK;
    dns_classifier *c = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&c, 1, sizeof *c));
    c->shape = *shape;
    DNS_TRY(dns_alloc(&c->labels, shape->n_labels, sizeof *c->labels));
    for (size_t i = 0; i < shape->n_labels; i++)
        DNS_TRY(dns_string_copy(&c->labels[i], shape->labels[i]));
    c->shape.labels = (const char *const *)c->labels;
    if (shape->origin != NULL)
        DNS_TRY(dns_string_copy(&c->origin, shape->origin));
    c->shape.origin = c->origin;
    c->sizes[0] = shape->dim;
    c->sizes[1] = hidden;
    c->sizes[2] = shape->n_labels;
    DNS_TRY(declare(c, training));
    c->w[0] = tensor(c, W1);
    c->b[0] = tensor(c, B1);
    c->w[1] = tensor(c, W2);
    c->b[1] = tensor(c, B2);
    c->mlp = (dns_mlp){LAYERS, c->sizes, c->w, c->b};
    dns_parameters_set_constant(c->parameters, DEVIATION, 1);
    dns_parameters_set_constant(c->parameters, THRESHOLDS, 0.5);
    *out = c;
    c = NULL;
out:
    dns_classifier_free(c);
    return status;
}

/* ---- loss ---- */

/* Binary cross-entropy of every label, from the logits so that nothing overflows. */
static double tags_loss(float *dlogits, const float *logits, const dns_soft_targets *term, size_t n,
                        size_t k)
{
    double total = 0, scale = 1 / term->temperature;
    for (size_t i = 0; i < n * k; i++) {
        double z = scale * (double)logits[i], t = (double)term->targets[i];
        double weight = (double)term->weights[i], e = exp(-fabs(z));
        double p = z >= 0 ? 1 / (1 + e) : e / (1 + e);
        total += weight * (fmax(z, 0) - t * z + log1p(e));
        dlogits[i] += (float)(weight * scale / (double)n * (p - t));
    }
    return total / (double)n;
}

static double softmax_loss(float *dlogits, const float *logits, const dns_soft_targets *term,
                           size_t n, size_t k)
{
    double total = 0, scale = 1 / term->temperature;
    for (size_t i = 0; i < n; i++) {
        const float *row = logits + i * k, *target = term->targets + i * k;
        double weight = (double)term->weights[i], largest = -INFINITY, sum = 0, mass = 0;
        if (weight == 0)
            continue;
        for (size_t j = 0; j < k; j++) {
            largest = fmax(largest, scale * (double)row[j]);
            mass += (double)target[j];
        }
        for (size_t j = 0; j < k; j++)
            sum += exp(scale * (double)row[j] - largest);
        double norm = largest + log(sum);
        for (size_t j = 0; j < k; j++) {
            double z = scale * (double)row[j], t = (double)target[j];
            total += weight * t * (norm - z);
            dlogits[i * k + j] += (float)(weight * scale / (double)n * (mass * exp(z - norm) - t));
        }
    }
    return total / (double)n;
}

void dns_soft_loss(double *loss, float *dlogits, const float *logits, const dns_soft_targets *term,
                   dns_label_task task, size_t n, size_t n_labels)
{
    *loss = task == DNS_LABEL_TAGS ? tags_loss(dlogits, logits, term, n, n_labels)
                                   : softmax_loss(dlogits, logits, term, n, n_labels);
}

/* ---- training ---- */

/* Column by column, over the rows that count and have a value. */
static void learn_standardisation(dns_classifier *c, const float *x, size_t n,
                                  const uint8_t *standardised)
{
    for (size_t j = 0; j < c->shape.dim; j++) {
        double sum = 0, squares = 0;
        size_t count = 0;
        for (size_t i = 0; i < n; i++) {
            double value = (double)x[i * c->shape.dim + j];
            if ((standardised != NULL && standardised[i] == 0) || isnan(value))
                continue;
            double shifted = value - sum / (double)(count > 0 ? count : 1);
            sum += value;
            count++;
            squares += count > 1 ? shifted * (value - sum / (double)count) : 0;
        }
        double deviation = count > 1 ? sqrt(squares / (double)count) : 0;
        tensor(c, MEAN)[j] = (float)(count > 0 ? sum / (double)count : 0);
        tensor(c, DEVIATION)[j] = deviation > 1e-6 ? (float)deviation : 1;
    }
}

static void standardise(float *out, const dns_classifier *c, const float *x)
{
    const float *mean = tensor(c, MEAN), *deviation = tensor(c, DEVIATION);
    for (size_t j = 0; j < c->shape.dim; j++)
        out[j] = isnan(x[j]) ? 0 : (x[j] - mean[j]) / deviation[j];
}

/* Working memory of a training, for one batch. */
struct trainer {
    dns_classifier *c;
    const dns_classifier_plan *plan;
    const float *x;
    size_t n;
    const dns_soft_targets *terms;
    size_t n_terms;
    size_t *order;
    float *rows, *hidden, *logits, *dlogits, *targets, *weights;
};

static dns_status prepare(struct trainer *t)
{
    const size_t batch = t->plan->batch, k = t->c->shape.n_labels;
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&t->order, t->n, sizeof *t->order));
    DNS_TRY(dns_alloc(&t->rows, batch * t->c->shape.dim, sizeof *t->rows));
    DNS_TRY(dns_alloc(&t->hidden, batch * t->plan->hidden, sizeof *t->hidden));
    DNS_TRY(dns_alloc(&t->logits, batch * k, sizeof *t->logits));
    DNS_TRY(dns_alloc(&t->dlogits, batch * k, sizeof *t->dlogits));
    DNS_TRY(dns_alloc(&t->targets, batch * k, sizeof *t->targets));
    DNS_TRY(dns_alloc(&t->weights, batch * k, sizeof *t->weights));
out:
    return status;
}

static void release(struct trainer *t)
{
    dns_free(t->order);
    dns_free(t->rows);
    dns_free(t->hidden);
    dns_free(t->logits);
    dns_free(t->dlogits);
    dns_free(t->targets);
    dns_free(t->weights);
}

/* Gradients of the rows order[first .. first + n). */
static dns_status gradients_of_batch(struct trainer *t, size_t first, size_t n)
{
    const dns_classifier *c = t->c;
    const size_t dim = c->shape.dim, k = c->shape.n_labels;
    const size_t n_weights = c->shape.task == DNS_LABEL_TAGS ? k : 1;
    float *const outputs[] = {t->hidden, t->logits};
    float *dw[LAYERS] = {dns_parameters_gradient(c->parameters, W1),
                         dns_parameters_gradient(c->parameters, W2)};
    float *db[LAYERS] = {dns_parameters_gradient(c->parameters, B1),
                         dns_parameters_gradient(c->parameters, B2)};
    for (size_t i = 0; i < n; i++)
        standardise(t->rows + i * dim, c, t->x + t->order[first + i] * dim);
    dns_status status = dns_mlp_forward(outputs, t->rows, n, &c->mlp, NULL);
    if (status != DNS_OK)
        return status;
    memset(t->dlogits, 0, n * k * sizeof *t->dlogits);
    for (size_t term = 0; term < t->n_terms; term++) {
        const dns_soft_targets *from = &t->terms[term];
        for (size_t i = 0; i < n; i++) {
            size_t row = t->order[first + i];
            memcpy(t->targets + i * k, from->targets + row * k, k * sizeof *t->targets);
            memcpy(t->weights + i * n_weights, from->weights + row * n_weights,
                   n_weights * sizeof *t->weights);
        }
        double loss;
        dns_soft_loss(&loss, t->dlogits, t->logits,
                      &(dns_soft_targets){t->targets, t->weights, from->temperature}, c->shape.task,
                      n, k);
    }
    dns_parameters_zero_gradients(c->parameters);
    return dns_mlp_backward(NULL, dw, db, t->dlogits, (const float *const *)outputs, t->rows, n,
                            &c->mlp, NULL);
}

/* Only matrices decay, before Adam's step moves them. */
static dns_status move(struct trainer *t, const dns_schedule *schedule, size_t step)
{
    const dns_adam adam = DNS_ADAM_INIT;
    double rate = dns_schedule_rate(schedule, step);
    const float kept = (float)(1 - rate * t->plan->weight_decay);
    for (size_t l = 0; l < LAYERS; l++) {
        float *w = tensor(t->c, l == 0 ? W1 : W2);
        for (size_t i = 0; i < t->c->sizes[l] * t->c->sizes[l + 1]; i++)
            w[i] *= kept;
    }
    return dns_adam_step(t->c->parameters, &adam, rate, step, NULL);
}

static dns_status train(struct trainer *t)
{
    const dns_classifier_plan *plan = t->plan;
    const size_t n_batches = (t->n + plan->batch - 1) / plan->batch;
    const dns_schedule schedule = {.shape = DNS_SCHEDULE_COSINE,
                                   .peak = plan->rate,
                                   .steps = n_batches * plan->epochs,
                                   .last = 0};
    dns_random random = dns_random_stream(plan->seed, 0);
    for (size_t l = 0; l < LAYERS; l++)
        dns_parameters_set_normal(t->c->parameters, l == 0 ? W1 : W2,
                                  sqrt(2.0 / (double)t->c->sizes[l]), &random);
    size_t step = 0;
    for (size_t epoch = 0; epoch < plan->epochs; epoch++) {
        random = dns_random_stream(plan->seed, 1 + epoch);
        for (size_t i = 0; i < t->n; i++)
            t->order[i] = i;
        dns_random_shuffle(&random, t->order, t->n);
        for (size_t batch = 0; batch < n_batches; batch++) {
            size_t first = batch * plan->batch, left = t->n - first;
            if (dns_cancelled(plan->cancel))
                return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
            dns_status status =
                gradients_of_batch(t, first, left < plan->batch ? left : plan->batch);
            if (status == DNS_OK)
                status = move(t, &schedule, ++step);
            if (status != DNS_OK)
                return status;
        }
    }
    return DNS_OK;
}

dns_status dns_classifier_train(dns_classifier **out, const dns_classifier_shape *shape,
                                const dns_classifier_plan *plan, const float *x, size_t n,
                                const uint8_t *standardised, const dns_soft_targets *terms,
                                size_t n_terms)
{
    dns_status status = DNS_OK;
    struct trainer t = {.plan = plan, .x = x, .n = n, .terms = terms, .n_terms = n_terms};
    *out = NULL;
    if (n == 0 || n_terms == 0 || shape->dim == 0 || shape->n_labels == 0 || plan->hidden == 0 ||
        plan->epochs == 0 || plan->batch == 0 || !(plan->rate > 0) || !(plan->weight_decay >= 0))
        DNS_FAIL(DNS_ERR_ARG,
                 "classifier: %zu rows of %zu features, %zu labels, %zu hidden, %zu epochs, batch "
                 "%zu, rate %g: all must be positive",
                 n, shape->dim, shape->n_labels, plan->hidden, plan->epochs, plan->batch,
                 plan->rate);
    DNS_TRY(create(&t.c, shape, plan->hidden, true));
    learn_standardisation(t.c, x, n, standardised);
    DNS_TRY(prepare(&t));
    DNS_TRY(train(&t));
    *out = t.c;
    t.c = NULL;
out:
    release(&t);
    dns_classifier_free(t.c);
    return status;
}

/* ---- files ---- */

static void put_labels(dns_json_writer *w, const char *name, const dns_classifier *c)
{
    dns_json_begin_array(w, name);
    for (size_t i = 0; i < c->shape.n_labels; i++)
        dns_json_put_string(w, NULL, c->labels[i]);
    dns_json_end_array(w);
}

/* *text, to be freed with free: the labels, or the section of a model with them. */
static dns_status write_json(char **text, const dns_classifier *c, bool section)
{
    size_t size = 0;
    FILE *stream = open_memstream(text, &size);
    if (stream == NULL)
        return dns_status_set_errno("names of labels");
    dns_json_writer w = dns_json_writer_to(stream, false);
    if (section) {
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "version", version);
        dns_json_put_string(&w, "task", dns_label_task_name(c->shape.task));
        put_labels(&w, "labels", c);
        if (c->origin != NULL)
            dns_json_put_string(&w, "origin", c->origin);
        dns_json_end_object(&w);
    } else {
        put_labels(&w, NULL, c);
    }
    dns_status status = dns_json_finish(&w);
    fclose(stream);
    return status;
}

dns_status dns_classifier_save(const dns_classifier *c, const char *path)
{
    dns_status status = DNS_OK;
    char *labels = NULL;
    DNS_TRY(write_json(&labels, c, false));
    const dns_metadata metadata[] = {{"kind", kind},
                                     {"version", version},
                                     {"task", dns_label_task_name(c->shape.task)},
                                     {"labels", labels},
                                     {"origin", c->origin}};
    DNS_TRY(dns_parameters_save(c->parameters, path, metadata, c->origin != NULL ? 5 : 4));
out:
    free(labels);
    return status;
}

static dns_status check_values(const dns_classifier *c, const char *path)
{
    for (size_t i = 0; i < c->shape.dim; i++)
        if (!(tensor(c, DEVIATION)[i] > 0))
            return dns_status_set(DNS_ERR_RANGE, "%s: deviation %zu is not positive", path, i);
    for (size_t i = 0; i < c->shape.n_labels; i++)
        if (!(tensor(c, THRESHOLDS)[i] >= 0 && tensor(c, THRESHOLDS)[i] <= 1))
            return dns_status_set(DNS_ERR_RANGE, "%s: threshold %zu is not in [0, 1]", path, i);
    return DNS_OK;
}

/* The weights of a file, with a shape that lacks sizes and labels. */
static dns_status read_weights(dns_classifier **out, const dns_safetensors *file,
                               const dns_json *names, dns_classifier_shape shape)
{
    dns_status status = DNS_OK;
    const char *path = dns_safetensors_path(file);
    const char **labels = NULL;
    dns_classifier *c = NULL;
    const dns_tensor *w = dns_safetensors_find(file, "hidden.weight");
    shape.n_labels = dns_json_size(names);
    if (w == NULL || w->rank != 2 || w->shape[0] == 0 || w->shape[1] == 0)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: no matrix 'hidden.weight'", path);
    if (dns_json_kind_of(names) != DNS_JSON_ARRAY || shape.n_labels < 1 ||
        shape.n_labels > MOST_LABELS)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: 'labels' is no list of names", path);
    DNS_TRY(dns_alloc(&labels, shape.n_labels, sizeof *labels));
    for (size_t i = 0; i < shape.n_labels; i++) {
        labels[i] = dns_json_string(dns_json_at(names, i), NULL);
        if (labels[i] == NULL)
            DNS_FAIL(DNS_ERR_FORMAT, "%s: label %zu has no name", path, i + 1);
    }
    shape.dim = w->shape[1];
    shape.labels = labels;
    DNS_TRY(create(&c, &shape, w->shape[0], false));
    status = dns_parameters_load(c->parameters, file, "");
    if (status == DNS_OK)
        status = check_values(c, path);
    if (status != DNS_OK) {
        status = status == DNS_ERR_RANGE ? DNS_ERR_CORRUPT : status; /* nobody saves such numbers */
        goto out;
    }
    *out = c;
    c = NULL;
out:
    dns_classifier_free(c);
    dns_free(labels);
    return status;
}

static dns_status check_header(dns_label_task *task, const char *found_version,
                               const char *found_task, const char *path)
{
    if (found_version == NULL || strcmp(found_version, version) != 0)
        return dns_status_set(DNS_ERR_VERSION, "%s: version %s of classifiers, %s is known", path,
                              found_version != NULL ? found_version : "(none)", version);
    if (found_task == NULL || !dns_label_task_parse(task, found_task))
        return dns_status_set(DNS_ERR_FORMAT, "%s: no known task", path);
    return DNS_OK;
}

dns_status dns_classifier_open(dns_classifier **out, const char *path)
{
    dns_status status = DNS_OK;
    dns_safetensors *file = NULL;
    dns_json *names = NULL;
    dns_classifier_shape shape = {0};
    *out = NULL;
    DNS_TRY(dns_safetensors_open(&file, path));
    const char *found = dns_safetensors_metadata(file, "kind");
    if (found == NULL || strcmp(found, kind) != 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: not a classifier", path);
    DNS_TRY(check_header(&shape.task, dns_safetensors_metadata(file, "version"),
                         dns_safetensors_metadata(file, "task"), path));
    found = dns_safetensors_metadata(file, "labels");
    if (found == NULL)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no names of labels", path);
    DNS_TRY(dns_json_parse(&names, found, strlen(found), path));
    shape.origin = dns_safetensors_metadata(file, "origin");
    DNS_TRY(read_weights(out, file, names, shape));
out:
    dns_json_free(names);
    dns_safetensors_close(file);
    return status;
}

/* ---- as a section of a model ---- */

dns_status dns_classifier_from_model(dns_classifier **out, const dns_model *model)
{
    dns_status status = DNS_OK;
    dns_classifier_shape shape = {0};
    const dns_json *s = dns_model_section(model, section_name);
    const dns_safetensors *file = dns_model_weights(model, section_name);
    *out = NULL;
    if (s == NULL || file == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "model '%s' has no classifier", dns_model_name(model));
    DNS_TRY(check_header(&shape.task, dns_json_string(dns_json_get(s, "version"), NULL),
                         dns_json_string(dns_json_get(s, "task"), NULL),
                         dns_model_directory(model)));
    shape.origin = dns_json_string(dns_json_get(s, "origin"), NULL);
    DNS_TRY(read_weights(out, file, dns_json_get(s, "labels"), shape));
out:
    return status;
}

dns_status dns_classifier_install(const dns_classifier *c, const char *directory)
{
    dns_status status = DNS_OK;
    char *text = NULL;
    dns_named_tensor tensors[N_TENSORS];
    for (size_t i = 0; i < N_TENSORS; i++) {
        const dns_parameter *p = dns_parameters_at(c->parameters, i);
        tensors[i] = (dns_named_tensor){p->name, dns_tensor_f32(tensor(c, i), p->rank, p->shape)};
    }
    DNS_TRY(write_json(&text, c, true));
    const dns_model_edit edit = {section_name, text, tensors, N_TENSORS};
    DNS_TRY(dns_model_edit_apply(directory, &edit, 1));
out:
    free(text);
    return status;
}

/* ---- use ---- */

const dns_classifier_shape *dns_classifier_shape_of(const dns_classifier *c)
{
    return &c->shape;
}

size_t dns_classifier_hidden(const dns_classifier *c)
{
    return c->sizes[1];
}

size_t dns_classifier_bytes(const dns_classifier *c)
{
    size_t count = 0;
    for (size_t i = 0; i < N_TENSORS; i++)
        count += dns_parameters_at(c->parameters, i)->count;
    return count * sizeof(float);
}

const float *dns_classifier_thresholds(const dns_classifier *c)
{
    return tensor(c, THRESHOLDS);
}

dns_status dns_classifier_set_thresholds(dns_classifier *c, const float *thresholds)
{
    for (size_t i = 0; i < c->shape.n_labels; i++)
        if (!(thresholds[i] >= 0 && thresholds[i] <= 1))
            return dns_status_set(DNS_ERR_RANGE, "threshold %g of label '%s' is not in [0, 1]",
                                  (double)thresholds[i], c->labels[i]);
    memcpy(tensor(c, THRESHOLDS), thresholds, c->shape.n_labels * sizeof *thresholds);
    return DNS_OK;
}

struct prediction {
    float *logits;
    const dns_classifier *c;
    const float *x;
    size_t n;
};

static dns_status predict_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct prediction *p = payload;
    const size_t dim = p->c->shape.dim, first = task * CHUNK;
    const size_t n = p->n - first < CHUNK ? p->n - first : CHUNK;
    float *rows = NULL, *hidden = NULL;
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&rows, n * dim, sizeof *rows));
    DNS_TRY(dns_alloc(&hidden, n * p->c->sizes[1], sizeof *hidden));
    for (size_t i = 0; i < n; i++)
        standardise(rows + i * dim, p->c, p->x + (first + i) * dim);
    float *const outputs[] = {hidden, p->logits + first * p->c->shape.n_labels};
    DNS_TRY(dns_mlp_forward(outputs, rows, n, &p->c->mlp, NULL));
out:
    dns_free(hidden);
    dns_free(rows);
    return status;
}

dns_status dns_classifier_logits(float *logits, const dns_classifier *c, const float *x, size_t n,
                                 dns_pool *pool)
{
    struct prediction p = {logits, c, x, n};
    return dns_pool_run(pool, (n + CHUNK - 1) / CHUNK, predict_task, &p);
}

void dns_label_probabilities(float *logits, dns_label_task task, size_t n, size_t n_labels,
                             double temperature)
{
    for (size_t i = 0; i < n * n_labels; i++) {
        double z = (double)logits[i] / temperature;
        logits[i] = task == DNS_LABEL_TAGS ? (float)(1 / (1 + exp(-z))) : (float)z;
    }
    if (task != DNS_LABEL_TAGS)
        dns_softmax(logits, n, n_labels);
}

dns_status dns_classifier_predict(float *probabilities, const dns_classifier *c, const float *x,
                                  size_t n, dns_pool *pool)
{
    dns_status status = dns_classifier_logits(probabilities, c, x, n, pool);
    if (status == DNS_OK)
        dns_label_probabilities(probabilities, c->shape.task, n, c->shape.n_labels, 1);
    return status;
}
