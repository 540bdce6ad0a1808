/* TAP: what the driver of a plan sends again after a failure. */
/* check: yes */
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "point.h"
#include "supervise/replay.h"

static int
rows(struct frame *f, enum at at, const struct span *spans, int n, const int32_t *ids)
{
	struct tensor *t;

	frame_init(f);
	frame_set_at(f, at, -1);
	if (frame_set_spans(f, spans, n) < 0 ||
	    !(t = frame_add(f, "ids", I32, 1, (uint64_t[]){f->rows})))
		return -1;
	memcpy(t->data, ids, t->bytes);
	return 0;
}

/* Add the prompt 1 2 3 of a sequence, with an entry of seqs unless it is NULL. */
static int
add(struct replay *r, uint64_t seq, const void *entry, size_t n)
{
	struct frame_seq q = {seq, entry, n};
	struct frame f;
	struct span s = {seq, 0, 3, SPAN_SAMPLE};
	int result = rows(&f, AT_EMBED, &s, 1, (int32_t[]){1, 2, 3});

	if (result == 0 && entry)
		result = frame_add_seq(&f, &q);
	if (result == 0)
		result = replay_add(r, &f);
	frame_free(&f);
	return result;
}

/* Receive tokens of a span. */
static int
receive(struct replay *r, struct span s, const int32_t *ids)
{
	struct frame f;
	int result = rows(&f, AT_EMBED, &s, 1, ids) < 0 ? -1 : replay_receive(r, &f);

	frame_free(&f);
	return result;
}

/* 1 if the next prompt has these ids and an entry that prints as text; NULL: it has none. */
static int
next(struct replay *r, const int32_t *ids, uint32_t n, const char *text)
{
	char got[512] = "";
	struct frame f;
	struct tensor *t;
	msgpack_unpacked u;
	int ok;

	frame_init(&f);
	ok = replay_next(r, &f) == 1 && f.rows == n && (t = frame_tensor(&f, "ids")) &&
	    memcmp(t->data, ids, n * 4) == 0 && f.nseqs == (text != NULL);
	msgpack_unpacked_init(&u);
	if (ok && text && msgpack_unpack_next(&u, (const char *)f.seqs[0].params, f.seqs[0].n,
	    NULL) == MSGPACK_UNPACK_SUCCESS) {
		msgpack_object_print_buffer(got, sizeof(got), u.data);
		if (strcmp(got, text) != 0)
			ok = fail(FAIL_DATA, "the entry is %s", got) == 0;
	}
	msgpack_unpacked_destroy(&u);
	frame_free(&f);
	return ok;
}

static int
ended(struct replay *r, uint64_t seq)
{
	struct frame f;
	int result;

	frame_init(&f);
	f.op = OP_FREE;
	f.seq = seq;
	result = replay_receive(r, &f);
	frame_free(&f);
	return result;
}

int
main(void)
{
	/* {"temperature": 2, "request": {"id": "7"}, "stream": 5} */
	static const char entry[] = "\x83\xabtemperature\x02\xa7request\x81\xa2id\xa1" "7"
	    "\xa6stream\x05";
	static const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7};
	struct plan_options o = {.greedy = 1, .sampling = {"0.5", "9"}};
	struct replay r = {.o = &o};

	point(add(&r, 0, entry, sizeof(entry) - 1) == 0 && add(&r, 1, NULL, 0) == 0, "two prompts");
	point(next(&r, ids, 3, "{\"temperature\"=>2, \"request\"=>{\"id\"=>\"7\"}, "
	    "\"stream\"=>5, \"top_k\"=>9}"),
	    "the entry of a prompt stays; options fill in what it leaves open");
	point(next(&r, ids, 3, "{\"temperature\"=>0.500000, \"top_k\"=>9, \"greedy\"=>true}"),
	    "without an entry the options are all");
	point(receive(&r, (struct span){0, 3, 2, SPAN_HELD}, (int32_t[]){4, 5}) == 0 &&
	    receive(&r, (struct span){0, 5, 3, SPAN_SAMPLE | SPAN_LOGITS | SPAN_DRAFT},
	    (int32_t[]){6, 70, 80}) == 0 &&
	    receive(&r, (struct span){0, 6, 1, SPAN_SAMPLE}, (int32_t[]){7}) == 0,
	    "new tokens; guesses are none");
	replay_rewind(&r);
	point(next(&r, ids, 7,
	    "{\"temperature\"=>2, \"request\"=>{\"id\"=>\"7\"}, "
	    "\"stream\"=>5, \"top_k\"=>9, \"new\"=>4}"),
	    "after a failure the entry is sent again, with the number of new tokens");
	point(receive(&r, (struct span){0, 8, 1, SPAN_SAMPLE}, (int32_t[]){9}) < 0,
	    "a token that does not continue its sequence");
	point(add(&r, 2, "\x01", 1) == 0 &&
	    next(&r, ids, 3, "{\"temperature\"=>0.500000, \"top_k\"=>9, \"greedy\"=>true}") &&
	    !next(&r, ids, 3, NULL), "an entry that is no map is an error");
	replay_close(&r);

	/* with --jsonl the `free` has the reason of the end */
	o.jsonl = 1;
	r = (struct replay){.o = &o};
	point(add(&r, 0, entry, sizeof(entry) - 1) == 0 && next(&r, ids, 3, "") == 0 &&
	    receive(&r, (struct span){0, 3, 2, SPAN_LAST}, ids + 3) == 0 && replay_left(&r) == 1,
	    "a sequence is complete after its free");
	replay_rewind(&r);
	point(next(&r, ids, 4, "{\"temperature\"=>2, \"request\"=>{\"id\"=>\"7\"}, "
	    "\"stream\"=>5, \"top_k\"=>9, \"new\"=>1}") &&
	    receive(&r, (struct span){0, 4, 1, SPAN_LAST}, ids + 4) == 0 && replay_left(&r) == 1,
	    "without it the last token is sampled again");
	point(receive(&r, (struct span){0, 4, 1, SPAN_LAST}, ids + 3) < 0 && ended(&r, 0) == 0 &&
	    replay_left(&r) == 0, "which must be the same token");
	replay_close(&r);
	printf("1..%d\n", points);
	return failures != 0;
}
