/* The normaliser: NFKC case-fold against ICU's (data/nfkc_casefold.txt), ordinary writing of many languages,
 * evasions, the places that offsets name, and bytes that no writer means well with. */
#include "text/normalise.h"

#include "base/file.h"
#include "base/utf8.h"
#include "text/nfkc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct sg_normal normal;

static void normalise(struct sg_slice text, bool offsets)
{
    struct sg_error err;
    if (sg_normalise(text, offsets, &normal, &err) != SG_OK)
        fail_msg("%s", err.text);
}

static const char *reading(const char *text, enum sg_reading which)
{
    normalise(sg_slice_of(text), false);
    return sg_buffer_text(&normal.readings[which]);
}

/* --- NFKC case-fold ---------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* The hexadecimal word at *at, as bytes; *at moves behind it. */
static void take_hex(const char **at, struct sg_buffer *out)
{
    sg_buffer_clear(out);
    const char *p = *at;
    for (; p[0] > ' ' && p[1] > ' '; p += 2)
        sg_buffer_putc(out, (char)(hex_digit(p[0]) << 4 | hex_digit(p[1])));
    *at = p + (*p == ' ');
}

static uint64_t fnv(uint64_t hash, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001B3u;
    return hash;
}

static void check_block(const char *line)
{
    char *end;
    int32_t first = (int32_t)strtol(line, &end, 16);
    struct sg_buffer known = {0}, one = {0}, out = {0};
    const char *at = end + 1;
    take_hex(&at, &known);
    assert_int_equal(known.len, 32);
    uint64_t hash = 0xCBF29CE484222325u, expected = strtoull(at, NULL, 16);
    for (int32_t i = 0; i < 256; i++) {
        if (!(known.data[i / 8] >> i % 8 & 1))
            continue;
        sg_buffer_clear(&one);
        sg_buffer_clear(&out);
        sg_utf8_encode(first + i, &one);
        sg_nfkc_casefold((struct sg_slice){one.data, one.len}, &out);
        sg_buffer_putc(&out, '\0');
        hash = fnv(hash, out.data, out.len);
    }
    if (hash != expected)
        fail_msg("block U+%04X differs from ICU", (unsigned)first);
    sg_buffer_free(&known);
    sg_buffer_free(&one);
    sg_buffer_free(&out);
}

static void check_string(const char *line)
{
    struct sg_buffer in = {0}, expected = {0}, out = {0};
    take_hex(&line, &in);
    take_hex(&line, &expected);
    sg_nfkc_casefold((struct sg_slice){in.data, in.len}, &out);
    assert_int_equal(out.len, expected.len);
    if (out.len)
        assert_memory_equal(out.data, expected.data, out.len);
    sg_buffer_free(&in);
    sg_buffer_free(&expected);
    sg_buffer_free(&out);
}

static void test_nfkc(void **state)
{
    (void)state;
    struct sg_buffer file = {0};
    struct sg_error err;
    if (sg_file_read(SG_TEST_DATA "/nfkc_casefold.txt", 1 << 20, &file, &err) != SG_OK)
        fail_msg("%s", err.text);
    size_t n_blocks = 0, n_strings = 0;
    for (char *line = strtok(file.data, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "block ", 6) == 0) {
            check_block(line + 6);
            n_blocks++;
        } else if (strncmp(line, "string ", 7) == 0) {
            check_string(line + 7);
            n_strings++;
        }
    }
    assert_true(n_blocks > 100);
    assert_int_equal(n_strings, 600);
    sg_buffer_free(&file);
    /* Long rows of marks are cut, not lost and not overrun. */
    struct sg_buffer marks = {0}, out = {0};
    sg_buffer_putc(&marks, 'A');
    for (int i = 0; i < 5000; i++)
        sg_buffer_puts(&marks, i % 3 ? "\u0300" : "\u0323");
    sg_nfkc_casefold((struct sg_slice){marks.data, marks.len}, &out);
    assert_true(sg_utf8_valid((struct sg_slice){out.data, out.len}));
    assert_true(out.len + 4 > marks.len);
    sg_buffer_free(&marks);
    sg_buffer_free(&out);
}

