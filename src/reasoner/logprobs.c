#include "reasoner/logprobs.h"
#include "policy/fold.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

#include "base/utf8.h"

#define MAX_LABEL 256      /* bytes of a label that are followed through tokens */
#define MAX_UNRESOLVED 0.1 /* share of mass of which it is not known where it leads, up to which p is told */

/* --- the list --------------------------------------------------------------------------------------------- */

static void *grow(void *items, size_t n, size_t *cap, size_t size, bool *failed)
{
    if (n < *cap)
        return items;
    size_t more = *cap ? 2 * *cap : 64;
    void *grown = realloc(items, more * size);
    *failed = *failed || !grown;
    *cap = grown ? more : *cap;
    return grown ? grown : items;
}

static struct sg_token_option make_option(struct sg_logprobs *l, const char *bytes, size_t len, double logprob)
{
    struct sg_token_option option = {l->text.len, len, logprob <= 1e-6 ? exp(logprob) : NAN};
    sg_buffer_append(&l->text, bytes, len);
    l->failed = l->failed || l->text.failed || isnan(option.p);
    return option;
}

void sg_logprobs_add(struct sg_logprobs *l, const char *bytes, size_t len, double logprob)
{
    l->failed = l->failed || l->n_tokens >= SG_LOGPROBS_MAX_TOKENS;
    if (!l->failed)
        l->tokens = grow(l->tokens, l->n_tokens, &l->cap_tokens, sizeof *l->tokens, &l->failed);
    if (l->failed)
        return;
    struct sg_token_option chosen = make_option(l, bytes, len, logprob);
    l->tokens[l->n_tokens++] = (struct sg_token_odds){chosen, l->n_tops, 0};
}

static struct sg_slice bytes_of(const struct sg_logprobs *l, struct sg_token_option option)
{
    return (struct sg_slice){sg_buffer_text(&l->text) + option.start, option.len};
}

void sg_logprobs_add_top(struct sg_logprobs *l, const char *bytes, size_t len, double logprob)
{
    if (l->failed || l->n_tokens == 0)
        return;
    struct sg_token_odds *token = &l->tokens[l->n_tokens - 1];
    if (token->n_top >= SG_LOGPROBS_MAX_TOP ||
        sg_slice_equal(bytes_of(l, token->chosen), (struct sg_slice){bytes, len}))
        return;
    l->tops = grow(l->tops, l->n_tops, &l->cap_tops, sizeof *l->tops, &l->failed);
    if (l->failed)
        return;
    l->tops[l->n_tops++] = make_option(l, bytes, len, logprob);
    token->n_top++;
}

void sg_logprobs_clear(struct sg_logprobs *l)
{
    sg_buffer_clear(&l->text);
    l->n_tokens = l->n_tops = 0;
}

void sg_logprobs_free(struct sg_logprobs *l)
{
    sg_buffer_free(&l->text);
    free(l->tokens);
    free(l->tops);
    *l = (struct sg_logprobs){0};
}

/* --- where the answer lies -------------------------------------------------------------------------------- */

/* A token that may stand behind an answer without being part of it: white space, or a marker. */
static bool is_ending(struct sg_slice token)
{
    token = sg_trim_space(token);
    return token.len == 0 || (token.ptr[0] == '<' && token.ptr[token.len - 1] == '>');
}

/* Do the tokens before `n` end in `answer`? Sets the token and the byte in it where the answer begins. */
static bool ends_in(const struct sg_logprobs *l, size_t n, struct sg_slice answer, size_t *token_out,
                    size_t *byte_out)
{
    size_t left = answer.len;
    bool blank = true; /* what was compared so far is white space behind the answer */
    while (n > 0 && left > 0) {
        struct sg_slice token = bytes_of(l, l->tokens[--n].chosen);
        size_t end = token.len;
        while (blank && end > 0 && isspace((unsigned char)token.ptr[end - 1]))
            end--;
        blank = blank && end == 0;
        size_t part = end < left ? end : left;
        if (memcmp(token.ptr + end - part, answer.ptr + left - part, part) != 0)
            return false;
        left -= part;
        *token_out = n;
        *byte_out = end - part;
    }
    return left == 0;
}

static bool align(const struct sg_logprobs *l, struct sg_slice answer, size_t *token_out, size_t *byte_out)
{
    for (size_t n = l->n_tokens; n > 0; n--) {
        if (ends_in(l, n, answer, token_out, byte_out))
            return true;
        if (!is_ending(bytes_of(l, l->tokens[n - 1].chosen)))
            return false;
    }
    return false;
}

/* --- spellings -------------------------------------------------------------------------------------------- */

