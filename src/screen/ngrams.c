/* Text → n-gram buckets. The loop of every score: no allocation, no copies of text, each character hashed in passing.
 *
 * The text is decoded piecewise into code points in which every run of white space is one space. A run of anything
 * else stands between two spaces, and its n-grams may reach over them: " a", "b ". An n-gram's hash is a polynomial
 * in its code points, begun anew at every start, so the 2-, 3-, 4- and 5-gram of a start cost one multiplication
 * each; a last, not linear, step spreads it over the buckets. */
#include "screen/ngrams.h"

#include "base/utf8.h"
#include "screen/vectors.h"

#define CHARS_KEPT 4096 /* code points decoded at a time; a run that is longer is cut */

#define STEP SG_LEXEME_STEP
#define GRAM_SEED 0x243F6A8885A308D3u
#define PAIR_STEP 0xD6E8FEB86659FD93u
#define SPREAD 0xBF58476D1CE4E5B9u

enum char_class {
    CLASS_SIGN = 0,
    CLASS_SPACE = 1,
    CLASS_ALONE = 2, /* a word by itself: ideographs, emoji */
    CLASS_WORD = 4,  /* the bit that all parts of words have; by itself the underscore */
    CLASS_DIGIT = 5,
    CLASS_LETTER = 6 /* and what is not listed */
};

struct run {
    int bucket_bits;
    const struct sg_vectors *vectors;
    sg_unit_fn fn;
    void *context;
    uint64_t last_word; /* hash of the word before, 0 at the start */
    uint32_t last_word_at;
    struct sg_unit unit;
    size_t n;
    uint32_t chars[CHARS_KEPT + 1];
    uint32_t bytes[CHARS_KEPT + 1]; /* where each starts in the reading */
    uint8_t classes[CHARS_KEPT + 2];
};

/* clang-format off */
static const uint8_t ascii_class[128] = {
    1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1, 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,
    1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0, 5,5,5,5,5,5,5,5,5,5,0,0,0,0,0,0,
    0,6,6,6,6,6,6,6,6,6,6,6,6,6,6,6, 6,6,6,6,6,6,6,6,6,6,6,0,0,0,0,4,
    0,6,6,6,6,6,6,6,6,6,6,6,6,6,6,6, 6,6,6,6,6,6,6,6,6,6,6,0,0,0,0,1};
/* clang-format on */

struct range {
    uint32_t first, last;
    enum char_class class;
};

/* Outside ASCII whatever is not listed counts as a letter. In rising order. */
static const struct range ranges[] = {
    {0x80, 0xA0, CLASS_SPACE},      {0xA1, 0xA9, CLASS_SIGN},        {0xAB, 0xB4, CLASS_SIGN},
    {0xB6, 0xB9, CLASS_SIGN},       {0xBB, 0xBF, CLASS_SIGN},        {0xD7, 0xD7, CLASS_SIGN},
    {0xF7, 0xF7, CLASS_SIGN},       {0x1680, 0x1680, CLASS_SPACE},   {0x2000, 0x200A, CLASS_SPACE},
    {0x200B, 0x2027, CLASS_SIGN},   {0x2028, 0x2029, CLASS_SPACE},   {0x202A, 0x202E, CLASS_SIGN},
    {0x202F, 0x202F, CLASS_SPACE},  {0x2030, 0x205E, CLASS_SIGN},    {0x205F, 0x205F, CLASS_SPACE},
    {0x2060, 0x206F, CLASS_SIGN},   {0x20A0, 0x20CF, CLASS_SIGN},    {0x2190, 0x25FF, CLASS_SIGN},
    {0x2600, 0x27BF, CLASS_ALONE},  {0x27C0, 0x2B4F, CLASS_SIGN},    {0x2B50, 0x2BFF, CLASS_ALONE},
    {0x3000, 0x3000, CLASS_SPACE},  {0x3001, 0x303F, CLASS_SIGN},    {0x3040, 0x30FF, CLASS_ALONE},
    {0x3400, 0x9FFF, CLASS_ALONE},  {0xF900, 0xFAFF, CLASS_ALONE},   {0xFE00, 0xFE6F, CLASS_SIGN},
    {0xFF01, 0xFF0F, CLASS_SIGN},   {0xFF1A, 0xFF20, CLASS_SIGN},    {0xFF5B, 0xFF65, CLASS_SIGN},
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
    return low < sizeof ranges / sizeof *ranges && c >= ranges[low].first ? ranges[low].class : CLASS_LETTER;
}

