/* From many voices to one answer per content.
 *
 *   appeal > review > gold > reasoner
 *
 * The highest role that says anything known decides. People who share it and differ make a dispute, which no lower
 * role settles. Of several reasoners the latest speaks for all. The same holds for each category by itself. */
#include "labels/labels_internal.h"

static int rank(const struct sg_labels *labels, const struct content *content, uint32_t number)
{
    static const int ranks[] = {
        [SG_ROLE_REASONER] = 0, [SG_ROLE_GOLD] = 1, [SG_ROLE_REVIEW] = 2, [SG_ROLE_APPEAL] = 3};
    int own = ranks[labels->said[number].role];
    return own == 0 && content->reasoner != number ? -1 : own;
}

struct verdict {
    int value, rank;
    bool disputed;
};

static void hear(struct verdict *verdict, int value, int rank_of)
{
    if (value == SG_LABEL_UNKNOWN || rank_of < verdict->rank)
        return;
    if (rank_of > verdict->rank)
        *verdict = (struct verdict){value, rank_of, false};
    else if (value != verdict->value)
        verdict->disputed = true;
}

static enum sg_status resolve_categories(struct sg_labels *labels, struct content *content, struct sg_error *err)
{
    struct verdict verdicts[SG_LABEL_MAX_CATEGORIES];
    const char *names[SG_LABEL_MAX_CATEGORIES];
    size_t n = 0, n_known = 0;
    for (uint32_t number = content->first; number != SG_INDEX_NONE; number = labels->said[number].next) {
        const struct said *said = &labels->said[number];
        for (size_t i = 0; i < said->n_categories; i++) {
            size_t k = 0;
            while (k < n && names[k] != said->categories[i].category)
                k++;
            if (k == n) { /* names are interned: at most SG_LABEL_MAX_CATEGORIES different ones */
                names[n] = said->categories[i].category;
                verdicts[n++] = (struct verdict){SG_LABEL_UNKNOWN, -1, false};
            }
            int rank_of = rank(labels, content, number);
            if (rank_of >= 0)
                hear(&verdicts[k], said->categories[i].value, rank_of);
        }
    }
    for (size_t k = 0; k < n; k++)
        n_known += verdicts[k].rank >= 0 && !verdicts[k].disputed;
    if (n_known == 0)
        return SG_OK;
    struct sg_label_value *values = sg_arena_alloc(&labels->arena, n_known * sizeof *values);
    if (!values)
        return sg_fail(err, SG_ENOMEM, "out of memory for labels");
    for (size_t k = 0; k < n; k++)
        if (verdicts[k].rank >= 0 && !verdicts[k].disputed)
            values[content->n_categories++] = (struct sg_label_value){names[k], verdicts[k].value};
    content->categories = values;
    return SG_OK;
}

static void resolve_violation(const struct sg_labels *labels, struct content *content)
{
    struct verdict verdict = {SG_LABEL_UNKNOWN, -1, false};
    struct sg_labelled *item = &content->item;
    for (uint32_t number = content->first; number != SG_INDEX_NONE; number = labels->said[number].next) {
        int rank_of = rank(labels, content, number);
        if (rank_of >= 0)
            hear(&verdict, labels->said[number].violation, rank_of);
    }
    if (content->reasoner != SG_INDEX_NONE)
        item->reasoner_violation = labels->said[content->reasoner].violation;
    item->disputed = verdict.disputed;
    item->violation = verdict.disputed ? SG_LABEL_UNKNOWN : verdict.value;
    item->source = verdict.rank > 0 ? SG_TRUTH_PERSON : verdict.rank == 0 ? SG_TRUTH_REASONER : SG_TRUTH_NONE;
    int draw = item->source == SG_TRUTH_REASONER ? DRAW_REASONER : DRAW_PERSON;
    item->drawn = content->drawn[draw];
    item->p_drawn = content->p_drawn[draw];
    item->reasoner_p_drawn = content->p_drawn[DRAW_REASONER];
}

enum sg_status sg_labels_resolve(struct sg_labels *labels, struct sg_error *err)
{
    for (size_t i = 0; i < labels->n_contents; i++) {
        resolve_violation(labels, &labels->contents[i]);
        enum sg_status status = resolve_categories(labels, &labels->contents[i], err);
        if (status != SG_OK)
            return status;
    }
    return SG_OK;
}
