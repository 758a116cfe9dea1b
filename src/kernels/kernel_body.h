/* The f32 kernels, written once over the 16 lanes of a vec_*.h header. Each instruction set's file includes its
 * vec header, then this one; all is static. What each function promises stands in kernels.h. */

static inline float reduce(v16 a)
{
    float lane[16];
    v16_store(lane, a);
    for (int width = 8; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            lane[l] += lane[l + width];
    return lane[0];
}

/* The last n % 16 columns, as one vector with zeros behind them. */
static inline v16 load_tail(const float *p, int n)
{
    float lane[16] = {0};
    memcpy(lane, p, (size_t)n * sizeof *p);
    return v16_load(lane);
}

static inline void dot_4(const float *w, int n, const float *const x[4], float out[4])
{
    v16 a = v16_set(0), b = a, c = a, d = a;
    int k = 0;
    for (; k + 16 <= n; k += 16) {
        v16 row = v16_load(w + k);
        a = v16_fma(row, v16_load(x[0] + k), a);
        b = v16_fma(row, v16_load(x[1] + k), b);
        c = v16_fma(row, v16_load(x[2] + k), c);
        d = v16_fma(row, v16_load(x[3] + k), d);
    }
    if (k < n) {
        v16 row = load_tail(w + k, n - k);
        a = v16_fma(row, load_tail(x[0] + k, n - k), a);
        b = v16_fma(row, load_tail(x[1] + k, n - k), b);
        c = v16_fma(row, load_tail(x[2] + k, n - k), c);
        d = v16_fma(row, load_tail(x[3] + k, n - k), d);
    }
    out[0] = reduce(a);
    out[1] = reduce(b);
    out[2] = reduce(c);
    out[3] = reduce(d);
}

static inline float dot_1(const float *w, int n, const float *x)
{
    v16 a = v16_set(0);
    int k = 0;
    for (; k + 16 <= n; k += 16)
        a = v16_fma(v16_load(w + k), v16_load(x + k), a);
    if (k < n)
        a = v16_fma(load_tail(w + k, n - k), load_tail(x + k, n - k), a);
    return reduce(a);
}

static void dot(const float *w, int n, const float *x, const int32_t *rows, int n_rows, float *out, size_t out_stride)
{
    int i = 0;
    for (; i + 4 <= n_rows; i += 4) {
        const float *four[4];
        float sums[4];
        for (int j = 0; j < 4; j++)
            four[j] = x + (size_t)(rows ? rows[i + j] : i + j) * (size_t)n;
        dot_4(w, n, four, sums);
        for (int j = 0; j < 4; j++)
            out[(size_t)(i + j) * out_stride] = sums[j];
    }
    for (; i < n_rows; i++)
        out[(size_t)i * out_stride] = dot_1(w, n, x + (size_t)(rows ? rows[i] : i) * (size_t)n);
}

static void dequant(enum sg_dtype dtype, const void *src, const uint8_t *scales, int n, float *out)
{
    int k = 0;
    const uint16_t *halves = src;
    const uint8_t *block = src;
    switch (dtype) {
    case SG_BF16:
        for (; k + 16 <= n; k += 16)
            v16_store(out + k, v16_load_bf16(halves + k));
        break;
    case SG_F16:
        for (; k + 16 <= n; k += 16)
            v16_store(out + k, v16_load_f16(halves + k));
        break;
    case SG_Q8_0:
        for (; k < n; k += 32, block += 34) {
            uint16_t half;
            memcpy(&half, block, 2);
            v16 d = v16_set(sg_f16_to_f32(half));
            const int8_t *q = (const int8_t *)block + 2;
            v16_store(out + k, v16_mul(d, v16_load_i8(q)));
            v16_store(out + k + 16, v16_mul(d, v16_load_i8(q + 16)));
        }
        break;
    default:
        break;
    }
    if (k < n)
        sg_dequant(dtype,
                   (const uint8_t *)src +
                       (size_t)(k / sg_dtype_block_values(dtype)) * (size_t)sg_dtype_block_bytes(dtype),
                   scales, n - k, out + k);
}

static void quantize(const float *x, const struct sg_q8 *out, int row)
{
    for (int b = 0; b < out->n_blocks; b++) {
        size_t at = (size_t)b * (size_t)out->n_rows + (size_t)row;
        v16 x0 = v16_load(x + 32 * b), x1 = v16_load(x + 32 * b + 16);
        float lane[16], largest = 0;
        v16_store(lane, v16_max(v16_abs(x0), v16_abs(x1)));
        for (int l = 0; l < 16; l++)
            largest = lane[l] > largest ? lane[l] : largest;
        /* below this, 127 / largest would overflow; such a block is zero for all purposes */
        float inverse = largest > 1e-35f ? 127.0f / largest : 0.0f;
        v16 scale = v16_set(inverse);
        int8_t *q = out->q + at * 32;
        v16_store_i8(q, v16_round(v16_mul(x0, scale)));
        v16_store_i8(q + 16, v16_round(v16_mul(x1, scale)));
        int32_t sum = 0;
        for (int i = 0; i < 32; i++)
            sum += q[i];
        out->d[at] = inverse > 0.0f ? largest / 127.0f : 0.0f;
        out->sum[at] = sum;
        out->sum12[at] = 12 * sum;
    }
}

/* exp: x = n ln 2 + r with |r| ≤ ln 2 / 2, a polynomial of degree 6 in r (Cephes expf), times 2^n. */
static inline v16 exp16(v16 x)
{
    v16 clamped = v16_max(v16_min(x, v16_set(88.0f)), v16_set(-87.3f));
    v16 n = v16_round(v16_mul(clamped, v16_set(1.44269504088896341f)));
    v16 r = v16_fma(n, v16_set(-0.693359375f), clamped);
    r = v16_fma(n, v16_set(2.12194440e-4f), r);
    v16 p = v16_set(1.9875691500e-4f);
    p = v16_fma(p, r, v16_set(1.3981999507e-3f));
    p = v16_fma(p, r, v16_set(8.3334519073e-3f));
    p = v16_fma(p, r, v16_set(4.1665795894e-2f));
    p = v16_fma(p, r, v16_set(1.6666665459e-1f));
    p = v16_fma(p, r, v16_set(5.0000001201e-1f));
    p = v16_add(v16_fma(p, v16_mul(r, r), r), v16_set(1.0f));
    return v16_scale2(p, n);
}

static void rmsnorm(const float *x, const float *scale, int n, float eps, float *out)
{
    float inverse = 1.0f / sqrtf(dot_1(x, n, x) / (float)n + eps);
    for (int k = 0; k < n; k++)
        out[k] = x[k] * inverse * scale[k];
}

static inline v16 sigmoid16(v16 x)
{
    v16 one = v16_set(1.0f);
    return v16_div(one, v16_add(one, exp16(v16_sub(v16_set(0.0f), x))));
}

static inline v16 swiglu_clamped_16(v16 gate, v16 up, v16 limit)
{
    gate = v16_min(gate, limit);
    up = v16_max(v16_min(up, limit), v16_sub(v16_set(0.0f), limit));
    v16 glu = v16_mul(gate, sigmoid16(v16_mul(v16_set(1.702f), gate)));
    return v16_mul(glu, v16_add(up, v16_set(1.0f)));
}

static inline v16 swiglu_16(v16 gate, v16 up, v16 unused)
{
    (void)unused;
    return v16_mul(v16_mul(gate, sigmoid16(gate)), up);
}

#define PAIRWISE(function, limit)                                                                                    \
    int k = 0;                                                                                                       \
    for (; k + 16 <= n; k += 16)                                                                                     \
        v16_store(out + k, function(v16_load(gate + k), v16_load(up + k), v16_set(limit)));                          \
    if (k < n) {                                                                                                     \
        float lane[16];                                                                                              \
        v16_store(lane, function(load_tail(gate + k, n - k), load_tail(up + k, n - k), v16_set(limit)));             \
        memcpy(out + k, lane, (size_t)(n - k) * sizeof *out);                                                        \
    }

static void swiglu_clamped(const float *gate, const float *up, int n, float limit, float *out)
{
    PAIRWISE(swiglu_clamped_16, limit)
}

static void swiglu(const float *gate, const float *up, int n, float *out)
{
    PAIRWISE(swiglu_16, 0.0f)
}
#undef PAIRWISE

static void rope(float *head, const float *cos, const float *sin, int half)
{
    float *first = head, *second = head + half;
    for (int i = 0; i < half; i++) {
        float a = first[i], b = second[i];
        first[i] = a * cos[i] - b * sin[i];
        second[i] = b * cos[i] + a * sin[i];
    }
}

/* Two heads at a time share the loads of the keys. */
static void scores(const float *q, int n_heads, int dim, const float *keys, float scale, float *out,
                   size_t out_stride)
{
    v16 factor = v16_set(scale);
    int h = 0;
    for (; h + 2 <= n_heads; h += 2) {
        const float *q0 = q + (size_t)h * (size_t)dim, *q1 = q0 + dim;
        v16 a0 = v16_set(0), a1 = a0, b0 = a0, b1 = a0;
        for (int d = 0; d < dim; d++) {
            v16 k0 = v16_load(keys + 32 * d), k1 = v16_load(keys + 32 * d + 16);
            v16 s0 = v16_set(q0[d]), s1 = v16_set(q1[d]);
            a0 = v16_fma(s0, k0, a0);
            a1 = v16_fma(s0, k1, a1);
            b0 = v16_fma(s1, k0, b0);
            b1 = v16_fma(s1, k1, b1);
        }
        float *to = out + (size_t)h * out_stride;
        v16_store(to, v16_mul(a0, factor));
        v16_store(to + 16, v16_mul(a1, factor));
        v16_store(to + out_stride, v16_mul(b0, factor));
        v16_store(to + out_stride + 16, v16_mul(b1, factor));
    }
    if (h < n_heads) {
        v16 a0 = v16_set(0), a1 = a0;
        for (int d = 0; d < dim; d++) {
            v16 s0 = v16_set(q[(size_t)h * (size_t)dim + (size_t)d]);
            a0 = v16_fma(s0, v16_load(keys + 32 * d), a0);
            a1 = v16_fma(s0, v16_load(keys + 32 * d + 16), a1);
        }
        v16_store(out + (size_t)h * out_stride, v16_mul(a0, factor));
        v16_store(out + (size_t)h * out_stride + 16, v16_mul(a1, factor));
    }
}

/* Whole groups of 16 by absolute position, so that a position's lane is the same whatever the first one is;
 * positions outside [first, end) are set to -INFINITY first and weigh nothing. */
static void softmax(float *s, int first, int end, float sink)
{
    int start = first & ~15, stop = (end + 15) & ~15;
    for (int p = start; p < first; p++)
        s[p] = -INFINITY;
    for (int p = end; p < stop; p++)
        s[p] = -INFINITY;
    v16 most = v16_set(sink);
    for (int p = start; p < stop; p += 16)
        most = v16_max(v16_load(s + p), most);
    float lane[16], largest = sink;
    v16_store(lane, most);
    for (int l = 0; l < 16; l++)
        largest = lane[l] > largest ? lane[l] : largest;
    v16 sum = v16_set(0), shift = v16_set(largest);
    for (int p = start; p < stop; p += 16) {
        v16 e = exp16(v16_sub(v16_load(s + p), shift));
        v16_store(s + p, e);
        sum = v16_add(sum, e);
    }
    v16_store(lane, exp16(v16_sub(v16_set(sink), shift)));
    v16 inverse = v16_set(1.0f / (reduce(sum) + (sink > -INFINITY ? lane[0] : 0.0f)));
    for (int p = start; p < stop; p += 16)
        v16_store(s + p, v16_mul(v16_load(s + p), inverse));
}

/* Two heads share the loads of the values, 32 dimensions at a time stay in registers. */
static void mix(const float *weights, size_t stride, int n_heads, int dim, const float *values, int first, int end,
                float *out)
{
    int h = 0;
    for (; h + 2 <= n_heads; h += 2) {
        const float *weight0 = weights + (size_t)h * stride, *weight1 = weight0 + stride;
        for (int d = 0; d < dim; d += 32) {
            float *to0 = out + (size_t)h * (size_t)dim + d, *to1 = to0 + dim;
            v16 a0 = v16_load(to0), a1 = v16_load(to0 + 16), b0 = v16_load(to1), b1 = v16_load(to1 + 16);
            for (int p = first; p < end; p++) {
                const float *value = values + (size_t)p * (size_t)dim + d;
                v16 v0 = v16_load(value), v1 = v16_load(value + 16);
                v16 w0 = v16_set(weight0[p]), w1 = v16_set(weight1[p]);
                a0 = v16_fma(w0, v0, a0);
                a1 = v16_fma(w0, v1, a1);
                b0 = v16_fma(w1, v0, b0);
                b1 = v16_fma(w1, v1, b1);
            }
            v16_store(to0, a0);
            v16_store(to0 + 16, a1);
            v16_store(to1, b0);
            v16_store(to1 + 16, b1);
        }
    }
    for (; h < n_heads; h++) {
        const float *weight = weights + (size_t)h * stride;
        for (int d = 0; d < dim; d += 32) {
            float *to = out + (size_t)h * (size_t)dim + d;
            v16 a0 = v16_load(to), a1 = v16_load(to + 16);
            for (int p = first; p < end; p++) {
                const float *value = values + (size_t)p * (size_t)dim + d;
                v16 w = v16_set(weight[p]);
                a0 = v16_fma(w, v16_load(value), a0);
                a1 = v16_fma(w, v16_load(value + 16), a1);
            }
            v16_store(to, a0);
            v16_store(to + 16, a1);
        }
    }
}

static void add_scaled(float *x, const float *y, float a, int n)
{
    v16 factor = v16_set(a);
    int k = 0;
    for (; k + 16 <= n; k += 16)
        v16_store(x + k, v16_fma(factor, v16_load(y + k), v16_load(x + k)));
    for (; k < n; k++)
        x[k] = fmaf(a, y[k], x[k]);
}

#define KERNEL_TABLE(level)                                                                                          \
    {                                                                                                                \
        .name = level, .dot = dot, .dequant = dequant, .quantize = quantize, .panel_q8 = panel_q8,                   \
        .panel_mxfp4 = panel_mxfp4, .rmsnorm = rmsnorm, .swiglu_clamped = swiglu_clamped, .swiglu = swiglu,          \
        .rope = rope, .scores = scores, .softmax = softmax, .mix = mix, .add_scaled = add_scaled                     \
    }
