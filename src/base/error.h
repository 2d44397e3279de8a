/* The public error interface under the name the rooms include it by. */
#ifndef ERG_BASE_ERROR_H
#define ERG_BASE_ERROR_H

#include <ergon/error.h>

#endif
