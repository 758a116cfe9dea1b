/* safeguard model info: what a model file is, without loading it. */
#include "cli/options.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "base/hash_cache.h"
#include "safeguard/model.h"
#include "text/tokenizer.h"
#include "weights/weights.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct sg_verb verb = {
    .name = "model info",
    .summary = "what a model is: shape, types, tokenizer, size",
    .usage = "MODEL",
    .about =
        "MODEL is a GGUF file (any part of a split set), a safetensors file or folder, or a name as check --model\n"
        "takes it. Only headers are read, so this is quick for a model of any size.\n",
    .examples = "  safeguard model info gpt-oss-safeguard-20b\n"
                "  safeguard model info ~/models/gpt-oss-safeguard-20b-MXFP4.gguf --tensors\n"
                "  safeguard model info ollama:gpt-oss-safeguard:20b --json\n",
};

/* X(name in our JSON, what people read, GGUF key behind "ARCHITECTURE.", key of config.json) */
#define SHAPE_LIST(X)                                                                                                \
    X("layers", "layers", "block_count", "num_hidden_layers")                                                        \
    X("hidden", "hidden size", "embedding_length", "hidden_size")                                                    \
    X("heads", "query heads", "attention.head_count", "num_attention_heads")                                         \
    X("kv_heads", "key/value heads", "attention.head_count_kv", "num_key_value_heads")                               \
    X("head_dim", "head size", "attention.key_length", "head_dim")                                                   \
    X("ffn", "feed-forward size", "feed_forward_length", "intermediate_size")                                        \
    X("expert_ffn", "expert size", "expert_feed_forward_length", "")                                                 \
    X("experts", "experts", "expert_count", "num_local_experts")                                                     \
    X("experts_used", "experts used", "expert_used_count", "num_experts_per_tok")                                    \
    X("window", "window", "attention.sliding_window", "sliding_window")                                              \
    X("context", "context", "context_length", "max_position_embeddings")

static json_t *text_of(struct sg_slice text)
{
    json_t *value = json_stringn(text.ptr, text.len);
    return value ? value : json_string("(not UTF-8)");
}

static void add_shape(json_t *info, const struct sg_weights *weights, const char *architecture)
{
    const json_t *config = sg_weights_config(weights);
    static const char *const shape[][3] = {
#define SHAPE_ROW(name, label, gguf, hf) {name, gguf, hf},
        SHAPE_LIST(SHAPE_ROW)
#undef SHAPE_ROW
    };
    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        char key[256];
        int64_t value = 0;
        snprintf(key, sizeof key, "%.128s.%s", architecture, shape[i][1]);
        bool found = sg_meta_int(weights, key, &value);
        const json_t *number = json_object_get(config, shape[i][2]);
        if (!found && json_is_integer(number)) {
            value = json_integer_value(number);
            found = true;
        }
        if (found)
            json_object_set_new(info, shape[i][0], json_integer(value));
    }
}

/* Number of parameters, and how many bytes each type has. */
static void add_tensors(json_t *info, const struct sg_weights *weights)
{
    uint64_t bytes[SG_DTYPE_COUNT] = {0}, n_parameters = 0;
    for (size_t i = 0; i < sg_weights_count(weights); i++) {
        const struct sg_tensor *tensor = sg_weights_at(weights, i);
        uint64_t n = 1;
        for (int k = 0; k < tensor->n_dims; k++)
            n *= (uint64_t)tensor->shape[k];
        n_parameters += tensor->dtype == SG_U8 ? 0 : n;
        bytes[tensor->dtype] += tensor->n_bytes;
    }
    json_t *types = json_object();
    for (int i = 0; i < SG_DTYPE_COUNT; i++)
        if (bytes[i])
            json_object_set_new(types, sg_dtype_name((enum sg_dtype)i), json_integer((json_int_t)bytes[i]));
    json_object_set_new(info, "tensors", json_integer((json_int_t)sg_weights_count(weights)));
    json_object_set_new(info, "parameters", json_integer((json_int_t)n_parameters));
    json_object_set_new(info, "bytes_by_type", types);
}

static void add_files(json_t *info, const struct sg_weights *weights)
{
    json_t *files = json_array();
    uint64_t total = 0;
    for (size_t i = 0; i < sg_weights_file_count(weights); i++) {
        json_array_append_new(files, text_of(sg_slice_of(sg_weights_file_path(weights, i))));
        total += sg_weights_file_size(weights, i);
    }
    json_object_set_new(info, "files", files);
    json_object_set_new(info, "bytes", json_integer((json_int_t)total));
}

static void add_tokenizer(json_t *info, const struct sg_weights *weights)
{
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    if (sg_tokenizer_from_weights(weights, &tokenizer, &err) == SG_OK)
        json_object_set_new(info, "vocabulary", json_integer(sg_tokenizer_count(tokenizer)));
    else
        json_object_set_new(info, "no_tokenizer", text_of(sg_slice_of(err.text)));
    sg_tokenizer_destroy(tokenizer);
}

static enum sg_status add_hash(json_t *info, const struct sg_weights *weights, struct sg_error *err)
{
    size_t n = sg_weights_file_count(weights);
    const char **paths = calloc(n + 1, sizeof *paths);
    char hex[SG_SHA256_HEX];
    enum sg_status status = paths ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
    for (size_t i = 0; i < n && paths; i++)
        paths[i] = sg_weights_file_path(weights, i);
    if (status == SG_OK)
        status = sg_file_set_sha256(paths, n, hex, err);
    if (status == SG_OK)
        json_object_set_new(info, "files_sha256", json_string(hex));
    free(paths);
    return status;
}

