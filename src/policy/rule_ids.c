/* Rule ids: "SP2.a", "H2.f", "R1", "4.2" and the like, where a policy defines or cites them, and which of them a
 * citation in an answer means.
 *
 * An id with a dotted part is recognised anywhere. A short one ("R1", "S3") also is an ordinary word ("MP3", "U18"),
 * so it counts only where documents put ids: at the head of a line, heading or table cell, behind an opening
 * bracket, in backticks, bold or quotes. Bare numbers ("4.2") count only at the head of a line with a title. */
#include "policy/policy_internal.h"

#include <stdlib.h>
#include <strings.h>

#define ID_MAX 32

struct id_form {
    size_t len;
    bool dotted, numeric;
};

static bool upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ".a", ".12", ".iv", "-b" at `at`: its length, else 0. */
static size_t dotted_part(struct sg_slice text, size_t at)
{
    if (at + 1 >= text.len || (text.ptr[at] != '.' && text.ptr[at] != '-'))
        return 0;
    size_t n = at + 1;
    while (n < text.len && digit(text.ptr[n]))
        n++;
    if (n > at + 1)
        return n - at <= 4 && (n == text.len || !sg_is_word(text.ptr[n])) ? n - at : 0;
    while (n < text.len && isalpha((unsigned char)text.ptr[n]))
        n++;
    if (n < text.len && sg_is_word(text.ptr[n]))
        return 0;
    size_t letters = n - at - 1;
    bool roman = letters > 0;
    for (size_t i = at + 1; i < n; i++)
        roman = roman && memchr("ivx", text.ptr[i], 3);
    return letters == 1 || (roman && letters <= 4) ? letters + 1 : 0;
}

/* The id that starts at `at`, of length 0 when there is none. With `any_case` letters may be lower case. */
static struct id_form id_at(struct sg_slice text, size_t at, bool any_case)
{
    struct id_form id = {0};
    size_t n = at;
    while (n < text.len && n - at < 7 && (upper(text.ptr[n]) || (any_case && isalpha((unsigned char)text.ptr[n]))))
        n++;
    size_t letters = n - at;
    if (letters > 6)
        return id;
    /* "HATE-TH-1": a second group of letters. */
    size_t second = n + 1;
    while (letters > 1 && n < text.len && text.ptr[n] == '-' && second < text.len && second - n < 8 &&
           upper(text.ptr[second]))
        second++;
    if (second > n + 2 && second < text.len && second - n < 8 && (text.ptr[second] == '-' || digit(text.ptr[second])))
        n = second;
    bool hyphen = letters > 0 && n + 1 < text.len && text.ptr[n] == '-' && digit(text.ptr[n + 1]);
    n += hyphen;
    size_t digits = n;
    while (n < text.len && digit(text.ptr[n]))
        n++;
    digits = n - digits;
    if (digits > 3 || (digits == 0 && (letters == 0 || letters > 4)) || (letters == 0 && digits > 2))
        return id;
    for (size_t part; (part = dotted_part(text, n)) > 0; n += part)
        id.dotted = true;
    if ((digits == 0 || letters == 0) && !id.dotted)
        return id;
    if (n < text.len &&
        (sg_is_word(text.ptr[n]) || (text.ptr[n] == '-' && n + 1 < text.len && sg_is_word(text.ptr[n + 1])) ||
         text.ptr[n] == '%' || text.ptr[n] == '/' || text.ptr[n] == '@'))
        return id;
    if (n + 1 < text.len && text.ptr[n] == '.' && sg_is_word(text.ptr[n + 1]))
        return id; /* a file name or a host, no id */
    id.numeric = letters == 0;
    id.dotted = id.dotted && !hyphen; /* "GPT-4.1" is a name as easily as an id */
    /* "U.S", "e.g": letters and dots alone are abbreviations unless a number follows. */
    if (digits == 0 && !digit(text.ptr[at + letters + 1]))
        return id;
    id.len = n - at <= ID_MAX ? n - at : 0;
    return id;
}

static bool same_id(struct sg_slice a, struct sg_slice b)
{
    return sg_same_word(a, b);
}

