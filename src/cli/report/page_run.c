/* What the page says about the run itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/html.h"
#include "cli/report/page.h"

enum { MOST_WORKERS = 200, MOST_FUNCTIONS = 60, MOST_TROUBLE = 60, NAME_SIZE = 256 };

static void function_name(struct erg_page *page, uint32_t function) {
    erg_html_text(page->out, page->trace->functions.names[function]);
}

static void dot(struct erg_page *page, uint32_t function) {
    fprintf(page->out, "<span class=\"dot\" style=\"--k:var(--c%u)\"></span>",
            erg_page_colour(page, function));
    function_name(page, function);
}

void erg_page_timeline(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    FILE *out = page->out;
    if (!s->tasks) {
        return;
    }
    fputs("<section id=\"timeline\">\n<h2>Timeline</h2>\n<p class=\"note\">Above, how many workers "
          "were busy: drag there to choose a part of the run. Below, one lane a worker: drag to "
          "move, "
          "Ctrl and wheel or a double click to look closer.</p>\n"
          "<div class=\"timeline\"><canvas id=\"overview\"></canvas>"
          "<canvas id=\"lanes\" tabindex=\"0\" role=\"img\" aria-label=\"Timeline of tasks by "
          "worker; "
          "the tables below tell the same in words\"></canvas></div>\n"
          "<div class=\"tools\"><div class=\"legend\">",
          out);
    uint32_t shown = s->functions_count < 7 ? s->functions_count : 7;
    for (uint32_t i = 0; i < shown; i++) {
        fprintf(out, "<span><i style=\"--k:var(--c%u)\"></i>", i);
        function_name(page, s->functions[i].function);
        fputs("</span>", out);
    }
    if (s->functions_count > shown) {
        fprintf(out, "<span><i style=\"--k:var(--c7)\"></i>%u others</span>",
                s->functions_count - shown);
    }
    fputs("</div><div class=\"buttons\"><button id=\"out\" aria-label=\"Show more of the run\">−"
          "</button><button id=\"in\" aria-label=\"Look closer\">+</button>"
          "<button id=\"all\">Whole run</button></div></div>\n"
          "<div id=\"tip\" hidden></div>\n"
          "<noscript><p class=\"note\">The timeline needs JavaScript; the rest of the page does "
          "not.</p></noscript>\n</section>\n",
          out);
}

void erg_page_budget(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    const struct {
        const char *name, *why, *colour;
        double time;
    } parts[] = {
        {"Tasks ran", "the work itself", "var(--c0)", s->budget.busy},
        {"Between tasks", "a task waited and the worker had none yet: what the pool itself costs",
         "var(--c1)", s->budget.between},
        {"Nothing to run", "no worker had a task: the program between its maps", "var(--c6)",
         s->budget.idle},
        {"Start", "workers came up while tasks waited, and what was before the first task",
         "var(--c2)", s->budget.startup},
        {"Uneven", "some workers had a task, there was none for the others", "var(--c3)",
         s->budget.uneven},
        {"Waiting for the last", "all tasks were taken; longest tasks first would shorten it",
         "var(--c5)", s->budget.tail},
    };
    char text[ERG_HTML_UNIT_SIZE], share[ERG_HTML_UNIT_SIZE];
    if (!s->tasks || !(s->available > 0)) {
        return;
    }
    fprintf(page->out,
            "<section id=\"budget\">\n<h2>Where the workers’ time went</h2>\n"
            "<p class=\"note\">%s of worker time, from each pool’s first task to its last.</p>\n"
            "<div class=\"stack\">",
            erg_html_duration(text, s->available));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        fprintf(page->out, "<i style=\"--v:%.5f;--k:%s\"></i>", parts[i].time / s->available,
                parts[i].colour);
    }
    fputs("</div>\n<ul class=\"keys\">\n", page->out);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        fprintf(page->out,
                "<li><i style=\"--k:%s\"></i><b>%s</b><span>%s, %s</span><small>%s</small></li>\n",
                parts[i].colour, parts[i].name, erg_html_duration(text, parts[i].time),
                erg_html_share(share, parts[i].time / s->available), parts[i].why);
    }
    fputs("</ul>\n</section>\n", page->out);
}

static void worker_row(struct erg_page *page, uint32_t w, double wall) {
    const struct erg_summary_worker *worker = &page->summary->workers[w];
    char name[NAME_SIZE], share[ERG_HTML_UNIT_SIZE], tasks[ERG_HTML_UNIT_SIZE];
    double busy = fmin(1, worker->busy / wall);
    fputs("<div><span class=\"label\">", page->out);
    erg_html_text(page->out, erg_page_worker(page, w, name, sizeof name));
    fprintf(page->out,
            "</span><span class=\"track\"><i style=\"--v:%.4f\"></i></span>"
            "<span class=\"number\">%s <small>%s</small></span></div>\n",
            busy, erg_html_share(share, busy), erg_html_count(tasks, worker->tasks));
}

/* Few workers stand in one column beside the durations, many in three across the page. */
void erg_page_workers(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    double wall = s->end - s->origin;
    uint32_t used = 0, shown = 0;
    if (!s->tasks || !(wall > 0)) {
        return;
    }
    for (uint32_t w = 0; w < page->trace->workers_count; w++) {
        used += s->workers[w].tasks > 0;
    }
    uint32_t most = used < MOST_WORKERS ? used : MOST_WORKERS;
    uint32_t column = used > 16 ? (most + 2) / 3 : most;
    fprintf(page->out,
            "<section id=\"workers\"%s>\n<h2>Workers</h2>\n<p class=\"note\">Share of the whole "
            "run that "
            "each was busy, and its tasks.</p>\n<div class=\"columns\"><div class=\"bars\">\n",
            used > 16 ? " class=\"wide\"" : "");
    for (uint32_t w = 0; w < page->trace->workers_count && shown < most; w++) {
        if (s->workers[w].tasks > 0) {
            if (shown && shown % column == 0) {
                fputs("</div><div class=\"bars\">\n", page->out);
            }
            worker_row(page, w, wall);
            shown++;
        }
    }
    fputs("</div></div>\n", page->out);
    if (used > shown) {
        fprintf(page->out, "<p class=\"note\">And %u more.</p>\n", used - shown);
    }
    fputs("</section>\n", page->out);
}