static json_t *describe(const struct sg_weights *weights)
{
    json_t *info = json_object();
    struct sg_slice text;
    char architecture[129] = "";
    if (sg_weights_kind(weights) == SG_WEIGHTS_GGUF) {
        if (sg_meta_string(weights, "general.name", &text))
            json_object_set_new(info, "name", text_of(text));
        if (sg_meta_string(weights, "general.architecture", &text))
            snprintf(architecture, sizeof architecture, "%.*s", (int)(text.len < 128 ? text.len : 128), text.ptr);
        json_object_set_new(info, "format", json_string("GGUF"));
    } else {
        const char *type = json_string_value(json_object_get(sg_weights_config(weights), "model_type"));
        snprintf(architecture, sizeof architecture, "%.128s", type ? type : "");
        json_object_set_new(info, "format", json_string("safetensors"));
    }
    json_object_set_new(info, "architecture", text_of(sg_slice_of(architecture)));
    add_shape(info, weights, architecture);
    add_tensors(info, weights);
    add_files(info, weights);
    add_tokenizer(info, weights);
    return info;
}

static void print_field(const char *label, const json_t *value)
{
    char count[32];
    if (!value)
        return;
    printf("  %-20s", label);
    if (json_is_string(value))
        sg_put_safe(stdout, json_string_value(value), json_string_length(value));
    else
        fputs(sg_show_count(json_integer_value(value), count, sizeof count), stdout);
    putchar('\n');
}

static void print_bytes(const char *label, const json_t *value, const char *tail)
{
    double bytes = (double)json_integer_value(value);
    printf("  %-20s%.2f %s%s", label, bytes < 1e9 ? bytes / 1e6 : bytes / 1e9, bytes < 1e9 ? "MB" : "GB", tail);
}

static void print_info(const json_t *info, const char *path)
{
    static const char *const fields[][2] = {
        {"name", "name"},
        {"format", "format"},
        {"architecture", "architecture"},
#define FIELD_ROW(name, label, gguf, hf) {name, label},
        SHAPE_LIST(FIELD_ROW)
#undef FIELD_ROW
            {"vocabulary", "vocabulary"},
        {"no_tokenizer", "no tokenizer"},
        {"parameters", "parameters"},
        {"tensors", "tensors"},
        {"files_sha256", "SHA-256"},
    };
    sg_put_safe(stdout, path, strlen(path));
    putchar('\n');
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        print_field(fields[i][1], json_object_get(info, fields[i][0]));
    const char *type;
    json_t *bytes;
    json_object_foreach(json_object_get(info, "bytes_by_type"), type, bytes) print_bytes(type, bytes, "\n");
    size_t n_files = json_array_size(json_object_get(info, "files"));
    print_bytes("on disk", json_object_get(info, "bytes"), n_files == 1 ? ", 1 file\n" : "");
    if (n_files != 1)
        printf(", %zu files\n", n_files);
}

static void print_tensors(const struct sg_weights *weights)
{
    for (size_t i = 0; i < sg_weights_count(weights); i++) {
        const struct sg_tensor *tensor = sg_weights_at(weights, i);
        printf("  %-20s[", sg_dtype_name(tensor->dtype));
        for (int k = 0; k < tensor->n_dims; k++)
            printf("%s%lld", k ? ", " : "", (long long)tensor->shape[k]);
        fputs("] ", stdout);
        sg_put_safe(stdout, tensor->name, strlen(tensor->name));
        putchar('\n');
    }
}

static int info(const char *name, bool json, bool tensors, bool hash)
{
    struct sg_error err;
    struct sg_weights *weights = NULL;
    json_t *about = NULL;
    char *path;
    enum sg_status status = sg_model_locate(name, &path, &err);
    if (status == SG_OK)
        status = sg_weights_open(path, &weights, &err);
    if (status == SG_OK) {
        about = describe(weights);
        if (hash)
            status = add_hash(about, weights, &err);
    }
    if (status == SG_OK && json) {
        json_dumpf(about, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (status == SG_OK) {
        print_info(about, path);
    }
    if (status == SG_OK && tensors && !json)
        print_tensors(weights);
    json_decref(about);
    sg_weights_close(weights);
    free(path);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

int sg_verb_model(int argc, char **argv)
{
    bool json = false, tensors = false, hash = false;
    const struct sg_option options[] = {
        {"json", SG_OPTION_FLAG, &json, NULL, "as one JSON object", 0, 0},
        {"tensors", SG_OPTION_FLAG, &tensors, NULL, "also every tensor with type and shape", 0, 0},
        {"hash", SG_OPTION_FLAG, &hash, NULL,
         "also the SHA-256 of the weight files, which reads them all (kept in the cache)", 0, 0},
        {0}};
    bool named = argc > 0 && strcmp(argv[0], "info") == 0; /* the only one for now; --help shows it */
    argc -= named;
    argv += named;
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 1);
    if (exit >= 0)
        return exit;
    if (!named || argc != 1)
        return sg_say_usage(&verb, "expected: safeguard model info MODEL");
    return info(argv[0], json, tensors, hash);
}
