/* Content to be judged: one text, or a conversation of which one message, the last, or all are judged.
 *
 * Content is hostile. Whatever stands in it reaches the model as the text of one user message: a conversation is
 * written as one JSON object per line, so that no role inside it becomes an instruction and no text can pretend
 * to be another message. */
#ifndef SAFEGUARD_CONTENT_H
#define SAFEGUARD_CONTENT_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SG_CONTENT_MAX_BYTES (64u << 20)
#define SG_CONTENT_MAX_MESSAGES 100000

/* Which message of a conversation is judged; ≥ 0 is an index from 0. */
#define SG_JUDGE_LAST (-1)
#define SG_JUDGE_ALL (-2)

struct sg_content;

/* Bytes that are not UTF-8 are repaired with U+FFFD. Empty or white-space-only text is SG_EINVALID, "nothing to
 * judge". */
SG_MUST_CHECK enum sg_status sg_content_from_text(const char *bytes, size_t len, struct sg_content **content_out,
                                                  struct sg_error *err);

/* A JSON object {"messages":[{"role","content"}…]}, content a string or OpenAI's list of parts; "judge" may say
 * "last", "all" or an index and overrides `judge`. All text parts and tool-call arguments count; images, audio and
 * files are listed as not judged. SG_EFORMAT names the message and field. */
SG_MUST_CHECK enum sg_status sg_content_from_json(const char *json, size_t len, int judge,
                                                  struct sg_content **content_out, struct sg_error *err);
void sg_content_destroy(struct sg_content *content);

/* Text of the user message that the model reads: the text itself, or the conversation in lines of JSON below
 * one line that says which message to judge. Borrowed, NUL-terminated, UTF-8. */
const char *sg_content_text(const struct sg_content *content, size_t *len_out);

/* What people wrote, for stages that read no JSON: the text itself, or the texts of all messages and the arguments of
 * their calls with line breaks between. [*first_out, + *judged_out) of it is what is to be judged, the rest is its
 * context. Borrowed, UTF-8. */
const char *sg_content_plain(const struct sg_content *content, size_t *len_out, size_t *first_out,
                             size_t *judged_out);

/* Content that is longer than the model's context is judged in windows: the fixed part stands at the top of each
 * (the line that says what to judge), the rest may be cut anywhere between characters. */
size_t sg_content_fixed_len(const struct sg_content *content);

const char *const *sg_content_not_judged(const struct sg_content *content, size_t *n_out);

#ifdef __cplusplus
}
#endif
#endif
