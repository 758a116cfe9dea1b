/* Certificates from label files.
 *
 * A row is fit when its truth is known and undisputed, when it was drawn with a known probability, and when the
 * screen was not learnt from any row of its group: that depends on nothing but the group and the frozen screen, so
 * the claim is about content of groups that were not learnt from. What a row scores is what the guard's clearing
 * function says: rules and evasion gate included.
 *
 * Every attempt uses part of the permitted error probability. It is written to the label file, and on disk, before
 * its outcome is told, so that asking again and again until the answer pleases is no way around. The same question on
 * the same rows gets the same answer and costs nothing. */
#include "guard/prove.h"

#include "guard/stage_verdicts.h"

#include "safeguard/content.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct proving {
    const struct sg_proof_options *options;
    struct sg_proof *proof;
    const struct sg_labels *labels;
    struct sg_label_writer *writer;
    const char *attempts_path;
    struct sg_guard *guard; /* opened for the category at work */
    struct sg_screen *screen;
    size_t at;                          /* of the category at work */
    struct sg_stage_verdicts *verdicts; /* NULL: the claims are about the screen */
    struct sg_certify_row *miss, *flag;
    size_t n;
    char rows_sha256[SG_SHA256_HEX];
    const char *reasoners[2]; /* whose truth is used: names, at most two */
};

/* --- rows --------------------------------------------------------------------------------------------------- */

/* Probability with which the row came into the labels: as the reasoner's draw has it, where there was one, for people
 * then only corrected it; else as the people's draw has it. */
static double p_drawn(const struct proving *proving, const struct sg_labelled *row)
{
    if (!proving->options->people_only && row->reasoner_p_drawn > 0)
        return row->reasoner_p_drawn;
    return row->p_drawn;
}

/* SG_UNFIT_COUNT: fit so far. */
static enum sg_unfit unfit(const struct proving *proving, size_t i)
{
    const struct sg_labelled *row = sg_labels_at(proving->labels, i);
    if (row->disputed)
        return SG_UNFIT_DISPUTED;
    if (sg_labels_value(proving->labels, i, proving->options->categories[proving->at]) == SG_LABEL_UNKNOWN)
        return SG_UNFIT_UNKNOWN;
    if (proving->options->people_only && row->source != SG_TRUTH_PERSON)
        return SG_UNFIT_NOT_PEOPLE;
    if (!row->text)
        return SG_UNFIT_NO_TEXT;
    if (!(p_drawn(proving, row) > 0))
        return SG_UNFIT_NOT_DRAWN;
    if (sg_screen_learnt_from(proving->screen, sg_screen_group_hash(row->group)) ||
        sg_screen_learnt_from(proving->screen, sg_screen_group_hash(row->content_sha256)))
        return SG_UNFIT_LEARNT;
    return SG_UNFIT_COUNT;
}

enum sg_status sg_row_clearing(struct sg_guard *guard, const struct sg_labelled *row, enum sg_clearing *clearing_out,
                               double *score_out, struct sg_error *err)
{
    struct sg_content *content;
    enum sg_status status = sg_content_from_text(row->text, row->text_len, &content, err);
    if (status == SG_OK)
        status = sg_guard_clearing(guard, content, clearing_out, score_out, err);
    sg_content_destroy(content);
    return status;
}

/* Whose truth it is, for the certificate to say. */
static void note_source(struct proving *proving, size_t i)
{
    struct sg_certificate *certificate = &proving->proof->certificate;
    if (sg_labels_at(proving->labels, i)->source == SG_TRUTH_PERSON) {
        certificate->n_people += proving->at == 0;
        return;
    }
    certificate->n_reasoner += proving->at == 0;
    struct sg_said said[16];
    size_t n = sg_labels_said(proving->labels, i, said, sizeof(said) / sizeof(said[0]));
    for (size_t j = 0; j < n && j < sizeof(said) / sizeof(said[0]); j++)
        if (said[j].role == SG_ROLE_REASONER && proving->reasoners[0] != said[j].who)
            proving->reasoners[proving->reasoners[0] != NULL] = said[j].who;
}

