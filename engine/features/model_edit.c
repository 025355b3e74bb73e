#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/memory.h"
#include "dnsel/model.h"
#include "model_manifest.h"

/* One edit on its way into the manifest. */
struct pending {
    const dns_model_edit *edit;
    dns_json *value; /* NULL: the section goes */
    char *file;      /* NULL: no weights */
    dns_digest digest;
    bool written; /* into the new manifest */
};

struct work {
    const char *directory;
    dns_json *old; /* NULL: a new model */
    struct pending *pending;
    size_t n;
    dns_json_writer *writer;
};

static bool is_section_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && length < 64 && name[length] == '\0' && strcmp(name, "schema") != 0;
}

static dns_status parse_edit(struct pending *p)
{
    const dns_model_edit *edit = p->edit;
    if (!is_section_name(edit->section))
        return dns_status_set(DNS_ERR_ARG, "'%s' is no name for a section", edit->section);
    if (edit->json == NULL)
        return DNS_OK;
    dns_status status = dns_json_parse(&p->value, edit->json, strlen(edit->json), edit->section);
    if (status == DNS_OK && edit->tensors != NULL && dns_json_kind_of(p->value) != DNS_JSON_OBJECT)
        status = dns_status_set(DNS_ERR_FORMAT, "section '%s' has weights but is no object",
                                edit->section);
    return status;
}

struct search {
    const char *file;
    bool found;
};

static dns_status match_file(void *payload, const char *name, const dns_json *section)
{
    struct search *search = payload;
    if (strcmp(dns_json_string(dns_json_get(section, "file"), ""), search->file) == 0)
        search->found = true;
    return DNS_OK;
}

static bool names_file(const dns_json *manifest, const char *file)
{
    struct search search = {file, false};
    (void)dns_json_each(manifest, match_file, &search);
    return search.found;
}

/* Writes the weights under a name that the old manifest does not use, unless for the same bytes. */
static dns_status write_weights(struct pending *p, const struct work *work)
{
    dns_status status = DNS_OK;
    const char *section = p->edit->section;
    char *draft = NULL, *path = NULL;
    char hex[33];
    DNS_TRY(dns_string_format(&draft, "%s/.%s.draft", work->directory, section));
    DNS_TRY(dns_safetensors_write(draft, p->edit->tensors, p->edit->n_tensors, NULL, 0));
    DNS_TRY(dns_digest_of_file(&p->digest, draft));
    dns_digest_text(&p->digest, hex);
    DNS_TRY(dns_string_format(&p->file, "%s.safetensors", section));
    if (names_file(work->old, p->file)) {
        dns_free(p->file);
        DNS_TRY(dns_string_format(&p->file, "%s-%.8s.safetensors", section, hex));
    }
    DNS_TRY(dns_path_join(&path, work->directory, p->file));
    if (rename(draft, path) != 0)
        status = dns_status_set_errno("%s", path);
out:
    dns_free(draft);
    dns_free(path);
    return status;
}

/* ---- the new manifest ---- */

static dns_status copy_member(void *payload, const char *key, const dns_json *value)
{
    if (strcmp(key, "file") != 0 && strcmp(key, "digest") != 0)
        dns_json_put_value(payload, key, value);
    return DNS_OK;
}

static void put_pending(struct pending *p, dns_json_writer *w)
{
    p->written = true;
    if (p->value == NULL)
        return;
    if (p->file == NULL) {
        dns_json_put_value(w, p->edit->section, p->value);
        return;
    }
    char hex[33];
    dns_digest_text(&p->digest, hex);
    dns_json_begin_object(w, p->edit->section);
    dns_json_put_string(w, "file", p->file);
    dns_json_put_string(w, "digest", hex);
    (void)dns_json_each(p->value, copy_member, w);
    dns_json_end_object(w);
}

static dns_status put_section(void *payload, const char *name, const dns_json *value)
{
    struct work *work = payload;
    for (size_t i = 0; i < work->n; i++)
        if (strcmp(work->pending[i].edit->section, name) == 0) {
            put_pending(&work->pending[i], work->writer);
            return DNS_OK;
        }
    if (strcmp(name, "schema") != 0)
        dns_json_put_value(work->writer, name, value);
    return DNS_OK;
}

