/* Opening a model: files → configuration → tensors → packed matrices, and the tokenizer that comes with it. */
#include "model/model_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/hash_cache.h"

enum sg_status sg_model_sha256(const struct sg_model *model, char hex_out[65], struct sg_error *err)
{
    size_t n_files = sg_weights_file_count(model->weights), n = 0;
    const char *folder = sg_weights_folder(model->weights);
    const char **paths = calloc(n_files + 2, sizeof *paths);
    char *beside[2] = {NULL, NULL};
    enum sg_status status = paths ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; folder && status == SG_OK && i < 2; i++) {
        static const char *const names[2] = {"config.json", "tokenizer.json"};
        if (asprintf(&beside[i], "%s/%s", folder, names[i]) < 0) {
            beside[i] = NULL;
            status = sg_fail(err, SG_ENOMEM, "out of memory");
        } else if (access(beside[i], R_OK) == 0) {
            paths[n++] = beside[i];
        }
    }
    for (size_t i = 0; status == SG_OK && i < n_files; i++)
        paths[n++] = sg_weights_file_path(model->weights, i);
    if (status == SG_OK)
        status = sg_file_set_sha256(paths, n, hex_out, err);
    free(beside[0]);
    free(beside[1]);
    free(paths);
    return status;
}

static char *name_of(const struct sg_weights *weights, const char *path)
{
    struct sg_slice name;
    if (sg_meta_string(weights, "general.name", &name) && name.len)
        return strndup(name.ptr, name.len < 200 ? name.len : 200);
    char *copy = strdup(path);
    if (!copy)
        return NULL;
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    const char *slash = strrchr(copy, '/');
    char *base = strdup(slash ? slash + 1 : copy);
    free(copy);
    return base;
}

/* Every matrix once; a tied output matrix shares its tensor with the embedding but is packed on its own. */
static enum sg_status for_each_matrix(struct sg_model *model,
                                      enum sg_status (*visit)(struct sg_model *, struct sg_matrix *,
                                                              struct sg_error *),
                                      struct sg_error *err)
{
    enum sg_status status = model->output.tensor ? visit(model, &model->output, err) : SG_OK;
    for (int l = 0; l < model->config.n_layers; l++) {
        struct sg_layer *layer = &model->layers[l];
        struct sg_matrix *all[] = {&layer->q,      &layer->k,    &layer->v,  &layer->o,
                                   &layer->router, &layer->gate, &layer->up, &layer->down};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            if (status == SG_OK && all[i]->tensor)
                status = visit(model, all[i], err);
    }
    return status;
}

static enum sg_status release(struct sg_model *model, struct sg_matrix *matrix, struct sg_error *err)
{
    (void)model;
    (void)err;
    sg_matrix_release(matrix);
    return SG_OK;
}

static enum sg_status create_thread_scratch(struct sg_model *model, struct sg_error *err)
{
    const struct sg_config *c = &model->config;
    int widest = c->hidden > c->ffn ? c->hidden : c->ffn, q = c->n_heads * c->head_dim;
    widest = q > widest ? q : widest;
    size_t bytes = sg_panel_q8_bytes(widest / SG_BLOCK + 1) + ((size_t)widest * sizeof(float) + 127) / 64 * 64;
    int threads = sg_pool_threads(model->pool);
    model->thread_scratch = calloc((size_t)threads, sizeof *model->thread_scratch);
    for (int i = 0; model->thread_scratch && i < threads; i++) {
        model->thread_scratch[i] = aligned_alloc(64, bytes);
        if (!model->thread_scratch[i])
            return sg_fail(err, SG_ENOMEM, "out of memory for thread scratch");
    }
    return model->thread_scratch ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for thread scratch");
}

static enum sg_status open_parts(struct sg_model *model, struct sg_error *err)
{
    enum sg_status status = sg_kernels_select(&model->kernels, err);
    if (status == SG_OK)
        status = sg_weights_open(model->path, &model->weights, err);
    if (status == SG_OK)
        status = sg_config_read(model->weights, &model->config, err);
    if (status == SG_OK)
        status = sg_pool_create(model->options.threads, &model->pool, err);
    if (status == SG_OK && !(model->name = name_of(model->weights, model->path)))
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = create_thread_scratch(model, err);
    if (status == SG_OK) {
        status = sg_model_bind(model, err);
        if (status == SG_OK)
            status = for_each_matrix(model, sg_matrix_prepare, err);
        if (status != SG_OK)
            return sg_fail_in(err, status, "%s", model->path);
    }
    if (status != SG_OK)
        return status;
    struct sg_error why;
    status = sg_tokenizer_from_weights(model->weights, &model->tokenizer, &why);
    if (status == SG_OK && sg_tokenizer_count(model->tokenizer) > model->config.vocabulary)
        return sg_fail(err, SG_EFORMAT, "%s: the tokenizer has %d tokens, the embedding only %d rows", model->path,
                       sg_tokenizer_count(model->tokenizer), model->config.vocabulary);
    if (status != SG_OK && status != SG_ENOTFOUND) /* a model without a tokenizer still computes logits */
        return sg_fail(err, status, "%s: %s", model->path, why.text);
    return SG_OK;
}

enum sg_status sg_model_open(const char *path, const struct sg_model_options *options, struct sg_model **model_out,
                             struct sg_error *err)
{
    *model_out = NULL;
    struct sg_model *model = calloc(1, sizeof *model);
    if (!model || !(model->path = strdup(path))) {
        free(model);
        return sg_fail(err, SG_ENOMEM, "out of memory");
    }
    model->options = *options;
    enum sg_status status = open_parts(model, err);
    if (status != SG_OK) {
        sg_model_close(model);
        return status;
    }
    *model_out = model;
    return SG_OK;
}

void sg_model_close(struct sg_model *model)
{
    if (!model)
        return;
    enum sg_status ignored = for_each_matrix(model, release, NULL);
    (void)ignored; /* release cannot fail */
    sg_tokenizer_destroy(model->tokenizer);
    for (size_t i = 0; i < model->n_owned; i++)
        free(model->owned[i]);
    free(model->owned);
    for (int i = 0; model->thread_scratch && i < sg_pool_threads(model->pool); i++)
        free(model->thread_scratch[i]);
    free(model->thread_scratch);
    sg_pool_destroy(model->pool);
    sg_weights_close(model->weights);
    free(model->name);
    free(model->path);
    free(model);
}

const char *sg_model_name(const struct sg_model *model)
{
    return model->name;
}

const char *sg_model_architecture(const struct sg_model *model)
{
    return model->config.architecture == SG_GPTOSS ? "gpt-oss" : "llama";
}

int sg_model_context(const struct sg_model *model)
{
    return model->config.context;
}

int sg_model_vocabulary(const struct sg_model *model)
{
    return model->config.vocabulary;
}

const char *sg_model_cpu(const struct sg_model *model)
{
    return model->kernels->name;
}

bool sg_model_has_tokenizer(const struct sg_model *model)
{
    return model->tokenizer != NULL;
}
