/* Label files: what is written comes back, whose word counts, what is left out; near-duplicates; agreement. */
#include "base/file.h"
#include "labels/agreement.h"
#include "labels/cluster.h"
#include "labels/label_import.h"
#include "labels/label_stats.h"
#include "safeguard/label.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char policy_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char policy_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

struct place {
    char folder[32];
    char paths[4][64];
};

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->folder, "/tmp/sg-test-labels-XXXXXX");
    if (!mkdtemp(place->folder))
        return -1;
    for (int i = 0; i < 4; i++) {
        char name[] = "/0.jsonl";
        name[1] = (char)('0' + i);
        strcpy(place->paths[i], place->folder);
        strcat(place->paths[i], name);
    }
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;
    for (int i = 0; i < 4; i++)
        remove(place->paths[i]);
    rmdir(place->folder);
    free(place);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static struct sg_label_line line_of(const char *text, const char *who, enum sg_label_role role, int violation)
{
    return (struct sg_label_line){.text = text,
                                  .text_len = strlen(text),
                                  .who = who,
                                  .role = role,
                                  .violation = violation,
                                  .policy_sha256 = policy_a,
                                  .time = 1700000000,
                                  .p_drawn = NAN};
}

static void add_lines(const char *path, const struct sg_label_line *lines, size_t n)
{
    struct sg_label_writer *writer;
    struct sg_error err = {0};
    if (sg_label_writer_open(path, &writer, &err) != SG_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++)
        if (sg_label_writer_add(writer, &lines[i], &err) != SG_OK)
            fail_msg("%s", err.text);
    assert_int_equal(sg_label_writer_close(writer, &err), SG_OK);
}

static struct sg_labels *open_labels(const char *const *paths, size_t n, const char *policy)
{
    struct sg_labels *labels;
    struct sg_error err = {0};
    if (sg_labels_open(paths, n, policy, &labels, &err) != SG_OK)
        fail_msg("%s", err.text);
    return labels;
}

static struct sg_labels *open_one(const char *path)
{
    return open_labels(&path, 1, policy_a);
}

static const struct sg_labelled *item_of(const struct sg_labels *labels, const char *text)
{
    char sha256[SG_SHA256_HEX];
    size_t i;
    sg_sha256(text, strlen(text), sha256);
    assert_true(sg_labels_find(labels, sha256, &i));
    return sg_labels_at(labels, i);
}

static bool has_note(const struct sg_labels *labels, const char *word)
{
    size_t n;
    const char *const *notes = sg_labels_notes(labels, &n);
    for (size_t i = 0; i < n; i++)
        if (strstr(notes[i], word))
            return true;
    for (size_t i = 0; i < n; i++)
        print_message("note: %s\n", notes[i]);
    return false;
}

static void test_round_trip(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    const struct sg_label_value categories[] = {{"spam", 1}, {"scam", 0}, {"other", SG_LABEL_UNKNOWN}};
    /* SHA-256 of "abc": FIPS 180-2, appendix B.1. */
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct sg_label_line lines[] = {line_of("abc", "anna", SG_ROLE_GOLD, 1),
                                    line_of("nul", "b\u00e9a", SG_ROLE_REVIEW, 0)};
    lines[0].categories = categories;
    lines[0].n_categories = 3;
    lines[0].id = "row-1";
    lines[0].drawn = "uniform";
    lines[0].p_drawn = 0.1;
    lines[0].group = "campaign";
    lines[1].text = "a\0\"\\\n\xF0\x9F\x99\x82";
    lines[1].text_len = 9;
    add_lines(path, lines, 2);

    /* The file is JSON lines, one object each, as another reader sees it. */
    FILE *file = fopen(path, "rb");
    json_t *object = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
    assert_string_equal(json_string_value(json_object_get(object, "content_sha256")), abc);
    assert_string_equal(json_string_value(json_object_get(object, "role")), "gold");
    assert_int_equal(json_integer_value(json_object_get(object, "time")), 1700000000);
    assert_true(json_real_value(json_object_get(object, "p_drawn")) == 0.1);
    json_decref(object);
    fclose(file);

    struct sg_labels *labels = open_one(path);
    assert_int_equal(sg_labels_count(labels), 2);
    const struct sg_labelled *item = sg_labels_at(labels, 0);
    assert_string_equal(item->content_sha256, abc);
    assert_string_equal(item->id, "row-1");
    assert_string_equal(item->text, "abc");
    assert_int_equal(item->violation, 1);
    assert_int_equal(item->source, SG_TRUTH_PERSON);
    assert_false(item->disputed);
    assert_string_equal(item->drawn, "uniform");
    assert_true(item->p_drawn == 0.1);
    assert_string_equal(item->group, "campaign");
    assert_int_equal(item->reasoner_violation, SG_LABEL_UNKNOWN);
    assert_int_equal(sg_labels_value(labels, 0, "any"), 1);
    assert_int_equal(sg_labels_value(labels, 0, "spam"), 1);
    assert_int_equal(sg_labels_value(labels, 0, "scam"), 0);
    assert_int_equal(sg_labels_value(labels, 0, "other"), SG_LABEL_UNKNOWN);
    assert_int_equal(sg_labels_value(labels, 0, "no such"), SG_LABEL_UNKNOWN);
    item = sg_labels_at(labels, 1);
    assert_int_equal(item->text_len, 9);
    assert_memory_equal(item->text, "a\0\"\\\n\xF0\x9F\x99\x82", 9);
    assert_string_equal(item->group, item->content_sha256);
    assert_true(isnan(item->p_drawn));
    assert_null(item->id);
    struct sg_said said[2];
    assert_int_equal(sg_labels_said(labels, 1, said, 2), 1);
    assert_string_equal(said[0].who, "b\u00e9a");
    assert_int_equal(said[0].role, SG_ROLE_REVIEW);
    sg_labels_close(labels);
}

