/* Margin of a text: the highest over its readings, and in each over the whole and its windows.
 *
 * One pass over a reading. Each unit's buckets go to the sums of the whole at once, unless their bit says that they
 * were there before, and into a list from which the windows are summed when their last unit has come. The list keeps
 * as many units as a window needs, so memory does not grow with the text. */
#include "screen/screen_internal.h"
#include "screen/vectors.h"

#include <stdlib.h>

#define RING 128 /* units whose beginning is known; a power of two */
#define BLOCK_SHIFT 30
#define BUCKET_MASK ((1u << BLOCK_SHIFT) - 1)
#define LISTED 16384 /* buckets in the list */

_Static_assert(RING > SG_WINDOW_MAX && (RING & (RING - 1)) == 0, "a window's first unit is still known");
_Static_assert(LISTED >= (SG_WINDOW_MAX + 2) * SG_UNIT_FEATURES, "a window's buckets are still listed");

#define BITSET_WORDS (((size_t)1 << SG_BUCKET_BITS_MAX) / 64)

/* Which buckets were met. */
struct met {
    uint64_t bits[SG_N_BLOCKS][BITSET_WORDS];
};

struct sg_screen_scratch {
    struct sg_normal normal;
    struct met whole, window; /* all zero between texts */
    uint32_t list[LISTED];    /* block << BLOCK_SHIFT | bucket */
};

struct tally {
    const struct sg_screen *screen;
    const struct sg_screen_model *model;
    const struct sg_bucket *buckets[SG_N_BLOCKS];
    struct sg_screen_scratch *scratch;
    struct sg_screen_sums sums; /* of the whole so far */
    size_t n_listed;            /* since the text began */
    size_t dropped;             /* of those, no longer in the list */
    uint32_t n_units, end_byte;
    struct sg_reading_score best;
    size_t first_listed[RING]; /* of unit i, at i % RING, as n_listed counts */
    uint32_t first_byte[RING];
};

/* All ones when the bucket is met for the first time, else 0: a mask instead of a branch, which nobody could predict.
 */
static inline int32_t meet(uint64_t *bits, uint32_t bucket)
{
    uint64_t word = bits[bucket >> 6];
    bits[bucket >> 6] = word | (uint64_t)1 << (bucket & 63);
    return (int32_t)(word >> (bucket & 63) & 1) - 1;
}

static void forget(struct met *met, const uint32_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        met->bits[list[i] >> BLOCK_SHIFT][(list[i] & BUCKET_MASK) >> 6] = 0;
}

/* Sums of one unit's buckets of a kind, or of a window's of a block: at most 255² · 16384 < 2^31. */
struct partial {
    int32_t dot, norm;
};

static inline void add_bucket(struct partial *sums, struct sg_bucket bucket, int32_t mask)
{
    int32_t q = bucket.idf & mask;
    sums->dot += q * bucket.weight;
    sums->norm += q * q;
}

static void try_window(struct tally *tally, uint32_t length)
{
    uint32_t first = tally->n_units - length;
    const uint32_t *list = tally->scratch->list + (tally->first_listed[first % RING] - tally->dropped);
    size_t n = tally->n_listed - tally->first_listed[first % RING];
    struct partial partial[SG_N_BLOCKS] = {{0}};
    struct sg_screen_sums sums;
    for (size_t i = 0; i < n; i++) {
        int block = (int)(list[i] >> BLOCK_SHIFT);
        uint32_t bucket = list[i] & BUCKET_MASK;
        add_bucket(&partial[block], tally->buckets[block][bucket], meet(tally->scratch->window.bits[block], bucket));
    }
    for (int block = 0; block < SG_N_BLOCKS; block++) {
        sums.dot[block] = partial[block].dot;
        sums.norm[block] = partial[block].norm;
    }
    forget(&tally->scratch->window, list, n);
    double margin = sg_screen_margin(tally->model, &sums);
    if (margin > tally->best.margin) {
        uint32_t byte = tally->first_byte[first % RING];
        tally->best.margin = margin;
        tally->best.span = (struct sg_span){first, length, byte, tally->end_byte - byte, false};
    }
}

static const uint32_t window_lengths[] = {SG_WINDOW_LENGTHS};
#define N_WINDOWS (sizeof window_lengths / sizeof *window_lengths)

/* Room for one more unit: the units before the longest window go. */
static void make_room(struct tally *tally)
{
    if (tally->n_listed - tally->dropped + SG_UNIT_FEATURES <= LISTED)
        return;
    uint32_t kept = tally->n_units < SG_WINDOW_MAX ? tally->n_units : SG_WINDOW_MAX;
    size_t first = tally->first_listed[(tally->n_units - kept) % RING];
    uint32_t *list = tally->scratch->list;
    memmove(list, list + (first - tally->dropped), (tally->n_listed - first) * sizeof *list);
    tally->dropped = first;
}

