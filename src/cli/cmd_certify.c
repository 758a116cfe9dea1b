/* safeguard screen certify | watch. */
#include "cli/options.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "guard/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct certify {
    const char *policy, *screen, *rules, *out, *attempts, *certificate, *verdicts;
    struct sg_list labels, categories;
    double miss, flag, confidence, spend, p_floor;
    uint64_t seed;
    bool people, one_per_group, json;
};

static void put(const char *text)
{
    sg_put_safe(stdout, text, strlen(text));
}

static void print_unfit(const struct sg_proof *proof, size_t at)
{
    static const char *const why[] = {
#define X(symbol, text) text,
        SG_UNFIT_LIST(X)
#undef X
    };
    printf("rows        %zu of %zu may prove something\n", proof->n_fit[at], proof->n_rows);
    for (size_t i = 0; i < SG_UNFIT_COUNT; i++)
        if (proof->n_unfit[at][i])
            printf("            %zu %s\n", proof->n_unfit[at][i], why[i]);
}

static void print_certified(const struct sg_certificate_claim *claim, bool miss)
{
    const struct sg_certified *result = &claim->result;
    printf("certified\n            %s %.4f\n", miss ? "clears below" : "flags from", result->threshold);
    printf("            %.1f %% of what %s is %s\n", 100 * result->passed_share,
           miss ? "does not violate" : "violates", miss ? "cleared" : "flagged");
    printf("            %zu of %zu rows that %s are %s: %.2f %%, at most %.2f %%\n", result->n_wrong,
           result->n_counted, miss ? "violate" : "are flagged", miss ? "cleared" : "harmless", 100 * result->estimate,
           100 * result->bound);
}

static void print_failed(const struct sg_certificate_claim *claim, bool miss)
{
    const struct sg_certified *result = &claim->result;
    const char *rows = miss ? "violating" : "flagged";
    if (result->needed > result->n_counted)
        printf("not certifiable: needs at least %zu more %s rows\n", result->needed - result->n_counted, rows);
    else
        printf("not certifiable from such rows, however many\n");
    printf("            there are %zu %s rows, %zu of them %s at the safest threshold\n", result->n_counted, rows,
           result->n_wrong, miss ? "cleared" : "harmless");
}

static void print_claim(const struct sg_certificate_claim *claim, bool miss)
{
    const struct sg_certified *result = &claim->result;
    if (!claim->tried)
        return;
    printf("%s        at most %g %% of what %s, with confidence %g %%: ", miss ? "miss" : "flag", 100 * claim->rate,
           miss ? "violates is cleared" : "is flagged does not violate", 100 * claim->confidence);
    if (result->certified)
        print_certified(claim, miss);
    else
        print_failed(claim, miss);
    printf("            by %s on %zu rows, %zu of them violating, one of each group\n",
           result->method == SG_BETTING ? "betting, rows weighted by how they were drawn," : "exact binomial bounds",
           result->n_rows, result->n_violating);
    printf("            used %.3g of the permitted error probability %.3g; earlier attempts %.3g\n", result->delta,
           1 - claim->confidence, claim->spent);
    if (miss && result->certified)
        printf("            audited, a doubling of the promised rate is noticed after about %.0f violating rows\n",
               sg_drift_delay(claim->rate, 1 - claim->confidence, 2, 1000));
}

