/* The reasoner that the options of a verb ask for: a model on this machine (--model), or a server (--reasoner). */
#ifndef SG_CLI_REASONER_OPTIONS_H
#define SG_CLI_REASONER_OPTIONS_H

#include "base/buffer.h"
#include "cli/options.h"
#include "hub/settings.h"
#include "safeguard/reasoner.h"

struct sg_reasoner_options {
    const char *model_name, *precision;
    int threads, context;
    bool repack;
    struct sg_remote_options remote; /* remote.url NULL: a model on this machine */
    int in_flight, timeout_s;
};

/* Defaults from the settings file; strings are borrowed from it. */
void sg_reasoner_options_init(struct sg_reasoner_options *options, const struct sg_settings *settings);

/* The rows of a verb's table; `o` is a struct sg_reasoner_options. */
#define SG_REASONER_OPTIONS(o)                                                                                       \
    {"model",                                                                                                        \
     SG_OPTION_STRING,                                                                                               \
     &(o).model_name,                                                                                                \
     "MODEL",                                                                                                        \
     "a GGUF file or safetensors folder, ollama:NAME[:TAG], hf:OWNER/NAME, or a name\n"                              \
     "that safeguard pull knows",                                                                                    \
     0,                                                                                                              \
     0},                                                                                                             \
        {"reasoner",                                                                                                 \
         SG_OPTION_STRING,                                                                                           \
         &(o).remote.url,                                                                                            \
         "URL",                                                                                                      \
         "ask a server that speaks OpenAI's chat completions instead (http://host:8000/v1);\n"                       \
         "its key is taken from $SAFEGUARD_REASONER_KEY (docs/remote.md); replay:FILE repeats\n"                     \
         "what a file of verdicts or labels says, replay:FILE#CATEGORY one category of it",                          \
         0,                                                                                                          \
         0},                                                                                                         \
        {"reasoner-model",                                                                                           \
         SG_OPTION_STRING,                                                                                           \
         &(o).remote.model,                                                                                          \
         "NAME",                                                                                                     \
         "--reasoner: the server's name for the model",                                                              \
         0,                                                                                                          \
         0},                                                                                                         \
        {"in-flight", SG_OPTION_INT, &(o).in_flight, "N", "--reasoner: requests at a time (4)", 1, 1024},            \
        {"votes",                                                                                                    \
         SG_OPTION_INT,                                                                                              \
         &(o).remote.votes,                                                                                          \
         "N",                                                                                                        \
         "--reasoner: where the server gives no log probabilities, ask N times and take the\n"                       \
         "share of violating answers for the probability",                                                           \
         0,                                                                                                          \
         SG_REMOTE_MAX_VOTES},                                                                                       \
        {"reasoner-timeout", SG_OPTION_INT, &(o).timeout_s, "SECONDS", "--reasoner: of one answer (600)", 1, 86400}, \
        {"precision", SG_OPTION_STRING, &(o).precision, "exact|fast", "f32 or int8 activations (fast)", 0, 0},       \
        {"threads", SG_OPTION_INT, &(o).threads, "N", "one per processor unless given", 0, 1024},                    \
        {"context",                                                                                                  \
         SG_OPTION_INT,                                                                                              \
         &(o).context,                                                                                               \
         "TOKENS",                                                                                                   \
         "memory for so many tokens (the model's own, at most 8192); longer content is\njudged in windows",          \
         0,                                                                                                          \
         1 << 24},                                                                                                   \
    {                                                                                                                \
        "no-repack", SG_OPTION_OFF, &(o).repack, NULL,                                                               \
            "map the model as it is: loads at once and needs less memory, runs slower", 0, 0                         \
    }

/* What is wrong with the options taken together, or NULL. */
const char *sg_reasoner_options_wrong(const struct sg_reasoner_options *options);

/* Open it. Warns on standard error when a key would travel unencrypted to another machine. *model_out is NULL for a
 * server. Destroy the reasoner, then close the model. */
SG_MUST_CHECK enum sg_status sg_reasoner_options_open(const struct sg_reasoner_options *options,
                                                      struct sg_model **model_out, struct sg_reasoner **reasoner_out,
                                                      struct sg_error *err);

/* ,"name":"value", with null for NULL. */
void sg_options_put_text(struct sg_buffer *out, const char *name, const char *value);

/* Members of a JSON object that, with the verdict's model.sha256, tell which reasoner answered: appended behind a
 * comma. */
void sg_reasoner_options_json(const struct sg_reasoner_options *options, struct sg_buffer *out);

#endif
