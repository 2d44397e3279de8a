#include "engine/forks.h"
#include "base/error.h"

#include <pthread.h>
#include <stddef.h>

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    int failed;
    struct erg_fork_entry *first;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void before_fork(void) {
    pthread_mutex_lock(&registry.lock);
    for (struct erg_fork_entry *e = registry.first; e; e = e->next)
        if (e->before)
            e->before(e->ctx);
}

static void after_in_parent(void) {
    for (struct erg_fork_entry *e = registry.first; e; e = e->next)
        if (e->parent)
            e->parent(e->ctx);
    pthread_mutex_unlock(&registry.lock);
}

static void after_in_child(void) {
    for (struct erg_fork_entry *e = registry.first; e; e = e->next)
        if (e->child)
            e->child(e->ctx);
    registry.first = NULL;
    pthread_mutex_unlock(&registry.lock);
}

static void install(void) {
    registry.failed = pthread_atfork(before_fork, after_in_parent, after_in_child) != 0;
}

int erg_forks_add(struct erg_fork_entry *entry) {
    pthread_once(&registry.once, install);
    if (registry.failed)
        return ERG_ENOMEM;
    pthread_mutex_lock(&registry.lock);
    entry->next = registry.first;
    registry.first = entry;
    pthread_mutex_unlock(&registry.lock);
    return 0;
}

void erg_forks_remove(struct erg_fork_entry *entry) {
    pthread_mutex_lock(&registry.lock);
    for (struct erg_fork_entry **at = &registry.first; *at; at = &(*at)->next)
        if (*at == entry) {
            *at = entry->next;
            break;
        }
    pthread_mutex_unlock(&registry.lock);
}
