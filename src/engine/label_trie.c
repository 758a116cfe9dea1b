/* A label set as a trie of token ids (constraint.h). Labels are few and short: children are plain chains. */
#include "engine/constraint.h"

#include <stdlib.h>

/* The child of `node` over `token`, made when missing. Room in trie->nodes is the caller's matter. */
static int32_t child_of(struct sg_label_trie *trie, int32_t node, int32_t token)
{
    int32_t *link = &trie->nodes[node].first_child;
    while (*link >= 0) {
        if (trie->nodes[*link].token == token)
            return *link;
        link = &trie->nodes[*link].next;
    }
    *link = (int32_t)trie->n_nodes;
    trie->nodes[trie->n_nodes] = (struct sg_label_node){.token = token, .first_child = -1, .next = -1, .label = -1};
    return (int32_t)trie->n_nodes++;
}

/* Nodes for one more label of `n` tokens, exactly as many as it can need. */
static bool reserve(struct sg_label_trie *trie, size_t n)
{
    struct sg_label_node *nodes = realloc(trie->nodes, (trie->n_nodes + n) * sizeof *nodes);
    if (nodes)
        trie->nodes = nodes;
    return nodes != NULL;
}

static enum sg_status add_label(struct sg_label_trie *trie, const struct sg_tokens *ids,
                                const struct sg_slice *labels, size_t label, struct sg_error *err)
{
    if (!reserve(trie, ids->n))
        return sg_fail(err, SG_ENOMEM, "labels: out of memory at label %zu", label);
    int32_t node = 0;
    for (size_t i = 0; i < ids->n; i++)
        node = child_of(trie, node, ids->ids[i]);
    int32_t taken = trie->nodes[node].label;
    if (taken >= 0)
        return sg_fail(err, SG_EINVALID, "labels: %d (\"%.*s\") and %zu (\"%.*s\") are the same tokens", taken,
                       (int)labels[taken].len, labels[taken].ptr, label, (int)labels[label].len, labels[label].ptr);
    trie->nodes[node].label = (int32_t)label;
    return SG_OK;
}

enum sg_status sg_label_trie_init(struct sg_label_trie *trie, const struct sg_tokenizer *tokenizer, const char *lead,
                                  const struct sg_slice *labels, size_t n_labels, struct sg_error *err)
{
    *trie = (struct sg_label_trie){0};
    if (n_labels == 0 || n_labels > SG_LABELS_MAX)
        return sg_fail(err, SG_EINVALID, "labels: got %zu, expected 1 to %d", n_labels, SG_LABELS_MAX);
    if (!reserve(trie, 1))
        return sg_fail(err, SG_ENOMEM, "labels: out of memory");
    trie->nodes[trie->n_nodes++] = (struct sg_label_node){.token = -1, .first_child = -1, .next = -1, .label = -1};

    struct sg_buffer text = {0};
    struct sg_tokens ids = {0};
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < n_labels && status == SG_OK; i++) {
        if (labels[i].len == 0 || labels[i].len > SG_LABEL_MAX_BYTES) {
            status = sg_fail(err, SG_EINVALID, "labels: %zu has %zu bytes, expected 1 to %d", i, labels[i].len,
                             SG_LABEL_MAX_BYTES);
            break;
        }
        sg_buffer_clear(&text);
        sg_buffer_puts(&text, lead);
        sg_buffer_append(&text, labels[i].ptr, labels[i].len);
        ids.n = 0;
        status = sg_buffer_status(&text, err);
        if (status != SG_OK)
            break;
        sg_tokenize(tokenizer, (struct sg_slice){text.data, text.len}, &ids);
        status = sg_tokens_status(&ids, err);
        if (status == SG_OK && ids.n == 0)
            status = sg_fail(err, SG_EINVALID, "labels: the tokenizer has no tokens for label %zu", i);
        if (status == SG_OK)
            status = add_label(trie, &ids, labels, i, err);
    }
    sg_buffer_free(&text);
    sg_tokens_free(&ids);
    if (status != SG_OK)
        sg_label_trie_deinit(trie);
    return status;
}

void sg_label_trie_deinit(struct sg_label_trie *trie)
{
    free(trie->nodes);
    *trie = (struct sg_label_trie){0};
}
