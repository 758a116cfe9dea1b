#include "guard/learn.h"

#include "base/file.h"
#include "guard/draw.h"
#include "labels/cluster.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define RESERVE 0.10       /* of the groups kept for proofs: never drawn to learn from */
#define RESERVE_MARGIN 1.3 /* over what the audits need, where that is more */
#define RESERVE_MOST 0.9
#define RANK_SCALE 0.5       /* of a round's size: 1 was a little worse on both sets that were tried */
#define MOST 0.95            /* no row is drawn for certain, or later rounds could not stand for it */
#define MAX_BACKGROUND 20000 /* texts without labels over which words are counted */
#define ROUND_C 10.0         /* of the fits between rounds: the final one chooses */
#define MAX_WHO 256
#define MAX_WORKERS 1024
#define MAX_FAILED_IN_A_ROW 20

enum how { NOT_DRAWN, BY_CHANCE, BY_UNCERTAINTY, FOR_AUDIT };
static const char *const how_names[] = {NULL, "uniform", "uncertainty", "audit"};

struct row {
    const char *id;
    const struct sg_content *content;
    const char *text; /* as a screen reads it */
    size_t text_len;
    char sha256[SG_SHA256_HEX];
    uint64_t key, group_key; /* for drawing; for cross-validation, sg_screen_group_hash */
    uint32_t group_row;      /* first row of its group */
    bool grouped, reserved, known;
    bool teaches; /* a known row: may it be learnt from? */
    enum how how;
    double q, p, unseen; /* chance in its round; that times unseen; chance that no round so far drew it */
    int round;
    bool asked, answered, kept;
    int value;
};

struct sg_learn {
    struct sg_learn_options options;
    struct row *rows;
    size_t n_rows, n_copies;
    struct sg_labels *labels; /* NULL: the file is not there yet */
    size_t *audit;            /* rows set aside, in the order in which they are audited */
    size_t n_reserved, n_audit, n_audited;
    double audit_p, share_sum, share_weight;
    struct sg_learn_report report;
    struct sg_label_writer *writer;
    /* one round's questions */
    size_t *asks, n_asks, next_ask, failed_in_a_row;
    pthread_mutex_t mutex;
    enum sg_status status;
    struct sg_error err;
};

static bool interrupted(const struct sg_learn *learn)
{
    return learn->options.interrupted && *learn->options.interrupted;
}

static const char *group_of(const struct sg_learn *learn, const struct row *row)
{
    return learn->rows[row->group_row].sha256;
}

/* --- the corpus ------------------------------------------------------------------------------------------------ */

struct by_hash {
    const struct row *row;
    size_t index;
};

