#include "model_manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

dns_status dns_manifest_read(dns_json **out, const char *directory)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    dns_json *manifest = NULL;
    *out = NULL;
    DNS_TRY(dns_path_join(&path, directory, DNS_MANIFEST_FILE));
    DNS_TRY(dns_json_read(&manifest, path));
    const char *schema = dns_json_string(dns_json_get(manifest, "schema"), "");
    size_t family = strlen("dnsel.model/");
    if (strncmp(schema, DNS_MANIFEST_SCHEMA, family) != 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: not the manifest of a model", DNS_MANIFEST_FILE);
    if (strcmp(schema, DNS_MANIFEST_SCHEMA) != 0)
        DNS_FAIL(DNS_ERR_VERSION, "%s: schema %s, this program reads %s", DNS_MANIFEST_FILE, schema,
                 DNS_MANIFEST_SCHEMA);
    *out = manifest;
    manifest = NULL;
out:
    dns_json_free(manifest);
    dns_free(path);
    return status;
}

bool dns_manifest_file_name(const char *text)
{
    return text[0] != '\0' && text[0] != '.' && strchr(text, '/') == NULL && strlen(text) < 200;
}

/* ---- digest: a canonical text of the values, members sorted by key ---- */

struct keys {
    const char **items;
    size_t n, capacity;
};

static dns_status collect_key(void *payload, const char *key, const dns_json *value)
{
    struct keys *keys = payload;
    dns_status status = dns_reserve(&keys->items, &keys->capacity, keys->n + 1, sizeof(char *));
    if (status == DNS_OK)
        keys->items[keys->n++] = key;
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_text(dns_hasher *hasher, char kind, const char *text)
{
    char head[32];
    int n = snprintf(head, sizeof head, "%c%zu:", kind, strlen(text));
    dns_hasher_add(hasher, head, (size_t)n);
    dns_hasher_add(hasher, text, strlen(text));
}

static bool listed(const char *const *list, const char *text)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, text) == 0)
            return true;
    return false;
}

static dns_status add_value(dns_hasher *hasher, const dns_json *value, const char *const *ignored);

static dns_status add_members(dns_hasher *hasher, const dns_json *object,
                              const char *const *ignored)
{
    static const char *const inner[] = {"provenance", NULL};
    dns_status status = DNS_OK;
    struct keys keys = {0};
    DNS_TRY(dns_json_each(object, collect_key, &keys));
    if (keys.n > 0)
        qsort(keys.items, keys.n, sizeof *keys.items, by_text);
    for (size_t i = 0; i < keys.n; i++) {
        if (listed(ignored, keys.items[i]))
            continue;
        add_text(hasher, 'k', keys.items[i]);
        DNS_TRY(add_value(hasher, dns_json_get(object, keys.items[i]), inner));
    }
    dns_hasher_add(hasher, "}", 1);
out:
    dns_free(keys.items);
    return status;
}

static dns_status add_value(dns_hasher *hasher, const dns_json *value, const char *const *ignored)
{
    char text[64];
    switch (dns_json_kind_of(value)) {
    case DNS_JSON_NULL:
        dns_hasher_add(hasher, "n", 1);
        break;
    case DNS_JSON_BOOL:
        dns_hasher_add(hasher, dns_json_bool(value, false) ? "t" : "f", 1);
        break;
    case DNS_JSON_NUMBER:
        snprintf(text, sizeof text, "%.17g", dns_json_number(value, 0.0));
        add_text(hasher, '#', text);
        break;
    case DNS_JSON_STRING:
        add_text(hasher, 's', dns_json_string(value, ""));
        break;
    case DNS_JSON_ARRAY:
        dns_hasher_add(hasher, "[", 1);
        for (size_t i = 0; i < dns_json_size(value); i++) {
            dns_status status = add_value(hasher, dns_json_at(value, i), ignored);
            if (status != DNS_OK)
                return status;
        }
        dns_hasher_add(hasher, "]", 1);
        break;
    case DNS_JSON_OBJECT:
        return add_members(hasher, value, ignored);
    }
    return DNS_OK;
}

dns_status dns_manifest_digest(dns_digest *out, const dns_json *manifest)
{
    static const char *const ignored[] = {"name",        "description", "provenance",
                                          "calibration", "classifier",  NULL};
    dns_hasher *hasher = NULL;
    dns_status status = DNS_OK;
    DNS_TRY(dns_hasher_create(&hasher));
    DNS_TRY(add_members(hasher, manifest, ignored));
    *out = dns_hasher_digest(hasher);
out:
    dns_hasher_free(hasher);
    return status;
}

dns_status dns_manifest_digest_of(dns_digest *out, const dns_json *manifest,
                                  const char *const *sections, size_t n_sections)
{
    static const char *const ignored[] = {"provenance", NULL};
    dns_hasher *hasher = NULL;
    dns_status status = DNS_OK;
    DNS_TRY(dns_hasher_create(&hasher));
    for (size_t i = 0; i < n_sections; i++) {
        add_text(hasher, 'k', sections[i]);
        DNS_TRY(add_value(hasher, dns_json_get(manifest, sections[i]), ignored));
    }
    *out = dns_hasher_digest(hasher);
out:
    dns_hasher_free(hasher);
    return status;
}
