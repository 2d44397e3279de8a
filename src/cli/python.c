#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static bool is_program(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode) && access(path, X_OK) == 0;
}

static bool take(char *to, size_t size, const char *folder, size_t len, const char *name) {
    int written = snprintf(to, size, "%.*s/%s", (int)len, folder, name);
    return written > 0 && (size_t)written < size && is_program(to);
}

/* In the folder of this very command: that is how it is tied to a virtual environment. */
static bool beside(char *to, size_t size) {
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0) {
        return false;
    }
    self[len] = 0;
    size_t folder = (size_t)(strrchr(self, '/') - self);
    return take(to, size, self, folder, "python3") || take(to, size, self, folder, "python");
}

static bool on_path(char *to, size_t size) {
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        if (len && take(to, size, path, len, "python3")) {
            return true;
        }
        path += len + (path[len] == ':');
    }
    return false;
}

int erg_cli_python(char *to, size_t size, struct erg_error *err) {
    const char *chosen = getenv("ERGON_PYTHON");
    if (beside(to, size)) {
        return 0;
    }
    if (chosen && *chosen) {
        if (strlen(chosen) < size && is_program(chosen)) {
            strcpy(to, chosen);
            return 0;
        }
        return erg_error_set(err, ERG_ENOTFOUND, "ERGON_PYTHON=%s is not a program that can be run",
                             chosen);
    }
    if (on_path(to, size)) {
        return 0;
    }
    return erg_error_set(
        err, ERG_ENOTFOUND,
        "no python3 beside the ergon command or on PATH: set ERGON_PYTHON to an interpreter "
        "that has ergon installed");
}
