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
    size_t n_spaced, n_short;
    bool read_spacing;
    size_t n_tokens;
    size_t points, most; /* of leet: in the text, of one run */
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

/* a b c d, x y z, a e i o u, or the same letter again and again. */
static bool is_list(const struct letters *chain)
{
    const uint32_t vowels =
        1u << ('a' - 'a') | 1u << ('e' - 'a') | 1u << ('i' - 'a') | 1u << ('o' - 'a') | 1u << ('u' - 'a');
    return n_bits(chain->seen) < CHAIN_DISTINCT || chain->n_sequent * 2 >= chain->n || !(chain->seen & ~vowels);
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
    gate->n_spaced += chain->n >= CHAIN_MIN && !is_list(chain) && !textspeak(chain);
    *chain = (struct letters){0};
}

/* a.k.a., w.r.t. */
static bool is_abbreviation(const struct lane *text, const struct letters *chain)
{
    static const char *const known[] = {"a.k.a", "w.r.t", "r.i.p", "q.e.d", "p.p.s", "n.s.f"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (chain->end - chain->start == 5 && memcmp(text->text + chain->start, known[i], 5) == 0)
            return true;
    }
    return false;
}

static void end_joined(struct gate *gate, struct letters *chain, char separator)
{
    if (chain->n >= CHAIN_SHORT && n_bits(chain->seen) > 1)
        keep_chain(gate, chain, false);
    if (chain->n >= CHAIN_MIN && !is_list(chain)) {
        bool capitals = chain->n_upper == chain->n;
        bool acronym = separator == '.' && capitals && chain->n <= ACRONYM_MAX;
        gate->read_spacing = true;
        gate->n_spaced += !acronym;
    } else if (chain->n == CHAIN_SHORT && !strchr("-/,", separator) && chain->n_upper < chain->n && !is_list(chain) &&
               !is_abbreviation(gate->text, chain)) {
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
/* Points of a run of letters, digits and signs: digits between letters are hardly ever ordinary, at an end they are
 * more often so than not. A run with LEET_SURE is evasive, and a text with LEET_MANY that has so many for its words:
 * long texts have some names of models. Chosen on labelled data: tests/e2e/test_normalise.py measures it. */
#define LEET_SURE 20
#define LEET_MANY 10
#define LEET_WORDS 2

/* What a digit or sign stands for; 0: nothing. '1' and '|' depend on what is around them. */
static char leet_letter(char c)
{
    static const char letters[128] = {
        ['0'] = 'o', ['1'] = 'i', ['!'] = 'i', ['|'] = 'i', ['3'] = 'e', ['4'] = 'a', ['@'] = 'a',
        ['5'] = 's', ['$'] = 's', ['7'] = 't', ['+'] = 't', ['8'] = 'b', ['9'] = 'g', ['6'] = 'g'};
    return (unsigned char)c < 128 ? letters[(unsigned char)c] : 0;
}

static bool is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}

static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

/* A run of letters, digits and signs. */
struct run {
    const struct lane *text;
    size_t start, end;
    unsigned n_letters, n_upper, n_hex, n_foreign; /* foreign: letters that are not ASCII */
    unsigned n_digits, n_signs, n_groups;
    bool odd; /* has a digit that stands for no letter */
    unsigned points;
};

static bool is_letter(const struct lane *text, size_t i)
{
    return KIND_BIT(text->kinds[i]) & (KIND_LETTERS | KIND_BIT(KIND_CONT));
}

static bool tail_is_one_of(const struct run *run, size_t at, const char *const *words, size_t n_words)
{
    size_t n = run->end - at;
    for (size_t i = 0; i < n_words; i++) {
        if (strlen(words[i]) == n && memcmp(run->text->text + at, words[i], n) == 0)
            return true;
    }
    return false;
}

#define TAIL_IS_ONE_OF(run, at, words) tail_is_one_of(run, at, words, sizeof(words) / sizeof *(words))

/* What follows a number in ordinary writing: plurals, ordinals, units; the first ones also inside a run (mp3s). */
#define N_UNITS_INSIDE 15
static const char *const units[] = {
    "s",   "st",  "nd",   "rd",  "th",  "am",   "pm",   "mb",  "gb",   "kb", "kg",    "km",   "mins",
    "hrs", "ers", "x",    "k",   "m",   "d",    "p",    "g",   "h",    "b",  "bn",    "tb",   "cm",
    "mm",  "ml",  "hz",   "hr",  "min", "sec",  "secs", "er",  "in",   "ft", "lb",    "lbs",  "oz",
    "yo",  "yr",  "yrs",  "mph", "mah", "w",    "v",    "c",   "f",    "l",  "t",     "i",    "a",
    "usd", "mil", "each", "per", "way", "days", "day",  "bit", "star", "px", "times", "year", "years",
    "e",   "eme", "ere",  "de",  "he",  "der",  "den",  "ste", "te",   "o",  "fps",   "stars"};

/* log4j, mpi4py: a 4 that says "for". */
static const char *const for_what[] = {"j", "py", "js", "net", "u", "me", "x", "all", "life", "ever", "sale", "free"};

static bool has_vowel(const struct run *run, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (is_vowel(run->text->text[i]))
            return true;
    }
    return false;
}

