/* The folded reading of text that is not all ASCII, and what only the raw text can say: scripts, hidden characters,
 * styled letters.
 *
 * Two views run along together. The raw view sees each character as it stands and judges words of the raw text:
 * folding first would make ordinary Russian look mixed. The written view takes what NFKC case-fold makes of a run of
 * characters and writes it, look-alikes as ASCII: those of Latin letters, digits and punctuation always, those of
 * other scripts in words that have ASCII letters too, or that look ASCII as a whole in a text that has some. */
#include "base/utf8.h"
#include "text/nfkc.h"
#include "text/normalise_internal.h"

#include <string.h>

enum {
    ZWSP = 0x200B,
    ZWNJ = 0x200C,
    ZWJ = 0x200D,
    LRM = 0x200E,
    RLM = 0x200F,
    ALM = 0x061C,
    SHY = 0xAD,
    LRE = 0x202A,
    PDF = 0x202C,
    LRO = 0x202D,
    RLO = 0x202E,
    LRI = 0x2066,
    PDI = 0x2069,
    BOM = 0xFEFF,
    VS1 = 0xFE00,
    VS15 = 0xFE0E,
    VS16 = 0xFE0F,
    VS17 = 0xE0100,
    VS256 = 0xE01EF,
    TAG_BASE = 0xE0000,
    TAG_END = 0xE007F,
    BLACK_FLAG = 0x1F3F4,
    KEYCAP = 0x20E3,
    TATWEEL = 0x640
};

/* A hidden character between letters is evasive; many in a text are so whatever stands around them. */
#define HIDDEN_FREE 3
#define HIDDEN_LETTERS 4 /* … beyond HIDDEN_FREE: at most one for so many letters */
/* Marks on one character that no orthography stacks, and characters struck through. */
#define MARKS_STACKED 3
#define STRUCK 2
#define SMUGGLED_RUN 2
#define TAGS_MAX 8

/* A word of the raw text: letters and marks, hidden characters left out. */
struct raw_word {
    unsigned groups; /* 1 << GROUP_… of letters and of digits that are not ASCII */
    uint32_t letters, latin, styled, wide, raised, rare;
    uint32_t lookalikes, strict, others; /* not Latin: that look like ASCII letters, very much so, and that do not */
    uint32_t soft, since_soft;
    bool greek_edge, greek_inside; /* a Greek letter among Latin ones, before and not before another letter */
    bool raised_inside, soft_bad, phonetic; /* phonetic: in /…/ or […] */
};

struct fold {
    struct sg_normal *normal;
    struct sg_slice text;
    enum { LATIN_UNKNOWN, LATIN_SOME, LATIN_NONE } latin; /* whether the text has ASCII letters */
    struct lane *out, *word_lane;
    /* the run that NFKC waits for */
    int32_t run[SG_NFKC_RUN_MAX];
    uint32_t run_at[SG_NFKC_RUN_MAX];
    size_t n_run;
    /* the written word */
    size_t word_start;
    uint32_t word_lookalikes, word_loose, word_ascii, word_others, word_digits, word_signs;
    unsigned word_groups; /* of its look-alikes */
    bool word_open;
    /* the raw view */
    struct raw_word word;
    int32_t previous;           /* the last visible character, -1 at the start */
    struct sg_char previous_is; /* what it is */
    bool after_emoji;           /* an emoji, whatever joins and varies it */
    uint32_t hidden_here;       /* hidden characters since `previous` that ask what comes next */
    uint32_t marks, struck;
    uint32_t n_letters, n_hidden, n_latin, n_cjk, n_rtl, n_wide;
    uint32_t n_embeddings; /* that ask for right-to-left text */
    unsigned honest;       /* groups of scripts with a word that looks like no ASCII word */
    unsigned spoofed;      /* … and with one that does */
    /* tags and variation selectors */
    char tags[TAGS_MAX];
    uint32_t n_tags, tags_at;
    bool tags_flag;
    uint32_t n_selectors;
};

static bool is_selector(int32_t code)
{
    return (code >= VS1 && code <= VS16) || (code >= VS17 && code <= VS256);
}

static bool is_bidi(int32_t code)
{
    return code == LRM || code == RLM || code == ALM || (code >= LRE && code <= RLO) || (code >= LRI && code <= PDI);
}

