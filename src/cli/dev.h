/* What the verbs of "dev" share. */
#ifndef SG_CLI_DEV_H
#define SG_CLI_DEV_H

#include "cli/options.h"
#include "text/tokenizer.h"

/* The tokenizer of a model (a name as sg_model_locate takes it, or a tokenizer.json), or a tiktoken rank file when
 * `tiktoken` is given. */
SG_MUST_CHECK enum sg_status sg_dev_open_tokenizer(const char *model, const char *tiktoken,
                                                   struct sg_tokenizer **tokenizer_out, struct sg_error *err);

/* Standard input as JSON lines with a string "text": `use` is called with each. Errors name the line. */
typedef enum sg_status sg_dev_text_fn(void *context, struct sg_slice text, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_dev_each_text(sg_dev_text_fn *use, void *context, struct sg_error *err);

#endif
