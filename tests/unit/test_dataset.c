/* Data sets in the shapes in which they are published. The rows are made up; headers and fields are those of the
 * published files. */
#include "input/dataset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct sg_dataset *parse(const char *name, const char *text, const struct sg_dataset_options *options)
{
    static const struct sg_dataset_options none;
    struct sg_dataset *dataset;
    struct sg_error err = {0};
    if (sg_dataset_parse(name, text, strlen(text), options ? options : &none, &dataset, &err) != SG_OK)
        fail_msg("%s", err.text);
    return dataset;
}

static void refused(const char *name, const char *text, const struct sg_dataset_options *options, const char *word)
{
    static const struct sg_dataset_options none;
    struct sg_dataset *dataset;
    struct sg_error err = {0};
    assert_int_not_equal(sg_dataset_parse(name, text, strlen(text), options ? options : &none, &dataset, &err),
                         SG_OK);
    assert_null(dataset);
    if (!strstr(err.text, word))
        fail_msg("got \"%s\", expected \"%s\" in it", err.text, word);
}

static struct sg_dataset_row row_at(struct sg_dataset *dataset, size_t i)
{
    struct sg_dataset_row row;
    struct sg_error err = {0};
    if (sg_dataset_row(dataset, i, &row, &err) != SG_OK)
        fail_msg("row %zu: %s", i, err.text);
    return row;
}

static void bad_row(struct sg_dataset *dataset, size_t i, const char *word)
{
    struct sg_dataset_row row;
    struct sg_error err = {0};
    assert_int_not_equal(sg_dataset_row(dataset, i, &row, &err), SG_OK);
    assert_int_equal(row.row, i + 1);
    if (!strstr(err.text, word))
        fail_msg("got \"%s\", expected \"%s\" in it", err.text, word);
}

static int label(const struct sg_dataset_row *row, const char *category)
{
    for (size_t i = 0; i < row->n_labels; i++)
        if (strcmp(row->labels[i].category, category) == 0)
            return row->labels[i].value;
    return SG_LABEL_UNKNOWN;
}

static const char *meta(const struct sg_dataset_row *row, const char *name)
{
    for (size_t i = 0; i < row->n_meta; i++)
        if (strcmp(row->meta[i].name, name) == 0)
            return row->meta[i].value;
    return "(none)";
}

static void assert_text(const struct sg_dataset_row *row, const char *text)
{
    assert_int_equal(row->text.len, strlen(text));
    assert_memory_equal(row->text.ptr, text, row->text.len);
}

static void test_jsonl(void **state)
{
    (void)state;
    struct sg_dataset *dataset = parse(
        "rows.jsonl",
        "{\"id\":\"a\",\"text\":\"hello\",\"labels\":{\"spam\":1,\"hate\":0,\"x\":null},\"split\":\"dev\",\"group\":"
        "\"g\","
        "\"source\":\"s\",\"meta\":{\"lang\":\"de\",\"n\":3,\"half\":0.5,\"yes\":true,\"votes\":[1,2],\"none\":null}}"
        "\n"
        "{\"id\":7,\"text\":\"b\",\"labels\":{\"spam\":false},\"drawn\":\"uniform\",\"p_drawn\":0.25}\n"
        "{\"id\":\"c\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"labels\":{\"hate\":\"Non-Hateful\"}}\n"
        "{\"id\":\"d\",\"text\":\"d\",\"labels\":{}}\n"
        "{\"id\":\"e\",\"text\":\"e\",\"label\":\"violates\"}\n",
        NULL);
    assert_string_equal(sg_dataset_format(dataset), "jsonl");
    assert_int_equal(sg_dataset_count(dataset), 5);
    size_t n, found;
    const char *const *categories = sg_dataset_categories(dataset, &n);
    assert_int_equal(n, 3);
    assert_string_equal(categories[0], "spam");
    assert_string_equal(categories[1], "hate");
    assert_string_equal(categories[2], "violation");
    assert_true(sg_dataset_find(dataset, "7", &found));
    assert_int_equal(found, 1);

    struct sg_dataset_row row = row_at(dataset, 0);
    assert_string_equal(row.id, "a");
    assert_text(&row, "hello");
    assert_int_equal(row.n_labels, 2); /* a null is unknown */
    assert_int_equal(label(&row, "spam"), 1);
    assert_int_equal(label(&row, "hate"), 0);
    assert_int_equal(label(&row, "x"), SG_LABEL_UNKNOWN);
    assert_int_equal(row.violation, 1);
    assert_string_equal(row.split, "dev");
    assert_string_equal(row.group, "g");
    assert_string_equal(row.source, "s");
    assert_string_equal(row.lang, "de");
    assert_string_equal(meta(&row, "lang"), "de");
    assert_string_equal(meta(&row, "n"), "3");
    assert_string_equal(meta(&row, "half"), "0.5");
    assert_string_equal(meta(&row, "yes"), "true");
    assert_string_equal(meta(&row, "votes"), "[1.0,2.0]");
    assert_string_equal(meta(&row, "none"), "(none)");
    assert_null(row.drawn);
    assert_true(isnan(row.p_drawn));

    row = row_at(dataset, 1);
    assert_string_equal(row.id, "7");
    assert_int_equal(row.violation, 0);
    assert_string_equal(row.drawn, "uniform");
    assert_true(row.p_drawn == 0.25);
    assert_null(row.group);

    row = row_at(dataset, 2);
    assert_true(row.is_messages);
    assert_int_equal(row.violation, 0);

    row = row_at(dataset, 3); /* no label is unknown, never 0 */
    assert_int_equal(row.n_labels, 0);
    assert_int_equal(row.violation, SG_LABEL_UNKNOWN);

    row = row_at(dataset, 4);
    assert_int_equal(row.violation, 1);
    sg_dataset_close(dataset);
}

