/* Answers that are words: label words on lines that announce an answer, level codes and pairs of them. */
#include "policy/policy_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define LABEL_MAX 48
#define LEVELS_MAX 16
#define CANDIDATES_MAX 16

/* --- words ------------------------------------------------------------------------------------------ */

struct candidate {
    struct sg_slice text;
    size_t at, end;
    unsigned meaning;
    bool quoted;
};

static bool is_upper_word(struct sg_slice word)
{
    size_t letters = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (islower((unsigned char)word.ptr[i]) || isdigit((unsigned char)word.ptr[i]))
            return false;
        letters += isalpha((unsigned char)word.ptr[i]) != 0;
    }
    return letters >= 2;
}

static size_t upper_word_end(struct sg_slice line, size_t at)
{
    while (at < line.len && (sg_is_word(line.ptr[at]) ||
                             (line.ptr[at] == '-' && at + 1 < line.len && isupper((unsigned char)line.ptr[at + 1]))))
        at++;
    return at;
}

/* The upper-case run at `at`: "INVALID + ESCALATE", "NOT SPAM". */
static size_t upper_run(struct sg_slice line, size_t at)
{
    static const char *const joins[] = {"OR", "AND", "IF", "WITH", "THE"};
    size_t end = upper_word_end(line, at);
    if (!is_upper_word((struct sg_slice){line.ptr + at, end - at}))
        return at;
    for (;;) {
        size_t next = end;
        while (next < line.len && (line.ptr[next] == ' ' || line.ptr[next] == '+'))
            next++;
        size_t stop = upper_word_end(line, next);
        struct sg_slice word = {line.ptr + next, stop - next};
        if (next == end || !is_upper_word(word) || next - end > 3 || stop - at > LABEL_MAX)
            return end;
        for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
            if (sg_same_word(word, sg_slice_of(joins[i])))
                return end;
        }
        end = stop;
    }
}

static void push(struct candidate *list, size_t *n, struct sg_slice line, size_t at, size_t end, bool quoted)
{
    struct sg_slice text = {line.ptr + at, end - at};
    if (*n < CANDIDATES_MAX && text.len >= 2 && text.len <= LABEL_MAX)
        list[(*n)++] = (struct candidate){text, at, end, sg_phrase_meaning(text), quoted};
}

/* Quoted words and upper-case runs of a line; the words of a run apart when the run as a whole says nothing. */
static size_t line_candidates(struct sg_slice line, struct candidate *list)
{
    size_t n = 0;
    struct sg_slice head = sg_trim(line, " \t");
    bool item = head.len > 0 && (head.ptr[0] == '-' || head.ptr[0] == '*');
    for (size_t i = 0; i < line.len;) {
        char c = line.ptr[i];
        if (c == '"' || c == '`') {
            const char *close = memchr(line.ptr + i + 1, c, line.len - i - 1);
            size_t end = close ? (size_t)(close - line.ptr) : i;
            if (close && !item && c == '"' && end + 1 < line.len && line.ptr[end + 1] == ':') { /* a key of JSON */
                i = end + 2;
                continue;
            }
            if (close && end - i - 1 <= LABEL_MAX && end > i + 1 && isalpha((unsigned char)line.ptr[i + 1])) {
                push(list, &n, line, i + 1, end, true);
                i = end + 1;
                continue;
            }
            if (close && c == '"') { /* quoted prose: nothing in it is a label */
                i = end + 1;
                continue;
            }
        }
        if (isupper((unsigned char)c) && (i == 0 || !(sg_is_word(line.ptr[i - 1]) || line.ptr[i - 1] == '-'))) {
            size_t end = upper_run(line, i), word = upper_word_end(line, i);
            if (end > i && sg_phrase_meaning((struct sg_slice){line.ptr + i, end - i}) == 0)
                end = word;
            if (end > i)
                push(list, &n, line, i, end, false);
            i = end > i ? end : word > i ? word : i + 1;
            continue;
        }
        i++;
    }
    return n;
}

