/* Classes that travelled by value: which id stands for which class of this process.
 *
 * An id is made of the class's names and code, so it is the same in every process and run; two live classes
 * with the same content get different ids by a number behind it. Classes are held weakly. */
#ifndef ERG_CORE_PICKLE_TRACK_H
#define ERG_CORE_PICKLE_TRACK_H

#include "room.h"

struct pk_track *pk_track_new(void);
void pk_track_free(struct pk_track *track);
int pk_track_traverse(struct pk_track *track, visitproc visit, void *arg);

/* The id (bytes) under which cls travels, given now if it has none: new reference. */
PyObject *pk_track_id(struct pk_state *st, PyObject *cls);
/* The live class of this process that goes by id: new reference; NULL without an exception: none. */
PyObject *pk_track_find(struct pk_state *st, PyObject *id);
/* cls was just made from a stream that called it id. 0 or -1 */
int pk_track_adopt(struct pk_state *st, PyObject *cls, PyObject *id);
/* 1: cls was made by this process's own code, so that a stream has nothing to say about it. */
int pk_track_is_native(struct pk_state *st, PyObject *cls);

/* 1: cls was made, or last changed, by these bytes of a blob (class_blob.c). */
int pk_track_same(struct pk_state *st, PyObject *cls, PyObject *bytes);
/* Remembers that it was. 0 or -1 */
int pk_track_made_from(struct pk_state *st, PyObject *cls, PyObject *bytes);

#endif
