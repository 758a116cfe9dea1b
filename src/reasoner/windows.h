/* Content that does not fit the context is judged in overlapping windows: their verdicts, put together. */
#ifndef SG_REASONER_WINDOWS_H
#define SG_REASONER_WINDOWS_H

#include "reasoner/describe.h"

#define SG_WINDOW_OVERLAP 8 /* a window repeats 1/8 of the one before it */

/* List `window` (its place in the judged text, its verdict) in `verdict`, keep the worse of the two, and add up what
 * they cost. `verdict` holds nothing yet, or what earlier windows came to. `window` keeps what was not taken: deinit
 * it. */
SG_MUST_CHECK enum sg_status sg_windows_add(struct sg_verdict *verdict, size_t first_byte, size_t n_bytes,
                                            struct sg_verdict *window, struct sg_error *err);

/* -1 is not known: what is known counts. */
static inline int64_t sg_count_sum(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a + b;
}

/* `at` or the place before it where a character of UTF-8 begins. */
size_t sg_window_cut(struct sg_slice text, size_t at);

#endif
