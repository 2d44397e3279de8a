/* `ergon ports`: free TCP ports, each found by binding it.
 *
 * All are bound at the same time, so that they differ, and with --hold they stay bound until standard input ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/ports.h"

enum { PORTS_MAX = 500, PORT_MAX = 65535 };

static const char usage[] =
    "Usage: ergon ports [-n COUNT] [--host ADDRESS] [--min PORT] [--max PORT] [--hold]\n"
    "\n"
    "Prints TCP ports that are free, a line each: they have been bound a moment ago.\n"
    "\n"
    "Options:\n"
    "  -n, --count COUNT   how many (1)\n"
    "      --host ADDRESS  the address they are free on (127.0.0.1)\n"
    "      --min PORT      not below this one, and\n"
    "      --max PORT      not above this one (default: what the system picks)\n"
    "      --hold          keep them bound until standard input ends\n"
    "  -h, --help          this text\n";

struct request {
    int count, low, high;
    const char *host;
    bool hold;
};

static int open_socket(const struct addrinfo *address) {
    return socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Binds `port` (0: any) of the address; the descriptor, with the port in *port, or -1 with errno. */
static int bind_one(const struct addrinfo *address, int *port) {
    int fd = open_socket(address);
    if (fd < 0) {
        return -1;
    }
    struct sockaddr_storage to;
    socklen_t len = address->ai_addrlen;
    memcpy(&to, address->ai_addr, len);
    in_port_t *field = to.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&to)->sin6_port
                                                : &((struct sockaddr_in *)&to)->sin_port;
    *field = htons((uint16_t)*port);
    if (bind(fd, (struct sockaddr *)&to, len) < 0 ||
        getsockname(fd, (struct sockaddr *)&to, &len) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    *port = ntohs(*field);
    return fd;
}

/* Tries every port of the range once, from a random one on. */
static int bind_in_range(const struct addrinfo *address, int low, int high, int *port) {
    unsigned range = (unsigned)(high - low + 1), start = 0;
    if (getrandom(&start, sizeof start, GRND_NONBLOCK) != sizeof start) {
        start = (unsigned)getpid() * 2654435761u;
    }
    for (unsigned i = 0; i < range; i++) {
        *port = low + (int)((start % range + i) % range);
        int fd = bind_one(address, port);
        if (fd >= 0 || (errno != EADDRINUSE && errno != EACCES)) {
            return fd;
        }
    }
    errno = EADDRINUSE;
    return -1;
}

int erg_cli_port_bind(const char *host, int low, int high, int *port, struct erg_error *err) {
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0) {
        return erg_error_set(err, ERG_ENOTFOUND, "%s: %s", host, gai_strerror(rc));
    }
    *port = 0;
    int fd = low || high ? bind_in_range(found, low, high, port) : bind_one(found, port);
    if (fd < 0 && (low || high)) {
        rc = erg_error_system(err, errno, "%s: no port from %d to %d is free", host, low, high);
    } else if (fd < 0) {
        rc = erg_error_system(err, errno, "%s: no free port", host);
    }
    freeaddrinfo(found);
    return fd < 0 ? rc : fd;
}

bool erg_cli_number(const char *text, long low, long high, int *to) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high) {
        return false;
    }
    *to = (int)value;
    return true;
}

static int pick(const struct request *r) {
    int fds[PORTS_MAX];
    for (int i = 0; i < r->count; i++) {
        struct erg_error err;
        int port;
        fds[i] = erg_cli_port_bind(r->host, r->low, r->high, &port, &err);
        if (fds[i] < 0) {
            return erg_cli_fail("ports", "%s", err.text);
        }
        printf("%d\n", port);
    }
    if (r->hold) {
        char rest[256];
        fflush(stdout);
        while (read(STDIN_FILENO, rest, sizeof rest) > 0) {
        }
    }
    for (int i = 0; i < r->count; i++) {
        close(fds[i]);
    }
    return erg_cli_end("ports", ERG_CLI_OK);
}

/* One option with a value: 0, or the exit status. */
static int take(struct request *r, const char *name, const char *value) {
    if (!value) {
        return erg_cli_wrong("ports", "%s needs a value", name);
    }
    if (strcmp(name, "--host") == 0) {
        r->host = value;
        return 0;
    }
    bool count = strcmp(name, "-n") == 0 || strcmp(name, "--count") == 0;
    int *to = count ? &r->count : strcmp(name, "--min") == 0 ? &r->low : &r->high;
    if (!erg_cli_number(value, 1, count ? PORTS_MAX : PORT_MAX, to)) {
        return erg_cli_wrong("ports", "%s: '%s' is not a number from 1 to %d", name, value,
                             count ? PORTS_MAX : PORT_MAX);
    }
    return 0;
}

int erg_cli_ports(int argc, char **argv) {
    static const char *const valued[] = {"-n", "--count", "--host", "--min", "--max"};
    struct request r = {.count = 1, .host = "127.0.0.1"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return erg_cli_end("ports", ERG_CLI_OK);
        }
        if (strcmp(argv[i], "--hold") == 0) {
            r.hold = true;
            continue;
        }
        bool known = false;
        for (size_t k = 0; k < sizeof valued / sizeof *valued; k++) {
            known = known || strcmp(argv[i], valued[k]) == 0;
        }
        if (!known) {
            return erg_cli_wrong("ports", "unknown argument '%s'", argv[i]);
        }
        int rc = take(&r, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        if (rc != 0) {
            return rc;
        }
        i++;
    }
    if (r.low || r.high) {
        r.low = r.low ? r.low : 1024;
        r.high = r.high ? r.high : PORT_MAX;
        if (r.low > r.high) {
            return erg_cli_wrong("ports", "--min %d is above --max %d", r.low, r.high);
        }
    }
    return pick(&r);
}
