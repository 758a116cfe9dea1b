/* Batch input: the first bytes choose the options, the rest is the file. Every row is read; whatever the bytes, the
 * reader ends in rows or errors. A row's text and id are valid UTF-8, as the rest of the program expects. */
#include "base/utf8.h"
#include "input/input.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char separators[] = {0, ',', ';', '\t'};
    if (size < 2)
        return 0;
    struct sg_input_options options = {
        .format = data[0] & 1 ? SG_INPUT_CSV : SG_INPUT_JSONL,
        .text_field = data[0] & 2 ? "t" : NULL,
        .id_field = data[0] & 4 ? "i" : NULL,
        .separator = separators[data[0] >> 3 & 3],
        .skip_lines = data[1] % 4,
    };
    struct sg_input *input;
    struct sg_error err;
    if (sg_input_parse("fuzz", (const char *)data + 2, size - 2, &options, &input, &err) != SG_OK) {
        if (input)
            abort();
        return 0;
    }
    for (size_t i = 0; i < sg_input_count(input); i++) {
        struct sg_input_row row;
        enum sg_status status = sg_input_row(input, i, &row, &err);
        size_t found;
        if (row.row != i + 1 || row.line < 1)
            abort();
        if (row.id && (!sg_utf8_valid(sg_slice_of(row.id)) || !sg_input_find(input, row.id, &found) || found != i))
            abort();
        if (status == SG_OK && (!row.id || !sg_utf8_valid(row.text)))
            abort();
    }
    sg_input_close(input);
    return 0;
}
