#include "random_backbone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/safetensors.h"
#include "support.h"

enum { TENSORS_MAXIMUM = 512 };

static uint64_t seed_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Uniform in middle +- reach, so that maps keep their size from layer to layer. */
static void fill(float *values, const char *name, const dns_tensor *tensor)
{
    double middle = 0.0, reach = 0.2;
    if (tensor->rank == 4) {
        size_t fan_in = tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
        reach = sqrt(5.0 / (double)fan_in);
    } else if (ends_with(name, ".weight")) {
        middle = strstr(name, "bn3") != NULL || strstr(name, "_bn2") != NULL ? 0.5 : 1.0;
    } else if (name[0] == '_' && ends_with(name, ".bias") && strstr(name, "_bn2") == NULL) {
        middle = 2.0;
        reach = 4.0; /* both ends of ReLU6 are to be reached */
    } else if (ends_with(name, ".running_var")) {
        middle = 1.0;
        reach = 0.5;
    }
    dns_random random = dns_random_seed(seed_of(name));
    for (size_t i = 0; i < dns_tensor_count(tensor); i++)
        values[i] = (float)(middle + reach * (2.0 * dns_random_uniform(&random) - 1.0));
}

/* One line of the list: "layer1.0.bn1.weight 64". */
static bool read_line(FILE *list, char name[80], dns_tensor *tensor)
{
    char line[256];
    if (fgets(line, sizeof line, list) == NULL)
        return false;
    char *rest = strchr(line, ' ');
    assert_non_null(rest);
    *rest++ = '\0';
    assert_true(strlen(line) < 80);
    memcpy(name, line, strlen(line) + 1);
    *tensor = (dns_tensor){.dtype = DNS_F32};
    for (char *end; tensor->rank < 4; rest = end) {
        size_t size = strtoul(rest, &end, 10);
        if (end == rest)
            break;
        tensor->shape[tensor->rank++] = size;
    }
    return true;
}

void random_backbone_write(const char *name, const char *path)
{
    static char names[TENSORS_MAXIMUM][80];
    dns_named_tensor tensors[TENSORS_MAXIMUM];
    char file_name[64], list_path[4096];
    size_t n = 0;
    snprintf(file_name, sizeof file_name, "features/%s.tensors", name);
    test_data_path(list_path, sizeof list_path, file_name);
    FILE *list = fopen(list_path, "r");
    assert_non_null(list);
    dns_tensor tensor;
    while (n < TENSORS_MAXIMUM && read_line(list, names[n], &tensor)) {
        float *values;
        assert_ok(dns_alloc(&values, dns_tensor_count(&tensor), sizeof *values));
        fill(values, names[n], &tensor);
        tensor.data = values;
        tensors[n] = (dns_named_tensor){names[n], tensor};
        n++;
    }
    fclose(list);
    assert_ok(dns_safetensors_write(path, tensors, n, NULL, 0));
    for (size_t i = 0; i < n; i++)
        dns_free((void *)(uintptr_t)tensors[i].tensor.data);
}

void random_frames(uint8_t *frames, size_t n)
{
    dns_random random = dns_random_seed(7);
    for (size_t f = 0; f < n; f++)
        for (size_t y = 0; y < 224; y++)
            for (size_t x = 0; x < 224; x++)
                for (size_t c = 0; c < 3; c++)
                    *frames++ = (uint8_t)(40 * ((x / 32 + 2 * (y / 40) + c + f) % 5) +
                                          dns_random_below(&random, 60));
}
