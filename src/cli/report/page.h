/* The page: one self-contained HTML file made of a trace and its summary.
 *
 * page.c walks the template and writes the head, page_run.c the part about the run, page_data.c the data of
 * the timeline, page_findings.c what the program added. Nothing in the file is fetched from elsewhere. */
#ifndef ERG_CLI_REPORT_PAGE_H
#define ERG_CLI_REPORT_PAGE_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/report/summary.h"
#include "cli/report/trace.h"

struct erg_page {
    FILE *out;
    const struct erg_trace *trace;
    const struct erg_summary *summary;
    const char *file;    /* the trace's name, the title where the trace has none */
    const char *version; /* of ergon */
    uint32_t *rank;      /* of each function: its row among summary->functions, and so its colour */
    bool several_pools;
};

/* Writes the page to `out`. The summary must be of this trace. */
int erg_page_write(FILE *out, const struct erg_trace *trace, const struct erg_summary *summary,
                   const char *file, const char *version, struct erg_error *err);

/* The parts, for page.c. */
void erg_page_timeline(struct erg_page *page);
void erg_page_budget(struct erg_page *page);
void erg_page_workers(struct erg_page *page);
void erg_page_hosts(struct erg_page *page);
void erg_page_durations(struct erg_page *page);
void erg_page_functions(struct erg_page *page);
void erg_page_slowest(struct erg_page *page);
void erg_page_trouble(struct erg_page *page);
void erg_page_findings(struct erg_page *page);
void erg_page_data(struct erg_page *page);

/* How many findings the program added. */
size_t erg_page_findings_count(const struct erg_page *page);

/* The name of a worker as text for people, with its pool's where there are several; `to` has `size` bytes. */
const char *erg_page_worker(const struct erg_page *page, uint32_t worker, char *to, size_t size);

/* The class of colour of a function: 0 to 7. */
uint32_t erg_page_colour(const struct erg_page *page, uint32_t function);

#endif