/* --- readings ----------------------------------------------------------------------------------------------- */

static void test_folded(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"Hello, World! m 1 0 | rn", "hello, world! m 1 0 | rn"},
        {"Stra\u00DFe \u00C5ngstr\u00F6m \u0141\u00D3D\u0179", "strasse angstrom lodz"},
        {"\uFF28\uFF49 \u2460\u00BD \u2122 \uFB01ne", "hi 11\u20442 tm fine"},
        {"\u201Cyes\u201D \u2013 don\u2019t\u2026", "\"yes\" - don't..."},
        {"a\u00A0b\u3000c\u2003d", "a b c d"},
        {"\u0661\u0662\u0663 \u0967\u0968", "123 12"},
        /* a Russian word stays Russian, one that only looks Latin does not */
        {"\u041F\u0440\u0438\u0432\u0435\u0442 \u0440\u0430\u0441\u0435 A",
         "\u043F\u0440\u0438\u0432\u0435\u0442 pace a"},
        {"\u0442\u043E\u0442 \u0440\u0430\u0441\u0435", "\u0442\u043E\u0442 \u0440\u0430\u0441\u0435"},
        {"\u03BA\u043F\u0585\u051D\u0455 x", "knows x"},
        {"idi\u043Et \u0455\u0441am \u0391\u0412C", "idiot scam abc"},
        {"k\u1D07\u1D07p \u0262\u1D0F", "keep go"},
        {"\u20AC5m \u20ACuro Micro\u20B4oft 100\u20AC", "\u20AC5m euro microsoft 100\u20AC"},
        {"Z\u0337\u0300\u0301a\u0316\u0317l", "zal"},
        {"\u0639\u064E\u0631\u0640\u0628", "\u0639\u0631\u0628"},
        {"\u200Ba\u200Db\uFEFF\u00ADc\u202Ed\x01", "abcd"},
        {"\uD55C\u1112\u1161\u11AB", "\uD55C\uD55C"},
        {"\U0001F170\uFE0FBC \u24D0\u24D1", "abc ab"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(reading(cases[i][0], SG_READING_FOLDED), cases[i][1]);
    normalise((struct sg_slice){"a\xFF\xC3 \xED\xA0\x80 b\0c", 11}, false);
    assert_string_equal(sg_buffer_text(&normal.readings[SG_READING_FOLDED]), "a\uFFFD\uFFFD \uFFFD\uFFFD\uFFFD bc");
    assert_string_equal(sg_reading_name(SG_READING_LEET), "leet");
    assert_string_equal(sg_reading_name(SG_N_READINGS), "unknown");
}

