/* A model on disk, opened: weights, architecture, tokenizer. */
#ifndef SAFEGUARD_MODEL_H
#define SAFEGUARD_MODEL_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum sg_precision {
    SG_FAST, /* activations as int8 per 32 values, integer dot products */
    SG_EXACT /* f32 activations: the specification */
};

struct sg_model_options {
    enum sg_precision precision;
    int threads; /* 0: one per processor that this process may use */
    bool repack; /* copy matrices once into the layout of the kernels; false: map the file as it is */
};

struct sg_model;

/* `path`: a GGUF or safetensors file, or a Hugging Face folder. */
SG_MUST_CHECK enum sg_status sg_model_open(const char *path, const struct sg_model_options *options,
                                           struct sg_model **model_out, struct sg_error *err);
void sg_model_close(struct sg_model *model);

const char *sg_model_name(const struct sg_model *model);         /* general.name, else the file's name */
const char *sg_model_architecture(const struct sg_model *model); /* "gpt-oss", "llama" */
int sg_model_context(const struct sg_model *model);              /* positions that it was trained for */
int sg_model_vocabulary(const struct sg_model *model);
const char *sg_model_cpu(const struct sg_model *model); /* kernel level in use: "scalar", "avx2" … */
bool sg_model_has_tokenizer(const struct sg_model *model);

/* SHA-256 over the bytes of the model's files in order (a folder: config.json and tokenizer.json first). Reads
 * everything once and keeps the answer in the cache folder, keyed by path, size and modification time. */
SG_MUST_CHECK enum sg_status sg_model_sha256(const struct sg_model *model, char hex_out[65], struct sg_error *err);

/* A name as people type it → a path: a path as it is; "ollama:NAME[:TAG]" a model that Ollama has pulled
 * ($OLLAMA_MODELS, ~/.ollama/models, /usr/share/ollama/.ollama/models); "hf:OWNER/NAME" a snapshot in the Hugging
 * Face cache ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub); NULL: $SAFEGUARD_MODEL, the config file's
 * `model`, the default model in the cache folder. SG_ENOTFOUND says where it looked and what to run.
 * free() *path_out. */
SG_MUST_CHECK enum sg_status sg_model_locate(const char *name, char **path_out, struct sg_error *err);

#ifdef __cplusplus
}
#endif
#endif
