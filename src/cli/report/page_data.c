/* The timeline's data: tasks in columns, lane after lane, starts as differences. A run of very many tasks
 * is made coarser first: neighbours on one lane that no screen could tell apart become one entry. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/html.h"
#include "cli/report/page.h"

enum { MOST_ENTRIES = 150000 };

/* Merges neighbours of one lane whose lengths and gaps are below `fine`; in place. Returns how many are
 * left. What did not end well stays visible. */
static size_t merge(struct erg_trace_task *tasks, size_t count, double fine) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct erg_trace_task *last = kept ? &tasks[kept - 1] : NULL;
        double end = last ? last->start + last->lasted : 0;
        if (last && last->worker == tasks[i].worker && last->outcome == ERG_OUTCOME_OK &&
            tasks[i].outcome == ERG_OUTCOME_OK && last->lasted < fine && tasks[i].lasted < fine &&
            tasks[i].start - end < fine / 4) {
            last->lasted = fmax(last->lasted, tasks[i].start + tasks[i].lasted - last->start);
            last->merged += tasks[i].merged;
            last->items += tasks[i].items;
            last->bytes_in += tasks[i].bytes_in;
            last->bytes_out += tasks[i].bytes_out;
            last->waited = -1;
        } else {
            tasks[kept++] = tasks[i];
        }
    }
    return kept;
}

/* A number of a tenth of a microsecond's precision, as short as can be. */
static void number(FILE *out, double value) {
    double tenths = round(value * 10);
    if (fmod(tenths, 10) == 0) {
        fprintf(out, "%.0f", tenths / 10);
    } else {
        fprintf(out, "%.1f", tenths / 10);
    }
}

static double field(const struct erg_trace_task *task, char which) {
    switch (which) {
    case 'd':
        return task->lasted;
    case 'n':
        return (double)task->number;
    case 'q':
        return task->waited;
    case 'i':
        return task->items;
    case 'c':
        return task->merged;
    case '<':
        return task->bytes_in;
    default:
        return task->bytes_out;
    }
}

/* One column; left out when every value is `usual`, which the reader assumes then. */
static void column(FILE *out, const char *name, const struct erg_trace_task *tasks, size_t count,
                   char which, double usual) {
    size_t i = 0;
    while (i < count && field(&tasks[i], which) == usual) {
        i++;
    }
    if (i == count) {
        return;
    }
    fprintf(out, ",\n\"%s\":[", name);
    for (i = 0; i < count; i++) {
        if (i) {
            fputc(',', out);
        }
        number(out, field(&tasks[i], which));
    }
    fputc(']', out);
}

static void lanes(struct erg_page *page, const struct erg_trace_task *tasks, size_t count) {
    char name[256];
    const char *separator = "";
    fputs(",\n\"lanes\":[", page->out);
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && tasks[end].worker == tasks[i].worker) {
            end++;
        }
        fprintf(page->out, "%s{\"tasks\":%zu,\"name\":", separator, end - i);
        erg_html_json_string(page->out, erg_page_worker(page, tasks[i].worker, name, sizeof name));
        fputc('}', page->out);
        separator = ",";
        i = end;
    }
    fputc(']', page->out);
}

/* Starts as differences of rounded values, so that no error adds up along a lane. */
static void starts(struct erg_page *page, const struct erg_trace_task *tasks, size_t count) {
    double before = 0;
    fputs(",\n\"s\":[", page->out);
    for (size_t i = 0; i < count; i++) {
        double at = round((tasks[i].start - page->summary->origin) * 10) / 10;
        if (i && tasks[i].worker != tasks[i - 1].worker) {
            before = 0;
        }
        if (i) {
            fputc(',', page->out);
        }
        number(page->out, at - before);
        before = at;
    }
    fputc(']', page->out);
}

static void functions(struct erg_page *page, const struct erg_trace_task *tasks, size_t count) {
    fputs(",\n\"functions\":[", page->out);
    for (uint32_t i = 0; i < page->summary->functions_count; i++) {
        fputs(i ? "," : "", page->out);
        erg_html_json_string(page->out,
                             page->trace->functions.names[page->summary->functions[i].function]);
    }
    fputs("],\n\"f\":[", page->out);
    for (size_t i = 0; i < count; i++) {
        fprintf(page->out, "%s%u", i ? "," : "", page->rank[tasks[i].function]);
    }
    fputc(']', page->out);
}

static void outcomes(struct erg_page *page, const struct erg_trace_task *tasks, size_t count) {
    const char *separator = "";
    fputs(",\n\"o\":{", page->out);
    for (size_t i = 0; i < count; i++) {
        if (tasks[i].outcome != ERG_OUTCOME_OK) {
            fprintf(page->out, "%s\"%zu\":\"%s\"", separator, i,
                    erg_outcome_names[tasks[i].outcome]);
            separator = ",";
        }
    }
    fputc('}', page->out);
}

void erg_page_data(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    size_t count = page->trace->tasks_count;
    double span = s->end - s->origin;
    struct erg_trace_task *tasks = count ? malloc(count * sizeof *tasks) : NULL;
    if (!tasks || !(span > 0)) {
        fputs("{}", page->out);
        free(tasks);
        return;
    }
    memcpy(tasks, page->trace->tasks, count * sizeof *tasks);
    for (double fine = span / 40000; count > MOST_ENTRIES && fine < span; fine *= 2) {
        count = merge(tasks, count, fine);
    }
    fputs("{\"span\":", page->out);
    number(page->out, span);
    lanes(page, tasks, count);
    functions(page, tasks, count);
    starts(page, tasks, count);
    fputs(",\n\"d\":[", page->out);
    for (size_t i = 0; i < count; i++) {
        fputs(i ? "," : "", page->out);
        number(page->out, tasks[i].lasted);
    }
    fputc(']', page->out);
    column(page->out, "n", tasks, count, 'n', -1);
    column(page->out, "q", tasks, count, 'q', -1);
    column(page->out, "i", tasks, count, 'i', 1);
    column(page->out, "c", tasks, count, 'c', 1);
    column(page->out, "in", tasks, count, '<', 0);
    column(page->out, "out", tasks, count, '>', 0);
    outcomes(page, tasks, count);
    fputs("}", page->out);
    free(tasks);
}