static void test_bad_rows_of_jsonl(void **state)
{
    (void)state;
    struct sg_dataset *dataset =
        parse("rows.jsonl",
              "{\"id\":1,\"text\":\"a\",\"labels\":{\"spam\":2}}\n"
              "{\"id\":2,\"text\":\"a\",\"labels\":[\"spam\"]}\n"
              "{\"id\":3,\"text\":\"a\",\"labels\":{\"spam\":\"perhaps\"}}\n"
              "{\"id\":4,\"text\":\"a\",\"labels\":{\"spam\":\"ein geheimer Satz, der hier nicht stehen darf\"}}\n"
              "{\"id\":5,\"text\":\"a\",\"labels\":{\"spam\":{}}}\n"
              "{\"id\":6,\"text\":\"a\",\"labels\":{\"spam\":1},\"p_drawn\":1.5}\n"
              "{\"id\":7,\"text\":\"a\",\"labels\":{\"spam\":1},\"p_drawn\":0}\n"
              "{\"id\":8,\"text\":\"a\",\"labels\":{\"\":1}}\n"
              "{\"id\":9,\"text\":\"a\",\"labels\":{\"spam\":1},\"group\":[1]}\n"
              "{\"id\":10,\"text\":\"a\",\"label\":1,\"violation\":0}\n"
              "not json\n"
              "{\"id\":12,\"text\":\"fine\",\"labels\":{\"spam\":1}}\n",
              NULL);
    bad_row(dataset, 0, "label 2, expected 0, 1 or null");
    bad_row(dataset, 1, "a list would not say what the others are");
    bad_row(dataset, 2, "label \"perhaps\", expected 1, 0");
    struct sg_dataset_row row;
    struct sg_error err;
    assert_int_equal(sg_dataset_row(dataset, 3, &row, &err), SG_EFORMAT);
    assert_null(strstr(err.text, "geheimer")); /* it may be content */
    assert_non_null(strstr(err.text, "a label of 45 bytes"));
    bad_row(dataset, 4, "object or an array");
    bad_row(dataset, 5, "p_drawn");
    bad_row(dataset, 6, "p_drawn");
    bad_row(dataset, 7, "name of 0 bytes");
    bad_row(dataset, 8, "\"group\"");
    bad_row(dataset, 9, "both 0 and 1");
    bad_row(dataset, 10, "not valid JSON");
    row = row_at(dataset, 11);
    assert_text(&row, "fine");
    sg_dataset_close(dataset);
}

static void test_toxicchat(void **state)
{
    (void)state;
    struct sg_dataset *dataset =
        parse("toxic-chat_annotation_test.csv",
              "conv_id,user_input,model_output,human_annotation,toxicity,jailbreaking,openai_moderation\n"
              "e0c9b3,\"say \"\"hi\"\"\nplease\",\"Hi, you.\",True,0,0,\"[[\"\"sexual\"\", 0.1]]\"\n"
              "f1,be rude,No.,False,1,0,[]\n"
              "f2,third,No.,False,,1,[]\n",
              NULL);
    assert_string_equal(sg_dataset_format(dataset), "toxicchat");
    struct sg_dataset_row row = row_at(dataset, 0);
    assert_string_equal(row.id, "e0c9b3");
    assert_text(&row, "say \"hi\"\nplease");
    assert_int_equal(label(&row, "toxic"), 0);
    assert_int_equal(label(&row, "jailbreak"), 0);
    assert_int_equal(row.violation, 0);
    assert_int_equal(row.n_meta, 1); /* neither the answer nor another model's scores are slices */
    assert_string_equal(meta(&row, "human_annotation"), "True");
    row = row_at(dataset, 1);
    assert_int_equal(label(&row, "toxic"), 1);
    assert_int_equal(row.line, 4);
    row = row_at(dataset, 2);
    assert_int_equal(label(&row, "toxic"), SG_LABEL_UNKNOWN);
    assert_int_equal(row.violation, 1);
    sg_dataset_close(dataset);
}

