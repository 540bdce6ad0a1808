/*
 * Who may connect.
 *
 * libzmq asks a handler (ZAP, https://rfc.zeromq.org/spec/27) about each connection to a bound
 * socket. This one accepts one program per link. With --key, tcp:// requires CURVE and an allowed
 * key. ipc:// carries no key: the kernel tells which user the peer runs as.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/mem.h"
#include "link/zmq/key.h"
#include "link/zmq/libzmq.h"
#include "link/zmq/peer.h"

#define PARTS 7

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct peer **bound;     /* under lock, indexed by the socket's ZAP domain */
static size_t nbound, cap;
static pthread_t thread;
static void *questions;

static int
set(struct peer *p, int option, const void *value, size_t n)
{
	return zmq_setsockopt(p->sock, option, value, n) < 0 ?
	    fail(FAIL_SYSTEM, "cannot use keys: %s", zmq_strerror(zmq_errno())) : 0;
}

/* Make libzmq ask us about this socket. */
static int
add(struct peer *p)
{
	char domain[24];
	int r;

	pthread_mutex_lock(&lock);
	r = mem_grow(&bound, &cap, nbound + 1, sizeof(*bound));
	if (r == 0)
		bound[nbound++] = p;
	snprintf(domain, sizeof(domain), "%zu", nbound - 1);
	p->admitted = 0;
	pthread_mutex_unlock(&lock);
	return r < 0 ? -1 : set(p, ZMQ_ZAP_DOMAIN, domain, strlen(domain));
}

int
auth_is_ipc(const struct peer *p)
{
	return strncmp(p->url, "ipc://", 6) == 0;
}

int
auth_apply(struct peer *p)
{
	const struct keys *k;
	int one = 1;

	/* a connecting socket needs a domain, too: without one libzmq accepts any bytes as an
	 * old peer */
	if (keys_get(&k) < 0 || (p->bound ? add(p) : set(p, ZMQ_ZAP_DOMAIN, "-", 1)) < 0)
		return -1;
	if (!k || auth_is_ipc(p))
		return 0;
	if (set(p, ZMQ_CURVE_SECRETKEY, k->secret, KEY_BYTES) < 0 || set(p, ZMQ_CURVE_PUBLICKEY, k->public, KEY_BYTES) < 0)
		return -1;
	if (p->bound)
		return set(p, ZMQ_CURVE_SERVER, &one, sizeof(one));
	/* any of the allowed keys may be the peer's: each attempt uses the next one */
	return set(p, ZMQ_CURVE_SERVERKEY, k->allowed[p->tries++ % k->nallowed], KEY_BYTES);
}

void
auth_remove(struct peer *p)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < nbound; i++)
		if (bound[i] == p)
			bound[i] = NULL;
	pthread_mutex_unlock(&lock);
}

int
auth_tried_all(const struct peer *p)
{
	const struct keys *k;

	return keys_get(&k) < 0 || !k || auth_is_ipc(p) || p->tries > k->nallowed;
}

void
auth_release(struct peer *p)
{
	pthread_mutex_lock(&lock);
	p->admitted = 0;
	pthread_mutex_unlock(&lock);
}

static int
is_our_user(unsigned long user)
{
	return user == geteuid() || user == 0;
}

int
auth_connected(const struct peer *p, int fd)
{
	const struct keys *k;
	struct ucred who;
	socklen_t n = sizeof(who);

	if (!auth_is_ipc(p) || keys_get(&k) < 0 || !k)
		return 1;
	/* if the connection has closed already, the descriptor is no socket any more */
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 || is_our_user(who.uid);
}

/* A part of a ZAP request as text. */
static const char *
text_of(zmq_msg_t *m, char to[64])
{
	size_t n = zmq_msg_size(m) < 63 ? zmq_msg_size(m) : 63;

	memcpy(to, zmq_msg_data(m), n);
	to[n] = 0;
	return to;
}

/* The address of an ipc:// peer ends in :user:group:process. */
static int
is_allowed_user(const char *address)
{
	unsigned long user;

	return sscanf(address + strcspn(address, ":"), ":%lu:", &user) == 1 && is_our_user(user);
}

static int
is_allowed_key(const struct keys *k, const unsigned char *key, size_t n)
{
	for (size_t i = 0; i < k->nallowed && n == KEY_BYTES; i++)
		if (memcmp(k->allowed[i], key, KEY_BYTES) == 0)
			return 1;
	return 0;
}

static int
is_allowed(const struct peer *p, zmq_msg_t *m)
{
	const struct keys *k;
	char address[64], mechanism[64];

	if (keys_get(&k) < 0)
		return 0;
	text_of(&m[5], mechanism);
	if (!k || auth_is_ipc(p))
		return strcmp(mechanism, "NULL") == 0 && (!k || is_allowed_user(text_of(&m[3], address)));
	return strcmp(mechanism, "CURVE") == 0 && is_allowed_key(k, zmq_msg_data(&m[6]), zmq_msg_size(&m[6]));
}

/* The ZAP status: "200" accept, "300" busy (a peer is connected), "400" refuse. */
static const char *
decide(zmq_msg_t *m)
{
	char domain[64];
	const char *answer = "300";
	size_t at;

	if (strcmp(text_of(&m[2], domain), "-") == 0)
		return "200";
	at = (size_t)strtoul(domain, NULL, 10);
	pthread_mutex_lock(&lock);
	if (at < nbound && bound[at] && !is_allowed(bound[at], m)) {
		answer = "400";
	} else if (at < nbound && bound[at] && !bound[at]->admitted) {
		bound[at]->admitted = 1;
		answer = "200";
	}
	pthread_mutex_unlock(&lock);
	return answer;
}

/* Answer one request. Returns -1 when the context ends. */
static int
answer(void)
{
	zmq_msg_t m[PARTS];
	const char *status;
	int n = 0, r = 0, more = 1;

	for (int i = 0; i < PARTS; i++)
		zmq_msg_init(&m[i]);
	while (more && (r = zmq_msg_recv(&m[n < PARTS ? n : PARTS - 1], questions, 0)) >= 0) {
		more = zmq_msg_more(&m[n < PARTS ? n : PARTS - 1]);
		n++;
	}
	/* mechanism NULL has no key part */
	status = r < 0 ? NULL : n == PARTS || n == PARTS - 1 ? decide(m) : "400";
	if (status) {
		zmq_msg_send(&m[0], questions, ZMQ_SNDMORE);
		zmq_msg_send(&m[1], questions, ZMQ_SNDMORE);
		zmq_send(questions, status, 3, ZMQ_SNDMORE);
		zmq_send(questions, "", 0, ZMQ_SNDMORE);
		zmq_send(questions, "", 0, ZMQ_SNDMORE);
		zmq_send(questions, "", 0, 0);
	}
	for (int i = 0; i < PARTS; i++)
		zmq_msg_close(&m[i]);
	return r < 0 && zmq_errno() != EINTR ? -1 : 0;
}

static void *
answer_all(void *arg)
{
	while (answer() == 0)
		;
	zmq_close(questions);
	return arg;
}

int
auth_start(void *context)
{
	questions = zmq_socket(context, ZMQ_REP);
	if (!questions || zmq_bind(questions, "inproc://zeromq.zap.01") < 0 ||
	    pthread_create(&thread, NULL, answer_all, NULL) != 0)
		return fail(FAIL_SYSTEM, "cannot start ZeroMQ");
	return 0;
}

void
auth_stop(void)
{
	pthread_join(thread, NULL);
	free(bound);
	bound = NULL;
	nbound = cap = 0;
}