static void test_evasions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum sg_reading which; /* where the words stand again */
        const char *expected;
        unsigned signals;
    } cases[] = {
        {"idi\u043Et", SG_READING_FOLDED, "idiot", SG_SIGNAL_MIXED_SCRIPT},
        {"hell\u03BF", SG_READING_FOLDED, "hello", SG_SIGNAL_MIXED_SCRIPT},
        {"good \u0440\u0430\u0441\u0435", SG_READING_FOLDED, "good pace", SG_SIGNAL_CONFUSABLES},
        {"who \u043A\u043F\u043E\u0461\u0455", SG_READING_FOLDED, "who \u043A\u043F\u043E\u0461\u0455",
         SG_SIGNAL_CONFUSABLES},
        {"i\u0261nore", SG_READING_FOLDED, "ignore", SG_SIGNAL_CONFUSABLES},
        {"id\u200Biot", SG_READING_FOLDED, "idiot", SG_SIGNAL_HIDDEN_CHARACTERS},
        {"i\u200Dd\u200Di\u200Do\u200Dt", SG_READING_FOLDED, "idiot", SG_SIGNAL_HIDDEN_CHARACTERS},
        {"i\u00ADd\u00ADi\u00ADo\u00ADt", SG_READING_FOLDED, "idiot", SG_SIGNAL_HIDDEN_CHARACTERS},
        {"id\u200Eiot", SG_READING_FOLDED, "idiot", SG_SIGNAL_HIDDEN_CHARACTERS},
        {"\u202Etoidi\u202C", SG_READING_FOLDED, "toidi", SG_SIGNAL_BIDI_CONTROLS},
        {"\uFF49\uFF44\uFF49\uFF4F\uFF54", SG_READING_FOLDED, "idiot", SG_SIGNAL_STYLED_LETTERS},
        {"id\uFF49ot", SG_READING_FOLDED, "idiot", SG_SIGNAL_STYLED_LETTERS},
        {"\U0001D4F2\U0001D4ED\U0001D4F2\U0001D4F8\U0001D4FD", SG_READING_FOLDED, "idiot", SG_SIGNAL_STYLED_LETTERS},
        {"\u24D8\u24D3\u24D8\u24DE\u24E3", SG_READING_FOLDED, "idiot", SG_SIGNAL_STYLED_LETTERS},
        {"i\u0336d\u0336i\u0336o\u0336t\u0336", SG_READING_FOLDED, "idiot", SG_SIGNAL_COMBINING_MARKS},
        {"i\u0300\u0316\u0301\u0317diot", SG_READING_FOLDED, "idiot", SG_SIGNAL_COMBINING_MARKS},
        {"you n1gg3r", SG_READING_LEET, "you nigger", SG_SIGNAL_LEET},
        {"$h!t a$$hole", SG_READING_LEET, "shit asshole", SG_SIGNAL_LEET},
        {"s1ut b1tch f@ggot", SG_READING_LEET, "slut bitch faggot", SG_SIGNAL_LEET},
        {"an @ss", SG_READING_LEET, "an ass", SG_SIGNAL_LEET},
        {"1d10t", SG_READING_LEET, "idiot", SG_SIGNAL_LEET},
        {"y0u 5h0uld d13", SG_READING_LEET, "you should die", SG_SIGNAL_LEET},
        {"an i d i o t", SG_READING_SPACING, "an idiot", SG_SIGNAL_LETTER_SPACING},
        {"y o u   a r e   b a d", SG_READING_SPACING, "you are bad", SG_SIGNAL_LETTER_SPACING},
        {"i.d.i.o.t!", SG_READING_SPACING, "idiot!", SG_SIGNAL_LETTER_SPACING},
        {"(i-d-i-o-t)", SG_READING_SPACING, "(idiot)", SG_SIGNAL_LETTER_SPACING},
        {"i\U0001F525d\U0001F525i\U0001F525o\U0001F525t", SG_READING_SPACING, "idiot", SG_SIGNAL_LETTER_SPACING},
        {"i\nd\ni\no\nt", SG_READING_SPACING, "idiot", SG_SIGNAL_LETTER_SPACING},
        {"\u0434 \u0443 \u0440 \u0430 \u043A", SG_READING_SPACING, "\u0434\u0443\u0440\u0430\u043A",
         SG_SIGNAL_LETTER_SPACING},
        {"hi\U000E0049\U000E0064\U000E0069", SG_READING_SMUGGLED, "idi", SG_SIGNAL_SMUGGLED_TEXT},
        {"hi \U0001F60A\U000E0138\U000E0159", SG_READING_SMUGGLED, "hi", SG_SIGNAL_SMUGGLED_TEXT},
        /* a flag that is none */
        {"\U0001F3F4\U000E0069\U000E0064\U000E0069\U000E006F\U000E0074\U000E007F", SG_READING_SMUGGLED, "idiot",
         SG_SIGNAL_SMUGGLED_TEXT},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(reading(cases[i].text, cases[i].which), cases[i].expected);
        if (!normal.evasive || !(normal.signals & cases[i].signals))
            fail_msg("case %zu: signals %x", i, normal.signals);
    }
}

