#include "model/sequence.h"

enum sg_status sg_sequence_init(struct sg_sequence *sequence, const struct sg_model *model, int max_positions,
                                int chunk, struct sg_error *err)
{
    *sequence = (struct sg_sequence){.model = model, .chunk = chunk};
    sg_kv_pool_for(&sequence->pool, &model->config);
    enum sg_status status = sg_kv_init(&sequence->kv, &sequence->pool, max_positions, err);
    if (status == SG_OK)
        status = sg_scratch_create(model, chunk, max_positions, &sequence->scratch, err);
    if (status != SG_OK)
        sg_sequence_deinit(sequence);
    return status;
}

void sg_sequence_deinit(struct sg_sequence *sequence)
{
    if (sequence->kv.pool)
        sg_kv_deinit(&sequence->kv);
    sg_kv_pool_deinit(&sequence->pool);
    sg_scratch_destroy(sequence->scratch);
    *sequence = (struct sg_sequence){0};
}

enum sg_status sg_sequence_append(struct sg_sequence *sequence, const int32_t *tokens, int n, const bool *want,
                                  float *logits, struct sg_error *err)
{
    int vocabulary = sequence->model->config.vocabulary;
    struct sg_kv *kv = &sequence->kv, *kvs[SG_MAX_ROWS];
    int32_t positions[SG_MAX_ROWS];
    bool wanted[SG_MAX_ROWS];
    for (int i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= vocabulary)
            return sg_fail_at(err, SG_EINVALID, (uint64_t)i, "token %d: got id %d, expected 0 to %d", i, tokens[i],
                              vocabulary - 1);
    for (int first = 0; first < n; first += sequence->chunk) {
        int rows = n - first < sequence->chunk ? n - first : sequence->chunk;
        enum sg_status status = sg_kv_reserve(kv, rows, err);
        if (status != SG_OK)
            return status;
        for (int i = 0; i < rows; i++) {
            positions[i] = kv->n_positions + i;
            kvs[i] = kv;
            wanted[i] = !want || want[first + i];
        }
        struct sg_batch batch = {rows, tokens + first, positions, kvs, wanted, logits};
        sg_forward(sequence->model, sequence->scratch, &batch);
        sg_kv_advance(kv, rows, 0);
        for (int i = 0; i < rows; i++)
            logits += wanted[i] ? vocabulary : 0;
    }
    return SG_OK;
}
