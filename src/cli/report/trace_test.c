#include "cli/report/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int read_text(struct erg_trace *trace, const char *text, struct erg_error *err) {
    memset(trace, 0, sizeof *trace);
    return erg_trace_read(trace, text, strlen(text), err);
}

static const char whole[] =
    "{\"otherData\":{\"program\":\"p.py\"},\"ergon\":{\"format\":1,\"sections\":[{}]},"
    "\"stackFrames\":{},"
    "\"traceEvents\":[\n"
    "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"tid\":0,\"args\":{\"name\":\"pool 1\"}},\n"
    "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":7,\"args\":{\"name\":\"process "
    "77\"}},\n"
    "{\"ph\":\"X\",\"name\":\"f\",\"pid\":1,\"tid\":7,\"ts\":10.5,\"dur\":4,\"args\":{\"task\":3,"
    "\"items\":2,"
    "\"wait_us\":1.5,\"bytes_in\":100,\"bytes_out\":200,\"outcome\":\"retried\"}},\n"
    "{\"ph\":\"X\",\"name\":\"f\",\"pid\":1,\"tid\":8,\"ts\":20,\"dur\":1},\n"
    "{\"ph\":\"i\",\"name\":\"lost\",\"pid\":1,\"tid\":8,\"ts\":30,\"args\":{\"task\":4,"
    "\"function\":\"g\","
    "\"outcome\":\"lost\"}},\n"
    "{\"ph\":\"b\",\"cat\":\"wait\",\"id\":\"1.3\",\"name\":\"queued\",\"pid\":1,\"tid\":0,\"ts\":"
    "9}\n"
    "]}";

static void reads_what_ergon_writes(void **state) {
    (void)state;
    struct erg_trace t;
    struct erg_error err;
    assert_int_equal(read_text(&t, whole, &err), 0);
    assert_int_equal(t.tasks_count, 2);
    assert_int_equal(t.workers_count, 2);
    assert_int_equal(t.events, 6);
    assert_string_equal(t.functions.names[t.tasks[0].function], "f");
    assert_string_equal(t.workers[t.tasks[0].worker].name, "process 77");
    assert_string_equal(erg_trace_pool_name(&t, 1), "pool 1");
    assert_string_equal(erg_trace_pool_name(&t, 2), "");
    assert_float_equal(t.tasks[0].start, 10.5, 1e-9);
    assert_float_equal(t.tasks[0].waited, 1.5, 1e-9);
    assert_float_equal(t.tasks[0].bytes_out, 200, 1e-9);
    assert_int_equal(t.tasks[0].number, 3);
    assert_int_equal(t.tasks[0].outcome, ERG_OUTCOME_RETRIED);
    assert_true(t.tasks[1].waited < 0);
    assert_int_equal(t.tasks[1].outcome, ERG_OUTCOME_OK);
    assert_int_equal(t.instants_count, 1);
    assert_int_equal(t.instants[0].outcome, ERG_OUTCOME_LOST);
    assert_string_equal(json_string_value(json_object_get(t.about, "program")), "p.py");
    assert_int_equal(json_array_size(json_object_get(t.own, "sections")), 1);
    erg_trace_fini(&t);
}

static void reads_what_chrome_allows(void **state) {
    (void)state;
    static const char *const files[] = {
        "[{\"ph\":\"X\",\"ts\":1,\"dur\":2}]",
        "[{\"ph\":\"X\",\"ts\":1,\"dur\":2}",     /* the writer died */
        "[{\"ph\":\"X\",\"ts\":1,\"dur\":2},",    /* the same, a little later */
        "[{\"ph\":\"X\",\"ts\":1,\"dur\":2},]\n", /* a comma too many */
        "{\"traceEvents\":[{\"ph\":\"X\",\"ts\":\"1\",\"dur\":\"2\"}],\"displayTimeUnit\":\"ns\"}",
        "\xEF\xBB\xBF {\"traceEvents\" : [ {\"ph\":\"X\",\"ts\":1,\"dur\":2} ] } ",
        "[{\"ph\":\"X\",\"ts\":1,\"dur\":2,\"name\":\"a\\u0000b\"}]",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct erg_trace t;
        struct erg_error err = {0};
        assert_int_equal(read_text(&t, files[i], &err), 0);
        assert_int_equal(t.tasks_count, 1);
        assert_float_equal(t.tasks[0].start, 1, 1e-9);
        assert_float_equal(t.tasks[0].lasted, 2, 1e-9);
        erg_trace_fini(&t);
    }
}