/* From the screen's scores to those of the reasoner behind it: what rules or screen decide is settled, the rest has
 * the reasoner's probability, or passes on when it has none. */
static void move_behind(const struct proving *proving, const struct sg_labelled *row, enum sg_clearing clearing,
                        struct sg_certify_row *miss, struct sg_certify_row *flag)
{
    const struct sg_certificate_entry *entry = &proving->proof->certificate.entries[0];
    double p = sg_stage_p_violation(proving->verdicts, row->content_sha256, row->id);
    bool clears = entry->miss.result.certified && miss->score < entry->miss.result.threshold;
    bool flags = entry->flag.result.certified && flag->score >= entry->flag.result.threshold;
    if (clears && !flags) {
        miss->score = flag->score = -INFINITY;
    } else if (flags && !clears) {
        miss->score = flag->score = INFINITY;
    } else {
        bool escalates = flag->score == -INFINITY; /* a rule: nothing but the last reasoner decides */
        miss->score = isnan(p) || clearing == SG_CLEARING_NEVER ? INFINITY : p;
        flag->score = isnan(p) || escalates ? -INFINITY : p;
    }
}

/* One fit row. Also into the hash of the rows: content, truth, probability, group. */
static enum sg_status take_row(struct proving *proving, size_t i, struct sg_sha256_stream *hash, struct sg_error *err)
{
    const struct sg_labelled *row = sg_labels_at(proving->labels, i);
    enum sg_clearing clearing;
    double score;
    enum sg_status status = sg_row_clearing(proving->guard, row, &clearing, &score, err);
    if (status == SG_EINVALID) {
        proving->proof->n_unfit[proving->at][SG_UNFIT_UNREADABLE]++;
        return SG_OK;
    }
    if (status != SG_OK)
        return status;
    struct sg_certify_row *miss = &proving->miss[proving->n], *flag = &proving->flag[proving->n];
    *miss = (struct sg_certify_row){
        .score = clearing == SG_CLEARING_BY_SCORE ? score
                 : clearing == SG_CLEARING_ALWAYS ? -INFINITY
                                                  : INFINITY,
        .violates = sg_labels_value(proving->labels, i, proving->options->categories[proving->at]) == 1,
        .p_drawn = p_drawn(proving, row),
        .group = sg_screen_group_hash(row->group),
        .shared = !proving->options->one_per_group && strcmp(row->group, row->content_sha256) != 0,
    };
    *flag = *miss; /* a rule that flags does so at every threshold; what the gate keeps back a score may still flag */
    flag->score = clearing == SG_CLEARING_FLAGGED  ? INFINITY
                  : clearing == SG_CLEARING_ALWAYS ? -INFINITY
                                                   : (isfinite(score) ? score : -INFINITY);
    if (proving->verdicts)
        move_behind(proving, row, clearing, miss, flag);
    char line[256];
    int len = snprintf(line, sizeof(line), "%s %d %.17g %016llx\n", row->content_sha256, miss->violates,
                       miss->p_drawn, (unsigned long long)miss->group);
    sg_sha256_update(hash, line, (size_t)len);
    note_source(proving, i);
    proving->n++;
    return SG_OK;
}

static enum sg_status take_rows(struct proving *proving, struct sg_error *err)
{
    size_t n = sg_labels_count(proving->labels);
    struct sg_sha256_stream *hash = sg_sha256_create();
    enum sg_status status = hash ? SG_OK : sg_fail(err, SG_ENOMEM, "certificate: no memory");
    proving->n = 0;
    for (size_t i = 0; i < n && status == SG_OK; i++) {
        enum sg_unfit why = unfit(proving, i);
        if (why == SG_UNFIT_COUNT)
            status = take_row(proving, i, hash, err);
        else
            proving->proof->n_unfit[proving->at][why]++;
    }
    proving->proof->n_fit[proving->at] = proving->n;
    if (hash)
        sg_sha256_final(hash, proving->rows_sha256);
    return status;
}

