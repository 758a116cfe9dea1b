#include "policy/fold.h"

#include "base/utf8.h"

#include <strings.h>

#define PHRASE_MAX 64

static char folded(int32_t code)
{
    if (code >= 0xFF01 && code <= 0xFF5E)
        return (char)(code - 0xFF01 + '!');
    if ((code >= 0x2010 && code <= 0x2015) || code == 0x2212 || code == 0xFE58 || code == 0xFE63)
        return '-';
    if ((code >= 0x201C && code <= 0x201F) || code == 0xAB || code == 0xBB || code == 0x2033)
        return '"';
    if ((code >= 0x2018 && code <= 0x201B) || code == 0x2032)
        return '\'';
    if (code == 0xA0 || (code >= 0x2000 && code <= 0x200A) || code == 0x202F || code == 0x205F || code == 0x3000)
        return ' ';
    return 0;
}

static bool dropped(int32_t code)
{
    return code == '\r' || code == 0xAD || (code >= 0x200B && code <= 0x200F) || code == 0x2060 || code == 0xFE0E ||
           code == 0xFE0F || code == 0xFEFF;
}

void sg_fold(struct sg_slice text, struct sg_buffer *out)
{
    while (text.len > 0) {
        int32_t code;
        size_t n = sg_utf8_decode(text, &code);
        char c = folded(code);
        if (c != 0)
            sg_buffer_putc(out, c);
        else if (!dropped(code))
            sg_buffer_append(out, text.ptr, n);
        text.ptr += n;
        text.len -= n;
    }
}

struct sg_slice sg_trim(struct sg_slice text, const char *strip)
{
    while (text.len > 0 && strchr(strip, text.ptr[0]) && text.ptr[0]) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && strchr(strip, text.ptr[text.len - 1]) && text.ptr[text.len - 1])
        text.len--;
    return text;
}

bool sg_same_word(struct sg_slice a, struct sg_slice b)
{
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

size_t sg_find_word(struct sg_slice text, const char *needle, size_t from)
{
    size_t n = strlen(needle);
    int first = tolower((unsigned char)needle[0]);
    for (size_t i = from; i + n <= text.len; i++) {
        if (tolower((unsigned char)text.ptr[i]) == first && strncasecmp(text.ptr + i, needle, n) == 0 &&
            (i == 0 || !sg_is_word(text.ptr[i - 1])) && (i + n == text.len || !sg_is_word(text.ptr[i + n])))
            return i;
    }
    return text.len;
}

bool sg_next_line(struct sg_slice text, size_t *at, struct sg_slice *line_out)
{
    if (*at >= text.len)
        return false;
    const char *start = text.ptr + *at, *end = memchr(start, '\n', text.len - *at);
    size_t n = end ? (size_t)(end - start) : text.len - *at;
    *line_out = (struct sg_slice){start, n};
    *at += end ? n + 1 : n;
    return true;
}

/* --- meaning --------------------------------------------------------------------------------------------- */

static const char *const safe_words[] = {
    "valid",  "safe",     "allow",      "allowed", "permit",  "permitted", "compliant", "acceptable",
    "accept", "accepted", "pass",       "passed",  "approve", "benign",    "approved",  "harmless",
    "ok",     "okay",     "clean",      "clear",   "ham",     "keep",      "none",      "appropriate",
    "no",     "false",    "legitimate", "genuine", "civil",   "benign",    "0",         "not harmful"};
static const char *const violating_words[] = {
    "invalid",   "unsafe",        "block",     "blocked", "violates",  "violate",      "violating",
    "violation", "violative",     "violated",  "reject",  "rejected",  "unacceptable", "fail",
    "failed",    "harmful",       "remove",    "removed", "disallow",  "disallowed",   "prohibited",
    "forbidden", "deny",          "denied",    "toxic",   "spam",      "hate",         "hateful",
    "abusive",   "inappropriate", "yes",       "true",    "malicious", "fake",         "injection",
    "attack",    "harassment",    "flag",      "flagged", "dangerous", "fraud",        "fraudulent",
    "scam",      "illegal",       "offensive", "illicit", "1",         "abuse",        "noncompliant",
    "phishing",  "jailbreak"};
static const char *const review_words[] = {
    "escalate",   "escalated",     "review",       "uncertain",     "unclear",
    "ambiguous",  "unsure",        "human review", "manual review", "needs review",
    "borderline", "controversial", "undecided",    "escalation",    "needs human review"};
static const char *const negations[] = {"non ",      "not a ",   "not an ", "not ",  "no ",
                                        "does not ", "doesn't ", "is not ", "isn't "};
static const char *const tails[] = {" policy", " the policy", " this policy", " content", " label", " rules"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool listed(const char *phrase, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(phrase, words[i]) == 0)
            return true;
    }
    return false;
}

