#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* vsnprintf into err->text from `start` on; marks what did not fit. */
static void text_append(struct erg_error *err, size_t start, const char *format, va_list args) {
    size_t room = sizeof(err->text) - start;
    int len = vsnprintf(err->text + start, room, format, args);
    if (len < 0)
        err->text[start] = '\0';
    else if ((size_t)len >= room)
        memcpy(err->text + sizeof(err->text) - 4, "...", 4);
}

int erg_error_setv(struct erg_error *err, int code, const char *format, va_list args) {
    int saved = errno;
    if (err) {
        err->code = code;
        text_append(err, 0, format, args);
    }
    errno = saved;
    return code;
}

int erg_error_set(struct erg_error *err, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    erg_error_setv(err, code, format, args);
    va_end(args);
    return code;
}

static int code_of_errno(int errno_value) {
    switch (errno_value) {
    case ENOMEM:
        return ERG_ENOMEM;
    case EPERM:
    case EACCES:
        return ERG_EACCESS;
    default:
        return ERG_ESYSTEM;
    }
}

static void text_append_system(struct erg_error *err, const char *format, ...) {
    size_t start = strlen(err->text);
    if (start >= sizeof(err->text) - 1)
        return;
    va_list args;
    va_start(args, format);
    text_append(err, start, format, args);
    va_end(args);
}

int erg_error_system(struct erg_error *err, int errno_value, const char *format, ...) {
    int saved = errno;
    int code = code_of_errno(errno_value);
    if (err) {
        char words[96];
        va_list args;
        va_start(args, format);
        erg_error_setv(err, code, format, args);
        va_end(args);
        text_append_system(err, ": %s", strerror_r(errno_value, words, sizeof(words)));
    }
    errno = saved;
    return code;
}

const char *erg_strerror(int code) {
    switch ((enum erg_err)code) {
    case ERG_OK:
        return "no error";
    case ERG_ENOMEM:
        return "out of memory";
    case ERG_EINVALID:
        return "invalid argument";
    case ERG_ESYSTEM:
        return "a system call failed";
    case ERG_ETIMEOUT:
        return "timed out";
    case ERG_ECLOSED:
        return "closed";
    case ERG_ELOST:
        return "the worker was lost";
    case ERG_ECANCELLED:
        return "cancelled";
    case ERG_EFULL:
        return "full";
    case ERG_EAGAIN:
        return "not now, try again";
    case ERG_EPROTOCOL:
        return "malformed message";
    case ERG_ELAUNCH:
        return "a resource did not start";
    case ERG_ECONFIG:
        return "wrong configuration";
    case ERG_ENOTFOUND:
        return "not found";
    case ERG_EEXISTS:
        return "exists already";
    case ERG_EACCESS:
        return "not permitted";
    case ERG_EUNSUPPORTED:
        return "not supported here";
    case ERG_ECORRUPT:
        return "corrupt data";
    case ERG_ETASK:
        return "the task failed";
    case ERG_EINTR:
        return "interrupted by a signal";
    case ERG_ESTATE:
        return "not possible in the present state";
    case ERG_EFORKED:
        return "it belongs to the process this one was forked from";
    }
    return "unknown error";
}
