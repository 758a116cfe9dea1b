/* Readings, signals and the gate. */
#include "text/normalise.h"

#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char *reading(struct sg_normal *normal, const char *text, enum sg_reading which)
{
    struct sg_error err;
    assert_int_equal(sg_normalise(sg_slice_of(text), false, normal, &err), SG_OK);
    return sg_buffer_text(&normal->readings[which]);
}

static void test_readings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum sg_reading which;
        const char *expected;
        bool evasive;
    } cases[] = {
        {"Hello World!", SG_READING_FOLDED, "hello world!", false},
        {"id\u200Biot", SG_READING_FOLDED, "idiot", true},
        {"idi\u043Et", SG_READING_FOLDED, "idiot", true},
        {"n1gg3r", SG_READING_LEET, "nigger", true},
        {"i d i o t", SG_READING_SPACING, "idiot", true},
        {"you i.d.i.o.t", SG_READING_SPACING, "you idiot", true},
        {"hi\U000E0069\U000E0064", SG_READING_SMUGGLED, "id", true},
    };
    struct sg_normal normal = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(reading(&normal, cases[i].text, cases[i].which), cases[i].expected);
        assert_int_equal(normal.evasive, cases[i].evasive);
    }
    sg_normal_deinit(&normal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_readings)};
    return cmocka_run_group_tests_name("normalise", tests, NULL, NULL);
}
