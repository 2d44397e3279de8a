#include "launch/ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the link needs, whatever the user's configuration says for an interactive session. */
static const char *const fixed[] = {
    "ssh", "-T",
    "-o",  "ServerAliveInterval=5",
    "-o",  "ServerAliveCountMax=3",
    "-o",  "ClearAllForwardings=yes",
    "-o",  "RemoteCommand=none",
    "-o",  "PermitLocalCommand=no",
    "-o",  "EscapeChar=none",
};
enum { FIXED = sizeof fixed / sizeof *fixed, ARGS_MAX = FIXED + 12 };

char **erg_ssh_argv(const struct erg_reach_spec *spec) {
    char port[16];
    const char *args[ARGS_MAX];
    size_t n = 0, bytes = 0;
    for (; n < FIXED; n++) {
        args[n] = fixed[n];
    }
    args[n++] = "-o";
    args[n++] = spec->password ? "NumberOfPasswordPrompts=1" : "BatchMode=yes";
    if (spec->config) {
        args[n++] = "-F";
        args[n++] = spec->config;
    }
    if (spec->port) {
        snprintf(port, sizeof port, "%u", spec->port);
        args[n++] = "-p";
        args[n++] = port;
    }
    if (spec->user) {
        args[n++] = "-l";
        args[n++] = spec->user;
    }
    args[n++] = "--"; /* a host's name is never an option */
    args[n++] = spec->host;
    args[n++] = spec->command;
    for (size_t i = 0; i < n; i++) {
        bytes += strlen(args[i]) + 1;
    }
    char **argv = malloc((n + 1) * sizeof *argv + bytes);
    if (!argv) {
        return NULL;
    }
    char *to = (char *)(argv + n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(args[i]) + 1;
        argv[i] = memcpy(to, args[i], len);
        to += len;
    }
    argv[n] = NULL;
    return argv;
}

/* The pipe holds the answer already, so that reading it never waits; it lies beside the script. */
static const char script[] =
    "#!/bin/sh\n"
    "case \"$1\" in\n"
    "*assphrase*) exit 1 ;;\n"
    "*assword*) IFS= read -r answer <\"$0.pipe\" && printf '%s\\n' \"$answer\" ;;\n"
    "*) exit 1 ;;\n"
    "esac\n";

static int write_program(const struct erg_askpass *a) {
    int fd = open(a->program, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (fd < 0) {
        return -1;
    }
    ssize_t written = write(fd, script, sizeof script - 1);
    if (written >= 0 && written != (ssize_t)sizeof script - 1) {
        errno = ENOSPC;
        written = -1;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return written < 0 ? -1 : 0;
}

/* Opened for reading as well, so that opening does not wait for a reader and the answer stays. */
static int fill_pipe(struct erg_askpass *a, const char *password) {
    if (mkfifo(a->pipe, 0600) < 0) {
        return -1;
    }
    a->fd = open(a->pipe, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (a->fd < 0) {
        return -1;
    }
    size_t len = strlen(password);
    return write(a->fd, password, len) == (ssize_t)len && write(a->fd, "\n", 1) == 1 ? 0 : -1;
}

int erg_askpass_open(struct erg_askpass *a, const char *password, struct erg_error *err) {
    const char *base = getenv("XDG_RUNTIME_DIR");
    memset(a, 0, sizeof *a);
    a->fd = -1;
    if (strpbrk(password, "\n") || strlen(password) > 1000) {
        return erg_error_set(
            err, ERG_EINVALID,
            "a password of more than one line or 1000 bytes cannot be given to ssh");
    }
    if (!base || *base != '/' || strlen(base) > 32 || access(base, W_OK | X_OK) < 0) {
        base = "/tmp";
    }
    snprintf(a->folder, sizeof a->folder, "%s/ergon-ask-XXXXXX", base);
    if (!mkdtemp(a->folder)) {
        a->folder[0] = 0;
        return erg_error_system(err, errno, "cannot make a folder for ssh's question in %s", base);
    }
    snprintf(a->program, sizeof a->program, "%s/ask", a->folder);
    snprintf(a->pipe, sizeof a->pipe, "%s/ask.pipe", a->folder);
    if (write_program(a) < 0 || fill_pipe(a, password) < 0) {
        int status = erg_error_system(err, errno, "cannot prepare ssh's question in %s", a->folder);
        erg_askpass_close(a);
        return status;
    }
    return 0;
}

void erg_askpass_environment(const struct erg_askpass *a, char out[3][128]) {
    snprintf(out[0], 128, "SSH_ASKPASS=%s", a->program);
    snprintf(out[1], 128, "SSH_ASKPASS_REQUIRE=force");
    snprintf(out[2], 128, "DISPLAY=%s", getenv("DISPLAY") ? getenv("DISPLAY") : ":0");
}

void erg_askpass_close(struct erg_askpass *a) {
    if (a->fd >= 0) {
        char drained[1024]; /* the kernel's copy goes with the last descriptor, ours now */
        while (read(a->fd, drained, sizeof drained) > 0) {
        }
        explicit_bzero(drained, sizeof drained);
        close(a->fd);
        a->fd = -1;
    }
    if (a->folder[0]) {
        unlink(a->program);
        unlink(a->pipe);
        rmdir(a->folder);
        a->folder[0] = 0;
    }
}
