/* How functions of libergon fail.
 *
 * A function that can fail returns an int: 0 (or a count that is not negative) on success, one of the
 * negative values of `enum erg_err` otherwise. Where a person needs words, the function takes a trailing
 * `struct erg_error *err`, which may be NULL; the function that first decides that something failed
 * fills it, functions above it pass it on untouched. It is written on failure only. The library never
 * prints, exits or aborts.
 *
 * All functions here may be called from any thread. Nothing here allocates. */
#ifndef ERGON_ERROR_H
#define ERGON_ERROR_H

#include <ergon/export.h>
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

enum erg_err {
    ERG_OK = 0,
    ERG_ENOMEM = -1,        /* memory, address space or a limit of the system ran out */
    ERG_EINVALID = -2,      /* an argument is wrong: the caller's mistake */
    ERG_ESYSTEM = -3,       /* a system call failed; the text names it and what errno said */
    ERG_ETIMEOUT = -4,      /* a deadline passed */
    ERG_ECLOSED = -5,       /* the pool, link or queue is closed */
    ERG_ELOST = -6,         /* the worker or agent that held it died */
    ERG_ECANCELLED = -7,    /* the task was cancelled */
    ERG_EFULL = -8,         /* a bounded thing is full; try again after something was taken out */
    ERG_EAGAIN = -9,        /* not now: nothing is there, or somebody else was faster */
    ERG_EPROTOCOL = -10,    /* bytes from a peer make no sense */
    ERG_ELAUNCH = -11,      /* a resource did not come up */
    ERG_ECONFIG = -12,      /* a configuration file or resource string is wrong */
    ERG_ENOTFOUND = -13,    /* no such thing */
    ERG_EEXISTS = -14,      /* there already */
    ERG_EACCESS = -15,      /* not allowed: permissions, failed authentication */
    ERG_EUNSUPPORTED = -16, /* this build, system or object cannot do that */
    ERG_ECORRUPT = -17,     /* shared or stored data broke its own invariants */
    ERG_ETASK = -18,        /* the task itself failed: its own error travels in its result */
    ERG_EINTR = -19,        /* a signal arrived and the caller asked to be told */
    ERG_ESTATE = -20,       /* the call does not fit the object's present state */
    ERG_EFORKED = -21,      /* it belongs to the process this one was forked from */
};

enum { ERG_ERROR_TEXT_SIZE = 240 };

/* The caller's storage, usually on its stack; needs no init and no fini. */
struct erg_error {
    int code; /* an erg_err */
    char text
        [ERG_ERROR_TEXT_SIZE]; /* one sentence, NUL-terminated: what failed and what to do about it */
};

/* Fills *err (when not NULL) and returns `code`, so that a failing function can end in
 * `return erg_error_set(err, ERG_EINVALID, "...", ...)`. Text that does not fit is cut and ends in "...".
 * errno is left as it was. */
ERG_API int erg_error_set(struct erg_error *err, int code, const char *format, ...)
    ERG_PRINTF(3, 4);
ERG_API int erg_error_setv(struct erg_error *err, int code, const char *format, va_list args)
    ERG_PRINTF(3, 0);

/* The same for a failed system call: sets ERG_ESYSTEM (ERG_ENOMEM for ENOMEM, ERG_EACCESS for EPERM and
 * EACCES) and appends ": " and the words for errno_value. Returns the code it set. */
ERG_API int erg_error_system(struct erg_error *err, int errno_value, const char *format, ...)
    ERG_PRINTF(3, 4);

/* A short, static, lower-case phrase for a code; never NULL. */
ERG_API const char *erg_strerror(int code);

#ifdef __cplusplus
}
#endif

#endif
