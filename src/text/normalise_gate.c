/* The evasion gate on the folded reading: letters written one by one (i d i o t, i.d.i.o.t) and digits or signs for
 * letters (n1gg3r, @ss), with the reading that undoes each.
 *
 * One pass over the kinds of bytes cuts the text into tokens at spaces; only tokens that mix letters with digits,
 * signs or punctuation are looked at closely. */
#include "text/normalise_internal.h"

#include <stdlib.h>
#include <string.h>

/* --- letters one by one ------------------------------------------------------------------------------------- */

/* At least so many letters make a reading and a reason to escalate; two words of CHAIN_SHORT do too. */
#define CHAIN_MIN 4
#define CHAIN_SHORT 3
#define CHAIN_DISTINCT 3
/* Dotted capitals are an acronym up to this length (U.N.I.C.E.F.). */
#define ACRONYM_MAX 6
#define SEPARATOR_MAX 8
#define CHAINS_MAX 65536

struct letters {
    size_t start, end; /* of the chain so far, in bytes */
    size_t n, n_upper, n_sequent;
    uint32_t seen; /* letters a–z, and others by a hash */
    int last;
    size_t gap, gap_max;
};

struct gate {
    struct sg_normal *normal;
    struct lane *text;
    struct letters spaced;
    size_t n_short;
    /* leet */
    size_t n_tokens, n_leet, n_weak;
};

static unsigned n_bits(uint32_t x)
{
    return (unsigned)__builtin_popcount(x);
}

/* Bytes of the character at i. */
static size_t char_len(const struct lane *text, size_t i)
{
    size_t n = 1;
    while (i + n < text->len && text->kinds[i + n] == KIND_CONT)
        n++;
    return n;
}

static void add_letter(struct letters *chain, const struct lane *text, size_t i, size_t n)
{
    int letter = n == 1 ? (unsigned char)text->text[i] - 'a' : -1;
    if (chain->n == 0)
        chain->start = i;
    if (letter >= 0 && letter < 26) {
        chain->seen |= 1u << letter;
        chain->n_sequent += chain->n > 0 && letter == chain->last + 1;
    } else {
        unsigned hash = 0;
        for (size_t k = 0; k < n; k++)
            hash = hash * 31 + (unsigned char)text->text[i + k];
        chain->seen |= 1u << hash % 32;
    }
    chain->last = letter >= 0 && letter < 26 ? letter : -2;
    chain->n_upper += text->kinds[i] == KIND_UPPER;
    chain->n++;
    chain->end = i + n;
}

/* a b c d, or the same letter again and again. */
static bool is_list(const struct letters *chain)
{
    return n_bits(chain->seen) < CHAIN_DISTINCT || chain->n_sequent + 2 > chain->n;
}

static void keep_chain(struct gate *gate, const struct letters *chain, bool spaced)
{
    struct sg_normal_work *work = gate->normal->work;
    if (work->n_chains == work->cap_chains) {
        size_t cap = work->cap_chains ? work->cap_chains * 2 : 16;
        struct chain *bigger = cap > CHAINS_MAX ? NULL : realloc(work->chains, cap * sizeof *bigger);
        if (!bigger) {
            work->failed |= cap <= CHAINS_MAX;
            return; /* beyond CHAINS_MAX the rest of the text stays spaced in the reading */
        }
        work->chains = bigger;
        work->cap_chains = cap;
    }
    work->chains[work->n_chains++] = (struct chain){chain->start, chain->end, spaced, chain->gap};
}

/* u, r, c, 2: single letters that stand for words. */
static bool textspeak(const struct letters *chain)
{
    static const char words[] = "abceinoruxy";
    uint32_t mask = 0;
    for (const char *c = words; *c; c++)
        mask |= 1u << (*c - 'a');
    return chain->n <= CHAIN_MIN && !(chain->seen & ~mask);
}

static void end_spaced(struct gate *gate)
{
    struct letters *chain = &gate->spaced;
    if (chain->n >= CHAIN_SHORT && n_bits(chain->seen) > 1)
        keep_chain(gate, chain, true);
    if (chain->n >= CHAIN_MIN && !is_list(chain) && !textspeak(chain)) {
        gate->normal->signals |= SG_SIGNAL_LETTER_SPACING;
        gate->normal->evasive = true;
    }
    *chain = (struct letters){0};
}

