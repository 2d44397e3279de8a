/* engine/agent_ask: what workers of an agent want to know of its client, such as the source of a module that is missing.
 *
 * Workers connect to a socket of the abstract namespace, whose name stands in the table (erg_ask_connect). Both ends
 * belong to the same user. A worker writes questions, any number without waiting, and reads the answers, each with its
 * question's number; what the bytes mean is the runtime's business. The agent passes them on: a thread of its own
 * reads the workers, questions travel as ASK, and ANSWERs are handed back here. Questions outlive a broken link, as every
 * message does; those of a worker that ended are answered to nobody.
 *
 * One question is for the agent itself (ERG_ASK_FOLDER): the folder that workers are about to make for their client's
 * files, which the agent removes when they have gone. Its name ends in the agent's number, so nothing else can be meant.
 *
 *     erg_asks_new (any thread)     erg_asks_answer (agent->lock held)     erg_asks_free (agent->lock not held) */
#ifndef ERG_ENGINE_AGENT_ASK_H
#define ERG_ENGINE_AGENT_ASK_H

#include "base/error.h"
#include "wire/session.h"

#include <stddef.h>
#include <stdint.h>

/* Before each question and each answer on a worker's socket; in the machine's byte order. */
struct erg_ask_head {
    uint32_t len, number;
    uint32_t flags; /* of an answer: enum erg_answer_flags; of a question: ERG_ASK_FOLDER or 0 */
};
#define ERG_ASK_FOLDER 1u
#define ERG_ASK_MOST ((uint32_t)16 << 20) /* bytes of a question or an answer */

struct erg_agent;
struct erg_asks;

int erg_asks_new(struct erg_agent *agent, struct erg_asks **asks, struct erg_error *err);
/* The number that stands in the table. */
uint64_t erg_asks_name(const struct erg_asks *asks);
/* ANSWER `id`; the bytes are copied. */
void erg_asks_answer(struct erg_asks *asks, uint64_t id, uint32_t flags, const void *bytes,
                     size_t len);
/* Ends the thread and closes everything. NULL is fine. The folder that workers told of is the caller's to remove, once they
 * have gone (erg_folder_remove), and to free; NULL: there is none. */
char *erg_asks_free(struct erg_asks *asks);

/* ANSWERs as the session brings them; lock held. */
int erg_asks_on_message(struct erg_asks *asks, const unsigned char *body, size_t len,
                        struct erg_error *err);
int erg_asks_on_bulk(uint64_t data_len, struct erg_bulk *to, struct erg_error *err);
int erg_asks_on_done(struct erg_asks *asks, const unsigned char *head, size_t head_len,
                     struct erg_bulk *got, struct erg_error *err);

/* In a worker: a blocking socket to the agent of the table with that number; -1 with errno. */
int erg_ask_connect(uint64_t name);

#endif
