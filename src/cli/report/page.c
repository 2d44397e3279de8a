#include "cli/report/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/assets.h"
#include "cli/report/html.h"

static const char *about(const struct erg_page *page, const char *key) {
    const char *text = json_string_value(json_object_get(page->trace->about, key));
    return text ? text : "";
}

static double wall(const struct erg_page *page) {
    return page->summary->end - page->summary->origin;
}

const char *erg_page_worker(const struct erg_page *page, uint32_t worker, char *to, size_t size) {
    const struct erg_trace_worker *w = &page->trace->workers[worker];
    const char *pool = page->several_pools ? erg_trace_pool_name(page->trace, w->pid) : "";
    const char *between = *pool ? " · " : "";
    if (w->name) {
        snprintf(to, size, "%s%s%s", pool, between, w->name);
    } else {
        snprintf(to, size, "%s%s%" PRId64 "/%" PRId64, pool, between, w->pid, w->tid);
    }
    return to;
}

uint32_t erg_page_colour(const struct erg_page *page, uint32_t function) {
    return page->rank[function] < 7 ? page->rank[function] : 7;
}

/* --- the head ---------------------------------------------------------------------------------------- */

static void title(struct erg_page *page) {
    const char *program = about(page, "program");
    erg_html_text(page->out, *program ? program : page->file);
}

static void about_line(struct erg_page *page) {
    char count[ERG_HTML_UNIT_SIZE];
    const char *separator = "";
    static const struct {
        const char *key, *before;
    } parts[] = {{"recorded", ""}, {"host", "on "}, {"python", "Python "}, {"ergon", "Ergon "}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *text = about(page, parts[i].key);
        if (*text) {
            fprintf(page->out, "%s%s", separator, parts[i].before);
            erg_html_text(page->out, text);
            separator = " · ";
        }
    }
    const json_t *cores = json_object_get(page->trace->about, "cores");
    if (json_is_integer(cores)) {
        double number = json_number_value(cores);
        fprintf(page->out, "%s%s core%s", separator, erg_html_count(count, number),
                number == 1 ? "" : "s");
    }
}

static uint32_t workers_used(const struct erg_page *page) {
    uint32_t used = 0;
    for (uint32_t w = 0; w < page->trace->workers_count; w++) {
        used += page->summary->workers[w].tasks > 0;
    }
    return used;
}

/* What took most of the time that workers were not busy, as the end of a sentence. */
static const char *largest_loss(const struct erg_summary_budget *budget) {
    double most =
        fmax(fmax(fmax(budget->startup, budget->idle), fmax(budget->uneven, budget->tail)),
             budget->between);
    if (most == budget->between) {
        return "between tasks, inside the pool";
    }
    if (most == budget->idle) {
        return "while the program itself was at work and none of them had a task";
    }
    if (most == budget->tail) {
        return "waiting for the last tasks to end";
    }
    return most == budget->startup ? "before the first task began"
                                   : "when there were fewer tasks than workers";
}

static void lead(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    char a[ERG_HTML_UNIT_SIZE], b[ERG_HTML_UNIT_SIZE], c[ERG_HTML_UNIT_SIZE], d[ERG_HTML_UNIT_SIZE],
        e[ERG_HTML_UNIT_SIZE];
    uint32_t used = workers_used(page);
    if (!s->tasks) {
        fputs("No task was recorded. Tasks are recorded from <code>ergon.trace.start()</code> on, "
              "or from the beginning with <code>ergon run --trace FILE</code>.",
              page->out);
        return;
    }
    double share = s->available > 0 ? s->budget.busy / s->available : 1;
    fprintf(page->out, "<b>%s task%s</b>, %s of work, done in <b>%s</b> by %s worker%s, ",
            erg_html_count(a, s->tasks), s->tasks == 1 ? "" : "s", erg_html_duration(b, s->total),
            erg_html_duration(c, wall(page)), erg_html_count(d, used), used == 1 ? "" : "s");
    fprintf(page->out, "%s busy <b>%s</b> of the time.", used == 1 ? "which was" : "which were",
            erg_html_share(e, share));
    if (share < 0.95 && s->available > 0) {
        double lost = s->available - s->budget.busy;
        fprintf(page->out, " Most of the other %s of worker time passed %s.",
                erg_html_duration(a, lost), largest_loss(&s->budget));
    }
}

