/* The screen: features, a fit and a calibration against values from an implementation of their own
 * (tools/oracle_screen.py), the file and its damage, windows, readings, explanations. */
#include "base/file.h"
#include "screen/calibrate.h"
#include "screen/screen_internal.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct sg_error err;

static void ok(enum sg_status status)
{
    if (status != SG_OK)
        fail_msg("%s: %s", sg_status_name(status), err.text);
}

/* --- the oracle's file -------------------------------------------------------------------------------------------
 */

/* Line of the file that has `key`; `index` counts such lines. NULL behind the last. */
static json_t *oracle(const char *key, int index)
{
    FILE *file = fopen(SG_TEST_DATA "/screen.jsonl", "r");
    char *line = NULL;
    size_t cap = 0;
    json_t *found = NULL;
    assert_non_null(file);
    while (!found && getline(&line, &cap, file) > 0) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        json_t *value = json_object_get(object, key);
        if (value && index-- == 0)
            found = json_incref(value);
        json_decref(object);
    }
    free(line);
    fclose(file);
    return found;
}

/* --- features ----------------------------------------------------------------------------------------------------
 */

struct gathered {
    uint32_t buckets[SG_N_KINDS][4096];
    int n[SG_N_KINDS];
    uint32_t end;
};

static void gather(void *context, const struct sg_unit *unit)
{
    struct gathered *all = context;
    assert_true(unit->first_byte >= all->end); /* units follow one another */
    all->end = unit->first_byte + unit->n_bytes;
    for (int kind = 0; kind < SG_N_KINDS; kind++)
        for (int i = 0; i < unit->n[kind]; i++)
            all->buckets[kind][all->n[kind]++] = unit->buckets[kind][i];
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void features_are_the_oracles(void **state)
{
    static const char *const kinds[SG_N_KINDS] = {"grams", "trigrams", "words", "lexemes"};
    static struct gathered all;
    (void)state;
    int line = 0;
    for (json_t *want; (want = oracle("features", line)); line++, json_decref(want)) {
        const char *text = json_string_value(json_object_get(want, "text"));
        memset(&all, 0, sizeof all);
        sg_features(sg_slice_of(text), SG_BUCKET_BITS, false, gather, &all);
        for (int kind = 0; kind < SG_N_KINDS; kind++) {
            json_t *list = json_object_get(want, kinds[kind]);
            qsort(all.buckets[kind], (size_t)all.n[kind], sizeof(uint32_t), by_number);
            if ((size_t)all.n[kind] != json_array_size(list))
                fail_msg("%s of \"%s\": %d, expected %zu", kinds[kind], text, all.n[kind], json_array_size(list));
            for (int i = 0; i < all.n[kind]; i++)
                assert_int_equal(all.buckets[kind][i], json_integer_value(json_array_get(list, (size_t)i)));
        }
    }
    assert_int_equal(line, 16);
}

struct places {
    struct sg_slice text;
    int n, n_checked;
};

static void check_places(void *context, const struct sg_unit *unit)
{
    struct places *places = context;
    for (int kind = 0; kind < SG_N_KINDS; kind++)
        for (int i = 0; i < unit->n[kind]; i++) {
            struct sg_place place = unit->places[kind][i];
            assert_true(place.first_byte + (size_t)place.n_bytes <= places->text.len);
            places->n++;
            if (kind != SG_WORDS || place.n_bytes > 64 ||
                memchr(places->text.ptr + place.first_byte, ' ', place.n_bytes))
                continue;
            /* a single word hashes to its bucket again */
            static struct gathered again;
            memset(&again, 0, sizeof again);
            sg_features((struct sg_slice){places->text.ptr + place.first_byte, place.n_bytes}, SG_BUCKET_BITS, false,
                        gather, &again);
            assert_int_equal(again.buckets[SG_WORDS][0], unit->buckets[kind][i]);
            places->n_checked++;
        }
}

/* Also a text that is longer than what is decoded at a time, and a run that is. */
static void places_are_in_the_text(void **state)
{
    (void)state;
    struct sg_buffer text = {0};
    for (int i = 0; i < 3000; i++)
        sg_buffer_printf(&text, "word%d \t ", i % 77);
    for (int i = 0; i < 9000; i++)
        sg_buffer_puts(&text, "é");
    struct places places = {.text = {text.data, text.len}};
    sg_features(places.text, SG_BUCKET_BITS, true, check_places, &places);
    assert_true(places.n > 20000 && places.n_checked >= 3000);
    sg_buffer_free(&text);
}

/* --- a fit -------------------------------------------------------------------------------------------------------
 */

#define MOST 200

struct set {
    json_t *json;
    struct sg_screen_example examples[MOST];
    size_t n;
};

static void read_set(struct set *set)
{
    memset(set, 0, sizeof *set);
    set->json = oracle("fit", 0);
    assert_non_null(set->json);
    json_t *texts = json_object_get(set->json, "texts"), *values = json_object_get(set->json, "values");
    set->n = json_array_size(texts);
    for (size_t i = 0; i < set->n; i++) {
        json_t *text = json_array_get(texts, i);
        set->examples[i] = (struct sg_screen_example){.text = json_string_value(text),
                                                      .text_len = json_string_length(text),
                                                      .value = (int)json_integer_value(json_array_get(values, i))};
    }
}

static struct sg_screen *train(const struct set *set, double c, double vector_scale)
{
    struct sg_screen_category category = {"any", set->examples, set->n};
    struct sg_screen_options options = {.c = c, .vector_scale = vector_scale, .no_prior = true, .threads = 1};
    struct sg_screen *screen;
    ok(sg_screen_train(&category, 1, &options, &screen, &err));
    return screen;
}

static struct sg_screen_score score(const struct sg_screen *screen, size_t category, const char *text)
{
    struct sg_screen_scratch *scratch;
    struct sg_screen_score score, again;
    ok(sg_screen_scratch_create(&scratch, &err));
    ok(sg_screen_score(screen, category, text, strlen(text), scratch, &score, &err));
    ok(sg_screen_score(screen, category, text, strlen(text), scratch, &again, &err));
    assert_true(score.margin == again.margin); /* nothing of a text stays behind in the scratch */
    sg_screen_scratch_destroy(scratch);
    return score;
}

/* Without the prior heads, and with them. */
static void fit_is_the_oracles(void **state)
{
    (void)state;
    for (int with_prior = 0; with_prior < 2; with_prior++) {
        struct set set;
        read_set(&set);
        json_t *want = oracle("fit", with_prior);
        struct sg_screen_category category = {"any", set.examples, set.n};
        struct sg_screen_options options = {.c = json_number_value(json_object_get(want, "c")),
                                            .vector_scale = json_number_value(json_object_get(want, "vector_scale")),
                                            .no_prior = !with_prior,
                                            .threads = 1};
        struct sg_screen *screen;
        ok(sg_screen_train(&category, 1, &options, &screen, &err));
        json_t *probes = json_object_get(want, "probes"), *margins = json_object_get(want, "margins");
        for (size_t i = 0; i < json_array_size(probes); i++) {
            double margin = json_number_value(json_array_get(margins, i));
            double got = score(screen, 0, json_string_value(json_array_get(probes, i))).margin;
            if (!(fabs(got - margin) < 0.02 + 0.03 * fabs(margin))) /* 8-bit weights, LIBLINEAR's stop */
                fail_msg("prior %d, probe %zu: margin %.4f, expected %.4f", with_prior, i, got, margin);
        }
        sg_screen_close(screen);
        json_decref(want);
        json_decref(set.json);
    }
}

static void weights_count_like_copies(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    for (size_t i = 0; i < set.n; i += 4)
        set.examples[i].weight = 3;
    struct sg_screen *weighted = train(&set, 10, 0.6);
    size_t n = set.n;
    for (size_t i = 0; i < n; i += 4) {
        set.examples[i].weight = 1;
        set.examples[set.n++] = set.examples[i]; /* the same text by address: counted once in document frequencies */
        set.examples[set.n++] = set.examples[i];
    }
    struct sg_screen *copied = train(&set, 10, 0.6);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(score(weighted, 0, set.examples[i].text).margin -
                         score(copied, 0, set.examples[i].text).margin) < 0.02);
    assert_true(fabs(score(weighted, 0, "claim your prize").margin) > 0.1);
    sg_screen_close(weighted);
    sg_screen_close(copied);
    json_decref(set.json);
}

