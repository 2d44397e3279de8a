#include "cli/report/summary.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int by_worker_and_start(const void *one, const void *other) {
    const struct erg_trace_task *a = one, *b = other;
    if (a->worker != b->worker) {
        return a->worker < b->worker ? -1 : 1;
    }
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return (a->lasted < b->lasted) - (a->lasted > b->lasted); /* the outer one of two first */
}

static int by_value(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static int by_total(const void *one, const void *other) {
    const struct erg_summary_function *a = one, *b = other;
    if (a->total != b->total) {
        return a->total > b->total ? -1 : 1;
    }
    return (a->function > b->function) - (a->function < b->function);
}

/* --- totals ---------------------------------------------------------------------------------------- */

static double queued_at(const struct erg_trace_task *task) {
    return task->waited > 0 ? task->start - task->waited : task->start;
}

static void find_span(struct erg_summary *s, const struct erg_trace *trace) {
    double first = INFINITY, last = -INFINITY;
    for (size_t i = 0; i < trace->tasks_count; i++) {
        const struct erg_trace_task *task = &trace->tasks[i];
        first = fmin(first, queued_at(task));
        last = fmax(last, task->start + task->lasted);
    }
    for (size_t i = 0; i < trace->instants_count; i++) {
        first = fmin(first, trace->instants[i].at);
        last = fmax(last, trace->instants[i].at);
    }
    s->origin = first <= last ? first : 0;
    s->end = first <= last ? last : 0;
}

static void add_to_slowest(struct erg_summary *s, const struct erg_trace *trace, uint32_t number) {
    const struct erg_trace_task *tasks = trace->tasks;
    uint32_t at = s->slowest_count;
    if (at == ERG_SUMMARY_SLOWEST) {
        if (tasks[number].lasted <= tasks[s->slowest[at - 1]].lasted) {
            return;
        }
        at--;
    } else {
        s->slowest_count++;
    }
    for (; at > 0 && tasks[s->slowest[at - 1]].lasted < tasks[number].lasted; at--) {
        s->slowest[at] = s->slowest[at - 1];
    }
    s->slowest[at] = number;
}

static void add_totals(struct erg_summary *s, const struct erg_trace *trace) {
    for (size_t i = 0; i < trace->tasks_count; i++) {
        const struct erg_trace_task *task = &trace->tasks[i];
        s->tasks++;
        s->items += task->items;
        s->bytes_in += task->bytes_in;
        s->bytes_out += task->bytes_out;
        s->total += task->lasted;
        s->outcomes[task->outcome]++;
        s->waited_total += fmax(0, task->waited);
        add_to_slowest(s, trace, (uint32_t)i);
    }
    for (size_t i = 0; i < trace->instants_count; i++) {
        s->outcomes[trace->instants[i].outcome]++;
    }
}

/* --- workers and where their time went -------------------------------------------------------------- */

/* A moment when a worker of a pool begins (+1) or ends (-1) to be busy, or a task to wait; `first` when it is
 * the worker's first. */
struct edge {
    double at;
    int busy, waiting, first;
};

static int by_time(const void *one, const void *other) {
    const struct edge *a = one, *b = other;
    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    return (a->busy + a->waiting) - (b->busy + b->waiting);
}

/* The stretches in which a worker was busy, as edges; its tasks are sorted by start. Returns how many. */
static size_t stretches(struct erg_summary_worker *worker, const struct erg_trace_task *tasks,
                        size_t count, struct edge *edges) {
    size_t used = 0;
    double from = 0, to = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        double end = tasks[i].start + tasks[i].lasted;
        worker->tasks++;
        worker->items += tasks[i].items;
        worker->bytes_in += tasks[i].bytes_in;
        worker->bytes_out += tasks[i].bytes_out;
        if (tasks[i].start > to) {
            if (i > 0) {
                edges[used] = (struct edge){from, 1, 0, used == 0};
                edges[used + 1] = (struct edge){to, -1, 0, 0};
                used += 2;
                worker->busy += to - from;
            } else {
                worker->first = tasks[i].start;
            }
            from = tasks[i].start;
        }
        to = fmax(to, end);
    }
    if (count) {
        edges[used] = (struct edge){from, 1, 0, used == 0};
        edges[used + 1] = (struct edge){to, -1, 0, 0};
        used += 2;
        worker->busy += to - from;
        worker->last = to;
    }
    return used;
}

/* The times a worker's tasks waited, as edges. Returns how many. */
static size_t waits(const struct erg_trace_task *tasks, size_t count, struct edge *edges) {
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].waited > 0) {
            edges[used++] = (struct edge){queued_at(&tasks[i]), 0, 1, 0};
            edges[used++] = (struct edge){tasks[i].start, 0, -1, 0};
        }
    }
    return used;
}

