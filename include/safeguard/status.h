/* Status codes and error text.
 *
 * Every call that can fail returns `enum sg_status` and takes `struct sg_error *err` last (may be NULL).
 * On failure the error holds the code, where known the byte position in the input, and one line that says
 * what, where, got and expected. It never holds content under review. On success it is left untouched. */
#ifndef SAFEGUARD_STATUS_H
#define SAFEGUARD_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SG_MUST_CHECK __attribute__((warn_unused_result))

/* X(symbol, name, meaning) */
#define SG_STATUS_LIST(X)                                                                                            \
    X(SG_OK, "ok", "success")                                                                                        \
    X(SG_ENOMEM, "no_memory", "an allocation failed")                                                                \
    X(SG_EIO, "io", "reading or writing a file or socket failed")                                                    \
    X(SG_ENOTFOUND, "not_found", "a named thing does not exist")                                                     \
    X(SG_EFORMAT, "format", "an input does not follow its format")                                                   \
    X(SG_EUNSUPPORTED, "unsupported", "a valid input asks for something this version does not do")                   \
    X(SG_EINVALID, "invalid", "an argument or option is out of its range")                                           \
    X(SG_ELIMIT, "limit", "an input is larger than its named maximum")                                               \
    X(SG_EFULL, "full", "the queue is full; try again later")                                                        \
    X(SG_ECANCELLED, "cancelled", "the request was cancelled")                                                       \
    X(SG_EDEADLINE, "deadline", "the deadline passed before an answer")                                              \
    X(SG_ECHECKSUM, "checksum", "bytes differ from their checksum")                                                  \
    X(SG_EUNAVAILABLE, "unavailable", "a service could not be reached")                                              \
    X(SG_EINTERNAL, "internal", "a promise inside the program was broken")

enum sg_status {
#define SG_STATUS_ENUM(symbol, name, meaning) symbol,
    SG_STATUS_LIST(SG_STATUS_ENUM)
#undef SG_STATUS_ENUM
        SG_STATUS_COUNT
};

#define SG_ERROR_TEXT_MAX 768

struct sg_error {
    enum sg_status code;
    uint64_t position; /* byte position in the input, 0 where it means nothing */
    char text[SG_ERROR_TEXT_MAX];
};

/* Short lower-case name ("format"), "unknown" for a value outside the list. */
const char *sg_status_name(enum sg_status status);

/* Fill `err` (may be NULL) and return `code`, so that a failing line reads
 * `return sg_fail(err, SG_EFORMAT, "gguf %s: magic is %08x, expected GGUF", path, magic);`
 * Text beyond SG_ERROR_TEXT_MAX - 1 bytes ends in "...". */
enum sg_status sg_fail(struct sg_error *err, enum sg_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with a byte position. */
enum sg_status sg_fail_at(struct sg_error *err, enum sg_status code, uint64_t position, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "<context>: " in front of an error's text, for callers that know more ("line 12", the file's name). */
enum sg_status sg_fail_in(struct sg_error *err, enum sg_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