static void print_proof(const struct sg_proof *proof)
{
    const struct sg_certificate *certificate = &proof->certificate;
    printf("truth       of %s: %llu rows of people, %llu of a reasoner", certificate->truth,
           (unsigned long long)certificate->n_people, (unsigned long long)certificate->n_reasoner);
    if (certificate->reasoner[0]) {
        fputs(" (", stdout);
        put(certificate->reasoner);
        putchar(')');
    }
    printf("\nattempt     %llu%s\n", (unsigned long long)certificate->attempt,
           proof->repeated ? ", asked before: nothing new is used up" : "");
    for (size_t i = 0; i < certificate->n_entries; i++) {
        fputs("category    ", stdout);
        put(certificate->entries[i].category);
        putchar('\n');
        print_unfit(proof, i);
        print_claim(&certificate->entries[i].miss, true);
        print_claim(&certificate->entries[i].flag, false);
        for (size_t j = 0; j < certificate->entries[i].n_reasoners; j++) {
            fputs("reasoner    ", stdout);
            put(certificate->entries[i].reasoners[j].name);
            putchar('\n');
            print_claim(&certificate->entries[i].reasoners[j].miss, true);
            print_claim(&certificate->entries[i].reasoners[j].flag, false);
        }
    }
}

static void look_at(const struct sg_certificate_claim *claim, bool *all, bool *any)
{
    *all = *all && (!claim->tried || claim->result.certified);
    *any = *any || claim->result.certified;
}

/* Are all claims that were asked for certified? Is any? */
static bool all_certified(const struct sg_certificate *certificate, bool *any_out)
{
    bool all = true;
    *any_out = false;
    for (size_t i = 0; i < certificate->n_entries; i++) {
        const struct sg_certificate_entry *entry = &certificate->entries[i];
        look_at(&entry->miss, &all, any_out);
        look_at(&entry->flag, &all, any_out);
        for (size_t j = 0; j < entry->n_reasoners; j++) {
            look_at(&entry->reasoners[j].miss, &all, any_out);
            look_at(&entry->reasoners[j].flag, &all, any_out);
        }
    }
    return all;
}

static int report(const struct certify *certify, struct sg_proof *proof, struct sg_error *err)
{
    char *json = NULL;
    bool any, all = all_certified(&proof->certificate, &any);
    for (size_t i = 0; i < proof->n_notes; i++) {
        fputs("safeguard: ", stderr);
        sg_put_safe(stderr, proof->notes[i], strlen(proof->notes[i]));
        fputc('\n', stderr);
    }
    enum sg_status status = sg_certificate_to_json(&proof->certificate, &json, err);
    if (status == SG_OK && certify->out && any)
        status = sg_certificate_save(certify->out, &proof->certificate, err);
    if (status == SG_OK && certify->json)
        puts(json);
    else if (status == SG_OK)
        print_proof(proof);
    free(json);
    if (status != SG_OK)
        return sg_say_error(err, SG_EXIT_FAILURE);
    if (certify->out && !any)
        fputs("safeguard: nothing is certified, so no certificate was written and everything escalates\n", stderr);
    return all ? SG_EXIT_OK : SG_EXIT_FAILURE;
}

static int run(const struct certify *certify)
{
    struct sg_policy *policy = NULL;
    struct sg_proof *proof = NULL;
    struct sg_error err;
    int exit = SG_EXIT_FAILURE;
    enum sg_status status = sg_policy_open(certify->policy, &policy, &err);
    if (status == SG_OK) {
        const char *const any[] = {"any"};
        struct sg_proof_options options = {
            .policy = policy,
            .screen_path = certify->screen,
            .rules_path = certify->rules,
            .label_paths = certify->labels.values,
            .n_label_paths = certify->labels.n,
            .attempts_path = certify->attempts,
            .certificate_path = certify->certificate,
            .verdicts_path = certify->verdicts,
            .categories = certify->categories.n ? certify->categories.values : any,
            .n_categories = certify->categories.n ? certify->categories.n : 1,
            .miss = certify->miss,
            .flag = certify->flag,
            .confidence = certify->confidence,
            .share = certify->spend,
            .p_floor = certify->p_floor,
            .seed = certify->seed,
            .people_only = certify->people,
            .one_per_group = certify->one_per_group,
            .time = (int64_t)time(NULL),
        };
        status = sg_prove(&options, &proof, &err);
    }
    exit = status == SG_OK ? report(certify, proof, &err) : sg_say_error(&err, SG_EXIT_FAILURE);
    sg_proof_destroy(proof);
    sg_policy_close(policy);
    return exit;
}

