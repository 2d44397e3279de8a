/* A recorded run in memory, as `ergon report` needs it, read from Chrome's trace format.
 *
 * Any trace in that format can be read; what ergon.trace adds (the time a task waited, its bytes, its
 * outcome, the program's findings) is used where it is there. docs/trace.md describes it. Times are
 * microseconds as in the file. The trace owns everything it points to. One thread. */
#ifndef ERG_CLI_REPORT_TRACE_H
#define ERG_CLI_REPORT_TRACE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "cli/report/intern.h"

enum erg_outcome {
    ERG_OUTCOME_OK,
    ERG_OUTCOME_ERROR,
    ERG_OUTCOME_LOST,
    ERG_OUTCOME_RETRIED,
    ERG_OUTCOME_CANCELLED,
    ERG_OUTCOME_TIMEOUT,
    ERG_OUTCOMES,
};

extern const char *const erg_outcome_names[ERG_OUTCOMES];

/* One run of one task on one worker. */
struct erg_trace_task {
    double start, lasted;
    double waited; /* negative where unknown */
    double bytes_in, bytes_out;
    double items;
    int64_t number; /* as the program counted; negative where unknown */
    uint32_t worker, function;
    uint32_t outcome; /* enum erg_outcome */
    uint32_t merged;  /* how many runs this stands for: 1, more in a timeline made coarser */
};

struct erg_trace_worker {
    int64_t pid, tid;
    char *name; /* NULL: the file gives none */
};

/* Something that happened to a task without a run: lost while it waited, cancelled, … */
struct erg_trace_instant {
    double at;
    int64_t number;
    uint32_t worker, function, outcome;
};

struct erg_trace {
    struct erg_trace_task *tasks;
    struct erg_trace_worker *workers;
    struct erg_trace_instant *instants;
    size_t tasks_count, tasks_size;
    size_t instants_count, instants_size;
    uint32_t workers_count, workers_size;
    struct erg_intern functions;   /* names by number */
    struct erg_intern worker_keys; /* "pid/tid" by worker */
    struct erg_intern pools;       /* "pid" by pool */
    char **pool_names;             /* by number of pools; NULL entries */
    uint32_t pool_names_size;
    json_t *about; /* otherData, or NULL */
    json_t *own;   /* what ergon.trace added under "ergon", or NULL */
    size_t events; /* all entries of the file, of whatever kind */
};

/* Reads the trace in data[0..len). *trace is all zero before; after a failure too it must be given to
 * erg_trace_fini. The text of the error says at which byte the file stops making sense. */
int erg_trace_read(struct erg_trace *trace, const char *data, size_t len, struct erg_error *err);

void erg_trace_fini(struct erg_trace *trace);

/* The pool's name as the file gives it, or "". */
const char *erg_trace_pool_name(const struct erg_trace *trace, int64_t pid);

#endif