/* Scripts whose spelling needs joiners. */
static bool joins(uint8_t group)
{
    return group == GROUP_ARABIC || group == GROUP_INDIC || group == GROUP_SEA;
}

static void found(struct fold *fold, unsigned signal, bool evasive)
{
    fold->normal->signals |= signal;
    fold->normal->evasive |= evasive;
}

/* --- the written view -------------------------------------------------------------------------------------- */

static void copy_tail(struct lane *to, const struct lane *from, size_t start)
{
    size_t n = from->len - start;
    if (n == 0 || from->failed || !sg_lane_reserve(to, n))
        return;
    memcpy(to->text + to->len, from->text + start, n);
    memcpy(to->kinds + to->len, from->kinds + start, n);
    if (to->want_offsets)
        memcpy(to->offsets + to->len, from->offsets + start, n * sizeof *to->offsets);
    to->len += n;
}

/* Without an ASCII letter in the whole text words of other scripts are what they are. */
static bool has_ascii_letters(struct fold *fold)
{
    for (size_t i = 0; i < fold->text.len && fold->latin == LATIN_UNKNOWN; i++) {
        unsigned char c = (unsigned char)fold->text.ptr[i] | 32;
        if (c >= 'a' && c <= 'z')
            fold->latin = LATIN_SOME;
    }
    if (fold->latin == LATIN_UNKNOWN)
        fold->latin = LATIN_NONE;
    return fold->latin == LATIN_SOME;
}

static void end_word(struct fold *fold)
{
    if (!fold->word_open)
        return;
    fold->word_open = false;
    bool price = fold->word_signs && fold->word_digits;
    bool mixed = fold->word_groups & (fold->word_groups - 1);
    bool looks_ascii = !fold->word_others && (!fold->word_loose || mixed) && !price;
    if (fold->word_lookalikes && (fold->word_ascii ? !price : looks_ascii && has_ascii_letters(fold))) {
        fold->out->len = fold->word_start;
        copy_tail(fold->out, fold->word_lane, 0);
    }
}

static void put_both(struct fold *fold, const char *bytes, size_t n, enum kind kind, uint32_t offset)
{
    sg_lane_put(fold->out, bytes, n, kind, offset);
    if (fold->word_open && fold->word_lookalikes)
        sg_lane_put(fold->word_lane, bytes, n, kind, offset);
}

static void open_word(struct fold *fold)
{
    if (fold->word_open)
        return;
    fold->word_open = true;
    fold->word_start = fold->out->len;
    fold->word_lookalikes = fold->word_loose = fold->word_ascii = fold->word_others = 0;
    fold->word_digits = fold->word_signs = fold->word_groups = 0;
}

/* ASCII text `bytes` for a character that was one letter: its first byte has the case. */
static void put_ascii(struct fold *fold, const char *bytes, bool upper, uint32_t offset)
{
    for (size_t i = 0; i < 3 && bytes[i]; i++) {
        char c = bytes[i];
        bool letter = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
        if (letter || digit) {
            open_word(fold);
            fold->word_ascii += letter;
            fold->word_digits += digit;
        } else {
            end_word(fold);
        }
        enum kind kind = letter ? (upper ? KIND_UPPER : KIND_LOWER) : digit ? KIND_DIGIT : KIND_PUNCT;
        put_both(fold, &c, 1, kind, offset);
    }
}

static enum kind kind_of_ascii(int32_t code, bool upper)
{
    if (code >= 'a' && code <= 'z')
        return upper ? KIND_UPPER : KIND_LOWER;
    if (code >= '0' && code <= '9')
        return KIND_DIGIT;
    if (code <= ' ')
        return KIND_SPACE;
    return strchr("@$!|+", code) ? KIND_SIGN : KIND_PUNCT;
}

/* A character that has a look-alike which counts only in words with ASCII letters. */
static void put_lookalike(struct fold *fold, int32_t code, const char *ascii, bool upper, bool letter,
                          uint32_t offset)
{
    open_word(fold);
    if (fold->word_lookalikes++ == 0) {
        fold->word_lane->len = 0;
        copy_tail(fold->word_lane, fold->out, fold->word_start);
    }
    sg_lane_put_code(fold->out, code, letter ? KIND_LETTER : KIND_PUNCT, offset);
    for (size_t i = 0; i < 3 && ascii[i]; i++)
        sg_lane_put(fold->word_lane, ascii + i, 1, kind_of_ascii(ascii[i], upper), offset);
    fold->word_signs += !letter;
}

