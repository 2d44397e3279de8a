/* What the kernel says. Each check reads what it needs itself and adds its findings. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor.h"

enum { LINE = 256 };

#define ADD erg_findings_add

/* The first line of a file, without its end; false when there is no such file. */
static bool first_line(const char *path, char *to, size_t size) {
    FILE *file = fopen(path, "re");
    bool got = file && fgets(to, (int)size, file);
    if (file) {
        fclose(file);
    }
    if (got) {
        to[strcspn(to, "\n")] = 0;
    }
    return got;
}

/* A number of /proc/meminfo in bytes, or -1. */
static double meminfo(const char *key) {
    char line[LINE];
    double found = -1;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && found < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':') {
            found = strtod(line + strlen(key) + 1, NULL) * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

/* The folder of this process's control group for `controller` ("" is version 2), below `root`. */
static bool cgroup(const char *controller, const char *root, char *to, size_t size) {
    char line[PATH_MAX];
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        char *names = strchr(line, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) {
            continue;
        }
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        names++;
        size_t len = strlen(controller);
        for (const char *name = names; name;
             name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL) {
            size_t own = strcspn(name, ",");
            if (own == len && strncmp(name, controller, len) == 0) {
                found = snprintf(to, size, "%s%s", root, strcmp(path, "/") == 0 ? "" : path) <
                        (int)size;
            }
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

/* A number in a file of the control group or of one above it, the smallest; -1 when there is no limit. The
 * file holds a number, or "max". In a container the path may name folders that are not there. */
static double cgroup_limit(const char *controller, const char *root, const char *file,
                           double *second) {
    char folder[PATH_MAX], path[PATH_MAX + LINE], line[LINE];
    double least = -1;
    if (!cgroup(controller, root, folder, sizeof folder)) {
        return -1;
    }
    for (;;) {
        if (snprintf(path, sizeof path, "%s/%s", folder, file) < (int)sizeof path &&
            first_line(path, line, sizeof line) && strncmp(line, "max", 3) != 0) {
            char *end;
            double value = strtod(line, &end);
            if (value >= 0 && (least < 0 || value < least)) {
                least = value;
                *second = strtod(end, NULL);
            }
        }
        char *last = strrchr(folder, '/');
        if (!last || strlen(folder) <= strlen(root)) {
            return least;
        }
        *last = 0;
    }
}

static void check_kernel(struct erg_findings *f) {
    struct utsname about;
    int major = 0, minor = 0;
    uname(&about);
    sscanf(about.release, "%d.%d", &major, &minor);
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd < 0) {
        ADD(f, ERG_VERDICT_FAIL, "kernel",
            "Linux 5.3 or newer is needed, or a container whose seccomp profile allows pidfd_open",
            "%s %s %s: pidfd_open: %s", about.sysname, about.release, about.machine,
            strerror(errno));
        return;
    }
    close(fd);
    bool old = major < 5 || (major == 5 && minor < 10);
    ADD(f, old ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "kernel",
        old ? "Linux 5.10 or newer is what ergon is tested on" : NULL, "%s %s %s, pidfd works",
        about.sysname, about.release, about.machine);
}

static void check_clock(struct erg_findings *f) {
    char source[LINE] = "unknown";
    first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
               sizeof source);
    bool slow = strcmp(source, "hpet") == 0 || strcmp(source, "acpi_pm") == 0 ||
                strcmp(source, "jiffies") == 0;
    ADD(f, slow ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "clock",
        slow ? "reading the time costs microseconds here; short tasks and traces suffer" : NULL,
        "clock source %s", source);
}

static void check_cores(struct erg_findings *f) {
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int ours = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)online;
    double period = 0, quota = cgroup_limit("", "/sys/fs/cgroup", "cpu.max", &period), cores = -1;
    if (quota < 0) {
        double unused = 0;
        quota = cgroup_limit("cpu", "/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", &unused);
        period =
            quota < 0 ? 0 : cgroup_limit("cpu", "/sys/fs/cgroup/cpu", "cpu.cfs_period_us", &unused);
    }
    if (quota > 0 && period > 0) {
        cores = quota / period;
    }
    if (cores > 0 && cores < ours - 0.01) {
        ADD(f, ERG_VERDICT_WARN, "cores", "give pools that many workers: ergon.ProcessPool(n)",
            "%d of %ld, but the control group allows the time of %.2g", ours, online, cores);
        return;
    }
    ADD(f, ERG_VERDICT_OK, "cores", NULL, "%d of %ld may be used, no quota below that", ours,
        online);
}

static void check_load(struct erg_findings *f) {
    double load = 0;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (getloadavg(&load, 1) != 1) {
        return;
    }
    bool busy = load > (double)online;
    ADD(f, busy ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "load",
        busy ? "others use this machine: expect less speed-up, and do not trust measurements"
             : NULL,
        "%.1f runnable on average over the last minute, for %ld cores", load, online);
}

