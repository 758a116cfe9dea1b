/* Model files → named tensors and metadata.
 *
 * In: a path to a GGUF file (v2, v3; any part of a split set), a safetensors file, or a folder in the Hugging
 * Face layout (config.json, model.safetensors or model.safetensors.index.json with its parts).
 * Out: read-only tensors that point into memory maps, every offset, size and shape checked against the file
 * before anything is read; and the metadata (GGUF key-values, or config.json).
 * This folder knows no architecture: which tensors a model needs is src/model's business. */
#ifndef SG_WEIGHTS_WEIGHTS_H
#define SG_WEIGHTS_WEIGHTS_H

#include "base/buffer.h"

#include <stdint.h>

/* X(symbol, name, values per block, bytes per block). Block layouts are ggml's (ggml-common.h) but for
 * MXFP4_ST: 16 bytes of codes in safetensors nibble order (byte i: element 2i low, 2i+1 high); its scale
 * bytes are a tensor of their own (sg_tensor.scales). MXFP4_T4 is Ollama's early type 4: scale byte, then 16
 * bytes in safetensors nibble order. */
#define SG_DTYPE_LIST(X)                                                                                             \
    X(SG_F32, "F32", 1, 4)                                                                                           \
    X(SG_F16, "F16", 1, 2)                                                                                           \
    X(SG_BF16, "BF16", 1, 2)                                                                                         \
    X(SG_Q8_0, "Q8_0", 32, 34)                                                                                       \
    X(SG_MXFP4, "MXFP4", 32, 17)                                                                                     \
    X(SG_MXFP4_T4, "MXFP4 (type 4)", 32, 17)                                                                         \
    X(SG_MXFP4_ST, "MXFP4 (safetensors)", 32, 16)                                                                    \
    X(SG_Q4_0, "Q4_0", 32, 18)                                                                                       \
    X(SG_Q4_1, "Q4_1", 32, 20)                                                                                       \
    X(SG_Q5_0, "Q5_0", 32, 22)                                                                                       \
    X(SG_Q5_1, "Q5_1", 32, 24)                                                                                       \
    X(SG_IQ4_NL, "IQ4_NL", 32, 18)                                                                                   \
    X(SG_Q4_K, "Q4_K", 256, 144)                                                                                     \
    X(SG_Q5_K, "Q5_K", 256, 176)                                                                                     \
    X(SG_Q6_K, "Q6_K", 256, 210)                                                                                     \
    X(SG_U8, "U8", 1, 1)

enum sg_dtype {
#define SG_DTYPE_ENUM(symbol, name, values, bytes) symbol,
    SG_DTYPE_LIST(SG_DTYPE_ENUM)
#undef SG_DTYPE_ENUM
        SG_DTYPE_COUNT
};

const char *sg_dtype_name(enum sg_dtype dtype);
int sg_dtype_block_values(enum sg_dtype dtype);
int sg_dtype_block_bytes(enum sg_dtype dtype);

#define SG_TENSOR_DIMS 4

/* A tensor in row-major order, outermost dimension first (GGUF's own order is reversed on reading): a weight
 * matrix is [rows = outputs, columns = inputs], expert matrices [experts, rows, columns]. Rows are contiguous
 * and whole blocks: columns % block values == 0. */
struct sg_tensor {
    const char *name; /* as in the file; borrowed from the weights */
    enum sg_dtype dtype;
    int n_dims;
    int64_t shape[SG_TENSOR_DIMS]; /* 1 beyond n_dims */
    const void *data;              /* n_bytes, in the map; alignment is not promised */
    uint64_t n_bytes;
    const uint8_t *scales; /* MXFP4_ST: [.., columns / 32] E8M0, found by name next to *_blocks; else NULL */
};

/* Bytes of one row (columns = shape[n_dims - 1]) without MXFP4_ST's scales. */
uint64_t sg_tensor_row_bytes(const struct sg_tensor *tensor);

struct sg_weights;

/* Open the set of files that `path` belongs to. Errors name the file, the tensor, got and expected:
 * SG_ENOTFOUND (the path or a part), SG_EFORMAT (damaged), SG_EUNSUPPORTED (version, tensor type). */
SG_MUST_CHECK enum sg_status sg_weights_open(const char *path, struct sg_weights **weights_out, struct sg_error *err);
void sg_weights_close(struct sg_weights *weights);

size_t sg_weights_count(const struct sg_weights *weights);
const struct sg_tensor *sg_weights_at(const struct sg_weights *weights, size_t i);

/* NULL when there is no tensor of that name. Safetensors MXFP4 experts are found under the name of their
 * `_blocks` tensor, joined with `_scales`; shape [experts, rows, columns] with columns in values. */
const struct sg_tensor *sg_weights_find(const struct sg_weights *weights, const char *name);

/* Why sg_weights_find does not know `name` although the file has it ("dtype I64", "5 dimensions"), or NULL. Such
 * tensors do not make a safetensors file unreadable; a GGUF file with one is refused at open. */
const char *sg_weights_skipped(const struct sg_weights *weights, const char *name);

/* Tell the kernel that the pages of this tensor are not needed any more (they can be read again). */
void sg_weights_release_pages(const struct sg_weights *weights, const struct sg_tensor *tensor);