static void test_precedence(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    const struct sg_label_line lines[] = {
        line_of("person over reasoner", "reasoner:20b", SG_ROLE_REASONER, 1),
        line_of("person over reasoner", "anna", SG_ROLE_GOLD, 0),
        line_of("person over reasoner", "reasoner:20b", SG_ROLE_REASONER, 1),
        line_of("review over gold", "anna", SG_ROLE_REVIEW, 1),
        line_of("review over gold", "berta", SG_ROLE_GOLD, 0),
        line_of("appeal over review", "anna", SG_ROLE_APPEAL, 0),
        line_of("appeal over review", "berta", SG_ROLE_REVIEW, 1),
        line_of("appeal over review", "carla", SG_ROLE_REVIEW, 0),
        line_of("disputed", "anna", SG_ROLE_GOLD, 1),
        line_of("disputed", "reasoner:20b", SG_ROLE_REASONER, 1),
        line_of("disputed", "berta", SG_ROLE_GOLD, 0),
        line_of("disputed", "carla", SG_ROLE_GOLD, 1),
        line_of("settled", "anna", SG_ROLE_GOLD, 1),
        line_of("settled", "berta", SG_ROLE_GOLD, 0),
        line_of("settled", "berta", SG_ROLE_GOLD, 1), /* she changed her mind */
        line_of("taken back", "anna", SG_ROLE_REVIEW, 1),
        line_of("taken back", "berta", SG_ROLE_GOLD, 0),
        line_of("taken back", "anna", SG_ROLE_REVIEW, SG_LABEL_UNKNOWN),
        line_of("latest reasoner", "reasoner:20b", SG_ROLE_REASONER, 0),
        line_of("latest reasoner", "reasoner:small", SG_ROLE_REASONER, 1),
        line_of("nobody knows", "anna", SG_ROLE_GOLD, SG_LABEL_UNKNOWN),
    };
    static const struct {
        const char *text;
        int violation, source, disputed, reasoner;
    } expected[] = {{"person over reasoner", 0, SG_TRUTH_PERSON, 0, 1},
                    {"review over gold", 1, SG_TRUTH_PERSON, 0, -1},
                    {"appeal over review", 0, SG_TRUTH_PERSON, 0, -1},
                    {"disputed", -1, SG_TRUTH_PERSON, 1, 1},
                    {"settled", 1, SG_TRUTH_PERSON, 0, -1},
                    {"taken back", 0, SG_TRUTH_PERSON, 0, -1},
                    {"latest reasoner", 1, SG_TRUTH_REASONER, 0, 1},
                    {"nobody knows", -1, SG_TRUTH_NONE, 0, -1}};
    add_lines(path, lines, COUNT(lines));
    struct sg_labels *labels = open_one(path);
    assert_int_equal(sg_labels_count(labels), COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        const struct sg_labelled *item = item_of(labels, expected[i].text);
        if (item->violation != expected[i].violation || (int)item->source != expected[i].source ||
            item->disputed != expected[i].disputed || item->reasoner_violation != expected[i].reasoner)
            fail_msg("%s: violation %d, source %d, disputed %d, reasoner %d", expected[i].text, item->violation,
                     (int)item->source, item->disputed, item->reasoner_violation);
    }
    sg_labels_close(labels);
}

static void test_categories_have_their_own_precedence(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    const struct sg_label_value anna[] = {{"hate", 1}, {"spam", 1}},
                                berta[] = {{"hate", 0}, {"spam", 1}, {"scam", 0}},
                                machine[] = {{"scam", 1}, {"rude", 1}};
    struct sg_label_line lines[] = {line_of("x", "anna", SG_ROLE_GOLD, 1), line_of("x", "berta", SG_ROLE_GOLD, 1),
                                    line_of("x", "reasoner:r", SG_ROLE_REASONER, 1),
                                    line_of("y", "anna", SG_ROLE_GOLD, 1), line_of("y", "berta", SG_ROLE_GOLD, 0)};
    lines[0].categories = lines[3].categories = anna;
    lines[0].n_categories = lines[3].n_categories = 2;
    lines[1].categories = berta;
    lines[1].n_categories = 3;
    lines[2].categories = machine;
    lines[2].n_categories = 2;
    add_lines(path, lines, COUNT(lines));
    struct sg_labels *labels = open_one(path);
    assert_int_equal(sg_labels_value(labels, 0, "any"), 1);
    assert_int_equal(sg_labels_value(labels, 0, "hate"), SG_LABEL_UNKNOWN); /* people disagree on this alone */
    assert_int_equal(sg_labels_value(labels, 0, "spam"), 1);
    assert_int_equal(sg_labels_value(labels, 0, "scam"), 0); /* a person outranks the reasoner */
    assert_int_equal(sg_labels_value(labels, 0, "rude"), 1);
    assert_true(item_of(labels, "y")->disputed);
    assert_int_equal(sg_labels_value(labels, 1, "spam"), SG_LABEL_UNKNOWN);
    size_t n;
    sg_labels_categories(labels, &n);
    assert_int_equal(n, 4);
    sg_labels_close(labels);
}