static void add_unit(void *context, const struct sg_unit *unit)
{
    struct tally *tally = context;
    const uint8_t *seen = tally->screen->seen;
    make_room(tally);
    tally->first_listed[tally->n_units % RING] = tally->n_listed;
    tally->first_byte[tally->n_units % RING] = unit->first_byte;
    uint32_t *list = tally->scratch->list + (tally->n_listed - tally->dropped);
    for (int kind = 0; kind < SG_N_KINDS; kind++) {
        int block = (int)sg_block_of(kind);
        const uint32_t *buckets = unit->buckets[kind];
        const struct sg_bucket *pairs = tally->buckets[block];
        uint64_t *met = tally->scratch->whole.bits[block];
        struct partial sums = {0, 0};
        for (int i = 0; i < unit->n[kind]; i++) {
            uint32_t bucket = buckets[i];
            list[i] = (uint32_t)block << BLOCK_SHIFT | bucket;
            add_bucket(&sums, pairs[bucket], meet(met, bucket));
        }
        tally->sums.dot[block] += sums.dot;
        tally->sums.norm[block] += sums.norm;
        tally->n_listed += (size_t)unit->n[kind];
        list += unit->n[kind];
    }
    uint32_t known = 0;
    for (int i = 0; i < unit->n[SG_TRIGRAMS]; i++) {
        uint32_t bucket = unit->buckets[SG_TRIGRAMS][i];
        known += seen[bucket >> 3] >> (bucket & 7) & 1;
    }
    tally->best.n_trigrams += (uint32_t)unit->n[SG_TRIGRAMS];
    tally->best.n_unseen += (uint32_t)unit->n[SG_TRIGRAMS] - known;
    tally->n_units++;
    tally->end_byte = unit->first_byte + unit->n_bytes;
    for (size_t i = 0; i < N_WINDOWS; i++) {
        uint32_t length = window_lengths[i];
        if (tally->n_units >= length && (tally->n_units - length) % (length / 2) == 0)
            try_window(tally, length);
    }
}

static void score_reading(const struct sg_screen *screen, size_t category, struct sg_slice reading,
                          struct sg_screen_scratch *scratch, struct sg_reading_score *out)
{
    struct tally tally;
    memset(&tally, 0, offsetof(struct tally, first_listed));
    tally.screen = screen;
    tally.model = screen->models + category;
    size_t buckets = (size_t)1 << screen->bucket_bits;
    for (int block = 0; block < SG_N_BLOCKS; block++)
        tally.buckets[block] = screen->pairs[category] + (block == SG_BLOCK_LEXEMES ? buckets : 0);
    tally.scratch = scratch;
    tally.best.margin = -INFINITY;
    sg_features(reading, screen->bucket_bits, false, add_unit, &tally);
    for (size_t i = 0; i < N_WINDOWS; i++) /* the last, which may overlap more with the one before */
        if (tally.n_units > window_lengths[i])
            try_window(&tally, window_lengths[i]);
    if (tally.dropped)
        memset(&scratch->whole, 0, sizeof scratch->whole);
    else
        forget(&scratch->whole, scratch->list, tally.n_listed);
    double whole = sg_screen_margin(tally.model, &tally.sums);
    if (whole >= tally.best.margin) {
        tally.best.margin = whole;
        tally.best.span = (struct sg_span){0, tally.n_units, 0, tally.end_byte, true};
    }
    *out = tally.best;
}

enum sg_status sg_screen_pair(struct sg_screen *screen, struct sg_error *err)
{
    size_t buckets = (size_t)1 << screen->bucket_bits, words = sg_vectors()->n_words;
    for (size_t c = 0; c < screen->n_categories; c++) {
        struct sg_bucket *pairs = malloc((buckets + words) * sizeof *pairs);
        if (!pairs)
            return sg_fail(err, SG_ENOMEM, "out of memory for %zu buckets", buckets + words);
        for (size_t b = 0; b < buckets; b++)
            pairs[b] = (struct sg_bucket){screen->idf[b], screen->weights[c][b]};
        for (size_t w = 0; w < words; w++)
            pairs[buckets + w] = (struct sg_bucket){screen->lexeme_idf[w], screen->lexeme_weights[c][w]};
        screen->pairs[c] = pairs;
    }
    return SG_OK;
}

void sg_screen_unpair(struct sg_screen *screen)
{
    for (size_t c = 0; c < screen->n_categories; c++) {
        free(screen->pairs[c]);
        screen->pairs[c] = NULL;
    }
}

/* --- readings ----------------------------------------------------------------------------------------------------
 */

enum sg_status sg_screen_scratch_create(struct sg_screen_scratch **scratch_out, struct sg_error *err)
{
    *scratch_out = calloc(1, sizeof **scratch_out);
    return *scratch_out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a screen's working memory");
}

void sg_screen_scratch_destroy(struct sg_screen_scratch *scratch)
{
    if (!scratch)
        return;
    sg_normal_deinit(&scratch->normal);
    free(scratch);
}

/* Is `folded` nothing but `raw` with ASCII capitals made small? */
static bool only_lower_cased(struct sg_slice raw, struct sg_slice folded)
{
    if (raw.len != folded.len)
        return false;
    unsigned char differ = 0;
    for (size_t i = 0; i < raw.len; i++) {
        unsigned char c = (unsigned char)raw.ptr[i];
        differ |= (unsigned char)((c + ((unsigned char)(c - 'A') < 26 ? 32 : 0)) ^ folded.ptr[i]);
    }
    return differ == 0;
}