/* --- attempts ----------------------------------------------------------------------------------------------- */

static json_t *describe_attempt(const struct proving *proving, const char *side, double rate)
{
    const struct sg_proof_options *options = proving->options;
    const struct sg_clearing_function *function = &proving->proof->certificate.function;
    char stage[400] = "screen";
    if (proving->verdicts) /* behind the screen of this certificate */
        snprintf(stage, sizeof(stage), "%.250s %s %s", sg_stage_model_name(proving->verdicts),
                 sg_stage_model_sha256(proving->verdicts), proving->proof->certificate.sha256);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:b, s:s, s:s}", //
                     "stage", stage, "policy_sha256", function->policy_sha256, "screen_sha256",
                     function->screen_sha256, "rules_sha256", function->rules_sha256, "features_version",
                     function->features_version, "category", options->categories[proving->at], "side", side, "rate",
                     rate, "confidence", options->confidence, "share", options->share, "p_floor", options->p_floor,
                     "one_per_group", options->one_per_group, "seed",
                     "", /* set below: 64 bits do not fit a JSON integer */
                     "rows_sha256", proving->rows_sha256);
}

/* Do all members of `asked` stand in `earlier`? */
static bool same_question(const json_t *asked, const json_t *earlier)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)asked, key, value)
    {
        if (!json_equal(value, json_object_get(earlier, key)))
            return false;
    }
    return true;
}

static bool is_string(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value && strcmp(value, text) == 0;
}

/* What earlier attempts at the same kind of claim have used, up to the same question if it was asked before. */
static enum sg_status look_back(const struct proving *proving, const json_t *asked, double *spent_out,
                                uint64_t *number_out, bool *again_out, struct sg_error *err)
{
    size_t n;
    const char *const *attempts = sg_labels_attempts(proving->labels, &n);
    *spent_out = 0;
    *number_out = 1;
    *again_out = false;
    for (size_t i = 0; i < n && !*again_out; i++) {
        json_t *earlier = json_loads(attempts[i], 0, NULL);
        const json_t *delta = json_object_get(earlier, "delta");
        bool ours = is_string(earlier, "policy_sha256", proving->proof->certificate.function.policy_sha256) &&
                    json_equal(json_object_get(asked, "category"), json_object_get(earlier, "category")) &&
                    json_equal(json_object_get(asked, "side"), json_object_get(earlier, "side"));
        bool readable = earlier && (!ours || (json_is_number(delta) && json_number_value(delta) >= 0));
        if (readable && ours && same_question(asked, earlier)) {
            *again_out = true;
        } else if (readable && ours) {
            *spent_out += json_number_value(delta);
            ++*number_out;
        }
        json_decref(earlier);
        if (!readable)
            return sg_fail(
                err, SG_EFORMAT,
                "certificate: attempt %zu in the label files cannot be read, so what it has used is not known",
                i + 1);
    }
    return SG_OK;
}

