/* The report as one self-contained page.
 *
 * Everything that comes from data, policies or models goes through sg_html_text; nothing of it stands in the script
 * or in a URL. The page's own policy forbids whatever the page does not need: no outside resource is loaded, no
 * script runs but the one below, which is named by its hash. */
#include "eval/report_read.h"

#include "base/file.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdlib.h>

static const char style[] =
    ":root{color-scheme:light "
    "dark;--back:#fff;--fore:#1c1e21;--dim:#5c6370;--line:#d5d9e0;--soft:#f3f5f8;--bad:#b3261e;"
    "--good:#1b6e3c;--c0:#1f5fbf;--c1:#c2410c;--c2:#15803d;--c3:#86198f;--c4:#0e7490;--c5:#a16207;--c6:#be123c;"
    "--c7:#4b5563}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#14161a;--fore:#e6e8eb;--dim:#9aa3b2;--line:#343a45;--soft:#"
    "1d2026;"
    "--bad:#ff8a80;--good:#7ddc9b;--c0:#7ab0ff;--c1:#ffa270;--c2:#7ddc9b;--c3:#e39cf0;--c4:#6fd3e8;--c5:#f0c75e;"
    "--c6:#ff8fa3;--c7:#b8c0cc}}\n"
    "*{box-sizing:border-box}body{font:15px/1.5 system-ui,sans-serif;background:var(--back);color:var(--fore);"
    "max-width:80rem;margin:0 auto;padding:1rem 1.5rem 4rem}\n"
    "h1{font-size:1.5rem}h2{font-size:1.25rem;margin-top:2.5rem;border-bottom:1px solid "
    "var(--line)}h3{font-size:1.05rem}\n"
    "p.dim,.dim{color:var(--dim)}.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0 1rem;"
    "font-variant-numeric:tabular-nums}caption{text-align:left;color:var(--dim);padding:.2rem 0}\n"
    "th,td{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}"
    "td.n{text-align:right}tr.bad td{color:var(--bad)}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem}figure{margin:0}"
    "figcaption{font-weight:600}svg{width:100%;height:auto;display:block}\n"
    ".grid{stroke:var(--line);fill:none;stroke-width:.7}.tick,.axis{font-size:10px;fill:var(--dim)}"
    ".diagonal{stroke:var(--dim);stroke-dasharray:2 4;fill:none}.line{fill:none;stroke-width:1.8}"
    ".mark{stroke:var(--back);stroke-width:1}\n"
    ".s0{stroke:var(--c0)}.s1{stroke:var(--c1);stroke-dasharray:7 3}.s2{stroke:var(--c2);stroke-dasharray:2 3}"
    ".s3{stroke:var(--c3);stroke-dasharray:9 3 2 3}.s4{stroke:var(--c4)}.s5{stroke:var(--c5);stroke-dasharray:7 3}"
    ".s6{stroke:var(--c6);stroke-dasharray:2 3}.s7{stroke:var(--c7);stroke-dasharray:9 3 2 3}\n"
    ".mark{stroke-dasharray:none}.mark.s0{fill:var(--c0)}.mark.s1{fill:var(--c1)}.mark.s2{fill:var(--c2)}"
    ".mark.s3{fill:var(--c3)}.mark.s4{fill:var(--c4)}.mark.s5{fill:var(--c5)}.mark.s6{fill:var(--c6)}"
    ".mark.s7{fill:var(--c7)}\n"
    ".legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1.5rem}.legend svg{width:2rem;"
    "display:inline-block;vertical-align:middle}\n"
    ".filters{display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:end;margin:.5rem 0}.filters label{display:grid;"
    "font-size:.85rem;color:var(--dim)}select,input{font:inherit;color:inherit;background:var(--soft);"
    "border:1px solid var(--line);border-radius:4px;padding:.2rem .4rem}:focus-visible{outline:2px solid var(--c0);"
    "outline-offset:2px}\n"
    ".item{border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem;margin:.6rem "
    "0}.item[hidden]{display:none}"
    ".item h4{margin:0 0 .3rem;font-size:1rem;overflow-wrap:anywhere}.tag{border:1px solid "
    "var(--line);border-radius:4px;"
    "padding:0 .4rem;margin-right:.4rem;font-size:.85rem;font-weight:400}.tag.bad{color:var(--bad)}"
    ".tag.good{color:var(--good)}\n"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);border-radius:4px;padding:.5rem .7rem;"
    "margin:.4rem 0;font:14px/1.45 ui-monospace,monospace}.code{color:var(--bad);font-size:.8em}\n"
    ".pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:.8rem}summary{cursor:pointer}\n";

