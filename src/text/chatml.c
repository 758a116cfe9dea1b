/* ChatML: <|im_start|>role\ntext<|im_end|>\n. The role with its newline, the text and the closing newline are
 * tokenised apart. */
#include "text/harmony.h"

enum sg_status sg_chatml_init(struct sg_chatml *chatml, const struct sg_tokenizer *tokenizer, struct sg_error *err)
{
    *chatml = (struct sg_chatml){
        .tokenizer = tokenizer,
        .im_start = sg_tokenizer_special(tokenizer, "<|im_start|>"),
        .im_end = sg_tokenizer_special(tokenizer, "<|im_end|>"),
    };
    if (chatml->im_start < 0 || chatml->im_end < 0)
        return sg_fail(err, SG_ENOTFOUND, "chatml: the tokenizer has no special token %s",
                       chatml->im_start < 0 ? "<|im_start|>" : "<|im_end|>");
    return SG_OK;
}

void sg_chatml_open(const struct sg_chatml *chatml, struct sg_slice role, struct sg_tokens *out)
{
    struct sg_buffer line = {0};
    sg_buffer_append(&line, role.ptr, role.len);
    sg_buffer_putc(&line, '\n');
    if (line.failed)
        out->failed = true;
    sg_tokens_push(out, chatml->im_start);
    sg_tokenize(chatml->tokenizer, (struct sg_slice){sg_buffer_text(&line), line.len}, out);
    sg_buffer_free(&line);
}

void sg_chatml_render(const struct sg_chatml *chatml, struct sg_slice role, struct sg_slice text,
                      struct sg_tokens *out)
{
    sg_chatml_open(chatml, role, out);
    sg_tokenize(chatml->tokenizer, text, out);
    sg_tokens_push(out, chatml->im_end);
    sg_tokenize(chatml->tokenizer, sg_slice_of("\n"), out);
}
