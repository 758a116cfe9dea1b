/* Margin → probability, on rows that were drawn at random. */
#ifndef SG_SCREEN_CALIBRATE_H
#define SG_SCREEN_CALIBRATE_H

#include <stdbool.h>
#include <stddef.h>

struct sg_calibration_row {
    double margin;
    bool violates;
    double weight; /* 1 / inclusion probability */
};

#define SG_CALIBRATION_MIN 10 /* rows of each class: fewer are no base for a probability */

/* Platt's sigmoid, 1 / (1 + exp(-(slope · margin + intercept))), by maximum likelihood. False when there are too few
 * rows or the fit has no slope above 0; then both are 0. */
bool sg_calibrate(const struct sg_calibration_row *rows, size_t n, double *slope_out, double *intercept_out);

#endif