/* A lane that stands for another host: ergon.trace names them so. */
static bool is_host(const struct erg_page *page, uint32_t w) {
    const char *name = page->trace->workers[w].name;
    return name && strncmp(name, "host ", 5) == 0 && page->summary->workers[w].tasks > 0;
}

static void host_row(struct erg_page *page, uint32_t w) {
    const struct erg_summary *s = page->summary;
    const struct erg_summary_worker *worker = &s->workers[w];
    char name[NAME_SIZE], a[ERG_HTML_UNIT_SIZE], b[ERG_HTML_UNIT_SIZE];
    fputs("<tr><td>", page->out);
    erg_html_text(page->out, erg_page_worker(page, w, name, sizeof name));
    fprintf(page->out, "</td><td class=\"n\">%s</td><td class=\"n\">%s</td>",
            erg_html_count(a, worker->tasks), erg_html_share(b, worker->tasks / s->tasks));
    fprintf(page->out, "<td class=\"n\">%s</td><td class=\"n\">%s</td></tr>\n",
            erg_html_bytes(a, worker->bytes_in), erg_html_bytes(b, worker->bytes_out));
}

/* What ran on other hosts, and what that moved; nothing for a run on one machine. */
void erg_page_hosts(struct erg_page *page) {
    uint32_t hosts = 0;
    for (uint32_t w = 0; w < page->trace->workers_count; w++) {
        hosts += is_host(page, w);
    }
    if (!hosts) {
        return;
    }
    fputs("<section id=\"hosts\">\n<h2>Other hosts</h2>\n<p class=\"note\">One row a host, however "
          "many "
          "workers it has. Sent are the arguments of the tasks that ran there, fetched their "
          "results, "
          "except those that stayed there until somebody needed them.</p>\n<div "
          "class=\"scroll\"><table>\n<thead><tr><th>host</th><th class=\"n\">tasks</th>"
          "<th class=\"n\">of all</th><th class=\"n\">sent</th><th class=\"n\">fetched</th>"
          "</tr></thead>\n<tbody>\n",
          page->out);
    for (uint32_t w = 0; w < page->trace->workers_count; w++) {
        if (is_host(page, w)) {
            host_row(page, w);
        }
    }
    fputs("</tbody></table></div>\n</section>\n", page->out);
}

/* A round duration as short as can be: 1 µs, 10 ms. */
static const char *axis_label(char *to, double us) {
    const char *unit = us > 0.999e6 ? "s" : us > 999 ? "ms" : "µs";
    snprintf(to, ERG_HTML_UNIT_SIZE, "%.3g\u202f%s",
             us > 0.999e6 ? us / 1e6
             : us > 999   ? us / 1e3
                          : us,
             unit);
    return to;
}

