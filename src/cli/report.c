/* `ergon report`: a trace becomes one HTML page. */
#include <ergon/ergon.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/report/page.h"

static const char usage[] =
    "Usage: ergon report TRACE [-o FILE] [--open]\n"
    "\n"
    "Makes one self-contained HTML page of a trace: the timeline of the workers, where their time\n"
    "went, how long tasks took and waited, and what the program added with ergon.trace.section.\n"
    "TRACE is a file saved by ergon.trace or 'ergon run --trace', or any other in Chrome's trace\n"
    "format; - is standard input.\n"
    "\n"
    "Options:\n"
    "  -o, --output FILE  where the page goes; - is standard output. Without it the page lies\n"
    "                     beside the trace, its name ending in .html\n"
    "  --open             show the page in the browser\n"
    "  -h, --help         this text\n";

static const size_t most_bytes = (size_t)8 << 30;

/* All of a file or pipe; the caller frees *data. */
static int read_all(int fd, const char *name, char **data, size_t *len, struct erg_error *err) {
    struct stat about;
    size_t size = 1 << 16;
    if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        return erg_error_set(err, ERG_EINVALID, "%s is a folder", name);
    }
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
        size = (size_t)about.st_size + 1;
    }
    *data = NULL;
    *len = 0;
    for (;;) {
        char *grown = size <= most_bytes ? realloc(*data, size) : NULL;
        if (!grown) {
            free(*data);
            *data = NULL;
            return erg_error_set(err, ERG_ENOMEM, "%s is too large: %zu MB and more", name,
                                 size >> 20);
        }
        *data = grown;
        while (*len < size) {
            ssize_t got = read(fd, *data + *len, size - *len);
            if (got == 0) {
                return 0;
            }
            if (got < 0 && errno != EINTR) {
                int why = errno;
                free(*data);
                *data = NULL;
                return erg_error_system(err, why, "cannot read %s", name);
            }
            *len += got > 0 ? (size_t)got : 0;
        }
        size *= 2;
    }
}

static int load(const char *path, struct erg_trace *trace, struct erg_error *err) {
    bool from_stdin = strcmp(path, "-") == 0;
    const char *name = from_stdin ? "standard input" : path;
    int fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    char *data = NULL;
    size_t len = 0;
    if (fd < 0) {
        return erg_error_system(err, errno, "cannot open %s", name);
    }
    int rc = read_all(fd, name, &data, &len, err);
    if (!from_stdin) {
        close(fd);
    }
    if (rc < 0) {
        return rc;
    }
    struct erg_error why;
    rc = erg_trace_read(trace, data, len, &why);
    free(data);
    if (rc < 0) {
        return erg_error_set(err, rc, "%s: %s", name, why.text);
    }
    return 0;
}

/* The page's path when none was given: beside the trace. */
static int beside(const char *trace, char *to, size_t size) {
    const char *base = strrchr(trace, '/') ? strrchr(trace, '/') + 1 : trace;
    size_t len = strlen(trace), stem = len;
    if (strcmp(trace, "-") == 0) {
        return snprintf(to, size, "-") < (int)size ? 0 : -1;
    }
    if (len > 5 && strcmp(trace + len - 5, ".json") == 0 && strlen(base) > 5) {
        stem -= 5;
    }
    return snprintf(to, size, "%.*s.html", (int)stem, trace) < (int)size ? 0 : -1;
}

static int write_page(FILE *out, const char *source, struct erg_trace *trace,
                      struct erg_error *err) {
    struct erg_summary summary = {0};
    const char *base = strrchr(source, '/') ? strrchr(source, '/') + 1 : source;
    int rc = erg_summary_make(&summary, trace, err);
    if (rc == 0) {
        rc = erg_page_write(out, trace, &summary, strcmp(base, "-") == 0 ? "trace" : base,
                            erg_version(), err);
    }
    erg_summary_fini(&summary);
    return rc;
}

/* Written beside its place and renamed: whoever opens the page meanwhile sees the old one or the new. */
static int write_file(const char *path, const char *source, struct erg_trace *trace,
                      struct erg_error *err) {
    char partial[PATH_MAX];
    if (snprintf(partial, sizeof partial, "%s.%ld.part", path, (long)getpid()) >=
        (int)sizeof partial) {
        return erg_error_set(err, ERG_EINVALID, "the path of the page is too long");
    }
    FILE *out = fopen(partial, "we");
    if (!out) {
        return erg_error_system(err, errno, "cannot write %s", path);
    }
    int rc = write_page(out, source, trace, err);
    if (fclose(out) != 0 && rc == 0) {
        rc = erg_error_system(err, errno, "cannot write %s", path);
    }
    if (rc == 0 && rename(partial, path) != 0) {
        rc = erg_error_system(err, errno, "cannot write %s", path);
    }
    if (rc < 0) {
        unlink(partial);
    }
    return rc;
}

static int show(const char *path) {
    pid_t child = fork();
    if (child == 0) {
        execlp("xdg-open", "xdg-open", path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
        return erg_cli_fail("report", "xdg-open cannot show it; open %s in a browser", path);
    }
    return ERG_CLI_OK;
}

static int make(const char *source, const char *path, bool open_it) {
    struct erg_trace trace = {0};
    struct erg_error err;
    bool to_stdout = strcmp(path, "-") == 0;
    int rc = load(source, &trace, &err);
    if (rc == 0) {
        rc = to_stdout ? write_page(stdout, source, &trace, &err)
                       : write_file(path, source, &trace, &err);
    }
    erg_trace_fini(&trace);
    if (rc < 0) {
        return erg_cli_fail("report", "%s", err.text);
    }
    if (to_stdout) {
        return erg_cli_end("report", ERG_CLI_OK);
    }
    printf("%s\n", path);
    int status = erg_cli_end("report", ERG_CLI_OK);
    return open_it && status == ERG_CLI_OK ? show(path) : status;
}

int erg_cli_report(int argc, char **argv) {
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'},
        {"open", no_argument, NULL, 'O'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    char chosen[PATH_MAX];
    const char *output = NULL;
    bool open_it = false;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
        switch (option) {
        case 'o':
            output = optarg;
            break;
        case 'O':
            open_it = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return erg_cli_end("report", ERG_CLI_OK);
        default:
            return erg_cli_wrong("report", "unknown or incomplete option '%s'", argv[optind - 1]);
        }
    }
    if (optind + 1 != argc) {
        return erg_cli_wrong("report", optind == argc ? "which trace?" : "one trace at a time");
    }
    if (!output) {
        if (beside(argv[optind], chosen, sizeof chosen) < 0) {
            return erg_cli_fail("report", "the path of the trace is too long");
        }
        output = chosen;
    }
    if (strcmp(output, argv[optind]) == 0 && strcmp(output, "-") != 0) {
        return erg_cli_wrong("report", "the page would replace the trace");
    }
    return make(argv[optind], output, open_it);
}
