/* table/point: the instants between two steps at which a process may die. Tests that prove that nobody else suffers
 * link a library built with ERG_TESTING and get called at each of them; the library itself contains nothing of it. */
#ifndef ERG_TABLE_POINT_H
#define ERG_TABLE_POINT_H

#ifdef ERG_TESTING
extern void (*erg_point_hook)(const char *name);
#define ERG_POINT(name)                                                                            \
    do {                                                                                           \
        if (erg_point_hook)                                                                        \
            erg_point_hook(name);                                                                  \
    } while (0)
#else
#define ERG_POINT(name) ((void)0)
#endif

#endif