static const char script[] =
    "for(const box of document.querySelectorAll('.list')){"
    "const items=[...box.querySelectorAll('.item')],form=box.querySelector('.filters'),"
    "selects=[...form.querySelectorAll('select')],search=form.querySelector('input'),count=form.querySelector('"
    "output');"
    "const apply=()=>{let n=0;const word=search.value.toLowerCase();"
    "for(const item of items){"
    "const fits=selects.every(s=>!s.value||(item.dataset[s.name]||'').split('\\n').includes(s.value));"
    "item.hidden=!(fits&&(!word||item.textContent.toLowerCase().includes(word)));n+=!item.hidden}"
    "count.textContent=n+' of '+items.length+' shown'};"
    "form.hidden=false;form.addEventListener('input',apply);form.addEventListener('submit',e=>e.preventDefault());"
    "apply()}\n";

/* --- text ------------------------------------------------------------------------------------------------------- */

void sg_html_text(struct sg_buffer *out, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        int32_t code;
        size_t n = sg_utf8_decode((struct sg_slice){text, len}, &code);
        if (code < 0)
            sg_buffer_puts(out, "\xef\xbf\xbd");
        else if (code == '&' || code == '<' || code == '>' || code == '"' || code == '\'')
            sg_buffer_printf(out, "&#%d;", (int)code);
        else if (sg_utf8_deceives(code))
            sg_buffer_printf(out, "&lt;U+%04X&gt;", (unsigned)code);
        else
            sg_buffer_append(out, text, n);
        text += n;
        len -= n;
    }
}

static void put_element(struct sg_buffer *out, const char *open, const char *text, const char *close)
{
    sg_buffer_puts(out, open);
    sg_html_text(out, text);
    sg_buffer_puts(out, close);
}

/* "sha256-…" of an inline element's text, as a content security policy names it. */
static void put_hash(struct sg_buffer *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char hex[SG_SHA256_HEX];
    uint32_t bits = 0;
    sg_sha256(text, strlen(text), hex);
    sg_buffer_puts(out, "'sha256-");
    /* 64 hexadecimal digits: three of them make two of base 64; the last one is left over */
    for (int i = 0; i < 63; i += 3) {
        bits = 0;
        for (int k = 0; k < 3; k++)
            bits = bits << 4 | (uint32_t)(hex[i + k] <= '9' ? hex[i + k] - '0' : hex[i + k] - 'a' + 10);
        sg_buffer_putc(out, digits[bits >> 6]);
        sg_buffer_putc(out, digits[bits & 63]);
    }
    bits = (uint32_t)(hex[63] <= '9' ? hex[63] - '0' : hex[63] - 'a' + 10) << 2;
    sg_buffer_printf(out, "%c='", digits[bits]);
}

/* --- tables ------------------------------------------------------------------------------------------------------
 */

static void put_interval_cell(struct sg_buffer *out, const json_t *interval, bool sign)
{
    char text[96];
    sg_show_interval(interval, sign, text, sizeof text);
    sg_buffer_printf(out, "<td title=\"interval: %s\">", text_in(interval, "method"));
    sg_html_text(out, text);
    sg_buffer_puts(out, "</td>");
}

static void open_table(struct sg_buffer *out, const char *caption)
{
    put_element(out, "<div class=\"scroll\"><table><caption>", caption, "</caption>\n");
}

static void close_table(struct sg_buffer *out)
{
    sg_buffer_puts(out, "</table></div>\n");
}

static void put_count(struct sg_buffer *out, int64_t n)
{
    sg_buffer_printf(out, "<td class=\"n\">%" PRId64 "</td>", n);
}

