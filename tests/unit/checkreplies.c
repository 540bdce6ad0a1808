/* TAP: replies to requests, from frames in any order, and from damaged ones. */
/* check: yes */
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "point.h"
#include "stage/replies.h"

static struct tokenizer *t;
static uint32_t x = 2463534242;

static uint32_t
next(void)
{
	x ^= x << 13;
	x ^= x >> 17;
	return x ^= x << 5;
}

static void
pack_text(msgpack_packer *k, const char *s)
{
	msgpack_pack_str_with_body(k, s, strlen(s));
}

/* {"stop_text": ["é"], "request": {"id": ID, "index": 1, "seed": 2}}  */
static void
pack_entry(msgpack_sbuffer *b, const char *id)
{
	msgpack_packer k;

	msgpack_packer_init(&k, b, msgpack_sbuffer_write);
	msgpack_pack_map(&k, 2);
	pack_text(&k, "stop_text");
	msgpack_pack_array(&k, 1);
	pack_text(&k, "\xc3\xa9");
	pack_text(&k, "request");
	msgpack_pack_map(&k, 3);
	pack_text(&k, "id");
	pack_text(&k, id);
	pack_text(&k, "index");
	msgpack_pack_int(&k, 1);
	pack_text(&k, "seed");
	msgpack_pack_int(&k, 2);
}

/* A frame of rows at `embed`: n ids from id on; logprob -1 each.  */
static void
make_rows(struct frame *f, uint64_t seq, uint32_t pos, const int32_t *ids, uint32_t n,
    uint32_t flags)
{
	struct span span = {seq, pos, n, flags};
	struct tensor *to;

	frame_init(f);
	frame_set_at(f, AT_EMBED, -1);
	if (frame_set_spans(f, &span, 1) < 0 ||
	    !(to = frame_add(f, "ids", I32, 1, (uint64_t[]){n})))
		die_failed();
	memcpy(to->data, ids, to->bytes);
	if (!(to = frame_add(f, "logprob", F32, 1, (uint64_t[]){n})))
		die_failed();
	for (uint32_t i = 0; i < n; i++)
		((float *)to->data)[i] = -1;
}

/* damage: change some bytes of the entry.  What replies_prompt returns.  */
static int
add_prompt(struct replies *a, uint64_t seq, const char *id, int damage)
{
	static const int32_t ids[] = {0, 5, 1022, 201};         /* ..., <think>, newline */
	msgpack_sbuffer b;
	struct frame f;
	int r;

	msgpack_sbuffer_init(&b);
	pack_entry(&b, id);
	for (int i = 0; i < damage; i++)
		b.data[next() % b.size] = (char)next();
	make_rows(&f, seq, 0, ids, 4, SPAN_SAMPLE);
	if (frame_add_seq(&f, &(struct frame_seq){seq, (unsigned char *)b.data, b.size}) < 0)
		die_failed();
	r = replies_prompt(a, &f);
	frame_free(&f);
	msgpack_sbuffer_destroy(&b);
	return r;
}

static void
add_token(struct replies *a, uint64_t seq, uint32_t pos, int32_t id, struct buf *out)
{
	struct frame f;

	make_rows(&f, seq, pos, &id, 1, SPAN_SAMPLE);
	if (replies_lacks(a, &f) || replies_frame(a, &f, out) < 0)
		die_failed();
	frame_free(&f);
}

static void
end(struct replies *a, uint64_t seq, const char *error, struct buf *out)
{
	static const char ended[] = "\x83\xa6reason\xa4stop\xa5model\xb0" "0123456789abcdef"
	    "\xa9precision\xa3""f32";
	struct frame f;

	frame_init(&f);
	f.op = OP_FREE;
	f.seq = seq;
	if ((error ? frame_set_failed(&f, seq, error) :
	    frame_set_other(&f, "ended", ended, sizeof(ended) - 1)) < 0 ||
	    replies_frame(a, &f, out) < 0)
		die_failed();
	frame_free(&f);
}

/* All of out are lines of JSON.  Their number, or -1.  */
static int
lines(const struct buf *out)
{
	char *p = (char *)out->p, *line_end;
	int n = 0;

	for (; p && p < (char *)out->p + out->n; p = line_end + 1, n++) {
		cJSON *o;

		if (!(line_end = memchr(p, '\n', out->n - (size_t)(p - (char *)out->p))))
			return -1;
		*line_end = 0;
		o = json_parse(p, (size_t)(line_end - p));
		if (!o || !cJSON_GetObjectItem(o, "text"))
			return -1;
		cJSON_Delete(o);
	}
	return n;
}