static void choosing_is_repeatable(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    struct sg_screen *a = train(&set, 0, 0), *b = train(&set, 0, 0);
    assert_string_equal(sg_screen_sha256(a), sg_screen_sha256(b));
    assert_true(a->models[0].average_precision > 0.8);
    assert_true(a->models[0].n_examples == 80 && a->models[0].n_positive == 20);
    sg_screen_close(a);
    sg_screen_close(b);
    json_decref(set.json);
}

static void examples_are_checked(void **state)
{
    (void)state;
    struct sg_screen_example examples[] = {{.text = "a", .text_len = 1, .value = 1},
                                           {.text = "b", .text_len = 1, .value = 1}};
    struct sg_screen_category category = {"any", examples, 2};
    struct sg_screen_options options = {.threads = 1};
    struct sg_screen *screen;
    assert_int_equal(sg_screen_train(&category, 1, &options, &screen, &err), SG_EINVALID);
    assert_null(screen);
    assert_non_null(strstr(err.text, "2 violating and 0 other"));
    examples[1].value = 2;
    assert_int_equal(sg_screen_train(&category, 1, &options, &screen, &err), SG_EINVALID);
    examples[1].value = 0;
    examples[1].weight = -1;
    assert_int_equal(sg_screen_train(&category, 1, &options, &screen, &err), SG_EINVALID);
    examples[1].weight = 0;
    examples[0].p_drawn = 1.5;
    assert_int_equal(sg_screen_train(&category, 1, &options, &screen, &err), SG_EINVALID);
    examples[0].p_drawn = 0;
    category.n_examples = 0;
    assert_int_equal(sg_screen_train(&category, 1, &options, &screen, &err), SG_EINVALID);
    category.n_examples = 2;
    assert_int_equal(sg_screen_train(&category, 0, &options, &screen, &err), SG_EINVALID);
    ok(sg_screen_train(&category, 1, &options, &screen, &err)); /* one of each: no folds, but a screen */
    assert_true(score(screen, 0, "a").margin > score(screen, 0, "b").margin);
    sg_screen_close(screen);
}