static void put_name_row(struct sg_buffer *out, const json_t *configs)
{
    const json_t *config;
    size_t i;
    sg_buffer_puts(out, "<tr><td></td>");
    json_array_foreach(configs, i, config) put_element(out, "<th scope=\"col\">", text_in(config, "name"), "</th>");
    sg_buffer_puts(out, "</tr>\n");
}

static void put_cost_rows(struct sg_buffer *out, const json_t *configs, size_t task)
{
    static const struct {
        const char *title, *object, *member;
    } rows[] = {{"tokens read", "tokens", "prompt"},
                {"tokens written", "tokens", "output"},
                {"ms, median", "ms", "median"},
                {"ms, 95 %", "ms", "p95"},
                {"seconds in all", "ms", "total"}};
    const json_t *config;
    size_t i;
    sg_buffer_puts(out, "<tr><th scope=\"row\">reasoner calls</th>");
    json_array_foreach(configs, i, config)
    {
        const json_t *calls = json_object_get(task_in(config, task), "reasoner_calls");
        if (json_is_integer(calls))
            sg_buffer_printf(out, "<td>%" JSON_INTEGER_FORMAT "</td>", json_integer_value(calls));
        else
            sg_buffer_puts(out, "<td>n/a</td>");
    }
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        sg_buffer_printf(out, "</tr>\n<tr><th scope=\"row\">%s</th>", rows[k].title);
        json_array_foreach(configs, i, config)
        {
            double value = number_in(json_object_get(task_in(config, task), rows[k].object), rows[k].member);
            value = strcmp(rows[k].member, "total") == 0 ? value / 1000 : value;
            if (isnan(value))
                sg_buffer_puts(out, "<td>n/a</td>");
            else
                sg_buffer_printf(out, strcmp(rows[k].object, "ms") == 0 ? "<td>%.3g</td>" : "<td>%.0f</td>", value);
        }
    }
    sg_buffer_puts(out, "</tr>\n");
}

static void put_figures(struct sg_buffer *out, const json_t *configs, size_t task)
{
#define X(name, title) {name, title},
    static const char *const shares[][2] = {SG_SHARE_LIST(X)};
#undef X
    static const char *const counts[][2] = {{"rows measured", "rows"},
                                            {"of them violate", "violating"},
                                            {"without a score", "unscored"},
                                            {"could not be judged", "failed"},
                                            {"not answered", "not_answered"}};
    const json_t *config;
    size_t i;
    open_table(out, "Figures with their confidence intervals");
    put_name_row(out, configs);
    for (int k = 0; k < SG_N_FIGURES; k++) {
        sg_buffer_printf(out, "<tr><th scope=\"row\">%s</th>", sg_figure_title(k));
        json_array_foreach(configs, i, config)
        {
            const json_t *of = task_in(config, task);
            put_interval_cell(out, json_object_get(json_object_get(of, "figures"), sg_figure_name(k)), false);
        }
        sg_buffer_puts(out, "</tr>\n");
    }
    for (size_t k = 0; k < sizeof shares / sizeof shares[0]; k++) {
        sg_buffer_printf(out, "<tr><th scope=\"row\">%s</th>", shares[k][1]);
        json_array_foreach(configs, i, config)
            put_interval_cell(out, json_object_get(task_in(config, task), shares[k][0]), false);
        sg_buffer_puts(out, "</tr>\n");
    }
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        sg_buffer_printf(out, "<tr><th scope=\"row\">%s</th>", counts[k][0]);
        json_array_foreach(configs, i, config)
            sg_buffer_printf(out, "<td>%" PRId64 "</td>", count_in(task_in(config, task), counts[k][1]));
        sg_buffer_puts(out, "</tr>\n");
    }
    put_cost_rows(out, configs, task);
    close_table(out);
}