/* One character of `text`, lower case, hyphens folded, as bytes: *len_out of them are consumed. */
static char folded(struct sg_slice text, size_t *len_out)
{
    const unsigned char *u = (const unsigned char *)text.ptr;
    *len_out = 1;
    if (text.len >= 3 && u[0] == 0xE2 &&
        ((u[1] == 0x80 && u[2] >= 0x90 && u[2] <= 0x95) || (u[1] == 0x88 && u[2] == 0x92))) {
        *len_out = 3;
        return '-';
    }
    return (char)tolower(u[0]);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* Bytes of `text` that spell `word` from its start on; 0 when it does not, or goes on as a longer word. */
static size_t spells(struct sg_slice text, const char *word)
{
    size_t at = 0, n;
    for (const char *w = word; *w; w++) {
        struct sg_slice rest = {text.ptr + at, text.len - at};
        if (!rest.len || folded(rest, &n) != (char)tolower((unsigned char)*w))
            return 0;
        at += n;
    }
    return at < text.len && is_word(text.ptr[at]) ? 0 : at;
}

/* Where `word` stands in `text`, if it stands there once; false otherwise. */
static bool find_once(struct sg_slice text, const char *word, size_t *at_out)
{
    int n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (i > 0 && is_word(text.ptr[i - 1]))
            continue;
        if (spells((struct sg_slice){text.ptr + i, text.len - i}, word)) {
            *at_out = i;
            n++;
        }
    }
    return n == 1;
}

/* Where the value of a JSON key begins (behind a quote), if the key is there once. */
static bool find_value(struct sg_slice text, const char *key, size_t *at_out)
{
    int n = 0;
    size_t len = strlen(key);
    for (size_t i = 0; i + len + 2 < text.len; i++) {
        if (text.ptr[i] != '"' || memcmp(text.ptr + i + 1, key, len) != 0 || text.ptr[i + 1 + len] != '"')
            continue;
        size_t at = i + len + 2;
        while (at < text.len && isspace((unsigned char)text.ptr[at]))
            at++;
        if (at >= text.len || text.ptr[at] != ':')
            continue;
        at++;
        while (at < text.len && (isspace((unsigned char)text.ptr[at]) || text.ptr[at] == '"'))
            at++;
        *at_out = at;
        n++;
    }
    return n == 1;
}

/* --- odds ------------------------------------------------------------------------------------------------- */

/* The permitted answers at one place. */
struct choice {
    const char *text;
    bool violates;
};

enum leads { LEADS_NOWHERE, LEADS_SAFE, LEADS_VIOLATES, LEADS_ON };

/* Where do bytes lead that begin an answer? On, when answers of both kinds are still possible. `last`: nothing comes
 * behind them. */
static enum leads where(struct sg_slice begun, const struct choice *choices, size_t n, bool last)
{
    bool safe = false, violates = false;
    if (!last)
        begun.len = sg_utf8_ready(begun); /* a token may end inside a character */
    for (size_t i = 0; i < n; i++) {
        size_t at = 0, used;
        const char *c = choices[i].text;
        bool agrees = true;
        for (; agrees && *c && at < begun.len; c++, at += used)
            agrees =
                folded((struct sg_slice){begun.ptr + at, begun.len - at}, &used) == (char)tolower((unsigned char)*c);
        agrees = agrees && (*c ? !last : at == begun.len || !is_word(begun.ptr[at]));
        safe = safe || (agrees && !choices[i].violates);
        violates = violates || (agrees && choices[i].violates);
    }
    return safe && violates ? LEADS_ON : safe ? LEADS_SAFE : violates ? LEADS_VIOLATES : LEADS_NOWHERE;
}

struct odds {
    double safe, violating, unresolved;
    bool has_tops;
};

static void add(struct odds *odds, enum leads leads, double p)
{
    if (leads == LEADS_SAFE)
        odds->safe += p;
    else if (leads == LEADS_VIOLATES)
        odds->violating += p;
    else if (leads == LEADS_ON)
        odds->unresolved += p;
}

/* What a token adds to an answer. In the first token `skip` bytes stand before it; an alternative of that token may
 * have other blanks and quotes there. */
static struct sg_slice own_part(struct sg_slice token, bool first)
{
    while (first && token.len && (isspace((unsigned char)*token.ptr) || strchr("\"'`*:([{", *token.ptr)) &&
           *token.ptr)
        token.ptr++, token.len--;
    return token;
}