static void test_openai_2022(void **state)
{
    (void)state;
    static const char rows[] = "{\"prompt\": \"one\", \"S\": 0, \"H2\": 0, \"H\": 1}\n"
                               "{\"prompt\": \"two\", \"SH\": 1}\n"
                               "{\"prompt\": \"three\", \"S3\": 0, \"V\": 0, \"V2\": 0, \"HR\": 0}\n"
                               "{\"prompt\": \"four\"}\n";
    struct sg_dataset *dataset = parse("samples-1680.jsonl", rows, NULL);
    assert_string_equal(sg_dataset_format(dataset), "openai-2022");
    struct sg_dataset_row row = row_at(dataset, 0);
    assert_string_equal(row.id, "1");
    assert_text(&row, "one");
    assert_int_equal(label(&row, "hate"), 1);
    assert_int_equal(label(&row, "sexual"), 0);
    assert_int_equal(label(&row, "hate_threatening"), 0);
    assert_int_equal(label(&row, "violence"), SG_LABEL_UNKNOWN);
    assert_int_equal(row.violation, 1);
    row = row_at(dataset, 1);
    assert_int_equal(label(&row, "self_harm"), 1);
    row = row_at(dataset, 2);
    assert_int_equal(row.violation, 0);
    assert_int_equal(row.n_labels, 4);
    row = row_at(dataset, 3);
    assert_int_equal(row.violation, SG_LABEL_UNKNOWN);
    size_t n;
    sg_dataset_categories(dataset, &n);
    assert_int_equal(n, 8);
    sg_dataset_close(dataset);
    /* Anything else beside the prompt is another data set. */
    refused("x.jsonl", "{\"prompt\":\"one\",\"S\":0,\"answer\":\"no\"}\n", NULL, "known shape");
    refused("x.jsonl", "{\"prompt\":\"one\"}\n{\"prompt\":\"two\",\"S\":1}\n", NULL, "known shape");
    dataset = parse("x.jsonl", "{\"prompt\":\"one\"}\n{\"prompt\":\"two\",\"S\":1}\n",
                    &(struct sg_dataset_options){.format = "openai-2022"});
    row = row_at(dataset, 1);
    assert_int_equal(label(&row, "sexual"), 1);
    sg_dataset_close(dataset);
}

static void test_hatecheck(void **state)
{
    (void)state;
    struct sg_dataset *dataset = parse(
        "test_suite_cases.csv",
        ",functionality,case_id,test_case,label_gold,target_ident,direction,focus_words,focus_lemma,ref_case_id,"
        "ref_templ_id,templ_id,case_templ\n"
        "0,derog_neg_emote_h,1,Somebody is bad.,hateful,women,general,bad,bad,,,1,[IDENTITY] is bad.\n"
        "1,ident_neutral_nh,2,Somebody is here.,non-hateful,women,general,,,,,2,[IDENTITY] is here.\n",
        NULL);
    assert_string_equal(sg_dataset_format(dataset), "hatecheck");
    struct sg_dataset_row row = row_at(dataset, 0);
    assert_string_equal(row.id, "1");
    assert_string_equal(row.group, "1");
    assert_int_equal(label(&row, "hate"), 1);
    assert_string_equal(meta(&row, "functionality"), "derog_neg_emote_h");
    assert_string_equal(meta(&row, "target_ident"), "women");
    assert_string_equal(meta(&row, "case_templ"), "(none)");
    row = row_at(dataset, 1);
    assert_int_equal(row.violation, 0);
    sg_dataset_close(dataset);

    dataset = parse("hatecheck_cases_final_german.csv",
                    "mhc_case_id,functionality,test_case,label_gold,target_ident,ref_case_id,ref_templ_id,templ_id,"
                    "case_templ,gender_male,gender_female,label_annotated,label_annotated_maj,disagreement_in_case,"
                    "disagreement_in_template\n"
                    "german-1,derog_neg_emote_h,Text.,hateful,women,,,1,x,,,\"['hateful', 'hateful', 'hateful']\","
                    "hateful,False,False\n",
                    NULL);
    row = row_at(dataset, 0);
    assert_string_equal(row.id, "german-1");
    assert_string_equal(row.group, "1");
    assert_string_equal(meta(&row, "disagreement_in_case"), "False");
    sg_dataset_close(dataset);
}