static void put_slices(struct sg_buffer *out, const char *caption, const json_t *list, bool categories)
{
    static const enum sg_figure shown[] = {SG_PRECISION, SG_RECALL, SG_F1, SG_FPR, SG_AUPRC};
    const json_t *slice;
    size_t i;
    if (json_array_size(list) == 0)
        return;
    open_table(out, caption);
    sg_buffer_puts(out, "<tr><th scope=\"col\"></th><th scope=\"col\">rows</th><th scope=\"col\">violate</th>");
    for (size_t k = 0; k < sizeof shown / sizeof shown[0]; k++)
        sg_buffer_printf(out, "<th scope=\"col\">%s</th>", sg_figure_title(shown[k]));
    sg_buffer_puts(out, "</tr>\n");
    json_array_foreach(list, i, slice)
    {
        sg_buffer_puts(out, "<tr><th scope=\"row\">");
        if (!categories)
            put_element(out, "", text_in(slice, "field"), " = ");
        put_element(out, "", text_in(slice, categories ? "category" : "value"), "</th>");
        put_count(out, count_in(slice, "rows"));
        put_count(out, count_in(slice, "violating"));
        for (size_t k = 0; k < sizeof shown / sizeof shown[0]; k++)
            put_interval_cell(out, json_object_get(json_object_get(slice, "figures"), sg_figure_name(shown[k])),
                              false);
        sg_buffer_puts(out, "</tr>\n");
    }
    close_table(out);
}

/* An object name → numbers, one row each. */
static void put_counts(struct sg_buffer *out, const char *caption, json_t *object, const char *const (*columns)[2],
                       size_t n_columns)
{
    const char *name;
    const json_t *value;
    if (json_object_size(object) == 0)
        return;
    open_table(out, caption);
    sg_buffer_puts(out, "<tr><th scope=\"col\"></th>");
    for (size_t k = 0; k < n_columns; k++)
        sg_buffer_printf(out, "<th scope=\"col\">%s</th>", columns[k][0]);
    sg_buffer_puts(out, "</tr>\n");
    json_object_foreach(object, name, value)
    {
        put_element(out, "<tr><th scope=\"row\">", *name ? name : "(no rule)", "</th>");
        for (size_t k = 0; k < n_columns; k++)
            put_count(out, columns[k][1] ? count_in(value, columns[k][1]) : json_integer_value(value));
        sg_buffer_puts(out, "</tr>\n");
    }
    close_table(out);
}

/* --- lists with filters -------------------------------------------------------------------------------------------
 */

/* A <select>; `values` an object whose keys are the choices. */
static void put_select(struct sg_buffer *out, const char *name, const char *title, json_t *values)
{
    const char *key;
    const json_t *value;
    sg_buffer_printf(out, "<label>%s<select name=\"%s\"><option value=\"\">all</option>", title, name);
    json_object_foreach(values, key, value)
    {
        put_element(out, "<option value=\"", key, "\">");
        put_element(out, "", *key ? key : "(none)", "</option>");
    }
    sg_buffer_puts(out, "</select></label>");
}

static void note(json_t *values, const char *value)
{
    json_object_set_new(values, value, json_true());
}

/* Rules of an answer, a line each, into an attribute. */
static void put_rules(struct sg_buffer *out, const json_t *answer, json_t *seen)
{
    const json_t *rule;
    size_t i;
    json_array_foreach(json_object_get(answer, "rules"), i, rule)
    {
        if (!json_is_string(rule))
            continue;
        sg_buffer_puts(out, i ? "\n" : "");
        sg_html_text(out, json_string_value(rule));
        note(seen, json_string_value(rule));
    }
}