/* The files behind it, in order: for hashing and for messages. */
size_t sg_weights_file_count(const struct sg_weights *weights);
const char *sg_weights_file_path(const struct sg_weights *weights, size_t i);
uint64_t sg_weights_file_size(const struct sg_weights *weights, size_t i);

/* --- metadata ---------------------------------------------------------------------------------------- */

enum sg_weights_kind { SG_WEIGHTS_GGUF, SG_WEIGHTS_SAFETENSORS };
enum sg_weights_kind sg_weights_kind(const struct sg_weights *weights);

/* GGUF scalars by key. false when absent or of another kind; integers of any width convert when they fit,
 * doubles take integers too. Strings are borrowed. Always false for safetensors. */
bool sg_meta_int(const struct sg_weights *weights, const char *key, int64_t *out);
bool sg_meta_double(const struct sg_weights *weights, const char *key, double *out);
bool sg_meta_bool(const struct sg_weights *weights, const char *key, bool *out);
bool sg_meta_string(const struct sg_weights *weights, const char *key, struct sg_slice *out);

/* GGUF arrays: number of elements, or -1 when absent or not an array. Elements by index; strings cost O(1). */
int64_t sg_meta_array_count(const struct sg_weights *weights, const char *key);
bool sg_meta_array_string(const struct sg_weights *weights, const char *key, int64_t i, struct sg_slice *out);
bool sg_meta_array_int(const struct sg_weights *weights, const char *key, int64_t i, int64_t *out);
bool sg_meta_array_double(const struct sg_weights *weights, const char *key, int64_t i, double *out);

/* Iterate GGUF keys for `model info`: NULL past the end; type_out gets "u32", "string", "array[string]" … */
const char *sg_meta_key(const struct sg_weights *weights, size_t i, const char **type_out);

/* Safetensors folder: parsed config.json, borrowed; NULL for GGUF or a lone file. (jansson's json_t) */
struct json_t;
const struct json_t *sg_weights_config(const struct sg_weights *weights);
/* Folder of the safetensors files, for tokenizer.json beside them; NULL for GGUF. */
const char *sg_weights_folder(const struct sg_weights *weights);

/* --- values ------------------------------------------------------------------------------------------ */

/* Dequantise row `row` (0 ≤ row < product of all dims but the last) into f32 out[columns]. The specification of
 * every type: scalar, exact in f32 but for types whose definition rounds. SG_U8 is not a number type. */
void sg_dequant_row(const struct sg_tensor *tensor, int64_t row, float *out);

/* The same for bytes that are no tensor: `n` values (whole blocks) of `dtype` at `src`; `scales` only for
 * MXFP4_ST. */
void sg_dequant(enum sg_dtype dtype, const void *src, const uint8_t *scales, int64_t n, float *out);

float sg_f16_to_f32(uint16_t half);
uint16_t sg_f32_to_f16(float value);  /* round to nearest even */
uint16_t sg_f32_to_bf16(float value); /* round to nearest even */
static inline float sg_bf16_to_f32(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* --- writing (developer tools: dev rewrite, dev make-model) ------------------------------------------- */

/* A GGUF v3 file written front to back: add metadata and declare all tensors, then write their bytes in the
 * order of declaration, in pieces that do not cross from one tensor to the next. Nothing but the current piece is
 * held in memory. Create returns NULL with err set; what the void calls could not do is told by the next write or by
 * finish. */
struct sg_gguf_writer;
struct sg_gguf_writer *sg_gguf_create(const char *path, struct sg_error *err);
void sg_gguf_put_u32(struct sg_gguf_writer *writer, const char *key, uint32_t value);
void sg_gguf_put_f32(struct sg_gguf_writer *writer, const char *key, float value);
void sg_gguf_put_bool(struct sg_gguf_writer *writer, const char *key, bool value);
void sg_gguf_put_string(struct sg_gguf_writer *writer, const char *key, struct sg_slice value);
void sg_gguf_put_strings(struct sg_gguf_writer *writer, const char *key, const struct sg_slice *values, size_t n);
void sg_gguf_put_ints(struct sg_gguf_writer *writer, const char *key, const int32_t *values, size_t n);
/* Copy every key-value of an open GGUF as it is, but for keys with the given prefix (may be NULL), and for split.*
 * and general.alignment, which describe the file that is read and not the one that is written. */
void sg_gguf_put_all(struct sg_gguf_writer *writer, const struct sg_weights *from, const char *but_prefix);
/* shape outermost first. */
void sg_gguf_declare(struct sg_gguf_writer *writer, const char *name, enum sg_dtype dtype, int n_dims,
                     const int64_t *shape);
SG_MUST_CHECK enum sg_status sg_gguf_write(struct sg_gguf_writer *writer, const void *bytes, size_t len,
                                           struct sg_error *err);
/* Leave a hole of `len` bytes (sparse file) in place of tensor bytes. */
SG_MUST_CHECK enum sg_status sg_gguf_skip(struct sg_gguf_writer *writer, uint64_t len, struct sg_error *err);
/* Checks that what was declared was written; closes and frees in every case, removes the file on failure. */
SG_MUST_CHECK enum sg_status sg_gguf_finish(struct sg_gguf_writer *writer, struct sg_error *err);

#endif
