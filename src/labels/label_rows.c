#include "labels/label_rows.h"

#include "safeguard/content.h"

#include <math.h>

enum sg_status sg_row_reader_name(struct sg_row_reader *reader, const char *path, struct sg_error *err)
{
    const char *slash = strrchr(path, '/');
    sg_buffer_clear(&reader->name);
    sg_buffer_printf(&reader->name, "data:%.200s", slash ? slash + 1 : path);
    enum sg_status status = sg_buffer_status(&reader->name, err);
    for (size_t i = 0; i < reader->name.len; i++)
        if ((unsigned char)reader->name.data[i] < ' ' || (unsigned char)reader->name.data[i] >= 0x7f)
            reader->name.data[i] = '_';
    reader->who = sg_buffer_text(&reader->name);
    return status;
}

void sg_row_reader_deinit(struct sg_row_reader *reader)
{
    sg_buffer_free(&reader->name);
    sg_buffer_free(&reader->voice);
    sg_buffer_free(&reader->text);
}

enum sg_status sg_row_reader_text(struct sg_row_reader *reader, const struct sg_dataset_row *row,
                                  struct sg_error *err)
{
    struct sg_content *content;
    enum sg_status status = row->is_messages
                                ? sg_content_from_json(row->text.ptr, row->text.len, SG_JUDGE_LAST, &content, err)
                                : sg_content_from_text(row->text.ptr, row->text.len, &content, err);
    if (status != SG_OK)
        return status;
    size_t len;
    const char *text = sg_content_text(content, &len);
    sg_buffer_clear(&reader->text);
    sg_buffer_append(&reader->text, text, len);
    sg_content_destroy(content);
    sg_sha256(sg_buffer_text(&reader->text), reader->text.len, reader->sha256);
    return sg_buffer_status(&reader->text, err);
}

static int violation_of(const struct sg_dataset_row *row, const struct sg_row_reader *reader)
{
    if (strcmp(reader->category, "any") == 0)
        return row->violation;
    if (strcmp(reader->category, "any-strict") == 0)
        return row->violation == 1 || row->n_labels == reader->n_categories ? row->violation : SG_LABEL_UNKNOWN;
    for (size_t i = 0; i < row->n_labels; i++)
        if (strcmp(row->labels[i].category, reader->category) == 0)
            return row->labels[i].value;
    return SG_LABEL_UNKNOWN;
}

/* Would the line tell nothing that is not known: no other group, no draw that was not said? */
static bool adds_nothing(const struct sg_row_reader *reader, const struct sg_label_line *line)
{
    size_t i;
    if (!sg_labels_find(reader->labels, line->content_sha256, &i))
        return false;
    const struct content *content = &reader->labels->contents[i];
    int draw = line->role == SG_ROLE_REASONER ? DRAW_REASONER : DRAW_PERSON;
    return (!line->group || strcmp(line->group, content->item.group) == 0) &&
           (isnan(line->p_drawn) || !isnan(content->p_drawn[draw]));
}

/* Whose voice is it: one that says this already, else the first that has not spoken in this file. */
static enum sg_status choose_voice(struct sg_row_reader *reader, struct sg_label_line *line, bool *already_out,
                                   struct sg_error *err)
{
    *already_out = false;
    bool chosen = false;
    sg_buffer_clear(&reader->voice);
    for (int k = 1; k <= SG_ROW_MAX_VOICES; k++) {
        struct sg_buffer name = {0};
        sg_buffer_puts(&name, reader->who);
        if (k > 1)
            sg_buffer_printf(&name, "#%d", k);
        struct said *said = name.failed ? NULL : sg_labels_who_said(reader->labels, line->content_sha256, name.data);
        bool same = said && sg_said_same(said, line);
        if (same || (!chosen && (!said || said->file != reader->file))) {
            sg_buffer_clear(&reader->voice);
            sg_buffer_puts(&reader->voice, sg_buffer_text(&name));
            chosen = true;
        }
        reader->voice.failed |= name.failed;
        sg_buffer_free(&name);
        if (same) {
            said->file = reader->file; /* spoken in this file */
            *already_out = adds_nothing(reader, line);
        }
        if (same || !said)
            break;
    }
    line->who = sg_buffer_text(&reader->voice);
    if (!chosen && !reader->voice.failed)
        return sg_fail(err, SG_ELIMIT, "the text stands in the data with more than %d different labels",
                       SG_ROW_MAX_VOICES);
    return sg_buffer_status(&reader->voice, err);
}

enum sg_status sg_row_reader_line(struct sg_row_reader *reader, const struct sg_dataset_row *row,
                                  struct sg_label_line *line_out, bool *already_out, struct sg_error *err)
{
    *already_out = false;
    if (row->n_labels == 0)
        return sg_fail(err, SG_EFORMAT, "no label is known");
    enum sg_status status = sg_row_reader_text(reader, row, err);
    if (status != SG_OK)
        return status;
    bool own_draw = row->drawn != NULL;
    if (!own_draw && !isnan(row->p_drawn))
        return sg_fail(err, SG_EFORMAT, "\"p_drawn\" without \"drawn\", expected how the row was drawn too");
    *line_out = (struct sg_label_line){
        .content_sha256 = reader->sha256,
        .text = reader->no_text ? NULL : sg_buffer_text(&reader->text),
        .text_len = reader->no_text ? 0 : reader->text.len,
        .id = row->id,
        .violation = violation_of(row, reader),
        .categories = row->labels,
        .n_categories = row->n_labels,
        .policy_sha256 = reader->policy_sha256,
        .who = reader->who,
        .role = reader->role,
        .time = reader->time,
        .drawn = own_draw ? row->drawn : reader->drawn,
        .p_drawn = own_draw ? row->p_drawn : reader->p_drawn,
        .group = reader->group ? reader->group : row->group,
    };
    status = choose_voice(reader, line_out, already_out, err);
    return status == SG_OK ? sg_label_line_check(line_out, err) : status;
}
