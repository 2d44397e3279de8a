/* What a public function is marked with. The library is compiled with hidden visibility: only what carries
 * ERG_API can be called from outside the shared library. Internal functions carry nothing. */
#ifndef ERGON_EXPORT_H
#define ERGON_EXPORT_H

#if defined(__GNUC__)
#define ERG_API __attribute__((visibility("default")))
#define ERG_PRINTF(format_index, first_index)                                                      \
    __attribute__((format(printf, format_index, first_index)))
#else
#define ERG_API
#define ERG_PRINTF(format_index, first_index)
#endif

#endif