static void end_joined(struct gate *gate, struct letters *chain, char separator)
{
    if (chain->n >= CHAIN_SHORT && n_bits(chain->seen) > 1)
        keep_chain(gate, chain, false);
    if (chain->n >= CHAIN_MIN && !is_list(chain)) {
        bool capitals = chain->n_upper == chain->n;
        bool acronym = separator == '.' && capitals && chain->n <= ACRONYM_MAX;
        gate->normal->signals |= SG_SIGNAL_LETTER_SPACING;
        gate->normal->evasive |= !acronym;
    } else if (chain->n == CHAIN_SHORT && chain->n_upper < chain->n && !is_list(chain)) {
        gate->n_short++;
    }
    *chain = (struct letters){0};
}

/* Chains inside a token: single letters with one and the same separator between them. */
static void joined_letters(struct gate *gate, size_t start, size_t end)
{
    const struct lane *text = gate->text;
    struct letters chain = {0};
    size_t sep = 0, sep_len = 0; /* the chain's separator */
    for (size_t i = start; i < end;) {
        if (!(KIND_BIT(text->kinds[i]) & (KIND_LETTERS | KIND_BIT(KIND_DIGIT)))) {
            i += char_len(text, i);
            continue;
        }
        size_t run = i, n = 0, first = 0;
        while (i < end && (KIND_BIT(text->kinds[i]) & (KIND_LETTERS | KIND_BIT(KIND_DIGIT)))) {
            size_t len = char_len(text, i);
            first = n++ ? first : len;
            i += len;
        }
        bool letter = KIND_BIT(text->kinds[run]) & KIND_LETTERS;
        size_t gap = run - chain.end;
        bool follows =
            chain.n > 0 && gap <= SEPARATOR_MAX &&
            (chain.n == 1 || (gap == sep_len && memcmp(text->text + chain.end, text->text + sep, gap) == 0));
        if (n != 1 || !letter || !follows)
            end_joined(gate, &chain, sep_len ? text->text[sep] : 0);
        if (n != 1 || !letter)
            continue;
        if (chain.n == 1) {
            sep = chain.end;
            sep_len = gap;
        }
        add_letter(&chain, text, run, first);
    }
    end_joined(gate, &chain, sep_len ? text->text[sep] : 0);
}

/* --- leet ---------------------------------------------------------------------------------------------------- */

#define LEET_MAX 24 /* longer runs of letters and digits are codes */

/* What a digit or sign stands for; 0: nothing. '1' and '|' depend on what is around them. */
static char leet_letter(char c)
{
    switch (c) {
    case '0':
        return 'o';
    case '1':
    case '!':
    case '|':
        return 'i';
    case '3':
        return 'e';
    case '4':
    case '@':
        return 'a';
    case '5':
    case '$':
        return 's';
    case '7':
    case '+':
        return 't';
    case '8':
        return 'b';
    case '9':
    case '6':
        return 'g';
    default:
        return 0;
    }
}

static bool is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}

/* A run of letters, digits and signs. */
struct run {
    size_t start, end;
    unsigned n_letters, n_upper, n_digits, n_signs, n_hex, n_other;
    unsigned n_groups, n_inner, n_strong;
};

static bool is_letter(const struct lane *text, size_t i)
{
    return KIND_BIT(text->kinds[i]) & (KIND_LETTERS | KIND_BIT(KIND_CONT));
}

static bool tail_is(const struct lane *text, size_t at, size_t end, const char *const *words)
{
    for (; *words; words++) {
        size_t n = strlen(*words);
        if (end - at == n && memcmp(text->text + at, *words, n) == 0)
            return true;
    }
    return false;
}

/* One group of digits and signs text[at, end) of the run. */
static void leet_group(const struct lane *text, struct run *run, size_t at, size_t end)
{
    static const char *const ordinary[] = {"s",  "st", "nd",  "rd",  "th",   "am",  "pm", "x",  "k",  "m",
                                           "d",  "p",  "g",   "mb",  "gb",   "kg",  "km", "cm", "mm", "ml",
                                           "hz", "hr", "hrs", "min", "mins", "ers", "er", NULL};
    run->n_groups++;
    bool inner = at > run->start && end < run->end;
    size_t n = end - at;
    const char *s = text->text;
    for (size_t i = at; i < end; i++) {
        if (!leet_letter(s[i]))
            return;
    }
    if (!inner)
        return;
    run->n_inner++;
    if (text->kinds[at] == KIND_DIGIT && tail_is(text, end, run->end, ordinary))
        return;
    char before = s[at - 1], after = s[end], c = s[at];
    bool same = true;
    for (size_t i = at + 1; i < end; i++)
        same &= s[i] == c;
    bool vowels = c == '0' || c == '1' || c == '3' || c == '4' || c == '@' || c == '!';
    if (text->kinds[at] == KIND_SIGN) {
        /* wow!that is a missing space: left of a letter's sign no word has ended yet */
        bool left_vowel = false;
        for (size_t i = run->start; i < at; i++)
            left_vowel |= is_vowel(s[i]);
        run->n_strong += (c == '@' || c == '$' || (c == '!' && !left_vowel)) && n <= 2;
    } else if (n == 1 && vowels) {
        run->n_strong += !is_vowel(before) && !is_vowel(after);
    } else if (n == 1) {
        run->n_strong += c == '5' || c == '7';
    } else {
        run->n_strong += n == 2 && same && c != '8' && c != '6' && c != '9';
    }
}

