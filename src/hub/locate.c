/* A model's name as people type it → a path. Also looks where Ollama and the Hugging Face library keep theirs. */
#include "safeguard/model.h"

#include "base/file.h"
#include "hub/known.h"
#include "hub/settings.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define MANIFEST_MAX_BYTES ((size_t)1 << 20)
#define OLLAMA_REGISTRY "registry.ollama.ai" /* first folder below manifests/ for names without a host */
#define OLLAMA_MODEL_LAYER "application/vnd.ollama.image.model"

/* `variable`'s value + `below`, appended to `list` as one candidate folder. Paths are separated by NUL. */
static void add_place(struct sg_buffer *list, const char *variable, const char *below)
{
    const char *value = getenv(variable);
    if (value && *value) {
        sg_buffer_printf(list, "%s%s", value, below);
        sg_buffer_putc(list, '\0');
    }
}

static void describe_places(const struct sg_buffer *list, struct sg_buffer *out)
{
    for (size_t at = 0; at < list->len; at += strlen(list->data + at) + 1)
        sg_buffer_printf(out, "%s%s", at ? ", " : "", list->data + at);
}

/* "NAME", "NAME:TAG", "OWNER/NAME:TAG", "HOST/OWNER/NAME:TAG" → path of the manifest below manifests/. */
static enum sg_status manifest_path(const char *name, struct sg_buffer *path, struct sg_error *err)
{
    const char *tag = strrchr(name, ':');
    size_t len = tag && !strchr(tag, '/') ? (size_t)(tag - name) : strlen(name);
    tag = name[len] == ':' ? name + len + 1 : "latest";
    int slashes = 0;
    for (size_t i = 0; i < len; i++)
        slashes += name[i] == '/';
    if (slashes < 2)
        sg_buffer_puts(path, OLLAMA_REGISTRY "/");
    if (slashes < 1)
        sg_buffer_puts(path, "library/");
    sg_buffer_append(path, name, len);
    sg_buffer_printf(path, "/%s", tag);
    const char *text = sg_buffer_text(path);
    if (len == 0 || !*tag || name[0] == '/' || strstr(text, "//") || strstr(text, "/.") || slashes > 2)
        return sg_fail(err, SG_EINVALID,
                       "\"ollama:%.128s\" is no model name, expected ollama:NAME or ollama:NAME:TAG", name);
    return sg_buffer_status(path, err);
}

/* The digest of the model layer in a manifest → "sha256-HEX". */
static enum sg_status model_blob(const char *path, struct sg_buffer *blob, struct sg_error *err)
{
    struct sg_buffer text = {0};
    enum sg_status status = sg_file_read(path, MANIFEST_MAX_BYTES, &text, err);
    if (status != SG_OK) {
        sg_buffer_free(&text);
        return status;
    }
    json_t *manifest = json_loadb(sg_buffer_text(&text), text.len, JSON_DECODE_INT_AS_REAL, NULL), *layer;
    size_t i;
    status = sg_fail(err, SG_EFORMAT, "%s: no layer of type " OLLAMA_MODEL_LAYER, path);
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        const char *type = json_string_value(json_object_get(layer, "mediaType"));
        const char *digest = json_string_value(json_object_get(layer, "digest"));
        if (!type || !digest || strcmp(type, OLLAMA_MODEL_LAYER) != 0)
            continue;
        if (strncmp(digest, "sha256:", 7) != 0 || strlen(digest) != 71 ||
            strspn(digest + 7, "0123456789abcdef") != 64) {
            status = sg_fail(err, SG_EFORMAT, "%s: bad digest of the model layer", path);
        } else {
            sg_buffer_printf(blob, "sha256-%s", digest + 7);
            status = sg_buffer_status(blob, err);
        }
        break;
    }
    json_decref(manifest);
    sg_buffer_free(&text);
    return status;
}

static enum sg_status locate_ollama(const char *name, struct sg_buffer *path, struct sg_error *err)
{
    struct sg_buffer places = {0}, manifest = {0}, blob = {0}, looked = {0};
    enum sg_status status = manifest_path(name, &manifest, err);
    add_place(&places, "OLLAMA_MODELS", "");
    add_place(&places, "HOME", "/.ollama/models");
    sg_buffer_append(&places, "/usr/share/ollama/.ollama/models", 33);
    bool found = false;
    for (size_t at = 0; status == SG_OK && !found && at < places.len; at += strlen(places.data + at) + 1) {
        const char *place = places.data + at;
        sg_buffer_clear(path);
        sg_buffer_printf(path, "%s/manifests/%s", place, manifest.data);
        if (path->failed || access(path->data, R_OK) != 0)
            continue;
        found = true;
        status = model_blob(path->data, &blob, err);
        sg_buffer_clear(path);
        sg_buffer_printf(path, "%s/blobs/%s", place, sg_buffer_text(&blob));
        if (status == SG_OK && access(sg_buffer_text(path), R_OK) != 0)
            status = sg_fail(err, SG_ENOTFOUND, "ollama:%s: its file %s is missing or cannot be read", name,
                             sg_buffer_text(path));
    }
    if (status == SG_OK && !found) {
        describe_places(&places, &looked);
        status = sg_fail(err, SG_ENOTFOUND, "ollama:%s: no %s below manifests/ in %s; run: ollama pull %s", name,
                         manifest.data, sg_buffer_text(&looked), name);
    }
    sg_buffer_free(&places);
    sg_buffer_free(&manifest);
    sg_buffer_free(&blob);
    sg_buffer_free(&looked);
    return status;
}

