/* The owner's death, seen from a worker: one small thread that sleeps on a pidfd.
 *
 * A pidfd is a file of the process that was meant, whatever becomes of its number, its threads, or pipes that some
 * grandchild inherited. If a task closes the descriptor ("close everything from 3 on", as daemons do), the
 * thread goes on by number. */
#include "launch/watch_owner.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STACK_BYTES = 64 * 1024, LOOK_AGAIN_SECONDS = 1 };

struct watched {
    int pidfd;
    pid_t pid;
};

static void end_group(void) {
    kill(-getpid(), SIGKILL);
    kill(getpid(), SIGKILL);
}

static void *watch(void *arg) {
    struct watched w = *(struct watched *)arg;
    free(arg);
    for (;;) {
        struct pollfd p = {.fd = w.pidfd, .events = POLLIN};
        if (poll(&p, 1, -1) < 0)
            continue;
        if (p.revents & POLLIN)
            end_group();
        if (p.revents & (POLLNVAL | POLLERR))
            break;
    }
    while (w.pid > 0 && (kill(w.pid, 0) == 0 || errno == EPERM))
        sleep(LOOK_AGAIN_SECONDS);
    end_group();
    return NULL;
}

/* The number behind a pidfd, 0 if it cannot be found out. */
static pid_t pid_of(int pidfd) {
    char path[64], line[128];
    long pid = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Pid: %ld", &pid) == 1)
            break;
    fclose(f);
    return (pid_t)pid;
}

static int start(struct watched *w) {
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    size_t stack = PTHREAD_STACK_MIN > STACK_BYTES ? (size_t)PTHREAD_STACK_MIN : STACK_BYTES;
    pthread_attr_setstacksize(&attr, stack);
    int rc = pthread_create(&thread, &attr, watch, w);
    pthread_attr_destroy(&attr);
    if (rc != 0) { /* large thread-local storage may not fit */
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        rc = pthread_create(&thread, &attr, watch, w);
        pthread_attr_destroy(&attr);
    }
    return rc;
}

int erg_worker_watch_owner(int owner_pidfd) {
    struct watched *w = malloc(sizeof *w);
    if (!w)
        return ERG_ENOMEM;
    w->pidfd = owner_pidfd;
    w->pid = pid_of(owner_pidfd);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = start(w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0)
        return 0;
    free(w);
    return ERG_ESYSTEM;
}
