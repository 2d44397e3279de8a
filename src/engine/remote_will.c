/* The keeper of a pool's places: a process that tells agents when this one has died (launch/will.h). It is started when the
 * first place is up, and ended when the last agent was said goodbye to. When it is killed there is soon another; in
 * between, agents have their lease. */
#include "engine/remote_inside.h"

#include <sys/epoll.h>

#define WAIT_FIRST (1 * SECOND)
#define TELL_AGAIN (50 * MS)
#define WAIT_MOST (300 * SECOND)

static void start(struct erg_remote *r, int64_t now) {
    if (!r->keeper_argv || now < r->keeper_at)
        return;
    /* Whatever makes it fail would do so again at once. */
    r->keeper_wait = r->keeper_wait ? r->keeper_wait * 2 : WAIT_FIRST;
    r->keeper_wait = r->keeper_wait < WAIT_MOST ? r->keeper_wait : WAIT_MOST;
    r->keeper_at = now + r->keeper_wait;
    if (erg_keeper_start(&r->keeper, r->keeper_argv, NULL) < 0)
        return;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = TAG_KEEPER};
    epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->keeper.process.sock, &e);
}

static void gone(struct erg_remote *r) {
    for (int i = 0; i < r->nplaces; i++)
        r->places[i].willed = 0;
}

/* Is somebody there whom our death would concern? A plain command's agent ends with its link. */
static int concerned(const struct place *p) {
    return p->session && (p->willed || p->greeted) &&
           (p->reach.kind != ERG_REACH_EXEC || p->reach.script);
}

void erg_will_look(struct place *p, int64_t now) {
    struct erg_remote *r = p->remote;
    int wanted = concerned(p);
    if (wanted == p->willed)
        return;
    if (r->keeper.process.pid == 0 && wanted)
        start(r, now);
    if (r->keeper.process.pid == 0 || now < r->tell_at)
        return;
    int code = erg_keeper_tell(&r->keeper, p->number, wanted ? &p->reach : NULL, p->tag,
                               erg_site_lease_ns(p));
    if (code == 0)
        p->willed = wanted;
    else /* its socket is full, or we are out of descriptors */
        r->tell_at = now + TELL_AGAIN;
}

void erg_will_on_event(struct erg_remote *r) {
    if (erg_keeper_look(&r->keeper))
        gone(r);
    else
        r->keeper_wait = 0; /* it has come up */
}

void erg_will_end(struct erg_remote *r) {
    erg_keeper_end(&r->keeper);
    gone(r);
    r->keeper_at = r->keeper_wait = 0;
}