/* One character of what NFKC case-fold gave. `raw` is where it came from when it came from one character, else 0. */
static void write_code(struct fold *fold, int32_t code, int32_t raw, bool upper, uint32_t offset)
{
    if (code < 128) {
        enum kind kind = kind_of_ascii(code, upper);
        char c = (char)code;
        if (kind >= KIND_DIGIT) {
            open_word(fold);
            fold->word_ascii += kind != KIND_DIGIT;
            fold->word_digits += kind == KIND_DIGIT;
        } else {
            end_word(fold);
        }
        put_both(fold, &c, 1, kind, offset);
        return;
    }
    struct sg_char is = sg_char_of(code);
    if ((is.flags & CHAR_MARK) && is.group == GROUP_INHERITED)
        return; /* it did not compose: decoration, or a vowel point */
    if (code == TATWEEL)
        return;
    unsigned strength = LOOKALIKE_LOOSE;
    const char *ascii = NULL;
    if (raw && (sg_char_of(raw).flags & CHAR_LOOKALIKE))
        ascii = sg_lookalike(raw, &strength);
    if (!ascii && (is.flags & CHAR_LOOKALIKE))
        ascii = sg_lookalike(code, &strength);
    if (!ascii && is.group == GROUP_LATIN && (is.flags & CHAR_DECOMPOSES)) {
        int32_t base = sg_nfkc_base(code);
        if (base < 128) {
            char plain[3] = {(char)base, 0, 0};
            put_ascii(fold, plain, upper, offset);
            return;
        }
    }
    if (ascii && strength == LOOKALIKE_DIRECT) {
        put_ascii(fold, ascii, upper, offset);
        return;
    }
    bool letter = is.flags & CHAR_LETTER;
    if (ascii) {
        put_lookalike(fold, code, ascii, upper, letter, offset);
        fold->word_loose += strength == LOOKALIKE_LOOSE;
        fold->word_groups |= 1u << is.group;
        return;
    }
    if (is.flags & CHAR_SPACE) {
        end_word(fold);
        put_both(fold, " ", 1, KIND_SPACE, offset);
        return;
    }
    char bytes[8];
    struct sg_buffer utf8 = {bytes, 0, sizeof bytes, false};
    sg_utf8_encode(code, &utf8);
    enum kind kind = is.flags & CHAR_MARK ? KIND_CONT : letter ? KIND_LETTER : KIND_PUNCT;
    if (letter) {
        open_word(fold);
        fold->word_others++;
    } else if (kind != KIND_CONT) {
        end_word(fold);
    }
    put_both(fold, bytes, utf8.len, kind, offset);
}

static void flush(struct fold *fold)
{
    if (fold->n_run == 0)
        return;
    bool upper = sg_char_of(fold->run[0]).flags & CHAR_UPPER;
    if (fold->n_run == 1 && fold->run[0] < 128) {
        int32_t code = fold->run[0];
        write_code(fold, upper ? code + 32 : code, 0, upper, fold->run_at[0]);
    } else {
        int32_t folded[SG_NFKC_OUT_MAX];
        size_t n = sg_nfkc_run(fold->run, fold->n_run, folded);
        for (size_t i = 0; i < n; i++)
            write_code(fold, folded[i], fold->n_run == 1 ? fold->run[0] : 0, upper, fold->run_at[0]);
    }
    fold->n_run = 0;
}

static void push(struct fold *fold, int32_t code, struct sg_char is, uint32_t offset)
{
    if (!(is.flags & CHAR_COMBINES) || fold->n_run == SG_NFKC_RUN_MAX)
        flush(fold);
    fold->run[fold->n_run] = code;
    fold->run_at[fold->n_run++] = offset;
}

/* --- words of the raw text ---------------------------------------------------------------------------------- */