static unsigned plain_meaning(const char *phrase)
{
    if (listed(phrase, safe_words, COUNT(safe_words)))
        return SG_MEANS_SAFE;
    if (listed(phrase, violating_words, COUNT(violating_words)))
        return SG_MEANS_VIOLATION;
    return listed(phrase, review_words, COUNT(review_words)) ? SG_MEANS_REVIEW : 0;
}

/* One part of a phrase: lower case, '-' and '_' as spaces. */
static unsigned part_meaning(char *phrase)
{
    unsigned meaning = plain_meaning(phrase);
    if (meaning)
        return meaning;
    for (size_t i = 0; i < COUNT(tails); i++) {
        size_t n = strlen(phrase), tail = strlen(tails[i]);
        if (n > tail && strcmp(phrase + n - tail, tails[i]) == 0) {
            phrase[n - tail] = '\0';
            return part_meaning(phrase);
        }
    }
    for (size_t i = 0; i < COUNT(negations); i++) {
        size_t n = strlen(negations[i]);
        if (strncmp(phrase, negations[i], n) == 0) {
            meaning = plain_meaning(phrase + n);
            return meaning == SG_MEANS_SAFE ? SG_MEANS_VIOLATION : meaning == SG_MEANS_VIOLATION ? SG_MEANS_SAFE : 0;
        }
    }
    return 0;
}

unsigned sg_phrase_meaning(struct sg_slice phrase)
{
    phrase = sg_trim(phrase, " \t\n.,:;!\"'`*_()[]<>");
    if (phrase.len == 0 || phrase.len >= PHRASE_MAX)
        return 0;
    unsigned meaning = 0;
    char part[PHRASE_MAX];
    size_t n = 0;
    for (size_t i = 0; i <= phrase.len; i++) {
        char c = i < phrase.len ? (char)tolower((unsigned char)phrase.ptr[i]) : '+';
        bool word_and = i + 5 <= phrase.len && strncasecmp(phrase.ptr + i, " and ", 5) == 0;
        if (c == '+' || c == '&' || word_and) {
            while (n > 0 && part[n - 1] == ' ')
                n--;
            part[n] = '\0';
            unsigned one = part_meaning(part);
            if (one == 0)
                return 0;
            meaning |= one;
            n = 0;
            i += word_and ? 4 : 0;
        } else if (c == '-' || c == '_' || isspace((unsigned char)c)) {
            if (n > 0 && part[n - 1] != ' ')
                part[n++] = ' ';
        } else {
            part[n++] = c;
        }
    }
    return meaning == (SG_MEANS_SAFE | SG_MEANS_VIOLATION) ? 0 : meaning;
}

bool sg_negated(struct sg_slice text, size_t at)
{
    static const char *const words[] = {"not",    "no",     "non",   "never",   "without", "neither",
                                        "nor",    "cannot", "than",  "isn't",   "doesn't", "aren't",
                                        "wasn't", "don't",  "can't", "instead", "unlike"};
    for (int word = 0; word < 4; word++) {
        while (at > 0 && strchr(" \"'`*", text.ptr[at - 1]) && text.ptr[at - 1])
            at--;
        size_t end = at;
        while (at > 0 && (sg_is_word(text.ptr[at - 1]) || text.ptr[at - 1] == '\''))
            at--;
        struct sg_slice before = {text.ptr + at, end - at};
        if (at == end || sg_same_word(before, sg_slice_of("but")) || sg_same_word(before, sg_slice_of("because")))
            return false; /* punctuation, the start or a turn: another clause */
        for (size_t i = 0; i < COUNT(words); i++) {
            if (sg_same_word(before, sg_slice_of(words[i])))
                return true;
        }
    }
    return false;
}
