#include "link/gpu.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "device/tensor.h"

#define KEY "device"

int
gpu_link_lost(void *arg)
{
	const struct gpu_link *g = arg;

	return zmq_lost(&g->notes);
}

/* --- keys of a frame --- */

int
gpu_link_put(struct frame *f, const char *key, const void *p, size_t n)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	int r;

	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_bin(&k, n);
	msgpack_pack_bin_body(&k, p, n);
	r = frame_append(f, key, b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

const void *
gpu_link_get(const struct frame *f, const char *key, size_t n)
{
	const struct frame_key *k = frame_other(f, key);
	const unsigned char *p = k ? k->value : NULL;

	/* an array of one bin8 */
	if (p && k->nvalue == n + 3 && p[0] == 0x91 && p[1] == 0xc4 && p[2] == n)
		return p + 3;
	fail(FAIL_DATA, "header: '%s' is not %zu bytes", key, n);
	return NULL;
}

/* Add tensor t, which is number `at` of its frame, to the list. */
static int
list(struct frame *note, const struct tensor *t, int at)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	const char *dtype = dtype_name(t->dtype);
	int r;

	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_array(&k, 4);
	msgpack_pack_str(&k, strlen(t->name));
	msgpack_pack_str_body(&k, t->name, strlen(t->name));
	msgpack_pack_str(&k, strlen(dtype));
	msgpack_pack_str_body(&k, dtype, strlen(dtype));
	msgpack_pack_array(&k, (size_t)t->rank);
	for (int i = 0; i < t->rank; i++)
		msgpack_pack_uint64(&k, t->shape[i]);
	msgpack_pack_int(&k, at);
	r = frame_append(note, KEY, b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

/* --- sending --- */

/* Copy f without the tensors in GPU memory, which are listed instead. The copy borrows from f;
 * free it with note_free. */
static int
note_make(struct frame *note, const struct frame *f, struct tensor **t, int *n)
{
	*note = *f;
	note->raw = note->head = NULL;
	note->nraw = note->nhead = 0;
	note->chunks = NULL;
	note->others = NULL;
	note->nothers = note->ntensors = *n = 0;
	note->changed = 1;
	for (int i = 0; i < f->ntensors; i++)
		if (f->tensors[i].fetch)
			t[(*n)++] = (struct tensor *)(uintptr_t)&f->tensors[i];
		else
			note->tensors[note->ntensors++] = f->tensors[i];
	if (frame_add_others(note, f) < 0)
		return -1;
	for (int i = 0; i < *n; i++)
		if (list(note, t[i], (int)(t[i] - f->tensors)) < 0)
			return -1;
	return 0;
}

static void
note_free(struct frame *note)
{
	note->spans = NULL;
	note->seqs = NULL;
	note->ntensors = 0;
	frame_free(note);
}

static int
notes_send(struct gpu_link *g, struct frame *f, int wait)
{
	int r = g->notes.transport->send(&g->notes, f, wait);

	if (r >= 0 && f) {
		g->notes.frames++;
		g->notes.ended = f->op == OP_END;
	}
	return r;
}

/* Find this program's GPU, once it is needed. */
static int
find_device(struct gpu_link *g)
{
	g->d = link_settings.gpu;
	return g->d ? 0 : fail(FAIL_USAGE, "its frames are in GPU memory: give -d cuda");
}

static int
batch_send(struct gpu_link *g, struct frame *f)
{
	struct tensor *t[FRAME_TENSORS_MAX];
	struct frame note;
	int n, r = note_make(&note, f, t, &n);

	if (r == 0 && n > 0 && (find_device(g) < 0 || g->carrier->write_note(g, &note, t, n) < 0))
		r = -1;
	if (r == 0)
		r = notes_send(g, &note, 1);
	note_free(&note);
	if (r < 0)
		return -1;
	return n > 0 && g->carrier->send(g, t, n) < 0 ? -1 : 1;
}

/* Frames in the queue go through the ZeroMQ link complete. */
static int
flush(struct link *l, int wait)
{
	struct gpu_link *g = l->state;
	int r;

	g->notes.queue = l->queue;
	g->notes.sent = l->sent;
	r = notes_send(g, NULL, wait);
	l->queue = g->notes.queue;
	l->sent = g->notes.sent;
	g->notes.queue = (struct buf){0};
	g->notes.sent = 0;
	return r;
}

static int
gpu_send(struct link *l, struct frame *f, int wait)
{
	struct gpu_link *g = l->state;

	if (!f)
		return flush(l, wait);
	if (flush(l, 1) < 0)
		return -1;
	return f->op == OP_NONE ? batch_send(g, f) : notes_send(g, f, wait);
}

/* --- receiving --- */

/* Copy a msgpack string to to[size] and terminate it. */
static int
text(char *to, size_t size, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_STR || o->via.str.size == 0 || o->via.str.size >= size || memchr(o->via.str.ptr, 0, o->via.str.size))
		return -1;
	memcpy(to, o->via.str.ptr, o->via.str.size);
	to[o->via.str.size] = '\0';
	return 0;
}

/* Move the last tensor to index `at`. */
static int
put_at(struct frame *f, const msgpack_object *at)
{
	struct tensor t = f->tensors[f->ntensors - 1];

	if (at->type != MSGPACK_OBJECT_POSITIVE_INTEGER || at->via.u64 >= (uint64_t)f->ntensors)
		return fail(FAIL_DATA, "header: '%s': '%s' has no valid index among %d", KEY, t.name, f->ntensors);
	memmove(&f->tensors[at->via.u64 + 1], &f->tensors[at->via.u64], ((size_t)f->ntensors - 1 - at->via.u64) * sizeof(t));
	f->tensors[at->via.u64] = t;
	return 0;
}

/* Add a listed tensor to f. *to is its address in GPU memory, *bytes its size. */
static int
add_tensor(struct gpu_link *g, struct frame *f, const msgpack_object *o, size_t *total, void **to, size_t *bytes)
{
	const msgpack_object *v = o->via.array.ptr;
	uint64_t shape[FRAME_RANK_MAX];
	char name[128], dtype[16];
	int type, rank;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 4 || text(name, sizeof(name), &v[0]) < 0 ||
	    text(dtype, sizeof(dtype), &v[1]) < 0 || (type = dtype_parse(dtype, strlen(dtype))) < 0 ||
	    v[2].type != MSGPACK_OBJECT_ARRAY || v[2].via.array.size > FRAME_RANK_MAX)
		return fail(FAIL_DATA, "header: an element of '%s' is not [name, dtype, shape, index]", KEY);
	rank = (int)v[2].via.array.size;
	*bytes = dtype_size((enum dtype)type);
	for (int i = 0; i < rank; i++) {
		const msgpack_object *d = &v[2].via.array.ptr[i];

		if (d->type != MSGPACK_OBJECT_POSITIVE_INTEGER || d->via.u64 > UINT32_MAX || size_mul(*bytes, d->via.u64, bytes) < 0)
			return fail(FAIL_DATA, "header: '%s': the shape of '%s' is wrong", KEY, name);
		shape[i] = d->via.u64;
	}
	*total += *bytes < FRAME_PAYLOAD_MAX ? *bytes : FRAME_PAYLOAD_MAX;
	if (*total >= FRAME_PAYLOAD_MAX || frame_tensor(f, name) || f->ntensors == FRAME_TENSORS_MAX)
		return fail(FAIL_DATA, "header: '%s': '%s' is too large, one too many, or a duplicate", KEY, name);
	*to = device_add(g->d, f, name, (enum dtype)type, rank, shape);
	return *to ? put_at(f, &v[3]) : -1;
}

