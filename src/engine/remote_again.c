/* Results that stayed at a place, were lost with it, and are made again.
 *
 * Only those of tasks that may run twice: pure ones, and those with retries left. What such a task needs is kept: its
 * arguments lie in its record, what it reads lies in records that it holds (while again_bytes is not 0), until its result is
 * here. So nothing is done before a host is lost, and nothing is run before somebody wants the result. Then the task is
 * entered once more, as a record of ours that is a copy of its own; with it those whose results it reads and that were
 * lost as well, each once, in order. The first record stays DONE all the while: who waits for its value goes on waiting, and
 * gets what the copy brought. What was made again comes home: it shall not be lost a third time.
 *
 *     THERE at a place ── lost ──> listed here ── wanted ──> its copy runs ── done ──> HERE, or LOST
 *
 * The submitter may not free the record while its copy runs, which reads what the record owns: erg_away_hold.
 *
 * What is kept is bounded: when the arguments of all tasks whose results are away, and the results elsewhere that they
 * read, exceed remote->lineage bytes, the next result comes home at once. A task whose result is here needs neither
 * arguments nor predecessors, and those need theirs no more. */
#include "engine/remote_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS (2 * MS)
#define NOBODY_NS (2 * SECOND) /* how long nobody who could run it need be there */

struct lost {
    struct lost *next;
    erg_handle task;
    uint64_t away; /* of its struct erg_away; 0: that is settled, only the copy is left */
    int held;      /* its record stays */
    uint32_t copy; /* ERG_NIL: not begun */
    int64_t nobody_at;
    struct lost *later; /* of those that are begun together */
    char *words;
};

static struct erg_away *away_at(struct erg_remote *r, uint64_t away) {
    return erg_table_at(r->table, away);
}

static struct lost *lost_find(struct erg_remote *r, erg_handle task) {
    uint64_t found;
    return r->nlost && erg_map_get(&r->lost_by, task, &found) ? (struct lost *)(uintptr_t)found
                                                              : NULL;
}

/* --- what is kept for it --------------------------------------------------------------------------------------------- */

static struct erg_record *record_of(struct erg_remote *r, erg_handle task) {
    return erg_table_record(r->table, ERG_HANDLE_INDEX(task));
}

int erg_again_note(struct erg_remote *r, uint32_t index, struct erg_away *a) {
    struct erg_record *record = erg_table_record(r->table, index);
    if (atomic_load(&record->submitter) != r->owner->number)
        return 0; /* a worker's: it may die, and all it has entered is freed */
    if (!(record->first & (ERG_CALL_PURE | ERG_CALL_ANEW)) && record->retries == 0)
        return 0;
    unsigned char *args = erg_record_bytes(r->table, record, &record->args);
    uint64_t bytes = 1 + erg_payload_size(args, (size_t)record->args.len);
    uint32_t n;
    struct erg_ref *refs = erg_payload_refs(args, (size_t)record->args.len, &n);
    for (uint32_t i = 0; i < n; i++) {
        struct erg_away *before =
            atomic_load_explicit(&refs[i].flags, memory_order_relaxed) & ERG_REF_TASK
                ? erg_record_away(r->table, record_of(r, refs[i].offset))
                : NULL;
        bytes += before && erg_away_phase(before) == ERG_AWAY_THERE ? before->bytes : 0;
    }
    atomic_store_explicit(&a->again_bytes, bytes, memory_order_relaxed);
    r->again_bytes += bytes;
    return r->again_bytes > r->lineage;
}

void erg_again_forget(struct erg_remote *r, struct erg_away *a) {
    r->again_bytes -= atomic_load_explicit(&a->again_bytes, memory_order_relaxed);
    atomic_store_explicit(&a->again_bytes, 0, memory_order_relaxed);
}

void erg_again_not_needed(struct erg_remote *r, struct erg_away *a) {
    if (!atomic_load_explicit(&a->again_bytes, memory_order_relaxed) || !erg_away_hold(a))
        return;
    struct erg_record *record = record_of(r, a->task);
    if (record->args.len)
        erg_payload_free_refs(r->m, erg_record_bytes(r->table, record, &record->args),
                              (size_t)record->args.len);
    if (record->args.offset)
        erg_arena_free(r->m, record->args.offset);
    record->args.offset = 0;
    record->args.len = 0;
}