/* md5sum, mp3player: names that end in a digit. */
static bool starts_with_name(const struct run *run, size_t end)
{
    static const char *const names[] = {"md5", "mp3", "mp4", "m4", "w3", "ps3", "ps4", "ps5", "web3", "win7"};
    size_t n = end - run->start;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == n && memcmp(run->text->text + run->start, names[i], n) == 0)
            return true;
    }
    return false;
}

/* Letters stand on both sides of the group text[at, end). */
static unsigned inner_points(const struct run *run, size_t at, size_t end, bool digits, bool signs)
{
    const char *s = run->text->text;
    char c = s[at];
    size_t n = end - at;
    if (digits && signs)
        return LEET_SURE;
    if (signs) {
        if (is_one_of(c, "@$"))
            return n <= 2 ? LEET_SURE : 0;
        if (c == '!') /* "wow!that" is a missing space: what stands in front is a word */
            return n > 1 ? 0 : has_vowel(run, run->start, at) ? 3 : LEET_SURE;
        bool words = at - run->start > 1 && run->end - end > 1 && is_letter(run->text, at - 2) &&
                     is_letter(run->text, end + 1);
        return words ? 5 : 0; /* a+b, x|y */
    }
    if ((c != '0' && n == 1 && tail_is_one_of(run, end, units, N_UNITS_INSIDE)) ||
        (c == '4' && n == 1 && TAIL_IS_ONE_OF(run, end, for_what)) || starts_with_name(run, end))
        return 0;
    if (n == 1 && is_one_of(c, "0134"))
        return !is_vowel(s[at - 1]) && !is_vowel(s[end]) ? LEET_SURE : 12;
    if (n == 1)
        return !is_one_of(c, "57") ? 5 : is_vowel(s[at - 1]) || is_vowel(s[end]) ? LEET_SURE : 12;
    if (n == 2 && run->n_letters < 3) /* a11y, i18n; b00b */
        return c == '0' && s[at + 1] == '0' ? LEET_SURE : 2;
    if (n == 2)
        return c == s[at + 1] && !is_one_of(c, "689") ? LEET_SURE : 10;
    return n < 5 && run->n_letters > 1 ? 12 : 0;
}

/* The group starts or ends the run. */
static unsigned edge_points(const struct run *run, size_t at, size_t end, bool digits, bool signs)
{
    const char *s = run->text->text;
    char c = s[at];
    size_t n = end - at;
    bool leads = at == run->start;
    size_t n_lower = run->n_letters - run->n_upper;
    if (digits && signs) /* $5k, 18+, C++11, node@18 */
        return (leads ? c == '$' : c == '+' || c == '@') || s[end - 1] == '+' || TAIL_IS_ONE_OF(run, end, units) ? 2
                                                                                                                 : 14;
    if (c == '@' && leads && n == 1 && end + 1 < run->end && s[end] == 's' && s[end + 1] == 's')
        return LEET_SURE;
    if (signs)
        return leads && n > 1 && n_lower > 1                ? 12
               : c == '$' && n == 1 && n_lower > 1          ? 8
               : leads && c != '@' && n == 1 && n_lower > 1 ? 3
                                                            : 0;
    if (n_lower < 2 || n > 2 || TAIL_IS_ONE_OF(run, end, units))
        return n_lower == 1 && n < 3 && leads && !TAIL_IS_ONE_OF(run, end, units) ? 4 : 0;
    if (n == 2)
        return leads ? 5 : 1;
    if (leads)
        return is_one_of(c, "013457") ? 5 : 2;
    return is_one_of(c, "03") ? 4 : 2;
}