/* What people write. No reading but the folded one exists, unless `reads` says so, and nothing is evasive. */
static void test_ordinary(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "It's O'Neil's idea \u2014 don't you think? Yes...no; 100% (50:50)!",
        "At 9 a.m. J. R. R. Tolkien, Ph.D., of the U.S.A., wasn't there, i.e. e.g. early",
        "N.A.T.O. and the U.N.E.S.C.O. met",
        "win32 mp3s covid19 4ever b2b utf8 sha256sum md5sum mp3player x86_64",
        "k8s, i18n, H2O, CO2, RTX3080Ti and C6H12O6",
        "log4j, mpi4py and neo4j run on Python3.11, C++11",
        "p.s. a.k.a. w.r.t. a+b+c, x|y, npm i @types/node@18.0.0",
        "@name84 and @mike2 got a 5x10 3in1 m4a, commit ad4db42",
        "It costs $5k or 20\u20AC, 3.50$ per kg; 2x4 boards, a 4x4 car, 1080p, 75kg, 10am, 3rd, 21st, the 50s",
        "0xdeadbeef 3a5f9c1e d41d8cd98f00b204e9800998ecf8427e #ff00aa v1.2.3 192.168.0.1",
        "jane.d0e@example.com, https://example.com/a1b2c3/p4ge?id=dQw4w9WgXcQ, www.h3llo.org @us3r_1 #t4g",
        "for (int i = 0; i < n; i++) { a[i] = b[i] + c; } int a, b, c, d; f(x,y,z,w)",
        "Options A B C D or a, b, c, d? x y z; vowels a e i o u",
        "c u l8r m8, gr8! r u ok? 2nite b4 me2",
        "wow!that was great...really!yes, s-s-so cold, b-b-but why, x x x x",
        "T-shirt, e-mail, X-ray, vitamin B12, 18+ only, Wi-Fi 6, Route 66, AT&T, R&B, 7-Eleven, 3M, PS5",
        "~~strike~~ **bold** _it_ `code` | a | b | c |",
        "N,N-dimethyl, 9-O-\u03B2-D-glucopyranoside",
        "Donaudampf\u00ADschifffahrts\u00ADgesellschaft und Stra\u00DFe",
        "L\u2019\u00E9t\u00E9, \u00AB nous \u00BB et le c\u0153ur, M\u1D50\u1D49 Dupont, 1\u02B3\u1D49",
        "\u00A1Hola! \u00BFQu\u00E9 tal? El ni\u00F1o",
        "Za\u017C\u00F3\u0142\u0107 g\u0119\u015Bl\u0105 ja\u017A\u0144, \u00DEetta er \u00E6\u00F0i",
        "\u0130stanbul'da \u0131l\u0131k bir g\u00FCn",
        "Ti\u1EBFng Vi\u1EC7t, \u0111\u01B0\u1EE3c; Tie\u0302\u0301ng Vie\u0323\u0302t",
        "Yor\u00F9b\u00E1: \u1ECD\u0301j\u00E0, \u1EB9\u0300k\u1ECD\u0301",
        "\u041F\u0440\u0438\u0432\u0435\u0442, \u043A\u0430\u043A \u0434\u0435\u043B\u0430? \u041E\u043D \u0438 "
        "\u043E\u043D\u0430, \u0451\u043B\u043A\u0430",
        "\u041A\u0443\u043F\u0438\u043B iPhone \u0438 USB-\u043A\u0430\u0431\u0435\u043B\u044C \u0432 \u043C\u0430",
        "\u03A4\u03BF \u03B5\u03BB\u03BB\u03B7\u03BD\u03B9\u03BA\u03CC \u03BA\u03B5\u03AF\u03BC\u03B5\u03BD\u03BF",
        "\u0540\u0561\u0575\u0565\u0580\u0565\u0576 \u057F\u0565\u0584\u057D\u057F \u0567",
        "\u05E9\u05DC\u05D5\u05DD iPhone \u05D7\u05D3\u05E9 \u200FABC\u200E "
        "\u05E9\u05C1\u05B8\u05DC\u05D5\u05B9\u05DD",
        "\u0627\u0644\u0639\u0631\u0628\u064A\u0629 USA \u0648iPhone "
        "\u0627\u0644\u0633\u0651\u064E\u0644\u064E\u0627\u0645\u064F",
        "\u0633\u0644\u0627\u0645\u060C \u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645 "
        "\u06A9\u062A\u0627\u0628\u200C\u0647\u0627",
        "\u0915\u094D\u200D\u0937 \u0914\u0930 \u0930\u094D\u200C\u0915, Facebook \u092A\u0930",
        "\u09B0\u200D\u09CD\u09AF\u09BE\u09AC, \u0D28\u0D4D\u200D, \u0BA4\u0BAE\u0BBF\u0BB4\u0BCD",
        "\u0E20\u0E32\u0E29\u0E32\u0E44\u0E17\u0E22\u200B\u0E2A\u0E1A\u0E32\u0E22\u0E14\u0E35 Facebook",
        "\u1797\u17B6\u179F\u17B6\u200B\u1781\u17D2\u1798\u17C2\u179A",
        "\u6211\u4EEC\u4ECA\u5929\u4E70\u4E86iPhone12\u548CUSB\u6570\u636E\u7EBF\uFF0C\u4EF7\u683C\uFFE55999\u3002",
        "\uFF2E\uFF28\uFF2B\u3068\uFF21\uFF22\uFF23\u682A\u5F0F\u4F1A\u793E\u3001\uFF8A\uFF9D\uFF76\uFF78",
        "\uD55C\uAD6D\uC5B4 iPhone\uC740 \u1112\u1161\u11AB",
        "\u845B\U000E0100\u57CE\u5E02",
        "\U0001F468\u200D\U0001F469\u200D\U0001F467 \u2764\uFE0F\u200D\U0001F525 \U0001F44D\U0001F3FD \u263A\uFE0E",
        "1\uFE0F\u20E3 \U0001F1FA\U0001F1F8 "
        "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F \u00A9\uFE0F",
        "\u03B1 + \u03B2 = \u03B3, \u03BCm, \u0394T, TNF\u03B1, \u03B2-carotene, 5 \u2103, \u2126",
        "H\u2082O, x\u00B2, E=mc\u00B2, 1\u02E2\u1D57, \u00BD, \u2116 5, \u2163, \u2122 \u00AE, \uFB01ne",
        "\u2068Name\u2069 joined",
        "\uFEFFStarts with a mark",
        "/\u02C8\u0261o\u028Ast/",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        normalise(sg_slice_of(texts[i]), false);
        if (normal.evasive || normal.signals)
            fail_msg("text %zu: evasive %d, signals %x", i, normal.evasive, normal.signals);
    }
}

