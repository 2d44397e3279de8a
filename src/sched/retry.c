#include "sched/retry.h"
#include <stddef.h>

enum { SETS = ERG_RETRY_MEMORY / ERG_RETRY_WAYS };

void erg_retry_init(struct erg_retry *retry, uint32_t kills_max) {
    *retry = (struct erg_retry){.kills_max = kills_max ? kills_max : ERG_KILLS_MAX};
}

/* Handles of one pool differ mostly in their low bits; the multiplication spreads them over the sets. */
static struct erg_retry_entry *set_of(struct erg_retry *retry, uint64_t task) {
    uint64_t hash = task * 0x9e3779b97f4a7c15u;
    return &retry->entries[(hash >> 32) % SETS * ERG_RETRY_WAYS];
}

static struct erg_retry_entry *find(struct erg_retry *retry, uint64_t task) {
    struct erg_retry_entry *set = set_of(retry, task);
    for (int i = 0; i < ERG_RETRY_WAYS; i++) {
        if (set[i].kills != 0 && set[i].task == task)
            return &set[i];
    }
    return NULL;
}

static uint32_t note_kill(struct erg_retry *retry, uint64_t task) {
    struct erg_retry_entry *entry = find(retry, task);
    if (!entry) {
        struct erg_retry_entry *set = set_of(retry, task);
        entry = set;
        for (int i = 1; i < ERG_RETRY_WAYS; i++) {
            if (set[i].kills == 0 ||
                (entry->kills != 0 && retry->clock - set[i].age > retry->clock - entry->age))
                entry = &set[i];
        }
        *entry = (struct erg_retry_entry){.task = task};
    }
    entry->age = ++retry->clock;
    if (entry->kills < UINT32_MAX)
        entry->kills++;
    return entry->kills;
}

static void forget(struct erg_retry *retry, uint64_t task) {
    struct erg_retry_entry *entry = find(retry, task);
    if (entry)
        *entry = (struct erg_retry_entry){0};
}

enum erg_verdict erg_retry_decide(struct erg_retry *retry, const struct erg_loss *loss,
                                  uint32_t *kills) {
    uint32_t count = note_kill(retry, loss->task);
    int ran = loss->on_top && loss->asked == ERG_ASKED_NONE;
    enum erg_verdict verdict;

    if (kills)
        *kills = count;
    if (loss->asked == ERG_ASKED_TIMEOUT)
        verdict = ERG_VERDICT_FAIL_TIMEOUT;
    else if (loss->asked == ERG_ASKED_CANCEL || loss->cancelled)
        verdict = ERG_VERDICT_FAIL_CANCELLED;
    else if (loss->retries > 0)
        verdict = ERG_VERDICT_RETRY;
    else if (loss->pure && count < retry->kills_max)
        verdict = ERG_VERDICT_RETRY;
    else
        verdict = ran && count >= 2 ? ERG_VERDICT_FAIL_KILLER : ERG_VERDICT_FAIL_LOST;

    if (verdict != ERG_VERDICT_RETRY)
        forget(retry, loss->task);
    return verdict;
}