static void end_raw_word(struct fold *fold)
{
    struct raw_word *word = &fold->word;
    if (word->letters == 0 && word->styled == 0) {
        *word = (struct raw_word){0};
        return;
    }
    unsigned alphabets = word->groups & (1u << GROUP_GREEK | 1u << GROUP_CYRILLIC | 1u << GROUP_OTHER);
    if (alphabets && (word->groups & 1u << GROUP_LATIN)) {
        /* μm, TNFα, Δx: a Greek letter at an end of the word is a symbol. */
        bool symbol = alphabets == 1u << GROUP_GREEK && !word->greek_inside;
        if (!symbol)
            found(fold, SG_SIGNAL_MIXED_SCRIPT, true);
    } else if (alphabets & (alphabets - 1)) {
        found(fold, SG_SIGNAL_MIXED_SCRIPT, true);
    }
    uint32_t plain = word->latin - word->styled;
    if (word->styled > 1 || (word->styled && plain)) {
        /* Mᵐᵉ, 1ˢᵗ: a few raised letters at the end. Wide letters wait for the end of the text. */
        bool raised = word->raised == word->styled && word->raised < 4 && !word->raised_inside;
        bool wide = word->wide == word->styled && !plain;
        if (!raised && !wide)
            found(fold, SG_SIGNAL_STYLED_LETTERS, plain || word->styled >= 3);
    }
    if (word->rare && word->latin > word->rare && !word->phonetic)
        found(fold, SG_SIGNAL_CONFUSABLES, true);
    if (word->soft > 1 && word->soft_bad)
        found(fold, SG_SIGNAL_HIDDEN_CHARACTERS, true);
    if (alphabets && !(word->groups & 1u << GROUP_LATIN)) {
        if (word->others)
            fold->honest |= alphabets;
        else if (word->lookalikes > 1 || (word->strict && alphabets & 1u << GROUP_CYRILLIC))
            fold->spoofed |= alphabets;
    }
    *word = (struct raw_word){0};
}

/* Greek letters that are used as symbols beside Latin ones. */
static bool greek_symbol(int32_t code)
{
    static const uint16_t other[] = {0x3B1, 0x3B2, 0x3B3, 0x3B4, 0x3B5, 0x3B6, 0x3B8, 0x3BB,
                                     0x3BC, 0x3C0, 0x3C3, 0x3C6, 0x3C8, 0x3C9, 0x394, 0x3A3,
                                     0x3A9, 0x3A6, 0x3A8, 0x39B, 0x398, 0x393, 0x3A0};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        if (code == other[i])
            return true;
    }
    return false;
}

static bool is_raised(int32_t code)
{
    return (code >= 0x2B0 && code < 0x300) || (code >= 0x1D2C && code < 0x1DC0) || (code >= 0x2070 && code < 0x20A0);
}

static void raw_styled(struct fold *fold, int32_t code)
{
    struct raw_word *word = &fold->word;
    word->styled++;
    word->raised += is_raised(code);
    if (code >= 0xFF21 && code <= 0xFF5A) {
        word->wide++;
        fold->n_wide++;
    }
}

static void raw_letter(struct fold *fold, int32_t code, struct sg_char is)
{
    struct raw_word *word = &fold->word;
    bool styled = is.flags & CHAR_STYLED;
    uint8_t group = styled ? GROUP_LATIN : is.group;
    if (word->letters++ == 0)
        word->phonetic = fold->previous == '/' || fold->previous == '[';
    word->since_soft++;
    fold->n_letters++;
    word->greek_inside |= word->greek_edge;
    word->greek_edge = false;
    word->raised_inside |= word->raised && !styled;
    if (group != GROUP_COMMON && group != GROUP_INHERITED)
        word->groups |= 1u << group;
    word->latin += group == GROUP_LATIN;
    fold->n_latin += group == GROUP_LATIN && !styled;
    fold->n_cjk += group == GROUP_CJK;
    fold->n_rtl += group == GROUP_ARABIC || group == GROUP_HEBREW;
    word->rare += (is.flags & CHAR_RARE) != 0;
    if (styled)
        raw_styled(fold, code);
    if (group == GROUP_GREEK) {
        word->greek_edge = word->groups & 1u << GROUP_LATIN;
        word->greek_inside |= !greek_symbol(code);
    }
    unsigned strength;
    if (group != GROUP_LATIN && (is.flags & CHAR_LOOKALIKE) && sg_lookalike(code, &strength)) {
        word->lookalikes++;
        word->strict += strength == LOOKALIKE_STRICT;
    } else {
        word->others += group != GROUP_LATIN;
    }
}

