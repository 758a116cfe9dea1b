/* Why a text has its margin: every n-gram of the deciding span with its part; with the bias they add up to it. */
#include "base/utf8.h"
#include "screen/screen_internal.h"

#include <stdlib.h>

/* Of one bucket that the span has. */
struct part {
    double weight;
    struct sg_place place; /* of the first n-gram in it; n_bytes 0: none yet */
};

struct collector {
    const struct sg_screen *screen;
    const int8_t *weights;
    struct sg_span span;
    uint32_t unit;
    struct sg_screen_sums sums;
    struct part *parts; /* [SG_N_BLOCKS][buckets] */
};

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
            int64_t q = all->screen->idf[bucket];
            struct part *part = all->parts + ((size_t)block << all->screen->bucket_bits) + bucket;
            if (part->place.n_bytes > 0)
                continue;
            part->place = unit->places[kind][i];
            part->weight = (double)(q * all->weights[bucket]);
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

/* The n-gram as text: white space is one ▁, what does not fit is cut at a character. */
static void put_text(struct sg_slice reading, struct sg_place place, char *out, size_t size)
{
    struct sg_buffer text = {0};
    bool space = false;
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
    size_t n_parts = (size_t)SG_N_BLOCKS << screen->bucket_bits, n = 0;
    struct collector all = {.screen = screen, .weights = screen->weights[category], .span = *span};
    *n_out = 0;
    all.parts = calloc(n_parts, sizeof *all.parts);
    if (!all.parts)
        return sg_fail(err, SG_ENOMEM, "out of memory for the parts of a margin");
    sg_features(reading, screen->bucket_bits, true, add_unit, &all);
    for (size_t i = 0; i < n_parts; i++) {
        struct part part = all.parts[i];
        int64_t norm = all.sums.norm[i >> screen->bucket_bits];
        if (part.weight == 0 || norm == 0)
            continue;
        part.weight *= screen->models[category].scale / sqrt((double)norm);
        all.parts[n++] = part;
    }
    qsort(all.parts, n, sizeof *all.parts, by_strength);
    for (size_t i = 0; i < n && i < cap; i++) {
        features[i].weight = all.parts[i].weight;
        put_text(reading, all.parts[i].place, features[i].text, sizeof features[i].text);
    }
    *n_out = n < cap ? n : cap;
    free(all.parts);
    return SG_OK;
}
