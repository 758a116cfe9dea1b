/* safeguard dev: the parts of the program by themselves, for tests and developers. */
#include "cli/dev.h"
#include "cli/verbs.h"

#include "base/file.h"
#include "safeguard/model.h"
#include "text/harmony_json.h"
#include "weights/weights.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)64 << 20)

enum sg_status sg_dev_open_tokenizer(const char *model, const char *tiktoken, struct sg_tokenizer **tokenizer_out,
                                     struct sg_error *err)
{
    *tokenizer_out = NULL;
    if (tiktoken)
        return sg_tokenizer_from_tiktoken(tiktoken, tokenizer_out, err);
    struct sg_weights *weights = NULL;
    char *path;
    enum sg_status status = sg_model_locate(model, &path, err);
    size_t len = path ? strlen(path) : 0;
    if (status == SG_OK && len > 5 && strcmp(path + len - 5, ".json") == 0) {
        status = sg_tokenizer_from_json(path, tokenizer_out, err);
    } else if (status == SG_OK) {
        status = sg_weights_open(path, &weights, err);
        if (status == SG_OK)
            status = sg_tokenizer_from_weights(weights, tokenizer_out, err);
    }
    sg_weights_close(weights);
    free(path);
    return status;
}

static enum sg_status print_ids(const struct sg_tokens *tokens, struct sg_error *err)
{
    enum sg_status status = sg_tokens_status(tokens, err);
    if (status != SG_OK)
        return status;
    fputs("{\"ids\":[", stdout);
    for (size_t i = 0; i < tokens->n; i++)
        printf("%s%d", i ? "," : "", (int)tokens->ids[i]);
    puts("]}");
    return SG_OK;
}

/* The options that say which tokenizer. */
#define TOKENIZER_OPTIONS(model, tiktoken)                                                                           \
    {"model", SG_OPTION_STRING, &(model), "MODEL", "the tokenizer of this model, or a tokenizer.json", 0, 0},        \
    {                                                                                                                \
        "tiktoken", SG_OPTION_STRING, &(tiktoken), "RANKS",                                                          \
            "a tiktoken rank file, with o200k_harmony's special tokens", 0, 0                                        \
    }

static enum sg_status text_line(struct sg_slice line, sg_dev_text_fn *use, void *context, struct sg_error *err)
{
    json_t *object = json_loadb(line.ptr, line.len, JSON_ALLOW_NUL, NULL);
    const json_t *text = json_object_get(object, "text");
    enum sg_status status =
        json_is_string(text) ? use(context, (struct sg_slice){json_string_value(text), json_string_length(text)}, err)
                             : sg_fail(err, SG_EFORMAT, "expected an object with a string \"text\"");
    json_decref(object);
    return status;
}

enum sg_status sg_dev_each_text(sg_dev_text_fn *use, void *context, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    char *line = NULL;
    size_t cap = 0, number = 1;
    for (ssize_t n; status == SG_OK && (n = getline(&line, &cap, stdin)) >= 0; number++) {
        status = (size_t)n > LINE_MAX_BYTES ? sg_fail(err, SG_ELIMIT, "more than %zu bytes", LINE_MAX_BYTES)
                                            : text_line((struct sg_slice){line, (size_t)n}, use, context, err);
        if (status != SG_OK)
            status = sg_fail_in(err, status, "line %zu", number);
    }
    free(line);
    return status;
}

/* --- tokenize --------------------------------------------------------------------------------------------- */

struct tokenize {
    struct sg_tokenizer *tokenizer;
    bool special;
};

static enum sg_status tokenize_text(void *context, struct sg_slice text, struct sg_error *err)
{
    const struct tokenize *tokenize = context;
    struct sg_tokens tokens = {0};
    if (tokenize->special)
        sg_tokenize_special(tokenize->tokenizer, text, &tokens);
    else
        sg_tokenize(tokenize->tokenizer, text, &tokens);
    enum sg_status status = print_ids(&tokens, err);
    sg_tokens_free(&tokens);
    return status;
}

