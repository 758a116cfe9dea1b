/* Recorded answers, and every view of the report that is made of them: fields of any type, ids, rules, stages and
 * reasons of any text. The page must not hold a tag that did not come from us. */
#include "eval/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sg_eval_rows rows;

static const char data[] =
    "{\"id\":\"a\",\"text\":\"<b>one</b>\",\"labels\":{\"x\":1,\"y\":0},\"group\":\"g\",\"meta\":{\"k\":\"<i>\"}}\n"
    "{\"id\":\"b\",\"text\":\"two\",\"labels\":{\"x\":0,\"y\":1},\"group\":\"g\"}\n"
    "{\"id\":\"c\",\"text\":\"three\",\"labels\":{\"x\":1},\"meta\":{\"k\":\"v\"}}\n"
    "{\"id\":\"4\",\"text\":\"four\",\"labels\":{\"x\":0}}\n"
    "{\"id\":\"e\",\"text\":\"five\",\"labels\":{}}\n";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[] = "/tmp/fuzz_eval_XXXXXX.jsonl";
    const char *paths[] = {path};
    struct sg_dataset_options options = {0};
    (void)argc;
    (void)argv;
    int fd = mkstemps(path, 6);
    if (fd < 0 || write(fd, data, sizeof data - 1) != sizeof data - 1)
        abort();
    close(fd);
    if (sg_eval_rows_open(paths, 1, &options, &rows, NULL) != SG_OK)
        abort();
    unlink(path);
    return 0;
}

/* Elements that no part of the page opens. */
static void look_for_tags(const char *page)
{
    static const char *const foreign[] = {"<b>", "<i>", "<img", "<iframe", "<object"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (strstr(page, foreign[i]))
            abort();
    const char *script = strstr(page, "<script");
    if (!script || strstr(script + 1, "<script"))
        abort();
}

static void make_views(struct sg_eval *eval)
{
    json_t *report;
    struct sg_buffer text = {0}, page = {0};
    bool failed = false;
    if (sg_report_make(eval, &report, NULL) != SG_OK)
        abort();
    if (sg_report_check(report, "f1=0.5", &failed, NULL) != SG_OK)
        abort();
    sg_report_text(report, &text);
    sg_report_html(report, &page);
    look_for_tags(sg_buffer_text(&page));
    sg_buffer_free(&text);
    sg_buffer_free(&page);
    json_decref(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    enum { N = 5 };
    struct sg_answer answers[2][N] = {0};
    struct sg_predictions predictions = {.threshold = 0.5};
    json_t *settings = json_pack("{s:s}", "predictions", "<b>");
    struct sg_eval eval = {.rows = &rows,
                           .tasks = {{"any", SG_EVAL_ANY}},
                           .n_tasks = 1,
                           .configs = {{.name = "<i>", .settings = settings, .answers = answers[0]},
                                       {.name = "b", .settings = settings, .answers = answers[1]}},
                           .n_configs = 2,
                           .interval = {0.95, 4, 1},
                           .n_rows_before = N,
                           .version = "fuzz",
                           .with_text = true,
                           .max_listed = 3};
    size_t half = len / 2;
    enum sg_status first =
        sg_predictions_parse("a", (const char *)bytes, half, &predictions, &rows, answers[0], NULL);
    enum sg_status second =
        sg_predictions_parse("b", (const char *)bytes + half, len - half, &predictions, &rows, answers[1], NULL);
    if (first == SG_OK || second == SG_OK)
        make_views(&eval);
    for (size_t i = 0; i < 2 * N; i++)
        sg_answer_deinit(&answers[i / N][i % N]);
    json_decref(settings);
    return 0;
}
