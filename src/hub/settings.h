/* The user's settings file: defaults for what the command line does not say. */
#ifndef SG_HUB_SETTINGS_H
#define SG_HUB_SETTINGS_H

#include "safeguard/status.h"

#include <stdbool.h>

struct sg_settings {
    char *model;     /* NULL: not set; likewise the other strings */
    char *precision; /* "fast", "exact" */
    char *effort;    /* "low", "medium", "high" */
    char *endpoint;  /* of the Hugging Face hub */
    int threads;     /* 0: not set */
    int context;     /* 0: not set */
    bool repack;     /* true unless the file says false */
};

/* $SAFEGUARD_CONFIG, else $XDG_CONFIG_HOME/safeguard/config.yaml, else ~/.config/safeguard/config.yaml. A flat YAML
 * mapping. No file is no error, unless $SAFEGUARD_CONFIG names it. SG_EFORMAT names the file, line, key, got and
 * expected. The settings are initialised in every case; release them with sg_settings_deinit. */
SG_MUST_CHECK enum sg_status sg_settings_load(struct sg_settings *settings, struct sg_error *err);
void sg_settings_deinit(struct sg_settings *settings);

#endif
