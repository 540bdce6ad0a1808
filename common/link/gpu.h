/*
 * Links between programs that compute on GPUs: tensors go from GPU to GPU, by NCCL (nccl:ADDRESS) or, on one host, by memory
 * that both see (cuda:ADDRESS).  A ZeroMQ link at ADDRESS carries the frames without them, whole frames with a check sum of
 * their own; what they lack is listed under the key `device`, as [name, dtype, shape, place].  Tensors whose
 * newest data are the host's travel in the frame as ever, so that a program without a GPU may send, too.
 *
 * Shared by the files of common/link alone.
 */
#ifndef DS_LINK_GPU_H
#define DS_LINK_GPU_H

#include "device/device.h"
#include "link/link_internal.h"

struct gpu_link;

/* What carries the tensors.  0, or -1 and a message. */
struct carrier {
	const char *name;
	int (*open)(struct gpu_link *g, struct link *l);                /* its own part of the endpoint, beside the ZeroMQ link */
	/* Before the frame goes: say in it, under a key, what the receiver needs; after it has come: read that. */
	int (*write_note)(struct gpu_link *g, struct frame *note, struct tensor *const *t, int n);
	int (*read_note)(struct gpu_link *g, struct frame *f);
	/* The tensors themselves: on return they have left, or they are there. */
	int (*send)(struct gpu_link *g, struct tensor *const *t, int n);
	int (*receive)(struct gpu_link *g, void *const *to, const size_t *bytes, int n);
	int (*close)(struct gpu_link *g, int well);     /* well: all that was sent is to arrive */
};

struct gpu_link {
	struct link notes;              /* the ZeroMQ link */
	const struct carrier *carrier;
	struct device *d;               /* NULL: nothing has gone from GPU to GPU yet */
	struct gpu_peer *peer;          /* NCCL: the connection, or NULL, */
	unsigned char id[GPU_NCCL_ID];  /* and the id that it is made with */
	struct link back;               /* CUDA IPC: word that memory has been read */
	struct device_scratch shared;   /* the memory that the other side sees, */
	struct device_scratch retired;  /* and what it saw before that grew, while it may still do so; */
	void *mapped;                   /* or the other side's that we see, */
	unsigned char handle[GPU_IPC];  /* by this handle */
	int ack_pending;                /* word that has not come yet */
};

extern const struct carrier carrier_nccl, carrier_ipc;

/* 1 if the program at the other end has gone; arg: the struct gpu_link. */
int gpu_link_lost(void *arg);

/* A ZeroMQ link at address, `behind` put behind its name.  0, or -1 and a message. */
int gpu_link_open_zmq(struct link *to, const char *address, const char *suffix, enum link_dir dir);

/* A key with n bytes; the bytes that a key has, which must be n.  0 or a pointer; -1 or NULL and a message. */
int gpu_link_put(struct frame *f, const char *key, const void *p, size_t n);
const void *gpu_link_get(const struct frame *f, const char *key, size_t n);

#endif
