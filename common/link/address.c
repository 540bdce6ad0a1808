#include "link/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fail.h"
#include "link/link.h"

static int
is_loopback(const struct sockaddr *a)
{
	const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 && (IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127));
}

/* 1 if every address of the host is a loopback address, 0 if not, or -1 and a message. To bind,
 * only numeric addresses are looked up: libzmq takes a name for a network interface. */
static int
is_here(const char *endpoint, const char *name, int binds)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = binds ? AI_NUMERICHOST : 0}, *found;
	int r = getaddrinfo(name, NULL, &hints, &found), here = 1;

	if (r != 0 && binds)
		return 0;
	if (r != 0)
		return fail(FAIL_SYSTEM, "%s: cannot resolve the host: %s", endpoint, gai_strerror(r));
	for (const struct addrinfo *a = found; a; a = a->ai_next)
		here &= is_loopback(a->ai_addr);
	freeaddrinfo(found);
	return here;
}

int
address_is_local(const char *address)
{
	return strcmp(address, "localhost") == 0 || strncmp(address, "127.", 4) == 0;
}

int
address_is_number(const char *address)
{
	struct in_addr a;

	return inet_pton(AF_INET, address, &a) == 1;
}

/* libzmq reads port 70000 as 4464 and "22x" as 22, and retries for ever to reach an unknown
 * host, so all of it is checked here. */
int
address_split(const char *endpoint, char name[ADDRESS_NAME], char port[8])
{
	const char *host = endpoint + (*endpoint == '@' || *endpoint == '>') + strlen("tcp://"), *colon = strrchr(host, ':');
	size_t n = colon > host ? (size_t)(colon - host) : 0;
	char *end;
	long number = colon ? strtol(colon + 1, &end, 10) : 0;

	if (n == 0 || n >= ADDRESS_NAME || *end || colon[1] < '0' || colon[1] > '9' || number < 1 || number > 65535)
		return fail(FAIL_USAGE, "%s: give HOST:PORT with a port from 1 to 65535", endpoint);
	if (*host == '[' && n > 1) {
		host++;
		n -= 2;
	}
	memcpy(name, host, n);
	name[n] = '\0';
	snprintf(port, 8, "%ld", number);
	return 0;
}

int
address_check(const char *endpoint)
{
	const char *rest = endpoint + (*endpoint == '@' || *endpoint == '>');
	int binds = *endpoint == '@', here;
	char name[ADDRESS_NAME], port[8];

	if (strncmp(rest, "tcp://", 6) != 0)
		return 0;
	if (address_split(endpoint, name, port) < 0 || (here = is_here(endpoint, name, binds)) < 0)
		return -1;
	if (here || link_settings.key || link_settings.unsafe)
		return 0;
	return fail(FAIL_USAGE, "%s: %s: give --key FILE (ds-keygen makes one), or --unsafe", endpoint,
	    binds ? "any host could connect" : "any host on the way could read and change the frames");
}