static int compare_hashes(const void *a, const void *b)
{
    const struct by_hash *x = a, *y = b;
    int order = memcmp(x->row->sha256, y->row->sha256, SG_SHA256_HEX);
    return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

/* Of rows with one content the first stays. */
static enum sg_status drop_copies(struct sg_learn *learn, struct sg_error *err)
{
    size_t n = learn->n_rows, kept = 0;
    struct by_hash *order = malloc((n ? n : 1) * sizeof *order);
    bool *copy = calloc(n ? n : 1, sizeof *copy);
    if (!order || !copy) {
        free(order);
        free(copy);
        return sg_fail(err, SG_ENOMEM, "out of memory for a corpus of %zu rows", n);
    }
    for (size_t i = 0; i < n; i++)
        order[i] = (struct by_hash){learn->rows + i, i};
    qsort(order, n, sizeof *order, compare_hashes);
    for (size_t i = 1; i < n; i++)
        copy[order[i].index] = strcmp(order[i].row->sha256, order[i - 1].row->sha256) == 0;
    for (size_t i = 0; i < n; i++)
        if (!copy[i])
            learn->rows[kept++] = learn->rows[i];
    learn->n_copies = n - kept;
    learn->n_rows = kept;
    free(order);
    free(copy);
    return SG_OK;
}

/* Near-duplicates are one group: they stand on one side of every split. */
static enum sg_status find_groups(struct sg_learn *learn, struct sg_error *err)
{
    struct sg_cluster *cluster;
    enum sg_status status = sg_cluster_create(&cluster, err);
    for (size_t i = 0; status == SG_OK && i < learn->n_rows; i++)
        status = sg_cluster_add(cluster, (struct sg_slice){learn->rows[i].text, learn->rows[i].text_len}, err);
    if (status == SG_OK)
        status = sg_cluster_run(cluster, err);
    for (size_t i = 0; status == SG_OK && i < learn->n_rows; i++) {
        struct row *row = learn->rows + i;
        row->group_row = sg_cluster_first(cluster, (uint32_t)i);
        row->grouped = row->group_row != i;
        learn->rows[row->group_row].grouped |= row->grouped;
    }
    for (size_t i = 0; status == SG_OK && i < learn->n_rows; i++)
        learn->rows[i].group_key = sg_screen_group_hash(group_of(learn, learn->rows + i));
    sg_cluster_destroy(cluster);
    return status;
}

static enum sg_status take_rows(struct sg_learn *learn, const struct sg_learn_row *rows, size_t n,
                                struct sg_error *err)
{
    learn->rows = calloc(n ? n : 1, sizeof *learn->rows);
    if (!learn->rows)
        return sg_fail(err, SG_ENOMEM, "out of memory for a corpus of %zu rows", n);
    learn->n_rows = n;
    for (size_t i = 0; i < n; i++) {
        struct row *row = learn->rows + i;
        size_t len, first, judged;
        row->id = rows[i].id;
        row->content = rows[i].content;
        const char *text = sg_content_text(row->content, &len);
        sg_sha256(text, len, row->sha256);
        row->text = sg_content_plain(row->content, &row->text_len, &first, &judged);
        char half[17] = "";
        memcpy(half, row->sha256, 16);
        row->key = strtoull(half, NULL, 16);
        row->unseen = 1;
        row->value = SG_LABEL_UNKNOWN;
    }
    enum sg_status status = drop_copies(learn, err);
    return status == SG_OK ? find_groups(learn, err) : status;
}

/* --- what is known before -------------------------------------------------------------------------------------- */

static enum sg_status read_labels(struct sg_learn *learn, struct sg_error *err)
{
    struct sg_error why;
    enum sg_status status =
        sg_labels_open(&learn->options.labels_path, 1, sg_policy_sha256(learn->options.policy), &learn->labels, &why);
    if (status == SG_ENOTFOUND)
        return SG_OK; /* the first run: nothing is known */
    if (status != SG_OK) {
        if (err)
            *err = why;
        return status;
    }
    for (size_t i = 0; i < learn->n_rows; i++) {
        struct row *row = learn->rows + i;
        size_t at;
        if (!sg_labels_find(learn->labels, row->sha256, &at))
            continue;
        const struct sg_labelled *item = sg_labels_at(learn->labels, at);
        if (item->source == SG_TRUTH_PERSON || item->disputed) {
            row->known = true;
            row->value = item->violation;
            row->teaches = item->violation != SG_LABEL_UNKNOWN && !sg_labelled_is_kept(item);
            learn->report.n_known++;
        }
    }
    return SG_OK;
}

/* What the label file has of a reasoner on this row. */
static bool was_asked(const struct sg_learn *learn, const struct row *row, int *value_out)
{
    size_t at;
    struct sg_said said[8];
    if (!learn->labels || !sg_labels_find(learn->labels, row->sha256, &at))
        return false;
    size_t n = sg_labels_said(learn->labels, at, said, sizeof said / sizeof *said);
    bool found = false;
    for (size_t i = 0; i < n && i < sizeof said / sizeof *said; i++)
        found = found || said[i].role == SG_ROLE_REASONER;
    *value_out = sg_labels_at(learn->labels, at)->reasoner_violation;
    return found;
}

/* --- audits ---------------------------------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] < y[0] ? -1 : 1) : x[1] < y[1] ? -1 : x[1] > y[1];
}

/* Whole groups are set aside by a hash of the group, so that each has the same chance whatever its size; then their
 * rows are put into a random order, of which the first ones are audited. */
static enum sg_status set_aside(struct sg_learn *learn, struct sg_error *err)
{
    size_t n_proof = 0, n = 0;
    for (size_t i = 0; i < learn->n_rows; i++)
        n_proof += sg_split_of_group(group_of(learn, learn->rows + i)) == SG_SPLIT_CERTIFY;
    size_t wanted = (size_t)llround(learn->options.audit * (double)learn->options.budget);
    if (wanted == 0 || n_proof == 0)
        return SG_OK;
    double share = fmax(RESERVE, RESERVE_MARGIN * (double)wanted / (double)n_proof);
    share = fmin(share, RESERVE_MOST);
    uint64_t(*order)[2] = malloc(n_proof * sizeof *order);
    learn->audit = malloc(n_proof * sizeof *learn->audit);
    if (!order || !learn->audit) {
        free(order);
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu rows", n_proof);
    }
    for (size_t i = 0; i < learn->n_rows; i++) {
        struct row *row = learn->rows + i;
        if (sg_split_of_group(group_of(learn, row)) != SG_SPLIT_CERTIFY || row->known)
            continue;
        double u = (double)(sg_draw_mix(learn->options.seed ^ 0xA0D17, row->group_key) >> 11) * 0x1p-53;
        row->reserved = u < share;
        if (row->reserved) {
            order[n][0] = sg_draw_mix(learn->options.seed, row->key);
            order[n++][1] = i;
        }
    }
    qsort(order, n, sizeof *order, compare_places);
    for (size_t i = 0; i < n; i++)
        learn->audit[i] = order[i][1];
    free(order);
    learn->n_reserved = n;
    learn->n_audit = wanted < n ? wanted : n;
    learn->audit_p = n ? share * (double)learn->n_audit / (double)n : 0;
    return SG_OK;
}

/* --- asking ---------------------------------------------------------------------------------------------------- */

static void count_answer(struct sg_learn *learn, const struct row *row)
{
    struct sg_learn_report *report = &learn->report;
    report->n_asked++;
    report->n_kept += row->kept;
    report->n_violating += row->value == 1;
    report->n_harmless += row->value == 0;
    report->n_undecided += row->value == SG_LABEL_UNKNOWN;
    if (row->how == FOR_AUDIT) {
        report->n_audit++;
        report->n_audit_violating += row->value == 1;
    }
    if (learn->options.on_answer)
        learn->options.on_answer(learn->options.context, report);
}

/* The verdict's categories as label values: its flags, else the one it cites. */
static size_t categories_of(const struct sg_verdict *verdict, struct sg_label_value *values, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < verdict->n_flags && n < max; i++)
        if (verdict->flags[i].value >= 0)
            values[n++] = (struct sg_label_value){verdict->flags[i].name, verdict->flags[i].value};
    if (n == 0 && max > 0 && verdict->decision == SG_VIOLATES && verdict->category && verdict->category[0])
        values[n++] = (struct sg_label_value){verdict->category, 1};
    return n;
}

