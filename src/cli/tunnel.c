/* `ergon tunnel`: establishes, lists and tears down tunnels. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/ports.h"
#include "cli/tunnel.h"

static const char usage[] =
    "Usage: ergon tunnel [options] HOST [PORT]\n"
    "       ergon tunnel [--list] [--json]\n"
    "       ergon tunnel --down LOCAL|HOST|all\n"
    "\n"
    "Makes a port of this machine's loopback interface lead to PORT of HOST's, through ssh, and "
    "prints\n"
    "it, followed by PORT (without PORT: one that is free there). The tunnel stays until it is "
    "torn\n"
    "down; when its connection breaks, it is made again. Without arguments: lists the tunnels.\n"
    "\n"
    "Options:\n"
    "  -l, --local PORT    the port here (default: a free one)\n"
    "      --to ADDRESS    where HOST connects to, seen from there (localhost)\n"
    "  -F, --config FILE   the configuration file for OpenSSH (default: $ERGON_SSH_CONFIG)\n"
    "      --ssh WORD      another argument for ssh, may be repeated\n"
    "      --foreground    stay; the tunnel ends with Ctrl-C\n"
    "      --with-caller   stay; the tunnel ends when standard input does\n"
    "      --down WHICH    tear down the tunnel of a local port, those of a host, or all\n"
    "      --list, --json  list the tunnels, as JSON\n"
    "  -h, --help          this text\n";

struct request {
    struct erg_tunnel tunnel;
    const char *down;
    bool list, json;
    int positional;
};

/* --- list and down ----------------------------------------------------------------------------------------------- */

static int add_json(const struct erg_tunnel_record *r, void *arg) {
    return json_array_append_new(
        arg,
        json_pack("{s:i, s:s, s:i, s:s, s:i, s:s, s:I, s:i}", "local", r->local, "host", r->host,
                  "port", r->port, "to", r->to, "pid", (int)r->pid, "state", r->up ? "up" : "down",
                  "seconds", (json_int_t)(time(NULL) - r->since), "reconnects", r->reconnects));
}

static int print_record(const struct erg_tunnel_record *r, void *arg) {
    int *count = arg;
    if ((*count)++ == 0) {
        printf("%-6s %-30s %-6s %8s %11s %8s\n", "local", "leads to", "state", "seconds",
               "reconnects", "pid");
    }
    char target[2 * ERG_TUNNEL_NAME_MAX + 32];
    bool plain = strcmp(r->to, "localhost") == 0;
    snprintf(target, sizeof target, "%s:%d%s%s", plain ? r->host : r->to, r->port,
             plain ? "" : " through ", plain ? "" : r->host);
    printf("%-6d %-30s %-6s %8lld %11d %8d\n", r->local, target, r->up ? "up" : "down",
           (long long)(time(NULL) - r->since), r->reconnects, (int)r->pid);
    return 0;
}

