#include "cli/report/html.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define THIN "\u202f"

/* What `write` puts on a stream for `text`. */
static void expect_output(void (*write)(FILE *, const char *), const char *text,
                          const char *wanted) {
    char *got = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&got, &len);
    assert_non_null(out);
    write(out, text);
    fclose(out);
    assert_string_equal(got, wanted);
    free(got);
}

static void text_is_escaped(void **state) {
    (void)state;
    expect_output(erg_html_text, "<b a=\"1\" c='2'>&amp;",
                  "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
    expect_output(erg_html_text, "größer\x01 als\n", "größer als\n");
}

static void json_cannot_end_the_script(void **state) {
    (void)state;
    expect_output(erg_html_json_string, "</script>\"\\\n",
                  "\"\\u003c/script\\u003e\\u0022\\u005c\\u000a\"");
}

static void durations(void **state) {
    (void)state;
    char to[ERG_HTML_UNIT_SIZE];
    static const struct {
        double us;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-1, "0"},
        {NAN, "0"},
        {0.25, "0.25" THIN "µs"},
        {999.6, "1.00" THIN "ms"},
        {12345, "12.3" THIN "ms"},
        {1e6, "1.00" THIN "s"},
        {59.96e6, "60.0" THIN "s"},
        {600e6, "10.0" THIN "min"},
        {36000e6, "10.0" THIN "h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(erg_html_duration(to, cases[i].us), cases[i].text);
    }
}

static void numbers(void **state) {
    (void)state;
    char to[ERG_HTML_UNIT_SIZE];
    assert_string_equal(erg_html_count(to, 0), "0");
    assert_string_equal(erg_html_count(to, 999), "999");
    assert_string_equal(erg_html_count(to, -1234567), "-1,234,567");
    assert_string_equal(erg_html_count(to, 1e14), "100,000,000,000,000");
    assert_string_equal(erg_html_count(to, 1e300), "1e+300");
    assert_string_equal(erg_html_count(to, 2.5), "2.5");
    assert_string_equal(erg_html_bytes(to, 999), "999" THIN "B");
    assert_string_equal(erg_html_bytes(to, 999.9e3), "1.0" THIN "MB");
    assert_string_equal(erg_html_share(to, 0.974), "97" THIN "%");
    assert_string_equal(erg_html_share(to, 0.004), "0.4" THIN "%");
    assert_string_equal(erg_html_share(to, NAN), "–");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(json_cannot_end_the_script),
        cmocka_unit_test(durations),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
