/* What workers elsewhere ask: questions wait in a list, and a thread that is started with the first one gives them to the
 * runtime, one after the other, without the lock: it may wait for an interpreter, and read files. What a place asked is
 * forgotten when its session ends. */
#include "engine/remote_inside.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MOST ((uint64_t)16 << 20)
#define WAITING_MOST (16 * ASK_MOST) /* bytes of one place's questions in the list */

struct erg_question {
    struct erg_question *next;
    struct place *place; /* NULL: its session has ended */
    uint64_t id;
    struct iovec piece;
    unsigned char bytes[];
};

static int question_new(struct place *p, uint64_t len, struct erg_question **out,
                        struct erg_error *err) {
    if (len > ASK_MOST)
        return erg_error_set(err, ERG_EPROTOCOL, "a question that is too long");
    if (p->asking > WAITING_MOST)
        return erg_error_set(err, ERG_EPROTOCOL, "more questions than can wait for their answers");
    struct erg_question *q = malloc(sizeof *q + (size_t)len + 1);
    if (!q)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a question");
    *q = (struct erg_question){.place = p, .piece = {q->bytes, (size_t)len}};
    *out = q;
    return 0;
}

static uint64_t size_of(const struct erg_question *q) {
    return sizeof *q + q->piece.iov_len;
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static void release(void *ctx, void *user) {
    (void)ctx;
    free(user);
}

/* Takes the bytes over. */
static void send_answer(struct place *p, uint64_t id, void *bytes, size_t len) {
    unsigned char head[128];
    struct erg_msg_ask m = {.id = id,
                            .flags = bytes ? 0 : ERG_ANSWER_NONE,
                            .payload = {.stream_len = len, .data_len = len}};
    struct iovec piece = {bytes, len};
    size_t head_len = erg_msg_ask_encode(&m, head);
    p->dirty = 1;
    p->bytes_out += len;
    if (erg_session_send(p->session, ERG_LANE_FIRST, ERG_MSG_ANSWER, head, head_len, &piece,
                         len ? 1 : 0, bytes ? release : NULL, NULL, bytes) < 0)
        free(bytes);
    else
        erg_site_write(p);
}

static void *asks_main(void *arg) {
    struct erg_remote *r = arg;
    struct asked *a = &r->asked;
    pthread_setname_np(pthread_self(), "ergon-asked");
    pthread_mutex_lock(&r->lock);
    while (!a->stop) {
        struct erg_question *q = a->first;
        if (!q) {
            pthread_cond_wait(&a->more, &r->lock);
            continue;
        }
        a->first = q->next;
        if (!a->first)
            a->last = NULL;
        a->current = q;
        const char *name = q->place->name;
        void *bytes = NULL;
        size_t len = 0;
        pthread_mutex_unlock(&r->lock);
        a->fn(a->ctx, name, q->bytes, q->piece.iov_len, &bytes, &len);
        pthread_mutex_lock(&r->lock);
        a->current = NULL;
        if (len > ASK_MOST) { /* more than an agent takes */
            free(bytes);
            bytes = NULL;
            len = 0;
        }
        if (q->place)
            q->place->asking -= size_of(q);
        if (q->place && q->place->session)
            send_answer(q->place, q->id, bytes, len);
        else
            free(bytes);
        free(q);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- questions -------------------------------------------------------------------------------------------------- */

static int start(struct erg_remote *r) {
    sigset_t all, old;
    if (r->asked.running)
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&r->asked.thread, NULL, asks_main, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    r->asked.running = rc == 0;
    return rc == 0 ? 0 : ERG_ENOMEM;
}

/* All of it is there. Takes it over. */
static void enter(struct erg_question *q) {
    struct erg_remote *r = q->place->remote;
    struct asked *a = &r->asked;
    q->place->bytes_in += q->piece.iov_len;
    if (!a->fn || start(r) < 0) {
        send_answer(q->place, q->id, NULL, 0);
        free(q);
        return;
    }
    q->place->asking += size_of(q);
    if (a->last)
        a->last->next = q;
    else
        a->first = q;
    a->last = q;
    pthread_cond_signal(&a->more);
}

int erg_site_on_ask(struct place *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_ask m;
    int code = erg_msg_ask_decode(body, len, 1, 0, &m, err);
    if (code < 0)
        return code;
    struct erg_question *q = NULL;
    code = question_new(p, m.payload.data_len, &q, err);
    if (code < 0)
        return code;
    memcpy(q->bytes, m.payload.data, (size_t)m.payload.data_len);
    q->id = m.id;
    enter(q);
    return 0;
}

int erg_site_on_ask_bulk(struct place *p, uint64_t data_len, struct erg_bulk *to,
                         struct erg_error *err) {
    struct erg_question *q = NULL;
    int code = question_new(p, data_len, &q, err);
    if (code < 0)
        return code;
    *to = (struct erg_bulk){&q->piece, 1, q};
    return 0;
}

int erg_site_on_ask_done(const unsigned char *head, size_t head_len, struct erg_bulk *got,
                         struct erg_error *err) {
    struct erg_msg_ask m;
    struct erg_question *q = got->user;
    int code = erg_msg_ask_decode(head, head_len, 0, q->piece.iov_len, &m, err);
    if (code < 0) {
        free(q);
        return code;
    }
    q->id = m.id;
    enter(q);
    return 0;
}

void erg_site_forget_asks(struct place *p) {
    struct asked *a = &p->remote->asked;
    struct erg_question *last = NULL;
    for (struct erg_question **link = &a->first; *link;) {
        struct erg_question *q = *link;
        if (q->place != p) {
            last = q;
            link = &q->next;
            continue;
        }
        *link = q->next;
        free(q);
    }
    a->last = last;
    p->asking = 0;
    if (a->current && a->current->place == p)
        a->current->place = NULL;
}

void erg_remote_on_ask(struct erg_remote *r, erg_asked_fn *fn, void *ctx) {
    pthread_mutex_lock(&r->lock);
    r->asked.fn = fn;
    r->asked.ctx = ctx;
    pthread_mutex_unlock(&r->lock);
}

void erg_remote_asks_stop(struct erg_remote *r) {
    pthread_mutex_lock(&r->lock);
    r->asked.stop = 1;
    pthread_cond_signal(&r->asked.more);
    int running = r->asked.running;
    pthread_mutex_unlock(&r->lock);
    if (running)
        pthread_join(r->asked.thread, NULL);
    while (r->asked.first) {
        struct erg_question *q = r->asked.first;
        r->asked.first = q->next;
        free(q);
    }
}
