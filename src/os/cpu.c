/* Limits of control groups: a container sees the host's processors and memory, but may use only its quota. Version 2 has
 * one tree under /sys/fs/cgroup whose every level may set cpu.max and memory.max; version 1 has a tree a controller.
 * Our own place in it stands in /proc/self/cgroup; inside a container that path may not exist, then its root counts. */
#include "os/cpu.h"
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 512 };

static int read_line(const char *path, char *line, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int ok = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return ok;
}

/* Our path in the hierarchy of `controller` ("" for version 2), cut to its root when there is none. */
static void group_path(const char *controller, char *path, size_t size) {
    char line[PATH_SIZE];
    FILE *file = fopen("/proc/self/cgroup", "re");
    path[0] = '\0';
    while (file && fgets(line, sizeof line, file)) {
        char *names = strchr(line, ':');
        char *place = names ? strchr(names + 1, ':') : NULL;
        if (!place)
            continue;
        *place++ = '\0';
        place[strcspn(place, "\n")] = '\0';
        int match = *controller ? strstr(names + 1, controller) != NULL : names[1] == '\0';
        if (match && strlen(place) < size) {
            memcpy(path, place, strlen(place) + 1);
            break;
        }
    }
    if (file)
        fclose(file);
    if (strcmp(path, "/") == 0)
        path[0] = '\0';
}

/* Calls visit with each directory of the hierarchy from our own up to the root. */
static void each_group(const char *root, const char *controller,
                       void (*visit)(const char *directory, void *ctx), void *ctx) {
    char path[PATH_SIZE], directory[2 * PATH_SIZE];
    group_path(controller, path, sizeof path);
    for (;;) {
        snprintf(directory, sizeof directory, "%s%s", root, path);
        visit(directory, ctx);
        char *slash = strrchr(path, '/');
        if (!slash)
            break;
        *slash = '\0';
    }
}

static void lower_cpus(double quota, double period, void *ctx) {
    uint32_t *cpus = ctx;
    if (quota <= 0 || period <= 0)
        return;
    double whole = quota / period;
    uint32_t allowed = whole < 1 ? 1 : (uint32_t)(whole + 0.5);
    if (allowed < *cpus)
        *cpus = allowed;
}

static void visit_cpu_v2(const char *directory, void *ctx) {
    char path[3 * PATH_SIZE], line[128];
    double quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    if (read_line(path, line, sizeof line) && sscanf(line, "%lf %lf", &quota, &period) == 2)
        lower_cpus(quota, period, ctx);
}

static void visit_cpu_v1(const char *directory, void *ctx) {
    char path[3 * PATH_SIZE], quota[64], period[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
    if (!read_line(path, quota, sizeof quota))
        return;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
    if (read_line(path, period, sizeof period))
        lower_cpus(atof(quota), atof(period), ctx);
}

static uint32_t affinity_count(void) {
    size_t n = 1024;
    for (; n <= 65536; n *= 4) {
        cpu_set_t *set = CPU_ALLOC(n);
        if (!set)
            break;
        int ok = sched_getaffinity(0, CPU_ALLOC_SIZE(n), set) == 0;
        int count = ok ? CPU_COUNT_S(CPU_ALLOC_SIZE(n), set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return (uint32_t)count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

uint32_t erg_cpu_count(void) {
    uint32_t cpus = affinity_count();
    each_group("/sys/fs/cgroup", "", visit_cpu_v2, &cpus);
    each_group("/sys/fs/cgroup/cpu", "cpu", visit_cpu_v1, &cpus);
    return cpus;
}

static void lower_memory(const char *path, void *ctx) {
    char line[128], *end;
    uint64_t *bytes = ctx;
    if (!read_line(path, line, sizeof line))
        return;
    unsigned long long limit = strtoull(line, &end, 10);
    if (end != line && limit > 0 && limit < *bytes)
        *bytes = limit;
}

static void visit_memory_v2(const char *directory, void *ctx) {
    char path[3 * PATH_SIZE];
    snprintf(path, sizeof path, "%s/memory.max", directory);
    lower_memory(path, ctx);
}

static void visit_memory_v1(const char *directory, void *ctx) {
    char path[3 * PATH_SIZE];
    snprintf(path, sizeof path, "%s/memory.limit_in_bytes", directory);
    lower_memory(path, ctx);
}

uint64_t erg_cpu_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : (uint64_t)1 << 30;
    each_group("/sys/fs/cgroup", "", visit_memory_v2, &bytes);
    each_group("/sys/fs/cgroup/memory", "memory", visit_memory_v1, &bytes);
    return bytes;
}

/* The number behind `key` in a file of lines "key number". 1 if it is there. */
static int read_count(const char *path, const char *key, uint64_t *count) {
    char line[128];
    size_t len = strlen(key);
    FILE *file = fopen(path, "re");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        if ((found = strncmp(line, key, len) == 0 && line[len] == ' '))
            *count = strtoull(line + len, NULL, 10);
    if (file)
        fclose(file);
    return found;
}

struct kills {
    uint64_t count;
    int known; /* of the innermost group that says */
};

static void visit_kills_v2(const char *directory, void *ctx) {
    char path[3 * PATH_SIZE];
    struct kills *kills = ctx;
    snprintf(path, sizeof path, "%s/memory.events", directory);
    if (!kills->known)
        kills->known = read_count(path, "oom_kill", &kills->count);
}

uint64_t erg_cpu_oom_kills(void) {
    struct kills kills = {0};
    each_group("/sys/fs/cgroup", "", visit_kills_v2, &kills);
    if (!kills.known)
        read_count("/proc/vmstat", "oom_kill", &kills.count);
    return kills.count;
}
