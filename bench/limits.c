/* What this machine allows: the figures no library can beat, one "name seconds" a line.
 *
 *     cc -O2 -pthread -o limits bench/limits.c && ./limits
 *
 * Two processes take part where two are needed, each on a processor of its own if there is more than one. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_TRIPS = 2000, SLEEP_TRIPS = 300, BATCHES = 60, COPIES = 9 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A limit is what the machine can do, so the least disturbed batch counts. */
static void report(const char *name, const double *seconds, int n) {
    double least = seconds[0];
    for (int i = 1; i < n; i++)
        least = seconds[i] < least ? seconds[i] : least;
    printf("%s %.4g\n", name, least);
    fflush(stdout);
}

static cpu_set_t may; /* the processors we were given */

/* Moves the caller to the n-th of them. */
static void go_to(int n) {
    cpu_set_t one;
    n %= CPU_COUNT(&may);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &may) && n-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

static void *shared_memory(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return p;
}

struct lines {
    _Alignas(128) _Atomic uint32_t ping;
    _Alignas(128) _Atomic uint32_t pong;
};

static void spin_until(_Atomic uint32_t *word, uint32_t value) {
    while (atomic_load_explicit(word, memory_order_acquire) != value)
        __builtin_ia32_pause();
}

static void sleep_until(_Atomic uint32_t *word, uint32_t value) {
    for (;;) {
        uint32_t seen = atomic_load(word);
        if (seen == value)
            return;
        syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
}

static void set_and_wake(_Atomic uint32_t *word, uint32_t value) {
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void set_only(_Atomic uint32_t *word, uint32_t value) {
    atomic_store_explicit(word, value, memory_order_release);
}

static void round_trips(const char *name, uint32_t trips,
                        void (*wait_for)(_Atomic uint32_t *, uint32_t),
                        void (*set)(_Atomic uint32_t *, uint32_t)) {
    struct lines *lines = shared_memory(sizeof *lines);
    uint32_t all = trips * BATCHES;
    pid_t child = fork();
    if (child == 0) {
        go_to(1);
        for (uint32_t i = 1; i <= all; i++) {
            wait_for(&lines->ping, i);
            set(&lines->pong, i);
        }
        _exit(0);
    }
    double took[BATCHES];
    uint32_t i = 0;
    for (int batch = 0; batch < BATCHES; batch++) {
        double start = now();
        for (uint32_t end = i + trips; i < end;) {
            set(&lines->ping, ++i);
            wait_for(&lines->pong, i);
        }
        took[batch] = (now() - start) / trips;
    }
    waitpid(child, NULL, 0);
    report(name, took, BATCHES);
    munmap(lines, sizeof *lines);
}

static void pipe_round_trips(void) {
    int to[2], from[2];
    char byte = 0;
    if (pipe(to) != 0 || pipe(from) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        go_to(1);
        close(to[1]);
        while (read(to[0], &byte, 1) == 1 && write(from[1], &byte, 1) == 1)
            ;
        _exit(0);
    }
    double took[BATCHES];
    for (int batch = 0; batch < BATCHES; batch++) {
        double start = now();
        for (int i = 0; i < SLEEP_TRIPS; i++) {
            if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
                exit(1);
        }
        took[batch] = (now() - start) / SLEEP_TRIPS;
    }
    close(to[1]);
    waitpid(child, NULL, 0);
    close(to[0]);
    close(from[0]);
    close(from[1]);
    report("pipe_round_trip", took, BATCHES);
}

/* Seconds to copy 200 MB; `block` bytes at a time from and to the same place when that is smaller. */
static void copying(const char *name, size_t block) {
    const size_t total = 200u << 20;
    char *from = malloc(block), *to = malloc(block);
    double took[COPIES];
    memset(from, 1, block);
    memset(to, 2, block);
    for (int batch = 0; batch < COPIES; batch++) {
        double start = now();
        for (size_t done = 0; done < total; done += block) {
            memcpy(to, from, block);
            __asm__ volatile("" ::: "memory");
        }
        took[batch] = now() - start;
    }
    report(name, took, COPIES);
    free(from);
    free(to);
}

/* Seconds to write 200 MB of pages nobody has touched before. */
static void first_touch(const char *name, int shared) {
    const size_t total = 200u << 20;
    double took[3];
    for (int batch = 0; batch < 3; batch++) {
        char *p = mmap(NULL, total, PROT_READ | PROT_WRITE,
                       (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return;
        double start = now();
        memset(p, 1, total);
        took[batch] = now() - start;
        munmap(p, total);
    }
    report(name, took, 3);
}

static void processes(void) {
    double took[BATCHES];
    for (int batch = 0; batch < BATCHES; batch++) {
        double start = now();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
        took[batch] = now() - start;
    }
    report("fork", took, BATCHES);
}

static void system_call(void) {
    double took[BATCHES];
    for (int batch = 0; batch < BATCHES; batch++) {
        double start = now();
        for (int i = 0; i < 10000; i++)
            syscall(SYS_getppid);
        took[batch] = (now() - start) / 10000;
    }
    report("system_call", took, BATCHES);
}

int main(void) {
    if (sched_getaffinity(0, sizeof may, &may) != 0) {
        perror("sched_getaffinity");
        return 1;
    }
    go_to(0);
    if (CPU_COUNT(&may) > 1)
        round_trips("spin_round_trip", SPIN_TRIPS, spin_until, set_only);
    round_trips("futex_round_trip", SLEEP_TRIPS, sleep_until, set_and_wake);
    pipe_round_trips();
    system_call();
    processes();
    copying("memcpy_200mb_cached", 256u << 10);
    copying("memcpy_200mb", 200u << 20);
    first_touch("touch_200mb_private", 0);
    first_touch("touch_200mb_shared", 1);
    return 0;
}
