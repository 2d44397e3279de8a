#include "os/standing.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t digest_of_groups(void) {
    int n = getgroups(0, NULL);
    gid_t *groups = n > 0 ? malloc((size_t)n * sizeof *groups) : NULL;
    uint64_t digest = 1469598103934665603u;
    n = groups ? getgroups(n, groups) : 0;
    for (int i = 0; i < n; i++)
        digest = (digest ^ groups[i]) * 1099511628211u;
    free(groups);
    return digest;
}

static void read_thread(struct erg_standing_thread *out) {
    struct sched_param param = {0};
    sched_getaffinity(0, sizeof out->processors, (cpu_set_t *)(void *)out->processors);
    out->nice = getpriority(PRIO_PROCESS, 0); /* on Linux: of this thread */
    out->policy = sched_getscheduler(0);
    out->priority = sched_getparam(0, &param) == 0 ? param.sched_priority : 0;
}

void erg_standing_read(struct erg_standing *out) {
    int saved = errno;
    memset(out, 0, sizeof *out); /* it is compared byte by byte */
    uid_t u[3] = {0};
    gid_t g[3] = {0};
    getresuid(&u[0], &u[1], &u[2]);
    getresgid(&g[0], &g[1], &g[2]);
    for (int i = 0; i < 3; i++) {
        out->users[i] = u[i];
        out->groups[i] = g[i];
    }
    out->others = digest_of_groups();
    for (int i = 0; i < 16 && i < (int)RLIM_NLIMITS; i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)i, &limit) == 0) {
            out->limits[i][0] = limit.rlim_cur;
            out->limits[i][1] = limit.rlim_max;
        }
    }
    struct stat root;
    if (stat("/", &root) == 0) {
        out->root[0] = root.st_dev;
        out->root[1] = root.st_ino;
    }
    read_thread(&out->thread);
    errno = saved;
}

int erg_standing_same(const struct erg_standing *a, const struct erg_standing *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

int erg_standing_thread_same(const struct erg_standing_thread *a,
                             const struct erg_standing_thread *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

void erg_standing_take(const struct erg_standing_thread *thread) {
    struct sched_param param = {.sched_priority = thread->priority};
    sched_setaffinity(0, sizeof thread->processors,
                      (const cpu_set_t *)(const void *)thread->processors);
    setpriority(PRIO_PROCESS, 0, thread->nice);
    if (thread->policy >= 0)
        sched_setscheduler(0, thread->policy, &param);
}
