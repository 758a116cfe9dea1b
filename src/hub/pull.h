/* Fetch a model from the Hugging Face hub (or a server that speaks its API) into the cache folder. */
#ifndef SG_HUB_PULL_H
#define SG_HUB_PULL_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

struct sg_pull_progress {
    const char *file; /* in hand */
    size_t index, n_files;
    bool checking;        /* its checksum is being computed */
    uint64_t done, total; /* bytes of all files */
};

struct sg_pull_options {
    const char *endpoint; /* NULL: SG_HUB_ENDPOINT */
    const char *token;
    double retry_delay_s;
    int retries, stall_s;
    bool (*progress)(void *context, const struct sg_pull_progress *progress); /* false cancels; may be NULL */
    void *context;
};

/* `name`: a known name (hub/known.h) or "hf:OWNER/NAME[:FILE]". Files that are there with the right checksum stay.
 * Each file is fetched as FILE.part, checked against the hub's listing (SHA-256 of large files, git's SHA-1 of small
 * ones), and only then given its name; what makes the folder count as a model (the first part of a split GGUF, or
 * config.json) comes last. SG_ECHECKSUM: the bytes are not those of the listing; they are thrown away.
 * *path_out is what sg_model_open takes; free() it. */
SG_MUST_CHECK enum sg_status sg_pull(const char *name, const struct sg_pull_options *options, char **path_out,
                                     struct sg_error *err);

#endif
