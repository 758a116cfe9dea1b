/* Readings of a text: what it says when tricks of writing are undone.
 *
 * The raw text is never replaced. The folded reading is NFKC case-fold without default-ignorable characters and bidi
 * controls, without marks that only decorate, and with look-alikes of ASCII turned to ASCII; extra readings exist
 * only where there is a reason for one (leet, letter spacing, smuggled text). Tables are generated from Unicode 16
 * data (tools/gen_normalise.py) and not taken from a system library, because a certificate must mean the same on
 * every machine. What is a signal and what is evasive: docs/normaliser.md. */
#ifndef SG_TEXT_NORMALISE_H
#define SG_TEXT_NORMALISE_H

#include "base/buffer.h"
#include "safeguard/screen.h"

#include <stdint.h>

/* Changes whenever any output below changes: part of every screen's and certificate's key. */
#define SG_NORMALISER_VERSION "1"

enum sg_reading { SG_READING_FOLDED, SG_READING_LEET, SG_READING_SPACING, SG_READING_SMUGGLED, SG_N_READINGS };
const char *sg_reading_name(enum sg_reading reading);

struct sg_normal_work;

/* Result and working memory in one: zero-initialise, use for many texts, deinit. */
struct sg_normal {
    struct sg_buffer readings[SG_N_READINGS]; /* UTF-8; len 0 where a reading does not exist */
    /* Where byte i of a reading comes from in the raw text: the first byte of its character there. Only when offsets
     * were asked for. */
    uint32_t *offsets[SG_N_READINGS];
    unsigned signals; /* enum sg_signal bits */
    bool evasive;     /* ordinary writing does not look like this */
    struct sg_normal_work *work;
};

#define SG_NORMALISE_MAX_BYTES UINT32_MAX

/* `text` is UTF-8 (invalid bytes count as U+FFFD). Fast path for ASCII. SG_ENOMEM, and SG_ELIMIT beyond
 * SG_NORMALISE_MAX_BYTES: then no reading exists. */
SG_MUST_CHECK enum sg_status sg_normalise(struct sg_slice text, bool want_offsets, struct sg_normal *normal,
                                          struct sg_error *err);
void sg_normal_deinit(struct sg_normal *normal);

#endif
