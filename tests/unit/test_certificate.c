/* The certificate file: written, read, refused when changed, void when something else is in force. */
#include "guard/certificate.h"
#include "safeguard/label.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct sg_certificate example(void)
{
    struct sg_certificate certificate = {.truth = "mixed",
                                         .n_people = 40,
                                         .n_reasoner = 160,
                                         .reasoner = "reasoner:gpt-oss-safeguard-20b",
                                         .attempt = 2,
                                         .time = 1767225600,
                                         .n_entries = 2};
    strcpy(certificate.function.policy_sha256, HASH_A);
    strcpy(certificate.function.screen_sha256, HASH_B);
    strcpy(certificate.function.features_version, "1");
    struct sg_certificate_entry *entry = &certificate.entries[0];
    strcpy(entry->category, "any");
    entry->miss = (struct sg_certificate_claim){.tried = true, .rate = 0.05, .confidence = 0.95, .spent = 0.04};
    entry->miss.result = (struct sg_certified){.certified = true,
                                               .threshold = -1.2345678901234567,
                                               .method = SG_BETTING,
                                               .bound = 0.1 / 3,
                                               .estimate = 0,
                                               .n_rows = 200,
                                               .n_violating = 90,
                                               .n_counted = 90,
                                               .passed_share = 0.75,
                                               .delta = 0.008};
    entry->flag = (struct sg_certificate_claim){.tried = true, .rate = 0.1, .confidence = 0.9};
    entry->flag.result = (struct sg_certified){
        .threshold = INFINITY, .bound = 1, .estimate = NAN, .n_rows = 200, .needed = 86, .delta = 0.08};
    entry->n_reasoners = 1;
    strcpy(entry->reasoners[0].name, "small");
    strcpy(certificate.entries[1].category, "hate");
    return certificate;
}

/* Not inlined: gcc 12 would warn of a pointer that dangles, which it does not. */
__attribute__((noinline)) static char *written(struct sg_certificate *certificate)
{
    char *json = NULL;
    struct sg_error err;
    if (sg_certificate_to_json(certificate, &json, &err) != SG_OK)
        fail_msg("%s", err.text);
    return json;
}

static enum sg_status parse(const char *json, struct sg_certificate *out, struct sg_error *err)
{
    return sg_certificate_parse(json, strlen(json), out, err);
}

static void test_round_trip(void **unused)
{
    (void)unused;
    struct sg_certificate before = example(), after;
    char *json = written(&before), path[] = "/tmp/sg-certificate-XXXXXX";
    struct sg_error err;
    if (parse(json, &after, &err) != SG_OK)
        fail_msg("%s", err.text);
    assert_string_equal(before.sha256, after.sha256);
    const struct sg_certificate_claim *miss = &after.entries[0].miss, *flag = &after.entries[0].flag;
    assert_true(miss->result.threshold == -1.2345678901234567 && miss->result.bound == 0.1 / 3);
    assert_true(miss->tried && miss->result.certified && miss->result.method == SG_BETTING && miss->spent == 0.04);
    assert_true(flag->tried && !flag->result.certified && flag->result.threshold == INFINITY);
    assert_true(isnan(flag->result.estimate) && flag->result.needed == 86);
    assert_true(!after.entries[1].miss.tried && after.n_entries == 2 && after.entries[0].n_reasoners == 1);
    assert_int_equal(after.n_reasoner, 160);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(sg_certificate_save(path, &before, &err), SG_OK);
    assert_int_equal(sg_certificate_open(path, &after, &err), SG_OK);
    assert_string_equal(before.sha256, after.sha256);
    unlink(path);
    assert_int_equal(sg_certificate_open(path, &after, &err), SG_ENOTFOUND);
    free(json);
}