static enum sg_status check_arguments(const struct sg_screen *screen, size_t category, size_t len,
                                      struct sg_error *err)
{
    if (category >= screen->n_categories)
        return sg_fail(err, SG_EINVALID, "screen: category %zu of %zu", category, screen->n_categories);
    if (len > UINT32_MAX)
        return sg_fail(err, SG_ELIMIT, "screen: a text of %zu bytes, at most 4 GB", len);
    return SG_OK;
}

/* Behind those of the normaliser: the text as it is written. */
#define READING_RAW SG_N_READINGS

static struct sg_slice reading_of(struct sg_slice text, const struct sg_normal *normal, int r)
{
    return r == READING_RAW ? text : (struct sg_slice){normal->readings[r].data, normal->readings[r].len};
}

/* Where a span of reading r lies in the raw text. Makes the readings again, with their offsets. */
static enum sg_status raw_span(struct sg_slice text, int r, const struct sg_span *span,
                               struct sg_screen_scratch *scratch, size_t *first_out, size_t *n_out,
                               struct sg_error *err)
{
    *first_out = 0;
    *n_out = text.len;
    if (span->whole)
        return SG_OK;
    *first_out = span->first_byte;
    *n_out = span->n_bytes;
    if (r == READING_RAW)
        return SG_OK;
    enum sg_status status = sg_normalise(text, true, &scratch->normal, err);
    if (status != SG_OK)
        return status;
    const struct sg_normal *normal = &scratch->normal;
    size_t end = (size_t)span->first_byte + span->n_bytes, len = normal->readings[r].len;
    size_t raw_end = end < len ? normal->offsets[r][end] : text.len;
    *first_out = span->first_byte < len ? normal->offsets[r][span->first_byte] : raw_end;
    *n_out = raw_end > *first_out ? raw_end - *first_out : 0;
    return SG_OK;
}

struct best {
    int reading;
    struct sg_reading_score score;
    bool strange; /* many 3-grams of the folded reading were never seen */
};

/* scratch->normal holds the readings afterwards. */
static enum sg_status best_reading(const struct sg_screen *screen, size_t category, struct sg_slice text,
                                   struct sg_screen_scratch *scratch, struct best *best, struct sg_error *err)
{
    const struct sg_normal *normal = &scratch->normal;
    enum sg_status status = sg_normalise(text, false, &scratch->normal, err);
    if (status != SG_OK)
        return status;
    bool plain = only_lower_cased(text, reading_of(text, normal, SG_READING_FOLDED));
    best->reading = plain ? READING_RAW : SG_READING_FOLDED;
    score_reading(screen, category, reading_of(text, normal, best->reading), scratch, &best->score);
    best->strange = sg_unseen_share(best->score.n_unseen, best->score.n_trigrams) > screen->unseen_share;
    for (int r = SG_READING_FOLDED + 1; r <= READING_RAW; r++) {
        struct sg_slice reading = reading_of(text, normal, r);
        struct sg_reading_score score;
        if (reading.len == 0 || (r == READING_RAW && plain))
            continue;
        score_reading(screen, category, reading, scratch, &score);
        if (score.margin > best->score.margin) {
            best->score = score;
            best->reading = r;
        }
    }
    return SG_OK;
}

enum sg_status sg_screen_score(const struct sg_screen *screen, size_t category, const char *text, size_t len,
                               struct sg_screen_scratch *scratch, struct sg_screen_score *score_out,
                               struct sg_error *err)
{
    struct sg_slice slice = {text, len};
    struct best best;
    memset(score_out, 0, sizeof *score_out);
    enum sg_status status = check_arguments(screen, category, len, err);
    if (status == SG_OK)
        status = best_reading(screen, category, slice, scratch, &best, err);
    if (status != SG_OK)
        return status;
    const struct sg_screen_model *model = screen->models + category;
    score_out->margin = best.score.margin;
    score_out->probability =
        model->slope > 0 ? 1 / (1 + exp(-(model->slope * best.score.margin + model->intercept))) : NAN;
    score_out->signals = scratch->normal.signals | (best.strange ? SG_SIGNAL_UNSEEN_FEATURES : 0);
    score_out->evasive = scratch->normal.evasive || best.strange;
    return raw_span(slice, best.reading, &best.score.span, scratch, &score_out->first_byte, &score_out->n_bytes, err);
}

enum sg_status sg_screen_explain(const struct sg_screen *screen, size_t category, const char *text, size_t len,
                                 struct sg_screen_scratch *scratch, struct sg_screen_feature *features, size_t cap,
                                 size_t *n_out, struct sg_error *err)
{
    struct sg_slice slice = {text, len};
    struct best best;
    *n_out = 0;
    enum sg_status status = check_arguments(screen, category, len, err);
    if (status == SG_OK)
        status = best_reading(screen, category, slice, scratch, &best, err);
    if (status != SG_OK)
        return status;
    return sg_explain_span(screen, category, reading_of(slice, &scratch->normal, best.reading), &best.score.span,
                           features, cap, n_out, err);
}
