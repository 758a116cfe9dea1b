/* What the verbs of "dev" share. */
#ifndef SG_CLI_DEV_H
#define SG_CLI_DEV_H

#include "cli/options.h"
#include "text/tokenizer.h"

/* The tokenizer of a model (a name as sg_model_locate takes it, or a tokenizer.json), or a tiktoken rank file when
 * `tiktoken` is given. */
SG_MUST_CHECK enum sg_status sg_dev_open_tokenizer(const char *model, const char *tiktoken,
                                                   struct sg_tokenizer **tokenizer_out, struct sg_error *err);

#endif