static enum sg_status write_label(struct sg_learn *learn, const struct row *row, const struct sg_verdict *verdict,
                                  struct sg_error *err)
{
    struct sg_label_value values[SG_LABEL_MAX_CATEGORIES];
    char who[MAX_WHO];
    size_t len;
    const char *text = sg_content_text(row->content, &len);
    snprintf(who, sizeof who, "reasoner:%s", verdict->model_name ? verdict->model_name : "unnamed");
    struct sg_label_line line = {
        .content_sha256 = row->sha256,
        .text = learn->options.no_text ? NULL : text,
        .text_len = learn->options.no_text ? 0 : len,
        .id = row->id,
        .violation = row->value,
        .categories = values,
        .n_categories = categories_of(verdict, values, SG_LABEL_MAX_CATEGORIES),
        .policy_sha256 = sg_policy_sha256(learn->options.policy),
        .who = who,
        .role = SG_ROLE_REASONER,
        .time = time(NULL),
        .drawn = how_names[row->how],
        .p_drawn = row->p,
        .group = row->grouped ? group_of(learn, row) : NULL,
    };
    return sg_label_writer_add(learn->writer, &line, err);
}

/* Errors that every further row would meet as well. */
static bool is_fatal(enum sg_status status)
{
    return status == SG_ELIMIT || status == SG_ENOTFOUND || status == SG_EUNAVAILABLE || status == SG_ENOMEM ||
           status == SG_ECANCELLED;
}

