#include "engine/watch.h"

#include <stdlib.h>
#include <unistd.h>

struct erg_watch {
    uv_poll_t poll; /* first: uv hands back its address */
    int fd;
    void (*fn)(void *owner);
    void *owner;
};

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct erg_watch *w = (struct erg_watch *)poll;
    (void)status; /* an error shows when the descriptor is read */
    (void)events;
    w->fn(w->owner);
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

struct erg_watch *erg_watch_new(uv_loop_t *loop, int fd, void (*fn)(void *owner), void *owner) {
    struct erg_watch *w = calloc(1, sizeof *w);
    if (!w) {
        close(fd);
        return NULL;
    }
    w->fd = fd;
    w->fn = fn;
    w->owner = owner;
    if (uv_poll_init(loop, &w->poll, fd) != 0) {
        close(fd);
        free(w);
        return NULL;
    }
    if (uv_poll_start(&w->poll, UV_READABLE | UV_DISCONNECT, on_poll) != 0) {
        erg_watch_free(w);
        return NULL;
    }
    return w;
}

void erg_watch_free(struct erg_watch *w) {
    if (!w)
        return;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_closed);
    close(w->fd);
    w->fd = -1;
}

int erg_watch_fd(const struct erg_watch *w) {
    return w->fd;
}

void erg_watch_abandon(struct erg_watch *w) {
    if (w && w->fd >= 0)
        close(w->fd);
}
