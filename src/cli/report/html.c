#include "cli/report/html.h"

#include <math.h>
#include <string.h>

void erg_html_text(FILE *out, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            if ((unsigned char)*text >= ' ' || *text == '\n' || *text == '\t') {
                fputc(*text, out);
            }
        }
    }
}

void erg_html_json_string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || strchr("<>&\"\\", c)) {
            fprintf(out, "\\u%04x", c);
        } else {
            fputc(c, out);
        }
    }
    fputc('"', out);
}

static const char *print(char *to, double value, int decimals, const char *unit) {
    snprintf(to, ERG_HTML_UNIT_SIZE, "%.*f\u202f%s", decimals, value, unit);
    return to;
}

const char *erg_html_duration(char *to, double us) {
    static const struct {
        double size;
        const char *name;
    } units[] = {{1e6, "s"}, {1e3, "ms"}, {1, "µs"}};
    if (!(us > 0)) {
        return strcpy(to, "0");
    }
    if (us >= 600e6) {
        double minutes = floor(us / 60e6);
        if (minutes >= 600) {
            return print(to, us / 3600e6, 1, "h");
        }
        return print(to, us / 60e6, minutes < 100 ? 1 : 0, "min");
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        double value = us / units[i].size;
        if (value >= 0.9995 || i == 2) {
            return print(to, value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, units[i].name);
        }
    }
    return to;
}

const char *erg_html_bytes(char *to, double bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        unit++;
    }
    return print(to, bytes, unit && bytes < 99.95 ? 1 : 0, units[unit]);
}

const char *erg_html_count(char *to, double number) {
    char digits[ERG_HTML_UNIT_SIZE];
    if (!isfinite(number) || fabs(number) >= 1e15) {
        snprintf(to, ERG_HTML_UNIT_SIZE, "%.3g", number);
        return to;
    }
    if (number != floor(number)) {
        snprintf(to, ERG_HTML_UNIT_SIZE, fabs(number) < 1000 ? "%.4g" : "%.1f", number);
        return to;
    }
    int len = snprintf(digits, sizeof digits, "%.0f", fabs(number));
    char *end = to;
    if (number < 0) {
        *end++ = '-';
    }
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) {
            *end++ = ',';
        }
        *end++ = digits[i];
    }
    *end = 0;
    return to;
}

const char *erg_html_share(char *to, double share) {
    if (!isfinite(share)) {
        return strcpy(to, "–");
    }
    return print(to, share * 100, share > 0 && share < 0.0995 ? 1 : 0, "%");
}

void erg_html_value(FILE *out, const json_t *value) {
    char number[ERG_HTML_UNIT_SIZE];
    if (json_is_number(value)) {
        fputs(erg_html_count(number, json_number_value(value)), out);
    } else if (json_is_string(value)) {
        erg_html_text(out, json_string_value(value));
    } else if (json_is_boolean(value)) {
        fputs(json_is_true(value) ? "yes" : "no", out);
    }
}
