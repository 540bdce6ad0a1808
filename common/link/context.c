/* libzmq's context: made for the first socket, ended behind the last. */
#include <pthread.h>

#include "base/fail.h"
#include "link/libzmq.h"
#include "link/peer.h"

/* Two threads may have links at work (stage/behind.h), and each makes and closes sockets. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *context;
static int users;

static void *
new_socket(int type)
{
	void *s;

	if (libzmq_load() < 0)
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
