/* Any bytes as a certificate: refused, or something that is written and read again the same. */
#include "guard/certificate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sg_certificate certificate, again;
    char *json;
    if (sg_certificate_parse((const char *)data, size, &certificate, NULL) != SG_OK)
        return 0;
    if (sg_certificate_to_json(&certificate, &json, NULL) != SG_OK ||
        sg_certificate_parse(json, strlen(json), &again, NULL) != SG_OK ||
        strcmp(certificate.sha256, again.sha256) != 0)
        abort();
    free(json);
    return 0;
}
