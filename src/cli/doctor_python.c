/* What the interpreter says: `python -m ergon.doctor --json` writes a list like ours. It runs in a process group
 * of its own and has a minute: a pool that hangs is a finding too, and nothing of it is left behind. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/doctor.h"

enum { SECONDS = 60, MOST = 1 << 20 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* Starts the interpreter with its output in a pipe; returns the pipe's end for reading, or -1. */
static int start(const char *python, pid_t *child) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    *child = fork();
    if (*child == 0) {
        int nothing = open("/dev/null", O_RDWR);
        setpgid(0, 0);
        if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(ends[1], 1) < 0 || dup2(ends[1], 2) < 0) {
            _exit(127);
        }
        execl(python, python, "-P", "-m", "ergon.doctor", "--json", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (*child < 0) {
        close(ends[0]);
        return -1;
    }
    return ends[0];
}

/* Reads until the end or until the time is over; the text, NUL-terminated, is the caller's. */
static char *gather(int fd, bool *late) {
    char *text = malloc(MOST);
    size_t len = 0;
    double end = now() + SECONDS;
    *late = false;
    while (text && len + 1 < MOST) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        double left = end - now();
        int got = left > 0 ? poll(&ready, 1, (int)(left * 1000) + 1) : 0;
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            *late = true;
            break;
        }
        ssize_t more = read(fd, text + len, MOST - 1 - len);
        if (more <= 0) {
            break;
        }
        len += (size_t)more;
    }
    if (text) {
        text[len] = 0;
    }
    return text;
}

/* The answer is one line; what the interpreter had to say besides stands on others. */
static bool take(struct erg_findings *findings, const char *text) {
    bool good = false;
    for (const char *line = text; line && !good; line = strchr(line, '\n')) {
        line += *line == '\n';
        json_t *list = *line == '[' ? json_loadb(line, strcspn(line, "\n"), 0, NULL) : NULL;
        good = json_is_array(list) && json_array_size(list) > 0;
        if (good) {
            json_array_extend(findings->list, list);
        }
        json_decref(list);
    }
    return good;
}

/* The last line of a traceback says what happened. */
static const char *last_line(char *text) {
    size_t len = strlen(text);
    while (len && text[len - 1] == '\n') {
        text[--len] = 0;
    }
    char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

void erg_doctor_python(struct erg_findings *findings) {
    char python[PATH_MAX];
    struct erg_error err;
    pid_t child;
    int status = 0;
    bool late = false;
    if (erg_cli_python(python, sizeof python, &err) < 0) {
        erg_findings_add(findings, ERG_VERDICT_FAIL, "interpreter",
                         "install Python 3.11 or newer, or set ERGON_PYTHON", "%s", err.text);
        return;
    }
    int fd = start(python, &child);
    char *text = fd >= 0 ? gather(fd, &late) : NULL;
    if (fd >= 0) {
        close(fd);
        if (late) {
            kill(-child, SIGKILL);
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
    }
    if (late) {
        erg_findings_add(findings, ERG_VERDICT_FAIL, "python",
                         "report this as a bug, with the lines above",
                         "%s did not answer within %d seconds", python, SECONDS);
    } else if (!text || !take(findings, text)) {
        erg_findings_add(
            findings, ERG_VERDICT_FAIL, "python",
            "install ergon for this interpreter, or set ERGON_PYTHON to one that has it", "%s: %s",
            python,
            text && *text ? last_line(text)
            : status      ? "ended without a word"
                          : strerror(errno));
    }
    free(text);
}
