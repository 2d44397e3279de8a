/* libergon: parallel work on threads, processes and hosts, from C.
 *
 * The one header a C program includes; `pkg-config --cflags --libs ergon` gives the flags. */
#ifndef ERGON_ERGON_H
#define ERGON_ERGON_H

#include <ergon/error.h>
#include <ergon/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "major.minor.patch" of the library that runs, static storage. Any thread. */
ERG_API const char *erg_version(void);

#ifdef __cplusplus
}
#endif

#endif
