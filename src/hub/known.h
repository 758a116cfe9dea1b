/* Models that have a short name, and where files of a name lie in the cache folder. */
#ifndef SG_HUB_KNOWN_H
#define SG_HUB_KNOWN_H

#include "base/buffer.h"

#define SG_DEFAULT_MODEL "smollm2-135m-instruct"
#define SG_HUB_ENDPOINT "https://huggingface.co"

struct sg_known_model {
    const char *name;
    const char *repository; /* OWNER/NAME on the Hugging Face hub */
    const char *files;      /* fnmatch pattern of what is fetched; NULL: the safetensors folder */
    const char *sha256;     /* of the one file, where it is pinned; else NULL: the hub's own */
    const char *about;
};

/* The table, in the order in which help shows it; NULL past the end. */
const struct sg_known_model *sg_known_at(size_t i);
const struct sg_known_model *sg_known_find(const char *name);

/* What "hf:OWNER/NAME[:FILE]" says. The parts are written as C strings; SG_EINVALID for anything that is no such
 * name (also for parts that would leave the folder). file is "" when there is none. */
struct sg_hub_name {
    char owner[97], name[97], file[513];
};
SG_MUST_CHECK enum sg_status sg_hub_name_parse(const char *text, struct sg_hub_name *name_out, struct sg_error *err);

/* Folder of a known or "hf:" name below the cache folder: models/NAME or models/OWNER--NAME. free()
 * *path_out. */
SG_MUST_CHECK enum sg_status sg_hub_folder(const char *name, char **path_out, struct sg_error *err);

/* The part of a folder that sg_model_open takes: the folder itself when it holds a config.json and safetensors, else
 * its GGUF file (of a split set the first part). `file`: this file, when not empty. SG_ENOTFOUND for no model,
 * SG_EINVALID (naming them) for several. */
SG_MUST_CHECK enum sg_status sg_hub_pick(const char *folder, const char *file, char **path_out, struct sg_error *err);

#endif
