/* A grammar made of the input's first bytes, walked by the rest: every byte picks one of those permitted, so that
 * walks get far. There is always one until the object is complete, and then jansson takes it. */
#include "base/buffer.h"
#include "engine/constraint.h"

#include "../unit/small_tokenizer.h"

#include <jansson.h>
#include <stdlib.h>

enum { MAX_FIELDS = 4, MAX_CHOICES = 4 };

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static struct sg_slice take_text(struct input *input, size_t max)
{
    size_t len = take(input) % (max + 1), left = (size_t)(input->end - input->at);
    struct sg_slice text = {(const char *)input->at, len < left ? len : left};
    input->at += text.len;
    return text;
}

static void check(bool holds)
{
    if (!holds)
        abort();
}

static const struct sg_tokenizer *tokenizer;
static struct sg_vocab_trie *vocab;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static const char *const texts[] = {"\"}",    "\":", "null", "ab",    "abc", "\xC3\xA9",
                                        "\xA9\"", "{\"", "0,",   "\\u00", "  "};
    struct sg_slice extra[sizeof texts / sizeof *texts];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        extra[i] = sg_slice_of(texts[i]);
    tokenizer = small_tokenizer(extra, sizeof texts / sizeof *texts);
    vocab = tokenizer ? sg_vocab_trie_create(tokenizer) : NULL;
    if (!vocab)
        abort();
    return 0;
}

static void check_mask(const struct sg_json_grammar *grammar, const struct sg_json_state *state)
{
    uint64_t mask[8];
    int32_t n = sg_tokenizer_count(tokenizer);
    check(n <= 512);
    sg_json_mask(grammar, state, vocab, n, mask);
    for (int32_t id = 0; id < n; id++)
        check((mask[id / 64] >> id % 64 & 1) == (!sg_tokenizer_is_special(tokenizer, id) &&
                                                 sg_json_accepts(grammar, state, sg_token_bytes(tokenizer, id))));
}

static void walk(const struct sg_json_grammar *grammar, struct input *input)
{
    struct sg_json_state state;
    struct sg_buffer text = {0};
    sg_json_start(grammar, &state);
    while (!sg_json_done(grammar, &state) && input->at < input->end) {
        unsigned char permitted[256];
        int n = 0;
        for (int byte = 0; byte < 256; byte++) {
            struct sg_json_state next = state;
            if (sg_json_step(grammar, &next, (unsigned char)byte))
                permitted[n++] = (unsigned char)byte;
        }
        check(n > 0);
        if (n <= 4) {
            int forced = sg_json_forced(grammar, &state);
            check(forced < 0 || memchr(permitted, forced, (size_t)n));
        }
        unsigned char pick = permitted[take(input) % n];
        check(sg_json_step(grammar, &state, pick));
        sg_buffer_putc(&text, (char)pick);
    }
    check_mask(grammar, &state);
    if (sg_json_done(grammar, &state)) {
        json_t *root = json_loadb(text.data, text.len, 0, NULL);
        check(json_is_object(root));
        json_decref(root);
    }
    sg_buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    struct sg_json_field fields[MAX_FIELDS] = {0};
    struct sg_slice choices[MAX_FIELDS][MAX_CHOICES];
    size_t n = take(&input) % (MAX_FIELDS + 1);
    int max_space = take(&input) % 70;
    for (size_t i = 0; i < n; i++) {
        fields[i].key = take_text(&input, 6);
        uint8_t kind = take(&input);
        fields[i].type = (enum sg_json_type)(kind % 3);
        fields[i].nullable = kind & 64;
        fields[i].choices = choices[i];
        for (fields[i].n_choices = 0; fields[i].n_choices < (size_t)(kind >> 2) % (MAX_CHOICES + 1);)
            choices[i][fields[i].n_choices++] = take_text(&input, 6);
        fields[i].max_len = (int8_t)take(&input) % 40;
        fields[i].max_items = (int8_t)take(&input) % 6;
    }
    struct sg_json_grammar *grammar;
    struct sg_error err = {0};
    enum sg_status status = sg_json_grammar_create(fields, n, max_space, &grammar, &err);
    check(status == SG_OK || (status == SG_EINVALID && !grammar && err.text[0]));
    if (grammar)
        walk(grammar, &input);
    sg_json_grammar_destroy(grammar);
    return 0;
}
