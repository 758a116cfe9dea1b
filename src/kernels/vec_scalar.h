/* 16 lanes of f32 in portable C: the specification of the operations in vec_avx2.h and vec_avx512.h. */
#include <math.h>

typedef struct {
    float lane[16];
} v16;

#define EACH_LANE for (int l = 0; l < 16; l++)

static inline v16 v16_load(const float *p)
{
    v16 v;
    EACH_LANE v.lane[l] = p[l];
    return v;
}
static inline void v16_store(float *p, v16 a)
{
    EACH_LANE p[l] = a.lane[l];
}
static inline v16 v16_set(float a)
{
    v16 v;
    EACH_LANE v.lane[l] = a;
    return v;
}
static inline v16 v16_add(v16 a, v16 b)
{
    EACH_LANE a.lane[l] += b.lane[l];
    return a;
}
static inline v16 v16_sub(v16 a, v16 b)
{
    EACH_LANE a.lane[l] -= b.lane[l];
    return a;
}
static inline v16 v16_mul(v16 a, v16 b)
{
    EACH_LANE a.lane[l] *= b.lane[l];
    return a;
}
static inline v16 v16_div(v16 a, v16 b)
{
    EACH_LANE a.lane[l] /= b.lane[l];
    return a;
}
/* a b + c, rounded once */
static inline v16 v16_fma(v16 a, v16 b, v16 c)
{
    EACH_LANE c.lane[l] = fmaf(a.lane[l], b.lane[l], c.lane[l]);
    return c;
}
/* as the x86 instructions: the second operand when either is NaN */
static inline v16 v16_max(v16 a, v16 b)
{
    EACH_LANE a.lane[l] = a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l];
    return a;
}
static inline v16 v16_min(v16 a, v16 b)
{
    EACH_LANE a.lane[l] = a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l];
    return a;
}
static inline v16 v16_abs(v16 a)
{
    EACH_LANE a.lane[l] = fabsf(a.lane[l]);
    return a;
}
/* to nearest, ties to even */
static inline v16 v16_round(v16 a)
{
    EACH_LANE a.lane[l] = rintf(a.lane[l]);
    return a;
}
/* a 2^n for whole n in [-126, 127] given as floats */
static inline v16 v16_scale2(v16 a, v16 n)
{
    EACH_LANE
    {
        uint32_t bits = (uint32_t)((int32_t)n.lane[l] + 127) << 23;
        float power;
        memcpy(&power, &bits, 4);
        a.lane[l] *= power;
    }
    return a;
}
/* whole numbers in [-128, 127] to int8 */
static inline void v16_store_i8(int8_t *p, v16 a)
{
    EACH_LANE p[l] = (int8_t)(int32_t)a.lane[l];
}
static inline v16 v16_load_i8(const int8_t *p)
{
    v16 v;
    EACH_LANE v.lane[l] = p[l];
    return v;
}
static inline v16 v16_load_bf16(const uint16_t *p)
{
    v16 v;
    EACH_LANE
    {
        uint32_t bits = (uint32_t)p[l] << 16;
        memcpy(&v.lane[l], &bits, 4);
    }
    return v;
}
static inline v16 v16_load_f16(const uint16_t *p)
{
    v16 v;
    EACH_LANE v.lane[l] = sg_f16_to_f32(p[l]);
    return v;
}
#undef EACH_LANE