static void
check_line(void)
{
	/* 2 ; </think> ; newline ; 3 ; the two bytes of é, which are tokens */
	static const int32_t ids[] = {20, 1023, 201, 21, 130, 105};
	static const char want[] = "{\"id\": \"a\", \"index\": 1, \"text\": \"2</think>\\n3\", "
	    "\"reasoning\": \"2\", \"answer\": \"3\", \"ids\": [20, 1023, 201, 21, 130, 105], "
	    "\"logprobs\": [-1, -1, -1, -1, -1, -1], \"finish_reason\": \"stop\", "
	    "\"usage\": {\"prompt_tokens\": 4, \"completion_tokens\": 6}, \"seed\": 2, "
	    "\"model\": \"0123456789abcdef\", \"precision\": \"f32\"}\n";
	struct replies a;
	struct buf out = {0};

	replies_open(&a, t);
	if (add_prompt(&a, 7, "\"a\"", 0) < 0)
		die_failed();
	for (uint32_t i = 0; i < 6; i++)
		add_token(&a, 7, 4 + i, ids[i], &out);
	end(&a, 7, NULL, &out);
	point(out.n == sizeof(want) - 1 && memcmp(out.p, want, out.n) == 0,
	    "a line, its stop string in two tokens left out");
	if (out.n != sizeof(want) - 1)
		printf("# %.*s", (int)out.n, (char *)out.p);
	point(!a.first && a.live.n == 0, "nothing of it is kept");
	replies_close(&a);
	buf_free(&out);
}

/* 64 sequences in a random order: all lines, in order if asked for.  */
static void
check_order(int ordered)
{
	struct replies a;
	struct buf out = {0};
	uint32_t len[64] = {0};
	int left = 64, n;
	char id[16], *p;

	replies_open(&a, t);
	a.ordered = ordered;
	for (int i = 0; i < 64; i++) {
		snprintf(id, sizeof(id), "%d", 100 + i);
		if (add_prompt(&a, (uint64_t)i, id, 0) < 0)
			die_failed();
	}
	while (left > 0) {
		uint32_t s = next() % 64;

		if (len[s] == UINT32_MAX)
			continue;
		if (next() % 8) {
			add_token(&a, s, 4 + len[s]++, (int32_t)(next() % 1000), &out);
			continue;
		}
		end(&a, s, next() % 4 ? NULL : "a \xff b\n", &out);
		len[s] = UINT32_MAX;
		left--;
	}
	n = lines(&out);
	point(n == 64, "64 sequences in any order are 64 lines of JSON");
	p = (char *)out.p;
	for (int i = 0; i < n && ordered; i++, p += strlen(p) + 1) {
		snprintf(id, sizeof(id), "%d,", 100 + i);
		ordered &= strncmp(p + 7, id, 4) == 0;
	}
	point(ordered == a.ordered && !a.first,
	    ordered ? "in the order of the prompts" : "none is left");
	replies_close(&a);
	buf_free(&out);
}

/* Entries with changed bytes: a message, or lines that are JSON.  */
static void
check_damaged(void)
{
	int good = 1, refused = 0;

	for (int i = 0; i < 3000 && good; i++) {
		struct replies a;
		struct buf out = {0};

		replies_open(&a, t);
		if (add_prompt(&a, 1, i % 2 ? "\"a\\u00e9\"" : "12", 1 + i % 3) < 0) {
			good = fail_status() == FAIL_DATA && !strchr(fail_text(), '\n');
			refused++;
		} else {
			add_token(&a, 1, 4, 20, &out);
			end(&a, 1, NULL, &out);
			good = lines(&out) == 1;
		}
		replies_close(&a);
		buf_free(&out);
	}
	point(good && refused > 100 && refused < 2900,
	    "3000 damaged entries are refused, or their lines are JSON");
}

int
main(void)
{
	struct replies a;

	t = tokenizer_open("examples/tiny-r1");
	if (!t)
		die_failed();
	check_line();
	check_order(0);
	check_order(1);
	check_damaged();
	replies_open(&a, t);
	point(add_prompt(&a, 1, "1\n", 0) < 0 && strstr(fail_text(), "'id' is not"),
	    "an id of two lines");
	replies_close(&a);
	tokenizer_close(t);
	printf("1..%d\n", points);
	return failures != 0;
}
