#include "engine/peer_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static enum erg_peer_scope scope4(struct in_addr a) {
    uint32_t host = ntohl(a.s_addr);
    uint32_t first = host >> 24;
    if (first == 0 || first >= 224) /* "this network", multicast, reserved, broadcast */
        return ERG_PEER_NOWHERE;
    return first == 127 ? ERG_PEER_SAME_HOST : ERG_PEER_ANYWHERE;
}

static struct in_addr inner4(const struct in6_addr *a) {
    struct in_addr inner;
    memcpy(&inner, a->s6_addr + 12, sizeof inner);
    return inner;
}

enum erg_peer_scope erg_peer_scope(const char *address) {
    char bare[INET6_ADDRSTRLEN];
    struct in_addr four;
    struct in6_addr six;
    size_t len = strcspn(address, "%");
    if (inet_pton(AF_INET, address, &four) == 1)
        return scope4(four);
    if (len >= sizeof bare)
        return ERG_PEER_NOWHERE;
    memcpy(bare, address, len);
    bare[len] = '\0';
    if (inet_pton(AF_INET6, bare, &six) != 1 || IN6_IS_ADDR_UNSPECIFIED(&six) ||
        IN6_IS_ADDR_MULTICAST(&six))
        return ERG_PEER_NOWHERE;
    if (IN6_IS_ADDR_V4MAPPED(&six))
        return scope4(inner4(&six));
    return IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_LINKLOCAL(&six) ? ERG_PEER_SAME_HOST
                                                                     : ERG_PEER_ANYWHERE;
}

void erg_peer_address_plain(char *address) {
    struct in6_addr six;
    char plain[INET_ADDRSTRLEN];
    if (inet_pton(AF_INET6, address, &six) != 1 || !IN6_IS_ADDR_V4MAPPED(&six))
        return;
    struct in_addr four = inner4(&six);
    if (inet_ntop(AF_INET, &four, plain, sizeof plain) && strlen(plain) <= strlen(address))
        memcpy(address, plain, strlen(plain) + 1);
}
