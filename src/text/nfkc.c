#include "text/nfkc.h"

#include "base/utf8.h"
#include "text/normalise_tables.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Hangul syllables are arithmetic (Unicode 3.12). */
enum {
    HANGUL_S = 0xAC00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11A7,
    HANGUL_N_L = 19,
    HANGUL_N_V = 21,
    HANGUL_N_T = 28,
    HANGUL_N_S = HANGUL_N_L * HANGUL_N_V * HANGUL_N_T
};

static const struct sg_char *class_of(int32_t code)
{
    return &class_records[class_blocks[class_index[code >> 8]][code & 255]];
}

struct sg_char sg_char_of(int32_t code)
{
    return *class_of(code);
}

/* --- pairs ------------------------------------------------------------------------------------------------- */

static int32_t compose(int32_t first, int32_t second)
{
    if (first >= HANGUL_L && first < HANGUL_L + HANGUL_N_L && second >= HANGUL_V && second < HANGUL_V + HANGUL_N_V)
        return HANGUL_S + ((first - HANGUL_L) * HANGUL_N_V + second - HANGUL_V) * HANGUL_N_T;
    if (first >= HANGUL_S && first < HANGUL_S + HANGUL_N_S && (first - HANGUL_S) % HANGUL_N_T == 0 &&
        second > HANGUL_T && second < HANGUL_T + HANGUL_N_T)
        return first + second - HANGUL_T;
    size_t low = 0, high = COUNT(compositions);
    while (low < high) {
        size_t mid = (low + high) / 2;
        const struct composition *pair = &compositions[mid];
        if (pair->first < first || (pair->first == first && pair->second < second))
            low = mid + 1;
        else
            high = mid;
    }
    if (low < COUNT(compositions) && compositions[low].first == first && compositions[low].second == second)
        return compositions[low].whole;
    return -1;
}

/* The pair that composes to `whole`, or NULL. */
static const struct composition *parts_of(int32_t whole)
{
    size_t low = 0, high = COUNT(by_whole);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (compositions[by_whole[mid]].whole < whole)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < COUNT(by_whole) && compositions[by_whole[low]].whole == whole)
        return &compositions[by_whole[low]];
    return NULL;
}

int32_t sg_nfkc_base(int32_t code)
{
    while (class_of(code)->flags & CHAR_DECOMPOSES) {
        const struct composition *pair = parts_of(code);
        if (!pair)
            break;
        code = pair->first;
    }
    return code;
}

const char *sg_lookalike(int32_t code, unsigned *strength_out)
{
    size_t low = 0, high = COUNT(lookalikes);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (lookalikes[mid].code < code)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == COUNT(lookalikes) || lookalikes[low].code != code)
        return NULL;
    *strength_out = lookalikes[low].strength;
    return lookalikes[low].ascii;
}

/* --- runs -------------------------------------------------------------------------------------------------- */

/* Canonical decomposition of one folded character; returns the new length. */
static size_t put_decomposed(int32_t code, int32_t *out, size_t n)
{
    if (code >= HANGUL_S && code < HANGUL_S + HANGUL_N_S) {
        int32_t at = code - HANGUL_S;
        out[n++] = HANGUL_L + at / (HANGUL_N_V * HANGUL_N_T);
        out[n++] = HANGUL_V + at % (HANGUL_N_V * HANGUL_N_T) / HANGUL_N_T;
        if (at % HANGUL_N_T)
            out[n++] = HANGUL_T + at % HANGUL_N_T;
        return n;
    }
    int32_t tail[4]; /* no character decomposes in more steps */
    size_t n_tail = 0;
    while (n_tail < COUNT(tail) && class_of(code)->flags & CHAR_DECOMPOSES) {
        const struct composition *pair = parts_of(code);
        tail[n_tail++] = pair->second;
        code = pair->first;
    }
    out[n++] = code;
    while (n_tail > 0)
        out[n++] = tail[--n_tail];
    return n;
}

static struct sg_slice mapped(int32_t code, int32_t *single_out)
{
    unsigned value = map_blocks[map_index[code >> 6]][code & 63];
    if (value < MAP_STRINGS) {
        *single_out = (int32_t)value;
        return (struct sg_slice){0};
    }
    unsigned i = value - MAP_STRINGS;
    *single_out = -1;
    return (struct sg_slice){map_strings + map_offsets[i], (size_t)(map_offsets[i + 1] - map_offsets[i])};
}

/* The case-fold of one character, each part decomposed when asked for. */
static size_t put_folded(int32_t code, bool decompose, int32_t *out, size_t n)
{
    int32_t single = code;
    struct sg_slice text = {0};
    if (class_of(code)->flags & CHAR_MAPPED)
        text = mapped(code, &single);
    if (single >= 0) {
        if (decompose)
            return put_decomposed(single, out, n);
        out[n++] = single;
        return n;
    }
    while (text.len > 0) {
        int32_t part;
        size_t len = sg_utf8_decode(text, &part);
        if (decompose)
            n = put_decomposed(part, out, n);
        else
            out[n++] = part;
        text.ptr += len;
        text.len -= len;
    }
    return n;
}

/* Canonical order: marks sorted by class, stably, between starters. */
static void reorder(int32_t *codes, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint8_t ccc = class_of(codes[i])->ccc;
        int32_t code = codes[i];
        size_t j = i;
        for (; ccc && j > 0 && class_of(codes[j - 1])->ccc > ccc; j--)
            codes[j] = codes[j - 1];
        codes[j] = code;
    }
}

/* Canonical composition in place (Unicode 3.11 D117). */
static size_t recompose(int32_t *codes, size_t n)
{
    size_t starter = SIZE_MAX, out = 0;
    int last_ccc = -1; /* of what was kept since the starter; -1: nothing */
    for (size_t i = 0; i < n; i++) {
        int32_t code = codes[i];
        int ccc = class_of(code)->ccc;
        int32_t whole = starter != SIZE_MAX && last_ccc < (ccc ? ccc : 1) && (ccc || last_ccc < 0)
                            ? compose(codes[starter], code)
                            : -1;
        if (whole >= 0) {
            codes[starter] = whole;
            continue;
        }
        if (ccc == 0) {
            starter = out;
            last_ccc = -1;
        } else {
            last_ccc = ccc;
        }
        codes[out++] = code;
    }
    return out;
}

size_t sg_nfkc_run(const int32_t *codes, size_t n, int32_t *out)
{
    if (n == 1)
        return put_folded(codes[0], false, out, 0); /* its mapping is composed already */
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len = put_folded(codes[i], true, out, len);
    reorder(out, len);
    return recompose(out, len);
}

void sg_nfkc_casefold(struct sg_slice text, struct sg_buffer *out)
{
    int32_t run[SG_NFKC_RUN_MAX], folded[SG_NFKC_OUT_MAX];
    size_t n = 0;
    for (size_t at = 0;;) {
        int32_t code = -1;
        if (at < text.len) {
            at += sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
            code = code < 0 ? 0xFFFD : code;
            if (class_of(code)->flags & CHAR_IGNORABLE)
                continue;
        }
        if (n > 0 && (code < 0 || n == SG_NFKC_RUN_MAX || !(class_of(code)->flags & CHAR_COMBINES))) {
            size_t len = sg_nfkc_run(run, n, folded);
            for (size_t i = 0; i < len; i++)
                sg_utf8_encode(folded[i], out);
            n = 0;
        }
        if (code < 0)
            return;
        run[n++] = code;
    }
}
