/* `ergon server --status`: the servers that run here, seen from outside.
 *
 * A server is a process whose command line says so; its agents' pools are task tables among its descriptors, like those
 * of any program (top.h). So nothing listens for the question, and a server that hangs answers it as well. */
#include "cli/server_status.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/top.h"

struct status {
    int32_t pid;
    double up_s;
    size_t tenants, slots, busy;
    uint64_t queued, tasks, bytes_in, bytes_out;
};

static size_t read_text(int32_t pid, const char *name, char *to, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, to, size - 1);
    if (fd >= 0) {
        close(fd);
    }
    len = len < 0 ? 0 : len;
    to[len] = '\0';
    return (size_t)len;
}

/* "… -m ergon._agent server …", and not the form that only asks for one elsewhere. */
static int is_server(int32_t pid) {
    char line[4096];
    size_t len = read_text(pid, "cmdline", line, sizeof line);
    const char *end = line + len, *before = "";
    int found = 0;
    for (const char *word = line; word < end; word += strlen(word) + 1) {
        found |= strcmp(before, "ergon._agent") == 0 && strcmp(word, "server") == 0;
        if (strncmp(word, "--through", 9) == 0 || strncmp(word, "--new-key", 9) == 0) {
            return 0;
        }
        before = word;
    }
    return found;
}

/* Seconds since the process began. */
static double age(int32_t pid) {
    char text[1024];
    read_text(pid, "stat", text, sizeof text);
    char *rest = strrchr(text, ')');
    unsigned long long start = 0;
    struct timespec now;
    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                        "%*d %llu",
                        &start) != 1) {
        return 0;
    }
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9 -
           (double)start / (double)sysconf(_SC_CLK_TCK);
}

static int read_status(int32_t pid, struct status *s, struct erg_error *err) {
    struct erg_top top;
    int rc = erg_top_read(pid, &top, err);
    if (rc < 0) {
        return rc;
    }
    *s = (struct status){.pid = pid, .up_s = age(pid), .tenants = top.pools_len};
    for (size_t i = 0; i < top.pools_len; i++) {
        const struct erg_top_pool *p = &top.pools[i];
        s->slots += p->workers_len;
        s->queued += p->queued;
        s->tasks += p->tasks;
        s->bytes_in += p->bytes_in;
        s->bytes_out += p->bytes_out;
        for (size_t k = 0; k < p->workers_len; k++) {
            s->busy += p->workers[k].state == ERG_TOP_BUSY;
        }
    }
    erg_top_free(&top);
    return 0;
}

static void print_text(const struct status *s) {
    printf("pid %" PRId32 "  up %.0f s  %zu tenants, %zu slots, %zu busy, %" PRIu64
           " queued, %" PRIu64 " tasks done, %" PRIu64 " bytes in, %" PRIu64 " out\n",
           s->pid, s->up_s, s->tenants, s->slots, s->busy, s->queued, s->tasks, s->bytes_in,
           s->bytes_out);
}

static json_t *as_json(const struct status *s) {
    return json_pack("{s:i, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "pid", (int)s->pid, "up_s",
                     s->up_s, "tenants", (json_int_t)s->tenants, "slots", (json_int_t)s->slots,
                     "busy", (json_int_t)s->busy, "queued", (json_int_t)s->queued, "tasks",
                     (json_int_t)s->tasks, "bytes_in", (json_int_t)s->bytes_in, "bytes_out",
                     (json_int_t)s->bytes_out);
}

int erg_cli_server_status(int json) {
    DIR *processes = opendir("/proc");
    json_t *list = json_array();
    struct erg_error err;
    int found = 0, rc = 0;
    if (!processes || !list) {
        rc = erg_error_set(&err, ERG_ESYSTEM, "cannot read /proc");
    }
    for (struct dirent *entry; rc == 0 && (entry = readdir(processes));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        struct status s;
        if (pid <= 0 || *end || !is_server((int32_t)pid)) {
            continue;
        }
        rc = read_status((int32_t)pid, &s, &err);
        if (rc == 0 && json) {
            json_array_append_new(list, as_json(&s));
        } else if (rc == 0) {
            print_text(&s);
        }
        found++;
    }
    if (processes) {
        closedir(processes);
    }
    if (rc == 0 && json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (rc == 0 && found == 0) {
        puts("no server runs here");
    }
    json_decref(list);
    if (rc < 0) {
        return erg_cli_fail("server", "%s", err.text);
    }
    int status = erg_cli_end("server", ERG_CLI_OK);
    return status == ERG_CLI_OK && found == 0 ? 1 : status;
}
