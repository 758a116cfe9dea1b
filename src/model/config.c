/* The model's shape, from GGUF metadata or from config.json, with every value checked against what this program
 * can do. Key names: docs of GGUF (`gpt-oss.*`, Ollama's `gptoss.*`, `llama.*`) and transformers' GptOssConfig. */
#include "model/model_internal.h"

#include <jansson.h>

/* Where values come from: GGUF keys with a prefix, or members of a JSON object. */
struct source {
    const struct sg_weights *weights;
    const json_t *json;
    char prefix[32];
    struct sg_error *err;
};

static const char *full_key(const struct source *from, const char *key, char *out, size_t size)
{
    if (from->json)
        return key;
    snprintf(out, size, "%s.%s", from->prefix, key);
    return out;
}

static bool find_double(const struct source *from, const char *key, double *out)
{
    char name[128];
    full_key(from, key, name, sizeof name);
    if (!from->json)
        return sg_meta_double(from->weights, name, out);
    const json_t *value = json_object_get(from->json, key);
    if (!json_is_number(value))
        return false;
    *out = json_number_value(value);
    return true;
}

static enum sg_status get_int(const struct source *from, const char *key, int low, int high, int *out)
{
    char name[128];
    double value;
    if (!find_double(from, key, &value))
        return sg_fail(from->err, SG_EFORMAT, "model configuration: %s is missing or not a number",
                       full_key(from, key, name, sizeof name));
    if (!(value >= low && value <= high) || value != (double)(int)value)
        return sg_fail(from->err, SG_EFORMAT,
                       "model configuration: %s: got %g, expected a whole number from %d to %d",
                       full_key(from, key, name, sizeof name), value, low, high);
    *out = (int)value;
    return SG_OK;
}

static enum sg_status get_double(const struct source *from, const char *key, double fallback, double low, double high,
                                 double *out)
{
    char name[128];
    if (!find_double(from, key, out))
        *out = fallback;
    if (!(*out >= low && *out <= high))
        return sg_fail(from->err, SG_EFORMAT, "model configuration: %s: got %g, expected %g to %g",
                       full_key(from, key, name, sizeof name), *out, low, high);
    return SG_OK;
}

/* Names of the same thing in the two kinds of file. */
struct keys {
    const char *layers, *hidden, *heads, *kv_heads, *head_dim, *context, *eps, *theta, *window, *experts,
        *experts_used;
};
static const struct keys gguf_keys = {"block_count",
                                      "embedding_length",
                                      "attention.head_count",
                                      "attention.head_count_kv",
                                      "attention.key_length",
                                      "context_length",
                                      "attention.layer_norm_rms_epsilon",
                                      "rope.freq_base",
                                      "attention.sliding_window",
                                      "expert_count",
                                      "expert_used_count"};
static const struct keys json_keys = {"num_hidden_layers",   "hidden_size",        "num_attention_heads",
                                      "num_key_value_heads", "head_dim",           "max_position_embeddings",
                                      "rms_norm_eps",        "rope_theta",         "sliding_window",
                                      "num_local_experts",   "num_experts_per_tok"};

static enum sg_status read_common(const struct source *from, const struct keys *keys, struct sg_config *config)
{
    double eps;
    TRY(get_int(from, keys->layers, 1, SG_MAX_LAYERS, &config->n_layers));
    TRY(get_int(from, keys->hidden, 32, 1 << 16, &config->hidden));
    TRY(get_int(from, keys->heads, 1, 1 << 12, &config->n_heads));
    config->n_kv_heads = config->n_heads;
    double ignored;
    if (find_double(from, keys->kv_heads, &ignored))
        TRY(get_int(from, keys->kv_heads, 1, config->n_heads, &config->n_kv_heads));
    config->head_dim = config->hidden / config->n_heads;
    if (find_double(from, keys->head_dim, &ignored))
        TRY(get_int(from, keys->head_dim, 32, 1024, &config->head_dim));
    TRY(get_int(from, keys->context, 1, 1 << 24, &config->context));
    TRY(get_double(from, keys->eps, 1e-5, 1e-12, 1e-1, &eps));
    config->norm_eps = (float)eps;
    TRY(get_double(from, keys->theta, config->architecture == SG_GPTOSS ? 150000 : 10000, 1, 1e12,
                   &config->rope_theta));
    if (config->n_heads % config->n_kv_heads)
        return sg_fail(from->err, SG_EFORMAT, "model configuration: %d query heads are no multiple of %d kv heads",
                       config->n_heads, config->n_kv_heads);
    if (config->head_dim % 32)
        return sg_fail(from->err, SG_EUNSUPPORTED, "model configuration: head dim: got %d, expected a multiple of 32",
                       config->head_dim);
    config->yarn_factor = 1;
    return SG_OK;
}

