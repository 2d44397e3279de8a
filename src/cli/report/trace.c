/* Reading: the file is walked by hand down to the array of events and each event alone becomes a JSON
 * value, so that memory holds the trace once and never the file's whole tree. */
#include "cli/report/trace.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const erg_outcome_names[ERG_OUTCOMES] = {
    "ok", "error", "lost", "retried", "cancelled", "timeout",
};

enum { MOST_TASKS = 1 << 28 };

struct cursor {
    const char *start, *at, *end;
};

static int malformed(const struct cursor *c, struct erg_error *err, const char *what) {
    return erg_error_set(err, ERG_EPROTOCOL, "not a trace: %s at byte %zu", what,
                         (size_t)(c->at - c->start));
}

static void skip_space(struct cursor *c) {
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at) {
        c->at++;
    }
}

/* Takes the next character when it is `wanted`. */
static bool take(struct cursor *c, char wanted) {
    skip_space(c);
    if (c->at < c->end && *c->at == wanted) {
        c->at++;
        return true;
    }
    return false;
}

/* The next JSON value, a new reference; NULL and *err when there is none. */
static json_t *value(struct cursor *c, struct erg_error *err) {
    json_error_t why;
    skip_space(c);
    json_t *found = json_loadb(c->at, (size_t)(c->end - c->at),
                               JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &why);
    if (!found) {
        erg_error_set(err, ERG_EPROTOCOL, "not a trace: malformed JSON near byte %zu: %s",
                      (size_t)(c->at - c->start) + (size_t)(why.position > 0 ? why.position : 0),
                      why.text);
        return NULL;
    }
    c->at += why.position;
    return found;
}

static int out_of_memory(struct erg_error *err) {
    return erg_error_set(err, ERG_ENOMEM, "not enough memory for this trace");
}

/* Makes room for one more element; `size` and `count` in elements. */
static int room(void **array, size_t *size, size_t count, size_t element) {
    if (count < *size) {
        return 0;
    }
    size_t wanted = *size ? *size * 2 : 256;
    void *grown = realloc(*array, wanted * element);
    if (!grown) {
        return ERG_ENOMEM;
    }
    memset((char *)grown + *size * element, 0, (wanted - *size) * element);
    *array = grown;
    *size = wanted;
    return 0;
}

/* Nothing a trace measures is larger; what is, is nonsense that must not become infinite on the way. */
static const double largest = 9e15;

static double within(double value) {
    return fmax(-largest, fmin(largest, value));
}

static double number_in(const json_t *object, const char *key, double otherwise) {
    const json_t *found = json_object_get(object, key);
    if (json_is_number(found)) {
        return within(json_number_value(found));
    }
    if (json_is_string(found)) { /* some writers quote them */
        char *end;
        double parsed = strtod(json_string_value(found), &end);
        return *end || end == json_string_value(found) || !isfinite(parsed) ? otherwise
                                                                            : within(parsed);
    }
    return otherwise;
}

static const char *text_in(const json_t *object, const char *key, const char *otherwise) {
    const char *found = json_string_value(json_object_get(object, key));
    return found ? found : otherwise;
}

static int64_t whole(double value) {
    return value > -largest && value < largest ? (int64_t)value : -1;
}

static uint32_t outcome_in(const json_t *args) {
    const char *name = text_in(args, "outcome", "ok");
    for (uint32_t i = 0; i < ERG_OUTCOMES; i++) {
        if (strcmp(name, erg_outcome_names[i]) == 0) {
            return i;
        }
    }
    return ERG_OUTCOME_ERROR;
}

/* The number of the worker an event names; it is entered when it is new. */
static int64_t worker_of(struct erg_trace *trace, const json_t *event) {
    int64_t pid = whole(number_in(event, "pid", 0));
    int64_t tid = whole(number_in(event, "tid", 0));
    char key[64];
    snprintf(key, sizeof key, "%" PRId64 "/%" PRId64, pid, tid);
    int64_t number = erg_intern_put(&trace->worker_keys, key);
    if (number < 0 || (uint32_t)number < trace->workers_count) {
        return number;
    }
    size_t size = trace->workers_size;
    int rc = room((void **)&trace->workers, &size, trace->workers_count, sizeof *trace->workers);
    if (rc < 0) {
        return rc;
    }
    trace->workers_size = (uint32_t)size;
    trace->workers[trace->workers_count++] = (struct erg_trace_worker){.pid = pid, .tid = tid};
    return number;
}