static int tokenize(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev tokenize",
        .summary = "text to token ids",
        .usage = "--model MODEL | --tiktoken RANKS < LINES",
        .about = "Reads JSON lines {\"text\": …} from standard input and writes {\"ids\": […]} for each. Text is "
                 "ordinary\n"
                 "text: names of special tokens in it become ids only with --special.\n",
        .examples = "  echo '{\"text\":\"Hello\"}' | safeguard dev tokenize --tiktoken o200k_base.tiktoken\n",
    };
    const char *model = NULL, *tiktoken = NULL;
    struct tokenize context = {0};
    const struct sg_option options[] = {
        TOKENIZER_OPTIONS(model, tiktoken),
        {"special", SG_OPTION_FLAG, &context.special, NULL, "names of special tokens become their ids", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    struct sg_error err;
    enum sg_status status = sg_dev_open_tokenizer(model, tiktoken, &context.tokenizer, &err);
    if (status == SG_OK)
        status = sg_dev_each_text(tokenize_text, &context, &err);
    sg_tokenizer_destroy(context.tokenizer);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- render, parse ---------------------------------------------------------------------------------------- */

/* Standard input as one JSON array, or the member `name` of one object, as text in `array`. */
static enum sg_status read_array(const char *name, struct sg_buffer *array, json_t **value_out, struct sg_error *err)
{
    struct sg_buffer text = {0};
    *value_out = NULL;
    enum sg_status status = sg_file_read("-", SG_HARMONY_JSON_MAX_BYTES, &text, err);
    json_error_t error;
    json_t *whole = status == SG_OK ? json_loadb(sg_buffer_text(&text), text.len, JSON_ALLOW_NUL, &error) : NULL;
    if (status == SG_OK && !whole)
        status = sg_fail_at(err, SG_EFORMAT, (uint64_t)error.position, "standard input: no JSON at byte %d",
                            error.position);
    json_t *value = json_is_object(whole) ? json_object_get(whole, name) : whole;
    if (status == SG_OK && !json_is_array(value))
        status = sg_fail(err, SG_EFORMAT, "standard input: expected an array, or an object with \"%s\"", name);
    char *dump = status == SG_OK ? json_dumps(value, JSON_COMPACT) : NULL;
    if (dump) {
        sg_buffer_puts(array, dump);
        *value_out = json_incref(value);
    } else if (status == SG_OK) {
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    }
    free(dump);
    json_decref(whole);
    sg_buffer_free(&text);
    return status == SG_OK ? sg_buffer_status(array, err) : status;
}

static int render(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev render",
        .summary = "harmony messages to token ids",
        .usage = "--model MODEL | --tiktoken RANKS < MESSAGES",
        .about = "Reads an array of messages "
                 "{\"role\",\"name\",\"recipient\",\"channel\",\"content_type\",\"content\"} (or an object\n"
                 "with \"messages\") and writes {\"ids\": […]}.\n",
        .examples = "  echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' |\n"
                    "    safeguard dev render --tiktoken o200k_base.tiktoken --next-role assistant\n",
    };
    const char *model = NULL, *tiktoken = NULL, *next_role = NULL;
    bool keep = false;
    const struct sg_option options[] = {
        TOKENIZER_OPTIONS(model, tiktoken),
        {"next-role", SG_OPTION_STRING, &next_role, "ROLE", "end with <|start|>ROLE, where the model goes on", 0, 0},
        {"keep-analysis", SG_OPTION_FLAG, &keep, NULL, "keep analysis that harmony drops from earlier turns", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    struct sg_tokenizer *tokenizer;
    struct sg_harmony harmony;
    struct sg_tokens tokens = {0};
    struct sg_buffer messages = {0};
    struct sg_error err;
    json_t *value = NULL;
    enum sg_status status = sg_dev_open_tokenizer(model, tiktoken, &tokenizer, &err);
    if (status == SG_OK)
        status = sg_harmony_init(&harmony, tokenizer, &err);
    if (status == SG_OK)
        status = read_array("messages", &messages, &value, &err);
    if (status == SG_OK)
        status = sg_harmony_json_render(&harmony, (struct sg_slice){messages.data, messages.len}, !keep, next_role,
                                        &tokens, &err);
    if (status == SG_OK)
        status = print_ids(&tokens, &err);
    json_decref(value);
    sg_tokens_free(&tokens);
    sg_buffer_free(&messages);
    sg_tokenizer_destroy(tokenizer);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

static enum sg_status take_ids(const json_t *array, struct sg_tokens *tokens, struct sg_error *err)
{
    size_t i;
    json_t *id;
    json_array_foreach(array, i, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return sg_fail(err, SG_EFORMAT, "standard input: id %zu is no token id", i);
        sg_tokens_push(tokens, (int32_t)json_integer_value(id));
    }
    return sg_tokens_status(tokens, err);
}

static int parse(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev parse",
        .summary = "token ids to harmony messages",
        .usage = "--model MODEL | --tiktoken RANKS < IDS",
        .about = "Reads an array of ids (or an object with \"ids\") and writes the messages as one JSON array.\n",
        .examples = "  safeguard dev render --model M < messages.json | safeguard dev parse --model M\n",
    };
    const char *model = NULL, *tiktoken = NULL, *role = NULL;
    bool lenient = false;
    const struct sg_option options[] = {
        TOKENIZER_OPTIONS(model, tiktoken),
        {"role", SG_OPTION_STRING, &role, "ROLE", "role of the first message when its start stands in the prompt", 0,
         0},
        {"lenient", SG_OPTION_FLAG, &lenient, NULL, "recover malformed headers instead of refusing them", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    struct sg_tokenizer *tokenizer;
    struct sg_harmony harmony;
    struct sg_tokens tokens = {0};
    struct sg_buffer text = {0}, out = {0};
    struct sg_error err;
    json_t *value = NULL;
    enum sg_status status = sg_dev_open_tokenizer(model, tiktoken, &tokenizer, &err);
    if (status == SG_OK)
        status = sg_harmony_init(&harmony, tokenizer, &err);
    if (status == SG_OK)
        status = read_array("ids", &text, &value, &err);
    if (status == SG_OK)
        status = take_ids(value, &tokens, &err);
    if (status == SG_OK)
        status = sg_harmony_json_parse(&harmony, tokens.ids, tokens.n, role, !lenient, &out, &err);
    if (status == SG_OK)
        puts(sg_buffer_text(&out));
    json_decref(value);
    sg_tokens_free(&tokens);
    sg_buffer_free(&text);
    sg_buffer_free(&out);
    sg_tokenizer_destroy(tokenizer);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- rewrite ---------------------------------------------------------------------------------------------- */

static enum sg_status write_tensor(struct sg_gguf_writer *writer, const struct sg_tensor *tensor,
                                   struct sg_error *err)
{
    int64_t columns = tensor->shape[tensor->n_dims - 1], n_rows = 1;
    for (int k = 0; k < tensor->n_dims - 1; k++)
        n_rows *= tensor->shape[k];
    float *row = malloc((size_t)columns * sizeof *row);
    enum sg_status status = row ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", tensor->name);
    for (int64_t i = 0; i < n_rows && status == SG_OK; i++) {
        sg_dequant_row(tensor, i, row);
        status = sg_gguf_write(writer, row, (size_t)columns * sizeof *row, err);
    }
    free(row);
    return status;
}

static enum sg_status rewrite_f32(const struct sg_weights *weights, const char *out, struct sg_error *err)
{
    if (sg_weights_kind(weights) != SG_WEIGHTS_GGUF)
        return sg_fail(err, SG_EUNSUPPORTED, "only a GGUF can be rewritten");
    size_t n = sg_weights_count(weights);
    for (size_t i = 0; i < n; i++)
        if (sg_weights_at(weights, i)->dtype == SG_U8)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: bytes are no numbers", sg_weights_at(weights, i)->name);
    struct sg_gguf_writer *writer = sg_gguf_create(out, err);
    if (!writer)
        return SG_EIO;
    sg_gguf_put_all(writer, weights, "split."); /* the parts of a split set become one file */
    for (size_t i = 0; i < n; i++) {
        const struct sg_tensor *tensor = sg_weights_at(weights, i);
        sg_gguf_declare(writer, tensor->name, SG_F32, tensor->n_dims, tensor->shape);
    }
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = write_tensor(writer, sg_weights_at(weights, i), err);
    struct sg_error closing;
    enum sg_status closed = sg_gguf_finish(writer, status == SG_OK ? err : &closing);
    return status == SG_OK ? closed : status;
}

static int rewrite(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev rewrite",
        .summary = "write a GGUF anew with every matrix as F32",
        .usage = "--model MODEL --to f32 OUT.gguf",
        .about = "For comparing with other programs on exactly the same numbers.\n",
        .examples = "  safeguard dev rewrite --model smollm2-135m-instruct --to f32 smollm2-f32.gguf\n",
    };
    const char *model = NULL, *to = "f32";
    const struct sg_option options[] = {{"model", SG_OPTION_STRING, &model, "MODEL", "the GGUF to read", 0, 0},
                                        {"to", SG_OPTION_STRING, &to, "f32|F32", "the type of every tensor", 0, 0},
                                        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, 1);
    if (exit >= 0)
        return exit;
    struct sg_weights *weights = NULL;
    struct sg_error err;
    char *path;
    enum sg_status status = sg_model_locate(model, &path, &err);
    if (status == SG_OK)
        status = sg_weights_open(path, &weights, &err);
    if (status == SG_OK)
        status = rewrite_f32(weights, argv[0], &err);
    sg_weights_close(weights);
    free(path);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- the family ------------------------------------------------------------------------------------------- */

static const struct sg_family_verb verbs[] = {
    {"tokenize", tokenize, "text to token ids"},
    {"render", render, "harmony messages to token ids"},
    {"parse", parse, "token ids to harmony messages"},
    {"rewrite", rewrite, "a GGUF with every matrix as F32"},
    {"normalise", sg_verb_dev_normalise, "the readings of a text and its signals"},
    {"attack", sg_verb_dev_attack, "a text as a writer hides it"},
    {"logits", sg_verb_dev_logits, "the logits of a token sequence"},
    {"make-model", sg_verb_make_model, "a random-weight model of a given shape"},
    {NULL, NULL, NULL},
};

int sg_verb_dev(int argc, char **argv)
{
    return sg_family_run("safeguard dev", "parts of the program by themselves, for tests and developers", verbs, argc,
                         argv);
}
