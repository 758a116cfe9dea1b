/* Files: whole into memory with a named maximum, mapped read-only, or written so that a crash leaves the old
 * file or the new one. Also SHA-256, of bytes and of whole files. */
#ifndef SG_BASE_FILE_H
#define SG_BASE_FILE_H

#include "base/buffer.h"

#include <stdint.h>
#include <stdio.h>

/* Append the whole file to `out`. A file above `max_bytes` is SG_ELIMIT. "-" reads standard input. */
SG_MUST_CHECK enum sg_status sg_file_read(const char *path, size_t max_bytes, struct sg_buffer *out,
                                          struct sg_error *err);

/* A read-only private mapping of a whole file. Zeroed on failure. An empty file has size 0 and data NULL. */
struct sg_mapping {
    const unsigned char *data;
    size_t size;
};
SG_MUST_CHECK enum sg_status sg_mapping_open(const char *path, struct sg_mapping *mapping_out, struct sg_error *err);
void sg_mapping_close(struct sg_mapping *mapping);

/* Write to `path`.tmp-PID, fsync, rename over `path`. */
SG_MUST_CHECK enum sg_status sg_file_write_atomic(const char *path, const void *bytes, size_t len,
                                                  struct sg_error *err);

/* mkdir -p. */
SG_MUST_CHECK enum sg_status sg_mkdir_p(const char *path, struct sg_error *err);

#define SG_SHA256_HEX 65 /* 64 hexadecimal digits and a NUL */

void sg_sha256(const void *bytes, size_t len, char hex_out[SG_SHA256_HEX]);

/* Streaming SHA-256. sg_sha256_final frees the context. create returns NULL when memory is short. */
struct sg_sha256_stream;
struct sg_sha256_stream *sg_sha256_create(void);
void sg_sha256_update(struct sg_sha256_stream *stream, const void *bytes, size_t len);
void sg_sha256_final(struct sg_sha256_stream *stream, char hex_out[SG_SHA256_HEX]);

/* Folder for what can be made or fetched again: $SAFEGUARD_CACHE, else $XDG_CACHE_HOME/safeguard, else
 * $HOME/.cache/safeguard. Writes a C string to path_out; SG_ENOTFOUND when none of the variables is set. */
SG_MUST_CHECK enum sg_status sg_cache_folder(char *path_out, size_t path_size, struct sg_error *err);

#endif
