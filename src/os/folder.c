/* Folders may be unreadable to their owner (a task's mode 0): they are opened up on the way down, which nftw cannot do. */
#include "os/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 512 }; /* each level holds a descriptor */

static void note(int *first) {
    if (*first == 0 && errno != ENOENT)
        *first = errno;
}

static void remove_at(int at, const char *name, dev_t device, int depth, int *first);

/* Takes the descriptor over. */
static void empty(int fd, dev_t device, int depth, int *first) {
    DIR *folder = fdopendir(fd);
    if (!folder) {
        note(first);
        close(fd);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_at(fd, entry->d_name, device, depth, first);
    closedir(folder);
}

static void remove_at(int at, const char *name, dev_t device, int depth, int *first) {
    if (unlinkat(at, name, 0) == 0)
        return;
    if (errno != EISDIR && errno != EPERM) {
        note(first);
        return;
    }
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
    struct stat about;
    if (fstatat(at, name, &about, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(about.st_mode)) {
        errno = EPERM;
        note(first);
        return;
    }
    if ((about.st_mode & 0700) != 0700)
        fchmodat(at, name, 0700, 0);
    int fd = about.st_dev == device && depth < DEPTH_MAX ? openat(at, name, FLAGS) : -1;
    if (fd >= 0)
        empty(fd, device, depth + 1, first);
    if (unlinkat(at, name, AT_REMOVEDIR) < 0)
        note(first);
}

int erg_folder_remove(const char *path) {
    struct stat about;
    int first = 0;
    if (lstat(path, &about) < 0)
        return errno == ENOENT ? 0 : -1;
    remove_at(AT_FDCWD, path, about.st_dev, 0, &first);
    errno = first;
    return first ? -1 : 0;
}