/* Only what enumerations have between their items, with an explanation in brackets: " (spam), " or " or ". */
static bool enumerated(struct sg_slice gap)
{
    size_t i = 0;
    bool separator = false;
    while (i < gap.len) {
        char c = gap.ptr[i];
        if (c == '(') {
            const char *close = memchr(gap.ptr + i, ')', gap.len - i);
            if (!close)
                return false;
            i = (size_t)(close - gap.ptr) + 1;
        } else if (strchr(",/|", c)) {
            separator = true;
            i++;
        } else if (strchr(" `\"*", c)) {
            i++;
        } else if (strncasecmp(gap.ptr + i, "or", 2) == 0 && i + 2 <= gap.len) {
            separator = true;
            i += 2;
        } else {
            return false;
        }
    }
    return separator;
}

struct words {
    struct {
        struct sg_slice text;
        unsigned meaning;
        bool guessed;
    } items[CANDIDATES_MAX];
    size_t n;
};

static void add_word(struct words *words, struct sg_slice text, unsigned meaning, bool guessed)
{
    for (size_t i = 0; i < words->n; i++) {
        if (sg_same_word(words->items[i].text, text))
            return;
    }
    if (words->n < CANDIDATES_MAX) {
        words->items[words->n].text = text;
        words->items[words->n].meaning = meaning;
        words->items[words->n++].guessed = guessed;
    }
}

static void take_line(struct sg_slice line, struct words *words, bool *took)
{
    struct candidate list[CANDIDATES_MAX];
    size_t n = line_candidates(line, list);
    for (size_t i = 0; i < n; i++) {
        if (list[i].meaning != 0) {
            add_word(words, list[i].text, list[i].meaning, false);
            *took = true;
            continue;
        }
        /* An unknown word between known labels is a label too: SAFE, DISPUTED or UNSAFE. */
        bool beside = (i > 0 && list[i - 1].meaning &&
                       enumerated((struct sg_slice){line.ptr + list[i - 1].end, list[i].at - list[i - 1].end})) ||
                      (i + 1 < n && list[i + 1].meaning &&
                       enumerated((struct sg_slice){line.ptr + list[i].end, list[i + 1].at - list[i].end}));
        if (beside)
            add_word(words, list[i].text, SG_MEANS_REVIEW, true);
    }
}

/* Label words on lines that announce an answer, and on list lines below one. */
static void find_words(struct sg_slice folded, struct words *words, struct shape *shape)
{
    struct sg_slice line;
    int number = 0, open = 0;
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        number++;
        struct sg_slice text = sg_trim(line, " \t*_");
        bool heading = line.len > 0 && line.ptr[0] == '#', announced = shape_announces(line), took = false;
        bool item = text.len > 0 && strchr("-+\"`0123456789|", text.ptr[0]);
        item = item || (line.len > 0 && strchr("-*", line.ptr[0]));
        if (announced || (open > 0 && item))
            take_line(line, words, &took);
        if (took && announced)
            shape_note_instruction(shape, number);
        if (announced && (heading || (text.len > 0 && text.ptr[text.len - 1] == ':')))
            open = 12;
        else if (heading || (text.len > 0 && !item && !announced))
            open = 0;
        else if (open > 0)
            open--;
    }
    bool bad = false, good = false;
    for (size_t i = 0; i < words->n; i++) {
        bad = bad || (words->items[i].meaning & SG_MEANS_VIOLATION);
        good = good || (words->items[i].meaning & SG_MEANS_SAFE);
    }
    if (!bad || !good)
        words->n = 0;
}

/* --- level codes and pairs --------------------------------------------------------------------------------- */

struct levels {
    char family[8];
    bool seen[LEVELS_MAX], review[LEVELS_MAX];
    char first, second;   /* letters of a pair, 0 for none */
    char short_family[8]; /* other letters that pairs are written with, "" for none */
};

/* The code at `at` ("DC2", with '#' for any digit when `templates`): its letters' length, level in *level (-1 for
 * '#'), total length; 0 when there is none. */
static size_t code_at(struct sg_slice text, size_t at, bool templates, size_t *letters, int *level)
{
    size_t n = at;
    while (n < text.len && isupper((unsigned char)text.ptr[n]))
        n++;
    *letters = n - at;
    if (*letters == 0 || *letters > 6 || n == text.len)
        return 0;
    if (templates && text.ptr[n] == '#') {
        *level = -1;
        return n + 1 - at;
    }
    int value = 0;
    size_t digits = n;
    while (n < text.len && isdigit((unsigned char)text.ptr[n]) && n - digits < 2)
        value = value * 10 + (text.ptr[n++] - '0');
    if (n == digits || value >= LEVELS_MAX || (n < text.len && sg_is_word(text.ptr[n])) ||
        (text.ptr[digits] == '0' && n - digits > 1))
        return 0;
    *level = value;
    return n - at;
}