static void put_answer(struct sg_buffer *out, const char *name, const json_t *answer)
{
    const json_t *rule, *score = json_object_get(answer, "score");
    size_t i;
    put_element(out, "<div><p><strong>", name, "</strong> ");
    put_element(out, "<span class=\"tag\">", text_in(answer, "decision"), "</span>");
    if (json_is_number(score))
        sg_buffer_printf(out, "<span class=\"tag\">score %.4g</span>", json_number_value(score));
    if (*text_in(answer, "stage"))
        put_element(out, "<span class=\"tag\">", text_in(answer, "stage"), "</span>");
    json_array_foreach(json_object_get(answer, "rules"), i, rule) if (json_is_string(rule))
        put_element(out, "<span class=\"tag\">", json_string_value(rule), "</span>");
    if (*text_in(answer, "reason"))
        put_element(out, "<span class=\"dim\">", text_in(answer, "reason"), "</span>");
    sg_buffer_puts(out, "</p>");
    if (*text_in(answer, "rationale"))
        put_element(out, "<pre dir=\"auto\">", text_in(answer, "rationale"), "</pre>");
    if (*text_in(answer, "reasoning"))
        put_element(out, "<details><summary>reasoning</summary><pre dir=\"auto\">", text_in(answer, "reasoning"),
                    "</pre></details>");
    sg_buffer_puts(out, "</div>");
}

static void put_row_head(struct sg_buffer *out, const json_t *row, const char *kind, bool good)
{
    const json_t *truth = json_object_get(row, "truth");
    sg_buffer_printf(out, "<h4><span class=\"tag %s\">", good ? "good" : "bad");
    sg_html_text(out, kind);
    sg_buffer_printf(out, "</span><span class=\"tag\">%s</span>",
                     !json_is_integer(truth)          ? "truth unknown"
                     : json_integer_value(truth) == 1 ? "truth: violates"
                                                      : "truth: does not");
    put_element(out, "", text_in(row, "id"), "</h4>");
    if (json_is_string(json_object_get(row, "text")))
        put_element(out, "<pre dir=\"auto\">", text_in(row, "text"), "</pre>");
}

static void open_list(struct sg_buffer *out, const struct sg_buffer *filters)
{
    sg_buffer_puts(out, "<div class=\"list\"><form class=\"filters\" hidden>");
    sg_buffer_puts(out, sg_buffer_text(filters));
    sg_buffer_puts(out, "<label>with the words<input type=\"search\"></label><output class=\"dim\" "
                        "aria-live=\"polite\"></output></form>\n");
}

static void put_failures(struct sg_buffer *out, const json_t *config, const json_t *task)
{
    const json_t *list = json_object_get(task, "failures"), *row;
    json_t *kinds = json_object(), *rules = json_object();
    struct sg_buffer items = {0}, filters = {0};
    size_t i;
    if (json_array_size(list) > 0) {
        json_array_foreach(list, i, row)
        {
            const json_t *answer = json_object_get(row, "answer");
            note(kinds, text_in(row, "kind"));
            put_element(&items, "<article class=\"item\" data-kind=\"", text_in(row, "kind"), "\" data-rule=\"");
            put_rules(&items, answer, rules);
            sg_buffer_puts(&items, "\">");
            put_row_head(&items, row, text_in(row, "kind"), false);
            put_answer(&items, text_in(config, "name"), answer);
            sg_buffer_puts(&items, "</article>\n");
        }
        put_select(&filters, "kind", "kind", kinds);
        put_select(&filters, "rule", "rule", rules);
        put_element(out, "<details><summary>Failures of ", text_in(config, "name"), "");
        sg_buffer_printf(out, " (%" PRId64 ")</summary>\n", count_in(task, "n_failures"));
        if ((size_t)count_in(task, "n_failures") > json_array_size(list))
            sg_buffer_printf(out, "<p class=\"dim\">Listed are the surest %zu.</p>\n", json_array_size(list));
        open_list(out, &filters);
        sg_buffer_puts(out, sg_buffer_text(&items));
        sg_buffer_puts(out, "</div></details>\n");
    }
    out->failed = out->failed || items.failed || filters.failed;
    sg_buffer_free(&items);
    sg_buffer_free(&filters);
    json_decref(kinds);
    json_decref(rules);
}

