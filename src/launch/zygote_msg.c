#include "launch/zygote_msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define ZMSG_MAGIC 0x315a6745u /* "EgZ1" */

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * ERG_ZMSG_FDS)];
};

int erg_zmsg_send(int sock, struct erg_zmsg *msg, const int *fds, int fds_len, int flags) {
    msg->magic = ZMSG_MAGIC;
    msg->text[ERG_ZMSG_TEXT - 1] = '\0';
    struct iovec iov = {msg, sizeof *msg};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    if (fds_len > 0) {
        if (fds_len > ERG_ZMSG_FDS)
            return ERG_EINVALID;
        memset(&control, 0, sizeof control);
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fds_len);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fds_len);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)fds_len);
    }
    for (;;) {
        if (sendmsg(sock, &header, flags | MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == ENOBUFS)
            return ERG_EAGAIN;
        if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
            return ERG_ECLOSED;
        return ERG_ESYSTEM;
    }
}

/* Takes the descriptors out of a received header; those beyond ERG_ZMSG_FDS cannot be there (no room). */
static int take_fds(struct msghdr *header, int *fds) {
    int n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        int count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + sizeof(int) * (size_t)i, sizeof fd);
            if (n < ERG_ZMSG_FDS)
                fds[n++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

int erg_zmsg_recv(int sock, struct erg_zmsg *msg, int *fds, int *fds_len, int flags) {
    struct iovec iov = {msg, sizeof *msg};
    union control control;
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    *fds_len = 0;
    ssize_t n;
    int resets = 0;
    do
        n = recvmsg(sock, &header, flags | MSG_CMSG_CLOEXEC);
    /* A peer that closed with messages unread resets the connection, once; what it sent before is still there. */
    while (n < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
    if (n < 0) {
        if (errno == EAGAIN)
            return ERG_EAGAIN;
        return errno == ECONNRESET ? ERG_ECLOSED : ERG_ESYSTEM;
    }
    int taken[ERG_ZMSG_FDS];
    int count = take_fds(&header, taken);
    if (n == 0 && count == 0)
        return ERG_ECLOSED;
    if (n != sizeof *msg || (header.msg_flags & MSG_TRUNC) || msg->magic != ZMSG_MAGIC ||
        msg->kind == 0 || msg->kind >= ERG_Z_KINDS) {
        while (count > 0)
            close(taken[--count]);
        return ERG_EPROTOCOL;
    }
    msg->text[ERG_ZMSG_TEXT - 1] = '\0';
    memcpy(fds, taken, sizeof(int) * (size_t)count);
    *fds_len = count;
    return 0;
}