void erg_page_durations(struct erg_page *page) {
    const struct erg_summary_histogram *h = &page->summary->histogram;
    char from[ERG_HTML_UNIT_SIZE], to[ERG_HTML_UNIT_SIZE], runs[ERG_HTML_UNIT_SIZE],
        waits[ERG_HTML_UNIT_SIZE];
    char label[ERG_HTML_UNIT_SIZE];
    double most_runs = 1, most_waits = 1;
    if (!h->bins) {
        return;
    }
    for (uint32_t i = 0; i < h->bins; i++) {
        most_runs = fmax(most_runs, h->runs[i]);
        most_waits = fmax(most_waits, h->waits[i]);
    }
    fprintf(page->out,
            "<section id=\"durations\">\n<h2>How long tasks took</h2>\n<p class=\"note\">%s</p>\n"
            "<div class=\"hist\" style=\"--under:%s\">\n",
            h->waits_known ? "Above the axis how long they ran, below it how long they had waited "
                             "for a worker; each scale three steps a decade."
                           : "Three steps a decade.",
            h->waits_known ? "70px" : "0px");
    long first = lround(log10(h->low) * 3);
    for (uint32_t i = 0; i < h->bins; i++) {
        double low = pow(10, (double)(first + i) / 3), high = pow(10, (double)(first + i + 1) / 3);
        fprintf(page->out,
                "<div title=\"%s to %s: %s ran so long, %s waited\"><i style=\"--r:%.4f\"></i>"
                "<span>%s</span><b style=\"--w:%.4f\"></b></div>\n",
                erg_html_duration(from, low), erg_html_duration(to, high),
                erg_html_count(runs, h->runs[i]), erg_html_count(waits, h->waits[i]),
                h->runs[i] / most_runs,
                (first + i) % 3 == 0 && (i + 1 < h->bins || i == 0) ? axis_label(label, low) : "",
                h->waits[i] / most_waits);
    }
    fputs("</div>\n</section>\n", page->out);
}

static void function_row(struct erg_page *page, const struct erg_summary_function *f, bool items) {
    char a[ERG_HTML_UNIT_SIZE], b[ERG_HTML_UNIT_SIZE];
    FILE *out = page->out;
    double share = page->summary->total > 0 ? f->total / page->summary->total : 0;
    fputs("<tr><td>", out);
    dot(page, f->function);
    fprintf(out, "</td><td class=\"n\">%s</td>", erg_html_count(a, f->runs));
    if (items) {
        fprintf(out, "<td class=\"n\">%s</td>", erg_html_count(a, f->items));
    }
    fprintf(out, "<td class=\"n\">%s</td><td class=\"n\">%s</td>", erg_html_duration(a, f->total),
            erg_html_share(b, share));
    fprintf(out, "<td><span class=\"track\"><i style=\"--v:%.4f;--k:var(--c%u)\"></i></span></td>",
            share, erg_page_colour(page, f->function));
    const double times[] = {f->median, f->p95, f->longest};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        fprintf(out, "<td class=\"n\">%s</td>", erg_html_duration(a, times[i]));
    }
    fprintf(out, "<td class=\"n\">%s</td>", f->waited < 0 ? "–" : erg_html_duration(a, f->waited));
    fprintf(out, "<td class=\"n\">%s</td><td class=\"n\">%s</td>", erg_html_bytes(a, f->bytes_in),
            erg_html_bytes(b, f->bytes_out));
    fprintf(out, "<td class=\"n%s\">%s</td></tr>\n", f->failures > 0 ? " bad" : "",
            f->failures > 0 ? erg_html_count(a, f->failures) : "–");
}

void erg_page_functions(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    bool items = s->items != s->tasks;
    if (!s->functions_count) {
        return;
    }
    fprintf(
        page->out,
        "<section id=\"functions\">\n<h2>Functions</h2>\n<div class=\"scroll\"><table>\n<thead><tr>"
        "<th>function</th><th class=\"n\">tasks</th>%s<th class=\"n\">total</th>"
        "<th class=\"n\" colspan=\"2\">share of the work</th><th class=\"n\">median</th>"
        "<th class=\"n\">95 %% within</th><th class=\"n\">longest</th><th class=\"n\">waited, "
        "mean</th>"
        "<th class=\"n\">in</th><th class=\"n\">out</th><th class=\"n\">not ok</th></tr></thead>\n"
        "<tbody>\n",
        items ? "<th class=\"n\">items</th>" : "");
    for (uint32_t i = 0; i < s->functions_count && i < MOST_FUNCTIONS; i++) {
        function_row(page, &s->functions[i], items);
    }
    fputs("</tbody></table></div>\n", page->out);
    if (s->functions_count > MOST_FUNCTIONS) {
        fprintf(page->out, "<p class=\"note\">And %u more.</p>\n",
                s->functions_count - MOST_FUNCTIONS);
    }
    fputs("</section>\n", page->out);
}