struct family {
    char letters[8];
    unsigned seen; /* levels as bits */
    int n_seen;
};

/* The family of bare codes with a level 0 and the most levels. */
static void find_family(struct sg_slice folded, struct levels *levels)
{
    struct family families[32] = {0};
    size_t n = 0;
    for (size_t i = 0; i < folded.len; i++) {
        size_t letters;
        int level;
        if (i > 0 && (sg_is_word(folded.ptr[i - 1]) || strchr("-./$#&@", folded.ptr[i - 1])))
            continue;
        size_t len = code_at(folded, i, false, &letters, &level);
        if (len == 0)
            continue;
        bool dotted = i + len + 1 < folded.len && folded.ptr[i + len] == '.' && sg_is_word(folded.ptr[i + len + 1]);
        bool marked = i > 0 && strchr("(`>\"|*", folded.ptr[i - 1]);
        size_t f = 0;
        while (f < n && (strncmp(families[f].letters, folded.ptr + i, letters) != 0 || families[f].letters[letters]))
            f++;
        if (f == n && n < 32 && !dotted && marked)
            memcpy(families[n++].letters, folded.ptr + i, letters);
        if (f < n && !dotted)
            families[f].seen |= 1u << level;
        i += len - 1;
    }
    int best = 1;
    for (size_t f = 0; f < n; f++) {
        int count = __builtin_popcount(families[f].seen);
        if ((families[f].seen & 1) && count > best) {
            best = count;
            memcpy(levels->family, families[f].letters, sizeof levels->family);
            for (int level = 0; level < LEVELS_MAX; level++)
                levels->seen[level] = families[f].seen >> level & 1;
        }
    }
}

/* "D-SP#" and "R-SP#", or "D-S2, R-S0" in a table of examples. */
static void find_pairs(struct sg_slice folded, struct levels *levels)
{
    for (size_t i = 0; i + 3 < folded.len; i++) {
        size_t letters;
        int level;
        if (!isupper((unsigned char)folded.ptr[i]) || folded.ptr[i + 1] != '-' ||
            (i > 0 && sg_is_word(folded.ptr[i - 1])))
            continue;
        size_t len = code_at(folded, i + 2, true, &letters, &level);
        if (len == 0)
            continue;
        char letter = folded.ptr[i];
        if (!levels->first)
            levels->first = letter;
        else if (letter != levels->first && !levels->second)
            levels->second = letter;
        char family[8] = {0};
        memcpy(family, folded.ptr + i + 2, letters);
        if (!levels->family[0])
            memcpy(levels->family, family, sizeof family);
        else if (strcmp(levels->family, family) != 0)
            memcpy(levels->short_family, family, sizeof family);
        if (level >= 0)
            levels->seen[level] = true;
        i += 1 + len;
    }
    if (!levels->second)
        levels->first = 0;
}

/* "(SP4 – …)" above "Output: INVALID + ESCALATE": what a level's own output line adds. */
static void find_review(struct sg_slice folded, struct levels *levels)
{
    struct sg_slice line;
    int current = -1;
    size_t n = strlen(levels->family);
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        for (size_t i = 0; i + n < line.len; i++) {
            size_t letters;
            int level;
            if (line.ptr[i] == '(' && strncmp(line.ptr + i + 1, levels->family, n) == 0 &&
                code_at(line, i + 1, false, &letters, &level) > 0 && letters == n)
                current = level;
        }
        if (current >= 0 && sg_find_word(line, "output", 0) < line.len &&
            sg_find_word(line, "escalate", 0) < line.len)
            levels->review[current] = true;
    }
}

static unsigned level_meaning(const struct levels *levels, int level)
{
    return (level == 0 ? SG_MEANS_SAFE : SG_MEANS_VIOLATION) | (levels->review[level] ? SG_MEANS_REVIEW : 0);
}

