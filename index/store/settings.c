/* index.json: what an index is and how it was made. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "record_codec.h"
#include "store_handle.h"

dns_store_settings dns_store_settings_init(void)
{
    dns_store_settings settings = {.sampling = "exact", .fps = 1.0};
    settings.kept[DNS_KIND_META] = true;
    settings.dtype[DNS_KIND_META] = DNS_U8;
    settings.kept[DNS_KIND_COARSE] = true;
    settings.dtype[DNS_KIND_COARSE] = DNS_F32;
    return settings;
}

dns_digest dns_store_settings_digest(const dns_store_settings *settings)
{
    char model[33], text[128];
    dns_digest_text(&settings->model, model);
    int n = snprintf(text, sizeof text, "model %s sampling %s fps %.17g", model, settings->sampling,
                     settings->fps);
    return dns_digest_of(text, (size_t)n);
}

dns_status dns_settings_check(const dns_store_settings *settings)
{
    if (memchr(settings->model_name, '\0', DNS_MODEL_NAME) == NULL)
        return dns_status_set(DNS_ERR_ARG, "the model's name has no end");
    if (settings->sampling[0] == '\0' ||
        memchr(settings->sampling, '\0', DNS_SAMPLING_NAME) == NULL)
        return dns_status_set(DNS_ERR_ARG, "a sampling without a name");
    if (!isfinite(settings->fps) || settings->fps <= 0)
        return dns_status_set(DNS_ERR_ARG, "sampling at %g frames a second", settings->fps);
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        if (settings->kept[k] &&
            ((unsigned)settings->dtype[k] >= 32 ||
             (dns_kind_rule_get((dns_kind)k)->dtypes >> settings->dtype[k] & 1) == 0))
            return dns_status_set(DNS_ERR_ARG, "%s records cannot be kept as element type %d",
                                  dns_kind_name((dns_kind)k), (int)settings->dtype[k]);
    if (settings->code_bits % 64 != 0 || settings->code_bits > 1 << 16)
        return dns_status_set(DNS_ERR_ARG, "codes of %zu bits: a multiple of 64 is needed",
                              settings->code_bits);
    if (!(settings->merge >= 0 && settings->merge <= 2))
        return dns_status_set(DNS_ERR_ARG, "frames merged up to a distance of %g, not in [0, 2]",
                              (double)settings->merge);
    if (memchr(settings->ann, '\0', DNS_STORE_ANN) == NULL)
        return dns_status_set(DNS_ERR_ARG, "the name of the approximate index has no end");
    if (!settings->kept[DNS_KIND_META])
        return dns_status_set(DNS_ERR_ARG, "meta records are always kept");
    return DNS_OK;
}

/* Whether the settings need version 2 of the format. */
static bool is_version_2(const dns_store_settings *settings)
{
    return settings->code_bits != 0 || settings->merge != 0 || settings->ann[0] != '\0';
}

/* Over all that index.json says, in a form that does not depend on how it is written. */
static dns_status digest_of(dns_digest *digest, const dns_store *store)
{
    dns_hasher *hasher;
    dns_status status = dns_hasher_create(&hasher);
    if (status != DNS_OK)
        return status;
    dns_digest how = dns_store_settings_digest(&store->settings);
    dns_hasher_add(hasher, store->identity.bytes, sizeof store->identity.bytes);
    dns_hasher_add(hasher, how.bytes, sizeof how.bytes);
    dns_hasher_add(hasher, store->settings.model_name, strlen(store->settings.model_name));
    dns_hasher_add(hasher, store->created_by, strlen(store->created_by));
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        const char *dtype =
            store->settings.kept[k] ? dns_dtype_name(store->settings.dtype[k]) : "-";
        dns_hasher_add(hasher, dtype, strlen(dtype) + 1);
    }
    if (is_version_2(&store->settings)) {
        char text[64];
        int n = snprintf(text, sizeof text, "code_bits %zu merge %.9g", store->settings.code_bits,
                         (double)store->settings.merge);
        dns_hasher_add(hasher, text, (size_t)n);
        dns_hasher_add(hasher, store->settings.ann, strlen(store->settings.ann));
    }
    *digest = dns_hasher_digest(hasher);
    dns_hasher_free(hasher);
    return DNS_OK;
}