static void put_flips(struct sg_buffer *out, const json_t *comparison)
{
    const json_t *list = json_object_get(comparison, "flips"), *row;
    json_t *changes = json_object(), *rules = json_object();
    struct sg_buffer items = {0}, filters = {0};
    size_t i;
    if (json_array_size(list) > 0) {
        json_array_foreach(list, i, row)
        {
            const char *change = text_in(row, "change");
            note(changes, change);
            put_element(&items, "<article class=\"item\" data-change=\"", change, "\" data-rule=\"");
            put_rules(&items, json_object_get(row, "a"), rules);
            sg_buffer_putc(&items, '\n');
            put_rules(&items, json_object_get(row, "b"), rules);
            sg_buffer_puts(&items, "\">");
            put_row_head(&items, row, change, strcmp(change, "fixed") == 0);
            sg_buffer_puts(&items, "<div class=\"pair\">");
            put_answer(&items, text_in(comparison, "a"), json_object_get(row, "a"));
            put_answer(&items, text_in(comparison, "b"), json_object_get(row, "b"));
            sg_buffer_puts(&items, "</div></article>\n");
        }
        put_select(&filters, "change", "change", changes);
        put_select(&filters, "rule", "rule", rules);
        open_list(out, &filters);
        sg_buffer_puts(out, sg_buffer_text(&items));
        sg_buffer_puts(out, "</div>\n");
    }
    out->failed = out->failed || items.failed || filters.failed;
    sg_buffer_free(&items);
    sg_buffer_free(&filters);
    json_decref(changes);
    json_decref(rules);
}

/* --- sections ------------------------------------------------------------------------------------------------------
 */

static void put_head(struct sg_buffer *out, const json_t *report)
{
    const json_t *data = json_object_get(report, "data"), *note_line, *file;
    size_t i;
    sg_buffer_puts(out, "<h1>Evaluation</h1>\n<p>");
    json_array_foreach(json_object_get(data, "files"), i, file)
        put_element(out, i ? ", <bdi>" : "<bdi>", json_string_value(file), "</bdi>");
    sg_buffer_printf(out, ": %" PRId64 " rows of the %s split", count_in(data, "rows"), text_in(data, "split"));
    if (strcmp(text_in(data, "split"), "dev") == 0)
        sg_buffer_printf(out, "; %" PRId64 " rows of the test split stay closed", count_in(data, "test_rows"));
    else
        sg_buffer_printf(out, "; the test split has been opened %" PRId64 " times", count_in(data, "test_opened"));
    if (json_is_integer(json_object_get(data, "sample")))
        sg_buffer_puts(out, "; a random sample");
    sg_buffer_printf(out,
                     ".</p>\n<p class=\"dim\">%s. Intervals: %g %%; of shares exact, over as many rows as the "
                     "groups are worth; of F1, AUPRC, AUROC, ECE and differences from %" PRId64
                     " resamples of groups (~: fewer than %d groups with a violation). An undecided row is not found "
                     "in recall and F1; \"held\" counts it as not let "
                     "through. A missing label is unknown and not counted.</p>\n",
                     text_in(report, "made_by"), 100 * number_in(json_object_get(report, "intervals"), "confidence"),
                     count_in(json_object_get(report, "intervals"), "resamples"), SG_FEW_GROUPS);
    if (json_array_size(json_object_get(data, "notes")) > 0) {
        sg_buffer_puts(out, "<details><summary>Notes on the data</summary><ul>");
        json_array_foreach(json_object_get(data, "notes"), i, note_line)
            put_element(out, "<li>", json_string_value(note_line), "</li>");
        sg_buffer_puts(out, "</ul></details>\n");
    }
}

static void put_settings(struct sg_buffer *out, const json_t *configs)
{
    const json_t *config, *value;
    const char *key;
    size_t i;
    open_table(out, "Configurations");
    json_array_foreach(configs, i, config)
    {
        put_element(out, "<tr><th scope=\"row\">", text_in(config, "name"), "</th><td>");
        json_object_foreach(json_object_get(config, "settings"), key, value)
        {
            char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
            put_element(out, "<span class=\"tag\">", key, " ");
            put_element(out, "", text ? text : text_in(json_object_get(config, "settings"), key), "</span>");
            free(text);
        }
        sg_buffer_puts(out, "</td></tr>\n");
    }
    close_table(out);
}

