/* Screen files: 2 bytes say how long the beginning of the file is that follows (header and models), the rest is a
 * text. The tables behind the beginning are filled up to the size that the header asks for, and the whole is sealed
 * with its checksum, or not. Whatever the bytes: an error and no screen, or a screen that scores and explains the
 * text. */
#include "base/utf8.h"
#include "screen/screen_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST ((size_t)4 << 20)
#define AT_SIZE 24 /* of the file, in the header */
#define FEATURES 40

static void use(const struct sg_screen *screen, struct sg_slice text)
{
    static struct sg_screen_scratch *scratch;
    struct sg_screen_feature features[FEATURES];
    struct sg_error err;
    char *json;
    if (!scratch && sg_screen_scratch_create(&scratch, &err) != SG_OK)
        abort();
    for (size_t c = 0; c < sg_screen_n_categories(screen); c++) {
        struct sg_screen_score score;
        size_t n;
        if (sg_screen_score(screen, c, text.ptr, text.len, scratch, &score, &err) != SG_OK)
            abort();
        if (isnan(score.margin) || score.first_byte > text.len || score.n_bytes > text.len - score.first_byte)
            abort();
        if (score.probability < 0 || score.probability > 1)
            abort();
        if (sg_screen_explain(screen, c, text.ptr, text.len, scratch, features, FEATURES, &n, &err) != SG_OK)
            abort();
        for (size_t i = 0; i < n; i++)
            if (!sg_utf8_valid(sg_slice_of(features[i].text)))
                abort();
    }
    if (sg_screen_info(screen, &json, &err) != SG_OK)
        abort();
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t head = (size_t)data[0] | (size_t)(data[1] & 0x3F) << 8, want = 0;
    bool sealed = !(data[1] & 0x80);
    data += 2;
    size -= 2;
    head = head < size ? head : size;
    if (head >= AT_SIZE + 8)
        memcpy(&want, data + AT_SIZE, 8);
    size_t len = want >= head && want <= MOST ? want : head;
    unsigned char *image = malloc(len + 1);
    if (!image)
        return 0;
    memcpy(image, data, head);
    for (size_t i = head; i < len; i++)
        image[i] = (unsigned char)(i * 2654435761u >> 13);
    if (sealed && len > SG_SCREEN_CHECKSUM_BYTES) {
        char hex[SG_SHA256_HEX];
        sg_sha256(image, len - SG_SCREEN_CHECKSUM_BYTES, hex);
        memcpy(image + len - SG_SCREEN_CHECKSUM_BYTES, hex, SG_SCREEN_CHECKSUM_BYTES);
    }
    struct sg_screen *screen;
    struct sg_error err;
    if (sg_screen_open_memory("fuzz", image, len, &screen, &err) == SG_OK)
        use(screen, (struct sg_slice){(const char *)data + head, size - head});
    else if (screen)
        abort();
    sg_screen_close(screen);
    free(image);
    return 0;
}
