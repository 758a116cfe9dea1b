/* Any bytes as verdicts of a cheaper reasoner: an error that says so, or numbers that can be looked up. */
#include "guard/stage_verdicts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    struct sg_stage_verdicts *verdicts;
    struct sg_error err;
    if (file < 0) {
        file = memfd_create("verdicts", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size)
        abort();
    if (sg_stage_verdicts_open(path, &verdicts, &err) != SG_OK)
        return verdicts != NULL || err.text[0] == '\0' ? abort(), 0 : 0;
    if (sg_stage_model_name(verdicts) == NULL || sg_stage_model_sha256(verdicts) == NULL)
        abort();
    (void)sg_stage_p_violation(verdicts, "aa", "1");
    sg_stage_verdicts_close(verdicts);
    return 0;
}
