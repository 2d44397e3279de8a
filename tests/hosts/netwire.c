/* A link with latency, jitter, loss and rate, in user space (not every kernel has netem).
 *
 *   netwire NETNS_PATH INNER_IF OUTER_IF PARAMETERS
 *
 * makes a TAP device in the network namespace and one here, and copies frames between them, in order. PARAMETERS is
 * a file with "delay_us jitter_us loss_ppm rate_kbit", each 0 for none; SIGHUP has it read again. Each direction
 * holds up to QUEUE frames in flight and drops further ones, as a full router does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE = 8192, BURST = 64, FRAME_MAX = 70000 };

struct frame {
    uint64_t due_ns;
    int len;
    unsigned char *bytes;
};

struct direction {
    int in, out;
    struct frame queue[QUEUE];
    unsigned head, tail;
    uint64_t free_at_ns; /* when the last frame has left at the given rate */
};

static struct direction directions[2];
static long delay_us, jitter_us, loss_ppm, rate_kbit;
static volatile sig_atomic_t reread = 1;

static void on_hup(int signal) {
    (void)signal;
    reread = 1;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int open_tap(const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        perror(name);
        exit(1);
    }
    return fd;
}

static void read_parameters(const char *path) {
    long values[4] = {0};
    FILE *file = fopen(path, "r");
    if (!file) {
        return;
    }
    if (fscanf(file, "%ld %ld %ld %ld", values, values + 1, values + 2, values + 3) >= 1) {
        delay_us = values[0];
        jitter_us = values[1];
        loss_ppm = values[2];
        rate_kbit = values[3];
    }
    fclose(file);
}

static void push(struct direction *d, const unsigned char *bytes, int len, uint64_t now) {
    if ((loss_ppm && random() % 1000000 < loss_ppm) || d->tail - d->head >= QUEUE) {
        return;
    }
    uint64_t leaves = d->free_at_ns > now ? d->free_at_ns : now;
    if (rate_kbit) {
        d->free_at_ns = leaves + (uint64_t)len * 8000000ull / (uint64_t)rate_kbit;
        leaves = d->free_at_ns;
    }
    long jitter = jitter_us ? random() % (2 * jitter_us + 1) - jitter_us : 0;
    uint64_t due = leaves + (uint64_t)((delay_us + jitter > 0 ? delay_us + jitter : 0) * 1000);
    if (d->tail != d->head && due < d->queue[(d->tail - 1) % QUEUE].due_ns) {
        due = d->queue[(d->tail - 1) % QUEUE].due_ns;
    }
    unsigned char *copy = malloc((size_t)len);
    if (!copy) {
        return;
    }
    memcpy(copy, bytes, (size_t)len);
    d->queue[d->tail++ % QUEUE] = (struct frame){due, len, copy};
}

/* Sends what is due; returns when the next frame is, 0 for none. */
static uint64_t deliver(struct direction *d, uint64_t now) {
    while (d->head != d->tail && d->queue[d->head % QUEUE].due_ns <= now) {
        struct frame *frame = &d->queue[d->head++ % QUEUE];
        if (write(d->out, frame->bytes, (size_t)frame->len) < 0) {
            /* the other end is down: lost, as on a wire */
        }
        free(frame->bytes);
    }
    return d->head != d->tail ? d->queue[d->head % QUEUE].due_ns : 0;
}

static void wait_for_frames(struct pollfd *fds, uint64_t next) {
    struct timespec pause = {0, 0};
    uint64_t now = now_ns();
    if (next > now) {
        pause.tv_sec = (time_t)((next - now) / 1000000000);
        pause.tv_nsec = (long)((next - now) % 1000000000);
    }
    if (ppoll(fds, 2, next ? &pause : NULL, NULL) <= 0) {
        fds[0].revents = fds[1].revents = 0;
    }
}

static void take_frames(struct direction *d) {
    static unsigned char bytes[FRAME_MAX];
    uint64_t now = now_ns();
    for (int i = 0; i < BURST; i++) {
        ssize_t len = read(d->in, bytes, sizeof bytes);
        if (len <= 0) {
            return;
        }
        push(d, bytes, (int)len, now);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: netwire NETNS_PATH INNER_IF OUTER_IF PARAMETERS\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1000UL);
    signal(SIGHUP, on_hup);
    srandom((unsigned)getpid());
    int self = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int other = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (self < 0 || other < 0 || setns(other, CLONE_NEWNET)) {
        perror(argv[1]);
        return 1;
    }
    int inner = open_tap(argv[2]);
    if (setns(self, CLONE_NEWNET)) {
        perror("setns");
        return 1;
    }
    int outer = open_tap(argv[3]);
    directions[0].in = directions[1].out = inner;
    directions[0].out = directions[1].in = outer;
    struct pollfd fds[2] = {{inner, POLLIN, 0}, {outer, POLLIN, 0}};
    for (;;) {
        if (reread) {
            reread = 0;
            read_parameters(argv[4]);
        }
        uint64_t now = now_ns(), next = 0;
        for (int k = 0; k < 2; k++) {
            uint64_t due = deliver(&directions[k], now);
            if (due && (!next || due < next)) {
                next = due;
            }
        }
        wait_for_frames(fds, next);
        for (int k = 0; k < 2; k++) {
            if (fds[k].revents) {
                take_frames(&directions[k]);
            }
        }
    }
}