/* --- categories, groups, calibration -----------------------------------------------------------------------------
 */

static void categories_do_not_mix(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    struct sg_screen_example other[MOST];
    for (size_t i = 0; i < set.n; i++) {
        other[i] = set.examples[i];
        other[i].value = strstr(other[i].text, "the") != NULL;
    }
    struct sg_screen_category categories[] = {{"any", set.examples, set.n}, {"article", other, set.n}};
    struct sg_screen_options options = {.c = 10, .vector_scale = 0.6, .no_prior = true, .threads = 1};
    struct sg_screen *both, *one = train(&set, 10, 0.6);
    ok(sg_screen_train(categories, 2, &options, &both, &err));
    assert_int_equal(sg_screen_n_categories(both), 2);
    assert_string_equal(sg_screen_category_name(both, 1), "article");
    assert_null(sg_screen_category_name(both, 2));
    for (size_t i = 0; i < set.n; i++) {
        assert_true(score(both, 0, set.examples[i].text).margin == score(one, 0, set.examples[i].text).margin);
        assert_int_equal(score(both, 1, set.examples[i].text).margin > 0, other[i].value);
    }
    struct sg_screen_scratch *scratch;
    struct sg_screen_score none;
    ok(sg_screen_scratch_create(&scratch, &err));
    assert_int_equal(sg_screen_score(both, 2, "x", 1, scratch, &none, &err), SG_EINVALID);
    sg_screen_scratch_destroy(scratch);
    sg_screen_close(both);
    sg_screen_close(one);
    json_decref(set.json);
}

static void groups_are_remembered(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    for (size_t i = 0; i < set.n; i++) {
        char name[32];
        snprintf(name, sizeof name, "group %zu", i / 2);
        set.examples[i].group = i % 8 < 6 ? sg_screen_group_hash(name) : 0;
    }
    struct sg_screen *screen = train(&set, 10, 0.6);
    size_t wrong = 0;
    for (size_t i = 0; i < set.n; i++) {
        char sha256[SG_SHA256_HEX], name[32];
        sg_sha256(set.examples[i].text, set.examples[i].text_len, sha256);
        uint64_t group = set.examples[i].group ? set.examples[i].group : sg_screen_group_hash(sha256);
        assert_true(sg_screen_learnt_from(screen, group));
        snprintf(name, sizeof name, "never %zu", i);
        wrong += sg_screen_learnt_from(screen, sg_screen_group_hash(name));
    }
    assert_true(wrong <= 2); /* 80 trials at one in 400 */
    sg_screen_close(screen);
    json_decref(set.json);
}