static void put_task(struct sg_buffer *out, const json_t *report, size_t task)
{
    static const char *const stages[][2] = {{"rows", "rows"},
                                            {"flagged", "violates"},
                                            {"wrongly", "wrongly_flagged"},
                                            {"cleared", "does_not_violate"},
                                            {"missed", "missed"},
                                            {"undecided", "undecided"}};
    static const char *const rules[][2] = {
        {"wrongly flagged", "wrongly_flagged"}, {"missed", "missed"}, {"undecided", "undecided"}, {"right", "right"}};
    static const char *const reasons[][2] = {{"rows", NULL}};
    const json_t *configs = json_object_get(report, "configurations"), *config,
                 *of = json_array_get(json_object_get(report, "tasks"), task);
    size_t i;
    put_element(out, "<section><h2>", text_in(of, "label"), "</h2>\n");
    sg_buffer_printf(out, "<p>%" PRId64 " of %" PRId64 " rows violate; the truth of %" PRId64 " is unknown.</p>\n",
                     count_in(of, "violating"), count_in(of, "rows"), count_in(of, "unknown"));
    put_figures(out, configs, task);
    sg_html_plots(out, report, task);
    json_array_foreach(configs, i, config)
    {
        const json_t *results = task_in(config, task);
        put_element(out, "<details><summary>Details of ", text_in(config, "name"), "</summary>\n");
        put_slices(out, "By slice", json_object_get(results, "slices"), false);
        put_slices(out, "By category of the data", json_object_get(results, "categories"), true);
        put_counts(out, "Which stage decided", json_object_get(results, "stages"), stages, 6);
        put_counts(out, "Rules cited", json_object_get(results, "rules"), rules, 4);
        put_counts(out, "Why undecided", json_object_get(results, "undecided_reasons"), reasons, 1);
        sg_buffer_puts(out, "</details>\n");
    }
    json_array_foreach(configs, i, config) put_failures(out, config, task_in(config, task));
    sg_buffer_puts(out, "</section>\n");
}

static void put_exact(struct sg_buffer *out, const json_t *configs)
{
    const json_t *config;
    size_t i;
    sg_buffer_puts(out, "<section><h2>Every policy right</h2>\n");
    open_table(out, "Rows on which every decision is right");
    put_name_row(out, configs);
    sg_buffer_puts(out, "<tr><th scope=\"row\">exact match</th>");
    json_array_foreach(configs, i, config) put_interval_cell(out, json_object_get(config, "exact_match"), false);
    sg_buffer_puts(out, "</tr>\n");
    close_table(out);
    sg_buffer_puts(out, "</section>\n");
}

static void put_comparison(struct sg_buffer *out, const json_t *comparison)
{
    double p = number_in(comparison, "mcnemar_p");
    put_element(out, "<section><h2>", text_in(comparison, "b"), " against ");
    put_element(out, "", text_in(comparison, "a"), ", ");
    put_element(out, "", text_in(comparison, "label"), "</h2>\n");
    put_element(out, "<p>Only ", text_in(comparison, "a"), " right: ");
    sg_buffer_printf(out, "%" PRId64 ", only ", count_in(comparison, "only_a_right"));
    put_element(out, "", text_in(comparison, "b"), " right: ");
    sg_buffer_printf(out, "%" PRId64 " of %" PRId64 " rows. ", count_in(comparison, "only_b_right"),
                     count_in(comparison, "rows"));
    if (isnan(p))
        sg_buffer_puts(out, "McNemar: n/a.");
    else
        sg_buffer_printf(out, "McNemar's exact test: p = %.3g%s.", p,
                         json_is_true(json_object_get(comparison, "grouped"))
                             ? " (it takes rows as independent, but groups have several: too small)"
                             : "");
    sg_buffer_puts(out, "</p>\n");
    open_table(out, "Differences, groups resampled jointly");
    for (int i = 0; i < SG_N_FIGURES; i++) {
        sg_buffer_printf(out, "<tr><th scope=\"row\">%s</th>", sg_figure_title(i));
        put_interval_cell(out, json_object_get(json_object_get(comparison, "difference"), sg_figure_name(i)), true);
        sg_buffer_puts(out, "</tr>\n");
    }
    close_table(out);
    put_flips(out, comparison);
    sg_buffer_puts(out, "</section>\n");
}

