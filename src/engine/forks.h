/* engine/forks: what has to happen when this process forks.
 *
 * The one global of the library: pthread_atfork knows no context. Whoever owns locks or shared mappings that must not
 * leak into a forked child keeps an entry here.
 */
#ifndef ERG_ENGINE_FORKS_H
#define ERG_ENGINE_FORKS_H

struct erg_fork_entry {
    void (*before)(void *ctx); /* in the parent, before: take the locks. May be NULL */
    void (*parent)(void *ctx); /* in the parent, after: release them. May be NULL */
    void (*child)(
        void *
            ctx); /* in the child: release them and let go of everything; async-signal-safe calls only */
    void *ctx;
    struct erg_fork_entry *next;
};

/* Any thread. In the child all entries are forgotten after `child` was called. 0, or ERG_ENOMEM. */
int erg_forks_add(struct erg_fork_entry *entry);
void erg_forks_remove(struct erg_fork_entry *entry);

#endif