static enum sg_status claim(struct proving *proving, const char *side, double rate, struct sg_certificate_claim *out,
                            struct sg_error *err)
{
    const struct sg_proof_options *options = proving->options;
    struct sg_certificate *certificate = &proving->proof->certificate;
    bool again, miss = strcmp(side, "miss") == 0;
    uint64_t number;
    char seed[32];
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)options->seed);
    json_t *asked = describe_attempt(proving, side, rate);
    if (!asked || json_object_set_new(asked, "seed", json_string(seed)) != 0) {
        json_decref(asked);
        return sg_fail(err, SG_EINVALID, "certificate: a category's name is not UTF-8, or no memory");
    }
    out->tried = true;
    out->rate = rate;
    out->confidence = options->confidence;
    enum sg_status status = look_back(proving, asked, &out->spent, &number, &again, err);
    struct sg_certify_options how = {.side = miss ? SG_CERTIFY_MISS : SG_CERTIFY_FLAG,
                                     .rate = rate,
                                     .confidence = options->confidence,
                                     .spent = out->spent,
                                     .share = options->share,
                                     .p_floor = options->p_floor,
                                     .seed = options->seed};
    if (status == SG_OK)
        status = sg_certify(miss ? proving->miss : proving->flag, proving->n, &how, &out->result, err);
    if (status == SG_OK && !again) {
        json_object_set_new(asked, "delta", json_real(out->result.delta));
        json_object_set_new(asked, "time", json_integer((json_int_t)options->time));
        char *json = json_dumps(asked, JSON_COMPACT | JSON_REAL_PRECISION(17));
        status = json ? sg_label_writer_attempt(proving->writer, json, err)
                      : sg_fail(err, SG_ENOMEM, "certificate: no memory");
        free(json);
        proving->proof->repeated = false;
    }
    json_decref(asked);
    if (number > certificate->attempt)
        certificate->attempt = number;
    return status;
}

/* --- all ---------------------------------------------------------------------------------------------------- */

static enum sg_status open_guard(struct proving *proving, struct sg_error *err)
{
    struct sg_guard_options options = {.mode = SG_GUARD_SCREEN_ONLY,
                                       .rules_path = proving->options->rules_path,
                                       .screen_path = proving->options->screen_path,
                                       .certificate_path = proving->options->certificate_path,
                                       .category = proving->options->categories[proving->at]};
    sg_guard_close(proving->guard);
    proving->guard = NULL;
    enum sg_status status = sg_guard_open(proving->options->policy, &options, NULL, &proving->guard, err);
    if (status != SG_OK)
        return status;
    struct sg_clearing_function *function = &proving->proof->certificate.function;
    const char *rules = sg_guard_rules_sha256(proving->guard);
    snprintf(function->policy_sha256, sizeof(function->policy_sha256), "%s",
             sg_policy_sha256(proving->options->policy));
    snprintf(function->screen_sha256, sizeof(function->screen_sha256), "%s", sg_guard_screen_sha256(proving->guard));
    snprintf(function->rules_sha256, sizeof(function->rules_sha256), "%s", rules ? rules : "");
    snprintf(function->features_version, sizeof(function->features_version), "%s", sg_screen_features_version());
    return SG_OK;
}

/* The entry that claims go to, with its category. */
static enum sg_status begin_entry(struct proving *proving, struct sg_error *err)
{
    const char *category = proving->options->categories[proving->at];
    struct sg_certificate *certificate = &proving->proof->certificate;
    struct sg_certificate_entry *entry = &certificate->entries[proving->at];
    if (strlen(category) >= sizeof(entry->category))
        return sg_fail(err, SG_EINVALID, "certificate: a category's name is longer than %zu bytes",
                       sizeof(entry->category) - 1);
    strcpy(entry->category, category);
    certificate->n_entries = proving->at + 1;
    return SG_OK;
}

/* Start from the certificate of the stages before: of it only the category at work, in the first place. */
static enum sg_status begin_behind(struct proving *proving, struct sg_error *err)
{
    const struct sg_proof_options *options = proving->options;
    struct sg_certificate *certificate = &proving->proof->certificate;
    enum sg_status status = sg_certificate_open(options->certificate_path, certificate, err);
    const struct sg_certificate_entry *entry =
        status == SG_OK ? sg_certificate_entry(certificate, options->categories[0]) : NULL;
    if (status == SG_OK && (options->n_categories != 1 || !entry))
        status = sg_fail(err, SG_EINVALID, "%s: expected a certificate about the one category asked for",
                         options->certificate_path);
    if (status == SG_OK && entry->n_reasoners == sizeof(entry->reasoners) / sizeof(entry->reasoners[0]))
        status = sg_fail(err, SG_ELIMIT, "%s: it has claims about %zu reasoners already", options->certificate_path,
                         entry->n_reasoners);
    if (status == SG_OK && entry->n_reasoners > 0)
        status = sg_fail(err, SG_EUNSUPPORTED,
                         "%s: it has claims about a reasoner; one behind another cannot be certified yet",
                         options->certificate_path);
    if (status != SG_OK)
        return status;
    struct sg_certificate_entry only = *entry;
    memset(certificate->entries, 0, sizeof(certificate->entries));
    certificate->entries[0] = only;
    certificate->n_entries = 1;
    certificate->n_people = certificate->n_reasoner = 0;
    certificate->time = options->time;
    return SG_OK;
}

