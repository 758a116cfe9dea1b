/* Tokenizer speed by kind of input, on one core: best of 3 passes, CPU time.
 *
 *     ninja -C BUILD bench_tokenizer && BUILD/src/text/bench_tokenizer MODEL [ENGLISH.txt]
 *
 * MODEL is a tiktoken rank file, a tokenizer.json or a GGUF. Without a text file English is made of common words. */
#include "base/file.h"
#include "base/utf8.h"
#include "bench.h"
#include "text/tokenizer.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>

#define SIZE ((size_t)1 << 20)

static void make_english(struct sg_buffer *out)
{
    static const char *const words[] = {
        "the",       "of",    "moderation",     "and",     "a",    "policy",  "to",  "in",  "players",    "is",
        "harassing", "you",   "that",           "it",      "he",   "Reviews", "was", "for", "unreadable", "on",
        "are",       "don't", "with",           "London,", "they", "I'm",     "at",  "be",  "this",       "have",
        "from.\n",   "or",    "counterfeiting", "one",     "had"};
    while (out->len < SIZE)
        sg_buffer_printf(out, "%s ", words[rnd() % (sizeof words / sizeof *words)]);
}

static void make_random(struct sg_buffer *out, const char *kind)
{
    while (out->len < SIZE) {
        if (strcmp(kind, "random bytes") == 0)
            sg_buffer_putc(out, (char)rnd());
        else if (strcmp(kind, "random ASCII") == 0)
            sg_buffer_putc(out, (char)(32 + rnd() % 95));
        else if (strcmp(kind, "random letters, one word") == 0)
            sg_buffer_putc(out, (char)('a' + rnd() % 26));
        else if (strcmp(kind, "random han, one word") == 0)
            sg_utf8_encode((int32_t)(0x4E00 + rnd() % 20000), out);
        else
            sg_utf8_encode((int32_t)(0x10000 + rnd() % 0x40000), out);
    }
}

static void run(const struct sg_tokenizer *tokenizer, const char *kind, const struct sg_buffer *text)
{
    double best = 1e9;
    size_t n = 0;
    for (int pass = 0; pass < 3; pass++) {
        struct sg_tokens ids = {0};
        double start = cpu_seconds();
        sg_tokenize(tokenizer, (struct sg_slice){text->data, text->len}, &ids);
        double seconds = cpu_seconds() - start;
        if (seconds < best)
            best = seconds;
        n = ids.n;
        sg_tokens_free(&ids);
    }
    printf("%-28s %8.2f MB/s  %6.2f bytes/token\n", kind, 1e-6 * (double)text->len / best,
           n ? (double)text->len / (double)n : 0.0);
}

static bool ends_in(const char *path, const char *ending)
{
    size_t a = strlen(path), b = strlen(ending);
    return a >= b && strcmp(path + a - b, ending) == 0;
}

static enum sg_status load(const char *path, struct sg_tokenizer **tokenizer, struct sg_error *err)
{
    if (ends_in(path, ".json"))
        return sg_tokenizer_from_json(path, tokenizer, err);
    if (ends_in(path, ".tiktoken"))
        return sg_tokenizer_from_tiktoken(path, tokenizer, err);
    struct sg_weights *weights;
    enum sg_status status = sg_weights_open(path, &weights, err);
    if (!status)
        status = sg_tokenizer_from_weights(weights, tokenizer, err);
    if (!status)
        sg_weights_close(weights);
    return status;
}

int main(int argc, char **argv)
{
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    double start = cpu_seconds();
    if (argc < 2 || load(argv[1], &tokenizer, &err)) {
        fprintf(stderr, "%s\n", argc < 2 ? "usage: bench_tokenizer MODEL [ENGLISH.txt]" : err.text);
        return 1;
    }
    printf("%-28s %8.3f s, %d ids\n", "load", cpu_seconds() - start, sg_tokenizer_count(tokenizer));

    struct sg_buffer text = {0};
    if (argc < 3)
        make_english(&text);
    else if (sg_file_read(argv[2], 64 * SIZE, &text, &err))
        fprintf(stderr, "%s\n", err.text);
    if (text.len)
        run(tokenizer, "English", &text);

    static const char *const repeated[] = {"a",
                                           "A",
                                           "ab",
                                           "aB",
                                           " ",
                                           "\n",
                                           "\r\n",
                                           " \n",
                                           "\t ",
                                           "7",
                                           "7a",
                                           "!",
                                           "!!!! ",
                                           "'",
                                           "/",
                                           "\xF0\x9F\x98\x80",
                                           "e\xCC\x80",
                                           "\xCC\x80",
                                           "\xE4\xBD\xA0",
                                           "\xC2\xA0",
                                           "\xFF",
                                           "\xE2\x82",
                                           "\xF0\x9F",
                                           "a\xCC\x80"
                                           "B",
                                           "abcdefghij",
                                           "\xE2\x80\x8B"};
    for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++) {
        char kind[64] = "repeated";
        for (const char *c = repeated[i]; *c; c++)
            snprintf(kind + strlen(kind), sizeof kind - strlen(kind), *c > ' ' && *c < 127 ? " %c" : " %02X",
                     (unsigned char)*c);
        sg_buffer_clear(&text);
        while (text.len < SIZE)
            sg_buffer_puts(&text, repeated[i]);
        run(tokenizer, kind, &text);
    }
    static const char *const random[] = {"random bytes", "random ASCII", "random letters, one word",
                                         "random han, one word", "random code points"};
    for (size_t i = 0; i < sizeof random / sizeof *random; i++) {
        sg_buffer_clear(&text);
        make_random(&text, random[i]);
        run(tokenizer, random[i], &text);
    }
    sg_buffer_free(&text);
    sg_tokenizer_destroy(tokenizer);
    return 0;
}
