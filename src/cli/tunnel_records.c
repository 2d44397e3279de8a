#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/tunnel.h"

#define PREFIX "tunnel-"

uint64_t erg_tunnel_process_start(int32_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = 0;
    const char *at = strrchr(text, ')'); /* the name before may hold anything */
    uint64_t start = 0;
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at && sscanf(at, " %" SCNu64, &start) != 1) {
        start = 0;
    }
    return start;
}

/* The folder of records: $XDG_RUNTIME_DIR/ergon, or one in the folder for temporary files that is this user's alone. */
static int folder(char *to, size_t size, bool make, struct erg_error *err) {
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *tmp = getenv("TMPDIR");
    if (runtime && *runtime == '/') {
        snprintf(to, size, "%s/ergon", runtime);
    } else {
        snprintf(to, size, "%s/ergon-%u", tmp && *tmp == '/' ? tmp : "/tmp", (unsigned)getuid());
    }
    if (make && mkdir(to, 0700) < 0 && errno != EEXIST) {
        return erg_error_system(err, errno, "cannot make %s", to);
    }
    struct stat about;
    if (lstat(to, &about) < 0) {
        return errno == ENOENT && !make ? ERG_ENOTFOUND
                                        : erg_error_system(err, errno, "cannot use %s", to);
    }
    if (!S_ISDIR(about.st_mode) || about.st_uid != getuid() || (about.st_mode & 077)) {
        return erg_error_set(err, ERG_EACCESS,
                             "%s is not a folder of yours alone (mode 0700): remove it", to);
    }
    return 0;
}

int erg_tunnel_record_write(const struct erg_tunnel_record *record, struct erg_error *err) {
    char place[PATH_MAX - 64], path[PATH_MAX], part[PATH_MAX];
    int rc = folder(place, sizeof place, true, err);
    if (rc < 0) {
        return rc;
    }
    snprintf(path, sizeof path, "%s/" PREFIX "%d", place, record->local);
    snprintf(part, sizeof part, "%s/." PREFIX "%d", place, record->local);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) {
        return erg_error_system(err, errno, "cannot write %s", part);
    }
    fprintf(file, "%" PRId32 " %" PRIu64 " %" PRId64 " %d %d %d %d\n%s\n%s\n", record->pid,
            record->start, record->since, record->local, record->port, record->reconnects,
            record->up, record->host, record->to);
    if (fclose(file) != 0 || rename(part, path) < 0) {
        rc = erg_error_system(err, errno, "cannot write %s", path);
        unlink(part);
    }
    return rc;
}

void erg_tunnel_record_remove(int local) {
    char place[PATH_MAX - 64], path[PATH_MAX];
    if (folder(place, sizeof place, false, NULL) < 0) {
        return;
    }
    snprintf(path, sizeof path, "%s/" PREFIX "%d", place, local);
    unlink(path);
    rmdir(place); /* unless others have something there */
}

static bool read_record(const char *path, struct erg_tunnel_record *r) {
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    int up = 0;
    bool good =
        fscanf(file, "%" SCNd32 " %" SCNu64 " %" SCNd64 " %d %d %d %d\n%255[^\n]\n%255[^\n]",
               &r->pid, &r->start, &r->since, &r->local, &r->port, &r->reconnects, &up, r->host,
               r->to) == 9;
    fclose(file);
    r->up = up != 0;
    return good;
}

static int by_port(const struct dirent **a, const struct dirent **b) {
    long x = strtol((*a)->d_name + strlen(PREFIX), NULL, 10);
    long y = strtol((*b)->d_name + strlen(PREFIX), NULL, 10);
    return (x > y) - (x < y);
}

static int is_record(const struct dirent *entry) {
    return strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0;
}

int erg_tunnel_records(int (*each)(const struct erg_tunnel_record *record, void *arg), void *arg,
                       struct erg_error *err) {
    char place[PATH_MAX - 300], path[PATH_MAX];
    int rc = folder(place, sizeof place, false, err);
    if (rc < 0) {
        return rc == ERG_ENOTFOUND ? 0 : rc;
    }
    struct dirent **found = NULL;
    int count = scandir(place, &found, is_record, by_port);
    if (count < 0) {
        return erg_error_system(err, errno, "cannot read %s", place);
    }
    for (int i = 0; i < count; i++) {
        struct erg_tunnel_record record;
        snprintf(path, sizeof path, "%s/%s", place, found[i]->d_name);
        if (rc == 0 && read_record(path, &record)) {
            if (erg_tunnel_process_start(record.pid) == record.start) {
                rc = each(&record, arg);
            } else {
                unlink(path); /* its keeper was killed */
            }
        }
        free(found[i]);
    }
    free(found);
    rmdir(place);
    return rc;
}
