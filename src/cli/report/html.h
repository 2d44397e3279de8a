/* Text, numbers and units as HTML. All write to a stdio stream, whose owner looks at ferror in the end. */
#ifndef ERG_CLI_REPORT_HTML_H
#define ERG_CLI_REPORT_HTML_H

#include <jansson.h>
#include <stdio.h>

/* `text` with every character escaped that means something in HTML, also inside an attribute's quotes. */
void erg_html_text(FILE *out, const char *text);

/* A JSON string for a <script type="application/json"> element, quotes included: no `<` in it. */
void erg_html_json_string(FILE *out, const char *text);

/* A cell of a finding: numbers with thousands apart, everything else as escaped text. */
void erg_html_value(FILE *out, const json_t *value);

enum { ERG_HTML_UNIT_SIZE = 32 };

/* Numbers for people, into the caller's `to[ERG_HTML_UNIT_SIZE]`, which is returned. */
const char *erg_html_duration(char *to, double us);  /* 3.2 ms */
const char *erg_html_bytes(char *to, double bytes);  /* 1.4 MB */
const char *erg_html_count(char *to, double number); /* 12,345 */
const char *erg_html_share(char *to, double share);  /* 97 % */

#endif