static bool add_singles(struct shape *shape, const struct levels *levels)
{
    const char letters[2] = {levels->first, levels->second};
    const char *const families[2] = {levels->family, levels->short_family};
    bool ok = true;
    for (int level = 0; level < LEVELS_MAX; level++) {
        if (!levels->seen[level])
            continue;
        unsigned meaning = level_meaning(levels, level);
        char text[32], canonical[32];
        snprintf(text, sizeof text, "%s%d", levels->family, level);
        ok = ok && shape_add_spelling(shape, sg_slice_of(text), sg_slice_of(text), SPELLING_CODE, meaning);
        for (int pair = 0; pair < 2 && levels->second; pair++) {
            for (int family = 0; family < 2 && families[family][0]; family++) {
                snprintf(text, sizeof text, "%c-%s%d", letters[pair], families[family], level);
                snprintf(canonical, sizeof canonical, "%c-%s%d", letters[pair], levels->family, level);
                ok = ok && shape_add_spelling(shape, sg_slice_of(text), sg_slice_of(canonical),
                                              pair == 0 ? SPELLING_FIRST : SPELLING_SECOND, meaning);
            }
        }
    }
    return ok;
}

static bool permit_codes(struct shape *shape, const struct levels *levels)
{
    bool ok = true;
    for (int level = 0; level < LEVELS_MAX && ok; level++) {
        char text[32];
        snprintf(text, sizeof text, "%s%d", levels->family, level);
        if (levels->seen[level])
            ok = shape_permit(shape, sg_slice_of(text), level_meaning(levels, level));
    }
    return ok;
}

/* All pairs of levels, written with `family`; none when they do not all fit, `reserve` places kept free. */
static bool permit_pairs(struct shape *shape, const struct levels *levels, const char *family, size_t reserve)
{
    size_t n = 0;
    for (int level = 0; level < LEVELS_MAX; level++)
        n += levels->seen[level];
    bool ok = true;
    if (!family[0] || shape->n_labels + n * n + reserve > SG_POLICY_MAX_LABELS)
        return ok;
    for (int a = 0; a < LEVELS_MAX; a++) {
        for (int b = 0; b < LEVELS_MAX && ok; b++) {
            char text[64];
            snprintf(text, sizeof text, "%c-%s%d, %c-%s%d", levels->first, family, a, levels->second, family, b);
            if (levels->seen[a] && levels->seen[b]) {
                unsigned meaning = level_meaning(levels, a) | level_meaning(levels, b);
                ok = shape_permit(shape, sg_slice_of(text), meaning);
            }
        }
    }
    return ok;
}

/* Words, codes and pairs together. */
bool shape_find_labels(struct sg_slice folded, struct shape *shape, bool *ok)
{
    struct words words = {0};
    struct levels levels = {0};
    find_family(folded, &levels);
    if (levels.family[0]) {
        find_pairs(folded, &levels);
        find_review(folded, &levels);
    }
    find_words(folded, &words, shape);
    if (!levels.family[0] && words.n == 0)
        return false;
    shape->kind = SG_OUTPUT_LABELS;
    *ok = true;
    if (levels.family[0]) {
        memcpy(shape->family, levels.family, sizeof shape->family);
        shape->several_spellings = levels.second || words.n > 0;
        *ok = add_singles(shape, &levels);
        if (levels.second)
            *ok = *ok && permit_pairs(shape, &levels, levels.family, LEVELS_MAX + words.n);
        *ok = *ok && permit_codes(shape, &levels);
    }
    for (size_t i = 0; i < words.n; i++) {
        struct sg_slice text = words.items[i].text;
        shape->guessed = shape->guessed || words.items[i].guessed;
        *ok = *ok && shape_add_label(shape, text, words.items[i].meaning);
        const char *plus = memchr(text.ptr, '+', text.len);
        if (plus) {
            struct sg_slice extra =
                sg_trim((struct sg_slice){plus + 1, text.len - (size_t)(plus + 1 - text.ptr)}, " ");
            *ok = *ok && shape_add_spelling(shape, extra, extra, SPELLING_EXTRA, SG_MEANS_REVIEW);
        }
    }
    if (levels.second)
        *ok = *ok && permit_pairs(shape, &levels, levels.short_family, 0);
    return true;
}
