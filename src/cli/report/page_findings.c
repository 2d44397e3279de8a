/* The sections that the program itself added with ergon.trace.section. */
#include <math.h>
#include <string.h>

#include "cli/report/html.h"
#include "cli/report/page.h"

static const json_t *sections(const struct erg_page *page) {
    return json_object_get(page->trace->own, "sections");
}

size_t erg_page_findings_count(const struct erg_page *page) {
    return json_array_size(sections(page));
}

static const char *text_of(const json_t *section, const char *key) {
    const char *text = json_string_value(json_object_get(section, key));
    return text ? text : "";
}

static void facts(struct erg_page *page, const json_t *rows) {
    size_t i;
    json_t *row;
    fputs("<dl class=\"figures\">", page->out);
    json_array_foreach(rows, i, row) {
        fputs("<div><dt>", page->out);
        erg_html_value(page->out, json_array_get(row, 0));
        fputs("</dt><dd>", page->out);
        erg_html_value(page->out, json_array_get(row, 1));
        fputs("</dd></div>\n", page->out);
    }
    fputs("</dl>\n", page->out);
}

/* A label; what follows a line break in it is shown small. */
static void label(struct erg_page *page, const json_t *cell) {
    const char *text = json_string_value(cell);
    const char *second = text ? strchr(text, '\n') : NULL;
    if (!second) {
        erg_html_value(page->out, cell);
        return;
    }
    for (; text < second; text++) {
        erg_html_text(page->out, (char[]){*text, 0});
    }
    fputs("<small>", page->out);
    erg_html_text(page->out, second + 1);
    fputs("</small>", page->out);
}

static void bars(struct erg_page *page, const json_t *rows, size_t colour) {
    size_t i;
    json_t *row;
    double most = 0;
    json_array_foreach(rows, i, row) {
        most = fmax(most, json_number_value(json_array_get(row, 1)));
    }
    fprintf(page->out, "<div class=\"bars\" style=\"--k:var(--c%zu)\">\n", colour);
    json_array_foreach(rows, i, row) {
        const json_t *value = json_array_get(row, 1);
        double share = most > 0 ? fmax(0, json_number_value(value) / most) : 0;
        fputs("<div><span class=\"label\">", page->out);
        label(page, json_array_get(row, 0));
        fprintf(page->out,
                "</span><span class=\"track\"><i style=\"--v:%.4f\"></i></span>"
                "<span class=\"number\">",
                share);
        erg_html_value(page->out, value);
        fputs("</span></div>\n", page->out);
    }
    fputs("</div>\n", page->out);
}

/* Numbers stand to the right; so do texts that begin like one: "3.1 s", "97 %". */
static bool to_the_right(const json_t *cell) {
    const char *text = json_string_value(cell);
    return json_is_number(cell) ||
           (text && strchr("0123456789–-", *text) && strlen(text) < 14 && *text) ||
           (text && strcmp(text, "–") == 0);
}

static void table(struct erg_page *page, const json_t *columns, const json_t *rows) {
    size_t i, k;
    json_t *row, *cell;
    const json_t *sample = json_array_get(rows, 0);
    fputs("<div class=\"scroll\"><table>\n", page->out);
    if (json_array_size(columns)) {
        fputs("<thead><tr>", page->out);
        json_array_foreach(columns, k, cell) {
            fputs(to_the_right(json_array_get(sample, k)) ? "<th class=\"n\">" : "<th>", page->out);
            erg_html_value(page->out, cell);
            fputs("</th>", page->out);
        }
        fputs("</tr></thead>\n", page->out);
    }
    fputs("<tbody>\n", page->out);
    json_array_foreach(rows, i, row) {
        fputs("<tr>", page->out);
        json_array_foreach(row, k, cell) {
            fputs(to_the_right(json_array_get(sample, k)) ? "<td class=\"n\">" : "<td>", page->out);
            erg_html_value(page->out, cell);
            fputs("</td>", page->out);
        }
        fputs("</tr>\n", page->out);
    }
    fputs("</tbody></table></div>\n", page->out);
}

static void paragraphs(struct erg_page *page, const json_t *rows) {
    size_t i;
    json_t *row;
    fputs("<div class=\"text\">", page->out);
    json_array_foreach(rows, i, row) {
        fputs("<p>", page->out);
        erg_html_value(page->out, json_is_array(row) ? json_array_get(row, 0) : row);
        fputs("</p>\n", page->out);
    }
    fputs("</div>\n", page->out);
}

static bool is_bars(const json_t *section) {
    return strcmp(text_of(section, "kind"), "bars") == 0;
}

static void section(struct erg_page *page, const json_t *one, size_t number) {
    const char *kind = text_of(one, "kind");
    const json_t *rows = json_object_get(one, "rows");
    fputs("<section>\n<h3>", page->out);
    erg_html_text(page->out, text_of(one, "title"));
    fputs("</h3>\n<p class=\"note\">", page->out);
    erg_html_text(page->out, text_of(one, "note"));
    fputs("</p>\n", page->out);
    if (strcmp(kind, "facts") == 0) {
        facts(page, rows);
    } else if (is_bars(one)) {
        bars(page, rows, number % 6);
    } else if (strcmp(kind, "text") == 0) {
        paragraphs(page, rows);
    } else {
        table(page, json_object_get(one, "columns"), rows);
    }
    fputs("</section>\n", page->out);
}

/* Two sections of bars, one after the other, stand side by side where there is room. */
void erg_page_findings(struct erg_page *page) {
    size_t count = erg_page_findings_count(page), bars_so_far = 0;
    if (!count) {
        return;
    }
    fputs("<div class=\"chapter\" id=\"findings\">\n<h2>Findings</h2>\n", page->out);
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(sections(page), i);
        const json_t *next = json_array_get(sections(page), i + 1);
        if (is_bars(one) && next && is_bars(next)) {
            fputs("<div class=\"pair\">\n", page->out);
            section(page, one, bars_so_far);
            section(page, next, bars_so_far + 1);
            fputs("</div>\n", page->out);
            bars_so_far += 2;
            i++;
        } else {
            bars_so_far += is_bars(one);
            section(page, one, bars_so_far ? bars_so_far - 1 : 0);
        }
    }
    fputs("</div>\n", page->out);
}