static void put_attacks(struct sg_buffer *out, const json_t *attacks)
{
    const json_t *attack, *n;
    const char *stage;
    size_t i;
    if (json_array_size(attacks) == 0)
        return;
    sg_buffer_puts(out, "<section><h2>Attacks on violating rows</h2>\n");
    open_table(out, "The same rows with and without each attack");
    sg_buffer_puts(out,
                   "<tr><th scope=\"col\">attack</th><th scope=\"col\">configuration</th><th scope=\"col\">label</th>"
                   "<th scope=\"col\">flagged without</th><th scope=\"col\">flagged with</th><th scope=\"col\">change"
                   "</th><th scope=\"col\">not cleared</th><th scope=\"col\">cleared by</th></tr>\n");
    json_array_foreach(attacks, i, attack)
    {
        put_element(out, "<tr><th scope=\"row\">", text_in(attack, "attack"), "</th>");
        put_element(out, "<td>", text_in(attack, "configuration"), "</td>");
        put_element(out, "<td>", text_in(attack, "label"), "</td>");
        put_interval_cell(out, json_object_get(attack, "plain"), false);
        put_interval_cell(out, json_object_get(attack, "flagged"), false);
        sg_buffer_printf(out, "<td>%+.3f</td>", number_in(attack, "change"));
        put_interval_cell(out, json_object_get(attack, "not_cleared"), false);
        sg_buffer_puts(out, "<td>");
        json_object_foreach(json_object_get(attack, "cleared_by"), stage, n)
        {
            put_element(out, "", stage, "");
            sg_buffer_printf(out, " %" JSON_INTEGER_FORMAT " ", json_integer_value(n));
        }
        sg_buffer_puts(out, "</td></tr>\n");
    }
    close_table(out);
    sg_buffer_puts(out, "</section>\n");
}

static void put_checks(struct sg_buffer *out, const json_t *checks)
{
    const json_t *check;
    size_t i;
    if (json_array_size(checks) == 0)
        return;
    open_table(out, "What was asked for");
    json_array_foreach(checks, i, check)
    {
        bool passed = json_is_true(json_object_get(check, "passed"));
        double value = number_in(check, "value");
        sg_buffer_printf(out, "<tr%s><td>%s</td><td>%s</td>", passed ? "" : " class=\"bad\"",
                         passed ? "reached" : "FAILED", text_in(check, "figure"));
        put_element(out, "<td>", text_in(check, "configuration"), "</td>");
        put_element(out, "<td>", text_in(check, "label"), "</td>");
        sg_buffer_printf(out, isnan(value) ? "<td>n/a</td>" : "<td>%.4f</td>", value);
        sg_buffer_printf(out, "<td>asked for %g</td></tr>\n", number_in(check, "limit"));
    }
    close_table(out);
}

void sg_report_html(const json_t *report, struct sg_buffer *out)
{
    const json_t *configs = json_object_get(report, "configurations"), *comparison;
    size_t i;
    sg_buffer_puts(
        out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
             "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; form-action "
             "'none'; style-src ");
    put_hash(out, style);
    sg_buffer_puts(out, "; script-src ");
    put_hash(out, script);
    sg_buffer_puts(out, "\"><meta name=\"viewport\" content=\"width=device-width\"><title>Evaluation</title><style>");
    sg_buffer_puts(out, style);
    sg_buffer_puts(out, "</style></head><body><main>\n");
    put_head(out, report);
    put_settings(out, configs);
    put_checks(out, json_object_get(report, "checks"));
    for (size_t task = 0; task < json_array_size(json_object_get(report, "tasks")); task++)
        put_task(out, report, task);
    if (json_array_size(json_object_get(report, "tasks")) > 1)
        put_exact(out, configs);
    json_array_foreach(json_object_get(report, "comparisons"), i, comparison) put_comparison(out, comparison);
    put_attacks(out, json_object_get(report, "attacks"));
    sg_buffer_puts(out, "</main><script>");
    sg_buffer_puts(out, script);
    sg_buffer_puts(out, "</script></body></html>\n");
}