/* The probability is that of the draw behind the source that decides, and a correction does not lose it. */
static void test_draws(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    struct sg_label_line lines[] = {line_of("corrected", "anna", SG_ROLE_GOLD, 0),
                                    line_of("corrected", "berta", SG_ROLE_APPEAL, 1),
                                    line_of("looked at", "reasoner:r", SG_ROLE_REASONER, 0),
                                    line_of("looked at", "anna", SG_ROLE_REVIEW, 1),
                                    line_of("machine", "reasoner:r", SG_ROLE_REASONER, 0),
                                    line_of("again", "anna", SG_ROLE_GOLD, 0),
                                    line_of("again", "anna", SG_ROLE_GOLD, 0)};
    lines[0].drawn = lines[2].drawn = lines[4].drawn = lines[6].drawn = "uniform";
    lines[0].p_drawn = 0.5;
    lines[1].drawn = lines[3].drawn = lines[5].drawn = "picked";
    lines[2].p_drawn = 0.25;
    lines[4].p_drawn = 0.125;
    lines[6].p_drawn = 1;
    add_lines(path, lines, COUNT(lines));
    struct sg_labels *labels = open_one(path);
    assert_true(item_of(labels, "corrected")->p_drawn == 0.5);
    assert_int_equal(item_of(labels, "corrected")->violation, 1);
    assert_true(isnan(item_of(labels, "looked at")->p_drawn)); /* a person chose to look at it */
    assert_string_equal(item_of(labels, "looked at")->drawn, "picked");
    assert_true(item_of(labels, "looked at")->reasoner_p_drawn == 0.25);
    assert_true(item_of(labels, "machine")->p_drawn == 0.125);
    assert_true(item_of(labels, "again")->p_drawn == 1);
    assert_string_equal(item_of(labels, "again")->drawn, "uniform");
    sg_labels_close(labels);
}

static void test_files_in_any_order(void **state)
{
    struct place *place = *state;
    struct sg_label_line older = line_of("x", "anna", SG_ROLE_GOLD, 0), newer = line_of("x", "anna", SG_ROLE_GOLD, 1);
    newer.time++;
    add_lines(place->paths[0], &older, 1);
    add_lines(place->paths[1], &newer, 1);
    const char *orders[2][2] = {{place->paths[0], place->paths[1]}, {place->paths[1], place->paths[0]}};
    for (int i = 0; i < 2; i++) {
        struct sg_labels *labels = open_labels(orders[i], 2, policy_a);
        assert_int_equal(item_of(labels, "x")->violation, 1);
        sg_labels_close(labels);
    }
    /* Within a file the line counts, whatever the clock said. */
    add_lines(place->paths[1], &older, 1);
    struct sg_labels *labels = open_one(place->paths[1]);
    assert_int_equal(item_of(labels, "x")->violation, 0);
    sg_labels_close(labels);
}

static void test_other_policies_are_left_out(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    struct sg_label_line lines[] = {line_of("x", "anna", SG_ROLE_GOLD, 0), line_of("y", "anna", SG_ROLE_GOLD, 1),
                                    line_of("z", "anna", SG_ROLE_GOLD, 1)};
    lines[1].policy_sha256 = policy_b;
    lines[2].policy_sha256 = NULL;
    add_lines(path, lines, 3);
    struct sg_labels *labels = open_one(path);
    assert_int_equal(sg_labels_count(labels), 1);
    assert_true(
        has_note(labels, "2 labels belong to other policies and were left out (the first, line 2, to bbbbbbbbbbbb)"));
    sg_labels_close(labels);
    labels = open_labels(&path, 1, NULL);
    assert_int_equal(sg_labels_count(labels), 3);
    sg_labels_close(labels);
}

static void test_attempts(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    struct sg_label_writer *writer;
    struct sg_error err;
    assert_int_equal(sg_label_writer_open(path, &writer, &err), SG_OK);
    assert_int_equal(sg_label_writer_attempt(writer, "{\"delta\":0.5,\"n\":1}", &err), SG_OK);
    struct sg_label_line line = line_of("x", "anna", SG_ROLE_GOLD, 0);
    assert_int_equal(sg_label_writer_add(writer, &line, &err), SG_OK);
    assert_int_equal(sg_label_writer_attempt(writer, "{ \"n\": 2 }", &err), SG_OK);
    assert_int_equal(sg_label_writer_attempt(writer, "[1]", &err), SG_EINVALID);
    assert_int_equal(sg_label_writer_attempt(writer, "{\"n\":", &err), SG_EINVALID);
    assert_int_equal(sg_label_writer_close(writer, &err), SG_OK);
    struct sg_labels *labels = open_one(path);
    size_t n;
    const char *const *attempts = sg_labels_attempts(labels, &n);
    assert_int_equal(n, 2);
    assert_string_equal(attempts[0], "{\"delta\":0.5,\"n\":1}");
    assert_string_equal(attempts[1], "{\"n\":2}");
    assert_int_equal(sg_labels_count(labels), 1);
    sg_labels_close(labels);
}