/* --- hidden characters --------------------------------------------------------------------------------------- */

static void end_tags(struct fold *fold)
{
    static const char flags[][6] = {"gbeng", "gbsct", "gbwls"};
    if (fold->n_tags == 0)
        return;
    bool flag = false;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        flag |= fold->tags_flag && fold->n_tags == 5 && memcmp(fold->tags, flags[i], 5) == 0;
    if (flag)
        fold->normal->work->smuggled.len -= 5;
    else
        found(fold, SG_SIGNAL_SMUGGLED_TEXT, true);
    fold->n_tags = 0;
}

static void see_tag(struct fold *fold, int32_t code, uint32_t offset)
{
    if (code == TAG_END || code < TAG_BASE + 32) {
        end_tags(fold);
        if (!fold->after_emoji)
            found(fold, SG_SIGNAL_HIDDEN_CHARACTERS, false);
        return;
    }
    char c = (char)(code - TAG_BASE);
    if (fold->n_tags == 0)
        fold->tags_flag = fold->previous == BLACK_FLAG;
    if (fold->n_tags < TAGS_MAX)
        fold->tags[fold->n_tags] = c;
    fold->n_tags++;
    sg_lane_put(&fold->normal->work->smuggled, &c, 1, KIND_LETTER, offset);
}

/* A variation selector: one is ordinary on what can vary; more carry bytes. */
static void see_selector(struct fold *fold, int32_t code, uint32_t offset)
{
    fold->n_selectors++;
    bool presentation = code == VS15 || code == VS16, ideographic = code >= VS17;
    struct sg_char base = fold->previous_is;
    bool ordinary = presentation
                        ? fold->after_emoji || (fold->previous >= 0 && !(base.flags & (CHAR_LETTER | CHAR_SPACE)))
                    : ideographic ? base.group == GROUP_CJK
                                  : base.group != GROUP_LATIN && fold->previous >= 0;
    if (ordinary && fold->n_selectors == 1)
        return;
    if (presentation && fold->n_selectors <= SMUGGLED_RUN + 1) {
        found(fold, SG_SIGNAL_HIDDEN_CHARACTERS, false);
        fold->hidden_here++;
        return;
    }
    unsigned char byte = (unsigned char)(ideographic ? code - VS17 + 16 : code - VS1);
    if (fold->n_selectors >= SMUGGLED_RUN || ideographic) {
        sg_lane_put(&fold->normal->work->smuggled, (const char *)&byte, 1, KIND_LETTER, offset);
        found(fold, SG_SIGNAL_SMUGGLED_TEXT, true);
    } else {
        found(fold, SG_SIGNAL_HIDDEN_CHARACTERS, false);
        fold->hidden_here++;
    }
}

static void see_bidi(struct fold *fold, int32_t code)
{
    if (code == LRO || code == RLO) {
        found(fold, SG_SIGNAL_BIDI_CONTROLS, true);
        return;
    }
    fold->n_embeddings += code < LRI; /* isolates stand around names in any text */
    fold->hidden_here++;
}

/* A character of no width, or a control character. */
static void see_hidden(struct fold *fold, int32_t code, uint32_t offset)
{
    if (code >= TAG_BASE && code <= TAG_END) {
        see_tag(fold, code, offset);
        return;
    }
    end_tags(fold);
    if (is_selector(code)) {
        see_selector(fold, code, offset);
        return;
    }
    fold->n_selectors = 0;
    if (is_bidi(code)) {
        see_bidi(fold, code);
        return;
    }
    uint8_t group = fold->previous >= 0 ? fold->previous_is.group : GROUP_COMMON;
    if (code == SHY) {
        fold->word.soft_bad |= fold->word.soft > 0 && fold->word.since_soft < 2;
        fold->word.soft++;
        fold->word.since_soft = 0;
        fold->n_hidden += fold->word.soft > 1;
        return;
    }
    if ((code == ZWJ && fold->after_emoji) || (code == BOM && offset == 0) ||
        ((code == ZWJ || code == ZWNJ) && joins(group)) ||
        (code == ZWSP && (group == GROUP_SEA || group == GROUP_CJK))) {
        fold->n_hidden += code != BOM && !fold->after_emoji;
        return;
    }
    found(fold, SG_SIGNAL_HIDDEN_CHARACTERS, false);
    fold->n_hidden++;
    fold->hidden_here++;
}

