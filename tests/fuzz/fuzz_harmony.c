/* Ids → messages, in both modes. Byte 0: bit 0 the first header is open already. Then one id a byte: 0xF7 an id
 * without text, 0xF8 to 0xFF the special tokens, others the byte itself. */
#include "base/utf8.h"
#include "text/harmony.h"

#include "../unit/small_tokenizer.h"

#include <stdlib.h>

static struct sg_tokenizer *tokenizer;
static struct sg_harmony harmony;
static int32_t specials[9];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    tokenizer = small_tokenizer(NULL, 0);
    if (!tokenizer || sg_harmony_init(&harmony, tokenizer, NULL) != SG_OK)
        abort();
    const int32_t ids[9] = {1 << 20,         harmony.start,   harmony.end,
                            harmony.message, harmony.channel, harmony.constrain,
                            harmony.return_, harmony.call,    sg_tokenizer_special(tokenizer, "<|endoftext|>")};
    memcpy(specials, ids, sizeof ids);
    return 0;
}

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_messages(const struct sg_harmony_parser *parser)
{
    for (size_t i = 0; i < sg_harmony_parser_count(parser); i++) {
        struct sg_message message = sg_harmony_parser_message(parser, i);
        const struct sg_slice parts[] = {message.role,    message.name,         message.recipient,
                                         message.channel, message.content_type, message.content};
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            check(sg_utf8_valid(parts[k]));
        check(message.role.len > 0);
    }
}

/* NULL when the ids were refused, which lenient mode does only at a maximum. */
static struct sg_harmony_parser *parse(const struct sg_tokens *ids, const char *start_role, bool strict)
{
    struct sg_harmony_parser *parser = sg_harmony_parser_create(&harmony, start_role, strict);
    struct sg_error err = {0};
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < ids->n && status == SG_OK; i++) {
        enum sg_harmony_event event;
        size_t before = sg_harmony_parser_count(parser);
        bool was_open = sg_harmony_parser_in_content(parser);
        status = sg_harmony_parser_feed(parser, ids->ids[i], &event, &err);
        size_t count = sg_harmony_parser_count(parser);
        check(count == before || count == before + 1);
        if (status != SG_OK)
            break;
        if (event == SG_HARMONY_BEGIN)
            check(count == before + 1 && sg_harmony_parser_in_content(parser));
        else if (event == SG_HARMONY_CONTENT)
            check(was_open && sg_harmony_parser_in_content(parser));
        else if (event != SG_HARMONY_NONE)
            check((was_open || count == before + 1) && !sg_harmony_parser_in_content(parser));
        else
            check(count == before && was_open == sg_harmony_parser_in_content(parser));
    }
    if (status == SG_OK)
        status = sg_harmony_parser_end(parser, &err);
    check_messages(parser);
    if (status == SG_OK)
        return parser;
    check(err.text[0] != '\0' && (status == SG_ELIMIT || (strict && status == SG_EFORMAT)));
    sg_harmony_parser_destroy(parser);
    return NULL;
}

/* Messages that were made of anything render to ids that give the same messages again. */
static void check_again(const struct sg_harmony_parser *parser)
{
    struct sg_tokens ids = {0};
    size_t n = sg_harmony_parser_count(parser);
    for (size_t i = 0; i < n; i++) {
        struct sg_message message = sg_harmony_parser_message(parser, i);
        sg_harmony_render(&harmony, &message, &ids);
    }
    struct sg_harmony_parser *again = parse(&ids, NULL, false);
    check(again && sg_harmony_parser_count(again) == n);
    for (size_t i = 0; i < n; i++) {
        struct sg_message a = sg_harmony_parser_message(parser, i), b = sg_harmony_parser_message(again, i);
        check(sg_slice_equal(a.role, b.role) && sg_slice_equal(a.name, b.name));
        check(sg_slice_equal(a.channel, b.channel) && sg_slice_equal(a.content_type, b.content_type));
        check(sg_slice_equal(a.content, b.content));
    }
    sg_harmony_parser_destroy(again);
    sg_tokens_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sg_tokens ids = {0};
    bool eot = false;
    for (size_t i = 1; i < size; i++) {
        sg_tokens_push(&ids, data[i] >= 0xF7 ? specials[data[i] - 0xF7] : data[i]);
        eot = eot || data[i] == 0xFF;
    }
    const char *start_role = data[0] & 1 ? "assistant" : NULL;
    struct sg_harmony_parser *strict = parse(&ids, start_role, true);
    struct sg_harmony_parser *lenient = parse(&ids, start_role, false);
    if (strict && !eot)
        check(lenient && sg_harmony_parser_count(lenient) == sg_harmony_parser_count(strict));
    if (lenient && size < 900) /* headers below their maximum */
        check_again(lenient);
    sg_harmony_parser_destroy(strict);
    sg_harmony_parser_destroy(lenient);
    sg_tokens_free(&ids);
    return 0;
}