/* Seen, reported, and no reason to escalate. */
static void test_signals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned signals;
    } cases[] = {
        {"end \u200B of a line", SG_SIGNAL_HIDDEN_CHARACTERS},
        {"\u2764\uFE0F\uFE0F", SG_SIGNAL_HIDDEN_CHARACTERS},
        {"\u202Afrom an address book\u202C", SG_SIGNAL_BIDI_CONTROLS},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        normalise(sg_slice_of(cases[i].text), false);
        assert_int_equal(normal.signals, cases[i].signals);
        assert_false(normal.evasive);
    }
}

/* --- offsets -------------------------------------------------------------------------------------------------- */

static void check_offsets(struct sg_slice raw)
{
    struct sg_buffer plain[SG_N_READINGS] = {0};
    normalise(raw, false);
    unsigned signals = normal.signals;
    for (int i = 0; i < SG_N_READINGS; i++) {
        assert_null(normal.offsets[i]);
        sg_buffer_append(&plain[i], normal.readings[i].data, normal.readings[i].len);
    }
    normalise(raw, true);
    assert_int_equal(normal.signals, signals);
    for (int i = 0; i < SG_N_READINGS; i++) {
        struct sg_slice text = {normal.readings[i].data, normal.readings[i].len};
        assert_true(sg_slice_equal(text, (struct sg_slice){plain[i].data, plain[i].len}));
        assert_true(sg_utf8_valid(text));
        for (size_t k = 0; k < text.len; k++) {
            uint32_t at = normal.offsets[i][k];
            assert_true(at < raw.len);
            assert_true(k == 0 || at >= normal.offsets[i][k - 1]);
        }
        sg_buffer_free(&plain[i]);
    }
}

