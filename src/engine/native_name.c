/* Functions have different addresses in different processes (address space layout is random), but the same distance
 * from the start of the object they are in. */
#include "engine/native.h"
#include "table/arena.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t hash(erg_function *function) {
    return (size_t)(((uintptr_t)function * 0x9e3779b97f4a7c15ull) >> 40) % NATIVE_NAMES;
}

static uint64_t find(struct native_pool *np, erg_function *function) {
    for (size_t i = hash(function), n = 0; n < NATIVE_NAMES; i = (i + 1) % NATIVE_NAMES, n++) {
        erg_function *here = atomic_load_explicit(&np->names[i].function, memory_order_acquire);
        if (here == function)
            return np->names[i].name;
        if (!here)
            return 0;
    }
    return 0;
}

/* The program itself comes first in the list of objects. */
static int first_object(struct dl_phdr_info *info, size_t size, void *base) {
    (void)size;
    *(uintptr_t *)base = info->dlpi_addr;
    return 1;
}

static uintptr_t program_base(void) {
    uintptr_t base = 0;
    dl_iterate_phdr(first_object, &base);
    return base;
}

/* Which object it is in: its path ("" for the program) and where it starts. */
static int locate(erg_function *function, const char **path, uintptr_t *base,
                  struct erg_error *err) {
    Dl_info info;
    struct link_map *map;
    if (!dladdr1((void *)(uintptr_t)function, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
        return erg_error_set(err, ERG_EINVALID,
                             "the function at %p is in no loaded program or shared object",
                             (void *)(uintptr_t)function);
    *path = map->l_name;
    *base = map->l_addr;
    return 0;
}

static uint64_t enter(struct native_pool *np, erg_function *function, struct erg_error *err) {
    const char *path = "";
    uintptr_t base = 0;
    char real[PATH_MAX];
    if (locate(function, &path, &base, err) != 0)
        return 0;
    if (!*path && !erg_native_initialised() && np->spec.processes > 0) {
        erg_error_set(err, ERG_EINVALID,
                      "worker processes cannot find functions of the program itself: call "
                      "erg_init(&argc, &argv) at the top of main");
        return 0;
    }
    if (*path && realpath(path, real)) /* workers may have another working directory */
        path = real;
    if (np->names_len == NATIVE_NAMES - 1) {
        erg_error_set(err, ERG_EFULL, "a pool can run at most %d different functions",
                      NATIVE_NAMES - 1);
        return 0;
    }
    size_t len = strlen(path) + 1;
    uint64_t offset;
    if (erg_arena_alloc(erg_pool_member(np->pool), sizeof(struct native_name) + len, &offset,
                        err) != 0)
        return 0;
    struct native_name *name = erg_table_at(erg_pool_table(np->pool), offset);
    name->offset = (uintptr_t)function - base;
    memcpy(name->path, path, len);
    size_t i = hash(function);
    while (atomic_load(&np->names[i].function))
        i = (i + 1) % NATIVE_NAMES;
    np->names[i].name = offset;
    atomic_store_explicit(&np->names[i].function, function, memory_order_release);
    np->names_len++;
    return offset;
}

uint64_t erg_native_name(struct native_pool *np, erg_function *function, struct erg_error *err) {
    uint64_t name = find(np, function);
    if (name)
        return name;
    pthread_mutex_lock(&np->lock);
    name = find(np, function);
    if (!name)
        name = enter(np, function, err);
    pthread_mutex_unlock(&np->lock);
    return name;
}

erg_function *erg_native_resolve(const struct native_name *name, struct erg_error *err) {
    uintptr_t base = 0;
    if (!name->path[0])
        return (erg_function *)(program_base() + name->offset);
    void *object =
        dlopen(name->path, RTLD_NOW | RTLD_LOCAL); /* kept: the function may be called any time */
    struct link_map *map = NULL;
    if (!object || dlinfo(object, RTLD_DI_LINKMAP, &map) != 0) {
        erg_error_set(err, ERG_ENOTFOUND,
                      "a worker cannot load the shared object of the task's function: %s",
                      dlerror());
        return NULL;
    }
    base = map->l_addr;
    return (erg_function *)(base + name->offset);
}