/* How many of a pool's workers there are, have begun their first task, and are busy; and tasks that wait. */
struct scene {
    double workers;
    int begun, busy, waiting;
};

/* A stretch in which nothing changed, `late` of it after the last task had begun: what the workers without a
 * task spent it on. Tasks that wait are first of all for workers that have not begun yet. */
static void spend_idle(struct erg_summary_budget *budget, const struct scene *scene, double lasted,
                       double late) {
    double idle = scene->workers - scene->busy;
    double starting = fmin(scene->workers - scene->begun, scene->waiting);
    double between = fmin(idle - starting, scene->waiting - starting);
    double rest = idle - starting - between;
    budget->startup += lasted * starting;
    budget->between += lasted * between;
    if (scene->busy == 0) {
        budget->idle += lasted * rest;
    } else {
        budget->tail += late * rest;
        budget->uneven += (lasted - late) * rest;
    }
}

/* One pool's part of the budget, from the edges of all its workers. */
static void spend(struct erg_summary *s, struct edge *edges, size_t count, double workers,
                  double opened, double last_start) {
    struct scene scene = {.workers = workers};
    double before = opened;
    qsort(edges, count, sizeof *edges, by_time);
    for (size_t i = 0; i < count; i++) {
        double lasted = edges[i].at - before;
        double late = fmin(lasted, fmax(0, edges[i].at - last_start));
        s->budget.busy += lasted * scene.busy;
        if (scene.begun == 0) {
            s->budget.startup += lasted * workers;
        } else {
            spend_idle(&s->budget, &scene, lasted, late);
        }
        scene.begun += edges[i].first;
        scene.busy += edges[i].busy;
        scene.waiting += edges[i].waiting;
        before = edges[i].at;
    }
    s->available += (before - opened) * workers;
}

/* The pool of worker `pool`, the first of it: marks all its workers as seen. Tasks of worker w lie at
 * first[w] up to first[w + 1]. */
static void add_pool(struct erg_summary *s, const struct erg_trace *trace, uint32_t pool,
                     const size_t *first, char *seen, struct edge *edges) {
    size_t used = 0;
    double there = 0, opened = INFINITY, last_start = -INFINITY;
    for (uint32_t w = pool; w < trace->workers_count; w++) {
        if (trace->workers[w].pid != trace->workers[pool].pid) {
            continue;
        }
        for (size_t i = first[w]; i < first[w + 1]; i++) {
            opened = fmin(opened, queued_at(&trace->tasks[i]));
            last_start = fmax(last_start, trace->tasks[i].start);
        }
        size_t own = first[w + 1] - first[w];
        used += stretches(&s->workers[w], trace->tasks + first[w], own, edges + used);
        used += waits(trace->tasks + first[w], own, edges + used);
        seen[w] = 1;
        there++;
    }
    if (used) {
        spend(s, edges, used, there, opened, last_start);
    }
}

static int add_workers(struct erg_summary *s, const struct erg_trace *trace) {
    size_t tasks = trace->tasks_count;
    uint32_t workers = trace->workers_count;
    size_t *first = calloc((size_t)workers + 1, sizeof *first);
    char *seen = calloc((size_t)workers + 1, 1);
    struct edge *edges = malloc((tasks * 4 + 1) * sizeof *edges);
    s->workers = calloc((size_t)workers + 1, sizeof *s->workers);
    int rc = ERG_ENOMEM;
    if (first && seen && edges && s->workers) {
        for (size_t i = 0; i < tasks; i++) {
            first[trace->tasks[i].worker + 1] = i + 1;
        }
        for (uint32_t w = 0; w < workers; w++) { /* a worker without tasks begins where it ends */
            first[w + 1] = first[w + 1] ? first[w + 1] : first[w];
        }
        for (uint32_t pool = 0; pool < workers; pool++) {
            if (!seen[pool]) {
                add_pool(s, trace, pool, first, seen, edges);
            }
        }
        rc = 0;
    }
    free(first);
    free(seen);
    free(edges);
    return rc;
}

/* --- functions --------------------------------------------------------------------------------------- */

static void add_to_function(struct erg_summary_function *f, const struct erg_trace_task *task,
                            double *waits_known) {
    f->shortest = f->runs ? fmin(f->shortest, task->lasted) : task->lasted;
    f->longest = fmax(f->longest, task->lasted);
    f->runs++;
    f->items += task->items;
    f->total += task->lasted;
    f->bytes_in += task->bytes_in;
    f->bytes_out += task->bytes_out;
    f->failures += task->outcome != ERG_OUTCOME_OK;
    if (task->waited >= 0) {
        f->waited += task->waited;
        (*waits_known)++;
    }
}

