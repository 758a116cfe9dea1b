/* Labels → screen: folds, the choice of C, LIBLINEAR's fit, 8-bit weights, calibration.
 *
 * What cross-validation measures is what will run: a fold's model gets its 8-bit weights and scores the fold's texts
 * with their windows and readings, so a C is chosen, and a calibration learnt, on margins as they will be. */
#include "base/pool.h"
#include "screen/calibrate.h"
#include "screen/corpus.h"

#include <stdlib.h>

#define MAX_FOLDS 5
#define CV_MAX_EXAMPLES 20000 /* C is chosen on a part of more */
#define MAX_REPEATS 16        /* an example counts at most so many times another */
#define EPSILON 0.01          /* LIBLINEAR's stop, its own default */

/* A screen is the mean of two fits: one on n-grams, word vectors and prior heads, one on n-grams alone. Each is the
 * better one on some task, their mean is close to the better one on all (docs/screen.md), and being linear it is one
 * model. The second needs less regularisation, as it has less to hold on to. */
#define PLAIN_C 3.0 /* times the first one's C */
#define DEFAULT_C 10.0
#define DEFAULT_SCALE 0.6
#define PRIOR_SCALE 0.3
static const double c_grid[] = {3, 30, 100}; /* tried besides the default */
#define N_C (sizeof c_grid / sizeof *c_grid)