static void test_guardrails(void **state)
{
    (void)state;
    struct sg_dataset *dataset = parse(
        "eval.jsonl",
        "{\"id\":\"sample-001\",\"data\":\"My email is a@b.example\",\"expected_triggers\":{\"Contains PII\":true,"
        "\"Moderation\":false}}\n"
        "{\"id\":\"m\",\"data\":\"[{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"one\\\"},"
        "{\\\"role\\\":\\\"assistant\\\",\\\"content\\\":\\\"two\\\"}]\",\"expected_triggers\":{\"Jailbreak\":true}}"
        "\n"
        "{\"id\":\"t\",\"data\":\"[1] is a reference\",\"expected_triggers\":{\"Jailbreak\":false}}\n",
        NULL);
    assert_string_equal(sg_dataset_format(dataset), "guardrails");
    struct sg_dataset_row row = row_at(dataset, 0);
    assert_int_equal(label(&row, "Contains PII"), 1);
    assert_int_equal(label(&row, "Moderation"), 0);
    assert_int_equal(row.violation, 1);
    assert_false(row.is_messages);
    row = row_at(dataset, 1);
    assert_true(row.is_messages);
    assert_text(
        &row, "{\"messages\":[{\"role\":\"user\",\"content\":\"one\"},{\"role\":\"assistant\",\"content\":\"two\"}],"
              "\"judge\":\"all\"}");
    row = row_at(dataset, 2);
    assert_false(row.is_messages);
    assert_text(&row, "[1] is a reference");
    sg_dataset_close(dataset);
}

static void test_own_columns(void **state)
{
    (void)state;
    static const char *const fields[] = {"is_spam=spam", "rude"};
    struct sg_dataset_options options = {
        .text_field = "comment", .id_field = "nr", .group_field = "thread", .labels = fields, .n_labels = 2};
    struct sg_dataset *dataset = parse("own.csv",
                                       "nr;comment;is_spam;rude;thread;country\n"
                                       "1;a, b;yes;no;t1;FR\n2;c;TRUE;;t2;DE\n3;d;n/a;?;;\n4;e;oui;0;;\n",
                                       &options);
    assert_string_equal(sg_dataset_format(dataset), "csv");
    assert_non_null(strstr(sg_dataset_notes(dataset), "semicolon"));
    struct sg_dataset_row row = row_at(dataset, 0);
    assert_text(&row, "a, b");
    assert_int_equal(label(&row, "spam"), 1);
    assert_int_equal(label(&row, "rude"), 0);
    assert_string_equal(row.group, "t1");
    assert_string_equal(meta(&row, "country"), "FR");
    assert_int_equal(row.n_meta, 1);
    row = row_at(dataset, 1);
    assert_int_equal(row.n_labels, 1);
    row = row_at(dataset, 2);
    assert_int_equal(row.n_labels, 0);
    assert_null(row.group);
    bad_row(dataset, 3, "column \"is_spam\": label \"oui\"");
    sg_dataset_close(dataset);

    dataset = parse("own.csv", "text,label\na,1\nb,safe\nc,\n", NULL);
    assert_int_equal(row_at(dataset, 0).violation, 1);
    assert_int_equal(row_at(dataset, 1).violation, 0);
    assert_int_equal(row_at(dataset, 2).violation, SG_LABEL_UNKNOWN);
    sg_dataset_close(dataset);

    static const char *const missing[] = {"is_spam"};
    refused("own.csv", "text,label\na,1\n", &(struct sg_dataset_options){.labels = missing, .n_labels = 1},
            "no column \"is_spam\"");
    static const char *const empty[] = {"=spam"};
    refused("own.csv", "text,label\na,1\n", &(struct sg_dataset_options){.labels = empty, .n_labels = 1},
            "COLUMN=CATEGORY");
    dataset = parse("own.jsonl", "{\"text\":\"a\",\"labels\":{\"x\":1},\"meta\":{\"campaign\":\"c9\"}}",
                    &(struct sg_dataset_options){.group_field = "campaign"});
    assert_string_equal(row_at(dataset, 0).group, "c9");
    sg_dataset_close(dataset);
}

