#include "wire/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGITS = 2 * ERG_AUTH_KEY };

static int key_parse(const char *path, const char *text, size_t len, unsigned char *key,
                     struct erg_error *err) {
    size_t bytes = 0;
    const char *end = NULL;
    int status = sodium_hex2bin(key, ERG_AUTH_KEY, text, len, " \t\r\n", &bytes, &end);
    if (status != 0 || bytes != ERG_AUTH_KEY || end != text + len) {
        return erg_error_set(err, ERG_ECONFIG,
                             "%s is not a key file: it has to hold %d hexadecimal digits and "
                             "nothing else",
                             path, DIGITS);
    }
    return 0;
}

int erg_auth_key_read(const char *path, unsigned char key[ERG_AUTH_KEY], struct erg_error *err) {
    char text[DIGITS + 16];
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return erg_error_set(err, ERG_ENOTFOUND, "there is no key file %s", path);
    }
    if (fd < 0 || fstat(fd, &about) < 0) {
        int status = erg_error_system(err, errno, "key file %s", path);
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    int status = 0;
    ssize_t len = -1;
    if (!S_ISREG(about.st_mode)) {
        status = erg_error_set(err, ERG_ECONFIG, "key file %s is not a file", path);
    } else if (about.st_uid != geteuid()) {
        status = erg_error_set(err, ERG_EACCESS, "key file %s belongs to somebody else", path);
    } else if (about.st_mode & 077) {
        status = erg_error_set(err, ERG_EACCESS,
                               "others may use key file %s: chmod 600 it, and make a new key if "
                               "they may have read it",
                               path);
    } else {
        len = read(fd, text, sizeof text);
        status = len < 0 ? erg_error_system(err, errno, "key file %s", path)
                         : key_parse(path, text, (size_t)len, key, err);
    }
    close(fd);
    sodium_memzero(text, sizeof text);
    return status;
}

int erg_auth_key_make(const char *path, unsigned char key[ERG_AUTH_KEY], struct erg_error *err) {
    char text[DIGITS + 1];
    if (sodium_init() < 0) {
        return erg_error_set(err, ERG_ESYSTEM, "this system gives no random numbers");
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno == EEXIST ? erg_error_set(err, ERG_EEXISTS, "%s exists already", path)
                               : erg_error_system(err, errno, "key file %s", path);
    }
    randombytes_buf(key, ERG_AUTH_KEY);
    sodium_bin2hex(text, sizeof text, key, ERG_AUTH_KEY);
    text[DIGITS] = '\n';
    int status = 0;
    ssize_t written = write(fd, text, sizeof text);
    if (written != (ssize_t)sizeof text || fsync(fd) < 0) {
        status = erg_error_system(err, written < 0 ? errno : ENOSPC, "key file %s", path);
        unlink(path);
    }
    close(fd);
    sodium_memzero(text, sizeof text);
    return status;
}
