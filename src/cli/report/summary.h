/* What a trace says as a whole: totals, where the workers' time went, one row a worker and a function.
 *
 * Made once from a trace, owns its arrays, refers to the trace's tasks by number. Times are microseconds.
 * One thread. */
#ifndef ERG_CLI_REPORT_SUMMARY_H
#define ERG_CLI_REPORT_SUMMARY_H

#include "cli/report/trace.h"

enum { ERG_SUMMARY_BINS = 32, ERG_SUMMARY_SLOWEST = 12 };

struct erg_summary_worker {
    double tasks, items;
    double busy; /* at least one task of it ran: tasks inside tasks count once */
    double first, last;
    double bytes_in, bytes_out;
};

struct erg_summary_function {
    uint32_t function;
    double runs, items, total, shortest, longest, median, p95;
    double waited; /* mean, over the runs where it is known; negative where none is */
    double bytes_in, bytes_out;
    double failures;
};

/* The time that workers were there, in worker-microseconds. A worker is there from its pool's first moment
 * to its last. */
struct erg_summary_budget {
    double busy;
    double
        startup; /* before the pool's first task ran, and a worker's first while tasks waited for it */
    double between; /* a task waited and a worker had none: what the pool itself costs */
    double idle;    /* no worker of the pool had anything to do: the program itself was at work */
    double uneven;  /* some worked, and there was nothing for the others */
    double tail;    /* the same, after the last task of the pool had begun */
};

/* Durations in bins of a third of a decade; bin 0 begins at `low`. */
struct erg_summary_histogram {
    double low;
    uint32_t bins;
    double runs[ERG_SUMMARY_BINS], waits[ERG_SUMMARY_BINS];
    double waits_known;
};

struct erg_summary {
    double origin, end; /* the first moment and the last */
    double tasks, items, bytes_in, bytes_out;
    double total; /* sum of all runs */
    double available;
    double outcomes[ERG_OUTCOMES];
    double waited_total;
    struct erg_summary_budget budget;
    struct erg_summary_histogram histogram;
    struct erg_summary_worker *workers;     /* as the trace's */
    struct erg_summary_function *functions; /* most time first */
    uint32_t functions_count;
    uint32_t slowest[ERG_SUMMARY_SLOWEST]; /* tasks, longest first */
    uint32_t slowest_count;
};

/* Sorts the trace's tasks by worker and start, and sums up. *summary is all zero before and given to
 * erg_summary_fini after, even when memory ran out. */
int erg_summary_make(struct erg_summary *summary, struct erg_trace *trace, struct erg_error *err);

void erg_summary_fini(struct erg_summary *summary);

#endif