static void calibration_is_the_oracles(void **state)
{
    (void)state;
    json_t *want = oracle("calibration", 0);
    assert_non_null(want);
    static struct sg_calibration_row rows[1000];
    size_t n = json_array_size(json_object_get(want, "margin"));
    for (size_t i = 0; i < n; i++)
        rows[i] =
            (struct sg_calibration_row){json_number_value(json_array_get(json_object_get(want, "margin"), i)),
                                        json_integer_value(json_array_get(json_object_get(want, "violates"), i)) == 1,
                                        json_number_value(json_array_get(json_object_get(want, "weight"), i))};
    double slope, intercept;
    assert_true(sg_calibrate(rows, n, &slope, &intercept));
    assert_true(fabs(slope - json_number_value(json_object_get(want, "slope"))) < 1e-5);
    assert_true(fabs(intercept - json_number_value(json_object_get(want, "intercept"))) < 1e-5);
    for (size_t i = 0; i < n; i++)
        rows[i].margin = -rows[i].margin; /* no slope above 0: no probability rather than a wrong one */
    assert_false(sg_calibrate(rows, n, &slope, &intercept));
    assert_true(slope == 0);
    assert_false(sg_calibrate(rows, 12, &slope, &intercept)); /* too few */
    json_decref(want);
}

static void only_drawn_rows_calibrate(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    struct sg_screen *screen = train(&set, 10, 0.6);
    assert_true(isnan(score(screen, 0, "claim your prize").probability));
    sg_screen_close(screen);
    for (size_t i = 0; i < set.n; i++)
        set.examples[i].calibrates = true;
    screen = train(&set, 10, 0.6);
    assert_int_equal(screen->models[0].n_calibration, 80);
    assert_int_equal(screen->models[0].n_calibration_positive, 20);
    struct sg_screen_score high = score(screen, 0, "claim your prize now"), low = score(screen, 0, "lunch tomorrow");
    assert_true(high.probability > 0.5 && high.probability < 1 && low.probability < 0.5 && low.probability > 0);
    sg_screen_close(screen);
    json_decref(set.json);
}

/* --- windows, readings, explanation --------------------------------------------------------------------------------
 */

/* A made-up word of three syllables: many different ones, so that padding dilutes. */
static void put_word(struct sg_buffer *text, uint32_t *state)
{
    static const char consonants[] = "bdfgklmnprst", vowels[] = "aeiou";
    for (int i = 0; i < 3; i++) {
        *state = *state * 1664525u + 1013904223u;
        sg_buffer_putc(text, consonants[(*state >> 24) % 12]);
        sg_buffer_putc(text, vowels[(*state >> 16) % 5]);
    }
    sg_buffer_putc(text, ' ');
}

static void padding_hides_nothing(void **state)
{
    (void)state;
    static struct sg_buffer texts[MOST];
    static struct set set;
    static const char bad[] = "claim cash prize winner casino bonus loan urgent offer";
    uint32_t random = 1;
    for (set.n = 0; set.n < MOST; set.n++) {
        struct sg_buffer *text = texts + set.n;
        for (int i = 0; i < 20; i++)
            put_word(text, &random);
        if (set.n % 4 == 0)
            sg_buffer_puts(text, bad);
        set.examples[set.n] = (struct sg_screen_example){text->data, text->len, set.n % 4 == 0, 0, false, 0, 0};
    }
    struct sg_screen *screen = train(&set, 10, 0.001);
    double threshold = 0; /* between the classes */
    assert_true(score(screen, 0, bad).margin > threshold);
    for (int before = 0; before <= 400; before += 50) {
        struct sg_buffer text = {0};
        for (int i = 0; i < before; i++)
            put_word(&text, &random);
        size_t first = text.len;
        sg_buffer_printf(&text, "%s ", bad);
        for (int i = before; i < 400; i++)
            put_word(&text, &random);
        struct sg_screen_score padded = score(screen, 0, text.data);
        assert_true(padded.margin > threshold);
        assert_true(padded.first_byte <= first + 20 && padded.first_byte + padded.n_bytes + 20 >= first + sizeof bad);
        assert_true(padded.n_bytes < 500); /* a window of the 2,800 bytes */
        sg_buffer_free(&text);
    }
    struct sg_screen_score whole = score(screen, 0, bad);
    assert_true(whole.first_byte == 0 && whole.n_bytes == sizeof bad - 1);
    sg_screen_close(screen);
    for (size_t i = 0; i < set.n; i++)
        sg_buffer_free(texts + i);
}

