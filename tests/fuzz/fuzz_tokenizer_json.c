/* Any bytes as tokenizer.json: an error, or a tokenizer whose ids are in range and whose text stays clear of special
 * ids. The file itself serves as the text. */
#include "text/tokenizer_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sg_slice text = {(const char *)data, size};
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    if (sg_tokenizer_from_json_text(text, &tokenizer, &err)) {
        if (tokenizer)
            abort();
        return 0;
    }
    struct sg_tokens ids = {0};
    sg_tokenize(tokenizer, text, &ids);
    for (size_t i = 0; i < ids.n; i++) {
        if (ids.ids[i] < 0 || ids.ids[i] >= sg_tokenizer_count(tokenizer) ||
            sg_tokenizer_is_special(tokenizer, ids.ids[i]))
            abort();
    }
    ids.n = 0;
    sg_tokenize_special(tokenizer, text, &ids);
    size_t bytes = 0;
    for (size_t i = 0; i < ids.n; i++)
        bytes += sg_token_bytes(tokenizer, ids.ids[i]).len;
    if (bytes > size) /* bytes without a token are left out, none are made up */
        abort();
    sg_tokens_free(&ids);
    sg_tokenizer_destroy(tokenizer);
    return 0;
}
