/* engine/watch: a descriptor the loop looks at, with its handle and its descriptor owned together. */
#ifndef ERG_ENGINE_WATCH_H
#define ERG_ENGINE_WATCH_H

#include <uv.h>

struct erg_watch;

/* Calls fn(owner) in the loop whenever fd is readable (or hung up). Takes fd over, also on failure. Loop thread. */
struct erg_watch *erg_watch_new(uv_loop_t *loop, int fd, void (*fn)(void *owner), void *owner);
/* fn is not called any more; the descriptor is closed at once, memory later by the loop. Loop thread. NULL is fine. */
void erg_watch_free(struct erg_watch *watch);
int erg_watch_fd(const struct erg_watch *watch);
/* In a forked child: closes the descriptor and nothing else. Async-signal-safe. NULL is fine. */
void erg_watch_abandon(struct erg_watch *watch);

#endif