/* --- lost ------------------------------------------------------------------------------------------------------------ */

int erg_again_keep(struct place *p, struct sent *s) {
    struct erg_remote *r = p->remote;
    struct erg_away *a = away_at(r, s->away);
    if (!atomic_load_explicit(&a->again_bytes, memory_order_relaxed) ||
        erg_away_phase(a) != ERG_AWAY_THERE)
        return 0;
    char words[2 * ERG_ERROR_TEXT_SIZE];
    snprintf(words, sizeof words, "host %s was lost, and the task's result with it: %s", p->name,
             p->failure.text);
    struct lost *l = malloc(sizeof *l);
    char *copy = strdup(words);
    if (!l || !copy || erg_map_set(&r->lost_by, a->task, (uintptr_t)l) < 0) {
        free(l);
        free(copy);
        return 0;
    }
    *l = (struct lost){
        .next = r->lost, .task = a->task, .away = s->away, .copy = ERG_NIL, .words = copy};
    r->lost = l;
    r->nlost++;
    r->again_at = 0;
    s->away = 0;
    return 1;
}

/* Its value is settled; the copy, if there is one, is left. */
static void settle(struct erg_remote *r, struct lost *l, enum erg_away_phase phase, uint64_t offset,
                   uint64_t len) {
    uint64_t away = l->away, unused;
    erg_again_forget(r, away_at(r, away));
    l->away = 0;
    r->again_at = 0;
    erg_map_take(&r->lost_by, l->task, &unused);
    r->held--;
    if (erg_away_settle(r->m, away, phase, offset, len))
        return;
    if (phase == ERG_AWAY_HERE)
        erg_payload_free_refs(r->m, erg_table_at(r->table, offset), (size_t)len);
    if (offset)
        erg_arena_free(r->m, offset);
    erg_arena_free(r->m, away);
}

static void give_up(struct erg_remote *r, struct lost *l, const char *words, const char *more,
                    int more_len) {
    char text[4 * ERG_ERROR_TEXT_SIZE];
    uint64_t block = 0;
    int n = snprintf(text, sizeof text, "%s%s%.*s", words, more_len ? "; made again: " : "",
                     more_len, more);
    size_t len = n < (int)sizeof text ? (size_t)n : sizeof text - 1;
    if (erg_arena_alloc(r->m, len, &block, NULL) < 0)
        block = 0, len = 0;
    else
        memcpy(erg_table_at(r->table, block), text, len);
    settle(r, l, ERG_AWAY_LOST, block, len);
}

/* --- begun ------------------------------------------------------------------------------------------------------------- */

/* A record that does what the task's did; what it reads is the first one's. ERG_NIL. */
static uint32_t copy_of(struct erg_remote *r, erg_handle task) {
    struct erg_record *from = record_of(r, task);
    uint32_t index;
    if (erg_record_new(r->owner, &index) < 0)
        return ERG_NIL;
    struct erg_record *to = erg_table_record(r->table, index);
    unsigned char *args = erg_record_args_reserve(r->owner, index, (size_t)from->args.len);
    if (!args) {
        erg_record_free(r->owner, index);
        return ERG_NIL;
    }
    memcpy(args, erg_record_bytes(r->table, from, &from->args), (size_t)from->args.len);
    uint32_t n;
    struct erg_ref *refs = erg_payload_refs(args, (size_t)from->args.len, &n);
    for (uint32_t i = 0; i < n; i++)
        atomic_fetch_or_explicit(&refs[i].flags, ERG_REF_SHARED | ERG_REF_TAKEN,
                                 memory_order_relaxed);
    int pure = (from->first & (ERG_CALL_PURE | ERG_CALL_ANEW)) != 0;
    if (!pure)
        from->retries--;
    to->kind = from->kind;
    to->queue = from->queue;
    to->retries = from->retries;
    to->user8 = from->user8;
    to->user16 = from->user16;
    to->fn = from->fn;
    to->timeout_ns = from->timeout_ns & ~ERG_TIMEOUT_HELD;
    to->first = from->first & ~(uint32_t)ERG_CALL_STAYS;
    if (atomic_load_explicit(&r->table->header->tracing, memory_order_relaxed))
        to->end_ns = (uint64_t)erg_remote_now();
    return index;
}