static void figure(struct erg_page *page, const char *name, const char *value, bool bad) {
    fprintf(page->out, "<div%s><dt>%s</dt><dd>%s</dd></div>\n", bad ? " class=\"bad\"" : "", name,
            value);
}

static void figures(struct erg_page *page) {
    const struct erg_summary *s = page->summary;
    char text[ERG_HTML_UNIT_SIZE];
    double wrong = 0;
    for (uint32_t i = 1; i < ERG_OUTCOMES; i++) {
        wrong += s->outcomes[i];
    }
    figure(page, "Wall time", erg_html_duration(text, wall(page)), false);
    figure(page, "Work done", erg_html_duration(text, s->total), false);
    figure(page, "Workers busy",
           erg_html_share(text, s->available > 0 ? s->budget.busy / s->available : NAN), false);
    figure(page, "Tasks", erg_html_count(text, s->tasks), false);
    if (s->items != s->tasks) {
        figure(page, "Items", erg_html_count(text, s->items), false);
    }
    if (wall(page) > 0) {
        double rate = s->items / (wall(page) / 1e6);
        figure(page, "Items a second", erg_html_count(text, rate < 10 ? rate : round(rate)), false);
    }
    figure(page, "Data moved", erg_html_bytes(text, s->bytes_in + s->bytes_out), false);
    if (wrong > 0) {
        figure(page, "Lost, failed or retried", erg_html_count(text, wrong), true);
    }
}

static void links(struct erg_page *page) {
    if (page->summary->tasks) {
        fputs("<a href=\"#timeline\">Timeline</a>", page->out);
    }
    if (erg_page_findings_count(page)) {
        fputs("<a href=\"#findings\">Findings</a>", page->out);
    }
    if (page->summary->tasks) {
        fputs("<a href=\"#functions\">Functions</a>", page->out);
    }
}

static void version(struct erg_page *page) {
    erg_html_text(page->out, page->version);
}

static void style(struct erg_page *page) {
    fputs(erg_report_report_css, page->out);
}

static void script(struct erg_page *page) {
    fputs(erg_report_report_js, page->out);
}

/* --- the template ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*write)(struct erg_page *page);
} places[] = {
    {"title", title},
    {"about", about_line},
    {"lead", lead},
    {"figures", figures},
    {"links", links},
    {"version", version},
    {"style", style},
    {"script", script},
    {"timeline", erg_page_timeline},
    {"budget", erg_page_budget},
    {"workers", erg_page_workers},
    {"hosts", erg_page_hosts},
    {"durations", erg_page_durations},
    {"functions", erg_page_functions},
    {"slowest", erg_page_slowest},
    {"trouble", erg_page_trouble},
    {"findings", erg_page_findings},
    {"data", erg_page_data},
};

static void write_place(struct erg_page *page, const char *name, size_t len) {
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strlen(places[i].name) == len && memcmp(places[i].name, name, len) == 0) {
            places[i].write(page);
        }
    }
}

static void walk_template(struct erg_page *page) {
    const char *at = erg_report_template_html;
    for (const char *open; (open = strstr(at, "{{")); at = strstr(open, "}}") + 2) {
        fwrite(at, 1, (size_t)(open - at), page->out);
        write_place(page, open + 2, (size_t)(strstr(open, "}}") - open - 2));
    }
    fputs(at, page->out);
}

int erg_page_write(FILE *out, const struct erg_trace *trace, const struct erg_summary *summary,
                   const char *file, const char *version_text, struct erg_error *err) {
    struct erg_page page = {
        .out = out,
        .trace = trace,
        .summary = summary,
        .file = file,
        .version = version_text,
        .rank = calloc((size_t)trace->functions.count + 1, sizeof *page.rank),
    };
    if (!page.rank) {
        return erg_error_set(err, ERG_ENOMEM, "not enough memory for the page");
    }
    for (uint32_t i = 0; i < trace->functions.count; i++) {
        page.rank[i] = UINT32_MAX;
    }
    for (uint32_t i = 0; i < summary->functions_count; i++) {
        page.rank[summary->functions[i].function] = i;
    }
    for (uint32_t w = 1; w < trace->workers_count; w++) {
        page.several_pools |= trace->workers[w].pid != trace->workers[0].pid;
    }
    walk_template(&page);
    free(page.rank);
    if (fflush(out) != 0 || ferror(out)) {
        return erg_error_set(err, ERG_ESYSTEM, "the page could not be written");
    }
    return 0;
}