static int add_task(struct erg_trace *trace, const json_t *event) {
    const json_t *args = json_object_get(event, "args");
    double start = number_in(event, "ts", NAN), lasted = number_in(event, "dur", 0);
    if (!isfinite(start) || !isfinite(lasted) || fabs(start) >= largest || lasted >= largest) {
        return 0; /* nothing to show */
    }
    int64_t worker = worker_of(trace, event);
    int64_t function = erg_intern_put(&trace->functions, text_in(event, "name", "task"));
    if (worker < 0 || function < 0 || trace->tasks_count >= MOST_TASKS ||
        room((void **)&trace->tasks, &trace->tasks_size, trace->tasks_count, sizeof *trace->tasks) <
            0) {
        return ERG_ENOMEM;
    }
    trace->tasks[trace->tasks_count++] = (struct erg_trace_task){
        .start = start,
        .lasted = fmax(0, lasted),
        .waited = number_in(args, "wait_us", -1),
        .bytes_in = fmax(0, number_in(args, "bytes_in", 0)),
        .bytes_out = fmax(0, number_in(args, "bytes_out", 0)),
        .items = fmax(0, number_in(args, "items", 1)),
        .number = whole(number_in(args, "task", -1)),
        .worker = (uint32_t)worker,
        .function = (uint32_t)function,
        .outcome = outcome_in(args),
        .merged = 1,
    };
    return 0;
}

/* An instant of ergon's own that tells the end of a task. */
static int add_instant(struct erg_trace *trace, const json_t *event) {
    const json_t *args = json_object_get(event, "args");
    uint32_t outcome = outcome_in(args);
    double at = number_in(event, "ts", NAN);
    if (!json_object_get(args, "outcome") || outcome == ERG_OUTCOME_OK || !isfinite(at)) {
        return 0;
    }
    int64_t worker = worker_of(trace, event);
    int64_t function = erg_intern_put(&trace->functions,
                                      text_in(args, "function", text_in(event, "name", "task")));
    if (worker < 0 || function < 0 ||
        room((void **)&trace->instants, &trace->instants_size, trace->instants_count,
             sizeof *trace->instants) < 0) {
        return ERG_ENOMEM;
    }
    trace->instants[trace->instants_count++] = (struct erg_trace_instant){
        .at = at,
        .number = whole(number_in(args, "task", -1)),
        .worker = (uint32_t)worker,
        .function = (uint32_t)function,
        .outcome = outcome,
    };
    return 0;
}

static int name_pool(struct erg_trace *trace, const json_t *event, const char *name) {
    char key[32];
    snprintf(key, sizeof key, "%" PRId64, whole(number_in(event, "pid", 0)));
    int64_t number = erg_intern_put(&trace->pools, key);
    size_t size = trace->pool_names_size;
    if (number < 0 ||
        room((void **)&trace->pool_names, &size, (size_t)number, sizeof(char *)) < 0) {
        return ERG_ENOMEM;
    }
    trace->pool_names_size = (uint32_t)size;
    free(trace->pool_names[number]);
    trace->pool_names[number] = strdup(name);
    return trace->pool_names[number] ? 0 : ERG_ENOMEM;
}

static int add_name(struct erg_trace *trace, const json_t *event) {
    const char *name = text_in(json_object_get(event, "args"), "name", NULL);
    const char *kind = text_in(event, "name", "");
    if (!name) {
        return 0;
    }
    if (strcmp(kind, "process_name") == 0) {
        return name_pool(trace, event, name);
    }
    if (strcmp(kind, "thread_name") != 0) {
        return 0;
    }
    int64_t worker = worker_of(trace, event);
    if (worker < 0) {
        return ERG_ENOMEM;
    }
    free(trace->workers[worker].name);
    trace->workers[worker].name = strdup(name);
    return trace->workers[worker].name ? 0 : ERG_ENOMEM;
}

static int add_event(struct erg_trace *trace, const json_t *event) {
    const char *phase = text_in(event, "ph", "");
    trace->events++;
    if (strcmp(phase, "X") == 0) {
        return add_task(trace, event);
    }
    if (strcmp(phase, "M") == 0) {
        return add_name(trace, event);
    }
    if (strcmp(phase, "i") == 0 || strcmp(phase, "I") == 0) {
        return add_instant(trace, event);
    }
    return 0;
}

/* The array of events, after its '['. A file whose writer died has no ']' in the end: that is allowed, as
 * in Chrome. */