/* Whoever changes a digit and leaves the hash alone is refused; the text's layout is free. */
static void test_changed(void **unused)
{
    (void)unused;
    struct sg_certificate certificate = example(), after;
    char *json = written(&certificate);
    struct sg_error err;
    const char *found = strstr(json, "1.2345");
    assert_non_null(found);
    size_t digit = (size_t)(found - json);
    json[digit] = '9';
    assert_int_equal(parse(json, &after, &err), SG_ECHECKSUM);
    assert_int_equal(after.n_entries, 0);
    json[digit] = '1';
    for (char *c = json; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    assert_int_equal(parse(json, &after, &err), SG_OK);
    free(json);
}

/* With a right hash too, nothing that does not hold together is believed. */
static void test_refused(void **unused)
{
    (void)unused;
    struct sg_certificate after;
    struct sg_error err;
    struct {
        struct sg_certificate certificate;
        const char *field;
    } *cases = calloc(12, sizeof(*cases));
    assert_non_null(cases);
    for (int i = 0; i < 12; i++)
        cases[i].certificate = example();
    cases[0].certificate.entries[0].miss.result.threshold = NAN, cases[0].field = "threshold";
    cases[1].certificate.entries[0].miss.result.threshold = INFINITY, cases[1].field = "threshold";
    cases[2].certificate.entries[0].miss.result.bound = 0.051, cases[2].field = "bound";
    cases[3].certificate.entries[0].miss.result.delta = 0.02, cases[3].field = "delta";
    cases[4].certificate.entries[0].flag.result.threshold = 3, cases[4].field = "threshold";
    cases[5].certificate.entries[0].miss.confidence = 0.2, cases[5].field = "confidence";
    cases[6].certificate.entries[0].miss.rate = NAN, cases[6].field = "rate";
    cases[7].certificate.function.policy_sha256[0] = '\0', cases[7].field = "policy_sha256";
    cases[8].certificate.function.screen_sha256[3] = 'X', cases[8].field = "screen_sha256";
    cases[9].certificate.entries[0].reasoners[0].sha256[0] = 'z', cases[9].field = "sha256";
    cases[10].certificate.entries[0].miss.spent = -1, cases[10].field = "spent";
    cases[11].certificate.entries[0].miss.result.passed_share = 2, cases[11].field = "passed_share";
    for (int i = 0; i < 12; i++) {
        char *json = written(&cases[i].certificate);
        assert_int_equal(parse(json, &after, &err), SG_EFORMAT);
        assert_non_null(strstr(err.text, cases[i].field));
        free(json);
    }
    free(cases);
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"certificate\":[],\"sha256\":\"\"}",
                                        "{\"certificate\":{}}",
                                        "{\"certificate\":{},\"certificate\":{}}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(parse(texts[i], &after, &err), SG_EFORMAT);
}

static void test_void_when_something_differs(void **unused)
{
    (void)unused;
    const struct sg_certificate certificate = example();
    struct sg_error err;
    assert_int_equal(sg_certificate_matches(&certificate, &certificate.function, &err), SG_OK);
    struct sg_clearing_function functions[4];
    for (int i = 0; i < 4; i++)
        functions[i] = certificate.function;
    functions[0].policy_sha256[0] = 'c', functions[1].screen_sha256[0] = 'c';
    strcpy(functions[2].rules_sha256, HASH_A);
    strcpy(functions[3].features_version, "2");
    static const char *const words[] = {"policy", "screen", "rules", "features"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(sg_certificate_matches(&certificate, &functions[i], &err), SG_EINVALID);
        assert_non_null(strstr(err.text, words[i]));
    }
    assert_ptr_equal(sg_certificate_entry(&certificate, "hate"), &certificate.entries[1]);
    assert_null(sg_certificate_entry(&certificate, "spam"));
}

/* Fixed for ever: Python's hashlib says sha256("safeguard split 1 " + sha256(group)) begins with 0, b, f, 6, d, 0. */
static void test_halves(void **unused)
{
    (void)unused;
    static const struct {
        const char *group;
        enum sg_row_split split;
    } cases[] = {{"a", SG_SPLIT_TRAIN},          {"b", SG_SPLIT_CERTIFY}, {"c", SG_SPLIT_CERTIFY},
                 {"campaign 7", SG_SPLIT_TRAIN}, {"", SG_SPLIT_CERTIFY},  {"ä", SG_SPLIT_TRAIN}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(sg_split_of_group(cases[i].group), cases[i].split);
    int n = 0;
    for (int i = 0; i < 1000; i++) {
        char group[32];
        snprintf(group, sizeof(group), "group %d", i);
        n += sg_split_of_group(group) == SG_SPLIT_CERTIFY;
    }
    assert_int_equal(n, 517);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_void_when_something_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
