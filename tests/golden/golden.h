/* Helpers of the golden tests: files of numbers, a model run over a token sequence, and skipping. */
#ifndef SG_TESTS_GOLDEN_H
#define SG_TESTS_GOLDEN_H

#include "model/model_internal.h"

/* Path below the folder of shared reference material (valid until the next call but three), or NULL after saying
 * that it is absent, so that the test skips. */
const char *shared_path(const char *below);

/* Path of one of our own files of expected values (valid as long as that of shared_path). */
const char *data_path(const char *name);

/* Whole file; fails the test when it cannot be read. free() it. */
void *read_numbers(const char *path, size_t size, size_t *count_out);

struct sg_model *open_model(const char *path, enum sg_precision precision, bool repack, int threads);

/* Logits [n, vocabulary] of all positions of a sequence (want == NULL) or of positions with want[i], computed in
 * chunks of `chunk` rows. free() it. */
float *run_model(const struct sg_model *model, const int32_t *tokens, int n, int chunk, const bool *want);

float largest_difference(const float *a, const float *b, size_t n); /* NaN when one is among them */

struct comparison {
    double mean_kl, median_kl; /* of KL(exact || fast) by row */
    double agreement;          /* equal top-1 where the exact top-2 gap exceeds 0.2 */
};
struct comparison compare_logits(const float *exact, const float *fast, size_t rows, size_t vocabulary);

#endif