static void add(struct rule_ids *ids, struct sg_slice text, int line, bool defined, int side)
{
    for (size_t i = 0; i < ids->n; i++) {
        struct rule_id *known = &ids->items[i];
        if (same_id(sg_slice_of(known->text), text)) {
            if (defined && !known->defined) {
                known->defined = true;
                known->side = side;
            }
            return;
        }
    }
    if (ids->n == POLICY_MAX_RULE_IDS)
        return;
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? 2 * ids->cap : 32;
        struct rule_id *items = realloc(ids->items, cap * sizeof *items);
        if (!items) {
            ids->failed = true;
            return;
        }
        ids->items = items;
        ids->cap = cap;
    }
    char *copy = slice_copy(text);
    if (!copy) {
        ids->failed = true;
        return;
    }
    ids->items[ids->n++] = (struct rule_id){copy, line, defined, side};
}

struct sg_slice heading_text(struct sg_slice line)
{
    struct sg_slice text = sg_trim(line, " \t"), bare = sg_trim(text, "*_: \t");
    if (text.len > 0 && text.ptr[0] == '#')
        return sg_trim(text, "#*_: \t");
    /* A bold line, or a line without lower case, or a short one that names a level ("Likely Spam (SP2 - …)"). */
    if (text.len > 4 && bare.len < 120 && strncmp(text.ptr, "**", 2) == 0 &&
        (strncmp(text.ptr + text.len - 2, "**", 2) == 0 || text.ptr[text.len - 1] == ':'))
        return bare;
    size_t letters = 0, lower = 0;
    for (size_t i = 0; i < bare.len; i++) {
        letters += isalpha((unsigned char)bare.ptr[i]) != 0;
        lower += islower((unsigned char)bare.ptr[i]) != 0;
    }
    if (bare.len > 0 && bare.len < 100 && letters >= 4 && lower == 0 && text.ptr[0] != '-' && text.ptr[0] != '|')
        return bare;
    if (bare.len > 8 && bare.len < 160 && bare.ptr[0] != '-' && bare.ptr[0] != '|' && bare.ptr[0] != '*') {
        const char *open = memchr(bare.ptr, '(', bare.len);
        size_t at = open ? (size_t)(open - bare.ptr) + 1 : 0;
        if (open && bare.ptr[bare.len - 1] == ')' && id_at(bare, at, false).len > 0)
            return bare;
    }
    return (struct sg_slice){line.ptr, 0};
}

unsigned heading_meaning(struct sg_slice line)
{
    static const struct {
        const char *word;
        unsigned meaning;
    } words[] = {{"does not violate", SG_MEANS_SAFE},
                 {"do not violate", SG_MEANS_SAFE},
                 {"not allowed", SG_MEANS_VIOLATION},
                 {"not permitted", SG_MEANS_VIOLATION},
                 {"non-violating", SG_MEANS_SAFE},
                 {"not violating", SG_MEANS_SAFE},
                 {"safe", SG_MEANS_SAFE},
                 {"allowed", SG_MEANS_SAFE},
                 {"permitted", SG_MEANS_SAFE},
                 {"excludes", SG_MEANS_SAFE},
                 {"acceptable", SG_MEANS_SAFE},
                 {"exceptions", SG_MEANS_SAFE},
                 {"violates", SG_MEANS_VIOLATION},
                 {"violating", SG_MEANS_VIOLATION},
                 {"violations", SG_MEANS_VIOLATION},
                 {"includes", SG_MEANS_VIOLATION},
                 {"prohibited", SG_MEANS_VIOLATION},
                 {"disallowed", SG_MEANS_VIOLATION},
                 {"forbidden", SG_MEANS_VIOLATION},
                 {"unsafe", SG_MEANS_VIOLATION},
                 {"(0)", SG_MEANS_SAFE},
                 {"(1)", SG_MEANS_VIOLATION}};
    struct sg_slice text = heading_text(line);
    for (size_t i = 0; text.len && i < sizeof words / sizeof words[0]; i++) {
        bool bracket = words[i].word[0] == '(';
        if (bracket ? memmem(text.ptr, text.len, words[i].word, 3) != NULL
                    : sg_find_word(text, words[i].word, 0) < text.len)
            return words[i].meaning;
    }
    /* A level in brackets: 0 is safe, the others are not. */
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.ptr[i] == '(') {
            struct id_form id = id_at(text, i + 1, false);
            if (id.len > 0 && !id.dotted && !id.numeric)
                return text.ptr[i + id.len] == '0' ? SG_MEANS_SAFE : SG_MEANS_VIOLATION;
        }
    }
    return 0;
}

