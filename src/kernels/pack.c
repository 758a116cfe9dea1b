/* Rows of a matrix as a file has them → a panel as the int8 kernels want it (layout: kernels.h). */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

size_t sg_panel_q8_bytes(int n_blocks)
{
    return ((size_t)n_blocks * (512 + 32) + 63) / 64 * 64;
}

size_t sg_panel_mxfp4_bytes(int n_blocks)
{
    return ((size_t)n_blocks * (256 + 16) + 63) / 64 * 64;
}

/* The 32 codes of one row's block, as 4 words for the panel's vector pairs: byte j of word p has column 8p + j in its
 * low nibble and column 8p + 4 + j in its high one. */
static void panel_codes(enum sg_dtype dtype, const uint8_t *codes, uint32_t out[4])
{
    uint32_t w[4];
    memcpy(w, codes, 16);
    const uint32_t low = 0x0f0f0f0f;
    if (dtype == SG_MXFP4) { /* byte i: column i low, column i + 16 high */
        out[0] = (w[0] & low) | (w[1] & low) << 4;
        out[1] = (w[2] & low) | (w[3] & low) << 4;
        out[2] = (w[0] >> 4 & low) | (w[1] & ~low);
        out[3] = (w[2] >> 4 & low) | (w[3] & ~low);
        return;
    }
    for (int p = 0; p < 4; p++) {                          /* byte i: column 2i low, column 2i + 1 high */
        uint32_t even = w[p] & low, odd = w[p] >> 4 & low; /* columns 0 2 4 6 and 1 3 5 7 of the eight */
        out[p] = (even & 0xff) | (odd & 0xff) << 8 | (even & 0xff00) << 8 | (odd & 0xff00) << 16 |
                 (even >> 16 & 0xff) << 4 | (odd >> 16 & 0xff) << 12 | (even >> 24) << 20 | (odd >> 24) << 28;
    }
}

void sg_pack_mxfp4(enum sg_dtype dtype, const uint8_t *const rows[SG_PANEL_ROWS],
                   const uint8_t *const scales[SG_PANEL_ROWS], int n_blocks, uint8_t *panel)
{
    uint8_t *panel_scales = panel + (size_t)n_blocks * 256;
    size_t block_bytes = (size_t)sg_dtype_block_bytes(dtype);
    memset(panel, 0, sg_panel_mxfp4_bytes(n_blocks));
    for (int r = 0; r < SG_PANEL_ROWS; r++) {
        if (!rows[r])
            continue;
        for (int b = 0; b < n_blocks; b++) {
            const uint8_t *block = rows[r] + (size_t)b * block_bytes;
            uint32_t words[4];
            panel_codes(dtype, dtype == SG_MXFP4_ST ? block : block + 1, words);
            for (int p = 0; p < 4; p++)
                memcpy(panel + (size_t)b * 256 + (size_t)p * 64 + (size_t)r * 4, &words[p], 4);
            panel_scales[(size_t)b * 16 + (size_t)r] = dtype == SG_MXFP4_ST ? scales[r][b] : block[0];
        }
    }
}

/* One row's block of 32 int8 with an f16 scale into its place. */
static void put_q8(uint8_t *panel, int n_blocks, int b, int r, uint16_t scale, const int8_t *q)
{
    for (int g = 0; g < 8; g++)
        memcpy(panel + (size_t)b * 512 + (size_t)g * 64 + (size_t)r * 4, q + 4 * g, 4);
    memcpy(panel + (size_t)n_blocks * 512 + (size_t)b * 32 + (size_t)r * 2, &scale, 2);
}

void sg_pack_q8(const uint8_t *const rows[SG_PANEL_ROWS], int n_blocks, uint8_t *panel)
{
    memset(panel, 0, sg_panel_q8_bytes(n_blocks));
    for (int r = 0; r < SG_PANEL_ROWS; r++)
        for (int b = 0; rows[r] && b < n_blocks; b++) {
            const uint8_t *block = rows[r] + (size_t)b * 34;
            uint16_t scale;
            memcpy(&scale, block, 2);
            put_q8(panel, n_blocks, b, r, scale, (const int8_t *)block + 2);
        }
}

void sg_pack_q8_from_f32(const float *values, int row, int n_blocks, uint8_t *panel)
{
    for (int b = 0; b < n_blocks; b++) {
        const float *x = values + 32 * b;
        float largest = 0;
        for (int k = 0; k < 32; k++)
            largest = fabsf(x[k]) > largest ? fabsf(x[k]) : largest;
        uint16_t scale = sg_f32_to_f16(largest / 127.0f);
        float d = sg_f16_to_f32(scale);
        int8_t q[32];
        for (int k = 0; k < 32; k++) {
            float exact = d > 0 ? rintf(x[k] / d) : 0;
            q[k] = (int8_t)(exact > 127 ? 127 : exact < -127 ? -127 : exact);
        }
        put_q8(panel, n_blocks, b, row, scale, q);
    }
}