static int read_events(struct erg_trace *trace, struct cursor *c, struct erg_error *err) {
    if (take(c, ']')) {
        return 0;
    }
    for (;;) {
        skip_space(c);
        if (c->at == c->end) {
            return 0;
        }
        json_t *event = value(c, err);
        if (!event) {
            return ERG_EPROTOCOL;
        }
        int rc = json_is_object(event) ? add_event(trace, event) : ERG_EPROTOCOL;
        json_decref(event);
        if (rc == ERG_EPROTOCOL) {
            return malformed(c, err, "an event that is not an object");
        }
        if (rc < 0) {
            return out_of_memory(err);
        }
        if (take(c, ']')) {
            return 0;
        }
        if (!take(c, ',')) {
            skip_space(c);
            return c->at == c->end ? 0 : malformed(c, err, "neither ',' nor ']' after an event");
        }
        if (take(c, ']')) { /* a comma too many, which Chrome forgives too */
            return 0;
        }
    }
}

static int read_member(struct erg_trace *trace, struct cursor *c, const char *key, bool *events,
                       struct erg_error *err) {
    if (strcmp(key, "traceEvents") == 0) {
        if (!take(c, '[')) {
            return malformed(c, err, "\"traceEvents\" is not an array");
        }
        *events = true;
        return read_events(trace, c, err);
    }
    json_t *found = value(c, err);
    if (!found) {
        return ERG_EPROTOCOL;
    }
    json_t **place = strcmp(key, "otherData") == 0 ? &trace->about
                     : strcmp(key, "ergon") == 0   ? &trace->own
                                                   : NULL;
    if (place && json_is_object(found)) {
        json_decref(*place);
        *place = found;
    } else {
        json_decref(found);
    }
    return 0;
}

static int read_object(struct erg_trace *trace, struct cursor *c, struct erg_error *err) {
    bool events = false;
    while (!take(c, '}')) {
        skip_space(c);
        if (c->at == c->end) {
            return events ? 0 : malformed(c, err, "the file ends before \"traceEvents\"");
        }
        if (*c->at != '"') {
            return malformed(c, err, "a name in quotes was expected");
        }
        json_t *key = value(c, err);
        if (!key) {
            return ERG_EPROTOCOL;
        }
        int rc = take(c, ':') ? read_member(trace, c, json_string_value(key), &events, err)
                              : malformed(c, err, "':' was expected");
        json_decref(key);
        if (rc < 0) {
            return rc;
        }
        take(c, ',');
    }
    return events ? 0 : malformed(c, err, "an object without \"traceEvents\"");
}

int erg_trace_read(struct erg_trace *trace, const char *data, size_t len, struct erg_error *err) {
    struct cursor c = {data, data, data + len};
    if (len >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0) {
        c.at += 3;
    }
    if (len >= 2 && memcmp(data, "\x1f\x8b", 2) == 0) {
        return erg_error_set(err, ERG_EPROTOCOL, "the trace is compressed: gunzip it first");
    }
    skip_space(&c);
    if (c.at == c.end) {
        return erg_error_set(err, ERG_EPROTOCOL, "not a trace: the file is empty");
    }
    if (take(&c, '[')) {
        return read_events(trace, &c, err);
    }
    if (take(&c, '{')) {
        return read_object(trace, &c, err);
    }
    return malformed(&c, err, "neither '{' nor '['");
}

const char *erg_trace_pool_name(const struct erg_trace *trace, int64_t pid) {
    char key[32];
    snprintf(key, sizeof key, "%" PRId64, pid);
    for (uint32_t i = 0; i < trace->pools.count; i++) {
        if (strcmp(trace->pools.names[i], key) == 0) {
            return i < trace->pool_names_size && trace->pool_names[i] ? trace->pool_names[i] : "";
        }
    }
    return "";
}

void erg_trace_fini(struct erg_trace *trace) {
    for (uint32_t i = 0; i < trace->workers_count; i++) {
        free(trace->workers[i].name);
    }
    for (uint32_t i = 0; i < trace->pool_names_size; i++) {
        free(trace->pool_names[i]);
    }
    free(trace->pool_names);
    free(trace->workers);
    free(trace->tasks);
    free(trace->instants);
    erg_intern_fini(&trace->functions);
    erg_intern_fini(&trace->worker_keys);
    erg_intern_fini(&trace->pools);
    json_decref(trace->about);
    json_decref(trace->own);
    memset(trace, 0, sizeof *trace);
}
