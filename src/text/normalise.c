#include "text/normalise.h"

#include "base/utf8.h"
#include "text/normalise_internal.h"

#include <stdlib.h>

const char *sg_reading_name(enum sg_reading reading)
{
    static const char *const names[SG_N_READINGS] = {"folded", "leet", "spacing", "smuggled"};
    return (unsigned)reading < SG_N_READINGS ? names[reading] : "unknown";
}

/* --- lanes ------------------------------------------------------------------------------------------------- */

static bool grow(void *pointer, size_t bytes)
{
    void **at = pointer;
    void *bigger = realloc(*at, bytes);
    if (bigger)
        *at = bigger;
    return bigger != NULL;
}

bool sg_lane_reserve(struct lane *lane, size_t extra)
{
    size_t need = lane->len + extra + 1;
    if (need <= lane->cap)
        return !lane->failed;
    size_t cap = lane->cap * 2 > need ? lane->cap * 2 : need + 64;
    if (lane->failed || !grow(&lane->text, cap) || !grow(&lane->kinds, cap) ||
        (lane->want_offsets && !grow(&lane->offsets, cap * sizeof *lane->offsets))) {
        lane->failed = true;
        return false;
    }
    lane->cap = cap;
    if (lane->want_offsets)
        lane->offsets_cap = cap;
    return true;
}

void sg_lane_put(struct lane *lane, const char *bytes, size_t len, enum kind kind, uint32_t offset)
{
    if (!sg_lane_reserve(lane, len))
        return;
    for (size_t i = 0; i < len; i++) {
        lane->text[lane->len + i] = bytes[i];
        lane->kinds[lane->len + i] = (uint8_t)(i ? KIND_CONT : kind);
        if (lane->want_offsets)
            lane->offsets[lane->len + i] = offset;
    }
    lane->len += len;
}

void sg_lane_put_code(struct lane *lane, int32_t code, enum kind kind, uint32_t offset)
{
    char bytes[8];
    struct sg_buffer out = {bytes, 0, sizeof bytes, false}; /* a character always fits */
    sg_utf8_encode(code, &out);
    sg_lane_put(lane, bytes, out.len, kind, offset);
}

static void lane_start(struct lane *lane, bool want_offsets)
{
    lane->len = 0;
    lane->failed = false;
    if (want_offsets && lane->offsets_cap < lane->cap)
        lane->cap = lane->offsets_cap; /* the next reserve makes room in all three */
    lane->want_offsets = want_offsets;
}

static void lane_free(struct lane *lane)
{
    free(lane->text);
    free(lane->kinds);
    free(lane->offsets);
}

/* --- ASCII ------------------------------------------------------------------------------------------------- */

/* No byte above 127, no control character but white space. */
static bool plain_ascii(const unsigned char *text, size_t len)
{
    unsigned bad = 0;
    for (size_t i = 0; i < len; i++)
        bad |= (unsigned)(text[i] >= 127) | ((unsigned)(text[i] < 32) & (unsigned)((unsigned char)(text[i] - 9) > 4));
    return !bad;
}

/* Branch-free, so that the compiler makes vectors of it. */
static void fold_ascii(struct sg_slice text, struct lane *lane)
{
    if (!sg_lane_reserve(lane, text.len))
        return;
    const unsigned char *in = (const unsigned char *)text.ptr;
    unsigned char *out = (unsigned char *)lane->text;
    uint8_t *kinds = lane->kinds;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = in[i];
        uint8_t upper = (uint8_t)(c - 'A') < 26 ? 0xFF : 0, lower = (uint8_t)(c - 'a') < 26 ? 0xFF : 0;
        uint8_t digit = (uint8_t)(c - '0') < 10 ? 0xFF : 0, space = c <= ' ' ? 0xFF : 0;
        uint8_t sign = (c == '@' ? 0xFF : 0) | (c == '$' ? 0xFF : 0) | (c == '!' ? 0xFF : 0) | (c == '|' ? 0xFF : 0) |
                       (c == '+' ? 0xFF : 0);
        uint8_t other = (uint8_t) ~(upper | lower | digit | space | sign);
        out[i] = c | (upper & 32);
        kinds[i] = (uint8_t)((upper & KIND_UPPER) | (lower & KIND_LOWER) | (digit & KIND_DIGIT) |
                             (space & KIND_SPACE) | (sign & KIND_SIGN) | (other & KIND_PUNCT));
    }
    if (lane->want_offsets) {
        for (size_t i = 0; i < text.len; i++)
            lane->offsets[i] = (uint32_t)i;
    }
    lane->len = text.len;
}