/* It comes after the copies of what it reads. Where there is no memory for that, whoever runs it waits for them. */
static void link_copy(struct erg_remote *r, struct lost *l) {
    struct erg_record *to = erg_table_record(r->table, l->copy);
    uint32_t n, count = 0;
    struct erg_ref *refs =
        erg_payload_refs(erg_record_bytes(r->table, to, &to->args), (size_t)to->args.len, &n);
    erg_handle *preds = n ? malloc(n * sizeof *preds) : NULL;
    for (uint32_t i = 0; preds && i < n; i++) {
        uint32_t flags = atomic_load_explicit(&refs[i].flags, memory_order_relaxed);
        struct lost *before = flags & ERG_REF_TASK ? lost_find(r, refs[i].offset) : NULL;
        if (before && before->copy != ERG_NIL)
            preds[count++] = erg_record_handle(r->table, before->copy);
    }
    if (count)
        erg_record_after_many(r->owner, l->copy, preds, count);
    free(preds);
}

/* Those whose results it reads, and that are lost and not begun, behind `last`. */
static struct lost *add_earlier(struct erg_remote *r, const struct lost *l, struct lost *last) {
    struct erg_record *record = record_of(r, l->task);
    uint32_t n;
    struct erg_ref *refs = erg_payload_refs(erg_record_bytes(r->table, record, &record->args),
                                            (size_t)record->args.len, &n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t flags = atomic_load_explicit(&refs[i].flags, memory_order_relaxed);
        struct lost *before = flags & ERG_REF_TASK ? lost_find(r, refs[i].offset) : NULL;
        if (!before || before->held || !erg_away_hold(away_at(r, before->away)))
            continue;
        before->held = 1;
        last = last->later = before;
    }
    return last;
}

static void begin(struct erg_remote *r, struct lost *first) {
    if (first->held || !erg_away_hold(away_at(r, first->away)))
        return; /* it is begun, or being freed */
    first->held = 1;
    struct lost *last = first;
    for (struct lost *l = first; l; l = l->later) {
        last = add_earlier(r, l, last);
        l->copy = copy_of(r, l->task);
    }
    for (struct lost *l = first, *later; l; l = later) {
        later = l->later;
        l->later = NULL;
        if (l->copy == ERG_NIL) {
            give_up(r, l, l->words, "no memory", 9);
            continue;
        }
        link_copy(r, l);
        erg_handle copy = erg_record_handle(r->table, l->copy);
        atomic_store_explicit(&away_at(r, l->away)->again, copy, memory_order_release);
        erg_record_submit(r->owner, l->copy);
    }
    erg_remote_ring(r);
}

/* Is anybody there, or coming, who could run it? */
static int has_runner(struct erg_remote *r, erg_handle task) {
    uint32_t bit = ERG_QUEUE_BIT(record_of(r, task)->queue % ERG_QUEUES);
    uint32_t top = atomic_load(&r->table->header->members_top);
    for (int i = 0; i < r->nplaces; i++) {
        const struct place *p = &r->places[i];
        if ((p->queues & bit) && (p->state == ERG_PLACE_UP || p->state == ERG_PLACE_BROKEN ||
                                  p->state == ERG_PLACE_STARTING))
            return 1;
    }
    for (uint32_t i = 0; i < top; i++) {
        struct erg_member_slot *slot = erg_table_slot(r->table, i);
        uint32_t phase = atomic_load(&slot->phase);
        if (i == r->m->number || slot->kind == ERG_MEMBER_CALLER)
            continue;
        if (phase == ERG_M_RESERVED ||
            (phase == ERG_M_UP &&
             (atomic_load_explicit(&slot->queues, memory_order_relaxed) & bit)))
            return 1;
    }
    return 0;
}

int erg_again_wanted(struct erg_remote *r, erg_handle task) {
    struct lost *l = lost_find(r, task);
    if (l && !l->held)
        erg_away_want(r->table, away_at(r, l->away));
    return l != NULL;
}

/* --- ended ------------------------------------------------------------------------------------------------------------- */

