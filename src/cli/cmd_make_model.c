/* safeguard dev make-model: a random-weight model of a given shape. */
#include "cli/dev.h"
#include "cli/verbs.h"

#include "weights/make_model.h"

#include <string.h>

int sg_verb_make_model(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev make-model",
        .summary = "write a random-weight gpt-oss of a given shape",
        .usage = "[--shape 20b|120b] OUT",
        .about = "For tests and benchmarks: nothing is trained. OUT is a GGUF file, or with --safetensors a folder.\n"
                 "Without --shape every number below counts; with it they change what the shape says.\n",
        .examples = "  safeguard dev make-model --shape 20b --tiktoken o200k_base.tiktoken random-20b.gguf\n"
                    "  safeguard dev make-model --shape 120b --sparse hole-120b.gguf\n"
                    "  safeguard dev make-model --layers 2 --hidden 64 --experts 8 --vocab 512 tiny.gguf\n",
    };
    struct sg_model_shape shape = {.layers = 2,
                                   .hidden = 128,
                                   .q_heads = 4,
                                   .kv_heads = 2,
                                   .head_dim = 64,
                                   .experts = 8,
                                   .experts_used = 4,
                                   .ffn = 96,
                                   .vocab = 512,
                                   .window = 128,
                                   .dense = SG_BF16,
                                   .seed = 1};
    const char *name = NULL, *dense = NULL;
    const struct sg_option options[] = {
        {"shape", SG_OPTION_STRING, &name, "20b|120b", "start from a published shape", 0, 0},
        {"layers", SG_OPTION_INT, &shape.layers, "N", "layers (2)", 1, 1000},
        {"hidden", SG_OPTION_INT, &shape.hidden, "N", "hidden size, a multiple of 32 (128)", 32, 1 << 20},
        {"heads", SG_OPTION_INT, &shape.q_heads, "N", "query heads (4)", 1, 1 << 16},
        {"kv-heads", SG_OPTION_INT, &shape.kv_heads, "N", "key/value heads (2)", 1, 1 << 16},
        {"head-dim", SG_OPTION_INT, &shape.head_dim, "N", "head size (64)", 2, 1 << 16},
        {"experts", SG_OPTION_INT, &shape.experts, "N", "experts (8)", 1, 1 << 16},
        {"experts-used", SG_OPTION_INT, &shape.experts_used, "N", "experts per token (4)", 1, 1 << 16},
        {"ffn", SG_OPTION_INT, &shape.ffn, "N", "expert size, a multiple of 32 (96)", 32, 1 << 20},
        {"vocab", SG_OPTION_INT, &shape.vocab, "N", "vocabulary (512)", 32, 1 << 24},
        {"window", SG_OPTION_INT, &shape.window, "N", "attention window of even layers (128)", 1, 1 << 24},
        {"dense", SG_OPTION_STRING, &dense, "q8_0|bf16|f32",
         "type of the matrices that are no experts (bf16; shapes: q8_0)", 0, 0},
        {"seed", SG_OPTION_U64, &shape.seed, "N", "same shape and seed, same bytes (1)", 0, 0},
        {"safetensors", SG_OPTION_FLAG, &shape.safetensors, NULL, "a Hugging Face folder in place of a GGUF", 0, 0},
        {"sparse", SG_OPTION_FLAG, &shape.sparse, NULL, "holes in place of weights: to look at, not to run", 0, 0},
        {"tokenizer-from", SG_OPTION_STRING, &shape.tokenizer_gguf, "GGUF", "take the tokenizer of this file", 0, 0},
        {"tiktoken", SG_OPTION_STRING, &shape.tokenizer_tiktoken, "RANKS",
         "make the tokenizer of o200k_harmony from this rank file", 0, 0},
        {0}};
    /* The shape first, so that single numbers change it wherever they stand on the line. */
    for (int i = 0; i < argc; i++) {
        const char *value = strncmp(argv[i], "--shape=", 8) == 0              ? argv[i] + 8
                            : strcmp(argv[i], "--shape") == 0 && i + 1 < argc ? argv[i + 1]
                                                                              : "";
        if (strcmp(value, "20b") == 0 || strcmp(value, "120b") == 0)
            shape = strcmp(value, "20b") == 0 ? sg_shape_20b : sg_shape_120b;
    }
    int exit = sg_options_start(&verb, options, &argc, argv, 1, 1);
    if (exit >= 0)
        return exit;
    if (dense)
        shape.dense = *dense == 'q' ? SG_Q8_0 : *dense == 'b' ? SG_BF16 : SG_F32;
    struct sg_error err;
    if (sg_make_model(&shape, argv[0], &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    return SG_EXIT_OK;
}