static int
batch_receive(struct gpu_link *g, struct frame *f, const msgpack_object *all)
{
	void *to[FRAME_TENSORS_MAX];
	size_t bytes[FRAME_TENSORS_MAX], total = 0;
	int n = all->type == MSGPACK_OBJECT_ARRAY && all->via.array.size <= FRAME_TENSORS_MAX ? (int)all->via.array.size : -1;

	if (n < 0)
		return fail(FAIL_DATA, "header: '%s' is not an array of at most %d", KEY, FRAME_TENSORS_MAX);
	if (find_device(g) < 0 || g->carrier->read_note(g, f) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (add_tensor(g, f, &all->via.array.ptr[i], &total, &to[i], &bytes[i]) < 0)
			return -1;
	return g->carrier->receive(g, to, bytes, n);
}

static int
gpu_receive(struct link *l, struct frame *f, int wait)
{
	struct gpu_link *g = l->state;
	int r = g->notes.transport->receive(&g->notes, f, wait);
	const struct frame_key *k;
	msgpack_unpacked u;

	if (r <= 0)
		return r;
	g->notes.frames++;
	g->notes.ended = f->op == OP_END;
	k = frame_other(f, KEY);
	if (!k)
		return 1;
	msgpack_unpacked_init(&u);
	r = msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) == MSGPACK_UNPACK_SUCCESS ? batch_receive(g, f, &u.data) :
	    fail(FAIL_DATA, "header: '%s' is not msgpack", KEY);
	msgpack_unpacked_destroy(&u);
	frame_drop_other(f, KEY);
	return r < 0 ? -1 : 1;
}