static void readings_undo_tricks(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    struct sg_screen *screen = train(&set, 10, 0.6);
    double plain = score(screen, 0, "claim your prize now").margin;
    static const char *const tricks[] = {
        "CLAIM Your PriZe NOW", "cl\u0430im your priz\u0435 now",       /* Cyrillic */
        "cla\u200bim yo\u200bur pr\u200bize now",                       /* zero-width */
        "\uff43\uff4c\uff41\uff49\uff4d your prize \uff4e\uff4f\uff57", /* full-width */
    };
    for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) {
        struct sg_screen_score tricked = score(screen, 0, tricks[i]);
        assert_true(tricked.margin >= plain - 1e-9);
    }
    assert_true(score(screen, 0, tricks[1]).evasive);
    assert_true(score(screen, 0, tricks[2]).evasive);
    assert_true(score(screen, 0, tricks[1]).signals & (SG_SIGNAL_MIXED_SCRIPT | SG_SIGNAL_CONFUSABLES));
    assert_false(score(screen, 0, "claim your prize now").evasive);
    sg_screen_close(screen);
    json_decref(set.json);
}

static void strange_texts_are_told(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    struct sg_screen *screen = train(&set, 10, 0.6);
    struct sg_screen_score strange = score(screen, 0, "xqzv kjwq vvkz qqxj zzkv wwqx jjkq xxzq");
    assert_true(strange.signals & SG_SIGNAL_UNSEEN_FEATURES);
    assert_true(strange.evasive);
    for (size_t i = 0; i < set.n; i++)
        assert_false(score(screen, 0, set.examples[i].text).signals & SG_SIGNAL_UNSEEN_FEATURES);
    sg_screen_close(screen);
    json_decref(set.json);
}

static void explanation_adds_up(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    struct sg_screen *screen = train(&set, 10, 0.6);
    struct sg_screen_scratch *scratch;
    static struct sg_screen_feature features[5000];
    ok(sg_screen_scratch_create(&scratch, &err));
    struct sg_buffer text = {0};
    for (int i = 0; i < 60; i++)
        sg_buffer_puts(&text, "Dinner WITH music ");
    sg_buffer_puts(&text, "claim the cash prize");
    const char *const texts[] = {"claim your prize", "lunch", text.data};
    for (size_t t = 0; t < 3; t++) {
        size_t n, len = strlen(texts[t]);
        double margin = score(screen, 0, texts[t]).margin, sum = screen->models[0].bias;
        ok(sg_screen_explain(screen, 0, texts[t], len, scratch, features, 5000, &n, &err));
        assert_true(n > 3 && n < 5000);
        for (size_t i = 0; i < n; i++) {
            sum += features[i].weight;
            assert_true(i == 0 || fabs(features[i].weight) <= fabs(features[i - 1].weight));
            assert_true(features[i].text[0] != '\0');
        }
        assert_true(fabs(sum - margin) < 1e-9);
    }
    size_t n;
    ok(sg_screen_explain(screen, 0, "claim prize", 11, scratch, features, 3, &n, &err));
    assert_int_equal(n, 3);
    bool word = false, gram = false;
    ok(sg_screen_explain(screen, 0, "CLAIM  Prize", 12, scratch, features, 5000, &n, &err));
    for (size_t i = 0; i < n; i++)
        word |= strcmp(features[i].text, "claim") == 0, gram |= strcmp(features[i].text, "▁priz") == 0;
    assert_true(word && gram);
    sg_buffer_free(&text);
    sg_screen_scratch_destroy(scratch);
    sg_screen_close(screen);
    json_decref(set.json);
}

/* --- the file ----------------------------------------------------------------------------------------------------
 */

static void seal(unsigned char *bytes, size_t len)
{
    char hex[SG_SHA256_HEX];
    sg_sha256(bytes, len - SG_SCREEN_CHECKSUM_BYTES, hex);
    memcpy(bytes + len - SG_SCREEN_CHECKSUM_BYTES, hex, SG_SCREEN_CHECKSUM_BYTES);
}

static void refuse(const unsigned char *bytes, size_t len, enum sg_status want, const char *what)
{
    struct sg_screen *screen = NULL;
    enum sg_status status = sg_screen_open_memory("test", bytes, len, &screen, &err);
    if (status != want || screen)
        fail_msg("%s: %s", what, sg_status_name(status));
}

