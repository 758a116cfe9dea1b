/* Weight matrices: rows of a file's tensor or packed panels, and the products of a step as one parallel loop. */
#include "model/model_internal.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

static int n_panels(const struct sg_matrix *matrix)
{
    return (matrix->rows + SG_PANEL_ROWS - 1) / SG_PANEL_ROWS;
}

/* The tensor's row that is row r of an expert. */
static int64_t file_row(const struct sg_matrix *matrix, int expert, int r)
{
    if (matrix->permuted) { /* file row 2i is row i of a head, 2i + 1 is row i + half */
        int head = r / matrix->permuted, j = r % matrix->permuted, half = matrix->permuted / 2;
        r = head * matrix->permuted + 2 * (j % half) + j / half;
    }
    return expert * matrix->expert_stride + matrix->first + r * matrix->step;
}

static const uint8_t *row_data(const struct sg_matrix *matrix, int64_t row)
{
    return (const uint8_t *)matrix->tensor->data + (uint64_t)row * sg_tensor_row_bytes(matrix->tensor);
}

static const uint8_t *row_scales(const struct sg_matrix *matrix, int64_t row)
{
    return matrix->tensor->scales ? matrix->tensor->scales + row * (matrix->columns / SG_BLOCK) : NULL;
}

static bool is_mxfp4(enum sg_dtype dtype)
{
    return dtype == SG_MXFP4 || dtype == SG_MXFP4_T4 || dtype == SG_MXFP4_ST;
}

/* `values` [columns] is scratch for types that are requantised. */
static void pack_panel(const struct sg_matrix *matrix, int expert, int panel, float *values, uint8_t *out)
{
    const uint8_t *rows[SG_PANEL_ROWS] = {0}, *scales[SG_PANEL_ROWS] = {0};
    int n_blocks = matrix->columns / SG_BLOCK, first = panel * SG_PANEL_ROWS;
    enum sg_dtype dtype = matrix->tensor->dtype;
    for (int r = 0; r < SG_PANEL_ROWS && first + r < matrix->rows; r++) {
        int64_t row = file_row(matrix, expert, first + r);
        rows[r] = row_data(matrix, row);
        scales[r] = row_scales(matrix, row);
    }
    if (is_mxfp4(dtype)) {
        sg_pack_mxfp4(dtype, rows, scales, n_blocks, out);
    } else if (dtype == SG_Q8_0) {
        sg_pack_q8(rows, n_blocks, out);
    } else {
        memset(out, 0, sg_panel_q8_bytes(n_blocks));
        for (int r = 0; r < SG_PANEL_ROWS && rows[r]; r++) {
            sg_dequant(dtype, rows[r], NULL, matrix->columns, values);
            sg_pack_q8_from_f32(values, r, n_blocks, out);
        }
    }
}

/* --- preparing ------------------------------------------------------------------------------------------ */

#define PANELS_PER_PREPARATION 64 /* some milliseconds of work for each turn at the shared counter */

struct preparation {
    struct sg_model *model;
    struct sg_matrix *matrix;
    atomic_bool bad_scale;
};

/* An MXFP4 scale byte of 255 is NaN (OCP Microscaling): no model has it. */
static bool has_bad_scale(const struct sg_matrix *matrix, int64_t row)
{
    const uint8_t *bytes = matrix->tensor->scales ? row_scales(matrix, row) : row_data(matrix, row);
    int step = matrix->tensor->scales ? 1 : sg_dtype_block_bytes(matrix->tensor->dtype);
    for (int b = 0; b < matrix->columns / SG_BLOCK; b++)
        if (bytes[b * step] == 255)
            return true;
    return false;
}