static inline uint32_t bucket_of(uint64_t hash, int bits)
{
    hash ^= hash >> 32;
    return (uint32_t)((hash * SPREAD) >> (64 - bits));
}

#define INLINE inline __attribute__((always_inline))

/* What the unit at hand has of one kind; kept apart from the unit so that it stays in registers. */
struct list {
    uint32_t *buckets;
    struct sg_place *places;
    int n;
};

static INLINE struct list list_of(struct run *run, enum sg_feature_kind kind)
{
    return (struct list){run->unit.buckets[kind], run->unit.places[kind], 0};
}

static INLINE void add(struct list *list, uint32_t bucket, bool places, uint32_t from, uint32_t to)
{
    list->buckets[list->n] = bucket;
    if (places)
        list->places[list->n] = (struct sg_place){from, to - from};
    list->n++;
}

/* n-grams that start at chars[at … end); none reaches beyond the space at chars[last]. */
static INLINE void add_grams(struct run *run, size_t at, size_t end, size_t last, bool places)
{
    struct list grams = list_of(run, SG_GRAMS), trigrams = list_of(run, SG_TRIGRAMS);
    int bits = run->bucket_bits;
    for (; at < end; at++) {
        const uint32_t *c = run->chars + at;
        const uint32_t *bytes = run->bytes + at;
        size_t left = last - at; /* characters behind the first */
        uint64_t two = (GRAM_SEED + c[0]) * STEP + c[1];
        add(&grams, bucket_of(two, bits), places, bytes[0], places ? bytes[2] : 0);
        if (left < 2)
            continue;
        uint64_t three = two * STEP + c[2];
        add(&trigrams, bucket_of(three, bits), places, bytes[0], places ? bytes[3] : 0);
        if (left < 3)
            continue;
        uint64_t four = three * STEP + c[3];
        add(&grams, bucket_of(four, bits), places, bytes[0], places ? bytes[4] : 0);
        if (left < 4)
            continue;
        uint64_t five = four * STEP + c[4];
        add(&grams, bucket_of(five, bits), places, bytes[0], places ? bytes[5] : 0);
    }
    run->unit.n[SG_GRAMS] = grams.n;
    run->unit.n[SG_TRIGRAMS] = trigrams.n;
}

static INLINE void add_word(struct run *run, struct list *words, uint64_t hash, bool places, uint32_t from,
                            uint32_t to)
{
    add(words, bucket_of(hash, run->bucket_bits), places, from, to);
    if (run->last_word)
        add(words, bucket_of(run->last_word * PAIR_STEP + hash, run->bucket_bits), places, run->last_word_at, to);
    run->last_word = hash;
    run->last_word_at = from;
}

/* A word or lexeme that has begun in this run and may go on in its next unit. */
struct begun {
    uint64_t hash; /* SG_LEXEME_SEED: none */
    uint32_t byte;
};

static INLINE void go_on(struct begun *begun, uint32_t c, uint32_t byte)
{
    if (begun->hash == SG_LEXEME_SEED)
        begun->byte = byte;
    begun->hash = (begun->hash + c) * SG_LEXEME_STEP;
}

/* Words, pairs of words and lexemes that end within chars[at … end). An apostrophe between letters belongs to a word.
 */
