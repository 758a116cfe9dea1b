/* The evasions: the same on every run, valid, and each the thing that its name says. */
#include "eval/attacks.h"

#include "base/utf8.h"
#include "text/normalise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SEEDS 500
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const texts[] = {
    "You are a stupid idiot, and everybody here knows it since 2019.",
    "Kill all of them!",
    "x",
    "M\u00FCnchner Stra\u00DFe, \u043F\u0440\u0438\u0432\u0435\u0442 \u0645\u0631\u062D\u0628\u0627 "
    "\u0928\u092E\u0938\u094D\u0924\u0947",
    "\u6211\u4EEC\u90FD\u662F\u4EBA",
    "   ...   ",
    "a\0b\xFF\xC3 bad bytes",
};
static const size_t lengths[] = {63, 17, 1, 0, 15, 9, 16};

static struct sg_slice text_at(size_t i)
{
    return lengths[i] ? (struct sg_slice){texts[i], lengths[i]} : sg_slice_of(texts[i]);
}

static bool apply(enum sg_attack attack, struct sg_slice text, uint64_t seed, double share, struct sg_buffer *out)
{
    struct sg_attack_options options = {.seed = seed, .share = share};
    struct sg_error err;
    bool applied;
    sg_buffer_clear(out);
    if (sg_attack_apply(attack, text, &options, out, &applied, &err) != SG_OK)
        fail_msg("%s: %s", sg_attack_name(attack), err.text);
    return applied;
}

static struct sg_slice slice(const struct sg_buffer *buffer)
{
    return (struct sg_slice){buffer->data, buffer->len};
}

/* Every attack on every text: the same twice, and the text itself where nothing applies. */
static void test_all(void **state)
{
    (void)state;
    struct sg_buffer a = {0}, b = {0};
    for (unsigned attack = 0; attack < SG_N_ATTACKS; attack++) {
        enum sg_attack found;
        assert_true(sg_attack_find(sg_attack_name(attack), &found) && found == attack);
        size_t differ = 0;
        for (size_t i = 0; i < COUNT(texts); i++) {
            struct sg_slice text = text_at(i);
            bool applied = apply(attack, text, 7, 0, &a);
            assert_int_equal(apply(attack, text, 7, 0, &b), applied);
            assert_true(sg_slice_equal(slice(&a), slice(&b)));
            assert_int_equal(!applied, sg_slice_equal(slice(&a), text));
            assert_true(!sg_utf8_valid(text) || sg_utf8_valid(slice(&a)));
            apply(attack, text, 8, 0, &b);
            differ += !sg_slice_equal(slice(&a), slice(&b));
        }
        assert_true(differ > 0 || attack == SG_ATTACK_BIDI || attack == SG_ATTACK_FULL_WIDTH ||
                    attack == SG_ATTACK_LETTER_SPACING);
        assert_false(apply(attack, (struct sg_slice){NULL, 0}, 7, 0, &a));
        assert_int_equal(a.len, 0);
    }
    enum sg_attack none;
    assert_false(sg_attack_find("none", &none));
    struct sg_attack_options options = {0};
    struct sg_error err;
    bool applied;
    assert_int_equal(sg_attack_apply(SG_ATTACK_LEET, (struct sg_slice){"x", SG_ATTACK_MAX_BYTES + 1}, &options, &a,
                                     &applied, &err),
                     SG_ELIMIT);
    assert_int_equal(sg_attack_apply(SG_N_ATTACKS, sg_slice_of("x"), &options, &a, &applied, &err), SG_EINVALID);
    sg_buffer_free(&a);
    sg_buffer_free(&b);
}

/* What an attack on letters hides, the normaliser finds or undoes. */
static void test_undone(void **state)
{
    (void)state;
    static const struct {
        enum sg_attack attack;
        enum sg_reading reading;
        bool exactly;
    } cases[] = {
        {SG_ATTACK_HOMOGLYPHS, SG_READING_FOLDED, false},
        {SG_ATTACK_ZERO_WIDTH, SG_READING_FOLDED, true},
        {SG_ATTACK_FULL_WIDTH, SG_READING_FOLDED, true},
        {SG_ATTACK_STYLED, SG_READING_FOLDED, true},
        {SG_ATTACK_MARKS, SG_READING_FOLDED, true},
        {SG_ATTACK_LETTER_SPACING, SG_READING_SPACING, false},
        {SG_ATTACK_DOTS, SG_READING_SPACING, true},
        {SG_ATTACK_TAG_SMUGGLING, SG_READING_SMUGGLED, true},
        {SG_ATTACK_EMOJI_SMUGGLING, SG_READING_SMUGGLED, true},
        {SG_ATTACK_BIDI, SG_READING_FOLDED, false},
        {SG_ATTACK_LEET, SG_READING_LEET, false},
    };
    static const char text[] = "they were stupid idiots, everybody knows";
    struct sg_normal normal = {0};
    struct sg_buffer out = {0};
    struct sg_error err;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t missed = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            assert_true(apply(cases[i].attack, sg_slice_of(text), seed, 0.6, &out));
            assert_int_equal(sg_normalise(slice(&out), false, &normal, &err), SG_OK);
            bool undone = sg_slice_equal(slice(&normal.readings[cases[i].reading]), sg_slice_of(text));
            missed += !undone && (cases[i].exactly || !normal.evasive);
        }
        /* a few draws of leet leave one word that could be a model's name */
        if (missed > (cases[i].attack == SG_ATTACK_LEET ? SEEDS / 50 : 0))
            fail_msg("%s: %zu of %d not undone", sg_attack_name(cases[i].attack), missed, SEEDS);
    }
    sg_buffer_free(&out);
    sg_normal_deinit(&normal);
}

static void test_around(void **state)
{
    (void)state;
    struct sg_buffer out = {0};
    struct sg_slice text = sg_slice_of("You are a stupid idiot, and everybody here knows it.");
    for (unsigned attack = SG_ATTACK_IGNORE_POLICY; attack < SG_N_ATTACKS; attack++) {
        assert_true(apply(attack, text, 3, 0, &out));
        assert_non_null(strstr(out.data, text.ptr));
        if (attack >= SG_ATTACK_PADDING_1) {
            size_t times = (size_t)1 << (attack - SG_ATTACK_PADDING_1), added = out.len - text.len;
            assert_true(added >= times * text.len && added < times * text.len + 200);
        }
    }
    /* one's own harmless text */
    static const struct sg_slice benign[] = {{"So.", 3}, {"Well?", 5}, {"", 0}};
    struct sg_attack_options options = {.benign = benign, .n_benign = COUNT(benign)};
    struct sg_error err;
    bool applied;
    sg_buffer_clear(&out);
    assert_int_equal(sg_attack_apply(SG_ATTACK_PADDING_16, text, &options, &out, &applied, &err), SG_OK);
    assert_non_null(strstr(out.data, "Well?"));
    sg_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_undone),
                                       cmocka_unit_test(test_around)};
    return cmocka_run_group_tests_name("attacks", tests, NULL, NULL);
}
