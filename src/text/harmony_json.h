/* Harmony messages as JSON, for developers and tests.
 *
 * An array of messages: {"role", "name", "recipient", "channel", "content_type", "content"}, all but role and
 * content optional. content is a string, or in a system message {"type": "system", "reasoning_effort",
 * "knowledge_cutoff", "conversation_start_date", "channels": [...]}, or in a developer message
 * {"type": "developer", "instructions"}. Tools are not rendered: they are SG_EUNSUPPORTED. */
#ifndef SG_TEXT_HARMONY_JSON_H
#define SG_TEXT_HARMONY_JSON_H

#include "text/harmony.h"

#define SG_HARMONY_JSON_MAX_BYTES (64u << 20)

/* Append the ids of the conversation (drop_analysis, next_role: see sg_harmony_render_conversation). SG_EFORMAT
 * says which message and which member is wrong. */
SG_MUST_CHECK enum sg_status sg_harmony_json_render(const struct sg_harmony *harmony, struct sg_slice json,
                                                    bool drop_analysis, const char *next_role, struct sg_tokens *out,
                                                    struct sg_error *err);

/* Parse ids (start_role, strict: see sg_harmony_parser_create) and append the messages as one line of JSON
 * without a newline. Absent members are left out. */
SG_MUST_CHECK enum sg_status sg_harmony_json_parse(const struct sg_harmony *harmony, const int32_t *ids, size_t n_ids,
                                                   const char *start_role, bool strict, struct sg_buffer *out,
                                                   struct sg_error *err);

#endif