static INLINE void add_words(struct run *run, size_t at, size_t end, struct begun *word, struct begun *lexeme,
                             bool places)
{
    struct list words = list_of(run, SG_WORDS), lexemes = list_of(run, SG_LEXEMES);
    for (; at < end; at++) {
        const uint8_t *class = run->classes + at;
        uint32_t c = run->chars[at], byte = run->bytes[at], next_byte = run->bytes[at + 1];
        if (class[0] == CLASS_SIGN) {
            if (c == '\'' && word->hash != SG_LEXEME_SEED && (class[1] & CLASS_WORD))
                word->hash = (word->hash + c) * SG_LEXEME_STEP;
            continue;
        }
        if (class[0] == CLASS_ALONE) {
            add_word(run, &words, (SG_LEXEME_SEED + c) * SG_LEXEME_STEP, places, byte, next_byte);
            continue;
        }
        go_on(word, c, byte);
        bool apostrophe = run->chars[at + 1] == '\'' && (class[2] & CLASS_WORD);
        if (!(class[1] & CLASS_WORD) && !apostrophe) {
            add_word(run, &words, word->hash, places, word->byte, next_byte);
            word->hash = SG_LEXEME_SEED;
        }
        if (class[0] == CLASS_WORD)
            continue; /* an underscore */
        go_on(lexeme, c, byte);
        if (class[0] == class[1])
            continue;
        int32_t known = sg_vectors_find(run->vectors, lexeme->hash);
        if (known >= 0)
            add(&lexemes, (uint32_t)known, places, lexeme->byte, next_byte);
        lexeme->hash = SG_LEXEME_SEED;
    }
    run->unit.n[SG_WORDS] = words.n;
    run->unit.n[SG_LEXEMES] = lexemes.n;
}

/* One run without white space: chars[first] … chars[end - 1], spaces at first - 1 and end. */
static INLINE void add_run(struct run *run, size_t first, size_t end, bool places)
{
    struct begun word = {SG_LEXEME_SEED, 0}, lexeme = {SG_LEXEME_SEED, 0};
    for (size_t at = first; at < end; at += SG_UNIT_CHARS) {
        size_t unit_end = at + SG_UNIT_CHARS < end ? at + SG_UNIT_CHARS : end;
        add_grams(run, at == first ? at - 1 : at, unit_end, end, places);
        add_words(run, at, unit_end, &word, &lexeme, places);
        run->unit.first_byte = run->bytes[at];
        run->unit.n_bytes = run->bytes[unit_end] - run->bytes[at];
        run->fn(run->context, &run->unit);
    }
}

/* Add the complete runs of what is decoded, and keep the last one for the next piece unless the text ends. */
static INLINE void add_runs(struct run *run, bool last, uint32_t end_byte, bool places)
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
        run->classes[run->n] = CLASS_SPACE;
        add_run(run, first, run->n, places);
        first = run->n + 1;
    }
    size_t kept = run->n > first ? run->n - first : 0;
    memmove(run->chars, run->chars + first - 1, (kept + 1) * sizeof *run->chars);
    memmove(run->bytes, run->bytes + first - 1, (kept + 1) * sizeof *run->bytes);
    memmove(run->classes, run->classes + first - 1, kept + 1);
    run->n = 1 + kept;
}

static INLINE void read_text(struct run *run, struct sg_slice text, bool places)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    size_t at = 0;
    run->chars[0] = ' ';
    run->classes[0] = CLASS_SPACE;
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
            if (class == CLASS_SPACE)
                c = ' ';
            if (class != CLASS_SPACE || run->chars[run->n - 1] != ' ') {
                run->chars[run->n] = c;
                run->classes[run->n] = (uint8_t) class;
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
    run.vectors = sg_vectors();
    run.fn = fn;
    run.context = context;
    run.last_word = 0;
    run.last_word_at = 0;
    if (want_places)
        read_text(&run, text, true);
    else
        read_text(&run, text, false);
}
