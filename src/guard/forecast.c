/* The forecast: what a guard would do with traffic that nobody has labelled, and how much work that leaves for the
 * reasoner. Counts are exact; their intervals (Clopper–Pearson) are those of a sample from the same traffic. */
#include "guard/guard_internal.h"

#include <math.h>
#include <stdlib.h>

#define DELTA_OF_EACH_SIDE 0.025
#define MAX_SEEN (1u << 22) /* contents remembered to tell repeated ones; beyond that they count as new */

struct sg_forecaster {
    struct sg_guard *guard;
    uint64_t n, rules_flag, rules_clear, clear, flag, escalate, by_gate, by_rules, repeated;
    double bytes, seconds;
    uint64_t *seen; /* set of the first 64 bits of content hashes; 0: free */
    size_t n_seen, cap_seen;
};

enum sg_status sg_forecaster_create(struct sg_guard *guard, struct sg_forecaster **forecaster_out,
                                    struct sg_error *err)
{
    struct sg_forecaster *forecaster = calloc(1, sizeof *forecaster);
    *forecaster_out = forecaster;
    if (!forecaster)
        return sg_fail(err, SG_ENOMEM, "forecast: out of memory");
    forecaster->guard = guard;
    return SG_OK;
}

void sg_forecaster_destroy(struct sg_forecaster *forecaster)
{
    if (forecaster)
        free(forecaster->seen);
    free(forecaster);
}

static uint64_t *slot_of(uint64_t *seen, size_t cap, uint64_t hash)
{
    size_t i = hash & (cap - 1);
    while (seen[i] && seen[i] != hash)
        i = (i + 1) & (cap - 1);
    return &seen[i];
}

/* Was it seen before? Remembers it. */
static bool seen_before(struct sg_forecaster *forecaster, uint64_t hash)
{
    if (forecaster->cap_seen == 0 ||
        (2 * forecaster->n_seen >= forecaster->cap_seen && forecaster->cap_seen < MAX_SEEN)) {
        size_t cap = forecaster->cap_seen ? 2 * forecaster->cap_seen : 1024;
        uint64_t *seen = calloc(cap, sizeof *seen);
        if (!seen)
            return false;
        for (size_t i = 0; i < forecaster->cap_seen; i++) {
            if (forecaster->seen[i])
                *slot_of(seen, cap, forecaster->seen[i]) = forecaster->seen[i];
        }
        free(forecaster->seen);
        forecaster->seen = seen;
        forecaster->cap_seen = cap;
    }
    uint64_t *slot = slot_of(forecaster->seen, forecaster->cap_seen, hash);
    if (*slot == hash)
        return true;
    if (4 * forecaster->n_seen < 3 * forecaster->cap_seen) {
        *slot = hash;
        forecaster->n_seen++;
    }
    return false;
}

enum sg_status sg_forecaster_add(struct sg_forecaster *forecaster, const struct sg_content *content,
                                 bool *needs_reasoner_out, struct sg_error *err)
{
    struct sg_guard *guard = forecaster->guard;
    struct sg_desk *desk;
    struct sg_look look = {0};
    double started = sg_governor_now();
    *needs_reasoner_out = false;
    enum sg_status status = sg_desk_take(guard, &desk, err);
    if (status == SG_OK)
        status = sg_look_rules(guard, content, true, desk, &look, err);
    if (status == SG_OK)
        status = sg_look_screen(guard, content, desk, &look, err);
    sg_desk_give_back(guard, desk);
    if (status != SG_OK)
        return status;
    enum sg_cheap cheap = sg_look_settle(guard, &look);
    if (guard->options.mode == SG_GUARD_REASONER_ONLY || guard->options.mode == SG_GUARD_SHADOW)
        cheap = SG_CHEAP_ESCALATES;
    forecaster->seconds += sg_governor_now() - started;
    forecaster->n++;
    forecaster->rules_flag += cheap == SG_CHEAP_RULE_FLAGS;
    forecaster->rules_clear += cheap == SG_CHEAP_RULE_CLEARS;
    forecaster->clear += cheap == SG_CHEAP_CLEARS;
    forecaster->flag += cheap == SG_CHEAP_FLAGS;
    if (cheap != SG_CHEAP_ESCALATES)
        return SG_OK;
    forecaster->escalate++;
    forecaster->by_rules += look.rules.any[SG_RULE_ESCALATE];
    forecaster->by_gate += look.evasive && !look.rules.any[SG_RULE_ESCALATE];
    *needs_reasoner_out = true;

    size_t len;
    const char *text = sg_content_text(content, &len);
    char hash[SG_SHA256_HEX];
    sg_sha256(text, len, hash);
    hash[16] = '\0';
    forecaster->bytes += (double)len;
    forecaster->repeated += seen_before(forecaster, strtoull(hash, NULL, 16) | 1);
    return SG_OK;
}

static struct sg_share share_of(uint64_t n, uint64_t of)
{
    return (struct sg_share){n, of ? (double)n / (double)of : NAN,
                             sg_clopper_pearson_lower((size_t)n, (size_t)of, DELTA_OF_EACH_SIDE),
                             sg_clopper_pearson_upper((size_t)n, (size_t)of, DELTA_OF_EACH_SIDE)};
}

void sg_forecaster_result(const struct sg_forecaster *forecaster, struct sg_forecast *out)
{
    const struct sg_forecaster *f = forecaster;
    double audit = f->guard->options.mode == SG_GUARD_CASCADE ? f->guard->options.audit_share : 0;
    *out = (struct sg_forecast){
        .n = f->n,
        .by_rules_flagged = share_of(f->rules_flag, f->n),
        .by_rules_cleared = share_of(f->rules_clear, f->n),
        .cleared = share_of(f->clear, f->n),
        .flagged = share_of(f->flag, f->n),
        .escalated = share_of(f->escalate, f->n),
        .escalated_by_gate = share_of(f->by_gate, f->n),
        .escalated_by_rules = share_of(f->by_rules, f->n),
        .repeated = share_of(f->repeated, f->escalate),
        .bytes_per_call = f->escalate ? f->bytes / (double)f->escalate : NAN,
        .stage_seconds = f->n ? f->seconds / (double)f->n : NAN,
    };
    /* Of what is not escalated, all that is cleared may be drawn for the audit. */
    struct sg_share cleared = share_of(f->clear + f->rules_clear, f->n);
    out->calls_per_item = out->escalated.share + audit * cleared.share;
    /* Escalated and cleared move against each other; each bound takes the worse end of both. */
    out->calls_low = out->escalated.low + audit * cleared.low;
    out->calls_high = fmin(1, out->escalated.high + audit * cleared.high);
}
