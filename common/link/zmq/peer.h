/*
 * A ZeroMQ socket with exactly one peer, used by the transport in zmq.c.
 *
 * The socket's monitor reports the state of the connection. Failed handshakes are ignored while no
 * peer is connected. A lost connection is final: no other peer is accepted.
 */
#ifndef DS_PEER_H
#define DS_PEER_H

#include <poll.h>
#include <pthread.h>
#include <stdint.h>

#include "link/link.h"

struct peer {
	enum link_dir dir;
	char *url;
	int bound;                      /* bound; otherwise connecting */
	void *sock, *mon;               /* the socket, NULL once closed; its monitor socket */
	int up, lost;                   /* handshake done; connection lost */
	const char *why;                /* why it failed for good before it was up, or NULL */
	int *fds, nfds;                 /* open connections, those in handshake included */
	size_t cap;
	int fd;                         /* the peer's connection, -1: unknown yet */
	size_t tries;                   /* attempts to connect with keys */
	double refused;                 /* when handshakes began to fail, 0: none failed */
	double opened, lost_at;
	/* start of the time without an acknowledgement; last check */
	double unacked_since, checked;
	double waiting_since;           /* when the receiver began to wait, 0: it does not */
	double due;                     /* when the timer fires, 0: not set */
	int look;                       /* sources known to be ready; 0: none, or not checked */
	/* epoll of all sources; wake-up call; retry timer; always readable */
	int poll, wake, timer, ready;
	pthread_mutex_t lock;
	size_t pending, low_water;    /* under lock: bytes that libzmq has not sent; wake-up mark */
	int admitted;                   /* under the lock of auth.c: a peer was accepted */
};

/* Bind or connect without waiting for the peer. Returns 0, or -1 and a message. */
int peer_open(struct peer *p, const char *endpoint, enum link_dir dir);

/* Wake up within so many seconds. */
void peer_set_timer(struct peer *p, double seconds);

/* Process pending events. Returns 0, or -1 and a message if the connection cannot be
 * established. */
int peer_pump(struct peer *p);

/* 1 if no peer came within link_settings.wait. Sets the timer for the next check. */
int peer_overdue(struct peer *p);

/* Readiness of the socket: ZMQ_POLLIN, ZMQ_POLLOUT. */
int peer_events(const struct peer *p);

/* Sleep until an event, at most until the time `until` (clock_now; 0: no limit). */
void peer_wait(struct peer *p, double until);

/* Send n bytes at data as a message part. data must stay unchanged until peer_pending drops to
 * 0; then own, if not NULL, is freed. Returns 0, or -1 and a message. */
int peer_send(struct peer *p, void *data, size_t n, int more, void *own);

/* Bytes not sent yet. A sleeping caller wakes once at most low_water bytes are left. */
size_t peer_pending(struct peer *p, size_t low_water);

/* 1 if sent data may still be in transit to a live peer. */
int peer_unread(const struct peer *p);

/* A counter that grows with each heartbeat of the peer, as far as the kernel knows (tcp). */
uint64_t peer_bytes(const struct peer *p);
double peer_silence(const struct peer *p);      /* seconds since the last heartbeat */

/* Seconds for which sent bytes have not been acknowledged by the peer's kernel (tcp). Call at
 * least every two seconds. */
double peer_unacked(struct peer *p);

/* Close the socket; queued data have `linger` milliseconds to leave. On return no caller's
 * memory is in use. */
void peer_shut(struct peer *p, int linger);
void peer_free(struct peer *p);

/* --- context.c: shared by all sockets of the process --- */

/* Open a socket: NULL and a message on failure. Call context_done after closing each; the last
 * call terminates the context. */
void *context_socket(int type);
void context_done(void);

/* --- auth.c: who may connect --- */

/* Set up authentication before the socket binds or connects. Returns 0, or -1 and a message. */
int auth_apply(struct peer *p);
void auth_remove(struct peer *p);
int auth_is_ipc(const struct peer *p);  /* no keys: the kernel identifies the peer */
/* 0: with --key, an ipc:// peer of another user */
int auth_connected(const struct peer *p, int fd);
int auth_tried_all(const struct peer *p); /* 1 after an attempt with each allowed key */
void auth_release(struct peer *p);      /* the accepted peer has failed */
int auth_start(void *context);          /* start the thread that answers ZAP requests */
void auth_stop(void);                   /* call after the context has been shut down */

#endif
