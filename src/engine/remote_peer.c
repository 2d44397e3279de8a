/* What goes from one place to another without us in between.
 *
 * An agent that listens says so (PEER); it gets a number and a key, and each other agent hears of both when it is first to
 * fetch something there. Where a task needs what lies at other places, its own place is told to fetch it (FETCH), and what it
 * will have then is entered as sent, with `from` until it says FETCHED; tasks that need it are parked meanwhile. What fails
 * is forgotten, and the tasks are looked at again: another place may have it, or it comes through us.
 *
 * When many places want the same, only so many fetch from one at a time, or are sent it by us: the others wait, and those
 * that have it serve them. So it spreads as over a tree, whatever its nodes' speed, and a node that dies is just one that
 * does not serve. Should those that are served be slow, one more is after a second, another after three, after seven, …:
 * nobody waits for the slowest. */
#include "engine/remote_inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CUT_NS                                                                                     \
    (60 * SECOND) /* so long nothing is fetched from an agent that could not be reached */
enum { FETCHERS = 2, SPREAD_LEAST = 256 << 10 };

static int can_reach(struct place *p, const struct place *from, int64_t now) {
    uint64_t until;
    if (p == from || from->peer == 0 || !p->session ||
        (from->state != ERG_PLACE_UP && from->state != ERG_PLACE_BROKEN))
        return 0;
    if (from->peer_scope == ERG_PEER_NOWHERE ||
        (from->peer_scope == ERG_PEER_SAME_HOST && strcmp(p->host, from->host) != 0))
        return 0;
    return !erg_map_get(&p->cut, from->peer, &until) || (uint64_t)now >= until;
}

static struct place *best_source(struct place *p, uint32_t kind, uint64_t id) {
    struct erg_remote *r = p->remote;
    struct place *best = NULL;
    int64_t now = erg_remote_now();
    for (int i = 0; i < r->nplaces; i++) {
        struct place *q = &r->places[i];
        struct sent *s = q->peer ? erg_site_sent(q, kind, id) : NULL;
        if (s && s->arrived && !s->from && !s->rooted && can_reach(p, q, now) &&
            (!best || q->serving < best->serving))
            best = q;
    }
    return best;
}

/* How many may be served at once by somebody who has served these for so long. */
static uint32_t servable(int64_t age) {
    uint32_t n = FETCHERS;
    for (int64_t patience = SECOND; age >= patience; age -= patience, patience *= 2)
        n++;
    return n;
}

static int introduce(struct place *p, const struct place *to) {
    uint64_t known;
    unsigned char head[256];
    if (erg_map_get(&p->met, to->peer, &known))
        return 0;
    struct erg_msg_peer m = {.agent = to->peer,
                             .port = to->peer_port,
                             .address = {to->peer_address, strlen(to->peer_address)}};
    memcpy(m.key, to->peer_key, sizeof m.key);
    int code = erg_map_set(&p->met, to->peer, 1);
    if (code == 0)
        code = erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_PEER, head, erg_msg_peer_encode(&m, head));
    explicit_bzero(head, sizeof head);
    explicit_bzero(&m, sizeof m);
    return code;
}

int erg_peer_fetch(struct place *p, uint32_t kind, uint64_t id, uint64_t offset, uint64_t bytes) {
    struct place *from = best_source(p, kind, id);
    int64_t now = erg_remote_now();
    unsigned char head[64];
    if (!from)
        return 0;
    if (from->serving >= servable(now - from->served_at))
        return 1;
    struct sent *s = introduce(p, from) == 0 ? erg_site_sent_new(p, kind, id, offset) : NULL;
    if (!s)
        return 0;
    struct erg_msg_ids m = {.what = ERG_FETCH_FROM(from->peer, kind), .n = 1, .ids = &id};
    if (kind == ERG_DROP_BLOB)
        erg_site_mark_blob(p->remote, offset);
    if (erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_FETCH, head, erg_msg_ids_encode(&m, head)) < 0) {
        erg_site_unsent(p, s);
        return 0;
    }
    s->from = from->peer;
    s->bytes = bytes;
    if (from->serving++ == 0)
        from->served_at = now;
    p->remote->coming++;
    return 1;
}

int erg_peer_wait(struct place *p, uint64_t offset) {
    struct erg_remote *r = p->remote;
    struct erg_blob_head *head = erg_table_at(r->table, offset);
    struct sent *s = erg_site_sent(p, ERG_DROP_BLOB, head->uid);
    if (s || r->peers == 0)
        return s && s->from;
    uint64_t bytes = erg_payload_size(erg_table_at(r->table, head->offset), (size_t)head->len);
    if (bytes < SPREAD_LEAST)
        return 0;
    if (erg_peer_fetch(p, ERG_DROP_BLOB, head->uid, offset, bytes))
        return 1;
    int64_t now = erg_remote_now(), first = now;
    uint32_t n = 0;
    for (int i = 0; i < r->nplaces; i++) {
        struct place *q = &r->places[i];
        s = erg_site_sent(q, ERG_DROP_BLOB, head->uid);
        if (!s || !s->spreading || q->state != ERG_PLACE_UP || !can_reach(p, q, now))
            continue;
        first = s->spread_at < first ? s->spread_at : first;
        n++;
    }
    return n >= servable(now - first);
}

