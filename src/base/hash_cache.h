/* SHA-256 of a set of large files, computed once and kept in the cache folder. */
#ifndef SG_BASE_HASH_CACHE_H
#define SG_BASE_HASH_CACHE_H

#include "base/file.h"

/* SHA-256 over the bytes of the files, one behind the other in the given order. The answer is kept under
 * hashes/ in the cache folder together with each file's real path, size and times (modified, changed) to the
 * nanosecond; it is computed again when any of these differs. A cache that cannot be read or written costs time,
 * nothing else. */
SG_MUST_CHECK enum sg_status sg_file_set_sha256(const char *const *paths, size_t n, char hex_out[SG_SHA256_HEX],
                                                struct sg_error *err);

#endif
