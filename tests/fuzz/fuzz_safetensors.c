/* Any bytes as a safetensors file. Mutations would have to guess the length in front of the header, so after a first
 * byte that is not 0 the rest is header and data without it, and the header is taken to end at the last '}'. */
#include "fuzz_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    uint8_t *file = malloc(size + 8);
    if (!file)
        return 0;
    size_t len = size - 1;
    memcpy(file + 8, data + 1, len);
    uint8_t *start = file + 8;
    if (data[0] != 0) {
        const uint8_t *brace = memrchr(file + 8, '}', len);
        uint64_t header = brace ? (uint64_t)(brace - file) - 7 : len;
        for (int i = 0; i < 8; i++)
            file[i] = (uint8_t)(header >> 8 * i);
        start = file;
        len += 8;
    }
    struct sg_weights *weights;
    struct sg_error err;
    if (sg_weights_open_memory(SG_WEIGHTS_SAFETENSORS, "fuzz", start, len, &weights, &err) == SG_OK)
        read_tensors(weights);
    sg_weights_close(weights);
    free(file);
    return 0;
}