static int add_functions(struct erg_summary *s, const struct erg_trace *trace) {
    uint32_t count = trace->functions.count;
    size_t tasks = trace->tasks_count;
    double *waits = calloc((size_t)count + 1, sizeof *waits);
    double *durations = malloc((tasks + 1) * sizeof *durations);
    size_t *end = calloc((size_t)count + 1, sizeof *end);
    s->functions = calloc((size_t)count + 1, sizeof *s->functions);
    int rc = ERG_ENOMEM;
    if (waits && durations && end && s->functions) {
        for (size_t i = 0; i < tasks; i++) {
            const struct erg_trace_task *task = &trace->tasks[i];
            add_to_function(&s->functions[task->function], task, &waits[task->function]);
        }
        for (size_t f = 0, sum = 0; f < count;
             f++) { /* durations sorted by function, by counting */
            end[f] = sum;
            sum += (size_t)s->functions[f].runs;
        }
        for (size_t i = 0; i < tasks; i++) {
            durations[end[trace->tasks[i].function]++] = trace->tasks[i].lasted;
        }
        for (uint32_t f = 0; f < count; f++) {
            struct erg_summary_function *row = &s->functions[f];
            size_t runs = (size_t)row->runs;
            row->function = f;
            row->waited = waits[f] ? row->waited / waits[f] : -1;
            if (runs) {
                double *own = durations + end[f] - runs;
                qsort(own, runs, sizeof *own, by_value);
                row->median = own[runs / 2];
                row->p95 = own[(size_t)((double)(runs - 1) * 0.95)];
                s->functions_count++;
            }
        }
        qsort(s->functions, count, sizeof *s->functions, by_total);
        /* names that only instants carry, and runs of no length at all, have a total of 0: keep those
         * that ran in front */
        uint32_t kept = 0;
        for (uint32_t f = 0; f < count; f++) {
            if (s->functions[f].runs) {
                s->functions[kept++] = s->functions[f];
            }
        }
        rc = 0;
    }
    free(waits);
    free(durations);
    free(end);
    return rc;
}

/* --- durations ---------------------------------------------------------------------------------------- */

static uint32_t bin_of(const struct erg_summary_histogram *h, double value) {
    double bin = floor(log10(fmax(value, 1e-3) / h->low) * 3 + 1e-9);
    return bin < 0 ? 0 : bin >= h->bins ? h->bins - 1 : (uint32_t)bin;
}

static void fill_histogram(struct erg_summary *s, const struct erg_trace *trace) {
    struct erg_summary_histogram *h = &s->histogram;
    double low = INFINITY, high = 0;
    for (size_t i = 0; i < trace->tasks_count; i++) {
        const struct erg_trace_task *task = &trace->tasks[i];
        low = fmin(low, fmax(task->lasted, 0.1));
        high = fmax(high, task->lasted);
        if (task->waited >= 0) {
            low = fmin(low, fmax(task->waited, 0.1));
            high = fmax(high, task->waited);
        }
    }
    if (!trace->tasks_count) {
        return;
    }
    double from = floor(log10(low) * 3), to = floor(log10(fmax(high, low)) * 3);
    from = fmax(from, to - (ERG_SUMMARY_BINS - 1));
    h->low = pow(10, from / 3);
    h->bins = (uint32_t)(to - from) + 1;
    for (size_t i = 0; i < trace->tasks_count; i++) {
        const struct erg_trace_task *task = &trace->tasks[i];
        h->runs[bin_of(h, task->lasted)]++;
        if (task->waited >= 0) {
            h->waits[bin_of(h, task->waited)]++;
            h->waits_known++;
        }
    }
}

int erg_summary_make(struct erg_summary *summary, struct erg_trace *trace, struct erg_error *err) {
    if (trace->tasks_count) {
        qsort(trace->tasks, trace->tasks_count, sizeof *trace->tasks, by_worker_and_start);
    }
    find_span(summary, trace);
    add_totals(summary, trace);
    fill_histogram(summary, trace);
    if (add_workers(summary, trace) < 0 || add_functions(summary, trace) < 0) {
        return erg_error_set(err, ERG_ENOMEM, "not enough memory for this trace");
    }
    return 0;
}

void erg_summary_fini(struct erg_summary *summary) {
    free(summary->workers);
    free(summary->functions);
    memset(summary, 0, sizeof *summary);
}