int64_t erg_peer_look(struct erg_remote *r, int64_t now) {
    if (r->parked == 0 || r->peers < 2)
        return NEVER;
    if (now >= r->unpark_at) {
        r->unpark_at = now + SECOND;
        erg_away_unpark(r);
    }
    return r->unpark_at;
}

void erg_peer_spread(struct place *p, struct sent *s, uint64_t bytes) {
    unsigned char head[64];
    struct erg_msg_ids m = {.what = ERG_FETCH_FROM(p->peer, s->kind), .n = 1, .ids = &s->id};
    if (p->peer == 0 || bytes < SPREAD_LEAST)
        return;
    s->spread_at = erg_remote_now();
    s->spreading =
        erg_site_send(p, ERG_LANE_BULK, ERG_MSG_FETCH, head, erg_msg_ids_encode(&m, head)) == 0;
}

static struct place *place_of(struct erg_remote *r, uint32_t peer) {
    for (int i = 0; i < r->nplaces; i++)
        if (r->places[i].peer == peer)
            return &r->places[i];
    return NULL; /* that agent is gone */
}

void erg_peer_forget(struct place *p, struct sent *s) {
    struct place *from = s->from ? place_of(p->remote, s->from) : NULL;
    if (!s->from)
        return;
    if (from) {
        from->serving--;
        from->served_at = erg_remote_now();
    }
    s->from = 0;
    p->remote->coming--;
}

/* It listens: others may hear of it. */
static int on_peer(struct place *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_peer m;
    int code = erg_msg_peer_decode(body, len, &m, err);
    if (code < 0)
        return code;
    if (p->peer || m.port == 0 || m.address.len == 0 || m.address.len >= sizeof p->peer_address ||
        p->remote->peers + 1 >= ERG_FETCH_AGENTS)
        return erg_error_set(err, ERG_EPROTOCOL,
                             "its agent says where it is in a way that makes "
                             "no sense");
    unsigned char head[128];
    if (getrandom(p->peer_key, sizeof p->peer_key, 0) != (ssize_t)sizeof p->peer_key)
        return 0; /* nobody hears of it, then */
    memcpy(p->peer_address, m.address.bytes, m.address.len);
    p->peer_address[m.address.len] = '\0';
    erg_peer_address_plain(p->peer_address);
    p->peer_scope = erg_peer_scope(p->peer_address);
    p->peer_port = m.port;
    struct erg_msg_peer own = {.agent = p->remote->peers + 1};
    memcpy(own.key, p->peer_key, sizeof own.key);
    if (erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_PEER, head, erg_msg_peer_encode(&own, head)) == 0)
        p->peer = ++p->remote->peers;
    explicit_bzero(head, sizeof head);
    explicit_bzero(&own, sizeof own);
    return 0;
}

static void fetched(struct place *p, struct sent *s, uint32_t why) {
    uint32_t from = s->from;
    if (s->spreading) { /* it has what we sent it */
        s->spreading = 0;
        s->arrived |= why == ERG_FETCH_DONE;
        return;
    }
    erg_peer_forget(p, s);
    if (why == ERG_FETCH_DONE) {
        s->arrived = s->small = 1;
        s->idle_at = erg_remote_now();
        p->bytes_direct += s->bytes;
        return;
    }
    struct place *source = place_of(p->remote, from);
    struct sent *there = source ? erg_site_sent(source, s->kind, s->id) : NULL;
    if (why == ERG_FETCH_MISSING && there)
        there->rooted = 1;
    else if (source)
        erg_map_set(&p->cut, from, (uint64_t)(erg_remote_now() + CUT_NS));
    erg_site_unsent(p, s);
}

static int on_fetched(struct place *p, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct erg_msg_ids m;
    int code = erg_msg_ids_decode(body, len, &m, err);
    uint32_t kind = code == 0 ? m.what & 255 : 0;
    if (code == 0 && (kind < ERG_DROP_FUNC || kind > ERG_DROP_VALUE))
        code = erg_error_set(err, ERG_EPROTOCOL, "its agent has fetched what cannot be");
    for (uint32_t i = 0; i < m.n && code == 0; i++) {
        struct sent *s = erg_site_sent(p, kind, erg_msg_id(&m, i));
        if (s && (s->from || s->spreading)) /* else it was sent meanwhile */
            fetched(p, s, m.what >> 8);
    }
    if (code == 0)
        erg_away_unpark(p->remote);
    return code;
}

int erg_peer_on_message(struct place *p, uint16_t type, const unsigned char *body, size_t len,
                        struct erg_error *err) {
    return type == ERG_MSG_PEER ? on_peer(p, body, len, err) : on_fetched(p, body, len, err);
}

void erg_peer_gone(struct place *p) {
    erg_map_fini(&p->met);
    erg_map_fini(&p->cut);
    explicit_bzero(p->peer_key, sizeof p->peer_key);
    p->peer = 0;
    p->serving = 0;
}
