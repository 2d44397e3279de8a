/* What `ergon doctor` finds out: a list of checks, filled by doctor_system.c and doctor_python.c and shown by
 * doctor.c. One thread. */
#ifndef ERG_CLI_DOCTOR_H
#define ERG_CLI_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum erg_verdict { ERG_VERDICT_OK, ERG_VERDICT_WARN, ERG_VERDICT_FAIL };

/* An array of {"name", "verdict": "OK" | "WARN" | "FAIL", "found", "advice"}, in the order of the report. */
struct erg_findings {
    json_t *list;
};

/* Adds one; `advice` says what to do and is NULL when there is nothing to do. The text is a printf format. */
void erg_findings_add(struct erg_findings *findings, enum erg_verdict verdict, const char *name,
                      const char *advice, const char *format, ...) ERG_PRINTF(5, 6);

/* The kernel, cores, memory, shared memory, limits. */
void erg_doctor_system(struct erg_findings *findings);

/* The interpreter, and whether a pool starts in it: asks `python -m ergon.doctor`. */
void erg_doctor_python(struct erg_findings *findings);

#endif
