/* What a person sees: progress, the reasoning as it streams, the verdict, times. */
#ifndef SG_CLI_RENDER_H
#define SG_CLI_RENDER_H

#include "safeguard/reasoner.h"

#include <stdio.h>

/* Write text that a model or a stranger wrote. Control characters, escape sequences and characters that reorder
 * or hide text are shown as <U+001B> and never reach the terminal; bytes that are not UTF-8 as U+FFFD. Newlines
 * and tabs pass. */
void sg_put_safe(FILE *out, const char *text, size_t len);

struct sg_render {
    FILE *out;      /* reasoning and verdict */
    FILE *progress; /* lines that replace each other; NULL: none (not a terminal, or --quiet) */
    bool colour;    /* of `out` */
    bool reasoning; /* stream the reasoning */
    /* state of one check */
    double started, shown;
    bool progress_open, reasoning_open, line_open;
};

/* Standard output and error as they are: colours only on a terminal, without NO_COLOR and with a TERM that is
 * not "dumb". `quiet`: the verdict alone. */
void sg_render_init(struct sg_render *render, bool quiet);

/* A sg_stream_fn; `context` is the sg_render. */
void sg_render_stream(void *context, const struct sg_stream_event *event);
void sg_render_begin(struct sg_render *render);
/* End what is open on the terminal (a progress line, a line of reasoning). */
void sg_render_end(struct sg_render *render);
void sg_render_verdict(struct sg_render *render, const struct sg_policy *policy, const struct sg_verdict *verdict);

/* "12,345" and "1:02:03"; static buffers are not used: size ≥ 32. */
const char *sg_show_count(int64_t n, char *text, size_t size);
const char *sg_show_time(double seconds, char *text, size_t size);

/* Seconds of a clock that only goes forward. */
double sg_now(void);

#endif