static void test_torn_line(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    struct sg_label_line x = line_of("x", "anna", SG_ROLE_GOLD, 1), y = line_of("y", "anna", SG_ROLE_GOLD, 0);
    add_lines(path, &x, 1);
    FILE *file = fopen(path, "ab");
    fputs("{\"content_sha256\":\"abc", file);
    fclose(file);
    struct sg_labels *labels = open_one(path);
    assert_int_equal(sg_labels_count(labels), 1);
    assert_true(has_note(labels, "line 2: torn"));
    sg_labels_close(labels);
    add_lines(path, &y, 1); /* the next writer completes it */
    labels = open_one(path);
    assert_int_equal(sg_labels_count(labels), 2);
    assert_int_equal(item_of(labels, "y")->violation, 0);
    assert_true(has_note(labels, "line 2: not valid JSON"));
    sg_labels_close(labels);
}

static void test_lines_that_are_left_out(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    static const struct {
        const char *fields, *word;
    } bad[] = {
        {"\"who\":\"a\",\"role\":\"gold\",\"content_sha256\":\"ABC\"", "\"content_sha256\": expected 64"},
        {"\"who\":\"a\",\"role\":\"gold\"", "neither \"content_sha256\" nor \"text\""},
        {"\"who\":\"a\",\"role\":\"boss\",\"text\":\"t\"", "\"role\": expected gold"},
        {"\"role\":\"gold\",\"text\":\"t\"", "no \"who\""},
        {"\"who\":\"\",\"role\":\"gold\",\"text\":\"t\"", "\"who\" of 0 bytes"},
        {"\"who\":5,\"role\":\"gold\",\"text\":\"t\"", "\"who\" is not a string"},
        {"\"who\":\"a\\u0007\",\"role\":\"gold\",\"text\":\"t\"", "control character"},
        {"\"who\":\"a\\u0000\",\"role\":\"gold\",\"text\":\"t\"", "NUL"},
        {"\"who\":\"reasoner:x\",\"role\":\"gold\",\"text\":\"t\"", "a reasoner's labels have the role reasoner"},
        {"\"who\":\"a\",\"role\":\"reasoner\",\"text\":\"t\"", "a reasoner's labels have the role reasoner"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"violation\":2", "\"violation\": expected 0, 1 or null"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"violation\":\"1\"",
         "\"violation\": expected 0, 1 or null"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"categories\":{\"x\":3}", "\"categories\": expected 0, 1"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"categories\":[1]", "\"categories\" is no object"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"drawn\":\"uniform\",\"p_drawn\":0", "\"p_drawn\": got 0"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"drawn\":\"uniform\",\"p_drawn\":1.5",
         "\"p_drawn\": got 1.5"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"drawn\":\"picked\",\"p_drawn\":1", "picked by hand"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"p_drawn\":1", "does not say how"},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"time\":\"now\"", "\"time\""},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"t\",\"policy_sha256\":\"1\"", "\"policy_sha256\""},
        {"\"who\":\"a\",\"role\":\"gold\",\"text\":\"geheim\",\"content_sha256\":"
         "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
         "is not the SHA-256 of \"text\""},
        {"\"who\":\"a\",\"who\":\"b\",\"role\":\"gold\",\"text\":\"t\"", "not valid JSON"},
    };
    struct sg_buffer text = {0};
    /* So that the file is known as a label file. */
    sg_buffer_puts(&text,
                   "{\"who\":\"a\",\"role\":\"gold\",\"text\":\"good\",\"violation\":1,\"colour\":\"red\"}\n\n");
    for (size_t i = 0; i < COUNT(bad); i++)
        sg_buffer_printf(&text, "{%s}\n", bad[i].fields);
    sg_buffer_puts(&text, "[1]\n\"x\"\nrubbish\n");
    write_file(path, text.data);
    sg_buffer_free(&text);
    struct sg_labels *labels = open_labels(&path, 1, NULL);
    assert_int_equal(sg_labels_count(labels), 1);
    size_t n;
    const char *const *notes = sg_labels_notes(labels, &n);
    assert_int_equal(n, COUNT(bad) + 3 + 1);
    for (size_t i = 0; i < COUNT(bad); i++) {
        char place[128];
        snprintf(place, sizeof place, "%s line %zu: ", path, i + 3);
        if (!strstr(notes[i], place) || !strstr(notes[i], bad[i].word) || strstr(notes[i], "geheim"))
            fail_msg("{%s}: %s", bad[i].fields, notes[i]);
    }
    assert_true(has_note(labels, "1 lines have fields that are not known here (the first, line 1)"));
    sg_labels_close(labels);
}

static void test_many_bad_lines_are_counted(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    struct sg_buffer text = {0};
    sg_buffer_puts(&text, "{\"who\":\"a\",\"role\":\"gold\",\"text\":\"good\",\"violation\":1}\n");
    for (int i = 0; i < SG_LABEL_MAX_NOTES + 7; i++)
        sg_buffer_puts(&text, "{}\n");
    write_file(path, text.data);
    sg_buffer_free(&text);
    struct sg_labels *labels = open_labels(&path, 1, NULL);
    size_t n;
    sg_labels_notes(labels, &n);
    assert_int_equal(n, SG_LABEL_MAX_NOTES + 1);
    assert_true(has_note(labels, "7 more lines were left out"));
    sg_labels_close(labels);
}