/* --- readings ---------------------------------------------------------------------------------------------- */

/* The decoded bytes as UTF-8, lower-cased where they are ASCII. */
static void read_smuggled(struct lane *bytes, struct lane *out)
{
    for (size_t at = 0; at < bytes->len && !bytes->failed;) {
        int32_t code;
        size_t n = sg_utf8_decode((struct sg_slice){bytes->text + at, bytes->len - at}, &code);
        code = code < 0 ? 0xFFFD : code >= 'A' && code <= 'Z' ? code + 32 : code;
        sg_lane_put_code(out, code, KIND_LETTER, bytes->want_offsets ? bytes->offsets[at] : 0);
        at += n;
    }
}

/* Hand the lanes' storage to the public fields; it stays theirs until the next text. */
static void publish(struct sg_normal *normal, bool want_offsets)
{
    for (int i = 0; i < SG_N_READINGS; i++) {
        struct lane *lane = &normal->work->lanes[i];
        if (lane->text)
            lane->text[lane->len] = '\0';
        normal->readings[i] = (struct sg_buffer){lane->text, lane->len, lane->cap, false};
        normal->offsets[i] = want_offsets ? lane->offsets : NULL;
    }
}

static bool any_failed(const struct sg_normal_work *work)
{
    bool failed = work->failed || work->word.failed || work->smuggled.failed;
    for (int i = 0; i < SG_N_READINGS; i++)
        failed |= work->lanes[i].failed;
    return failed;
}

enum sg_status sg_normalise(struct sg_slice text, bool want_offsets, struct sg_normal *normal, struct sg_error *err)
{
    normal->signals = 0;
    normal->evasive = false;
    if (!normal->work)
        normal->work = calloc(1, sizeof *normal->work);
    struct sg_normal_work *work = normal->work;
    if (!work)
        return sg_fail(err, SG_ENOMEM, "normaliser: out of memory");
    for (int i = 0; i < SG_N_READINGS; i++)
        lane_start(&work->lanes[i], want_offsets);
    lane_start(&work->word, want_offsets);
    lane_start(&work->smuggled, want_offsets);
    work->n_chains = 0;
    work->failed = false;
    enum sg_status status = SG_OK;
    if (text.len > SG_NORMALISE_MAX_BYTES) {
        status = sg_fail(err, SG_ELIMIT, "normaliser: text of %zu bytes, at most %zu", text.len,
                         (size_t)SG_NORMALISE_MAX_BYTES);
    } else if (plain_ascii((const unsigned char *)text.ptr, text.len)) {
        fold_ascii(text, &work->lanes[SG_READING_FOLDED]);
        sg_gate(normal);
    } else {
        sg_fold_text(text, normal);
        read_smuggled(&work->smuggled, &work->lanes[SG_READING_SMUGGLED]);
        sg_gate(normal);
    }
    if (status == SG_OK && any_failed(work)) {
        for (int i = 0; i < SG_N_READINGS; i++)
            work->lanes[i].len = 0;
        status = sg_fail(err, SG_ENOMEM, "normaliser: out of memory for a text of %zu bytes", text.len);
    }
    publish(normal, want_offsets);
    return status;
}

void sg_normal_deinit(struct sg_normal *normal)
{
    struct sg_normal_work *work = normal->work;
    if (work) {
        for (int i = 0; i < SG_N_READINGS; i++)
            lane_free(&work->lanes[i]);
        lane_free(&work->word);
        lane_free(&work->smuggled);
        free(work->chains);
        free(work);
    }
    *normal = (struct sg_normal){0};
}