dns_status dns_settings_write(char **text, size_t *size, const dns_store *store)
{
    const dns_store_settings *settings = &store->settings;
    dns_digest digest;
    char hex[33], *buffer = NULL;
    *text = NULL;
    dns_status status = digest_of(&digest, store);
    if (status != DNS_OK)
        return status;
    FILE *stream = open_memstream(&buffer, size);
    if (stream == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "out of memory for index.json");
    dns_json_writer w = dns_json_writer_to(stream, true);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "format", "dnsel-index");
    dns_json_put_integer(&w, "version", is_version_2(settings) ? DNS_INDEX_VERSION : 1);
    dns_json_put_string(&w, "created_by", store->created_by);
    dns_digest_text(&store->identity, hex);
    dns_json_put_string(&w, "identity", hex);
    dns_json_begin_object(&w, "model");
    dns_json_put_string(&w, "name", settings->model_name);
    dns_digest_text(&settings->model, hex);
    dns_json_put_string(&w, "digest", hex);
    dns_json_end_object(&w);
    dns_json_begin_object(&w, "sampling");
    dns_json_put_string(&w, "mode", settings->sampling);
    dns_json_put_number(&w, "fps", settings->fps, 17);
    dns_json_end_object(&w);
    dns_json_begin_object(&w, "kinds");
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        if (settings->kept[k])
            dns_json_put_string(&w, dns_kind_name((dns_kind)k), dns_dtype_name(settings->dtype[k]));
    dns_json_end_object(&w);
    if (settings->code_bits != 0)
        dns_json_put_integer(&w, "code_bits", (int64_t)settings->code_bits);
    if (settings->merge != 0)
        dns_json_put_number(&w, "merge", (double)settings->merge, 9);
    if (settings->ann[0] != '\0')
        dns_json_put_string(&w, "ann", settings->ann);
    dns_digest_text(&digest, hex);
    dns_json_put_string(&w, "digest", hex);
    dns_json_end_object(&w);
    status = dns_json_finish(&w);
    if (fclose(stream) != 0 && status == DNS_OK)
        status = dns_status_set(DNS_ERR_NOMEM, "out of memory for index.json");
    if (status == DNS_OK)
        status = dns_string_copy(text, buffer);
    free(buffer);
    return status;
}

static dns_status read_kind(void *payload, const char *key, const dns_json *value)
{
    dns_store_settings *settings = payload;
    dns_kind kind;
    if (!dns_kind_parse(&kind, key) ||
        !dns_dtype_parse(&settings->dtype[kind], dns_json_string(value, "")))
        return dns_status_set(DNS_ERR_CORRUPT, "kind '%s' as '%s'", key,
                              dns_json_string(value, ""));
    settings->kept[kind] = true;
    return DNS_OK;
}

dns_status dns_settings_parse(dns_store *store, const char *text, size_t size, const char *source)
{
    dns_status status = DNS_OK;
    dns_json *root = NULL;
    dns_store_settings settings = {.fps = 0};
    dns_digest written, computed;
    DNS_TRY(dns_json_parse(&root, text, size, source));
    const char *format = dns_json_string(dns_json_get(root, "format"), "");
    if (strcmp(format, "dnsel-index") != 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: describes no index", source);
    int64_t version = dns_json_integer(dns_json_get(root, "version"), 0);
    if (version > DNS_INDEX_VERSION)
        DNS_FAIL(DNS_ERR_VERSION, "%s: index format %lld, this program reads up to %d", source,
                 (long long)version, DNS_INDEX_VERSION);
    const dns_json *model = dns_json_get(root, "model"), *sampling = dns_json_get(root, "sampling");
    const char *name = dns_json_string(dns_json_get(model, "name"), "");
    const char *mode = dns_json_string(dns_json_get(sampling, "mode"), "");
    settings.fps = dns_json_number(dns_json_get(sampling, "fps"), 0);
    int64_t code_bits = dns_json_integer(dns_json_get(root, "code_bits"), 0);
    settings.code_bits = code_bits > 0 ? (size_t)code_bits : 0;
    settings.merge = (float)dns_json_number(dns_json_get(root, "merge"), 0);
    const char *ann = dns_json_string(dns_json_get(root, "ann"), "");
    if (version < 1 || code_bits < 0 || strlen(ann) >= DNS_STORE_ANN ||
        strlen(name) >= DNS_MODEL_NAME || strlen(mode) >= DNS_SAMPLING_NAME ||
        !dns_digest_parse(&store->identity, dns_json_string(dns_json_get(root, "identity"), "")) ||
        !dns_digest_parse(&settings.model, dns_json_string(dns_json_get(model, "digest"), "")) ||
        !dns_digest_parse(&written, dns_json_string(dns_json_get(root, "digest"), "")))
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: a field is missing or damaged", source);
    strncpy(settings.model_name, name, DNS_MODEL_NAME - 1);
    strncpy(settings.sampling, mode, DNS_SAMPLING_NAME - 1);
    strncpy(settings.ann, ann, DNS_STORE_ANN - 1);
    status = dns_json_each(dns_json_get(root, "kinds"), read_kind, &settings);
    if (status == DNS_OK && dns_settings_check(&settings) != DNS_OK)
        status = DNS_ERR_CORRUPT;
    if (status != DNS_OK) {
        dns_status_context(status, "%s", source);
        goto out;
    }
    store->settings = settings;
    dns_free(store->created_by);
    DNS_TRY(
        dns_string_copy(&store->created_by, dns_json_string(dns_json_get(root, "created_by"), "")));
    DNS_TRY(digest_of(&computed, store));
    if (!dns_digest_equal(&written, &computed))
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: its digest differs from its contents", source);
out:
    dns_json_free(root);
    return status;
}
