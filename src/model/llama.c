/* llama (as SmolLM2 has it): the feed-forward part, t = Wdown (silu(Wgate t) * Wup t). */
#include "model/forward.h"

struct activation {
    const struct sg_model *model;
    struct sg_scratch *scratch;
};

static void activate_row(void *context, int row, int thread)
{
    (void)thread;
    const struct activation *work = context;
    int ffn = work->model->config.ffn;
    float *gate = work->scratch->gate + (size_t)row * (size_t)ffn;
    work->model->kernels->swiglu(gate, work->scratch->up + (size_t)row * (size_t)ffn, ffn, gate);
}

void sg_llama_ffn(const struct sg_model *model, struct sg_scratch *s, int l, int n)
{
    const struct sg_config *c = &model->config;
    const struct sg_layer *layer = &model->layers[l];
    struct activation work = {model, s};
    struct sg_input input = sg_input_of(model, s->t, n, c->hidden, &s->hidden_q8);
    const struct sg_product gate_up[2] = {{&layer->gate, 0, NULL, NULL, n, s->gate, (size_t)c->ffn},
                                          {&layer->up, 0, NULL, NULL, n, s->up, (size_t)c->ffn}};
    sg_multiply(model, &input, gate_up, 2);
    sg_pool_run(model->pool, activate_row, &work, n);
    input = sg_input_of(model, s->gate, n, c->ffn, &s->ffn_q8);
    const struct sg_product down = {&layer->down, 0, NULL, NULL, n, s->t, (size_t)c->hidden};
    sg_multiply(model, &input, &down, 1);
}