/* Follow the tokens from (token, byte) until only answers of one kind are possible. */
static struct odds follow(const struct sg_logprobs *l, size_t token, size_t byte, const struct choice *choices,
                          size_t n)
{
    struct odds odds = {.has_tops = true};
    struct sg_buffer begun = {0};
    double mass = 1;
    bool first = true;
    for (; token < l->n_tokens; token++, first = false) {
        const struct sg_token_odds *at = &l->tokens[token];
        size_t before = begun.len;
        odds.has_tops = odds.has_tops && at->n_top > 0;
        for (size_t i = 0; i < at->n_top; i++) {
            struct sg_slice part = own_part(bytes_of(l, l->tops[at->first_top + i]), first);
            sg_buffer_append(&begun, part.ptr, part.len);
            bool empty = begun.len == 0; /* blanks only: it may lead anywhere */
            struct sg_slice whole = {sg_buffer_text(&begun), begun.len};
            add(&odds, empty ? LEADS_ON : where(whole, choices, n, false), mass * l->tops[at->first_top + i].p);
            begun.len = before;
        }
        struct sg_slice part = bytes_of(l, at->chosen);
        if (first)
            part = (struct sg_slice){part.ptr + byte, part.len - byte};
        sg_buffer_append(&begun, part.ptr, part.len);
        mass *= at->chosen.p;
        bool last = token + 1 == l->n_tokens || begun.len > MAX_LABEL;
        enum leads leads = where((struct sg_slice){sg_buffer_text(&begun), begun.len}, choices, n, last);
        if (leads != LEADS_ON || last) {
            add(&odds, leads, mass);
            if (leads == LEADS_NOWHERE) /* it reads otherwise than the reader has read it */
                odds.unresolved += mass;
            break;
        }
    }
    odds.unresolved += begun.failed ? 1 : 0;
    sg_buffer_free(&begun);
    return odds;
}

/* NaN where it cannot be told. The mass is a lower bound, so it is told also when much leads nobody knows where. */
static void settle(const struct odds *odds, double *p_out, double *mass_out)
{
    double total = odds->safe + odds->violating;
    *p_out = NAN;
    *mass_out = odds->has_tops && total > 0 ? fmin(total, 1) : NAN;
    if (!(total > 0) || !(odds->unresolved <= MAX_UNRESOLVED * (total + odds->unresolved)))
        return;
    if (odds->has_tops)
        *p_out = odds->violating / total;
    else /* the written answer's probability alone: the rest counts for the other side */
        *p_out = odds->violating > 0 ? fmin(odds->violating, 1) : 1 - fmin(odds->safe, 1);
}

/* --- by shape of the answer ------------------------------------------------------------------------------- */

struct place {
    const struct sg_logprobs *logprobs;
    size_t token, byte; /* where the answer begins */
    double none, mass;  /* products over the places that decide: nothing violates; permitted mass */
};

/* The byte `at` of the answer decides among `choices`; returns its own p. */
static double decide_at(struct place *place, size_t at, const struct choice *choices, size_t n)
{
    size_t token = place->token, byte = place->byte + at;
    while (token < place->logprobs->n_tokens && byte >= place->logprobs->tokens[token].chosen.len)
        byte -= place->logprobs->tokens[token++].chosen.len;
    struct odds odds = follow(place->logprobs, token, byte, choices, n);
    double p, mass;
    settle(&odds, &p, &mass);
    place->none *= 1 - p;
    place->mass *= mass;
    return p;
}

static bool judge_labels(struct place *place, const struct sg_policy *policy, struct sg_slice answer,
                         const struct sg_verdict *verdict)
{
    size_t n, at;
    const struct sg_label *labels = sg_policy_labels(policy, &n);
    struct choice choices[SG_POLICY_MAX_LABELS];
    for (size_t i = 0; i < n; i++)
        choices[i] = (struct choice){labels[i].text, labels[i].violation};
    if (verdict->n_labels == 0 || verdict->n_labels > 2) /* a pair has two */
        return false;
    for (size_t i = 0; i < verdict->n_labels; i++) {
        if (!find_once(answer, verdict->labels[i], &at))
            return false;
        decide_at(place, at, choices, n);
    }
    return true;
}

static bool judge_keys(struct place *place, const struct sg_policy *policy, struct sg_slice answer,
                       struct sg_verdict *verdict)
{
    static const struct choice choices[] = {{"0", false}, {"1", true}, {"false", false}, {"true", true}};
    size_t n, at;
    const struct sg_output_key *keys = sg_policy_keys(policy, &n);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (keys[i].role != SG_KEY_VIOLATION && keys[i].role != SG_KEY_FLAG)
            continue;
        if (!find_value(answer, keys[i].name, &at))
            return false;
        double p = decide_at(place, at, choices, 4);
        for (size_t f = 0; f < verdict->n_flags; f++)
            if (strcmp(verdict->flags[f].name, keys[i].name) == 0)
                verdict->flags[f].p = p;
        any = true;
    }
    return any;
}

void sg_logprobs_judge(const struct sg_logprobs *logprobs, const struct sg_policy *policy, struct sg_slice answer,
                       struct sg_verdict *verdict)
{
    struct place place = {.logprobs = logprobs, .none = 1, .mass = 1};
    answer = sg_trim_space(answer);
    if (logprobs->failed || answer.len == 0 || verdict->decision == SG_UNDECIDED ||
        !align(logprobs, answer, &place.token, &place.byte))
        return;
    enum sg_output_kind kind = sg_policy_output(policy);
    bool found = kind == SG_OUTPUT_BINARY || kind == SG_OUTPUT_LABELS ? judge_labels(&place, policy, answer, verdict)
                                                                      : judge_keys(&place, policy, answer, verdict);
    if (!found)
        return;
    verdict->p_violation = 1 - place.none;
    verdict->label_mass = place.mass;
}