/* --- the raw view ------------------------------------------------------------------------------------------- */

static void see_mark(struct fold *fold, int32_t code, struct sg_char is)
{
    if (is.group != GROUP_INHERITED || code == KEYCAP)
        return;
    fold->marks++;
    bool strikes =
        (code >= 0x334 && code <= 0x338) || (code >= 0x20D0 && code <= 0x20E0) || code == 0x20E5 || code == 0x20EB;
    fold->struck += strikes && (fold->previous_is.flags & CHAR_LETTER);
    if (fold->marks == MARKS_STACKED || fold->struck == STRUCK)
        found(fold, SG_SIGNAL_COMBINING_MARKS, true);
}

/* A visible character that is no mark. */
static void see_base(struct fold *fold, int32_t code, struct sg_char is)
{
    bool styled = is.flags & CHAR_STYLED;
    bool letter = (is.flags & CHAR_LETTER) || styled;
    bool digit = is.flags & CHAR_DIGIT;
    if (fold->hidden_here) {
        bool before = fold->previous >= 0 && (fold->previous_is.flags & (CHAR_LETTER | CHAR_STYLED | CHAR_DIGIT));
        uint8_t a = fold->previous_is.group, b = is.group;
        bool ordinary = (a == GROUP_ARABIC || a == GROUP_HEBREW) != (b == GROUP_ARABIC || b == GROUP_HEBREW);
        if (before && (letter || digit) && !ordinary && !(fold->previous_is.flags & CHAR_DIGIT && digit))
            found(fold, SG_SIGNAL_HIDDEN_CHARACTERS, true);
        fold->hidden_here = 0;
    }
    fold->marks = 0;
    fold->n_selectors = 0;
    end_tags(fold);
    if (letter) {
        raw_letter(fold, code, is);
    } else if (digit && code >= 128) {
        if (is.group != GROUP_COMMON)
            fold->word.groups |= 1u << (is.group == GROUP_LATIN ? GROUP_COMMON : GROUP_OTHER);
    } else if (!digit) {
        end_raw_word(fold);
    }
    fold->after_emoji = is.flags & CHAR_EMOJI;
    fold->previous = code;
    fold->previous_is = is;
}

static void end_text(struct fold *fold)
{
    end_raw_word(fold);
    end_tags(fold);
    flush(fold);
    end_word(fold);
    struct sg_normal *normal = fold->normal;
    if (fold->n_embeddings && fold->n_rtl == 0)
        normal->signals |= SG_SIGNAL_BIDI_CONTROLS;
    if (fold->n_hidden > HIDDEN_FREE && fold->n_hidden > fold->n_letters / HIDDEN_LETTERS)
        found(fold, SG_SIGNAL_HIDDEN_CHARACTERS, true);
    if (fold->n_wide > 1 && fold->n_cjk == 0)
        found(fold, SG_SIGNAL_STYLED_LETTERS, true);
    /* A Latin text with words of another script that all look Latin, and none that does not. */
    if (fold->n_latin && (fold->spoofed & ~fold->honest))
        found(fold, SG_SIGNAL_CONFUSABLES, true);
}

void sg_fold_text(struct sg_slice text, struct sg_normal *normal)
{
    struct fold fold = {.normal = normal,
                        .text = text,
                        .out = &normal->work->lanes[SG_READING_FOLDED],
                        .word_lane = &normal->work->word,
                        .previous = -1};
    sg_lane_reserve(fold.out, text.len);
    for (size_t at = 0; at < text.len;) {
        int32_t code = (unsigned char)text.ptr[at];
        uint32_t offset = (uint32_t)at;
        size_t n = code < 128 ? 1 : sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
        at += n;
        code = code < 0 ? 0xFFFD : code;
        struct sg_char is = sg_char_of(code);
        if (is.flags & (CHAR_IGNORABLE | CHAR_CONTROL)) {
            see_hidden(&fold, code, offset);
            continue;
        }
        if (is.flags & CHAR_MARK)
            see_mark(&fold, code, is);
        else
            see_base(&fold, code, is);
        push(&fold, code, is, offset);
    }
    end_text(&fold);
}