static void test_unknown_shapes(void **state)
{
    (void)state;
    refused("x.csv", "a,b\n1,2\n", NULL, "the 2 fields (a, b) are of no known shape");
    refused("x.csv", "comment;is_spam\n1;2\n", NULL, "(comment, is_spam)");
    refused("x.jsonl", "{\"comment\":\"a\",\"spam\":1}\n", NULL, "(comment, spam)");
    refused("x.csv", "a sentence that is content and must not be quoted,1\n", NULL, "(49 bytes), 1");
    refused("x.jsonl", "\n\n", NULL, "no row");
    refused("x.jsonl", "nothing\n", NULL, "no row is a JSON object");
    refused("x.txt", "a,b\n", NULL, "--format");
    refused("x.csv", "a,b\n1,2\n", &(struct sg_dataset_options){.format = "toxicchat"}, "not those of toxicchat");
    refused("x.csv", "text\n1\n", &(struct sg_dataset_options){.format = "parquet"}, "expected jsonl|csv");
}

static void test_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int value;
    } known[] = {{"1", 1},          {"0", 0},          {"1.0", 1},      {"0.0", 0},         {"TRUE", 1}, {"False", 0},
                 {"yes", 1},        {"No", 0},         {"violates", 1}, {"safe", 0},        {"", -1},    {"  ", -1},
                 {" 1 ", 1},        {"unsafe", 1},     {"hateful", 1},  {"non-hateful", 0}, {"NaN", -1}, {"null", -1},
                 {"not sexist", 0}, {"not_sexist", 0}, {"sexist", 1},   {"ham", 0},         {"spam", 1}, {"N/A", -1}};
    for (size_t i = 0; i < COUNT(known); i++) {
        int value = 9;
        assert_int_equal(sg_label_spelling(sg_slice_of(known[i].text), &value, NULL), SG_OK);
        if (value != known[i].value)
            fail_msg("\"%s\": got %d", known[i].text, value);
    }
    static const char *const unknown[] = {"2",   "-1",    "0.5",      "maybe", "10",
                                          "tru", "truee", "positive", "1 0",   "\xc3\xa9"};
    for (size_t i = 0; i < COUNT(unknown); i++) {
        int value;
        struct sg_error err;
        assert_int_equal(sg_label_spelling(sg_slice_of(unknown[i]), &value, &err), SG_EFORMAT);
        assert_non_null(strstr(err.text, "expected 1, 0"));
    }
}

static void test_gzip(void **state)
{
    (void)state;
    static const char text[] = "{\"id\":\"a\",\"text\":\"b\",\"labels\":{\"spam\":1}}\n";
    char path[] = "/tmp/sg-test-dataset-XXXXXX.jsonl.gz";
    int fd = mkstemps(path, 9);
    assert_true(fd >= 0);
    gzFile file = gzdopen(fd, "wb");
    assert_int_equal(gzwrite(file, text, sizeof text - 1), sizeof text - 1);
    gzclose(file);
    struct sg_dataset *dataset;
    struct sg_error err = {0};
    struct sg_dataset_options options = {0};
    assert_int_equal(sg_dataset_open(path, &options, &dataset, &err), SG_OK);
    remove(path);
    assert_int_equal(row_at(dataset, 0).violation, 1);
    sg_dataset_close(dataset);
    assert_int_equal(sg_dataset_open("/no/such/file.csv", &options, &dataset, &err), SG_ENOTFOUND);
    assert_null(dataset);
}

/* More bombs than bytes: what a small file claims to hold is bounded. */
static void test_limits(void **state)
{
    (void)state;
    struct sg_buffer text = {0};
    sg_buffer_puts(&text, "{\"text\":\"a\",\"labels\":{");
    for (int i = 0; i <= SG_DATASET_MAX_CATEGORIES; i++)
        sg_buffer_printf(&text, "%s\"c%d\":1", i ? "," : "", i);
    sg_buffer_puts(&text, "}}\n");
    struct sg_dataset *dataset = parse("x.jsonl", text.data, NULL);
    bad_row(dataset, 0, "more than the limit of 256 categories");
    sg_dataset_close(dataset);
    sg_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jsonl),       cmocka_unit_test(test_bad_rows_of_jsonl),
        cmocka_unit_test(test_toxicchat),   cmocka_unit_test(test_openai_2022),
        cmocka_unit_test(test_hatecheck),   cmocka_unit_test(test_guardrails),
        cmocka_unit_test(test_own_columns), cmocka_unit_test(test_unknown_shapes),
        cmocka_unit_test(test_spellings),   cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
