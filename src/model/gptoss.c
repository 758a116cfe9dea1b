/* gpt-oss: the mixture of experts. Each row goes to the experts with the largest router logits, weighed by a softmax
 * over just these; rows are grouped by expert, so that each expert's weights are read once for all of them.
 * Source: gpt-oss reference, model.py `MLPBlock`. */
#include "model/forward.h"

#include <math.h>

struct routing {
    const struct sg_model *model;
    struct sg_scratch *scratch;
};

/* The best experts of a row, largest logit first (the lower index of equals), and their weights. */
static void choose(void *context, int row, int thread)
{
    (void)thread;
    const struct routing *routing = context;
    const struct sg_config *c = &routing->model->config;
    int used = c->n_experts_used;
    const float *logits = routing->scratch->router + (size_t)row * (size_t)c->n_experts;
    int32_t *experts = routing->scratch->row_expert + (size_t)row * (size_t)used;
    float best[SG_MAX_EXPERTS + 16]; /* softmax works on whole groups of 16 */
    int n = 0;
    for (int e = 0; e < c->n_experts; e++) {
        int at = n < used ? n++ : used;
        for (; at > 0 && logits[e] > best[at - 1]; at--)
            if (at < used) {
                best[at] = best[at - 1];
                experts[at] = experts[at - 1];
            }
        if (at < used) {
            best[at] = logits[e];
            experts[at] = e;
        }
    }
    routing->model->kernels->softmax(best, 0, used, -INFINITY);
    memcpy(routing->scratch->row_weight + (size_t)row * (size_t)used, best, (size_t)used * sizeof *best);
}

/* Slots in order of expert: first_slot[e] … first_slot[e + 1]. */
static void group_by_expert(const struct sg_config *c, struct sg_scratch *s, int n_rows, int *first_slot)
{
    int n_choices = n_rows * c->n_experts_used;
    memset(first_slot, 0, (size_t)(c->n_experts + 1) * sizeof *first_slot);
    for (int i = 0; i < n_choices; i++)
        first_slot[s->row_expert[i] + 1]++;
    for (int e = 0; e < c->n_experts; e++)
        first_slot[e + 1] += first_slot[e];
    int next[SG_MAX_EXPERTS];
    memcpy(next, first_slot, (size_t)c->n_experts * sizeof *next);
    for (int i = 0; i < n_choices; i++) {
        int slot = next[s->row_expert[i]]++;
        s->slot_row[slot] = i / c->n_experts_used;
        s->row_slot[i] = slot;
    }
}

static void activate_slot(void *context, int slot, int thread)
{
    (void)thread;
    const struct routing *routing = context;
    const struct sg_config *c = &routing->model->config;
    float *gate = routing->scratch->gate + (size_t)slot * (size_t)c->ffn;
    routing->model->kernels->swiglu_clamped(gate, routing->scratch->up + (size_t)slot * (size_t)c->ffn, c->ffn,
                                            c->swiglu_limit, gate);
}

/* t = sum of the experts' outputs, best first. */
static void combine_row(void *context, int row, int thread)
{
    (void)thread;
    const struct routing *routing = context;
    const struct sg_config *c = &routing->model->config;
    struct sg_scratch *s = routing->scratch;
    float *t = s->t + (size_t)row * (size_t)c->hidden;
    memset(t, 0, (size_t)c->hidden * sizeof *t);
    for (int i = row * c->n_experts_used; i < (row + 1) * c->n_experts_used; i++)
        routing->model->kernels->add_scaled(t, s->y + (size_t)s->row_slot[i] * (size_t)c->hidden, s->row_weight[i],
                                            c->hidden);
}

void sg_gptoss_experts(const struct sg_model *model, struct sg_scratch *s, int l, int n)
{
    const struct sg_config *c = &model->config;
    const struct sg_layer *layer = &model->layers[l];
    struct routing routing = {model, s};
    size_t hidden = (size_t)c->hidden, ffn = (size_t)c->ffn;
    int n_slots = n * c->n_experts_used, first_slot[SG_MAX_EXPERTS + 1], n_products = 0;
    struct sg_product products[2 * SG_MAX_EXPERTS];

    struct sg_input input = sg_input_of(model, s->t, n, c->hidden, &s->hidden_q8);
    products[0] =
        (struct sg_product){&layer->router, 0, layer->router_bias, NULL, n, s->router, (size_t)c->n_experts};
    sg_multiply(model, &input, products, 1);
    sg_pool_run(model->pool, choose, &routing, n);
    group_by_expert(c, s, n, first_slot);

    for (int e = 0; e < c->n_experts; e++) {
        int first = first_slot[e], count = first_slot[e + 1] - first;
        if (!count)
            continue;
        const int32_t *rows = s->slot_row + first;
        products[n_products++] = (struct sg_product){
            &layer->gate, e, layer->gate_bias + (size_t)e * ffn, rows, count, s->gate + (size_t)first * ffn, ffn};
        products[n_products++] = (struct sg_product){
            &layer->up, e, layer->up_bias + (size_t)e * ffn, rows, count, s->up + (size_t)first * ffn, ffn};
    }
    sg_multiply(model, &input, products, n_products);
    sg_pool_run(model->pool, activate_slot, &routing, n_slots);

    int32_t *slots = s->slot_row; /* from here on each slot is a row of its own */
    for (int i = 0; i < n_slots; i++)
        slots[i] = i;
    n_products = 0;
    for (int e = 0; e < c->n_experts; e++) {
        int first = first_slot[e], count = first_slot[e + 1] - first;
        if (count)
            products[n_products++] = (struct sg_product){&layer->down,  e,     layer->down_bias + (size_t)e * hidden,
                                                         slots + first, count, s->y + (size_t)first * hidden,
                                                         hidden};
    }
    input = sg_input_of(model, s->gate, n_slots, c->ffn, &s->ffn_q8);
    sg_multiply(model, &input, products, n_products);
    sg_pool_run(model->pool, combine_row, &routing, n);
}