static struct run measure(const struct lane *text, size_t start, size_t end)
{
    struct run run = {.start = start, .end = end};
    for (size_t i = start; i < end;) {
        enum kind kind = text->kinds[i];
        if (kind == KIND_DIGIT || kind == KIND_SIGN) {
            size_t group = i;
            while (i < end && (text->kinds[i] == KIND_DIGIT || text->kinds[i] == KIND_SIGN)) {
                run.n_digits += text->kinds[i] == KIND_DIGIT;
                run.n_signs += text->kinds[i] == KIND_SIGN;
                i++;
            }
            leet_group(text, &run, group, i);
            continue;
        }
        char c = text->text[i];
        run.n_letters += kind != KIND_CONT;
        run.n_upper += kind == KIND_UPPER;
        run.n_other += kind == KIND_LETTER;
        run.n_hex += c >= 'a' && c <= 'f';
        i++;
    }
    return run;
}

static void leet_run(struct gate *gate, size_t start, size_t end)
{
    const struct lane *text = gate->text;
    while (end > start && text->kinds[end - 1] == KIND_SIGN)
        end--; /* "what!" */
    if (end - start < 3 || end - start > LEET_MAX)
        return;
    struct run run = measure(text, start, end);
    if (run.n_letters == 0 || run.n_groups == 0 || run.n_other)
        return;
    bool hex = run.n_hex == run.n_letters && run.n_digits >= run.n_letters && end - start >= 4;
    bool code = run.n_upper && run.n_upper < run.n_letters && !(run.n_upper == 1 && text->kinds[start] == KIND_UPPER);
    bool short_code = run.n_upper == run.n_letters && run.n_letters < 3;
    if (hex || code || short_code)
        return;
    gate->n_leet += run.n_strong > 0 && run.n_letters > 1;
    gate->n_weak += run.n_strong == 0 && (run.n_inner || run.n_groups > 1);
}

/* The runs of a token. Addresses are no leet. */
static void leet_token(struct gate *gate, size_t start, size_t end)
{
    const struct lane *text = gate->text;
    size_t at_sign = SIZE_MAX;
    for (size_t i = start; i < end; i++) {
        char c = text->text[i];
        if (c == '@')
            at_sign = i;
        if ((c == ':' && i + 2 < end && text->text[i + 1] == '/' && text->text[i + 2] == '/') ||
            (c == '.' && at_sign != SIZE_MAX && i > at_sign + 1 && i + 1 < end && is_letter(text, i + 1)) ||
            (c == 'w' && end - i > 4 && memcmp(text->text + i, "www.", 4) == 0) || c == '_' || c == '=' || c == '%')
            return;
    }
    const unsigned part = KIND_LETTERS | KIND_BIT(KIND_CONT) | KIND_BIT(KIND_DIGIT) | KIND_BIT(KIND_SIGN);
    for (size_t i = start; i < end;) {
        if (!(KIND_BIT(text->kinds[i]) & part)) {
            i++;
            continue;
        }
        size_t run = i;
        while (i < end && (KIND_BIT(text->kinds[i]) & part))
            i++;
        leet_run(gate, run, i);
    }
}

/* --- readings -------------------------------------------------------------------------------------------------- */

static void copy(const struct lane *from, size_t i, char c, struct lane *to)
{
    if (!sg_lane_reserve(to, 1))
        return;
    to->text[to->len] = c;
    to->kinds[to->len] = from->kinds[i];
    if (to->want_offsets)
        to->offsets[to->len] = from->offsets[i];
    to->len++;
}

