/* What an attack changes: the same rows with and without it. */
#include "eval/report_internal.h"

#include <math.h>

struct tally {
    size_t n, flagged, undecided, cleared, failed;
    size_t lost;        /* flagged without the attack, not flagged with it */
    size_t won;         /* the other way round */
    json_t *cleared_by; /* stage → n */
};

static void count(struct sg_maker *maker, struct tally *tally, const struct sg_answer *plain,
                  const struct sg_answer *attacked)
{
    bool was = plain->decision == SG_VIOLATES, is = attacked->decision == SG_VIOLATES;
    tally->n++;
    tally->flagged += is;
    tally->failed += attacked->failed;
    tally->undecided += attacked->decision == SG_UNDECIDED && !attacked->failed;
    tally->lost += was && !is;
    tally->won += is && !was;
    if (attacked->decision != SG_DOES_NOT_VIOLATE)
        return;
    const char *stage = attacked->stage ? attacked->stage : "unknown";
    tally->cleared++;
    sg_put(maker, tally->cleared_by, stage,
           json_integer(json_integer_value(json_object_get(tally->cleared_by, stage)) + 1));
}

static json_t *tally_json(struct sg_maker *maker, const char *attack, size_t config, size_t task,
                          const struct sg_answer *answers)
{
    const struct sg_eval *eval = maker->eval;
    const struct sg_eval_attacks *attacks = eval->attacks;
    struct tally tally = {.cleared_by = json_object()};
    size_t plain_flagged = 0;
    for (size_t i = 0; i < attacks->n_rows; i++) {
        const struct sg_answer *plain = sg_answer_of(eval, config, attacks->tasks[i], attacks->rows[i]);
        if (attacks->tasks[i] != task || !plain->line || !answers[i].line)
            continue;
        plain_flagged += plain->decision == SG_VIOLATES;
        count(maker, &tally, plain, &answers[i]);
    }
    double confidence = eval->interval.confidence;
    return json_pack("{s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "attack", attack,
                     "configuration", sg_name_json(eval->configs[config].name), "label",
                     sg_name_json(eval->tasks[task].label), "rows", (json_int_t)tally.n, "plain",
                     sg_interval_json(sg_exact_share(plain_flagged, tally.n, confidence), "0 positives"), "flagged",
                     sg_interval_json(sg_exact_share(tally.flagged, tally.n, confidence), "0 positives"),
                     "not_cleared",
                     sg_interval_json(sg_exact_share(tally.n - tally.cleared, tally.n, confidence), "0 positives"),
                     "cleared_by", tally.cleared_by, "undecided", (json_int_t)tally.undecided, "failed",
                     (json_int_t)tally.failed, "lost", (json_int_t)tally.lost, "won", (json_int_t)tally.won, "change",
                     sg_real(tally.n ? ((double)tally.flagged - (double)plain_flagged) / (double)tally.n : NAN),
                     "mcnemar_p", sg_real(sg_mcnemar(tally.lost, tally.won)));
}

enum sg_status sg_report_attacks(struct sg_maker *maker, json_t *report, struct sg_error *err)
{
    const struct sg_eval *eval = maker->eval;
    json_t *list = json_array();
    (void)err;
    sg_put(maker, report, "attacks", list);
    for (size_t config = 0; eval->attacks && config < eval->n_configs; config++) {
        const struct sg_answer *answers = eval->attacks->answers[config];
        for (size_t task = 0; answers && task < eval->n_tasks; task++)
            for (size_t i = 0; i < eval->attacks->n_names; i++)
                sg_add(maker, list,
                       tally_json(maker, eval->attacks->names[i], config, task, answers + i * eval->attacks->n_rows));
    }
    return SG_OK;
}