static void file_is_read_back(void **state)
{
    (void)state;
    struct set set;
    read_set(&set);
    char path[] = "/tmp/screenXXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    static const char policy[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct sg_screen_category category = {"any", set.examples, set.n};
    struct sg_screen_options options = {.c = 10, .vector_scale = 0.6, .threads = 1, .policy_sha256 = policy};
    struct sg_screen *made, *opened;
    ok(sg_screen_train(&category, 1, &options, &made, &err));
    ok(sg_screen_save(made, path, &err));
    ok(sg_screen_open(path, &opened, &err));
    assert_string_equal(sg_screen_sha256(made), sg_screen_sha256(opened));
    assert_string_equal(sg_screen_policy_sha256(opened), policy);
    struct sg_buffer bytes = {0};
    ok(sg_file_read(path, SG_SCREEN_MAX_BYTES, &bytes, &err));
    char hex[SG_SHA256_HEX];
    sg_sha256(bytes.data, bytes.len, hex);
    assert_string_equal(hex, sg_screen_sha256(opened));
    for (size_t i = 0; i < set.n; i++)
        assert_true(score(made, 0, set.examples[i].text).margin == score(opened, 0, set.examples[i].text).margin);
    char *json;
    ok(sg_screen_info(opened, &json, &err));
    json_t *info = json_loads(json, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(info, "policy_sha256")), policy);
    assert_int_equal(json_integer_value(json_object_get(info, "texts")), 80);
    json_decref(info);
    free(json);
    sg_screen_close(opened);
    sg_screen_close(made);

    /* damage: any byte anywhere, and every kind of cut */
    unsigned char *image = (unsigned char *)bytes.data;
    for (size_t at = 0; at < bytes.len; at += at < 600 ? 1 : 4999) {
        image[at] ^= 0x10;
        struct sg_screen *screen = NULL;
        assert_int_not_equal(sg_screen_open_memory("test", image, bytes.len, &screen, &err), SG_OK);
        assert_null(screen);
        image[at] ^= 0x10;
    }
    for (size_t len = 0; len < bytes.len; len += len < 600 ? 7 : 50021)
        refuse(image, len, SG_EFORMAT, "cut");

    /* damage that the checksum does not see */
    struct {
        size_t at, n;
        const void *bytes;
        enum sg_status want;
        const char *what;
    } changes[] = {
        {8, 1, "\x02", SG_EUNSUPPORTED, "format"},
        {12, 1, "\x1f", SG_EFORMAT, "bucket bits"},
        {16, 1, "\x00", SG_EFORMAT, "no categories"},
        {16, 1, "\x15", SG_EFORMAT, "21 categories"},
        {20, 1, "\x3f", SG_EFORMAT, "learnt bits"},
        {24, 1, "\x01", SG_EFORMAT, "size"},
        {40, 8, "\0\0\0\0\0\0\xf8\x7f", SG_EFORMAT, "unseen share NaN"},
        {48, 1, "N", SG_EUNSUPPORTED, "features"},
        {112, 1, "X", SG_EFORMAT, "policy"},
        {184, 1, "\x01", SG_EFORMAT, "vocabulary"},
        {256, 1, "\0", SG_EFORMAT, "no name"},
        {256, 1, "\xff", SG_EFORMAT, "name not UTF-8"},
        {320, 8, "\0\0\0\0\0\0\xf8\x7f", SG_EFORMAT, "bias NaN"},
        {344, 8, "\0\0\0\0\0\0\xf0\xbf", SG_EFORMAT, "slope -1"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        unsigned char before[8];
        memcpy(before, image + changes[i].at, changes[i].n);
        memcpy(image + changes[i].at, changes[i].bytes, changes[i].n);
        seal(image, bytes.len);
        refuse(image, bytes.len, changes[i].want, changes[i].what);
        memcpy(image + changes[i].at, before, changes[i].n);
    }
    seal(image, bytes.len);
    ok(sg_screen_open_memory("test", image, bytes.len, &opened, &err));
    sg_screen_close(opened);
    assert_int_equal(sg_screen_open("/nonexistent/screen", &opened, &err), SG_ENOTFOUND);
    unlink(path);
    sg_buffer_free(&bytes);
    json_decref(set.json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_the_oracles),   cmocka_unit_test(places_are_in_the_text),
        cmocka_unit_test(fit_is_the_oracles),         cmocka_unit_test(weights_count_like_copies),
        cmocka_unit_test(choosing_is_repeatable),     cmocka_unit_test(examples_are_checked),
        cmocka_unit_test(categories_do_not_mix),      cmocka_unit_test(groups_are_remembered),
        cmocka_unit_test(calibration_is_the_oracles), cmocka_unit_test(only_drawn_rows_calibrate),
        cmocka_unit_test(padding_hides_nothing),      cmocka_unit_test(readings_undo_tricks),
        cmocka_unit_test(strange_texts_are_told),     cmocka_unit_test(explanation_adds_up),
        cmocka_unit_test(file_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
