/*
 * Links between programs that compute on GPUs. Tensors go from GPU to GPU, by NCCL (nccl:ADDRESS)
 * or, on one host, through shared GPU memory (cuda:ADDRESS). A ZeroMQ link at ADDRESS carries the
 * frames without those tensors, as valid frames with their own checksum. The header key `device`
 * lists the missing tensors as [name, dtype, shape, index]. Tensors whose newest copy is in host
 * memory stay in the frame, so a program without a GPU may send, too.
 *
 * Internal to common/link.
 */
#ifndef DS_LINK_GPU_H
#define DS_LINK_GPU_H

#include "device/device.h"
#include "link/link_internal.h"

struct gpu_link;

/* How tensors travel. Functions return 0, or -1 and a message. */
struct carrier {
	const char *name;
	int (*open)(struct gpu_link *g, struct link *l);       /* connect, beside the ZeroMQ link */
	/* write_note adds what the receiver needs to the frame before it is sent; read_note
	 * reads that. */
	int (*write_note)(struct gpu_link *g, struct frame *note, struct tensor *const *t, int n);
	int (*read_note)(struct gpu_link *g, struct frame *f);
	/* Transfer the tensors. On return they have been sent or received. */
	int (*send)(struct gpu_link *g, struct tensor *const *t, int n);
	int (*receive)(struct gpu_link *g, void *const *to, const size_t *bytes, int n);
	int (*close)(struct gpu_link *g, int well);     /* well: everything sent must arrive */
};

struct gpu_link {
	struct link notes;              /* the ZeroMQ link */
	const struct carrier *carrier;
	struct device *d;               /* NULL: no tensor has been transferred yet */
	struct gpu_peer *peer;          /* NCCL: the connection, or NULL */
	unsigned char id[GPU_NCCL_ID];  /* NCCL: the id of the connection */
	struct link back;               /* CUDA IPC: acknowledges that shared memory was read */
	struct scratch shared;          /* CUDA IPC: memory that the receiver maps */
	/* CUDA IPC: the smaller block before it, which may still be mapped */
	struct scratch retired;
	void *mapped;                   /* CUDA IPC: the sender's memory, mapped here */
	unsigned char handle[GPU_IPC];  /* CUDA IPC: handle of that memory */
	int ack_pending;                /* an acknowledgement is due */
};

extern const struct carrier carrier_nccl, carrier_ipc;

/* 1 if the peer has gone; arg is the struct gpu_link. */
int gpu_link_lost(void *arg);

/* Open a ZeroMQ link at address with `suffix` appended. Returns 0, or -1 and a message. */
int gpu_link_open_zmq(struct link *to, const char *address, const char *suffix, enum link_dir dir);

/* gpu_link_put adds a header key with n bytes: 0, or -1 and a message. gpu_link_get returns the
 * bytes of a key, which must be n, or NULL and a message; they belong to f. */
int gpu_link_put(struct frame *f, const char *key, const void *p, size_t n);
const void *gpu_link_get(const struct frame *f, const char *key, size_t n);

#endif
