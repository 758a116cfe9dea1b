/* Any bytes as content: as text, and as a conversation, whose every line must read back as one JSON object. */
#include "base/utf8.h"
#include "safeguard/content.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(what)                                                                                                \
    do {                                                                                                             \
        if (!(what))                                                                                                 \
            abort();                                                                                                 \
    } while (0)

static void check_lines(const struct sg_content *content)
{
    size_t len, at = sg_content_fixed_len(content), n;
    const char *text = sg_content_text(content, &len);
    REQUIRE(sg_utf8_valid((struct sg_slice){text, len}) && text[len] == '\0' && at <= len);
    sg_content_not_judged(content, &n);
    while (at > 0 && at < len) {
        const char *end = memchr(text + at, '\n', len - at);
        REQUIRE(end);
        json_t *line =
            json_loadb(text + at, (size_t)(end - text) - at, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
        REQUIRE(json_is_string(json_object_get(line, "content")));
        json_decref(line);
        at = (size_t)(end - text) + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sg_content *content;
    struct sg_error err = {0};
    if (sg_content_from_text((const char *)data, size, &content, &err) == SG_OK)
        check_lines(content);
    sg_content_destroy(content);
    for (int judge = SG_JUDGE_ALL; judge <= 1; judge++) {
        if (sg_content_from_json((const char *)data, size, judge, &content, &err) == SG_OK)
            check_lines(content);
        else
            REQUIRE(!content);
        sg_content_destroy(content);
    }
    return 0;
}