void erg_page_slowest(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    char name[NAME_SIZE], a[ERG_HTML_UNIT_SIZE];
    FILE *out = page->out;
    if (!s->slowest_count) {
        return;
    }
    fputs(
        "<section id=\"slowest\">\n<h2>Longest tasks</h2>\n<div "
        "class=\"scroll\"><table>\n<thead><tr>"
        "<th>function</th><th class=\"n\">task</th><th>worker</th><th class=\"n\">began at</th>"
        "<th class=\"n\">ran</th><th class=\"n\">waited</th><th>ended</th></tr></thead>\n<tbody>\n",
        out);
    for (uint32_t i = 0; i < s->slowest_count; i++) {
        const struct erg_trace_task *task = &page->trace->tasks[s->slowest[i]];
        fputs("<tr><td>", out);
        dot(page, task->function);
        fprintf(out, "</td><td class=\"n\">%s</td><td>",
                task->number < 0 ? "–" : erg_html_count(a, (double)task->number));
        erg_html_text(out, erg_page_worker(page, task->worker, name, sizeof name));
        fprintf(out, "</td><td class=\"n\">%s</td>", erg_html_duration(a, task->start - s->origin));
        fprintf(out, "<td class=\"n\">%s</td>", erg_html_duration(a, task->lasted));
        fprintf(out, "<td class=\"n\">%s</td><td%s>%s</td></tr>\n",
                task->waited < 0 ? "–" : erg_html_duration(a, task->waited),
                task->outcome ? " class=\"bad\"" : "", erg_outcome_names[task->outcome]);
    }
    fputs("</tbody></table></div>\n</section>\n", out);
}

/* A task that did not simply succeed, wherever the trace tells of it. */
struct trouble {
    double at;
    int64_t number;
    uint32_t function, worker, outcome;
};

static int by_moment(const void *one, const void *other) {
    const struct trouble *a = one, *b = other;
    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    return (a->number > b->number) - (a->number < b->number);
}

/* All of them, the first in time first; the caller frees them. NULL when memory ran out. */
static struct trouble *find_trouble(const struct erg_trace *trace, size_t count) {
    struct trouble *found = malloc((count + 1) * sizeof *found);
    size_t used = 0;
    if (!found) {
        return NULL;
    }
    for (size_t i = 0; i < trace->instants_count && used < count; i++) {
        const struct erg_trace_instant *t = &trace->instants[i];
        found[used++] = (struct trouble){t->at, t->number, t->function, t->worker, t->outcome};
    }
    for (size_t i = 0; i < trace->tasks_count && used < count; i++) {
        const struct erg_trace_task *t = &trace->tasks[i];
        if (t->outcome != ERG_OUTCOME_OK) {
            found[used++] = (struct trouble){t->start + t->lasted, t->number, t->function,
                                             t->worker, t->outcome};
        }
    }
    qsort(found, used, sizeof *found, by_moment);
    return found;
}

static void trouble_row(struct erg_page *page, const struct trouble *t) {
    char name[NAME_SIZE], a[ERG_HTML_UNIT_SIZE];
    fputs("<tr><td>", page->out);
    dot(page, t->function);
    fprintf(page->out, "</td><td class=\"n\">%s</td><td>",
            t->number < 0 ? "–" : erg_html_count(a, (double)t->number));
    erg_html_text(page->out, erg_page_worker(page, t->worker, name, sizeof name));
    fprintf(page->out, "</td><td class=\"n\">%s</td><td class=\"bad\">%s</td></tr>\n",
            erg_html_duration(a, t->at - page->summary->origin), erg_outcome_names[t->outcome]);
}

/* "3 lost, 1 retried." */
static void trouble_counts(struct erg_page *page) {
    char count[ERG_HTML_UNIT_SIZE];
    const char *separator = "";
    for (uint32_t i = 1; i < ERG_OUTCOMES; i++) {
        if (page->summary->outcomes[i] > 0) {
            fprintf(page->out, "%s%s %s", separator,
                    erg_html_count(count, page->summary->outcomes[i]), erg_outcome_names[i]);
            separator = ", ";
        }
    }
}

void erg_page_trouble(struct erg_page *page) {
    size_t wrong = 0;
    for (uint32_t i = 1; i < ERG_OUTCOMES; i++) {
        wrong += (size_t)page->summary->outcomes[i];
    }
    struct trouble *found = wrong ? find_trouble(page->trace, wrong) : NULL;
    if (!found) {
        return;
    }
    fputs(
        "<section id=\"trouble\">\n<h2>Tasks that did not simply succeed</h2>\n<p class=\"note\">",
        page->out);
    trouble_counts(page);
    fputs(wrong > MOST_TROUBLE ? "; the first of them are listed." : ".", page->out);
    fputs(
        "</p>\n<div class=\"scroll\"><table>\n<thead><tr><th>function</th><th class=\"n\">task</th>"
        "<th>worker</th><th class=\"n\">ended at</th><th>outcome</th></tr></thead>\n<tbody>\n",
        page->out);
    for (size_t i = 0; i < wrong && i < MOST_TROUBLE; i++) {
        trouble_row(page, &found[i]);
    }
    fputs("</tbody></table></div>\n</section>\n", page->out);
    free(found);
}
