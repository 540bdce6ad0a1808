/*
 * libzmq, loaded on first use.
 *
 * It depends on twenty libraries, and programs that use pipes should start without loading them.
 * Include this file instead of zmq.h: calls look the same and go through a table.
 */
#ifndef DS_LIBZMQ_H
#define DS_LIBZMQ_H

#include <zmq.h>

#define LIBZMQ_CALLS(X) \
	X(zmq_bind) X(zmq_close) X(zmq_connect) X(zmq_ctx_new) X(zmq_ctx_shutdown) X(zmq_ctx_term) \
	X(zmq_curve_keypair) X(zmq_errno) X(zmq_getsockopt) X(zmq_msg_close) X(zmq_msg_data) X(zmq_msg_init) \
	X(zmq_msg_init_data) X(zmq_msg_more) X(zmq_msg_recv) X(zmq_msg_send) X(zmq_msg_size) X(zmq_send) \
	X(zmq_setsockopt) X(zmq_socket) X(zmq_socket_monitor) X(zmq_strerror) X(zmq_z85_decode)

struct libzmq {
#define X(name) __typeof__(name) *name;
	LIBZMQ_CALLS(X)
#undef X
};
extern struct libzmq libzmq;

/* Load the library; call before any other function. Returns 0, or -1 and a message
 * (FAIL_SYSTEM). */
int libzmq_load(void);

/* A call missing here fails at link time, because programs are not linked with libzmq. */
#define zmq_bind libzmq.zmq_bind
#define zmq_close libzmq.zmq_close
#define zmq_connect libzmq.zmq_connect
#define zmq_ctx_new libzmq.zmq_ctx_new
#define zmq_ctx_shutdown libzmq.zmq_ctx_shutdown
#define zmq_ctx_term libzmq.zmq_ctx_term
#define zmq_curve_keypair libzmq.zmq_curve_keypair
#define zmq_errno libzmq.zmq_errno
#define zmq_getsockopt libzmq.zmq_getsockopt
#define zmq_msg_close libzmq.zmq_msg_close
#define zmq_msg_data libzmq.zmq_msg_data
#define zmq_msg_init libzmq.zmq_msg_init
#define zmq_msg_init_data libzmq.zmq_msg_init_data
#define zmq_msg_more libzmq.zmq_msg_more
#define zmq_msg_recv libzmq.zmq_msg_recv
#define zmq_msg_send libzmq.zmq_msg_send
#define zmq_msg_size libzmq.zmq_msg_size
#define zmq_send libzmq.zmq_send
#define zmq_setsockopt libzmq.zmq_setsockopt
#define zmq_socket libzmq.zmq_socket
#define zmq_socket_monitor libzmq.zmq_socket_monitor
#define zmq_strerror libzmq.zmq_strerror
#define zmq_z85_decode libzmq.zmq_z85_decode

#endif