static void empty_traces_are_traces(void **state) {
    (void)state;
    static const char *const files[] = {"[]", "{\"traceEvents\":[]}", "["};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct erg_trace t;
        assert_int_equal(read_text(&t, files[i], NULL), 0);
        assert_int_equal(t.tasks_count, 0);
        erg_trace_fini(&t);
    }
}

static void says_where_it_stops_making_sense(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "empty"},
        {"  \n", "empty"},
        {"hello", "neither '{' nor '['"},
        {"\x1f\x8b\x08", "gunzip"},
        {"{}", "without \"traceEvents\""},
        {"{\"a\":1", "ends before \"traceEvents\""},
        {"{\"traceEvents\":{}}", "not an array"},
        {"{\"traceEvents\":[1]}", "not an object"},
        {"[{\"ph\":\"X\"} {}]", "neither ',' nor ']'"},
        {"[{\"ph\":\"X\",}]", "malformed JSON near byte"},
        {"[{\"ph\":\"X\xff\"}]", "malformed JSON near byte"},
        {"{traceEvents:[]}", "in quotes"},
        {"{\"a\" 1}", "':' was expected"},
        {"{\"a\":tru}", "malformed JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct erg_trace t;
        struct erg_error err = {0};
        assert_int_equal(read_text(&t, cases[i].text, &err), ERG_EPROTOCOL);
        if (!strstr(err.text, cases[i].part)) {
            fail_msg("%s: %s", cases[i].text, err.text);
        }
        erg_trace_fini(&t);
    }
}

static void nonsense_in_events_is_passed_over(void **state) {
    (void)state;
    struct erg_trace t;
    assert_int_equal(read_text(&t,
                               "[{\"ph\":\"X\",\"ts\":\"soon\",\"dur\":1},{\"ph\":\"X\",\"dur\":1},"
                               "{\"ph\":\"X\",\"ts\":1,\"dur\":1e300},{\"ph\":7},{},"
                               "{\"ph\":\"M\",\"name\":\"thread_name\",\"args\":[]},"
                               "{\"ph\":\"X\",\"ts\":5,\"dur\":-4,\"pid\":1e300,\"tid\":{},"
                               "\"args\":{\"task\":\"x\",\"outcome\":\"eaten\",\"bytes_in\":-1}}]",
                               NULL),
                     0);
    assert_int_equal(t.tasks_count, 1);
    assert_float_equal(t.tasks[0].lasted, 0, 1e-9);
    assert_float_equal(t.tasks[0].bytes_in, 0, 1e-9);
    assert_int_equal(t.tasks[0].number, -1);
    assert_int_equal(t.tasks[0].outcome, ERG_OUTCOME_ERROR);
    erg_trace_fini(&t);
}

/* No prefix of a file, and no file with one byte changed, does more than fail. */
static void every_broken_file_is_survived(void **state) {
    (void)state;
    struct erg_trace t;
    char *copy = malloc(sizeof whole);
    for (size_t len = 0; len < sizeof whole; len++) {
        memcpy(copy, whole, len); /* exactly as long, so that reading past the end is seen */
        char *exact = malloc(len ? len : 1);
        memcpy(exact, whole, len);
        memset(&t, 0, sizeof t);
        erg_trace_read(&t, exact, len, NULL);
        assert_true(t.tasks_count <= 2);
        erg_trace_fini(&t);
        free(exact);
    }
    static const char bytes[] = "\"{}[]:,0\\\x80";
    for (size_t at = 0; at + 1 < sizeof whole; at++) {
        for (size_t b = 0; b < sizeof bytes; b++) {
            memcpy(copy, whole, sizeof whole);
            copy[at] = bytes[b];
            memset(&t, 0, sizeof t);
            erg_trace_read(&t, copy, sizeof whole - 1, NULL);
            erg_trace_fini(&t);
        }
    }
    free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_ergon_writes),
        cmocka_unit_test(reads_what_chrome_allows),
        cmocka_unit_test(empty_traces_are_traces),
        cmocka_unit_test(says_where_it_stops_making_sense),
        cmocka_unit_test(nonsense_in_events_is_passed_over),
        cmocka_unit_test(every_broken_file_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
