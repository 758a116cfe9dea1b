/* Any bytes as a file of verdicts: an error, or a reasoner that answers. The file is read from memory through
 * /dev/fd.
 */
#include "safeguard/reasoner.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REQUIRE(what)                                                                                                \
    do {                                                                                                             \
        if (!(what))                                                                                                 \
            abort();                                                                                                 \
    } while (0)

static struct sg_policy *policy;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct sg_error err;
    static const char text[] = "# Spam\n\nAnswer 1 for spam, 0 for anything else.\n";
    (void)argc;
    (void)argv;
    REQUIRE(sg_policy_parse("fuzz", text, strlen(text), &policy, &err) == SG_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sg_reasoner *reasoner;
    struct sg_content *content;
    struct sg_verdict verdict;
    struct sg_error err = {0};
    char path[32];
    int file = memfd_create("fuzz", 0);
    REQUIRE(file >= 0 && write(file, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/dev/fd/%d", file);
    enum sg_status status = sg_reasoner_replay(path, NULL, &reasoner, &err);
    close(file);
    if (status != SG_OK) {
        REQUIRE(!reasoner && err.text[0]);
        return 0;
    }
    sg_verdict_init(&verdict);
    REQUIRE(sg_content_from_text("one", 3, &content, &err) == SG_OK);
    REQUIRE(sg_reasoner_check(reasoner, policy, content, &(struct sg_check_options){.top_p = 1}, NULL, NULL, &verdict,
                              &err) == SG_OK);
    REQUIRE(verdict.decision != SG_UNDECIDED || verdict.reason);
    sg_verdict_deinit(&verdict);
    sg_content_destroy(content);
    sg_reasoner_destroy(reasoner);
    return 0;
}