static void test_writer_refuses(void **state)
{
    struct place *place = *state;
    const char *path = place->paths[0];
    struct sg_label_writer *writer;
    struct sg_error err;
    assert_int_equal(sg_label_writer_open(path, &writer, &err), SG_OK);
    struct sg_label_line bad[] = {line_of("x", "reasoner:r", SG_ROLE_GOLD, 1), line_of("x", NULL, SG_ROLE_GOLD, 1),
                                  line_of("x", "a", SG_ROLE_GOLD, 7),          line_of("\xff", "a", SG_ROLE_GOLD, 1),
                                  line_of("x", "a", SG_ROLE_GOLD, 1),          line_of("x", "a", SG_ROLE_GOLD, 1)};
    bad[4].p_drawn = 0.5;
    bad[5].content_sha256 = policy_a; /* not that of the text */
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(sg_label_writer_add(writer, &bad[i], &err), SG_EINVALID);
    assert_int_equal(sg_label_writer_close(writer, &err), SG_OK);
    assert_int_equal(sg_label_writer_close(NULL, &err), SG_OK);
    struct sg_labels *labels = open_one(path); /* nothing was written */
    assert_int_equal(sg_labels_count(labels), 0);
    sg_labels_close(labels);
    assert_int_equal(sg_label_writer_open(place->folder, &writer, &err), SG_EIO);
    assert_null(writer);
    assert_int_equal(sg_label_writer_open("/tmp/x.jsonl.gz", &writer, &err), SG_EINVALID);
    const char *none = "/no/such/labels.jsonl";
    assert_int_equal(sg_labels_open(&none, 1, NULL, &labels, &err), SG_ENOTFOUND);
    assert_null(labels);
}

/* A full disk leaves whole lines: what was written of the line in hand is cut off again. A limit on the size of files
 * stands in for the disk, in a process of its own. */
static void test_full_disk(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    struct sg_label_writer *writer;
    struct sg_error err;
    struct sg_label_line line = line_of("a text that is cut off somewhere", "anna", SG_ROLE_GOLD, 1);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000}) != 0 ||
            sg_label_writer_open(path, &writer, &err) != SG_OK)
            _exit(1);
        enum sg_status status = SG_OK;
        int n = 0;
        for (; status == SG_OK && n < 10; n++)
            status = sg_label_writer_add(writer, &line, &err);
        if (status != SG_EIO || !strstr(err.text, "cannot write"))
            _exit(2);
        if (sg_label_writer_close(writer, &err) != SG_OK)
            _exit(3);
        _exit(10 + n - 1); /* lines that were written */
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    int n_lines = WEXITSTATUS(status) - 10;
    assert_true(n_lines > 1 && n_lines < 9);
    struct sg_buffer text = {0};
    assert_int_equal(sg_file_read(path, 2000, &text, NULL), SG_OK);
    assert_true(text.len < 1000 && text.data[text.len - 1] == '\n');
    int n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '\n';
    assert_int_equal(n, n_lines);
    sg_buffer_free(&text);
    /* What is no regular file is refused before anything is lost. */
    assert_int_equal(sg_label_writer_open("/dev/full", &writer, &err), SG_EFORMAT);
    assert_non_null(strstr(err.text, "not a regular file"));
}

/* Two processes write at the same time: every line arrives whole. */
static void test_two_writers(void **state)
{
    const char *path = ((struct place *)*state)->paths[0];
    enum { N = 200 };
    pid_t child = fork();
    for (int i = 0; i < N; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s %d", child ? "parent" : "child", i);
        struct sg_label_line line = line_of(text, "anna", SG_ROLE_GOLD, i % 2);
        struct sg_label_writer *writer;
        struct sg_error err;
        if (sg_label_writer_open(path, &writer, &err) != SG_OK || sg_label_writer_add(writer, &line, &err) != SG_OK ||
            sg_label_writer_close(writer, &err) != SG_OK)
            _exit(1);
    }
    if (child == 0)
        _exit(0);
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    struct sg_labels *labels = open_one(path);
    size_t n;
    sg_labels_notes(labels, &n);
    assert_int_equal(n, 0);
    assert_int_equal(sg_labels_count(labels), 2 * N);
    sg_labels_close(labels);
}

/* --- data sets -------------------------------------------------------------------------------------------- */

static void test_data_sets_are_gold(void **state)
{
    struct place *place = *state;
    write_file(place->paths[0],
               "{\"id\":\"1\",\"text\":\"one\",\"labels\":{\"hate\":1},\"group\":\"g\"}\n"
               "{\"id\":\"2\",\"text\":\"two\",\"labels\":{\"hate\":0,\"spam\":0}}\n"
               "{\"id\":\"3\",\"text\":\"two\",\"labels\":{\"hate\":0,\"spam\":0}}\n"
               "{\"id\":\"4\",\"text\":\"three\",\"labels\":{}}\n"
               "{\"id\":\"5\",\"text\":\"four\",\"labels\":{\"hate\":1}}\n"
               "{\"id\":\"6\",\"text\":\"four\",\"labels\":{\"hate\":0}}\n"
               "{\"id\":\"7\",\"text\":\" \",\"labels\":{\"hate\":0}}\n"
               "{\"id\":\"8\",\"text\":\"five\",\"labels\":{\"hate\":0},\"drawn\":\"uniform\",\"p_drawn\":0.5}\n");
    struct sg_label_line line = line_of("one", "anna", SG_ROLE_REVIEW, 0);
    add_lines(place->paths[1], &line, 1);
    const char *paths[] = {place->paths[0], place->paths[1]};
    struct sg_labels *labels = open_labels(paths, 2, policy_a);
    assert_int_equal(sg_labels_count(labels), 4);
    const struct sg_labelled *item = item_of(labels, "two");
    assert_int_equal(item->violation, 0);
    assert_string_equal(item->drawn, "picked");
    assert_true(isnan(item->p_drawn));
    assert_false(item->disputed);                           /* the same twice */
    assert_int_equal(item_of(labels, "one")->violation, 0); /* a review outranks the data set */
    assert_string_equal(item_of(labels, "one")->group, "g");
    assert_int_equal(item_of(labels, "one")->source, SG_TRUTH_PERSON);
    assert_true(item_of(labels, "four")->disputed); /* the data set contradicts itself */
    assert_true(item_of(labels, "five")->p_drawn == 0.5);
    assert_true(has_note(labels, "line 4: no label is known"));
    assert_true(has_note(labels, "line 7: content: nothing to judge"));
    sg_labels_close(labels);
}

