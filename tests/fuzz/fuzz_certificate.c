/* Any bytes as a certificate: refused, or something that is written and read again the same. The hash is made right,
 * or nothing behind it would ever be reached. */
#include "guard/certificate.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The same certificate with the hash that belongs to it; NULL when the bytes hold none. free() it. */
static char *with_hash(const uint8_t *data, size_t size)
{
    json_t *file = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    json_t *body = json_object_get(file, "certificate");
    char hex[SG_SHA256_HEX];
    char *text =
        body ? json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY) : NULL;
    if (text) {
        sg_sha256(text, strlen(text), hex);
        json_object_set_new(file, "sha256", json_string(hex));
        free(text);
        text = json_dumps(file, JSON_REAL_PRECISION(17));
    }
    json_decref(file);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sg_certificate certificate, again;
    char *json = with_hash(data, size);
    enum sg_status status = json ? sg_certificate_parse(json, strlen(json), &certificate, NULL)
                                 : sg_certificate_parse((const char *)data, size, &certificate, NULL);
    free(json);
    if (status != SG_OK)
        return 0;
    if (sg_certificate_to_json(&certificate, &json, NULL) != SG_OK ||
        sg_certificate_parse(json, strlen(json), &again, NULL) != SG_OK ||
        strcmp(certificate.sha256, again.sha256) != 0)
        abort();
    free(json);
    return 0;
}