static enum sg_status read_gptoss(const struct source *from, const struct keys *keys, struct sg_config *config)
{
    TRY(get_int(from, keys->experts, 1, SG_MAX_EXPERTS, &config->n_experts));
    TRY(get_int(from, keys->experts_used, 1, config->n_experts, &config->n_experts_used));
    TRY(get_int(from, keys->window, 1, 1 << 20, &config->window));
    const char *ffn = from->json ? "intermediate_size" : "expert_feed_forward_length";
    double ignored;
    if (!find_double(from, ffn, &ignored))
        ffn = "feed_forward_length"; /* Ollama */
    TRY(get_int(from, ffn, 32, 1 << 16, &config->ffn));
    config->swiglu_limit = 7;
    for (int layer = 0; layer < config->n_layers; layer++)
        config->windowed[layer] = layer % 2 == 0;
    if (!from->json) {
        TRY(get_double(from, "rope.scaling.factor", 32, 1, 1e6, &config->yarn_factor));
        double original = 0;
        if (!find_double(from, "rope.scaling.original_context_length", &original) || original == 0)
            original = 4096; /* Ollama leaves it out or writes 0 */
        config->yarn_original_context = original;
        TRY(get_double(from, "rope.scaling.yarn_beta_fast", 32, 1e-3, 1e6, &config->yarn_beta_fast));
        TRY(get_double(from, "rope.scaling.yarn_beta_slow", 1, 1e-3, 1e6, &config->yarn_beta_slow));
        return SG_OK;
    }
    double limit;
    TRY(get_double(from, "swiglu_limit", 7, 1e-3, 1e6, &limit));
    config->swiglu_limit = (float)limit;
    const json_t *types = json_object_get(from->json, "layer_types");
    if (types && json_array_size(types) != (size_t)config->n_layers)
        return sg_fail(from->err, SG_EFORMAT, "model configuration: layer_types: got %zu entries, expected %d",
                       json_array_size(types), config->n_layers);
    for (int layer = 0; types && layer < config->n_layers; layer++) {
        const char *type = json_string_value(json_array_get(types, (size_t)layer));
        config->windowed[layer] = type && strcmp(type, "sliding_attention") == 0;
        if (!config->windowed[layer] && (!type || strcmp(type, "full_attention") != 0))
            return sg_fail(from->err, SG_EUNSUPPORTED,
                           "model configuration: layer_types[%d]: got %s, expected sliding_attention or "
                           "full_attention",
                           layer, type ? type : "no string");
    }
    struct source scaling = *from;
    scaling.json = json_object_get(from->json, "rope_scaling");
    if (!json_is_object(scaling.json)) /* what transformers 5 writes in its place */
        scaling.json = json_object_get(from->json, "rope_parameters");
    if (!json_is_object(scaling.json))
        return sg_fail(from->err, SG_EFORMAT, "model configuration: rope_scaling is missing");
    TRY(get_double(&scaling, "rope_theta", config->rope_theta, 1, 1e12, &config->rope_theta));
    TRY(get_double(&scaling, "factor", 32, 1, 1e6, &config->yarn_factor));
    TRY(get_double(&scaling, "original_max_position_embeddings", 4096, 1, 1e9, &config->yarn_original_context));
    TRY(get_double(&scaling, "beta_fast", 32, 1e-3, 1e6, &config->yarn_beta_fast));
    return get_double(&scaling, "beta_slow", 1, 1e-3, 1e6, &config->yarn_beta_slow);
}

static enum sg_status read_llama(const struct source *from, struct sg_config *config)
{
    TRY(get_int(from, from->json ? "intermediate_size" : "feed_forward_length", 32, 1 << 18, &config->ffn));
    config->adjacent_pairs = !from->json;
    double rotated;
    if (!from->json && find_double(from, "rope.dimension_count", &rotated) && rotated != config->head_dim)
        return sg_fail(from->err, SG_EUNSUPPORTED,
                       "model configuration: llama.rope.dimension_count: got %g, expected "
                       "the head dim %d",
                       rotated, config->head_dim);
    if (from->json && json_is_object(json_object_get(from->json, "rope_scaling")))
        return sg_fail(from->err, SG_EUNSUPPORTED, "model configuration: rope_scaling in a llama config.json");
    return SG_OK;
}

enum sg_status sg_config_read(const struct sg_weights *weights, struct sg_config *config_out, struct sg_error *err)
{
    *config_out = (struct sg_config){0};
    struct source from = {.weights = weights, .err = err};
    struct sg_slice name = {0};
    if (sg_weights_kind(weights) == SG_WEIGHTS_SAFETENSORS) {
        from.json = sg_weights_config(weights);
        if (!from.json)
            return sg_fail(err, SG_ENOTFOUND, "%s: a safetensors model needs a config.json beside it",
                           sg_weights_file_path(weights, 0));
        const char *type = json_string_value(json_object_get(from.json, "model_type"));
        if (type)
            name = sg_slice_of(type);
    } else if (!sg_meta_string(weights, "general.architecture", &name)) {
        return sg_fail(err, SG_EFORMAT, "%s: key general.architecture is missing", sg_weights_file_path(weights, 0));
    }
    static const struct {
        const char *name;
        enum sg_architecture architecture;
    } known[] = {{"gpt-oss", SG_GPTOSS}, {"gptoss", SG_GPTOSS}, {"gpt_oss", SG_GPTOSS}, {"llama", SG_LLAMA}};
    size_t i = 0, n = sizeof known / sizeof known[0];
    while (i < n && !sg_slice_equal(name, sg_slice_of(known[i].name)))
        i++;
    if (i == n)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: architecture: got '%.*s', expected gpt-oss, gptoss or llama",
                       sg_weights_file_path(weights, 0), (int)(name.len < 40 ? name.len : 40), name.ptr);
    config_out->architecture = known[i].architecture;
    snprintf(from.prefix, sizeof from.prefix, "%s", known[i].name);
    const struct keys *keys = from.json ? &json_keys : &gguf_keys;
    enum sg_status status = read_common(&from, keys, config_out);
    if (status == SG_OK)
        status = config_out->architecture == SG_GPTOSS ? read_gptoss(&from, keys, config_out)
                                                       : read_llama(&from, config_out);
    if (status != SG_OK)
        return sg_fail_in(err, status, "%s", sg_weights_file_path(weights, 0));
    return SG_OK;
}

void sg_kv_pool_for(struct sg_kv_pool *pool, const struct sg_config *config)
{
    int n_windowed = 0;
    for (int l = 0; l < config->n_layers; l++)
        n_windowed += config->windowed[l];
    sg_kv_pool_init(pool, config->n_layers - n_windowed, n_windowed, config->n_kv_heads, config->head_dim,
                    config->window);
}
