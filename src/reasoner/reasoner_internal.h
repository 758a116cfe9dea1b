/* What every kind of reasoner implements. */
#ifndef SG_REASONER_INTERNAL_H
#define SG_REASONER_INTERNAL_H

#include "safeguard/reasoner.h"

#include <stdint.h>

struct sg_reasoner_class {
    void (*destroy)(struct sg_reasoner *reasoner);
    enum sg_status (*check)(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                            const struct sg_content *content, const struct sg_check_options *options,
                            sg_stream_fn stream, void *stream_context, struct sg_verdict *verdict,
                            struct sg_error *err);
    void (*cancel)(struct sg_reasoner *reasoner);
    enum sg_status (*count)(struct sg_reasoner *reasoner, const char *text, size_t len, int64_t *tokens_out,
                            struct sg_error *err);
    int (*in_flight)(const struct sg_reasoner *reasoner);
};

struct sg_reasoner {
    const struct sg_reasoner_class *class;
};

/* For tests of what models do: the native reasoner takes these tokens in place of sampled ones while it reasons, in
 * every check from now on. Borrowed; n 0 switches it off. */
void sg_reasoner_script(struct sg_reasoner *reasoner, const int32_t *tokens, size_t n);

#endif