struct notes {
    size_t n;
    char last[256];
};

static void keep_note(void *context, const char *text)
{
    struct notes *notes = context;
    notes->n++;
    snprintf(notes->last, sizeof notes->last, "%s", text);
}

static struct sg_import_report import(const struct place *place, const struct sg_import_options *options,
                                      struct notes *notes)
{
    struct sg_import_report report;
    struct sg_error err = {0};
    const char *data = place->paths[0];
    if (sg_labels_import(place->paths[1], &data, 1, options, keep_note, notes, &report, &err) != SG_OK)
        fail_msg("%s", err.text);
    return report;
}

static size_t file_size(const char *path)
{
    struct sg_buffer text = {0};
    assert_int_equal(sg_file_read(path, 1 << 20, &text, NULL), SG_OK);
    size_t len = text.len;
    sg_buffer_free(&text);
    return len;
}

static void test_import_twice(void **state)
{
    struct place *place = *state;
    write_file(place->paths[0], "{\"text\":\"one\",\"labels\":{\"hate\":1,\"spam\":0}}\n"
                                "{\"text\":\"two\",\"labels\":{\"hate\":0,\"spam\":1}}\n"
                                "{\"text\":\"two\",\"labels\":{\"hate\":1,\"spam\":1}}\n"
                                "{\"text\":\"three\",\"labels\":{\"spam\":1}}\n"
                                "{\"text\":\"four\",\"labels\":{}}\n"
                                "{\"text\":\"five\",\"labels\":{\"hate\":5}}\n");
    struct notes notes = {0};
    struct sg_import_options options = {.policy_sha256 = policy_a,
                                        .role = SG_ROLE_GOLD,
                                        .category = "hate",
                                        .drawn = "uniform",
                                        .p_drawn = 0.25,
                                        .time = 1700000000};
    struct sg_import_report report = import(place, &options, &notes);
    assert_int_equal(report.n_rows, 6);
    assert_int_equal(report.n_added, 4);
    assert_int_equal(report.n_voices, 1);
    assert_int_equal(report.n_no_violation, 1);
    assert_int_equal(report.n_unlabelled, 1);
    assert_int_equal(report.n_unusable, 1);
    assert_int_equal(notes.n, 1);
    assert_non_null(strstr(notes.last, "line 6: \"labels\": label 5"));
    size_t size = file_size(place->paths[1]);

    report = import(place, &options, &notes);
    assert_int_equal(report.n_added, 0);
    assert_int_equal(report.n_already, 4);
    assert_int_equal(file_size(place->paths[1]), size); /* nothing was written */

    struct sg_labels *labels = open_one(place->paths[1]);
    assert_int_equal(sg_labels_count(labels), 3);
    assert_int_equal(item_of(labels, "one")->violation, 1);
    assert_true(item_of(labels, "one")->p_drawn == 0.25);
    assert_true(item_of(labels, "two")->disputed);
    assert_int_equal(item_of(labels, "three")->violation, SG_LABEL_UNKNOWN);
    size_t i;
    assert_true(sg_labels_find(labels, item_of(labels, "three")->content_sha256, &i));
    assert_int_equal(sg_labels_value(labels, i, "spam"), 1);
    sg_labels_close(labels);

    /* Corrected data replaces what the same data set said. */
    write_file(place->paths[0], "{\"text\":\"one\",\"labels\":{\"hate\":0,\"spam\":0}}\n");
    report = import(place, &options, &notes);
    assert_int_equal(report.n_added, 1);
    labels = open_one(place->paths[1]);
    assert_int_equal(item_of(labels, "one")->violation, 0);
    assert_false(item_of(labels, "one")->disputed);
    sg_labels_close(labels);
}

