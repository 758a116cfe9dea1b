/* Any bytes as text: the readings are UTF-8, the same with offsets and without, and every offset lies in the text.
 * The first two bytes choose an attack that is made on the rest first. */
#include "base/utf8.h"
#include "eval/attacks.h"
#include "text/normalise.h"

#include <stdlib.h>

#define REQUIRE(what)                                                                                                \
    do {                                                                                                             \
        if (!(what))                                                                                                 \
            abort();                                                                                                 \
    } while (0)

static void check(struct sg_slice text)
{
    static struct sg_normal plain, placed;
    struct sg_error err;
    REQUIRE(sg_normalise(text, false, &plain, &err) == SG_OK && sg_normalise(text, true, &placed, &err) == SG_OK);
    REQUIRE(plain.signals == placed.signals && plain.evasive == placed.evasive);
    for (int i = 0; i < SG_N_READINGS; i++) {
        struct sg_slice a = {plain.readings[i].data, plain.readings[i].len};
        struct sg_slice b = {placed.readings[i].data, placed.readings[i].len};
        REQUIRE(sg_slice_equal(a, b) && sg_utf8_valid(a) && !plain.offsets[i]);
        for (size_t k = 0; k < b.len; k++)
            REQUIRE(placed.offsets[i][k] < text.len && (k == 0 || placed.offsets[i][k] >= placed.offsets[i][k - 1]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sg_slice text = {(const char *)data, size};
    check(text);
    if (size < 2)
        return 0;
    struct sg_buffer attacked = {0};
    struct sg_attack_options options = {.seed = data[1]};
    struct sg_error err;
    bool applied;
    REQUIRE(sg_attack_apply(data[0] % SG_N_ATTACKS, (struct sg_slice){text.ptr + 2, size - 2}, &options, &attacked,
                            &applied, &err) == SG_OK);
    check((struct sg_slice){attacked.data, attacked.len});
    sg_buffer_free(&attacked);
    return 0;
}
