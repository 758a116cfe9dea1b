/* The certificate file: thresholds of one clearing function with the proof's numbers, and the hashes of everything
 * that the proof is about. It is void as soon as one of them changes. docs/certificate.md describes the fields. */
#ifndef SG_GUARD_CERTIFICATE_H
#define SG_GUARD_CERTIFICATE_H

#include "base/file.h"
#include "safeguard/certify.h"
#include "safeguard/guard.h"

#define SG_CERTIFICATE_MAX_BYTES (1u << 20)

/* One claim about one threshold: what was asked and what came out. */
struct sg_certificate_claim {
    bool tried; /* false: nobody asked for this side; the rest is 0 */
    double rate, confidence, spent;
    struct sg_certified result; /* certified, threshold, bound, counts */
};

/* A reasoner that is not the last may decide like a screen does, by its p_violation: then the claim is about the
 * whole function with the stages before it frozen. Known by the name and hash that its verdicts carry. */
struct sg_certificate_reasoner {
    char name[256];
    char sha256[SG_SHA256_HEX]; /* "" when it has none (a server) */
    struct sg_certificate_claim miss, flag;
};

/* Of one category of the screen ("any": the violation itself). */
struct sg_certificate_entry {
    char category[64];
    struct sg_certificate_claim miss; /* margins below its threshold may be cleared */
    struct sg_certificate_claim flag; /* margins from its threshold on may be flagged without the reasoner */
    struct sg_certificate_reasoner reasoners[SG_GUARD_MAX_REASONERS - 1];
    size_t n_reasoners;
};

/* The clearing function: what was frozen before its rows were looked at. "" where there is none. */
struct sg_clearing_function {
    char policy_sha256[SG_SHA256_HEX];
    char screen_sha256[SG_SHA256_HEX];
    char rules_sha256[SG_SHA256_HEX];
    char features_version[64]; /* of normaliser and features: sg_screen_features_version() */
};

struct sg_certificate {
    struct sg_clearing_function function;
    char truth[16];                /* whose truth the claims are relative to: "people", "reasoner", "mixed" */
    uint64_t n_people, n_reasoner; /* rows, by whose truth it is */
    char reasoner[256];            /* its name, "" when people's */
    uint64_t attempt;              /* 1 for the first on these label files */
    int64_t time;                  /* seconds since 1970, UTC */
    struct sg_certificate_entry entries[SG_SCREEN_MAX_CATEGORIES];
    size_t n_entries;
    char sha256[SG_SHA256_HEX]; /* of all of this as the file holds it; set by open and save */
};

/* SG_EFORMAT for what is not a certificate, thresholds that do not fit their claims (a certified one must be finite,
 * its bound at most its rate) included; SG_ECHECKSUM when the file is not as it was written. */
SG_MUST_CHECK enum sg_status sg_certificate_open(const char *path, struct sg_certificate *certificate_out,
                                                 struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_certificate_save(const char *path, struct sg_certificate *certificate,
                                                 struct sg_error *err);

/* The same from and to memory; free() *json_out. Sets the certificate's sha256. */
SG_MUST_CHECK enum sg_status sg_certificate_parse(const char *json, size_t len,
                                                  struct sg_certificate *certificate_out, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_certificate_to_json(struct sg_certificate *certificate, char **json_out,
                                                    struct sg_error *err);

/* SG_EINVALID says which part differs, with both hashes: "the certificate is about screen 12ab…, got 34cd…". */
SG_MUST_CHECK enum sg_status sg_certificate_matches(const struct sg_certificate *certificate,
                                                    const struct sg_clearing_function *function,
                                                    struct sg_error *err);

/* NULL when the certificate says nothing about that category. */
const struct sg_certificate_entry *sg_certificate_entry(const struct sg_certificate *certificate,
                                                        const char *category);

#endif
