/* Rules and guard by themselves: how long rules take to compile, how many texts a second they match, and how many
 * checks a second a guard without a reasoner makes. One core, CPU time, texts of 100 bytes.
 *
 *     ninja -C BUILD bench_guard && BUILD/src/guard/bench_guard [SCREEN POLICY]
 */
#include "bench.h"
#include "guard/rules.h"
#include "safeguard/guard.h"

#include <stdio.h>
#include <stdlib.h>

#define N_TEXTS 1000
#define TEXT_BYTES 100
#define PASSES 100

static void word(struct sg_buffer *out, uint32_t least, uint32_t spread)
{
    for (uint32_t n = least + rnd() % spread; n > 0; n--)
        sg_buffer_putc(out, (char)('a' + rnd() % 26));
}

static void fail(const struct sg_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static char texts[N_TEXTS][TEXT_BYTES + 1];

/* `n` phrases of one to three words, one in five with a word that is not ASCII. */
static void bench_rules(int n)
{
    struct sg_buffer file = {0};
    struct sg_rules *rules;
    struct sg_rules_scratch *scratch;
    static struct sg_rules_result result;
    struct sg_normal normal = {0};
    struct sg_error err;
    for (int i = 0; i < n; i++) {
        sg_buffer_puts(&file, "{\"action\":\"violates\",\"phrase\":\"");
        word(&file, 4, 6);
        for (uint32_t words = rnd() % 3; words > 0; words--) {
            sg_buffer_putc(&file, ' ');
            word(&file, 3, 6);
        }
        sg_buffer_printf(&file, "%s\"}\n", i % 5 == 0 ? " \xD0\xB6\xD0\xB0\xD0\xB1\xD0\xB0" : "");
    }
    double started = cpu_seconds();
    if (sg_rules_parse("bench", (struct sg_slice){file.data, file.len}, SG_RULES_JSONL, &rules, &err) != SG_OK ||
        sg_rules_scratch_create(rules, &scratch, &err) != SG_OK)
        fail(&err);
    double compiled = cpu_seconds();
    for (int i = 0; i < N_TEXTS * PASSES; i++) {
        struct sg_slice text = {texts[i % N_TEXTS], TEXT_BYTES};
        if (sg_normalise(text, true, &normal, &err) != SG_OK ||
            sg_rules_match(rules, text, &normal, scratch, &result, &err) != SG_OK)
            fail(&err);
    }
    printf("%6d phrases: compiled in %.2f s; %.0f texts/s, normaliser included\n", n, compiled - started,
           N_TEXTS * PASSES / (cpu_seconds() - compiled));
    sg_normal_deinit(&normal);
    sg_rules_scratch_destroy(scratch);
    sg_rules_close(rules);
    sg_buffer_free(&file);
}

static void bench_checks(const char *name, struct sg_policy *policy, const struct sg_guard_options *options)
{
    struct sg_guard *guard;
    struct sg_error err;
    const struct sg_check_options check = {.top_p = 1};
    if (sg_guard_open(policy, options, NULL, &guard, &err) != SG_OK)
        fail(&err);
    double started = cpu_seconds();
    for (int i = 0; i < N_TEXTS * PASSES; i++) {
        struct sg_content *content;
        struct sg_verdict verdict;
        sg_verdict_init(&verdict);
        if (sg_content_from_text(texts[i % N_TEXTS], TEXT_BYTES, &content, &err) != SG_OK ||
            sg_guard_check(guard, content, &check, NULL, NULL, &verdict, &err) != SG_OK)
            fail(&err);
        sg_verdict_deinit(&verdict);
        sg_content_destroy(content);
    }
    printf("%-22s %.0f checks/s\n", name, N_TEXTS * PASSES / (cpu_seconds() - started));
    sg_guard_close(guard);
}

int main(int argc, char **argv)
{
    static const char document[] = "# Spam\n\nAnswer with exactly one character: 1 for spam, 0 for anything else.\n";
    struct sg_policy *policy;
    struct sg_error err;
    for (int i = 0; i < N_TEXTS; i++) {
        struct sg_buffer text = {0};
        while (text.len < TEXT_BYTES) {
            word(&text, 2, 8);
            sg_buffer_putc(&text, ' ');
        }
        memcpy(texts[i], text.data, TEXT_BYTES);
        sg_buffer_free(&text);
    }
    static const int sizes[] = {100, 1000, 10000, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        bench_rules(sizes[i]);
    enum sg_status status = argc > 2 ? sg_policy_open(argv[2], &policy, &err)
                                     : sg_policy_parse("bench", document, sizeof document - 1, &policy, &err);
    if (status != SG_OK)
        fail(&err);
    bench_checks("guard without stages", policy, &(struct sg_guard_options){0});
    if (argc > 2)
        bench_checks("guard with a screen", policy, &(struct sg_guard_options){.screen_path = argv[1]});
    sg_policy_close(policy);
    return 0;
}