/* An answer has come, or an error of this row: into the label file, under the lock. A row that cannot be judged
 * counts as asked and undecided, so that no later run asks for it again; what was cancelled was not answered. */
static enum sg_status take_answer(struct sg_learn *learn, struct row *row, enum sg_status judged,
                                  const struct sg_verdict *verdict, struct sg_error *err)
{
    if (interrupted(learn))
        return sg_fail(err, SG_ECANCELLED, "interrupted");
    if (is_fatal(judged))
        return judged;
    learn->failed_in_a_row = judged == SG_OK ? 0 : learn->failed_in_a_row + 1;
    learn->report.n_failed += judged != SG_OK;
    if (learn->failed_in_a_row > MAX_FAILED_IN_A_ROW)
        return judged;
    row->value =
        judged != SG_OK || verdict->decision == SG_UNDECIDED ? SG_LABEL_UNKNOWN : verdict->decision == SG_VIOLATES;
    row->answered = true;
    enum sg_status status = write_label(learn, row, verdict, err);
    if (status == SG_OK)
        count_answer(learn, row);
    return status;
}

static void *work(void *argument)
{
    struct sg_learn *learn = argument;
    pthread_mutex_lock(&learn->mutex);
    while (learn->status == SG_OK && learn->next_ask < learn->n_asks) {
        struct row *row = learn->rows + learn->asks[learn->next_ask++];
        struct sg_verdict verdict;
        struct sg_error err = {0};
        pthread_mutex_unlock(&learn->mutex);
        sg_verdict_init(&verdict);
        enum sg_status judged = sg_reasoner_check(learn->options.reasoner, learn->options.policy, row->content,
                                                  learn->options.check, NULL, NULL, &verdict, &err);
        pthread_mutex_lock(&learn->mutex);
        enum sg_status status = take_answer(learn, row, judged, &verdict, &err);
        if (status != SG_OK && learn->status == SG_OK) {
            learn->status = status;
            learn->err = err;
        }
        sg_verdict_deinit(&verdict);
    }
    pthread_mutex_unlock(&learn->mutex);
    return NULL;
}

/* Ask for learn->asks, as many at a time as the reasoner takes. */
static enum sg_status ask(struct sg_learn *learn, struct sg_error *err)
{
    pthread_t workers[MAX_WORKERS];
    size_t n = 0, most = (size_t)sg_reasoner_in_flight(learn->options.reasoner);
    if (most > MAX_WORKERS)
        most = MAX_WORKERS;
    learn->next_ask = 0;
    while (n < most && n < learn->n_asks && pthread_create(&workers[n], NULL, work, learn) == 0)
        n++;
    if (n == 0 && learn->n_asks > 0)
        return sg_fail(err, SG_ENOMEM, "cannot start a thread");
    for (size_t i = 0; i < n; i++)
        pthread_join(workers[i], NULL);
    if (learn->status != SG_OK && err)
        *err = learn->err;
    return learn->status;
}

/* Rows of a draw: what the label file answers is taken from it, the rest is asked. */
static enum sg_status answer(struct sg_learn *learn, const size_t *chosen, size_t n, struct sg_error *err)
{
    learn->asks = malloc((n ? n : 1) * sizeof *learn->asks);
    learn->n_asks = 0;
    if (!learn->asks)
        return sg_fail(err, SG_ENOMEM, "out of memory for a round of %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        struct row *row = learn->rows + chosen[i];
        row->kept = was_asked(learn, row, &row->value);
        row->answered = row->kept;
        if (row->kept)
            count_answer(learn, row);
        else
            learn->asks[learn->n_asks++] = chosen[i];
    }
    enum sg_status status = ask(learn, err);
    free(learn->asks);
    learn->asks = NULL;
    return status;
}

/* --- training -------------------------------------------------------------------------------------------------- */

