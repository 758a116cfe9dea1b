/* Text → n-gram buckets. The loop of every score: no allocation, no copies of text, each character hashed in passing.
 *
 * The text is decoded piecewise into code points in which every run of white space is one space. A run of anything
 * else stands between two spaces, and its n-grams may reach over them: " a", "b ". An n-gram's hash is a polynomial in
 * its code points, begun anew at every start, so the 2-, 3-, 4- and 5-gram of a start cost one multiplication each;
 * a last, not linear, step spreads it over the buckets. */
#include "screen/ngrams.h"

#include "base/utf8.h"

#define CHARS_KEPT 4096 /* code points decoded at a time; a run that is longer is cut */

#define STEP 0x9E3779B97F4A7C15u
#define GRAM_SEED 0x243F6A8885A308D3u
#define WORD_SEED 0x13198A2E03707344u
#define PAIR_STEP 0xD6E8FEB86659FD93u
#define SPREAD 0xBF58476D1CE4E5B9u

enum char_class { CLASS_SIGN, CLASS_WORD, CLASS_SPACE, CLASS_ALONE /* a word by itself: ideographs, emoji */ };

struct run {
    int bucket_bits;
    sg_unit_fn fn;
    void *context;
    uint64_t last_word; /* hash of the word before, 0 at the start */
    uint32_t last_word_at;
    struct sg_unit unit;
    size_t n;
    uint32_t chars[CHARS_KEPT + 1];
    uint32_t bytes[CHARS_KEPT + 1]; /* where each starts in the reading */
};

/* clang-format off */
static const uint8_t ascii_class[128] = {
    2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2, 2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,
    2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0, 1,1,1,1,1,1,1,1,1,1,0,0,0,0,0,0,
    0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1,1,1,1,0,0,0,0,1,
    0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1,1,1,1,0,0,0,0,2};
/* clang-format on */

struct range {
    uint32_t first, last;
    enum char_class class;
};

/* Outside ASCII whatever is not listed is part of a word. In rising order. */
static const struct range ranges[] = {
    {0x80, 0xA0, CLASS_SPACE},      {0xA1, 0xA9, CLASS_SIGN},       {0xAB, 0xB4, CLASS_SIGN},
    {0xB6, 0xB9, CLASS_SIGN},       {0xBB, 0xBF, CLASS_SIGN},       {0xD7, 0xD7, CLASS_SIGN},
    {0xF7, 0xF7, CLASS_SIGN},       {0x1680, 0x1680, CLASS_SPACE},  {0x2000, 0x200A, CLASS_SPACE},
    {0x200B, 0x2027, CLASS_SIGN},   {0x2028, 0x2029, CLASS_SPACE},  {0x202A, 0x202E, CLASS_SIGN},
    {0x202F, 0x202F, CLASS_SPACE},  {0x2030, 0x205E, CLASS_SIGN},   {0x205F, 0x205F, CLASS_SPACE},
    {0x2060, 0x206F, CLASS_SIGN},   {0x20A0, 0x20CF, CLASS_SIGN},   {0x2190, 0x25FF, CLASS_SIGN},
    {0x2600, 0x27BF, CLASS_ALONE},  {0x27C0, 0x2B4F, CLASS_SIGN},   {0x2B50, 0x2BFF, CLASS_ALONE},
    {0x3000, 0x3000, CLASS_SPACE},  {0x3001, 0x303F, CLASS_SIGN},   {0x3040, 0x30FF, CLASS_ALONE},
    {0x3400, 0x9FFF, CLASS_ALONE},  {0xF900, 0xFAFF, CLASS_ALONE},  {0xFE00, 0xFE6F, CLASS_SIGN},
    {0xFF01, 0xFF0F, CLASS_SIGN},   {0xFF1A, 0xFF20, CLASS_SIGN},   {0xFF5B, 0xFF65, CLASS_SIGN},
    {0xFFF0, 0xFFFF, CLASS_SIGN},   {0x1F000, 0x1FAFF, CLASS_ALONE}, {0x20000, 0x3FFFF, CLASS_ALONE},
    {0xE0000, 0xE0FFF, CLASS_SIGN},
};

static enum char_class class_beyond_ascii(uint32_t c)
{
    size_t low = 0, high = sizeof ranges / sizeof *ranges;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof ranges / sizeof *ranges && c >= ranges[low].first ? ranges[low].class : CLASS_WORD;
}

static inline enum char_class class_of(uint32_t c)
{
    return c < 128 ? (enum char_class)ascii_class[c] : class_beyond_ascii(c);
}

static inline uint32_t bucket_of(uint64_t hash, int bits)
{
    hash ^= hash >> 32;
    return (uint32_t)((hash * SPREAD) >> (64 - bits));
}

static inline __attribute__((always_inline)) void add(struct run *run, enum sg_feature_kind kind, uint64_t hash,
                                                      bool places, uint32_t from, uint32_t to)
{
    struct sg_unit *unit = &run->unit;
    int at = unit->n[kind]++;
    unit->buckets[kind][at] = bucket_of(hash, run->bucket_bits);
    if (places)
        unit->places[kind][at] = (struct sg_place){from, to - from};
}