static bool edits_section(const struct work *work, const char *name)
{
    for (size_t i = 0; i < work->n; i++)
        if (strcmp(work->pending[i].edit->section, name) == 0)
            return true;
    return false;
}

/* A new model is called like its folder. */
static void put_default_name(const struct work *work)
{
    char name[256];
    size_t length = strlen(work->directory);
    while (length > 1 && work->directory[length - 1] == '/')
        length--;
    size_t first = length;
    while (first > 0 && work->directory[first - 1] != '/')
        first--;
    snprintf(name, sizeof name, "%.*s", (int)(length - first), work->directory + first);
    dns_json_put_string(work->writer, "name", name);
}

static dns_status write_manifest(struct work *work)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    dns_replacement *replacement = NULL;
    FILE *stream;
    DNS_TRY(dns_path_join(&path, work->directory, DNS_MANIFEST_FILE));
    DNS_TRY(dns_replacement_open(&replacement, &stream, path));
    dns_json_writer writer = dns_json_writer_to(stream, true);
    work->writer = &writer;
    dns_json_begin_object(&writer, NULL);
    dns_json_put_string(&writer, "schema", DNS_MANIFEST_SCHEMA);
    if (work->old == NULL && !edits_section(work, "name"))
        put_default_name(work);
    (void)dns_json_each(work->old, put_section, work);
    for (size_t i = 0; i < work->n; i++)
        if (!work->pending[i].written)
            put_pending(&work->pending[i], &writer);
    dns_json_end_object(&writer);
    DNS_TRY(dns_json_finish(&writer));
    status = dns_replacement_commit(replacement);
    replacement = NULL;
out:
    dns_replacement_abandon(replacement);
    dns_free(path);
    return status;
}

/* ---- files of the old manifest ---- */

struct removal {
    const char *directory;
    const dns_json *now;
};

static dns_status remove_if_unnamed(void *payload, const char *name, const dns_json *section)
{
    const struct removal *removal = payload;
    const char *file = dns_json_string(dns_json_get(section, "file"), NULL);
    char *path = NULL;
    if (file == NULL || !dns_manifest_file_name(file) || names_file(removal->now, file))
        return DNS_OK;
    if (dns_path_join(&path, removal->directory, file) == DNS_OK)
        unlink(path);
    dns_free(path);
    return DNS_OK;
}

static dns_status remove_unnamed(const struct work *work)
{
    dns_json *now = NULL;
    dns_status status = dns_manifest_read(&now, work->directory);
    if (status == DNS_OK)
        status =
            dns_json_each(work->old, remove_if_unnamed, &(struct removal){work->directory, now});
    dns_json_free(now);
    return status;
}

dns_status dns_model_edit_apply(const char *directory, const dns_model_edit *edits, size_t n_edits)
{
    dns_status status = DNS_OK;
    struct work work = {.directory = directory, .n = n_edits};
    DNS_TRY(dns_directory_make(directory));
    status = dns_manifest_read(&work.old, directory);
    if (status != DNS_OK && status != DNS_ERR_NOTFOUND)
        goto out;
    DNS_TRY(dns_alloc(&work.pending, n_edits, sizeof *work.pending));
    for (size_t i = 0; i < n_edits; i++)
        work.pending[i].edit = &edits[i];
    for (size_t i = 0; i < n_edits; i++)
        DNS_TRY(parse_edit(&work.pending[i]));
    for (size_t i = 0; i < n_edits; i++)
        if (work.pending[i].value != NULL && edits[i].tensors != NULL)
            DNS_TRY(write_weights(&work.pending[i], &work));
    DNS_TRY(write_manifest(&work));
    if (work.old != NULL)
        DNS_TRY(remove_unnamed(&work));
out:
    for (size_t i = 0; work.pending != NULL && i < n_edits; i++) {
        dns_json_free(work.pending[i].value);
        dns_free(work.pending[i].file);
    }
    dns_free(work.pending);
    dns_json_free(work.old);
    return status == DNS_OK ? DNS_OK : dns_status_context(status, "model %s", directory);
}
