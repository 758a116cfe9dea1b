/* Any bytes as a GGUF file: an error or tensors that can be read to their last byte, and metadata likewise. */
#include "fuzz_weights.h"

static void read_keys(const struct sg_weights *weights)
{
    const char *type;
    const char *key;
    for (size_t i = 0; (key = sg_meta_key(weights, i, &type)) != NULL; i++) {
        int64_t integer, n = sg_meta_array_count(weights, key);
        double number;
        bool flag;
        struct sg_slice text = {NULL, 0};
        sg_meta_int(weights, key, &integer);
        sg_meta_double(weights, key, &number);
        sg_meta_bool(weights, key, &flag);
        unsigned sum = 0;
        if (sg_meta_string(weights, key, &text) && text.len)
            sum += (unsigned char)text.ptr[text.len - 1];
        for (int64_t k = 0; k < n; k++) {
            if (sg_meta_array_string(weights, key, k, &text) && text.len)
                sum += (unsigned char)text.ptr[text.len - 1];
            sg_meta_array_int(weights, key, k, &integer);
            sg_meta_array_double(weights, key, k, &number);
        }
        volatile unsigned sink = sum;
        (void)sink;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sg_weights *weights;
    struct sg_error err;
    if (sg_weights_open_memory(SG_WEIGHTS_GGUF, "fuzz", data, size, &weights, &err) == SG_OK) {
        read_tensors(weights);
        read_keys(weights);
    }
    sg_weights_close(weights);
    return 0;
}