static void test_offsets(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "Plain ASCII",
        "n1gg3r i.d.i.o.t an i d i o t",
        "\u0130 \uFB03 \u00DF idi\u043Et \u0455\u0441am, \u0440\u0430\u0441\u0435 \u043F\u0440\u0438",
        "a\u0301\u0323b \u200B\u200Bx Tie\u0302\u0301ng \uFDFA",
        "hi\U000E0049\U000E0064 \U0001F60A\U000E0138\U000E0159",
        "\u20ACuro \u20AC5m A\u043E\u20B4",
    };
    for (size_t i = 0; i < COUNT(texts); i++)
        check_offsets(sg_slice_of(texts[i]));
    /* exactly */
    normalise(sg_slice_of("x \u200BI.d.i.\u043Et"), true);
    static const uint32_t folded[] = {0, 1, 5, 6, 7, 8, 9, 10, 11, 13};
    assert_string_equal(normal.readings[SG_READING_FOLDED].data, "x i.d.i.ot");
    assert_memory_equal(normal.offsets[SG_READING_FOLDED], folded, sizeof folded);
    normalise(sg_slice_of("I D i o T"), true);
    static const uint32_t spacing[] = {0, 2, 4, 6, 8};
    assert_string_equal(normal.readings[SG_READING_SPACING].data, "idiot");
    assert_memory_equal(normal.offsets[SG_READING_SPACING], spacing, sizeof spacing);
    normalise(sg_slice_of("a\U000E0069\U000E0064"), true);
    static const uint32_t smuggled[] = {1, 5};
    assert_memory_equal(normal.offsets[SG_READING_SMUGGLED], smuggled, sizeof smuggled);
}

/* --- hostile bytes ---------------------------------------------------------------------------------------------- */

static void test_hostile(void **state)
{
    (void)state;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b += a < 128 ? 51 : 1) {
            char bytes[] = {(char)a, (char)b, 'x', (char)a, 'y'};
            check_offsets((struct sg_slice){bytes, sizeof bytes});
        }
    }
    /* one of these again and again */
    static const char *const pieces[] = {"\u0300", "\u200D", "\U000E0041", "\U000E0159", "a\u0316\u0317\u0318",
                                         "\u1161", "\u0430", "a ",         "a.",         "1a",
                                         "\u00AD", "\u202E", "\uFDFA",     "\xF0\x9F",   "$!"};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct sg_buffer text = {0};
        while (text.len < 300000)
            sg_buffer_puts(&text, pieces[i]);
        check_offsets((struct sg_slice){text.data, text.len});
        sg_buffer_free(&text);
        check_offsets(sg_slice_of("short again"));
    }
    normalise((struct sg_slice){NULL, 0}, true);
    assert_int_equal(normal.readings[SG_READING_FOLDED].len, 0);
    struct sg_error err;
    assert_int_equal(sg_normalise((struct sg_slice){"x", (size_t)SG_NORMALISE_MAX_BYTES + 1}, false, &normal, &err),
                     SG_ELIMIT);
    assert_int_equal(normal.readings[SG_READING_FOLDED].len, 0);
}

static int teardown(void **state)
{
    (void)state;
    sg_normal_deinit(&normal);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nfkc),     cmocka_unit_test(test_folded),  cmocka_unit_test(test_evasions),
        cmocka_unit_test(test_ordinary), cmocka_unit_test(test_signals), cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests_name("normalise", tests, NULL, teardown);
}
