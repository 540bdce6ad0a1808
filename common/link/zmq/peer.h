/*
 * A ZeroMQ socket with exactly one peer, for the transport in zmq.c.
 *
 * The socket's monitor tells what becomes of the connection.  Before it is up, whoever fails to
 * shake hands is ignored; once it is up, that it breaks is final: nobody connects again.
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
	int bound;                      /* we bind, the other side connects */
	void *sock, *mon;               /* the socket, NULL once it is shut; the reader of its monitor */
	int up, lost;                   /* the handshake is done; the connection is over */
	const char *why;                /* it failed for good before it was up, or NULL */
	int *fds, nfds;                 /* connections that are open, also those that shake hands */
	size_t cap;
	int fd;                         /* the one that is ours, -1: not known yet */
	size_t tries;                   /* to connect, with keys */
	double refused;                 /* since when handshakes fail, 0: they don't */
	double opened, lost_at;
	double unacked_since, checked;  /* since when no arrival has been heard of, when that was looked at */
	double waiting_since;           /* since when a receiver has waited, 0: it has not */
	double due;                     /* when the timer goes off, 0: it is not set */
	int look;                       /* what has something to tell, as far as we know; 0: nothing, or we have not asked */
	int poll, wake, timer, ready;   /* epoll of all below; our own call; to try again; always readable */
	pthread_mutex_t lock;
	size_t pending, low_water;      /* under lock: bytes that libzmq has to send yet; how few we are waiting for */
	int admitted;                   /* under the lock of auth.c: somebody has been let in */
};

/* Bind or connect; does not wait for the other side.  0, or -1 and a message. */
int peer_open(struct peer *p, const char *endpoint, enum link_dir dir);

/* Be woken in so many seconds, or before. */
void peer_set_timer(struct peer *p, double seconds);

/* Look at what has happened meanwhile: 0, or -1 and a message where the connection cannot come up. */
int peer_pump(struct peer *p);

/* 1 if nobody has come for as long as link_settings.wait allows.  Sees to it that it is asked again. */
int peer_overdue(struct peer *p);

/* What the socket is ready for: ZMQ_POLLIN, ZMQ_POLLOUT. */
int peer_events(const struct peer *p);

/* Sleep until something may have happened, at most until that time (clock_now; 0: as long as it takes). */
void peer_wait(struct peer *p, double until);

/* Send n bytes at data as a part of a message; they are left alone until peer_pending has gone down,
 * and own, if not NULL, is freed then.  0, or -1 and a message. */
int peer_send(struct peer *p, void *data, size_t n, int more, void *own);

/* Bytes that have not left yet; who sleeps now is woken as soon as no more than `enough` are left. */
size_t peer_pending(struct peer *p, size_t low_water);

/* 1 while what was sent may still be on its way to a peer that lives. */
int peer_unread(const struct peer *p);

/* A number that changes with each sign of life that the peer sends, as far as the kernel tells (tcp). */
uint64_t peer_bytes(const struct peer *p);
double peer_silence(const struct peer *p);      /* seconds since the last one */

/* Seconds for which bytes have been on their way without a word of their arrival from the kernel there (tcp),
 * as far as it was asked again every two seconds. */
double peer_unacked(struct peer *p);

/* Close the socket; linger: milliseconds that what was posted has to leave in.  On return
 * no memory of a caller is in use. */
void peer_shut(struct peer *p, int linger);
void peer_free(struct peer *p);

/* --- context.c: what all sockets of the process share --- */

/* A socket, or NULL and a message.  context_done after closing each: behind the last one it ends the context. */
void *context_socket(int type);
void context_done(void);

/* --- auth.c --- */

/* Who may connect: set it up for a socket before it binds or connects.  0, or -1 and a message. */
int auth_apply(struct peer *p);
void auth_remove(struct peer *p);
int auth_is_ipc(const struct peer *p);  /* no keys there: the kernel tells who it is */
int auth_connected(const struct peer *p, int fd);      /* 0: with --key, an ipc:// socket of another user */
int auth_tried_all(const struct peer *p); /* 1 when it has connected for each key that may be there */
void auth_release(struct peer *p);      /* whoever was let in has failed */
int auth_start(void *context);          /* the thread that answers libzmq's questions */
void auth_stop(void);                   /* after the context has been shut down */

#endif