static void prepare_panels(void *context, int item, int thread)
{
    struct preparation *work = context;
    struct sg_matrix *matrix = work->matrix;
    int panels = n_panels(matrix), total = panels * matrix->n_experts;
    for (int i = item * PANELS_PER_PREPARATION; i < total && i < (item + 1) * PANELS_PER_PREPARATION; i++) {
        int expert = i / panels, panel = i % panels;
        for (int r = panel * SG_PANEL_ROWS; r < matrix->rows && r < (panel + 1) * SG_PANEL_ROWS; r++)
            if (is_mxfp4(matrix->tensor->dtype) && has_bad_scale(matrix, file_row(matrix, expert, r)))
                atomic_store(&work->bad_scale, true);
        if (matrix->panels)
            pack_panel(matrix, expert, panel, (float *)work->model->thread_scratch[thread],
                       matrix->panels + (size_t)i * matrix->panel_bytes);
    }
}

static uint8_t *map_panels(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_HUGEPAGE); /* streams half as fast from small pages; a refusal only costs speed */
    return memory;
}

static size_t panels_bytes(const struct sg_matrix *matrix)
{
    return (size_t)n_panels(matrix) * (size_t)matrix->n_experts * matrix->panel_bytes;
}

enum sg_status sg_matrix_prepare(struct sg_model *model, struct sg_matrix *matrix, struct sg_error *err)
{
    enum sg_dtype dtype = matrix->tensor->dtype;
    bool wide = dtype == SG_F32 || dtype == SG_F16 || dtype == SG_BF16;
    bool exact = model->options.precision == SG_EXACT || wide || matrix->columns % SG_BLOCK;
    matrix->form = exact ? SG_FORM_ROWS : is_mxfp4(dtype) ? SG_FORM_MXFP4 : SG_FORM_Q8;
    int n_blocks = matrix->columns / SG_BLOCK;
    matrix->panel_bytes = matrix->form == SG_FORM_ROWS    ? 0
                          : matrix->form == SG_FORM_MXFP4 ? sg_panel_mxfp4_bytes(n_blocks)
                                                          : sg_panel_q8_bytes(n_blocks);
    if (model->options.repack && matrix->form != SG_FORM_ROWS) {
        matrix->panels = map_panels(panels_bytes(matrix));
        if (!matrix->panels)
            return sg_fail(err, SG_ENOMEM, "tensor %s: out of memory for %zu bytes of packed weights",
                           matrix->tensor->name, panels_bytes(matrix));
    }
    if (!matrix->panels && !is_mxfp4(dtype))
        return SG_OK;
    struct preparation work = {.model = model, .matrix = matrix};
    int items = (n_panels(matrix) * matrix->n_experts + PANELS_PER_PREPARATION - 1) / PANELS_PER_PREPARATION;
    sg_pool_run(model->pool, prepare_panels, &work, items);
    if (matrix->panels)
        sg_weights_release_pages(model->weights, matrix->tensor);
    if (atomic_load(&work.bad_scale))
        return sg_fail(err, SG_EFORMAT, "tensor %s: an MXFP4 scale byte is 255 (NaN), expected 0 to 254",
                       matrix->tensor->name);
    return SG_OK;
}

void sg_matrix_release(struct sg_matrix *matrix)
{
    if (matrix->panels)
        munmap(matrix->panels, panels_bytes(matrix));
    matrix->panels = NULL;
}

/* --- multiplying ---------------------------------------------------------------------------------------- */

struct quantization {
    const struct sg_model *model;
    struct sg_input *input;
};

static void quantize_row(void *context, int row, int thread)
{
    (void)thread;
    struct quantization *work = context;
    work->model->kernels->quantize(work->input->x + (size_t)row * (size_t)work->input->columns, &work->input->q8,
                                   row);
}

void sg_input_quantize(const struct sg_model *model, struct sg_input *input)
{
    if (model->options.precision == SG_EXACT || input->columns % SG_BLOCK)
        return;
    input->q8.n_rows = input->n_rows;
    input->q8.n_blocks = input->columns / SG_BLOCK;
    struct quantization work = {model, input};
    sg_pool_run(model->pool, quantize_row, &work, input->n_rows);
}

#define PANELS_PER_ITEM 2 /* some microseconds of work for each turn at the shared counter */

