/* A simulated cluster, for tests and bench/sched.c: places with workers behind links, tasks of random length, and
 * sched/lease.h deciding how many are where. Events in a heap by time. */
#ifndef ERG_SCHED_CLUSTER_KIT_H
#define ERG_SCHED_CLUSTER_KIT_H

#include "sched/lease.h"

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define US INT64_C(1000)
#define MS (1000 * US)

struct event {
    int64_t at;
    uint32_t place;
    int arrives; /* 1: a task at the place; 0: a result here */
    int64_t run;
};
struct heap {
    struct event *e;
    size_t n;
};

static void push(struct heap *h, struct event e) {
    size_t i = h->n++;
    for (; i > 0 && h->e[(i - 1) / 2].at > e.at; i = (i - 1) / 2)
        h->e[i] = h->e[(i - 1) / 2];
    h->e[i] = e;
}

static struct event pop(struct heap *h) {
    struct event top = h->e[0], last = h->e[--h->n];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < h->n; i = k) {
        if (k + 1 < h->n && h->e[k + 1].at < h->e[k].at)
            k++;
        if (h->e[k].at >= last.at)
            break;
        h->e[i] = h->e[k];
    }
    h->e[i] = last;
    return top;
}

struct cluster {
    uint32_t places, slots;
    int64_t rtt, mean;
    uint64_t tasks;
};
struct cluster_outcome {
    double busy;      /* share of the workers' time until the last task was handed out */
    double ns_a_task; /* what deciding cost */
    uint32_t most;    /* leased at one place */
    int settled;      /* nothing was leased any more in the end; 0 also without memory */
};

static struct cluster_outcome simulate_cluster(const struct cluster *c) {
    struct erg_lease *lease = calloc(c->places, sizeof *lease);
    int64_t *free_at = calloc((size_t)c->places * c->slots, sizeof *free_at);
    struct heap heap = {malloc((c->tasks + c->places) * sizeof *heap.e), 0};
    struct cluster_outcome out = {0};
    uint64_t left = c->tasks, deciding = 0;
    int64_t now = 0, drained = 0, work = 0;
    unsigned seed = 3;
    int ready = lease && free_at && heap.e;
    for (uint32_t p = 0; ready && p < c->places; p++) {
        erg_lease_init(&lease[p], c->slots);
        erg_lease_on_rtt(&lease[p], c->rtt);
        push(&heap, (struct event){.at = 0, .place = p, .run = -1});
    }
    while (heap.n > 0) {
        struct event e = pop(&heap);
        now = e.at;
        struct erg_lease *l = &lease[e.place];
        if (e.arrives) { /* the worker that is free first */
            int64_t *w = &free_at[(size_t)e.place * c->slots], *best = w;
            for (uint32_t i = 1; i < c->slots; i++)
                best = w[i] < *best ? &w[i] : best;
            int64_t begin = *best > now ? *best : now;
            *best = begin + e.run;
            push(&heap, (struct event){*best + c->rtt / 2, e.place, 0, e.run});
            continue;
        }
        struct timespec t0, t1;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        if (e.run >= 0)
            erg_lease_on_done(l, 100, e.run);
        uint32_t room = erg_lease_room(l);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        deciding += (uint64_t)((t1.tv_sec - t0.tv_sec) * 1000000000 + t1.tv_nsec - t0.tv_nsec);
        for (; room > 0 && left > 0; room--, left--) {
            int64_t run = c->mean / 2 + (int64_t)(rand_r(&seed) % 1000) * c->mean / 1000;
            erg_lease_on_sent(l, 100);
            work += run;
            push(&heap, (struct event){now + c->rtt / 2, e.place, 1, run});
            drained = now;
        }
        out.most = l->leased > out.most ? l->leased : out.most;
    }
    out.busy = (double)work / ((double)(drained + c->rtt) * c->places * c->slots);
    out.ns_a_task = (double)deciding / (double)c->tasks;
    out.settled = ready;
    for (uint32_t p = 0; ready && p < c->places; p++)
        out.settled &= lease[p].leased == 0 && lease[p].bytes == 0;
    free(heap.e);
    free(lease);
    free(free_at);
    return out;
}

#endif