static int list(bool as_json) {
    struct erg_error err;
    int count = 0;
    json_t *all = json_array();
    int rc =
        erg_tunnel_records(as_json ? add_json : print_record, as_json ? (void *)all : &count, &err);
    if (rc == 0 && as_json) {
        rc = json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (rc == 0 && count == 0) {
        puts("no tunnels");
    }
    json_decref(all);
    return rc < 0 ? erg_cli_fail("tunnel", "%s", err.text) : erg_cli_end("tunnel", ERG_CLI_OK);
}

struct tear_down {
    const char *which;
    int count;
};

static int tear_down(const struct erg_tunnel_record *r, void *arg) {
    struct tear_down *d = arg;
    char local[16];
    snprintf(local, sizeof local, "%d", r->local);
    if (strcmp(d->which, "all") != 0 && strcmp(d->which, local) != 0 &&
        strcmp(d->which, r->host) != 0) {
        return 0;
    }
    d->count++;
    kill(r->pid, SIGTERM);
    struct timespec pause = {.tv_nsec = 10000000};
    for (int i = 0; i < 800 && erg_tunnel_process_start(r->pid) == r->start; i++) {
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int down(const char *which) {
    struct erg_error err;
    struct tear_down d = {.which = which};
    if (erg_tunnel_records(tear_down, &d, &err) < 0) {
        return erg_cli_fail("tunnel", "%s", err.text);
    }
    if (d.count == 0 && strcmp(which, "all") != 0) {
        return erg_cli_fail("tunnel", "no tunnel '%s'; 'ergon tunnel' lists them", which);
    }
    return ERG_CLI_OK;
}

/* --- establish ----------------------------------------------------------------------------------------------- */

static int keep_here(struct erg_tunnel *t) {
    struct erg_error err;
    int copy = dup(STDOUT_FILENO);
    FILE *answer = copy < 0 ? NULL : fdopen(copy, "w");
    if (!answer) {
        return erg_cli_fail("tunnel", "%s", strerror(errno));
    }
    return erg_tunnel_keep(t, answer, &err) < 0 ? erg_cli_fail("tunnel", "%s", err.text)
                                                : ERG_CLI_OK;
}

/* The child that stays. The keeper leaves the terminal only when ssh had its chance to ask there. */
static void keep_in_background(struct erg_tunnel *t, int to) {
    struct erg_error err = {.text = "cannot enter /"};
    FILE *answer = fdopen(to, "w");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (!answer || null < 0) {
        _exit(ERG_CLI_FAILED);
    }
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    if (chdir("/") < 0 || erg_tunnel_keep(t, answer, &err) < 0) {
        fprintf(answer, "!%s", err.text);
        fclose(answer);
        _exit(ERG_CLI_FAILED);
    }
    _exit(ERG_CLI_OK);
}

static int keep_elsewhere(struct erg_tunnel *t) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return erg_cli_fail("tunnel", "%s", strerror(errno));
    }
    fflush(stdout);
    pid_t keeper = fork();
    if (keeper == 0) {
        close(ends[0]);
        keep_in_background(t, ends[1]);
    }
    close(ends[1]);
    if (keeper < 0) {
        close(ends[0]);
        return erg_cli_fail("tunnel", "%s", strerror(errno));
    }
    char text[ERG_ERROR_TEXT_SIZE + 64];
    size_t len = 0;
    ssize_t got;
    while (len < sizeof text - 1 && (got = read(ends[0], text + len, sizeof text - 1 - len)) > 0) {
        len += (size_t)got;
    }
    close(ends[0]);
    text[len] = 0;
    if (len == 0 || *text == '!') {
        return erg_cli_fail("tunnel", "%s", len ? text + 1 : "the keeper of the tunnel died");
    }
    fputs(text, stdout);
    return erg_cli_end("tunnel", ERG_CLI_OK);
}

/* --- the command line ---------------------------------------------------------------------------------------------- */

static int add_word(struct erg_tunnel *t, const char *word) {
    if (t->words_len == ERG_TUNNEL_WORDS_MAX) {
        return erg_cli_wrong("tunnel", "too many arguments for ssh");
    }
    t->words[t->words_len++] = (char *)(uintptr_t)word;
    return 0;
}

static int take_value(struct request *r, const char *name, const char *value) {
    if (!value) {
        return erg_cli_wrong("tunnel", "%s needs a value", name);
    }
    if (strcmp(name, "-l") == 0 || strcmp(name, "--local") == 0) {
        return erg_cli_number(value, 1, 65535, &r->tunnel.local)
                   ? 0
                   : erg_cli_wrong("tunnel", "%s: '%s' is no port", name, value);
    }
    if (strcmp(name, "--to") == 0) {
        r->tunnel.to = value;
        return *value && *value != '-' ? 0 : erg_cli_wrong("tunnel", "--to: no address");
    }
    if (strcmp(name, "--ssh") == 0) {
        return add_word(&r->tunnel, value);
    }
    if (strcmp(name, "--down") == 0) {
        r->down = value;
        return 0;
    }
    int rc = add_word(&r->tunnel, "-F");
    return rc ? rc : add_word(&r->tunnel, value);
}

static int take_flag(struct request *r, const char *name) {
    if (strcmp(name, "--list") == 0) {
        r->list = true;
    } else if (strcmp(name, "--json") == 0) {
        r->list = r->json = true;
    } else if (strcmp(name, "--foreground") == 0) {
        r->tunnel.foreground = true;
    } else if (strcmp(name, "--with-caller") == 0) {
        r->tunnel.foreground = r->tunnel.with_caller = true;
    } else {
        return erg_cli_wrong("tunnel", "unknown option '%s'", name);
    }
    return 0;
}

static int take_positional(struct request *r, const char *word) {
    switch (r->positional++) {
    case 0:
        r->tunnel.host = word;
        return *word && *word != '-' && strlen(word) < ERG_TUNNEL_NAME_MAX
                   ? 0
                   : erg_cli_wrong("tunnel", "'%s' is no host", word);
    case 1:
        return erg_cli_number(word, 1, 65535, &r->tunnel.port)
                   ? 0
                   : erg_cli_wrong("tunnel", "'%s' is no port", word);
    default:
        return erg_cli_wrong("tunnel", "unexpected argument '%s'", word);
    }
}

static bool has_value(const char *name) {
    static const char *const valued[] = {"-l",       "--local", "--to",  "-F",
                                         "--config", "--ssh",   "--down"};
    for (size_t i = 0; i < sizeof valued / sizeof *valued; i++) {
        if (strcmp(name, valued[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int parse(int argc, char **argv, struct request *r) {
    bool options = true;
    for (int i = 1; i < argc; i++) {
        int rc;
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
            continue;
        }
        if (!options || *argv[i] != '-') {
            rc = take_positional(r, argv[i]);
        } else if (has_value(argv[i])) {
            rc = take_value(r, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
            i++;
        } else {
            rc = take_flag(r, argv[i]);
        }
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static bool names_config(const struct erg_tunnel *t) {
    for (int i = 0; i < t->words_len; i++) {
        if (strncmp(t->words[i], "-F", 2) == 0) {
            return true;
        }
    }
    return false;
}

int erg_cli_tunnel(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return erg_cli_end("tunnel", ERG_CLI_OK);
        }
    }
    struct request r = {.tunnel = {.to = "localhost"}};
    int rc = parse(argc, argv, &r);
    if (rc) {
        return rc;
    }
    if (r.down) {
        return down(r.down);
    }
    if (r.list || !r.tunnel.host) {
        return list(r.json);
    }
    const char *config = getenv("ERGON_SSH_CONFIG");
    if (config && *config && !names_config(&r.tunnel) &&
        ((rc = add_word(&r.tunnel, "-F")) || (rc = add_word(&r.tunnel, config)))) {
        return rc;
    }
    return r.tunnel.foreground ? keep_here(&r.tunnel) : keep_elsewhere(&r.tunnel);
}
