/* The files of the page, built into the program by embed.py. */
#ifndef ERG_CLI_REPORT_ASSETS_H
#define ERG_CLI_REPORT_ASSETS_H

extern const char erg_report_template_html[];
extern const char erg_report_report_css[];
extern const char erg_report_report_js[];

#endif