static bool teaches(const struct row *row)
{
    return row->value != SG_LABEL_UNKNOWN &&
           ((row->answered && row->how != FOR_AUDIT && row->how != NOT_DRAWN) || (row->known && row->teaches));
}

static struct sg_screen_example example_of(const struct row *row, bool calibrates)
{
    return (struct sg_screen_example){
        .text = row->text,
        .text_len = row->text_len,
        .value = row->value,
        .weight = 1,
        .calibrates = calibrates && row->how != NOT_DRAWN,
        .p_drawn = row->how != NOT_DRAWN ? row->p : 0,
        .group = row->group_key,
    };
}

/* Labels of the file that belong to no drawn row: of people from the start, of a reasoner in the final fit (answers
 * to other options, or of an earlier policy of drawing). */
static bool is_extra(const struct sg_labelled *item, bool final)
{
    if (!item->text || item->violation == SG_LABEL_UNKNOWN || sg_labelled_is_kept(item))
        return false;
    return item->source == SG_TRUTH_PERSON || final;
}

static enum sg_status collect(const struct sg_learn *learn, bool final, struct sg_screen_example **examples_out,
                              size_t *n_out, struct sg_error *err)
{
    size_t n = 0, n_labels = learn->labels ? sg_labels_count(learn->labels) : 0;
    struct sg_screen_example *examples = malloc((learn->n_rows + n_labels + 1) * sizeof *examples);
    char *mine = calloc(n_labels + 1, 1); /* items of the label file that are rows of the corpus, drawn or known */
    *examples_out = examples;
    if (!examples || !mine) {
        free(mine);
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu labels", learn->n_rows + n_labels);
    }
    for (size_t i = 0; i < learn->n_rows; i++) {
        const struct row *row = learn->rows + i;
        size_t at;
        if (teaches(row))
            examples[n++] = example_of(row, final);
        bool spoken_for = row->how != NOT_DRAWN || row->known || row->reserved;
        if (spoken_for && n_labels && sg_labels_find(learn->labels, row->sha256, &at))
            mine[at] = 1;
    }
    for (size_t i = 0; i < n_labels; i++) {
        const struct sg_labelled *item = sg_labels_at(learn->labels, i);
        if (!mine[i] && is_extra(item, final))
            examples[n++] = (struct sg_screen_example){
                .text = item->text,
                .text_len = item->text_len,
                .value = item->violation,
                .weight = 1,
                .group = sg_screen_group_hash(item->group),
            };
    }
    free(mine);
    *n_out = n;
    return SG_OK;
}

/* Rows without labels whose words are counted, in the order of the corpus. Those of the half that is kept for proofs
 * are not looked at, or a proof on them would be about texts that the screen has met. */
static enum sg_status collect_background(const struct sg_learn *learn, struct sg_screen_example **background_out,
                                         size_t *n_out, struct sg_error *err)
{
    size_t most = learn->n_rows < MAX_BACKGROUND ? learn->n_rows : MAX_BACKGROUND, n = 0;
    struct sg_screen_example *background = malloc((most ? most : 1) * sizeof *background);
    *background_out = background;
    if (!background)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu texts", most);
    for (size_t i = 0; i < learn->n_rows && n < most; i++)
        if (sg_split_of_group(group_of(learn, learn->rows + i)) == SG_SPLIT_TRAIN)
            background[n++] = example_of(learn->rows + i, false);
    *n_out = n;
    return SG_OK;
}

/* *screen_out stays NULL, without an error, where one class has fewer than two examples. */
static enum sg_status train(const struct sg_learn *learn, bool final, struct sg_screen **screen_out,
                            struct sg_error *err)
{
    struct sg_screen_example *examples = NULL, *background = NULL;
    size_t n = 0, n_violating = 0, n_background = 0;
    *screen_out = NULL;
    enum sg_status status = collect(learn, final, &examples, &n, err);
    if (status == SG_OK)
        status = collect_background(learn, &background, &n_background, err);
    for (size_t i = 0; status == SG_OK && i < n; i++)
        n_violating += examples[i].value == 1;
    if (status == SG_OK && n_violating >= 2 && n - n_violating >= 2) {
        struct sg_screen_category category = {"any", examples, n};
        struct sg_screen_options options = {
            .policy_sha256 = sg_policy_sha256(learn->options.policy),
            .c = final ? learn->options.c : ROUND_C,
            .background = background,
            .n_background = n_background,
            .threads = learn->options.threads,
            .seed = learn->options.seed,
        };
        status = sg_screen_train(&category, 1, &options, screen_out, err);
    }
    free(examples);
    free(background);
    return status;
}