static void test_any_and_any_strict(void **state)
{
    struct place *place = *state;
    write_file(place->paths[0], "{\"text\":\"both\",\"labels\":{\"hate\":0,\"spam\":0}}\n"
                                "{\"text\":\"part\",\"labels\":{\"hate\":0}}\n"
                                "{\"text\":\"hit\",\"labels\":{\"spam\":1}}\n");
    struct notes notes = {0};
    struct sg_import_options options = {.policy_sha256 = policy_a,
                                        .role = SG_ROLE_GOLD,
                                        .category = "any",
                                        .drawn = "picked",
                                        .p_drawn = NAN,
                                        .no_text = true};
    import(place, &options, &notes);
    struct sg_labels *labels = open_one(place->paths[1]);
    assert_int_equal(item_of(labels, "both")->violation, 0);
    assert_int_equal(item_of(labels, "part")->violation, 0);
    assert_int_equal(item_of(labels, "hit")->violation, 1);
    assert_null(item_of(labels, "hit")->text);
    sg_labels_close(labels);
    remove(place->paths[1]);
    options.category = "any-strict";
    import(place, &options, &notes);
    labels = open_one(place->paths[1]);
    assert_int_equal(item_of(labels, "both")->violation, 0);
    assert_int_equal(item_of(labels, "part")->violation, SG_LABEL_UNKNOWN);
    assert_int_equal(item_of(labels, "hit")->violation, 1);
    sg_labels_close(labels);
}

static void test_import_groups_near_duplicates(void **state)
{
    struct place *place = *state;
    write_file(place->paths[0],
               "{\"text\":\"Dear winner, your parcel number 17 waits at the post office in Lyon\",\"label\":1}\n"
               "{\"text\":\"something that is about nothing of the kind at all\",\"label\":0}\n"
               "{\"text\":\"DEAR WINNER! Your parcel number 99 waits at the post office in Lyon.\",\"label\":1}\n");
    struct notes notes = {0};
    struct sg_import_options options = {.policy_sha256 = policy_a,
                                        .role = SG_ROLE_GOLD,
                                        .category = "any",
                                        .drawn = "picked",
                                        .p_drawn = NAN,
                                        .near_duplicates = true};
    struct sg_import_report report = import(place, &options, &notes);
    assert_int_equal(report.n_grouped, 1);
    struct sg_labels *labels = open_one(place->paths[1]);
    assert_string_equal(sg_labels_at(labels, 2)->group, sg_labels_at(labels, 0)->content_sha256);
    assert_string_equal(sg_labels_at(labels, 0)->group, sg_labels_at(labels, 0)->content_sha256);
    assert_string_equal(sg_labels_at(labels, 1)->group, sg_labels_at(labels, 1)->content_sha256);
    sg_labels_close(labels);
    /* A later file's rows join the group that stands in the label file. */
    write_file(place->paths[0],
               "{\"text\":\"Dear winner, your parcel number 5 waits at the post office in Lyon!\",\"label\":1}\n");
    report = import(place, &options, &notes);
    assert_int_equal(report.n_added, 1);
    labels = open_one(place->paths[1]);
    assert_string_equal(sg_labels_at(labels, 3)->group, sg_labels_at(labels, 0)->content_sha256);
    struct sg_label_stats stats;
    assert_int_equal(sg_label_stats_make(labels, &stats, NULL), SG_OK);
    assert_int_equal(stats.n_contents, 4);
    assert_int_equal(stats.n_groups, 2);
    assert_int_equal(stats.largest_group, 3);
    assert_int_equal(stats.n_near, 2);
    assert_int_equal(stats.n_near_apart, 0);
    sg_label_stats_deinit(&stats);
    sg_labels_close(labels);
}

/* --- near-duplicates -------------------------------------------------------------------------------------- */

/* The Jaccard similarity of the sets of 5-character pieces, by comparing all with all. */
static double true_similarity(const char *a, const char *b)
{
    size_t n[2] = {strlen(a) - 4, strlen(b) - 4}, both = 0, distinct[2] = {0, 0};
    const char *texts[2] = {a, b};
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; i < n[t]; i++) {
            bool first = true, found = false;
            for (size_t k = 0; k < i; k++)
                first &= memcmp(texts[t] + i, texts[t] + k, 5) != 0;
            for (size_t k = 0; k < n[1 - t]; k++)
                found |= memcmp(texts[t] + i, texts[1 - t] + k, 5) == 0;
            distinct[t] += first;
            both += t == 0 && first && found;
        }
    return (double)both / (double)(distinct[0] + distinct[1] - both);
}

static void test_similarity_of_short_texts_is_exact(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"abcdefghij", "abcdefghij"},
                                           {"abcdefghij", "abcdefghik"},
                                           {"the quick brown fox jumps", "the quick brown dog jumps"},
                                           {"aaaaaaaaaaaa", "aaaaabaaaaaa"},
                                           {"completely different", "nothing shared here"}};
    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct sg_cluster *cluster;
        assert_int_equal(sg_cluster_create(&cluster, NULL), SG_OK);
        for (int k = 0; k < 2; k++)
            assert_int_equal(sg_cluster_add(cluster, sg_slice_of(pairs[i][k]), NULL), SG_OK);
        double expected = true_similarity(pairs[i][0], pairs[i][1]), got = sg_cluster_similarity(cluster, 0, 1);
        if (fabs(got - expected) > 1e-12)
            fail_msg("\"%s\", \"%s\": got %g, expected %g", pairs[i][0], pairs[i][1], got, expected);
        sg_cluster_destroy(cluster);
    }
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void random_words(uint64_t *state, int n, char *out)
{
    for (int i = 0; i < n; i++) {
        for (uint32_t k = next_random(state) % 6 + 3; k > 0; k--)
            *out++ = (char)('a' + next_random(state) % 26);
        *out++ = ' ';
    }
    out[-1] = '\0';
}

