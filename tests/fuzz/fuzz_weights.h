/* What a file that opened must allow: every tensor is found under its name and can be read to its last byte. */
#ifndef TESTS_FUZZ_FUZZ_WEIGHTS_H
#define TESTS_FUZZ_FUZZ_WEIGHTS_H

#include "weights/weights_internal.h"

#include <stdlib.h>

static inline void read_tensors(const struct sg_weights *weights)
{
    for (size_t i = 0; i < sg_weights_count(weights); i++) {
        const struct sg_tensor *tensor = sg_weights_at(weights, i);
        if (sg_weights_find(weights, tensor->name) != tensor)
            abort();
        int64_t columns = tensor->shape[tensor->n_dims - 1], rows = 1;
        for (int d = 0; d + 1 < tensor->n_dims; d++)
            rows *= tensor->shape[d];
        if (tensor->n_bytes != (uint64_t)rows * sg_tensor_row_bytes(tensor))
            abort();
        if (tensor->dtype == SG_U8) /* not numbers */
            continue;
        float *row = columns < 1 << 20 ? malloc((size_t)columns * sizeof *row) : NULL;
        if (row) {
            sg_dequant_row(tensor, 0, row);
            sg_dequant_row(tensor, rows - 1, row);
        }
        free(row);
    }
}

#endif
