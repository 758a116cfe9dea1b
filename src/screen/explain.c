/* Why a text has its margin: every n-gram of the deciding span with its part; with the bias they add up to it. */
#include "base/utf8.h"
#include "screen/screen_internal.h"
#include "screen/vectors.h"

#include <stdlib.h>

/* Of one bucket that the span has. */
struct part {
    double weight;
    bool by_meaning;
    struct sg_place place; /* of the first n-gram in it; n_bytes 0: none yet */
};

struct collector {
    const struct sg_screen *screen;
    size_t category;
    struct sg_span span;
    uint32_t unit;
    struct sg_screen_sums sums;
    struct part *parts; /* of all blocks, one behind the other */
};

/* Where a block's parts begin; SG_N_BLOCKS: how many there are. */
static size_t first_part(const struct sg_screen *screen, int block)
{
    size_t buckets = (size_t)1 << screen->bucket_bits;
    return block < SG_N_BLOCKS ? (size_t)block * buckets : SG_BLOCK_LEXEMES * buckets + sg_vectors()->n_words;
}

static void add_unit(void *context, const struct sg_unit *unit)
{
    struct collector *all = context;
    uint32_t at = all->unit++;
    if (at < all->span.first_unit || at - all->span.first_unit >= all->span.n_units)
        return;
    for (int kind = 0; kind < SG_N_KINDS; kind++) {
        enum sg_block block = sg_block_of(kind);
        for (int i = 0; i < unit->n[kind]; i++) {
            uint32_t bucket = unit->buckets[kind][i];
            int64_t q = sg_screen_idf(all->screen, block)[bucket];
            struct part *part = all->parts + first_part(all->screen, (int)block) + bucket;
            if (part->place.n_bytes > 0)
                continue;
            part->place = unit->places[kind][i];
            part->weight = (double)(q * sg_screen_weights(all->screen, block, all->category)[bucket]);
            all->sums.norm[block] += q * q;
        }
    }
}

static int by_strength(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    double strength = fabs(y->weight) - fabs(x->weight);
    if (strength != 0)
        return strength > 0 ? 1 : -1;
    return x->place.first_byte < y->place.first_byte ? -1 : x->place.first_byte > y->place.first_byte;
}

/* The n-gram as text: white space is one ▁, what does not fit is cut at a character; ≈ stands before a word that
 * counts by its meaning. */
static void put_text(struct sg_slice reading, const struct part *part, char *out, size_t size)
{
    struct sg_buffer text = {0};
    struct sg_place place = part->place;
    bool space = false;
    if (part->by_meaning)
        sg_buffer_puts(&text, "≈");
    size_t end = (size_t)place.first_byte + place.n_bytes;
    for (size_t at = place.first_byte; at < end && at < reading.len;) {
        int32_t code;
        at += sg_utf8_decode((struct sg_slice){reading.ptr + at, reading.len - at}, &code);
        if (code < 0)
            code = 0xFFFD;
        if (code <= 32 || code == 127 || code == 0xA0) {
            if (!space)
                sg_buffer_puts(&text, "▁");
            space = true;
            continue;
        }
        space = false;
        if (code < 128 && code >= 'A' && code <= 'Z')
            code += 32;
        sg_utf8_encode(code, &text);
    }
    struct sg_slice whole = {sg_buffer_text(&text), text.len < size ? text.len : size - 1};
    size_t len = text.len < size ? text.len : sg_utf8_ready(whole);
    memcpy(out, whole.ptr, len);
    out[len] = '\0';
    sg_buffer_free(&text);
}

enum sg_status sg_explain_span(const struct sg_screen *screen, size_t category, struct sg_slice reading,
                               const struct sg_span *span, struct sg_screen_feature *features, size_t cap,
                               size_t *n_out, struct sg_error *err)
{
    const struct sg_screen_model *model = screen->models + category;
    size_t n_parts = first_part(screen, SG_N_BLOCKS), n = 0;
    struct collector all = {.screen = screen, .category = category, .span = *span};
    *n_out = 0;
    all.parts = calloc(n_parts, sizeof *all.parts);
    if (!all.parts)
        return sg_fail(err, SG_ENOMEM, "out of memory for the parts of a margin");
    sg_features(reading, screen->bucket_bits, true, add_unit, &all);
    for (size_t i = 0; i < n_parts; i++) {
        struct part part = all.parts[i];
        size_t buckets = (size_t)1 << screen->bucket_bits;
        enum sg_block block = i < buckets ? SG_BLOCK_CHARS : i < 2 * buckets ? SG_BLOCK_WORDS : SG_BLOCK_LEXEMES;
        int64_t norm = all.sums.norm[block];
        if (part.weight == 0 || norm == 0)
            continue;
        part.weight *= (block == SG_BLOCK_LEXEMES ? model->lexeme_scale : model->scale) / sqrt((double)norm);
        part.by_meaning = block == SG_BLOCK_LEXEMES;
        all.parts[n++] = part;
    }
    qsort(all.parts, n, sizeof *all.parts, by_strength);
    for (size_t i = 0; i < n && i < cap; i++) {
        features[i].weight = all.parts[i].weight;
        put_text(reading, all.parts + i, features[i].text, sizeof features[i].text);
    }
    *n_out = n < cap ? n : cap;
    free(all.parts);
    return SG_OK;
}