/* --- rounds ---------------------------------------------------------------------------------------------------- */

struct pool {
    size_t *rows;
    double *distances, *weights, *p;
    uint64_t *keys, (*order)[2];
    size_t n, *chosen;
};

static void pool_free(struct pool *pool)
{
    free(pool->rows);
    free(pool->distances);
    free(pool->weights);
    free(pool->p);
    free(pool->keys);
    free(pool->order);
    free(pool->chosen);
}

static enum sg_status pool_fill(const struct sg_learn *learn, struct pool *pool, struct sg_error *err)
{
    size_t n = learn->n_rows + 1;
    *pool = (struct pool){.rows = malloc(n * sizeof *pool->rows),
                          .distances = malloc(n * sizeof *pool->distances),
                          .weights = malloc(n * sizeof *pool->weights),
                          .p = malloc(n * sizeof *pool->p),
                          .keys = malloc(n * sizeof *pool->keys),
                          .order = malloc(n * sizeof *pool->order),
                          .chosen = malloc(n * sizeof *pool->chosen)};
    if (!pool->rows || !pool->distances || !pool->weights || !pool->p || !pool->keys || !pool->order || !pool->chosen)
        return sg_fail(err, SG_ENOMEM, "out of memory for drawing from %zu rows", n);
    for (size_t i = 0; i < learn->n_rows; i++) {
        const struct row *row = learn->rows + i;
        if (row->how != NOT_DRAWN || row->known || row->reserved)
            continue;
        pool->keys[pool->n] = row->key;
        pool->weights[pool->n] = 1;
        pool->rows[pool->n++] = i;
    }
    return SG_OK;
}

/* Weights by rank of the distance from the decision. A rank depends on no scale: a young screen's margins are all
 * small. */
static enum sg_status weigh(const struct sg_learn *learn, const struct sg_screen *screen, size_t size,
                            struct pool *pool, struct sg_error *err)
{
    struct sg_screen_scratch *scratch;
    enum sg_status status = sg_screen_scratch_create(&scratch, err);
    for (size_t i = 0; status == SG_OK && i < pool->n; i++) {
        const struct row *row = learn->rows + pool->rows[i];
        struct sg_screen_score score = {0};
        status = sg_screen_score(screen, 0, row->text, row->text_len, scratch, &score, err);
        pool->distances[i] = fabs(score.margin);
        if (interrupted(learn))
            status = sg_fail(err, SG_ECANCELLED, "interrupted");
    }
    sg_screen_scratch_destroy(scratch);
    for (size_t i = 0; i < pool->n; i++) {
        memcpy(&pool->order[i][0], &pool->distances[i], sizeof(double)); /* bits of doubles ≥ 0 rise with them */
        pool->order[i][1] = i;
    }
    qsort(pool->order, pool->n, sizeof *pool->order, compare_places);
    for (size_t rank = 0; rank < pool->n; rank++)
        pool->weights[pool->order[rank][1]] = exp(-(double)rank / (RANK_SCALE * (double)size));
    return status;
}