static void check_memory(struct erg_findings *f) {
    double total = meminfo("MemTotal"), available = meminfo("MemAvailable"), unused = 0;
    double limit = cgroup_limit("", "/sys/fs/cgroup", "memory.max", &unused);
    if (limit < 0) {
        limit = cgroup_limit("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", &unused);
    }
    bool limited = limit > 0 && limit < total;
    bool little = available >= 0 && available < 512e6;
    ADD(f, little ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "memory",
        little ? "little is left: workers may be killed for memory; use fewer of them" : NULL,
        "%.1f of %.1f GB available", available / 1e9, total / 1e9);
    if (limited) {
        ADD(f, limit < 1e9 ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "memory limit",
            limit < 1e9 ? "the workers share it; more than that gets one of them killed" : NULL,
            "the control group allows %.1f GB", limit / 1e9);
    }
}

static void check_tasks(struct erg_findings *f) {
    double unused = 0, limit = cgroup_limit("", "/sys/fs/cgroup", "pids.max", &unused);
    if (limit < 0) {
        limit = cgroup_limit("pids", "/sys/fs/cgroup/pids", "pids.max", &unused);
    }
    if (limit >= 0) {
        ADD(f, limit < 128 ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "task limit",
            limit < 128 ? "processes and threads count; use fewer workers or raise pids.max" : NULL,
            "the control group allows %.0f", limit);
    }
}

static void check_overcommit(struct erg_findings *f) {
    char mode[LINE];
    if (first_line("/proc/sys/vm/overcommit_memory", mode, sizeof mode)) {
        bool strict = strcmp(mode, "2") == 0;
        ADD(f, strict ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "overcommit",
            strict ? "forked workers count in full against the limit; sysctl "
                     "vm.overcommit_memory=0 is easier"
                   : NULL,
            "vm.overcommit_memory is %s", mode);
    }
}

static void check_shared_memory(struct erg_findings *f) {
    const size_t size = 1 << 20;
    int fd = memfd_create("ergon-doctor", MFD_CLOEXEC);
    void *at = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)size) == 0) {
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (at == MAP_FAILED) {
        ADD(f, ERG_VERDICT_FAIL, "shared memory",
            "the system or its seccomp profile must allow memfd_create", "memfd_create: %s",
            strerror(errno));
    } else {
        memset(at, 1, size);
        munmap(at, size);
        ADD(f, ERG_VERDICT_OK, "shared memory", NULL, "memfd works");
    }
    if (fd >= 0) {
        close(fd);
    }
    struct statvfs shm;
    if (statvfs("/dev/shm", &shm) != 0) {
        ADD(f, ERG_VERDICT_WARN, "/dev/shm", "ergon does not need it; other libraries may", "%s",
            strerror(errno));
        return;
    }
    double space = (double)shm.f_bsize * (double)shm.f_bavail;
    ADD(f, ERG_VERDICT_OK, "/dev/shm", NULL, "%.1f of %.1f GB free", space / 1e9,
        (double)shm.f_frsize * (double)shm.f_blocks / 1e9);
}

static void check_huge_pages(struct erg_findings *f) {
    char mode[LINE] = "not there", shared[LINE] = "not there";
    first_line("/sys/kernel/mm/transparent_hugepage/enabled", mode, sizeof mode);
    first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", shared, sizeof shared);
    ADD(f, ERG_VERDICT_OK, "huge pages", NULL, "%s; shared memory: %s", mode, shared);
}

static void check_limit(struct erg_findings *f, int which, const char *name, double least,
                        const char *advice) {
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)which, &limit) != 0) {
        return;
    }
    if (limit.rlim_cur == RLIM_INFINITY) {
        ADD(f, ERG_VERDICT_OK, name, NULL, "unlimited");
        return;
    }
    bool low = (double)limit.rlim_cur < least;
    ADD(f, low ? ERG_VERDICT_WARN : ERG_VERDICT_OK, name, low ? advice : NULL, "%llu",
        (unsigned long long)limit.rlim_cur);
}

static void check_temporary(struct erg_findings *f) {
    const char *folder = getenv("TMPDIR");
    struct statvfs space;
    folder = folder && *folder ? folder : "/tmp";
    if (access(folder, W_OK | X_OK) != 0 || statvfs(folder, &space) != 0) {
        ADD(f, ERG_VERDICT_WARN, "temporary files", "set TMPDIR to a folder that can be written",
            "%s: %s", folder, strerror(errno));
        return;
    }
    double free_bytes = (double)space.f_bsize * (double)space.f_bavail;
    ADD(f, free_bytes < 100e6 ? ERG_VERDICT_WARN : ERG_VERDICT_OK, "temporary files",
        free_bytes < 100e6 ? "make room, or set TMPDIR to another folder" : NULL,
        "%s, %.1f GB free", folder, free_bytes / 1e9);
}

void erg_doctor_system(struct erg_findings *findings) {
    check_kernel(findings);
    check_clock(findings);
    check_cores(findings);
    check_load(findings);
    check_memory(findings);
    check_tasks(findings);
    check_overcommit(findings);
    check_shared_memory(findings);
    check_huge_pages(findings);
    check_limit(findings, RLIMIT_NOFILE, "open files", 256,
                "a worker takes a few descriptors: ulimit -n 1024");
    check_limit(findings, RLIMIT_NPROC, "processes", 128, "ulimit -u 1024: threads count too");
    check_limit(findings, RLIMIT_AS, "address space", 1e13,
                "shared memory is mapped in large ranges: ulimit -v unlimited");
    check_temporary(findings);
}
