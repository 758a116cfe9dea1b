#include "eval/eval_attacks.h"

#include "certify/mix.h"

#include <stdlib.h>
#include <string.h>

#define BENIGN_MAX 256 /* texts to pad with */
#define BENIGN_MIN_BYTES 20

/* Rows of a task with a truth, in a random order and at most one of each group, so that they are independent;
 * conversations are left out. Returns their number, at most `max`; `out` has room for every row, `seen` for every
 * group. */
static size_t draw(const struct sg_eval *eval, size_t task, int truth, uint64_t seed, size_t max, uint32_t *out,
                   bool *seen)
{
    size_t n = 0, n_kept = 0;
    memset(seen, 0, eval->rows->n_groups * sizeof *seen);
    for (size_t row = 0; row < eval->rows->n; row++)
        if (!eval->rows->rows[row].is_messages && sg_eval_truth(eval->rows, row, eval->tasks[task].category) == truth)
            out[n++] = (uint32_t)row;
    for (size_t i = 0; i < n && n_kept < max; i++) { /* Fisher and Yates, as far as needed */
        size_t k = i + (size_t)(sg_mix(seed + 0x9e3779b97f4a7c15 * (i + 1)) % (n - i));
        uint32_t row = out[k];
        out[k] = out[i];
        out[i] = row;
        bool *taken = &seen[eval->rows->rows[row].group];
        if (!*taken)
            out[n_kept++] = row; /* n_kept ≤ i + 1: only what was looked at is written over */
        *taken = true;
    }
    return n_kept;
}

/* Texts of rows that do not violate, for padding; too few of them: none, and attacks.c has its own. */
static size_t collect_benign(const struct sg_eval *eval, uint32_t *rows, bool *seen, struct sg_slice *benign)
{
    size_t n = 0, n_rows = draw(eval, 0, 0, 1, eval->rows->n, rows, seen);
    for (size_t i = 0; i < n_rows && n < BENIGN_MAX; i++)
        if (eval->rows->rows[rows[i]].text.len >= BENIGN_MIN_BYTES)
            benign[n++] = eval->rows->rows[rows[i]].text;
    return n < 8 ? 0 : n;
}

static enum sg_status apply(struct sg_attack_set *set, const struct sg_eval *eval, const enum sg_attack *attacks,
                            const struct sg_attack_options *options, struct sg_error *err)
{
    size_t n_rows = set->report.n_rows;
    for (size_t a = 0; a < set->report.n_names; a++) {
        for (size_t i = 0; i < n_rows; i++) {
            size_t at = a * n_rows + i;
            bool applied = false;
            struct sg_slice text = eval->rows->rows[set->report.rows[i]].text;
            enum sg_status status = sg_attack_apply(attacks[a], text, options, &set->texts[at], &applied, err);
            if (status != SG_OK && status != SG_ELIMIT)
                return status;
            set->questions[at] = (struct sg_question){
                .row = set->report.rows[i], .task = set->report.tasks[i], .attack = set->names[a]};
            if (applied && status == SG_OK)
                set->questions[at].text = (struct sg_slice){sg_buffer_text(&set->texts[at]), set->texts[at].len};
        }
    }
    return SG_OK;
}

enum sg_status sg_attack_set_make(const struct sg_eval *eval, const enum sg_attack *attacks, size_t n_attacks,
                                  size_t max_rows, uint64_t seed, struct sg_attack_set *set, struct sg_error *err)
{
    size_t n_all = eval->rows->n;
    *set = (struct sg_attack_set){0};
    max_rows = max_rows < n_all ? max_rows : n_all;
    uint32_t *drawn = malloc((n_all + 1) * sizeof *drawn),
             *rows = malloc((max_rows * eval->n_tasks + 1) * sizeof *rows),
             *tasks = malloc((max_rows * eval->n_tasks + 1) * sizeof *tasks);
    bool *seen = malloc((eval->rows->n_groups + 1) * sizeof *seen);
    struct sg_slice benign[BENIGN_MAX];
    struct sg_attack_options options = {.seed = seed, .benign = benign};
    enum sg_status status = drawn && rows && tasks && seen ? SG_OK : SG_ENOMEM;
    set->report.rows = rows;
    set->report.tasks = tasks;
    for (size_t task = 0; task < eval->n_tasks && status == SG_OK; task++) {
        size_t n = draw(eval, task, 1, seed + task, max_rows, drawn, seen);
        for (size_t i = 0; i < n; i++) {
            rows[set->report.n_rows] = drawn[i];
            tasks[set->report.n_rows++] = (uint32_t)task;
        }
    }
    for (size_t a = 0; a < n_attacks; a++)
        set->names[a] = sg_attack_name(attacks[a]);
    set->report.names = set->names;
    set->report.n_names = n_attacks;
    size_t n = n_attacks * set->report.n_rows;
    set->questions = calloc(n + 1, sizeof *set->questions);
    set->texts = calloc(n + 1, sizeof *set->texts);
    if (!set->questions || !set->texts)
        status = SG_ENOMEM;
    if (status == SG_OK && set->report.n_rows == 0) {
        status = sg_fail(err, SG_EINVALID, "no row violates: there is nothing to attack");
    } else if (status == SG_OK) {
        options.n_benign = collect_benign(eval, drawn, seen, benign);
        options.benign = options.n_benign ? benign : NULL;
        status = apply(set, eval, attacks, &options, err);
    } else {
        sg_fail(err, status, "no memory for %zu attacked rows", set->report.n_rows);
    }
    free(drawn);
    free(seen);
    if (status != SG_OK)
        sg_attack_set_deinit(set);
    return status;
}

enum sg_status sg_attack_set_run(struct sg_attack_set *set, const struct sg_eval_pass *pass, size_t config,
                                 struct sg_error *err)
{
    size_t n = set->report.n_rows * set->report.n_names, n_asked = 0;
    struct sg_question *asked = calloc(n + 1, sizeof *asked);
    struct sg_answer *answers = calloc(n + 1, sizeof *answers), *all = calloc(n + 1, sizeof *all);
    enum sg_status status = asked && answers && all ? SG_OK : sg_fail(err, SG_ENOMEM, "no memory for %zu answers", n);
    for (size_t i = 0; i < n && status == SG_OK; i++)
        if (set->questions[i].text.ptr)
            asked[n_asked++] = set->questions[i];
    if (status == SG_OK)
        status = sg_eval_run(pass, asked, n_asked, answers, err);
    /* back to their places; those where the attack changes nothing stay without an answer */
    for (size_t i = 0, k = 0; i < n && answers && all; i++)
        if (set->questions[i].text.ptr)
            all[i] = answers[k++];
    set->report.answers[config] = all;
    free(asked);
    free(answers);
    return status;
}

void sg_attack_set_deinit(struct sg_attack_set *set)
{
    size_t n = set->report.n_rows * set->report.n_names;
    for (size_t config = 0; config < SG_EVAL_MAX_CONFIGS; config++) {
        for (size_t i = 0; set->report.answers[config] && i < n; i++)
            sg_answer_deinit(&set->report.answers[config][i]);
        free(set->report.answers[config]);
    }
    for (size_t i = 0; set->texts && i < n; i++)
        sg_buffer_free(&set->texts[i]);
    free(set->texts);
    free(set->questions);
    free((void *)(uintptr_t)set->report.rows);
    free((void *)(uintptr_t)set->report.tasks);
    *set = (struct sg_attack_set){0};
}