/* Draw at most `size` rows and note for each with what chance. */
static enum sg_status draw(struct sg_learn *learn, const struct sg_screen *screen, size_t size, struct pool *pool,
                           size_t *n_out, struct sg_error *err)
{
    size = size < pool->n ? size : pool->n;
    *n_out = 0;
    bool by_chance = !screen || learn->options.floor >= 1 || size == 0;
    enum sg_status status = by_chance ? SG_OK : weigh(learn, screen, size, pool, err);
    if (status != SG_OK)
        return status;
    double even = (double)size / (double)(pool->n ? pool->n : 1);
    sg_draw_probabilities(pool->weights, pool->n, size, learn->options.floor * even, fmax(MOST, even), pool->p);
    uint64_t seed = sg_draw_mix(learn->options.seed, (uint64_t)learn->report.round);
    status = sg_draw(pool->p, pool->keys, pool->n, size, seed, pool->chosen, n_out, err);
    if (*n_out > size)
        *n_out = size; /* rounding */
    for (size_t i = 0; i < *n_out; i++) {
        struct row *row = learn->rows + pool->rows[pool->chosen[i]];
        row->how = by_chance ? BY_CHANCE : BY_UNCERTAINTY;
        row->round = learn->report.round;
        row->q = pool->p[pool->chosen[i]];
        row->p = row->q * row->unseen;
    }
    for (size_t i = 0; i < pool->n; i++)
        learn->rows[pool->rows[i]].unseen *= 1 - pool->p[i];
    for (size_t i = 0; i < *n_out; i++)
        pool->chosen[i] = pool->rows[pool->chosen[i]];
    return status;
}

static enum sg_status audit(struct sg_learn *learn, struct sg_error *err)
{
    for (size_t i = 0; i < learn->n_audit; i++) {
        struct row *row = learn->rows + learn->audit[i];
        row->how = FOR_AUDIT;
        row->p = learn->audit_p;
    }
    return answer(learn, learn->audit, learn->n_audit, err);
}

/* After each round: what was known before it, and the round's rows weighted for those that it was drawn from. Each
 * round gives an estimate; their mean counts each by the rows that it rests on. */
static void estimate_share(struct sg_learn *learn)
{
    double known = 0, known_violating = 0, weight = 0, violating = 0, n_pool = 0, n_round = 0;
    for (size_t i = 0; i < learn->n_rows; i++) {
        const struct row *row = learn->rows + i;
        bool in_round = row->round == learn->report.round;
        bool before = !in_round && (row->how != NOT_DRAWN || row->known);
        n_pool += !before;
        if (row->value == SG_LABEL_UNKNOWN)
            continue;
        known += before;
        known_violating += before && row->value == 1;
        n_round += in_round;
        weight += in_round ? 1 / row->q : 0;
        violating += in_round && row->value == 1 ? 1 / row->q : 0;
    }
    if (!(weight > 0))
        return;
    double share = (known_violating + n_pool * violating / weight) / (known + n_pool);
    learn->share_sum += share * (known + n_round);
    learn->share_weight += known + n_round;
    learn->report.violating_share = learn->share_sum / learn->share_weight;
}

static void tell_round(struct sg_learn *learn, const struct sg_screen *screen, bool final)
{
    learn->report.screen = screen;
    learn->report.final = final;
    if (learn->options.on_round)
        learn->options.on_round(learn->options.context, &learn->report);
    learn->report.screen = NULL;
}

/* *done_out: the budget is used up, or there is nothing left to draw. */
static enum sg_status do_round(struct sg_learn *learn, struct sg_screen **screen, bool *done_out,
                               struct sg_error *err)
{
    struct pool pool;
    size_t left = learn->options.budget - learn->report.n_asked, n = 0;
    size_t size = learn->report.round == 1 ? learn->options.first : learn->options.batch;
    enum sg_status status = pool_fill(learn, &pool, err);
    if (status == SG_OK)
        status = draw(learn, *screen, size < left ? size : left, &pool, &n, err);
    *done_out = n == 0;
    if (status == SG_OK)
        status = answer(learn, pool.chosen, n, err);
    pool_free(&pool);
    if (status != SG_OK || n == 0)
        return status;
    estimate_share(learn);
    sg_screen_close(*screen);
    status = train(learn, false, screen, err);
    if (status == SG_OK)
        tell_round(learn, *screen, false);
    return status;
}