struct multiplication {
    const struct sg_model *model;
    const struct sg_input *input;
    const struct sg_product *products;
    int n_products;
    int *first_item; /* of each product; n_products + 1 */
};

static void multiply_panel(const struct multiplication *work, const struct sg_product *product, int panel, int thread)
{
    const struct sg_matrix *matrix = product->matrix;
    const struct sg_kernels *kernels = work->model->kernels;
    uint8_t *scratch = work->model->thread_scratch[thread];
    int first = panel * SG_PANEL_ROWS;
    int n = matrix->rows - first < SG_PANEL_ROWS ? matrix->rows - first : SG_PANEL_ROWS;
    float *out = product->out + first;
    if (matrix->form == SG_FORM_ROWS) {
        for (int r = 0; r < n; r++) {
            int64_t row = file_row(matrix, product->expert, first + r);
            const float *values = (const float *)(const void *)row_data(matrix, row);
            if (matrix->tensor->dtype != SG_F32 || (uintptr_t)values % sizeof *values) {
                kernels->dequant(matrix->tensor->dtype, values, row_scales(matrix, row), matrix->columns,
                                 (float *)scratch);
                values = (const float *)scratch;
            }
            kernels->dot(values, matrix->columns, work->input->x, product->rows, product->n_rows, out + r,
                         product->out_stride);
        }
    } else {
        const uint8_t *data =
            matrix->panels ? matrix->panels + ((size_t)product->expert * (size_t)n_panels(matrix) + (size_t)panel) *
                                                  matrix->panel_bytes
                           : scratch;
        if (!matrix->panels)
            pack_panel(matrix, product->expert, panel, (float *)(scratch + matrix->panel_bytes), scratch);
        void (*kernel)(const uint8_t *, const struct sg_q8 *, const int32_t *, int, float *, size_t) =
            matrix->form == SG_FORM_MXFP4 ? kernels->panel_mxfp4 : kernels->panel_q8;
        if (n == SG_PANEL_ROWS) {
            kernel(data, &work->input->q8, product->rows, product->n_rows, out, product->out_stride);
        } else { /* the last panel of a matrix whose rows are no multiple of 16 */
            for (int i = 0; i < product->n_rows; i++) {
                float all[SG_PANEL_ROWS];
                int32_t row = product->rows ? product->rows[i] : i;
                kernel(data, &work->input->q8, &row, 1, all, SG_PANEL_ROWS);
                memcpy(out + (size_t)i * product->out_stride, all, (size_t)n * sizeof *out);
            }
        }
    }
    const float *bias = product->bias;
    for (int i = 0; bias && i < product->n_rows; i++)
        for (int r = 0; r < n; r++)
            out[(size_t)i * product->out_stride + (size_t)r] += bias[first + r];
}

static void multiply_item(void *context, int item, int thread)
{
    const struct multiplication *work = context;
    int low = 0, high = work->n_products; /* the product with first_item[low] ≤ item < first_item[low + 1] */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (work->first_item[middle] <= item)
            low = middle;
        else
            high = middle;
    }
    const struct sg_product *product = &work->products[low];
    int panel = (item - work->first_item[low]) * PANELS_PER_ITEM, panels = n_panels(product->matrix);
    for (int i = 0; i < PANELS_PER_ITEM && panel + i < panels; i++)
        multiply_panel(work, product, panel + i, thread);
}

void sg_multiply(const struct sg_model *model, const struct sg_input *input, const struct sg_product *products,
                 int n_products)
{
    int first_item[2 * SG_MAX_EXPERTS + 1];
    first_item[0] = 0;
    for (int i = 0; i < n_products; i++)
        first_item[i + 1] = first_item[i] + (n_panels(products[i].matrix) + PANELS_PER_ITEM - 1) / PANELS_PER_ITEM;
    struct multiplication work = {model, input, products, n_products, first_item};
    sg_pool_run(model->pool, multiply_item, &work, first_item[n_products]);
}