static void leet_group(struct run *run, size_t at, size_t end)
{
    bool digits = false, signs = false;
    run->n_groups++;
    for (size_t i = at; i < end; i++) {
        digits |= run->text->kinds[i] == KIND_DIGIT;
        signs |= run->text->kinds[i] == KIND_SIGN;
        if (!leet_letter(run->text->text[i])) {
            run->odd = true;
            return;
        }
    }
    bool inner = at > run->start && end < run->end;
    run->points += (inner ? inner_points : edge_points)(run, at, end, digits, signs);
}

static void count_letters(struct run *run)
{
    for (size_t i = run->start; i < run->end; i++) {
        enum kind kind = run->text->kinds[i];
        char c = run->text->text[i];
        run->n_digits += kind == KIND_DIGIT;
        run->n_signs += kind == KIND_SIGN;
        run->n_letters += (KIND_BIT(kind) & KIND_LETTERS) != 0;
        run->n_upper += kind == KIND_UPPER;
        run->n_foreign += kind == KIND_LETTER;
        run->n_hex += c >= 'a' && c <= 'f';
    }
}

/* 5x10, 3in1, 1on1: one short word between numbers. */
static bool is_relation(const struct run *run)
{
    static const char *const words[] = {"x", "v", "in", "on", "of", "to", "by"};
    size_t start = run->start, end = run->end;
    while (start < end && run->text->kinds[start] == KIND_DIGIT)
        start++;
    while (end > start && run->text->kinds[end - 1] == KIND_DIGIT)
        end--;
    for (size_t i = 0; i < sizeof words / sizeof *words && start > run->start && end < run->end; i++) {
        if (strlen(words[i]) == end - start && memcmp(run->text->text + start, words[i], end - start) == 0)
            return true;
    }
    return false;
}

/* Codes and hexadecimal numbers. */
static bool is_code(const struct run *run)
{
    if (run->n_letters == 0 || run->n_digits + run->n_signs == 0 || run->n_foreign)
        return true;
    size_t len = run->end - run->start;
    if (run->n_signs == 0 && run->n_hex == run->n_letters &&
        ((len >= 4 && run->n_digits >= run->n_letters) || (len >= 6 && run->n_digits > 1)))
        return true;
    size_t first = run->start;
    while (!is_letter(run->text, first))
        first++;
    bool capital = run->n_upper == 1 && run->text->kinds[first] == KIND_UPPER;
    if (run->n_upper && run->n_upper < run->n_letters && !capital)
        return true;
    return run->n_upper == run->n_letters && run->n_letters < 3 && run->n_signs == 0;
}

static unsigned leet_run(const struct lane *text, size_t start, size_t end)
{
    while (end > start && (text->text[end - 1] == '!' || text->text[end - 1] == '+' || text->text[end - 1] == '|'))
        end--; /* "what!", "18+" */
    bool ass = end - start > 2 && memcmp(text->text + start, "@ss", 3) == 0;
    if (end - start > 2 && text->text[start] == '@' && is_letter(text, start + 1) && is_letter(text, start + 2) &&
        !ass)
        start++; /* a name that is spoken to */
    struct run run = {.text = text, .start = start, .end = end};
    if (end - start < 2 || end - start > LEET_MAX)
        return 0;
    count_letters(&run);
    if (is_code(&run) || is_relation(&run))
        return 0;
    for (size_t i = start; i < end; i++) {
        size_t group = i;
        while (i < end && (text->kinds[i] == KIND_DIGIT || text->kinds[i] == KIND_SIGN))
            i++;
        if (i > group)
            leet_group(&run, group, i);
    }
    if (run.n_groups > 1 && !run.odd && run.points > 0)
        run.points += run.n_digits && run.n_signs ? LEET_SURE : 10;
    return run.n_upper == run.n_letters ? run.points / 2 : run.points;
}