enum sg_status sg_learn_run(struct sg_learn *learn, struct sg_screen **screen_out, struct sg_error *err)
{
    struct sg_screen *screen = NULL;
    bool done = false;
    *screen_out = NULL;
    enum sg_status status = sg_label_writer_open(learn->options.labels_path, &learn->writer, err);
    if (status == SG_OK)
        status = audit(learn, err);
    if (status == SG_OK)
        status = train(learn, false, &screen, err); /* from people's labels, where there are any */
    while (status == SG_OK && !done && learn->report.n_asked < learn->options.budget) {
        learn->report.round++;
        status = do_round(learn, &screen, &done, err);
    }
    sg_screen_close(screen);
    struct sg_error closing;
    enum sg_status closed = sg_label_writer_close(learn->writer, &closing);
    learn->writer = NULL;
    if (status == SG_OK && closed != SG_OK) {
        if (err)
            *err = closing;
        status = closed;
    }
    if (status == SG_OK)
        status = train(learn, true, screen_out, err);
    if (status == SG_OK && !*screen_out)
        status = sg_fail(err, SG_ENOTFOUND,
                         "nothing to tell apart: of %zu answers %zu violate and %zu do not, at least 2 of each are "
                         "needed; the labels are kept, a larger --budget goes on",
                         learn->report.n_asked, learn->report.n_violating, learn->report.n_harmless);
    if (status == SG_OK)
        tell_round(learn, *screen_out, true);
    return status;
}

/* --- beginning and end ----------------------------------------------------------------------------------------- */

static enum sg_status check_options(const struct sg_learn_options *options, size_t n_rows, struct sg_error *err)
{
    if (n_rows > SG_LEARN_MAX_ROWS)
        return sg_fail(err, SG_ELIMIT, "a corpus of %zu rows, at most %d", n_rows, SG_LEARN_MAX_ROWS);
    if (options->budget == 0 || options->first == 0 || options->batch == 0)
        return sg_fail(err, SG_EINVALID, "budget and rounds of at least one row are needed");
    if (!(options->audit >= 0 && options->audit <= 0.5))
        return sg_fail(err, SG_EINVALID, "audit share %g, expected 0 to 0.5", options->audit);
    if (!(options->floor >= 0.01 && options->floor <= 1))
        return sg_fail(err, SG_EINVALID, "floor %g, expected 0.01 to 1", options->floor);
    return SG_OK;
}

enum sg_status sg_learn_create(const struct sg_learn_options *options, const struct sg_learn_row *rows, size_t n_rows,
                               struct sg_learn **learn_out, struct sg_error *err)
{
    *learn_out = NULL;
    enum sg_status status = check_options(options, n_rows, err);
    if (status != SG_OK)
        return status;
    struct sg_learn *learn = calloc(1, sizeof *learn);
    if (!learn)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    learn->options = *options;
    learn->report.budget = options->budget;
    learn->report.violating_share = NAN;
    pthread_mutex_init(&learn->mutex, NULL);
    status = take_rows(learn, rows, n_rows, err);
    if (status == SG_OK)
        status = read_labels(learn, err);
    if (status == SG_OK)
        status = set_aside(learn, err);
    if (status != SG_OK) {
        sg_learn_destroy(learn);
        return status;
    }
    *learn_out = learn;
    return SG_OK;
}

void sg_learn_destroy(struct sg_learn *learn)
{
    if (!learn)
        return;
    sg_labels_close(learn->labels);
    pthread_mutex_destroy(&learn->mutex);
    free(learn->rows);
    free(learn->audit);
    free(learn);
}

size_t sg_learn_n_rows(const struct sg_learn *learn, size_t *n_copies_out)
{
    *n_copies_out = learn->n_copies;
    return learn->n_rows;
}

size_t sg_learn_n_audited(const struct sg_learn *learn)
{
    size_t n = 0;
    for (size_t i = 0; i < learn->n_audit; i++)
        n += learn->rows[learn->audit[i]].value != SG_LABEL_UNKNOWN;
    return n;
}

struct sg_screen_example sg_learn_audited(const struct sg_learn *learn, size_t i)
{
    for (size_t k = 0; k < learn->n_audit; k++) {
        const struct row *row = learn->rows + learn->audit[k];
        if (row->value != SG_LABEL_UNKNOWN && i-- == 0)
            return example_of(row, false);
    }
    return (struct sg_screen_example){0};
}