/* Positions at the head of a line, behind list and heading marks and words such as "Rule". */
static size_t line_head(struct sg_slice line)
{
    static const char *const words[] = {"rule ", "section ", "criterion ", "policy ", "\xC2\xA7 ", "\xC2\xA7"};
    size_t at = 0;
    for (bool again = true; again;) {
        again = false;
        while (at < line.len && strchr(" \t-*+#>|_`[(\"", line.ptr[at]) && line.ptr[at])
            at++;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            size_t n = strlen(words[i]);
            if (at + n < line.len && strncasecmp(line.ptr + at, words[i], n) == 0) {
                at += n;
                again = true;
            }
        }
    }
    return at;
}

/* "4.2 Title" at the head of a line, or "### 4.2". */
static bool numbered_title(struct sg_slice line, size_t end)
{
    while (end < line.len && strchr(".):* ", line.ptr[end]))
        end++;
    return end == line.len ? line.ptr[0] == '#' : line.ptr[0] == '#' || upper(line.ptr[end]);
}

/* What follows an id on a line without list or heading marks: a title or punctuation, not the rest of a sentence. */
static bool titled(struct sg_slice line, size_t end)
{
    while (end < line.len && line.ptr[end] == ' ')
        end++;
    return end == line.len || !(islower((unsigned char)line.ptr[end]) || digit(line.ptr[end]));
}

/* Bytes of the blank-delimited word at `at` are part of an address. */
static bool in_address(struct sg_slice line, size_t at)
{
    size_t start = at, end = at, lowest = at > 256 ? at - 256 : 0;
    while (start > lowest && !isspace((unsigned char)line.ptr[start - 1]))
        start--;
    while (end < line.len && end < at + 256 && !isspace((unsigned char)line.ptr[end]))
        end++;
    struct sg_slice word = {line.ptr + start, end - start};
    return memmem(word.ptr, word.len, "://", 3) || memmem(word.ptr, word.len, "www.", 4) ||
           memchr(word.ptr, '@', word.len);
}

static bool may_start(struct sg_slice line, size_t at)
{
    return at == 0 || !(sg_is_word(line.ptr[at - 1]) || strchr("-./@$#&=+\\", line.ptr[at - 1]) ||
                        (unsigned char)line.ptr[at - 1] >= 0x80);
}

void rule_ids_find(struct sg_slice folded, struct rule_ids *ids)
{
    struct sg_slice line;
    int number = 0, side = 0;
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        number++;
        bool heading = heading_text(line).len > 0;
        if (heading) {
            unsigned meaning = heading_meaning(line);
            side = meaning == SG_MEANS_SAFE ? -1 : meaning == SG_MEANS_VIOLATION ? 1 : 0;
        }
        size_t head = line_head(line);
        for (size_t i = 0; i < line.len;) {
            struct id_form id = {0};
            if (isalnum((unsigned char)line.ptr[i]) && may_start(line, i))
                id = id_at(line, i, false);
            if (id.len > 0 && in_address(line, i))
                id.len = 0;
            bool at_head = i == head && (head > 0 || titled(line, i + id.len)),
                 opened = i > 0 && strchr("(`*\"|[", line.ptr[i - 1]) != NULL;
            if (id.len > 0 && id.numeric)
                id.len = at_head && numbered_title(line, i + id.len) ? id.len : 0;
            else if (id.len > 0 && !id.dotted && !at_head && !opened)
                id.len = 0;
            if (id.len == 0) {
                i++;
                continue;
            }
            bool defines = at_head || (opened && line.ptr[i - 1] == '(' && heading);
            add(ids, (struct sg_slice){line.ptr + i, id.len}, number, defines, side);
            i += id.len;
        }
    }
}

void rule_ids_free(struct rule_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        free(ids->items[i].text);
    free(ids->items);
    *ids = (struct rule_ids){0};
}

int rule_ids_cited(const struct rule_ids *ids, struct sg_slice citation, bool *is_id)
{
    size_t head = line_head(citation);
    struct sg_slice text = {citation.ptr + head, citation.len - head};
    struct id_form id = id_at(text, 0, true);
    if (id.len == 0 && text.len > 1 && isalpha((unsigned char)text.ptr[0])) {
        /* The id may stand behind a title or a level ("Rule DC2.a" was handled; "D-SP2" means SP2 here). */
        if (text.ptr[1] == '-')
            id = id_at((struct sg_slice){text.ptr + 2, text.len - 2}, 0, true);
        if (id.len > 0)
            text = (struct sg_slice){text.ptr + 2, text.len - 2};
    }
    *is_id = id.len > 0;
    for (size_t i = 0; id.len > 0 && i < ids->n; i++) {
        if (same_id(sg_slice_of(ids->items[i].text), (struct sg_slice){text.ptr, id.len}))
            return (int)i;
    }
    return -1;
}