/* Addresses, assignments and markup are no leet. */
static bool is_address(const struct lane *text, size_t start, size_t end)
{
    size_t at_sign = SIZE_MAX;
    for (size_t i = start; i < end; i++) {
        char c = text->text[i];
        if (c == '@')
            at_sign = i;
        if ((c == ':' && i + 2 < end && text->text[i + 1] == '/' && text->text[i + 2] == '/') ||
            (c == '.' && at_sign != SIZE_MAX && i > at_sign + 1 && i + 1 < end && is_letter(text, i + 1)) ||
            (c == 'w' && end - i > 4 && memcmp(text->text + i, "www.", 4) == 0) || is_one_of(c, "_=%{};<>\\#"))
            return true;
    }
    return false;
}

static void leet_token(struct gate *gate, size_t start, size_t end)
{
    const struct lane *text = gate->text;
    const unsigned part = KIND_LETTERS | KIND_BIT(KIND_CONT) | KIND_BIT(KIND_DIGIT) | KIND_BIT(KIND_SIGN);
    size_t next = end;
    while (next < text->len && text->kinds[next] == KIND_SPACE)
        next++;
    if (is_address(text, start, end) || (next < text->len && text->text[next] == '='))
        return;
    for (size_t i = start; i < end;) {
        if (!(KIND_BIT(text->kinds[i]) & part)) {
            i++;
            continue;
        }
        size_t run = i;
        while (i < end && (KIND_BIT(text->kinds[i]) & part))
            i++;
        unsigned points = leet_run(text, run, i);
        gate->points += points;
        if (points > gate->most)
            gate->most = points;
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
        if (letter && (c == '!' ? after : before || after)) {
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

/* A token for the spaced chain: one letter. Punctuation in front of it begins a chain, behind it ends one. */
static void spaced_token(struct gate *gate, size_t start, size_t end, unsigned kinds, size_t gap)
{
    const struct lane *text = gate->text;
    struct letters *chain = &gate->spaced;
    size_t letter = SIZE_MAX, len = 0, n = 0;
    for (size_t i = start; i < end;) {
        size_t bytes = char_len(text, i);
        if (KIND_BIT(text->kinds[i]) & KIND_LETTERS) {
            letter = i;
            len = bytes;
            n++;
        }
        i += bytes;
    }
    if (n != 1 || (kinds & KIND_BIT(KIND_DIGIT)) || letter > start)
        end_spaced(gate);
    if (n != 1 || (kinds & KIND_BIT(KIND_DIGIT)))
        return;
    if (chain->n > 0 && (chain->gap == 0 || gap < chain->gap))
        chain->gap = gap;
    add_letter(chain, text, letter, len);
    if (letter + len < end)
        end_spaced(gate);
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
        bool word = i - start > 1 && !(seen & ~(KIND_BIT(KIND_LOWER) | KIND_BIT(KIND_UPPER)));
        if (!word && i - start <= SEPARATOR_MAX && (seen & KIND_LETTERS))
            spaced_token(&gate, start, i, seen, gap);
        else if (gate.spaced.n)
            end_spaced(&gate);
        gate.n_tokens++;
        if (word || !(seen & KIND_LETTERS))
            continue;
        if (seen & (KIND_BIT(KIND_PUNCT) | KIND_BIT(KIND_SIGN)) && i - start > 4)
            joined_letters(&gate, start, i);
        if (seen & (KIND_BIT(KIND_DIGIT) | KIND_BIT(KIND_SIGN)))
            leet_token(&gate, start, i);
    }
    end_spaced(&gate);
    if (gate.n_spaced || gate.n_short > 1) {
        gate.read_spacing = true;
        normal->signals |= SG_SIGNAL_LETTER_SPACING;
        normal->evasive = true;
    }
    bool many = gate.points >= LEET_MANY && gate.points * LEET_WORDS >= gate.n_tokens;
    if (gate.most >= LEET_MANY || many)
        normal->signals |= SG_SIGNAL_LEET;
    normal->evasive |= gate.most >= LEET_SURE || many;
    if (normal->signals & SG_SIGNAL_LEET)
        read_leet(gate.text, &work->lanes[SG_READING_LEET]);
    if (gate.read_spacing)
        read_spacing(work, gate.text, &work->lanes[SG_READING_SPACING]);
}