int sg_verb_screen_certify(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "screen certify",
        .summary = "thresholds of a screen, with proof of how much is missed",
        .usage = "--policy FILE --labels FILE … --screen FILE --miss RATE [--flag RATE] [--out FILE]",
        .about =
            "Finds the highest threshold below which content may be cleared without the reasoner so that at most "
            "RATE\n"
            "of what violates is cleared, with the given confidence. Rests on rows that were drawn at random with a\n"
            "known probability and that the screen has not learnt from. Without enough of them it says how many are\n"
            "missing, and everything escalates. The certificate is about this policy, screen, rules and normaliser: "
            "it\n"
            "is void when one of them changes. Each attempt uses part of the permitted error probability and is "
            "kept\n"
            "in the label file (docs/certificate.md).\n",
        .examples = "  safeguard screen certify --policy spam.md --labels spam.labels.jsonl --screen spam.screen \\\n"
                    "      --miss 0.01 --out spam.certificate\n",
        .exits = "  0  all that was asked for is certified\n"
                 "  1  something is not certifiable, or a file cannot be read or written\n"
                 "  2  wrong use\n",
    };
    struct certify own = {.miss = NAN, .flag = NAN, .confidence = 0.95, .spend = SG_CERTIFY_SHARE};
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &own.policy, "FILE", "the policy that the labels belong to", 0, 0},
        {"labels", SG_OPTION_LIST, &own.labels, "FILE", "label file; may be given several times", 0, 0},
        {"screen", SG_OPTION_STRING, &own.screen, "FILE", "the screen", 0, 0},
        {"rules", SG_OPTION_STRING, &own.rules, "FILE", "rules that come before it", 0, 0},
        {"category", SG_OPTION_LIST, &own.categories, "NAME",
         "category of the screen (default: any); may be given several times", 0, 0},
        {"miss", SG_OPTION_DOUBLE, &own.miss, "RATE", "of what violates, at most this share is cleared", 1e-6, 0.999},
        {"flag", SG_OPTION_DOUBLE, &own.flag, "RATE", "of what is flagged, at most this share does not violate", 1e-6,
         0.999},
        {"confidence", SG_OPTION_DOUBLE, &own.confidence, "C", "of each of the two promises (default 0.95)", 0.5,
         0.999999},
        {"out", SG_OPTION_STRING, &own.out, "FILE", "the certificate to write", 0, 0},
        {"verdicts", SG_OPTION_STRING, &own.verdicts, "FILE",
         "verdicts of a cheaper reasoner on the rows (check --batch --out):\ncertify how it may decide behind the "
         "screen",
         0, 0},
        {"certificate", SG_OPTION_STRING, &own.certificate, "FILE", "with --verdicts: the screen's own certificate",
         0, 0},
        {"people", SG_OPTION_FLAG, &own.people, NULL, "only rows with a person's label", 0, 0},
        {"spend", SG_OPTION_DOUBLE, &own.spend, "SHARE",
         "of the error probability that is left, what this attempt uses\n(default 0.8; 1: there will be no other)",
         0.01, 1},
        {"p-floor", SG_OPTION_DOUBLE, &own.p_floor, "P",
         "least probability with which any content could have been drawn\n(default: the least among the rows)", 0, 1},
        {"one-per-group", SG_OPTION_FLAG, &own.one_per_group, NULL,
         "at most one row of each group could be drawn, with the\nprobability that it says (matters where they "
         "differ)",
         0, 0},
        {"attempts", SG_OPTION_STRING, &own.attempts, "FILE",
         "label file that keeps attempts (default: the first of --labels)", 0, 0},
        {"seed", SG_OPTION_U64, &own.seed, "N", "which row of a group is taken", 0, 0},
        {"json", SG_OPTION_FLAG, &own.json, NULL, "the certificate as JSON", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    if (!own.policy || !own.screen || own.labels.n == 0)
        return sg_say_usage(&verb, "--policy, --labels and --screen are needed");
    if (!own.verdicts != !own.certificate)
        return sg_say_usage(&verb, "--verdicts and --certificate belong together");
    if (isnan(own.miss) && isnan(own.flag))
        return sg_say_usage(&verb, "--miss or --flag is needed: what is to be promised");
    return run(&own);
}