static void read_leet(const struct lane *text, struct lane *out)
{
    for (size_t i = 0; i < text->len; i++) {
        char c = text->text[i];
        bool before = i > 0 && (is_letter(text, i - 1) || leet_letter(text->text[i - 1]));
        bool after = i + 1 < text->len && (is_letter(text, i + 1) || leet_letter(text->text[i + 1]));
        char letter = text->kinds[i] == KIND_DIGIT || text->kinds[i] == KIND_SIGN ? leet_letter(c) : 0;
        if (letter && (c == '!' ? before && after : before || after)) {
            bool ell = (c == '1' || c == '|') && i > 0 && i + 1 < text->len && is_vowel(text->text[i + 1]) &&
                       (is_vowel(text->text[i - 1]) || strchr("sbcfgp", text->text[i - 1]));
            c = ell ? 'l' : letter;
        }
        copy(text, i, c, out);
    }
}

static void read_chain(const struct lane *text, const struct chain *chain, struct lane *out)
{
    size_t spaces = 0;
    bool keep = false; /* what goes on a letter, not what goes on a separator */
    for (size_t i = chain->start; i < chain->end; i++) {
        if (text->kinds[i] != KIND_CONT)
            keep = KIND_BIT(text->kinds[i]) & (KIND_LETTERS | KIND_BIT(KIND_DIGIT));
        if (!keep) {
            spaces += text->kinds[i] == KIND_SPACE;
            continue;
        }
        if (chain->spaced && spaces > chain->gap)
            copy(text, i - 1, ' ', out);
        spaces = 0;
        copy(text, i, text->text[i], out);
    }
}

static void read_spacing(const struct sg_normal_work *work, const struct lane *text, struct lane *out)
{
    size_t at = 0;
    for (size_t i = 0; i <= work->n_chains; i++) {
        size_t until = i < work->n_chains ? work->chains[i].start : text->len;
        for (; at < until; at++)
            copy(text, at, text->text[at], out);
        if (i < work->n_chains) {
            read_chain(text, &work->chains[i], out);
            at = work->chains[i].end;
        }
    }
}

/* --- the pass ----------------------------------------------------------------------------------------------------
 */

/* A token for the spaced chain: one letter, with or without punctuation around it. */
static void spaced_token(struct gate *gate, size_t start, size_t end, unsigned kinds, size_t gap)
{
    const struct lane *text = gate->text;
    struct letters *chain = &gate->spaced;
    size_t letter = SIZE_MAX, len = 0, n = 0;
    for (size_t i = start; i < end && end - start <= SEPARATOR_MAX;) {
        size_t bytes = char_len(text, i);
        if (KIND_BIT(text->kinds[i]) & KIND_LETTERS) {
            letter = i;
            len = bytes;
            n++;
        }
        i += bytes;
    }
    if (n != 1 || (kinds & KIND_BIT(KIND_DIGIT))) {
        end_spaced(gate);
        return;
    }
    if (chain->n > 0 && (chain->gap == 0 || gap < chain->gap))
        chain->gap = gap;
    add_letter(chain, text, letter, len);
}

void sg_gate(struct sg_normal *normal)
{
    struct sg_normal_work *work = normal->work;
    struct gate gate = {.normal = normal, .text = &work->lanes[SG_READING_FOLDED]};
    const uint8_t *kinds = gate.text->kinds;
    size_t len = gate.text->len, i = 0;
    while (i < len) {
        size_t space = i;
        while (i < len && kinds[i] == KIND_SPACE)
            i++;
        size_t start = i, gap = start - space;
        unsigned seen = 0;
        while (i < len && kinds[i] != KIND_SPACE)
            seen |= KIND_BIT(kinds[i++]);
        if (i == start)
            break;
        if (i - start <= SEPARATOR_MAX && (seen & KIND_LETTERS))
            spaced_token(&gate, start, i, seen, gap);
        else if (gate.spaced.n)
            end_spaced(&gate);
        if (!(seen & KIND_LETTERS))
            continue;
        if (seen & (KIND_BIT(KIND_PUNCT) | KIND_BIT(KIND_SIGN)) && i - start > 4)
            joined_letters(&gate, start, i);
        if (seen & (KIND_BIT(KIND_DIGIT) | KIND_BIT(KIND_SIGN)))
            leet_token(&gate, start, i);
    }
    end_spaced(&gate);
    if (gate.n_short > 1) {
        normal->signals |= SG_SIGNAL_LETTER_SPACING;
        normal->evasive = true;
    }
    if (gate.n_leet) {
        normal->signals |= SG_SIGNAL_LEET;
        normal->evasive = true;
    }
    if (normal->signals & SG_SIGNAL_LEET)
        read_leet(gate.text, &work->lanes[SG_READING_LEET]);
    if (normal->signals & SG_SIGNAL_LETTER_SPACING)
        read_spacing(work, gate.text, &work->lanes[SG_READING_SPACING]);
}