/* 300 campaigns of 5 messages that differ in one word of 24, and 1500 messages of their own. */
static void test_campaigns_are_found(void **state)
{
    (void)state;
    enum { CAMPAIGNS = 300, MEMBERS = 5, ALONE = 1500, WORDS = 24 };
    struct sg_cluster *cluster;
    uint64_t random = 7;
    char text[WORDS * 10], tail[16];
    assert_int_equal(sg_cluster_create(&cluster, NULL), SG_OK);
    for (int c = 0; c < CAMPAIGNS; c++) {
        random_words(&random, WORDS - 1, text);
        size_t len = strlen(text);
        for (int m = 0; m < MEMBERS; m++) {
            random_words(&random, 1, tail);
            snprintf(text + len, sizeof text - len, " %.12s", tail);
            assert_int_equal(sg_cluster_add(cluster, sg_slice_of(text), NULL), SG_OK);
        }
    }
    for (int i = 0; i < ALONE; i++) {
        random_words(&random, WORDS, text);
        assert_int_equal(sg_cluster_add(cluster, sg_slice_of(text), NULL), SG_OK);
    }
    assert_int_equal(sg_cluster_run(cluster, NULL), SG_OK);
    for (uint32_t i = 0; i < CAMPAIGNS * MEMBERS; i++)
        assert_int_equal(sg_cluster_first(cluster, i), i / MEMBERS * MEMBERS);
    for (uint32_t i = CAMPAIGNS * MEMBERS; i < CAMPAIGNS * MEMBERS + ALONE; i++)
        assert_int_equal(sg_cluster_first(cluster, i), i);
    sg_cluster_join(cluster, 7, 3000 - 1);
    assert_int_equal(sg_cluster_first(cluster, 2999), 5);
    sg_cluster_destroy(cluster);
}

static void test_odd_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "...", "a", "ab 1", "AB-2", "\xff\xfe\xff", "漢字のテキスト", "漢字のテキスト!"};
    static const uint32_t first[] = {0, 0, 2, 3, 3, 0, 6, 6};
    struct sg_cluster *cluster;
    assert_int_equal(sg_cluster_create(&cluster, NULL), SG_OK);
    assert_int_equal(sg_cluster_run(cluster, NULL), SG_OK); /* of nothing */
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_int_equal(sg_cluster_add(cluster, sg_slice_of(texts[i]), NULL), SG_OK);
    assert_int_equal(sg_cluster_run(cluster, NULL), SG_OK);
    for (uint32_t i = 0; i < COUNT(texts); i++)
        assert_int_equal(sg_cluster_first(cluster, i), first[i]);
    sg_cluster_destroy(cluster);
}

/* --- agreement -------------------------------------------------------------------------------------------- */

static void test_agreement(void **state)
{
    (void)state;
    /* statsmodels 0.15, stats.inter_rater.cohens_kappa(table): kappa, kappa_low, kappa_upp (95 %), cut at -1 and 1.
     */
    static const struct {
        size_t n[2][2];
        double kappa, low, high;
    } expected[] = {
        {{{20, 5}, {10, 15}}, 0.400000000000, 0.151092290477, 0.648907709523},
        {{{900, 12}, {30, 58}}, 0.711696869852, 0.629196646872, 0.794197092832},
        {{{3, 1}, {0, 6}}, 0.782608695652, 0.388061513267, 1.000000000000},
        {{{50, 50}, {50, 50}}, 0.000000000000, -0.138590382435, 0.138590382435},
        {{{1, 9}, {8, 2}}, -0.700000000000, -1.000000000000, -0.388587688220},
    };
    for (size_t i = 0; i < COUNT(expected); i++) {
        struct sg_agreement agreement = {0};
        memcpy(agreement.n, expected[i].n, sizeof agreement.n);
        sg_agreement_measure(&agreement);
        assert_true(fabs(agreement.kappa - expected[i].kappa) < 1e-9);
        assert_true(fabs(agreement.low - expected[i].low) < 1e-9);
        assert_true(fabs(agreement.high - expected[i].high) < 1e-9);
    }
    struct sg_agreement none = {0}, one_sided = {.n = {{0, 0}, {0, 9}}};
    sg_agreement_measure(&none);
    assert_true(isnan(none.kappa) && isnan(none.observed));
    sg_agreement_measure(&one_sided);
    assert_true(isnan(one_sided.kappa) && one_sided.observed == 1);
}

int main(void)
{
#define PLACED(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        PLACED(test_round_trip),
        PLACED(test_precedence),
        PLACED(test_categories_have_their_own_precedence),
        PLACED(test_draws),
        PLACED(test_files_in_any_order),
        PLACED(test_other_policies_are_left_out),
        PLACED(test_attempts),
        PLACED(test_torn_line),
        PLACED(test_lines_that_are_left_out),
        PLACED(test_many_bad_lines_are_counted),
        PLACED(test_writer_refuses),
        PLACED(test_full_disk),
        PLACED(test_two_writers),
        PLACED(test_data_sets_are_gold),
        PLACED(test_import_twice),
        PLACED(test_any_and_any_strict),
        PLACED(test_import_groups_near_duplicates),
        cmocka_unit_test(test_similarity_of_short_texts_is_exact),
        cmocka_unit_test(test_campaigns_are_found),
        cmocka_unit_test(test_odd_texts),
        cmocka_unit_test(test_agreement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