/* The copy's result becomes the value. */
static void take_over(struct erg_remote *r, struct lost *l) {
    struct erg_record *copy = erg_table_record(r->table, l->copy);
    enum erg_outcome outcome = erg_record_outcome(copy);
    unsigned char *bytes = erg_record_bytes(r->table, copy, &copy->result);
    uint64_t block = copy->result.offset, len = copy->result.len;
    int has_value = outcome == ERG_OUT_OK && len > 0;
    if (has_value && block == 0 && erg_arena_alloc(r->m, (size_t)len, &block, NULL) == 0)
        memcpy(erg_table_at(r->table, block), bytes, (size_t)len);
    if (has_value && block) {
        copy->result.offset = 0;
        copy->result.len = 0;
        erg_again_not_needed(r, away_at(r, l->away));
        settle(r, l, ERG_AWAY_HERE, block, len);
    } else if (outcome == ERG_OUT_LOST && len > 0 && len < ERG_ERROR_TEXT_SIZE && bytes[0] >= ' ') {
        give_up(r, l, l->words, (const char *)bytes, (int)len);
    } else {
        const char *why = outcome == ERG_OUT_ERROR       ? "it raised an exception"
                          : outcome == ERG_OUT_TIMEOUT   ? "it took longer than its timeout"
                          : outcome == ERG_OUT_CANCELLED ? "it was cancelled"
                          : outcome == ERG_OUT_OK        ? "no memory for the result"
                                                         : "its worker died";
        if (outcome == ERG_OUT_ERROR || outcome == ERG_OUT_OK)
            erg_payload_free_refs(r->m, bytes, (size_t)len);
        give_up(r, l, l->words, why, (int)strlen(why));
    }
}

/* What comes of it now; 1: there is nothing more to do. */
static int look_at(struct erg_remote *r, struct lost *l, int64_t now, int *changed) {
    struct erg_away *a = l->away ? away_at(r, l->away) : NULL;
    if (l->copy != ERG_NIL) {
        if (erg_record_phase(erg_table_record(r->table, l->copy)) != ERG_DONE)
            return 0;
        if (a)
            take_over(r, l);
        erg_record_free(r->owner, l->copy);
        *changed = 1;
        return 1;
    }
    if (!a)
        return 1;
    uint32_t state = atomic_load(&a->state);
    if ((state & ERG_AWAY_PHASE) == ERG_AWAY_DROPPED) {
        settle(r, l, ERG_AWAY_LOST, 0, 0);
        return 1;
    }
    if (!(state & ERG_AWAY_WANTED))
        return 0;
    if (has_runner(r, l->task)) {
        l->nobody_at = 0;
        begin(r, l);
        *changed = 1; /* some of them may have been given up */
    } else if (l->nobody_at == 0) {
        l->nobody_at = now;
    } else if (now - l->nobody_at > NOBODY_NS) {
        give_up(r, l, l->words, "", 0);
        *changed = 1;
        return 1;
    }
    return l->away == 0 && l->copy == ERG_NIL;
}

static int64_t look_at_all(struct erg_remote *r, int64_t now) {
    int busy = 0, changed = 0;
    for (struct lost **at = &r->lost; *at;) {
        struct lost *l = *at;
        if (look_at(r, l, now, &changed)) {
            *at = l->next;
            r->nlost--;
            free(l->words);
            free(l);
            continue;
        }
        busy |= l->copy != ERG_NIL || l->nobody_at != 0;
        at = &l->next;
    }
    if (changed)
        erg_away_unpark(r);
    return busy ? now + LOOK_NS : NEVER;
}

int64_t erg_again_look(struct erg_remote *r, int64_t now) {
    if (!r->lost)
        return NEVER;
    if (now >= r->again_at)
        r->again_at = look_at_all(r, now);
    /* What is wanted while nothing runs is told by a ring; what is dropped may wait. */
    return r->again_at;
}

uint32_t erg_again_bring_home(struct erg_remote *r) {
    uint32_t n = 0;
    for (struct lost *l = r->lost; l; l = l->next)
        if (l->away && erg_away_phase(away_at(r, l->away)) == ERG_AWAY_THERE) {
            erg_away_want(r->table, away_at(r, l->away));
            n++;
        }
    return n;
}

void erg_again_end(struct erg_remote *r) {
    for (struct lost *l = r->lost; l; l = l->next)
        if (l->away)
            give_up(r, l, "the pool was terminated before the result was fetched", "", 0);
}

void erg_again_fini(struct erg_remote *r) {
    erg_again_end(r);
    for (struct lost *l = r->lost, *next; l; l = next) {
        next = l->next;
        free(l->words);
        free(l);
    }
    r->lost = NULL;
    r->nlost = 0;
    erg_map_fini(&r->lost_by);
}