/* --- transport functions --- */

static struct pollfd
gpu_ready(struct link *l)
{
	struct gpu_link *g = l->state;

	return g->notes.transport->ready(&g->notes);
}

static int
gpu_close(struct link *l)
{
	struct gpu_link *g = l->state;
	int r;

	g->notes.frames = l->frames;
	g->notes.ended = l->ended;
	r = g->carrier->close(g, l->ended);
	if (g->notes.transport->close(&g->notes) < 0)
		r = -1;
	free(g->notes.name);
	free(g->notes.frame);
	free(g);
	l->state = NULL;
	return r;
}

int
gpu_link_open_zmq(struct link *to, const char *address, const char *suffix, enum link_dir dir)
{
	memset(to, 0, sizeof(*to));
	to->dir = dir;
	to->fd = -1;
	to->transport = &link_zmq;
	if (asprintf(&to->name, "%s%s", address, suffix) < 0) {
		to->name = NULL;
		return fail(FAIL_SYSTEM, "no memory for an endpoint's name");
	}
	if (to->transport->open(to) == 0)
		return 0;
	free(to->name);
	to->name = NULL;
	return -1;
}

static int
open_with(struct link *l, const struct carrier *carrier)
{
	const char *address = strchr(l->name, ':') + 1, *plain = address + (*address == '@' || *address == '>');
	struct gpu_link *g;

	if (strncmp(plain, "ipc://", 6) != 0 && (strncmp(plain, "tcp://", 6) != 0 || carrier == &carrier_ipc))
		return fail(FAIL_USAGE, "endpoint '%s': after %s: give the address of a ZeroMQ link, %s", l->name, carrier->name,
		    carrier == &carrier_ipc ? "ipc://PATH" : "tcp://HOST:PORT or ipc://PATH");
	if (!(g = mem_new(1, sizeof(*g))))
		return -1;
	g->carrier = carrier;
	if (gpu_link_open_zmq(&g->notes, address, "", l->dir) == 0) {
		if (carrier->open(g, l) == 0) {
			l->state = g;
			return 0;
		}
		(void)g->notes.transport->close(&g->notes);
		free(g->notes.name);
	}
	free(g);
	return -1;
}

static int
nccl_open(struct link *l)
{
	return open_with(l, &carrier_nccl);
}

static int
ipc_open(struct link *l)
{
	return open_with(l, &carrier_ipc);
}

const struct transport link_nccl = {nccl_open, gpu_receive, gpu_send, gpu_ready, gpu_close};
const struct transport link_ipc = {ipc_open, gpu_receive, gpu_send, gpu_ready, gpu_close};