static enum sg_status prove_category(struct proving *proving, struct sg_error *err)
{
    const struct sg_proof_options *options = proving->options;
    struct sg_certificate_entry *entry = &proving->proof->certificate.entries[proving->at];
    enum sg_status status = proving->verdicts ? begin_behind(proving, err) : begin_entry(proving, err);
    struct sg_certificate_claim *miss = &entry->miss, *flag = &entry->flag;
    if (status == SG_OK && proving->verdicts) {
        struct sg_certificate_reasoner *reasoner = &entry->reasoners[entry->n_reasoners++];
        snprintf(reasoner->name, sizeof(reasoner->name), "%s", sg_stage_model_name(proving->verdicts));
        snprintf(reasoner->sha256, sizeof(reasoner->sha256), "%s", sg_stage_model_sha256(proving->verdicts));
        miss = &reasoner->miss;
        flag = &reasoner->flag;
    }
    if (status == SG_OK)
        status = open_guard(proving, err);
    if (status == SG_OK)
        status = take_rows(proving, err);
    if (status == SG_OK && !isnan(options->miss))
        status = claim(proving, "miss", options->miss, miss, err);
    if (status == SG_OK && !isnan(options->flag))
        status = claim(proving, "flag", options->flag, flag, err);
    return status;
}

static void say_truth(struct proving *proving)
{
    struct sg_certificate *certificate = &proving->proof->certificate;
    bool people = certificate->n_people > 0, reasoner = certificate->n_reasoner > 0;
    strcpy(certificate->truth, people && reasoner ? "mixed" : reasoner ? "reasoner" : "people");
    if (reasoner)
        snprintf(certificate->reasoner, sizeof(certificate->reasoner), "%s",
                 proving->reasoners[1]   ? "several"
                 : proving->reasoners[0] ? proving->reasoners[0]
                                         : "");
}

/* The label file that keeps attempts, locked before labels are read: nobody else's attempt slips in between. */
static enum sg_status open_writer(struct proving *proving, struct sg_error *err)
{
    const struct sg_proof_options *options = proving->options;
    const char *path = options->attempts_path;
    for (size_t i = 0; i < options->n_label_paths && !path; i++) {
        bool is_label_file;
        enum sg_status status = sg_label_file_is(options->label_paths[i], &is_label_file, err);
        if (status != SG_OK)
            return status;
        if (is_label_file)
            path = options->label_paths[i];
    }
    if (!path)
        return sg_fail(
            err, SG_EINVALID,
            "certificate: the files given are data sets, whose rows do not say how they were drawn; bring them "
            "into a label file with `labels import --drawn uniform --p 1` if they are a random sample");
    proving->attempts_path = path;
    return sg_label_writer_open(path, &proving->writer, err);
}