/* One category in training. */
struct task {
    const struct sg_screen_category *category;
    struct sg_corpus *corpus;
    const struct sg_screen_options *options;
    size_t n, n_positive;
    size_t *rows;     /* [n] of the corpus */
    int *repeats;     /* [n] how often an example stands in the problem: LIBLINEAR knows no weights of examples */
    double loss_unit; /* what one repeat counts */
    int n_folds;
    int8_t *folds;   /* [n] -1: in no fold */
    double *margins; /* [n] by the model that has not seen the example, NaN where there is none */
    struct sg_screen_model model;
    int8_t *weights, *lexeme_weights; /* [buckets], [words of the vocabulary] */
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static bool is_positive(const struct task *task, size_t i)
{
    return task->category->examples[i].value == 1;
}

/* --- one fit -----------------------------------------------------------------------------------------------------
 */

static void say_nothing(const char *text)
{
    (void)text;
}

/* What 1 is worth in 8 bits when the strongest weight is 127. */
static double quantum(const double *weights, size_t n)
{
    double highest = 0;
    for (size_t i = 0; i < n; i++)
        highest = fmax(highest, fabs(weights[i]));
    return highest / 127;
}

static int8_t quantised(double weight, double quantum)
{
    return quantum > 0 ? (int8_t)lround(weight / quantum) : 0;
}

/* LIBLINEAR's weights → a model's. */
static enum sg_status take_weights(const struct sg_corpus *corpus, const double *fitted,
                                   struct sg_screen_model *model, int8_t *weights, int8_t *lexeme_weights,
                                   struct sg_error *err)
{
    size_t n_buckets = (size_t)1 << corpus->bucket_bits;
    double *words = malloc(SG_VECTORS_MAX_WORDS * sizeof *words), *buckets = malloc(n_buckets * sizeof *buckets);
    if (!words || !buckets) {
        free(words);
        free(buckets);
        return sg_fail(err, SG_ENOMEM, "out of memory for the weights of a fit");
    }
    sg_corpus_fold(corpus, fitted, buckets, words, &model->bias);
    model->scale = quantum(buckets, n_buckets);
    for (size_t b = 0; b < n_buckets; b++)
        weights[b] = quantised(buckets[b], model->scale);
    model->lexeme_scale = quantum(words, sg_vectors()->n_words);
    for (size_t w = 0; w < sg_vectors()->n_words; w++)
        lexeme_weights[w] = quantised(words[w], model->lexeme_scale);
    free(words);
    free(buckets);
    return SG_OK;
}

/* One fit by LIBLINEAR, from the weights in `start` on, which get its own; `share` of them is added to `sum`. False:
 * there is one class only. LIBLINEAR's own allocations end the process when they fail, as it is written. */
static bool add_fit(const struct problem *problem, double c, double share, double *start, double *sum)
{
    struct parameter parameter = {.solver_type = L2R_LR, .eps = EPSILON, .C = c, .init_sol = start};
    set_print_string_function(say_nothing);
    struct model *fitted = train(problem, &parameter);
    bool two_classes = fitted->nr_class == 2;
    double sign = fitted->label[0] == 1 ? 1 : -1;
    for (int i = 0; i < problem->n && two_classes; i++) {
        start[i] = fitted->w[i];
        sum[i] += share * sign * fitted->w[i];
    }
    if (!two_classes) /* everything is of that class */
        sum[problem->n - 1] = sign;
    free_and_destroy_model(&fitted);
    return two_classes;
}

/* Fit on all examples outside `fold` (-1: on all; with in_folds only those that are in a fold) → bias, scale,
 * weights. */
static enum sg_status fit(const struct task *task, int fold, bool in_folds, double c, struct sg_screen_model *model,
                          int8_t *weights, int8_t *lexeme_weights, struct sg_error *err)
{
    const struct sg_corpus *corpus = task->corpus;
    size_t n = 0, at = 0;
    for (size_t i = 0; i < task->n; i++)
        if ((fold < 0 || task->folds[i] != fold) && (!in_folds || task->folds[i] >= 0))
            n += (size_t)task->repeats[i];
    size_t n_weights = (size_t)sg_corpus_bias_index(corpus);
    double *y = malloc((n ? n : 1) * sizeof *y), *sum = calloc(n_weights, sizeof *sum);
    double *start = calloc(n_weights, sizeof *start);
    struct feature_node **x = malloc((n ? n : 1) * sizeof *x);
    enum sg_status status = y && x && sum && start && n <= INT32_MAX
                                ? SG_OK
                                : sg_fail(err, SG_ENOMEM, "out of memory for a fit of %zu rows", n);
    for (size_t i = 0; i < task->n && status == SG_OK; i++)
        if ((fold < 0 || task->folds[i] != fold) && (!in_folds || task->folds[i] >= 0))
            for (int k = 0; k < task->repeats[i]; k++) {
                y[at] = is_positive(task, i) ? 1 : -1;
                x[at++] = corpus->nodes + corpus->starts[task->rows[i]];
            }
    struct problem problem = {.l = (int)n, .n = sg_corpus_bias_index(corpus), .y = y, .x = x, .bias = 1};
    if (status == SG_OK && add_fit(&problem, c * task->loss_unit, 0.5, start, sum)) {
        for (size_t i = 0; i < n; i++)
            x[i] += sg_corpus_n_dense(corpus);
        memset(start + sg_corpus_dense_index(corpus) - 1, 0, sg_corpus_n_dense(corpus) * sizeof *start);
        add_fit(&problem, PLAIN_C * c * task->loss_unit, 0.5, start, sum);
    }
    if (status == SG_OK)
        status = take_weights(corpus, sum, model, weights, lexeme_weights, err);
    free(y);
    free(x);
    free(sum);
    free(start);
    return status;
}

/* --- cross-validation --------------------------------------------------------------------------------------------
 */

struct unit_order {
    uint64_t group, order;
    bool positive;
};

static int by_group(const void *a, const void *b)
{
    const struct unit_order *x = a, *y = b;
    return x->group < y->group ? -1 : x->group > y->group;
}

static int by_class(const void *a, const void *b)
{
    const struct unit_order *x = a, *y = b;
    if (x->positive != y->positive)
        return x->positive ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static uint64_t group_of(const struct task *task, size_t i)
{
    uint64_t group = task->category->examples[i].group;
    return group ? group : mix(0x5EED0000u + i) | 1;
}

static const struct unit_order *find_group(const struct unit_order *units, size_t n, uint64_t group)
{
    struct unit_order key = {.group = group};
    return bsearch(&key, units, n, sizeof key, by_group);
}

/* Of n units in order, `share` are kept, evenly. */
static bool is_kept(size_t u, size_t n, size_t share)
{
    return (u + 1) * share / n > u * share / n;
}

/* Groups are dealt out to the folds in turn, those with a positive example first. Of more than `most` examples, part
 * of the groups stay in no fold (-1). n_folds 0: too few of a class. */
static enum sg_status make_folds(struct task *task, size_t most, struct sg_error *err)
{
    struct unit_order *units = malloc((task->n ? task->n : 1) * sizeof *units);
    if (!units)
        return sg_fail(err, SG_ENOMEM, "out of memory for the folds of %zu examples", task->n);
    size_t n = 0;
    for (size_t i = 0; i < task->n; i++)
        units[i] = (struct unit_order){.group = group_of(task, i), .positive = is_positive(task, i)};
    qsort(units, task->n, sizeof *units, by_group);
    for (size_t i = 0; i < task->n; i++) {
        if (n > 0 && units[n - 1].group == units[i].group)
            units[n - 1].positive |= units[i].positive;
        else
            units[n++] = units[i];
    }
    for (size_t u = 0; u < n; u++)
        units[u].order = mix(units[u].group ^ mix(task->options->seed + 1));
    qsort(units, n, sizeof *units, by_class);
    size_t share = task->n > most ? (size_t)((double)n * (double)most / (double)task->n) : n, n_kept[2] = {0};
    for (size_t u = 0; u < n; u++) /* every (n / share)-th group, so that both classes keep their part */
        n_kept[units[u].positive] += is_kept(u, n, share);
    size_t fewest = n_kept[0] < n_kept[1] ? n_kept[0] : n_kept[1];
    task->n_folds = fewest >= MAX_FOLDS ? MAX_FOLDS : fewest >= 2 ? (int)fewest : 0;
    for (size_t u = 0, step = 0; u < n; u++)
        units[u].order = task->n_folds > 0 && is_kept(u, n, share) ? step++ % (size_t)task->n_folds : SIZE_MAX;
    qsort(units, n, sizeof *units, by_group);
    for (size_t i = 0; i < task->n; i++)
        task->folds[i] = (int8_t)find_group(units, n, group_of(task, i))->order;
    free(units);
    return SG_OK;
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct ranked {
    double margin, weight;
    bool positive;
};

static int by_margin_down(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->margin > y->margin ? -1 : x->margin < y->margin;
}

/* Σ (recall gained) · precision over the rows in falling order; ties count together. */
static double average_precision(struct ranked *rows, size_t n)
{
    double positives = 0, area = 0, found = 0, taken = 0;
    for (size_t i = 0; i < n; i++)
        positives += rows[i].positive ? rows[i].weight : 0;
    qsort(rows, n, sizeof *rows, by_margin_down);
    for (size_t i = 0; i < n;) {
        double gained = 0;
        size_t end = i;
        for (; end < n && rows[end].margin == rows[i].margin; end++) {
            gained += rows[end].positive ? rows[end].weight : 0;
            taken += rows[end].weight;
        }
        found += gained;
        area += gained * found / taken;
        i = end;
    }
    return positives > 0 ? area / positives : NAN;
}

struct job {
    struct task *task;
    int fold;
    bool in_folds;
    double c;
    bool calibrates; /* rows drawn at random alone are scored, and nothing else is done */
    double area;     /* average precision on the fold */
    enum sg_status status;
    struct sg_error err;
};

static enum sg_status run_fold(struct job *job)
{
    struct task *task = job->task;
    size_t buckets = (size_t)1 << task->corpus->bucket_bits, n = 0;
    struct sg_screen_scratch *scratch = NULL;
    struct sg_screen_model model = {0};
    int8_t *weights = malloc(buckets), *lexeme_weights = malloc(SG_VECTORS_MAX_WORDS);
    struct ranked *ranked = malloc((task->n ? task->n : 1) * sizeof *ranked);
    enum sg_status status = sg_screen_scratch_create(&scratch, &job->err);
    if (status == SG_OK && (!weights || !lexeme_weights || !ranked))
        status = sg_fail(&job->err, SG_ENOMEM, "out of memory for a fold");
    if (status == SG_OK)
        status = fit(task, job->fold, job->in_folds, job->c, &model, weights, lexeme_weights, &job->err);
    struct sg_screen screen = {
        .bucket_bits = task->corpus->bucket_bits,
        .n_categories = 1,
        .unseen_share = 2,
        .idf = task->corpus->idf,
        .seen = task->corpus->seen,
        .models = &model,
        .lexeme_idf = task->corpus->lexeme_idf,
        .weights = {weights},
        .lexeme_weights = {lexeme_weights},
    };
    if (status == SG_OK)
        status = sg_screen_pair(&screen, &job->err);
    for (size_t i = 0; i < task->n && status == SG_OK; i++) {
        const struct sg_screen_example *example = task->category->examples + i;
        struct sg_screen_score score;
        if (task->folds[i] != job->fold || (job->calibrates && !example->calibrates))
            continue;
        status = sg_screen_score(&screen, 0, example->text, example->text_len, scratch, &score, &job->err);
        task->margins[i] = score.margin;
        ranked[n++] = (struct ranked){score.margin, example->weight > 0 ? example->weight : 1, is_positive(task, i)};
    }
    if (status == SG_OK && !job->calibrates)
        job->area = average_precision(ranked, n);
    sg_screen_unpair(&screen);
    sg_screen_scratch_destroy(scratch);
    free(weights);
    free(lexeme_weights);
    free(ranked);
    return status;
}

static void run_job(void *context, int item, int thread)
{
    struct job *job = (struct job *)context + item;
    (void)thread;
    job->status = run_fold(job);
}

static enum sg_status run_jobs(struct sg_pool *pool, struct job *jobs, int n, struct sg_error *err)
{
    sg_pool_run(pool, run_job, jobs, n);
    for (int i = 0; i < n; i++)
        if (jobs[i].status != SG_OK) {
            if (err)
                *err = jobs[i].err;
            return jobs[i].status;
        }
    return SG_OK;
}

/* How well a C does on the folds: mean average precision, and the share of what does not violate below the margins
 * that 5 and 10 % of what violates stay under, over all folds together. */
struct setting {
    double c;
    double area, below;
};

static double share_below(const struct task *task, double missed)
{
    size_t n_positive = 0, n_negative = 0, n_below = 0;
    double *positive = malloc((task->n ? task->n : 1) * sizeof *positive);
    if (!positive)
        return 0;
    for (size_t i = 0; i < task->n; i++)
        if (is_positive(task, i) && !isnan(task->margins[i]))
            positive[n_positive++] = task->margins[i];
    qsort(positive, n_positive, sizeof *positive, by_number);
    double limit = n_positive ? positive[(size_t)(missed * (double)(n_positive - 1))] : -INFINITY;
    for (size_t i = 0; i < task->n; i++)
        if (!is_positive(task, i) && !isnan(task->margins[i])) {
            n_negative++;
            n_below += task->margins[i] < limit;
        }
    free(positive);
    return n_negative ? (double)n_below / (double)n_negative : 0;
}

static enum sg_status try_setting(struct task *task, struct sg_pool *pool, struct setting *setting,
                                  struct sg_error *err)
{
    struct job jobs[MAX_FOLDS];
    memset(jobs, 0, sizeof jobs);
    for (int fold = 0; fold < task->n_folds; fold++)
        jobs[fold] = (struct job){.task = task, .fold = fold, .in_folds = true, .c = setting->c};
    enum sg_status status = run_jobs(pool, jobs, task->n_folds, err);
    setting->area = 0;
    for (int fold = 0; fold < task->n_folds; fold++)
        setting->area += jobs[fold].area / task->n_folds;
    setting->below = (share_below(task, 0.05) + share_below(task, 0.10)) / 2;
    return status;
}

/* The area says how well the top is sorted, what lies below how much may be cleared; the second varies more. */
static double worth(const struct setting *setting)
{
    return 2 * setting->area + setting->below;
}

static enum sg_status choose_c(struct task *task, struct sg_pool *pool, struct sg_error *err)
{
    const struct sg_screen_options *options = task->options;
    struct setting best = {.c = options->c > 0 ? options->c : DEFAULT_C, .area = NAN};
    enum sg_status status = options->c > 0 ? SG_OK : make_folds(task, CV_MAX_EXAMPLES, err);
    if (status == SG_OK && task->n_folds > 0)
        status = try_setting(task, pool, &best, err);
    for (size_t i = 0; i < N_C && status == SG_OK && task->n_folds > 0; i++) {
        struct setting tried = {.c = c_grid[i]};
        status = try_setting(task, pool, &tried, err);
        if (status == SG_OK && worth(&tried) > worth(&best) + 1e-4)
            best = tried;
    }
    task->model.c = best.c;
    task->model.average_precision = best.area;
    return status;
}

/* Calibrate on the margins that rows drawn at random have by fits without them. */
static enum sg_status calibrate(struct task *task, struct sg_pool *pool, struct sg_error *err)
{
    size_t n = 0, n_positive = 0;
    for (size_t i = 0; i < task->n; i++) {
        n += task->category->examples[i].calibrates;
        n_positive += task->category->examples[i].calibrates && is_positive(task, i);
    }
    if (n_positive < SG_CALIBRATION_MIN || n - n_positive < SG_CALIBRATION_MIN)
        return SG_OK;
    enum sg_status status = make_folds(task, SIZE_MAX, err);
    if (status != SG_OK || task->n_folds == 0)
        return status;
    struct job jobs[MAX_FOLDS];
    memset(jobs, 0, sizeof jobs);
    for (int fold = 0; fold < task->n_folds; fold++)
        jobs[fold] = (struct job){.task = task, .fold = fold, .c = task->model.c, .calibrates = true};
    struct sg_calibration_row *rows = malloc(n * sizeof *rows);
    if (!rows)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu calibration rows", n);
    status = run_jobs(pool, jobs, task->n_folds, err);
    size_t at = 0;
    for (size_t i = 0; i < task->n && status == SG_OK; i++) {
        const struct sg_screen_example *example = task->category->examples + i;
        if (example->calibrates)
            rows[at++] = (struct sg_calibration_row){task->margins[i], is_positive(task, i),
                                                     example->p_drawn > 0 ? 1 / example->p_drawn : 1};
    }
    if (status == SG_OK && sg_calibrate(rows, at, &task->model.slope, &task->model.intercept)) {
        task->model.n_calibration = n;
        task->model.n_calibration_positive = n_positive;
    }
    free(rows);
    return status;
}

/* --- a category --------------------------------------------------------------------------------------------------
 */

static void task_deinit(struct task *task)
{
    free(task->rows);
    free(task->repeats);
    free(task->folds);
    free(task->margins);
    free(task->weights);
    free(task->lexeme_weights);
}

/* Weights of examples as whole numbers of repeats: their ratio to the smallest weight. */
static void make_repeats(struct task *task)
{
    double lowest = INFINITY;
    for (size_t i = 0; i < task->n; i++) {
        double weight = task->category->examples[i].weight;
        lowest = fmin(lowest, weight > 0 ? weight : 1);
    }
    for (size_t i = 0; i < task->n; i++) {
        double weight = task->category->examples[i].weight;
        task->repeats[i] = (int)fmin(MAX_REPEATS, round((weight > 0 ? weight : 1) / lowest));
    }
    task->loss_unit = lowest;
}

static enum sg_status task_init(struct task *task, const struct sg_screen_category *category,
                                struct sg_corpus *corpus, const struct sg_screen_options *options,
                                struct sg_error *err)
{
    size_t n = category->n_examples;
    *task = (struct task){.category = category, .corpus = corpus, .options = options, .n = n};
    task->rows = malloc((n + 1) * sizeof *task->rows);
    task->repeats = malloc((n + 1) * sizeof *task->repeats);
    task->folds = malloc(n + 1);
    task->margins = malloc((n + 1) * sizeof *task->margins);
    task->weights = malloc((size_t)1 << corpus->bucket_bits);
    task->lexeme_weights = malloc(SG_VECTORS_MAX_WORDS);
    if (!task->rows || !task->repeats || !task->folds || !task->margins || !task->weights || !task->lexeme_weights) {
        task_deinit(task);
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu examples", n);
    }
    for (size_t i = 0; i < n; i++) {
        task->rows[i] = sg_corpus_row(corpus, category->examples + i);
        task->n_positive += is_positive(task, i);
        task->folds[i] = -1;
        task->margins[i] = NAN;
    }
    make_repeats(task);
    snprintf(task->model.name, sizeof task->model.name, "%s", category->name);
    task->model.n_examples = n;
    task->model.n_positive = task->n_positive;
    return SG_OK;
}

static void say(const struct sg_screen_options *options, const char *what, double done)
{
    if (options->progress)
        options->progress(options->progress_context, what, done);
}

static enum sg_status train_category(struct task *task, struct sg_pool *pool, struct sg_error *err)
{
    say(task->options, "choosing", 0);
    enum sg_status status = choose_c(task, pool, err);
    if (status == SG_OK) {
        say(task->options, "fitting", 0.5);
        status = fit(task, -1, false, task->model.c, &task->model, task->weights, task->lexeme_weights, err);
    }
    if (status == SG_OK) {
        say(task->options, "calibrating", 0.8);
        status = calibrate(task, pool, err);
    }
    return status;
}

/* --- all of them -------------------------------------------------------------------------------------------------
 */

static enum sg_status check_categories(const struct sg_screen_category *categories, size_t n, struct sg_error *err)
{
    if (n < 1 || n > SG_SCREEN_MAX_CATEGORIES)
        return sg_fail(err, SG_EINVALID, "screen: %zu categories, expected 1 to %d", n, SG_SCREEN_MAX_CATEGORIES);
    for (size_t c = 0; c < n; c++) {
        const struct sg_screen_category *category = categories + c;
        size_t positive = 0;
        for (size_t other = 0; other < c; other++)
            if (strcmp(categories[other].name, category->name) == 0)
                return sg_fail(err, SG_EINVALID, "screen: category %s is asked for twice", category->name);
        if (!category->name[0] || strlen(category->name) >= SG_SCREEN_MAX_NAME)
            return sg_fail(err, SG_EINVALID, "screen: category %zu: a name has 1 to %d bytes", c,
                           SG_SCREEN_MAX_NAME - 1);
        if (category->n_examples > SG_SCREEN_MAX_EXAMPLES)
            return sg_fail(err, SG_ELIMIT, "screen: %s: %zu examples, at most %d", category->name,
                           category->n_examples, SG_SCREEN_MAX_EXAMPLES);
        for (size_t i = 0; i < category->n_examples; i++) {
            const struct sg_screen_example *example = category->examples + i;
            if ((example->value != 0 && example->value != 1) || !(example->weight >= 0) || isinf(example->weight) ||
                !(example->p_drawn >= 0 && example->p_drawn <= 1))
                return sg_fail(err, SG_EINVALID,
                               "screen: %s: example %zu: value, weight or probability is out of range",
                               category->name, i);
            positive += example->value == 1;
        }
        if (positive == 0 || positive == category->n_examples)
            return sg_fail(err, SG_EINVALID,
                           "screen: %s has %zu violating and %zu other examples: at least one of each is needed",
                           category->name, positive, category->n_examples - positive);
    }
    return SG_OK;
}

/* Every group and every text of every category, for sg_screen_learnt_from: a row may get another group later. */
static enum sg_status note_groups(const struct sg_screen_category *categories, size_t n,
                                  const struct sg_corpus *corpus, int *bits_out, uint8_t **filter_out,
                                  struct sg_error *err)
{
    *bits_out = sg_learnt_bits(2 * corpus->n_texts);
    *filter_out = calloc(((size_t)1 << *bits_out) / 8, 1);
    if (!*filter_out)
        return sg_fail(err, SG_ENOMEM, "out of memory for the groups of %zu texts", corpus->n_texts);
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0; i < categories[c].n_examples; i++) {
            const struct sg_screen_example *example = categories[c].examples + i;
            char sha256[SG_SHA256_HEX];
            sg_sha256(example->text, example->text_len, sha256);
            sg_learnt_add(*filter_out, *bits_out, sg_screen_group_hash(sha256));
            if (example->group)
                sg_learnt_add(*filter_out, *bits_out, example->group);
        }
    return SG_OK;
}

enum sg_status sg_screen_train(const struct sg_screen_category *categories, size_t n_categories,
                               const struct sg_screen_options *options, struct sg_screen **screen_out,
                               struct sg_error *err)
{
    struct sg_corpus corpus = {0};
    struct sg_pool *pool = NULL;
    struct task tasks[SG_SCREEN_MAX_CATEGORIES];
    struct sg_screen_model models[SG_SCREEN_MAX_CATEGORIES];
    const int8_t *weights[SG_SCREEN_MAX_CATEGORIES], *lexeme_weights[SG_SCREEN_MAX_CATEGORIES];
    uint8_t *learnt = NULL;
    int learnt_bits = 0;
    struct sg_screen_category texts[SG_SCREEN_MAX_CATEGORIES + 1]; /* of all categories, and those without labels */
    double vector_scale = options->vector_scale > 0 ? options->vector_scale : DEFAULT_SCALE;
    double prior_scale = options->no_prior ? 0 : PRIOR_SCALE;
    size_t n = 0;
    *screen_out = NULL;
    enum sg_status status = check_categories(categories, n_categories, err);
    for (size_t c = 0; status == SG_OK && c < n_categories; c++)
        texts[c] = categories[c];
    if (status == SG_OK)
        texts[n_categories] = (struct sg_screen_category){NULL, options->background, options->n_background};
    if (status == SG_OK)
        status = sg_pool_create(options->threads, &pool, err);
    if (status == SG_OK) {
        say(options, "reading", 0);
        status = sg_corpus_create(texts, n_categories + 1, vector_scale, prior_scale, &corpus, err);
    }
    while (status == SG_OK && n < n_categories) {
        status = task_init(tasks + n, categories + n, &corpus, options, err);
        if (status != SG_OK)
            break;
        n++;
        status = train_category(tasks + n - 1, pool, err);
        models[n - 1] = tasks[n - 1].model;
        models[n - 1].vector_scale = vector_scale;
        models[n - 1].prior_scale = prior_scale;
        weights[n - 1] = tasks[n - 1].weights;
        lexeme_weights[n - 1] = tasks[n - 1].lexeme_weights;
    }
    if (status == SG_OK)
        status = note_groups(texts, n_categories + 1, &corpus, &learnt_bits, &learnt, err);
    if (status == SG_OK) {
        const struct sg_screen_parts parts = {
            .bucket_bits = corpus.bucket_bits,
            .unseen_share = corpus.unseen_share,
            .n_texts = corpus.n_texts,
            .policy_sha256 = options->policy_sha256,
            .idf = corpus.idf,
            .lexeme_idf = corpus.lexeme_idf,
            .seen = corpus.seen,
            .learnt_bits = learnt_bits,
            .learnt = learnt,
            .models = models,
            .weights = weights,
            .lexeme_weights = lexeme_weights,
            .n_categories = n_categories,
        };
        status = sg_screen_assemble(&parts, screen_out, err);
    }
    while (n > 0)
        task_deinit(tasks + --n);
    free(learnt);
    sg_corpus_destroy(&corpus);
    sg_pool_destroy(pool);
    return status;
}