/* n-grams that start at `at`; none reaches beyond the space at `end`. */
static inline __attribute__((always_inline)) void add_grams(struct run *run, size_t at, size_t end, bool places)
{
    const uint32_t *c = run->chars + at;
    const uint32_t *bytes = run->bytes + at;
    size_t left = end - at; /* characters behind the first */
    uint64_t hash = (GRAM_SEED + c[0]) * STEP + c[1];
    add(run, SG_GRAMS, hash, places, bytes[0], bytes[2]);
    if (left < 2)
        return;
    hash = hash * STEP + c[2];
    add(run, SG_TRIGRAMS, hash, places, bytes[0], bytes[3]);
    if (left < 3)
        return;
    hash = hash * STEP + c[3];
    add(run, SG_GRAMS, hash, places, bytes[0], bytes[4]);
    if (left < 4)
        return;
    hash = hash * STEP + c[4];
    add(run, SG_GRAMS, hash, places, bytes[0], bytes[5]);
}

static inline __attribute__((always_inline)) void add_word(struct run *run, uint64_t hash, bool places, uint32_t from,
                                                           uint32_t to)
{
    add(run, SG_WORDS, hash, places, from, to);
    if (run->last_word)
        add(run, SG_WORDS, run->last_word * PAIR_STEP + hash, places, run->last_word_at, to);
    run->last_word = hash;
    run->last_word_at = from;
}

static void begin_unit(struct run *run, uint32_t byte)
{
    run->unit.first_byte = byte;
    for (int kind = 0; kind < SG_N_KINDS; kind++)
        run->unit.n[kind] = 0;
}

static void end_unit(struct run *run, uint32_t byte)
{
    run->unit.n_bytes = byte - run->unit.first_byte;
    run->fn(run->context, &run->unit);
}

/* One run without white space: chars[first] … chars[end - 1], spaces at first - 1 and end. */
static inline __attribute__((always_inline)) void add_run(struct run *run, size_t first, size_t end, bool places)
{
    uint64_t word = 0;
    uint32_t word_at = 0;
    begin_unit(run, run->bytes[first]);
    add_grams(run, first - 1, end, places);
    for (size_t i = first; i < end; i++) {
        if (i > first && (i - first) % SG_UNIT_CHARS == 0) {
            end_unit(run, run->bytes[i]);
            begin_unit(run, run->bytes[i]);
        }
        add_grams(run, i, end, places);
        uint32_t c = run->chars[i];
        enum char_class class = class_of(c);
        bool within = class == CLASS_WORD || (c == '\'' && word && class_of(run->chars[i + 1]) == CLASS_WORD);
        if (within) {
            if (!word) {
                word = WORD_SEED;
                word_at = run->bytes[i];
            }
            word = (word + c) * STEP;
        }
        enum char_class next = class_of(run->chars[i + 1]);
        bool apostrophe = run->chars[i + 1] == '\'' && i + 2 <= end && class_of(run->chars[i + 2]) == CLASS_WORD;
        if (within && next != CLASS_WORD && !apostrophe) {
            add_word(run, word, places, word_at, run->bytes[i + 1]);
            word = 0;
        } else if (class == CLASS_ALONE)
            add_word(run, (WORD_SEED + c) * STEP, places, run->bytes[i], run->bytes[i + 1]);
    }
    end_unit(run, run->bytes[end]);
}

/* Add the complete runs of what is decoded, and keep the last one for the next piece unless the text ends. */
static inline __attribute__((always_inline)) void add_runs(struct run *run, bool last, uint32_t end_byte, bool places)
{
    size_t first = 1;
    for (size_t i = 1; i < run->n; i++)
        if (run->chars[i] == ' ') {
            if (i > first)
                add_run(run, first, i, places);
            first = i + 1;
        }
    bool cut = first == 1 && run->n == CHARS_KEPT - 1; /* longer than what is kept */
    if (run->n > first && (last || cut)) {
        run->chars[run->n] = ' ';
        run->bytes[run->n] = end_byte;
        run->bytes[run->n + 1] = end_byte;
        add_run(run, first, run->n, places);
        first = run->n + 1;
    }
    size_t kept = run->n > first ? run->n - first : 0;
    memmove(run->chars, run->chars + first - 1, (kept + 1) * sizeof *run->chars);
    memmove(run->bytes, run->bytes + first - 1, (kept + 1) * sizeof *run->bytes);
    run->n = 1 + kept;
}

static inline __attribute__((always_inline)) void read_text(struct run *run, struct sg_slice text, bool places)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    size_t at = 0;
    run->chars[0] = ' ';
    run->bytes[0] = 0;
    run->n = 1;
    while (at < text.len) {
        /* One place is left for the space behind a run that ends with the piece, and one for where it ends. */
        while (at < text.len && run->n < CHARS_KEPT - 1) {
            uint32_t c = bytes[at];
            size_t len = 1;
            enum char_class class;
            if (c < 128) {
                class = (enum char_class)ascii_class[c];
                c |= (uint32_t)(c - 'A' < 26) << 5;
            } else {
                int32_t code;
                len = sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
                c = code < 0 ? 0xFFFD : (uint32_t)code;
                class = class_beyond_ascii(c);
            }
            if (class != CLASS_SPACE) {
                run->chars[run->n] = c;
                run->bytes[run->n++] = (uint32_t)at;
            } else if (run->chars[run->n - 1] != ' ') {
                run->chars[run->n] = ' ';
                run->bytes[run->n++] = (uint32_t)at;
            }
            at += len;
        }
        run->bytes[run->n] = (uint32_t)at;
        add_runs(run, at == text.len, (uint32_t)at, places);
    }
}

void sg_features(struct sg_slice text, int bucket_bits, bool want_places, sg_unit_fn fn, void *context)
{
    struct run run;
    run.bucket_bits = bucket_bits;
    run.fn = fn;
    run.context = context;
    run.last_word = 0;
    run.last_word_at = 0;
    if (want_places)
        read_text(&run, text, true);
    else
        read_text(&run, text, false);
}