/* Label files and the one with the attempts. */
static enum sg_status open_labels(struct proving *proving, struct sg_labels **labels_out, struct sg_error *err)
{
    const struct sg_proof_options *options = proving->options;
    size_t n = options->n_label_paths;
    const char **paths = malloc((n + 1) * sizeof(*paths));
    if (!paths)
        return sg_fail(err, SG_ENOMEM, "certificate: no memory");
    bool among = false;
    for (size_t i = 0; i < n; i++) {
        paths[i] = options->label_paths[i];
        among = among || strcmp(paths[i], proving->attempts_path) == 0;
    }
    if (!among)
        paths[n++] = proving->attempts_path;
    enum sg_status status = sg_labels_open(paths, n, sg_policy_sha256(options->policy), labels_out, err);
    free(paths);
    return status;
}

static enum sg_status copy_notes(struct proving *proving, struct sg_error *err)
{
    size_t n;
    const char *const *notes = sg_labels_notes(proving->labels, &n);
    proving->proof->notes = calloc(n ? n : 1, sizeof(char *));
    if (!proving->proof->notes)
        return sg_fail(err, SG_ENOMEM, "certificate: no memory");
    for (; proving->proof->n_notes < n; proving->proof->n_notes++) {
        char *copy = strdup(notes[proving->proof->n_notes]);
        if (!copy)
            return sg_fail(err, SG_ENOMEM, "certificate: no memory");
        proving->proof->notes[proving->proof->n_notes] = copy;
    }
    return SG_OK;
}

enum sg_status sg_prove(const struct sg_proof_options *options, struct sg_proof **proof_out, struct sg_error *err)
{
    struct proving proving = {.options = options, .proof = calloc(1, sizeof(struct sg_proof))};
    struct sg_labels *labels = NULL;
    *proof_out = NULL;
    enum sg_status status = proving.proof ? SG_OK : sg_fail(err, SG_ENOMEM, "certificate: no memory");
    if (status == SG_OK && options->n_categories > SG_SCREEN_MAX_CATEGORIES)
        status = sg_fail(err, SG_ELIMIT, "certificate: %zu categories, at most %d", options->n_categories,
                         SG_SCREEN_MAX_CATEGORIES);
    if (status == SG_OK)
        status = sg_screen_open(options->screen_path, &proving.screen, err);
    if (status == SG_OK && options->verdicts_path)
        status = sg_stage_verdicts_open(options->verdicts_path, &proving.verdicts, err);
    if (status == SG_OK)
        status = open_writer(&proving, err);
    if (status == SG_OK)
        status = open_labels(&proving, &labels, err);
    if (status == SG_OK) {
        proving.labels = labels;
        proving.proof->n_rows = sg_labels_count(labels);
        proving.proof->repeated = true;
        proving.proof->certificate.time = options->time;
        proving.miss = malloc((proving.proof->n_rows + 1) * sizeof(*proving.miss));
        proving.flag = malloc((proving.proof->n_rows + 1) * sizeof(*proving.flag));
        if (!proving.miss || !proving.flag)
            status = sg_fail(err, SG_ENOMEM, "certificate: no memory for %zu rows", proving.proof->n_rows);
    }
    if (status == SG_OK)
        status = copy_notes(&proving, err);
    for (proving.at = 0; proving.at < options->n_categories && status == SG_OK; proving.at++)
        status = prove_category(&proving, err);
    if (status == SG_OK)
        say_truth(&proving);
    struct sg_error closing; /* on disk before anything is told, also when a later category failed */
    enum sg_status closed = sg_label_writer_close(proving.writer, &closing);
    if (status == SG_OK && closed != SG_OK)
        status = sg_fail(err, closed, "%s", closing.text);
    sg_guard_close(proving.guard);
    sg_screen_close(proving.screen);
    sg_stage_verdicts_close(proving.verdicts);
    sg_labels_close(labels);
    free(proving.miss);
    free(proving.flag);
    if (status == SG_OK)
        *proof_out = proving.proof;
    else
        sg_proof_destroy(proving.proof);
    return status;
}

void sg_proof_destroy(struct sg_proof *proof)
{
    if (!proof)
        return;
    for (size_t i = 0; i < proof->n_notes; i++)
        free(proof->notes[i]);
    free(proof->notes);
    free(proof);
}