/* The snapshot that refs/main names in one Hugging Face cache; false when the model is not there. */
static bool hub_snapshot(const char *place, const struct sg_hub_name *hub, struct sg_buffer *path)
{
    struct sg_buffer revision = {0};
    sg_buffer_clear(path);
    sg_buffer_printf(path, "%s/models--%s--%s/refs/main", place, hub->owner, hub->name);
    bool found = !path->failed && sg_file_read(path->data, 256, &revision, NULL) == SG_OK && revision.len > 0;
    size_t len = strspn(sg_buffer_text(&revision), "0123456789abcdefABCDEF");
    if (found) {
        sg_buffer_clear(path);
        sg_buffer_printf(path, "%s/models--%s--%s/snapshots/%.*s", place, hub->owner, hub->name, (int)len,
                         revision.data);
        found = len > 0 && !path->failed && access(path->data, R_OK) == 0;
    }
    sg_buffer_free(&revision);
    return found;
}

static enum sg_status locate_hub(const char *name, struct sg_buffer *path, char **picked_out, struct sg_error *err)
{
    struct sg_hub_name hub;
    struct sg_buffer places = {0}, looked = {0};
    char *own = NULL;
    enum sg_status status = sg_hub_name_parse(name, &hub, err);
    if (status == SG_OK)
        status = sg_hub_folder(name, &own, err);
    if (status != SG_OK)
        return status;
    add_place(&places, "HF_HUB_CACHE", "");
    add_place(&places, "HF_HOME", "/hub");
    add_place(&places, "XDG_CACHE_HOME", "/huggingface/hub");
    add_place(&places, "HOME", "/.cache/huggingface/hub");
    status = SG_ENOTFOUND;
    if (access(own, R_OK) == 0)
        status = sg_hub_pick(own, hub.file, picked_out, err);
    for (size_t at = 0; status == SG_ENOTFOUND && at < places.len; at += strlen(places.data + at) + 1)
        if (hub_snapshot(places.data + at, &hub, path))
            status = sg_hub_pick(path->data, hub.file, picked_out, err);
    if (status == SG_ENOTFOUND) {
        describe_places(&places, &looked);
        sg_fail(err, SG_ENOTFOUND, "%s: not in %s, nor in %s; run: safeguard pull %s", name, own,
                sg_buffer_text(&looked), name);
    }
    free(own);
    sg_buffer_free(&places);
    sg_buffer_free(&looked);
    return status;
}

/* A short name in our own cache folder. */
static enum sg_status locate_short(const char *name, char **picked_out, struct sg_error *err)
{
    char *folder;
    enum sg_status status = sg_hub_folder(name, &folder, err);
    if (status == SG_OK && access(folder, R_OK) == 0)
        status = sg_hub_pick(folder, "", picked_out, err);
    else if (status == SG_OK && sg_known_find(name))
        status = sg_fail(err, SG_ENOTFOUND, "%s: not in %s; run: safeguard pull %s", name, folder, name);
    else
        status = sg_fail(
            err, SG_ENOTFOUND,
            "%.256s: no such file or folder, and no model of that name (safeguard pull --help lists them)", name);
    free(folder);
    return status;
}

static enum sg_status locate(const char *name, char **path_out, struct sg_error *err)
{
    struct sg_buffer path = {0};
    enum sg_status status = SG_OK;
    const char *home = getenv("HOME");
    if (strncmp(name, "ollama:", 7) == 0) {
        status = locate_ollama(name + 7, &path, err);
    } else if (strncmp(name, "hf:", 3) == 0) {
        status = locate_hub(name, &path, path_out, err);
    } else {
        if (strncmp(name, "~/", 2) == 0 && home)
            sg_buffer_printf(&path, "%s%s", home, name + 1);
        else
            sg_buffer_puts(&path, name);
        if (!path.failed && access(path.data, F_OK) != 0)
            status = locate_short(name, path_out, err);
    }
    if (status == SG_OK && !*path_out) {
        status = sg_buffer_status(&path, err);
        *path_out = sg_buffer_take(&path);
    }
    sg_buffer_free(&path);
    return status;
}

static enum sg_status locate_default(char **path_out, struct sg_error *err)
{
    enum sg_status status = locate_short(SG_DEFAULT_MODEL, path_out, err);
    if (status != SG_ENOTFOUND)
        return status;
    char *folder;
    if (sg_hub_folder(SG_DEFAULT_MODEL, &folder, err) == SG_OK)
        sg_fail(err, SG_ENOTFOUND,
                "no model: no --model, no SAFEGUARD_MODEL, no \"model\" in the settings file, and the "
                "default " SG_DEFAULT_MODEL " is not in %s; run: safeguard pull " SG_DEFAULT_MODEL
                " (or, from the sources, make demo)",
                folder);
    free(folder);
    return SG_ENOTFOUND;
}

enum sg_status sg_model_locate(const char *name, char **path_out, struct sg_error *err)
{
    *path_out = NULL;
    if (name)
        return locate(name, path_out, err);
    const char *variable = getenv("SAFEGUARD_MODEL");
    if (variable && *variable) {
        enum sg_status status = locate(variable, path_out, err);
        return status == SG_OK ? SG_OK : sg_fail_in(err, status, "SAFEGUARD_MODEL");
    }
    struct sg_settings settings;
    enum sg_status status = sg_settings_load(&settings, err);
    if (status == SG_OK && settings.model)
        status = locate(settings.model, path_out, err);
    else if (status == SG_OK)
        status = locate_default(path_out, err);
    sg_settings_deinit(&settings);
    return status;
}
