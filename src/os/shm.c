#include "os/shm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int erg_shm_create(const char *label, uint64_t size, int *out, struct erg_error *err) {
    int fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return erg_error_system(err, errno, "cannot make shared memory (memfd_create)");
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, (off_t)size) != 0) {
        int code = erg_error_system(err, errno, "cannot size shared memory to %llu bytes",
                                    (unsigned long long)size);
        close(fd);
        return code;
    }
    /* Nobody who gets hold of it can cut it off under the others (who would die of SIGBUS). */
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    *out = fd;
    return 0;
}

void *erg_shm_map(int fd, uint64_t size, struct erg_error *err) {
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base != MAP_FAILED)
        return base;
    erg_error_system(err, errno, "cannot map %llu bytes of shared memory",
                     (unsigned long long)size);
    return NULL;
}

int erg_shm_populate(int fd, void *base, uint64_t offset, uint64_t len) {
    /* Making the pages first, in the file, is faster than having each fault make its own. */
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) != 0) {
        if (errno == ENOSPC || errno == ENOMEM || errno == EFBIG)
            return ERG_ENOMEM;
    }
    if (madvise((char *)base + offset, len, MADV_POPULATE_WRITE) != 0) {
        if (errno == ENOMEM || errno == EFAULT)
            return ERG_ENOMEM;
    }
    return 0; /* an old kernel without these calls: the first touch does it */
}

void erg_shm_punch(int fd, void *base, uint64_t offset, uint64_t len) {
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) != 0)
        madvise((char *)base + offset, len, MADV_REMOVE);
}

uint64_t erg_shm_limit(void) {
    uint64_t limit = UINT64_MAX;
    struct rlimit r;
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
        limit = r.rlim_cur / 2;
    /* Beyond this one ftruncate would raise SIGXFSZ. */
    if (getrlimit(RLIMIT_FSIZE, &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur < limit)
        limit = r.rlim_cur;
    return limit;
}