/* --- watch ------------------------------------------------------------------------------------------------- */

static void print_watch(const struct sg_watch *watch)
{
    const struct sg_certificate_claim *promise = &watch->promise;
    printf("promise     at most %g %% of what violates is cleared, with confidence %g %%\n", 100 * promise->rate,
           100 * promise->confidence);
    printf("audited     %zu rows since the certificate, one of each group; %zu violate, %zu of them cleared\n",
           watch->n_audited, watch->n_violating, watch->n_cleared);
    printf("evidence    %.3g now, at most %.3g so far; alarm at %.3g\n", sg_drift_value(&watch->drift),
           watch->drift.highest, 1 / watch->drift.delta);
    if (sg_drift_alarm(&watch->drift))
        puts("alarm       the promise is broken: let everything escalate, learn and certify anew");
    else
        printf("quiet       a doubling of the promised rate would be noticed after about %.0f violating rows\n",
               sg_drift_delay(promise->rate, 1 - promise->confidence, 2, watch->drift.n));
}

int sg_verb_screen_watch(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "screen watch",
        .summary = "is the promise of a certificate still kept?",
        .usage = "--policy FILE --labels FILE … --screen FILE --certificate FILE",
        .about =
            "Looks at the rows that were drawn for the audit (of cleared and of escalated content, each with a "
            "known\n"
            "probability) since the certificate was made, and bets on each that violates against the promise. While\n"
            "the promise is kept the alarm ever rings with probability 1 - confidence at most "
            "(docs/certificate.md).\n",
        .examples = "  safeguard screen watch --policy spam.md --labels spam.labels.jsonl --screen spam.screen \\\n"
                    "      --certificate spam.certificate\n",
        .exits = "  0   no alarm\n"
                 "  1   something cannot be read, or does not belong together\n"
                 "  2   wrong use\n"
                 "  12  alarm: a person is needed\n",
    };
    const char *policy_path = NULL;
    struct sg_list labels = {0};
    struct sg_watch_options how = {.category = "any"};
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &policy_path, "FILE", "the policy that the labels belong to", 0, 0},
        {"labels", SG_OPTION_LIST, &labels, "FILE", "label file; may be given several times", 0, 0},
        {"screen", SG_OPTION_STRING, &how.screen_path, "FILE", "the screen", 0, 0},
        {"rules", SG_OPTION_STRING, &how.rules_path, "FILE", "rules that come before it", 0, 0},
        {"certificate", SG_OPTION_STRING, &how.certificate_path, "FILE", "its certificate", 0, 0},
        {"category", SG_OPTION_STRING, &how.category, "NAME", "category of the screen (default: any)", 0, 0},
        {"p-floor", SG_OPTION_DOUBLE, &how.p_floor, "P",
         "least probability with which content is audited\n(default: the least among the rows)", 0, 1},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    if (!policy_path || !how.screen_path || !how.certificate_path || labels.n == 0)
        return sg_say_usage(&verb, "--policy, --labels, --screen and --certificate are needed");
    struct sg_policy *policy = NULL;
    struct sg_watch watch;
    struct sg_error err;
    enum sg_status status = sg_policy_open(policy_path, &policy, &err);
    if (status == SG_OK) {
        how.policy = policy;
        how.label_paths = labels.values;
        how.n_label_paths = labels.n;
        status = sg_watch_labels(&how, &watch, &err);
    }
    sg_policy_close(policy);
    if (status != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    print_watch(&watch);
    return sg_drift_alarm(&watch.drift) ? SG_EXIT_REVIEW : SG_EXIT_OK;
}
