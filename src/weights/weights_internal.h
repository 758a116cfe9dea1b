/* What the readers (gguf.c, safetensors.c), the writer and weights.c share. Not for other folders, but for the
 * fuzz targets, which open bytes in memory. */
#ifndef SG_WEIGHTS_WEIGHTS_INTERNAL_H
#define SG_WEIGHTS_WEIGHTS_INTERNAL_H

#include "base/file.h"
#include "weights/weights.h"

#include <jansson.h>

struct weights_file {
    char *path;
    struct sg_mapping map;
    bool borrowed; /* the bytes belong to somebody else: never unmap them or advise on them */
};

/* GGUF value types, in the order of their numbers. X(symbol, name, bytes); 0: no fixed size. */
#define GGUF_VALUE_LIST(X)                                                                                           \
    X(GGUF_U8, "u8", 1)                                                                                              \
    X(GGUF_I8, "i8", 1)                                                                                              \
    X(GGUF_U16, "u16", 2)                                                                                            \
    X(GGUF_I16, "i16", 2)                                                                                            \
    X(GGUF_U32, "u32", 4)                                                                                            \
    X(GGUF_I32, "i32", 4)                                                                                            \
    X(GGUF_F32, "f32", 4)                                                                                            \
    X(GGUF_BOOL, "bool", 1)                                                                                          \
    X(GGUF_STRING, "string", 0)                                                                                      \
    X(GGUF_ARRAY, "array", 0)                                                                                        \
    X(GGUF_U64, "u64", 8)                                                                                            \
    X(GGUF_I64, "i64", 8)                                                                                            \
    X(GGUF_F64, "f64", 8)

enum gguf_value {
#define GGUF_VALUE_ENUM(symbol, name, bytes) symbol,
    GGUF_VALUE_LIST(GGUF_VALUE_ENUM)
#undef GGUF_VALUE_ENUM
        GGUF_VALUE_COUNT
};

/* One GGUF key-value; the value stays in the map. */
struct weights_meta {
    char *key;
    enum gguf_value type, item_type; /* item_type: of the elements of an array */
    const uint8_t *value;            /* behind the type number; n_bytes is the whole value in the file */
    uint64_t n_bytes;
    const uint8_t *items; /* array: its elements; else the value itself */
    uint64_t n_items;     /* 1 but for arrays */
    uint32_t *strings;    /* array of strings: where each starts, from items */
};

struct weights_metas {
    struct weights_meta *list; /* in file order */
    const struct weights_meta **by_key;
    size_t n;
};

/* A tensor that the file has and we leave out, with the reason ("dtype I64"). */
struct weights_skipped {
    char *name, *reason;
};

struct sg_weights {
    enum sg_weights_kind kind;
    struct weights_file *files;
    size_t n_files;
    struct sg_tensor *tensors; /* names are owned */
    size_t n_tensors, tensors_cap;
    const struct sg_tensor **by_name;
    struct weights_metas metas;
    struct weights_skipped *skipped;
    size_t n_skipped, skipped_cap;
    json_t *config;
    char *folder;
};

/* Bytes from a file as text for a message: at most 63 of them, control bytes as '?'. */
struct shown {
    char text[64];
};
struct shown sg_shown(const char *bytes, size_t len);

/* Make room for element n of an array that doubles. false: out of memory, the array is as it was. */
bool sg_grow(void **array, size_t n, size_t *cap, size_t item_size);

/* Map `path` as the next file. The struct may move the array of files, not their bytes. */
enum sg_status sg_weights_map(struct sg_weights *weights, const char *path, struct sg_error *err);

/* Append a tensor; takes over tensor->name (malloc'd), also on failure. */
enum sg_status sg_weights_add(struct sg_weights *weights, const struct sg_tensor *tensor, struct sg_error *err);

/* Sort the names; two tensors of one name are SG_EFORMAT. Call after the last change of the table. */
enum sg_status sg_weights_index(struct sg_weights *weights, struct sg_error *err);

/* Path of the file that holds the tensor. */
const char *sg_weights_path_of(const struct sg_weights *weights, const struct sg_tensor *tensor);

/* Fill n_bytes from dtype and shape: no overflow of the product or the bytes, columns in whole blocks. `where` opens
 * the text of the error. dims outermost first. */
enum sg_status sg_tensor_measure(struct sg_tensor *tensor, const char *where, struct sg_error *err);

/* gguf.c */
enum sg_status sg_gguf_read(struct sg_weights *weights, const char *path, struct sg_error *err);
enum sg_status sg_gguf_parse(struct sg_weights *weights, size_t file, struct weights_metas *metas_out,
                             struct sg_error *err);
const struct weights_meta *sg_metas_find(const struct weights_metas *metas, const char *key);
bool sg_metas_int(const struct weights_metas *metas, const char *key, int64_t *out);
void sg_metas_free(struct weights_metas *metas);
/* ggml's type number, -1 for a dtype that GGUF cannot hold. */
int sg_gguf_type(enum sg_dtype dtype);

/* safetensors.c: a folder or a file. */
enum sg_status sg_safetensors_read(struct sg_weights *weights, const char *path, struct sg_error *err);
/* Tensors of one mapped file; with `weight_map`, only those that it places in `part`. */
enum sg_status sg_safetensors_parse(struct sg_weights *weights, size_t file, const json_t *weight_map,
                                    const char *part, struct sg_error *err);
/* X_blocks + X_scales → one tensor. */
enum sg_status sg_safetensors_join(struct sg_weights *weights, struct sg_error *err);

/* gguf_write.c: copy the key-values for which keep(key, context) is true. */
void sg_gguf_copy(struct sg_gguf_writer *writer, const struct sg_weights *from,
                  bool (*keep)(const char *key, const void *context), const void *context);

/* make_vocab.c: the tokenizer keys of o200k_harmony from the rank file of o200k_base. */
enum sg_status sg_gguf_put_tiktoken(struct sg_gguf_writer *writer, const char *path, struct sg_error *err);

/* Open bytes in memory as one file called `name`, for the fuzz targets. They must outlive the weights. */
enum sg_status sg_weights_open_memory(enum sg_weights_kind kind, const char *name, const void *bytes, size_t len,
                                      struct sg_weights **weights_out, struct sg_error *err);

#endif
