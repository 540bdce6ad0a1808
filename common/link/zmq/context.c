/* libzmq's context: created for the first socket, terminated after the last. */
#include <pthread.h>

#include "base/fail.h"
#include "link/zmq/guard.h"
#include "link/zmq/libzmq.h"
#include "link/zmq/peer.h"

/* Descriptors and threads that libzmq opens for the first socket, and descriptors for each
 * further one with its connections; rounded up. */
#define CONTEXT_FDS 20
#define CONTEXT_THREADS 3
#define SOCKET_FDS 6

/* Two threads may use links at the same time (stage/write_behind.h), and each opens and closes
 * sockets. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *context;
static int users;

static void *
new_socket(int type)
{
	void *s;

	if (guard_room(context ? SOCKET_FDS : CONTEXT_FDS, context ? 0 : CONTEXT_THREADS) < 0 || libzmq_load() < 0)
		return NULL;
	if (!context && !(context = zmq_ctx_new())) {
		fail(FAIL_SYSTEM, "cannot start ZeroMQ: %s", zmq_strerror(zmq_errno()));
		return NULL;
	}
	if (users == 0 && auth_start(context) < 0)
		return NULL;
	if (!(s = zmq_socket(context, type))) {
		fail(FAIL_SYSTEM, "cannot make a ZeroMQ socket: %s", zmq_strerror(zmq_errno()));
		return NULL;
	}
	users++;
	return s;
}

void *
context_socket(int type)
{
	void *s;

	pthread_mutex_lock(&lock);
	s = new_socket(type);
	pthread_mutex_unlock(&lock);
	return s;
}

void
context_done(void)
{
	pthread_mutex_lock(&lock);
	if (--users == 0) {
		(void)zmq_ctx_shutdown(context);
		auth_stop();
		while (zmq_ctx_term(context) < 0 && zmq_errno() == EINTR)
			;
		context = NULL;
	}
	pthread_mutex_unlock(&lock);
}
