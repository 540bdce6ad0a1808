/* ds-tokenize: texts in, frames with their ids out, each a sequence of its own.  */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "base/lines.h"
#include "filter.h"
#include "launch/answer_file.h"
#include "stage/request.h"
#include "token/prompt.h"

#define TEXT_MAX (1u << 30)

static const char help[] =
"usage: ds-tokenize -m MODEL [-a] [-b] [-c [--template FILE] [--thinking HOW]]\n"
"                   [--messages | -0 | --lines | --jsonl] [-S SEED] [--samples N]\n"
"                   [--logprobs] [--done FILE] [--seq N] [-o TO ...] [-r FD] [-v]\n"
"                   [TEXT ...]\n"
"\n"
"Encodes each TEXT, or standard input, as token ids: a frame and sequence each.\n"
"\n"
"  -m, --model MODEL  checkpoint folder or GGUF file (or DS_MODEL)\n"
"  -a, -b             request all logits; do not add special tokens around a text\n"
"  -c                 chat: each text is a user message in the chat template\n"
"  --template FILE    another template: FILE.jinja, or text with {} for TEXT\n"
"  --thinking HOW     on or off: template variables thinking, enable_thinking\n"
"  --messages         each TEXT is a file of conversations in JSON (implies -c)\n"
"  -0, --lines        standard input is texts, each ended by a NUL; a newline\n"
"  --jsonl            each TEXT is a file of requests in JSON, one per line\n"
"  -S, --seed SEED    with --jsonl: seed of requests that give none (0)\n"
"  --samples N        number of sequences per text or request (1)\n"
"  --logprobs         with --jsonl: request log-probabilities of all tokens\n"
"  --done FILE        with --jsonl: answers that exist, whose paths are left out\n"
"  --seq N            id of the first sequence (0)\n"
"  -o, --output TO    output, repeatable; each gets every frame (standard output)\n"
"  -r FD              when ready, write a newline to file descriptor FD\n"
"  -v                 print a summary at the end\n"
"  -V, -h             print the version; print this text\n";

static struct {
	struct filter f;
	int all, many, lines, messages, jsonl;
	long samples;
	const char *from;               /* the current file, or NULL */
	uint64_t seq, sent, tokens, line;
	struct request_defaults given;
	const char *done;               /* a file of answers, or NULL */
	struct answer_file answers;         /* what it has */
	struct prompt p;                /* the current one */
	char model[17];
} g = {.samples = 1, .p.thinking = -1};

enum { SEQ = 256, TEMPLATE, THINKING, MESSAGES, LINES, JSONL, SAMPLES, LOGPROBS, DONE };

static int
read_u64(const char *option, const char *arg, uint64_t *to)
{
	char *end;

	errno = 0;
	*to = strtoull(arg, &end, 10);
	if (errno || *end || *arg < '0' || *arg > '9')
		return fail(FAIL_USAGE, "%s '%s': give an integer from 0 to %llu", option, arg,
		    (unsigned long long)UINT64_MAX);
	return 0;
}

static int
own(int c, const char *arg, void *to)
{
	(void)to;
	switch (c) {
	case 'a':
		return g.all = 1;
	case 'b':
		return g.p.bare = 1;
	case 'c':
		return g.p.chat = 1;
	case 'S':
		return read_u64("-S", arg, &g.given.seed);
	case LINES:
		g.lines = 1;
		return g.many = 1;
	case '0':
		return g.many = 1;
	case TEMPLATE:
		g.p.template_file = arg;
		return 0;
	case THINKING:
		return options_switch("--thinking", arg, &g.p.thinking);
	case MESSAGES:
		return g.messages = g.p.chat = 1;
	case JSONL:
		return g.jsonl = 1;
	case SAMPLES:
		return options_int("--samples", arg, 1, REQUEST_PATHS_MAX, &g.samples);
	case LOGPROBS:
		return g.given.logprobs = 1;
	case DONE:
		g.done = arg;
		return 0;
	}
	return read_u64("--seq", arg, &g.seq);
}

/* Send the frame of the next sequence, which has the number g.seq.  */
static int
send(struct frame *f)
{
	if (g.sent > 0 && g.seq == 0)
		return fail(FAIL_DATA, "there is no sequence number after %llu",
		    (unsigned long long)UINT64_MAX);
	g.sent++;
	g.seq++;
	return stage_send(g.f.out, g.f.o.nout, f);
}

/* The current text is no prompt: its sequence fails with the message that fail() keeps, and the
 * next one may follow.  q: the request that it was, or NULL.  */
static int
send_failed(const struct request *q)
{
	struct buf map = {0};
	struct frame f;
	int r;

	if (fail_status() != FAIL_DATA)
		return -1;
	frame_init(&f);
	if (g.from && !q)
		fail_in("'%s'", g.from);
	fail_in("%s", program);
	r = frame_set_failed(&f, g.seq, fail_text());
	if (r == 0 && q)
		r = request_map(q, 0, &map) < 0 ||
		    frame_set_other(&f, "request", map.p, map.n) < 0 ? -1 : 0;
	if (r == 0)
		r = send(&f);
	frame_free(&f);
	buf_free(&map);
	return r;
}

/* The frame of a prompt of n ids, with an entry of `seqs` if params is not empty.  */
static int
send_prompt(const int32_t *ids, size_t n, const struct buf *params)
{
	struct span span = {g.seq, 0, (uint32_t)n, SPAN_SAMPLE | (g.all ? SPAN_LOGITS : 0)};
	struct frame_seq entry = {g.seq, params->p, params->n};
	struct tensor *t;
	struct frame f;
	int r = -1;

	frame_init(&f);
	frame_set_at(&f, AT_EMBED, -1);
	strcpy(f.model, g.model);
	if (frame_set_spans(&f, &span, 1) < 0 || (params->n > 0 && frame_add_seq(&f, &entry) < 0) ||
	    !(t = frame_add(&f, "ids", I32, 1, (uint64_t[]){n})))
		goto done;
	if (n > 0)
		memcpy(t->data, ids, t->bytes);
	r = send(&f);
	g.tokens += n;
done:
	frame_free(&f);
	return r < 0 ? fail_in("sequence %llu", (unsigned long long)span.seq) : 0;
}

static int
check_size(size_t n)
{
	return n <= FRAME_PAYLOAD_MAX / sizeof(int32_t) ? 0 :
	    fail(FAIL_DATA, "%zu tokens do not fit into a frame", n);
}

static int
send_text(const char *text, size_t n)
{
	static const struct buf none;
	int r = g.messages ? prompt_conversation(&g.p, text, n) : prompt_text(&g.p, text, n);

	if (r < 0 || check_size(g.p.n) < 0)
		return send_failed(NULL);
	for (long i = 0; i < g.samples && r == 0; i++)
		r = send_prompt(g.p.ids, g.p.n, &none);
	return r;
}

/* --- requests --- */

/* The prompt of a request in g.p.  */
static int
encode_request(const struct request *q)
{
	if (q->prompt)
		return prompt_text(&g.p, q->prompt, strlen(q->prompt));
	if (q->conversation)
		return prompt_conversation(&g.p, q->conversation, strlen(q->conversation));
	return 0;
}

/* 1 if that path was answered by an earlier run.  */
static int
is_done(const struct request *q, int index)
{
	return g.done && answer_file_take(&g.answers, q->id, strlen(q->id), (uint64_t)index);
}

static int
send_paths(const struct request *q)
{
	int own_ids = !q->prompt && !q->conversation, r = 0;
	struct buf entry = {0};

	for (int i = 0; i < q->n && r == 0; i++) {
		if (is_done(q, i))
			continue;
		entry.n = 0;
		r = request_entry(q, i, &entry);
		if (r == 0)
			r = send_prompt(own_ids ? q->ids : g.p.ids, own_ids ? q->nids : g.p.n,
			    &entry);
	}
	buf_free(&entry);
	return r;
}

/* A line of n bytes; too_long: it was not kept, and fail() has the message.  */
static int
send_request(const char *line, size_t n, int too_long)
{
	struct request q;
	int r;

	if (too_long) {
		char why[128];

		snprintf(why, sizeof(why), "%s", fail_text());
		if (request_name(&q, g.line++, &g.given) < 0)
			return -1;
		r = fail(FAIL_DATA, "the line is %s", why);
	} else {
		r = request_parse(&q, line, n, g.line++, &g.given, g.p.t);
	}
	if (r == 0 && encode_request(&q) == 0 && check_size(g.p.n) == 0)
		r = send_paths(&q);
	else
		r = is_done(&q, 0) ? 0 : send_failed(&q);
	request_free(&q);
	return r;
}

static int
send_requests(const char *path)
{
	struct lines l;
	char *line;
	size_t n;
	int r = 0, got;

	if (lines_open(&l, path, REQUEST_LINE_MAX) < 0)
		return -1;
	while (r == 0 && (got = lines_next(&l, 1, &line, &n)) != LINES_END)
		r = got < 0 ? -1 : send_request(line, n, got == LINES_LONG);
	lines_close(&l);
	return r;
}

/* --- texts --- */

static int
send_all(void)
{
	struct buf b = {0};
	int r = io_slurp(0, &b, TEXT_MAX) < 0 ? fail_in("standard input") : 0;

	/* a newline at the end is not part of the text, so that ids are those of the same text as
	 * an argument */
	if (r == 0)
		r = send_text((const char *)b.p, b.n - (b.n > 0 && b.p[b.n - 1] == '\n'));
	buf_free(&b);
	return r;
}

/* One of many texts.  The CR of a line that ends in CR LF is not part of it.  */
static int
send_one(const char *text, size_t n, int whole)
{
	return send_text(text, n - (g.lines && whole && n > 0 && text[n - 1] == '\r'));
}

/* Texts that end in NULs or newlines; each is sent as soon as it is complete.  */
static int
send_many(void)
{
	struct buf b = {0};
	unsigned char *end;
	int r = 0;

	while (r == 0) {
		size_t seen = b.n, start = 0;
		ssize_t n;

		if (mem_grow(&b.p, &b.cap, b.n + 65536, 1) < 0) {
			r = -1;
			break;
		}
		n = read(0, b.p + b.n, b.cap - b.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = fail(FAIL_SYSTEM, "cannot read standard input:");
		if (n <= 0)
			break;
		b.n += (size_t)n;
		for (; r == 0 && (end = memchr(b.p + seen, g.lines ? '\n' : 0, b.n - seen)); start = seen) {
			r = send_one((char *)b.p + start, (size_t)(end - b.p) - start, 1);
			seen = (size_t)(end - b.p) + 1;
		}
		buf_drop(&b, start);
		if (r == 0 && b.n > TEXT_MAX)
			r = fail(FAIL_DATA, "standard input: a text has more than %u bytes", TEXT_MAX);
	}
	if (r == 0 && b.n > 0)          /* the last terminator may be missing */
		r = send_one((char *)b.p, b.n, 0);
	buf_free(&b);
	return r;
}

/* Send the conversation in the first n bytes of b, and remove them.  */
static int
send_conversation(struct buf *b, size_t n)
{
	unsigned char next = b->p[n];
	int r;

	b->p[n] = 0;
	r = send_text((char *)b->p, n);
	b->p[n] = next;
	buf_drop(b, n);
	return r;
}

/* Conversations; each is sent as soon as it is complete.  */
static int
send_conversations(int fd)
{
	struct json_scan scan = {0};
	struct buf b = {0};
	ssize_t n = 1;
	int r = 0;

	while (r == 0 && n != 0) {
		ptrdiff_t len = 0;

		if (mem_grow(&b.p, &b.cap, b.n + 65537, 1) < 0) {
			r = -1;
			break;
		}
		n = read(fd, b.p + b.n, b.cap - b.n - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = fail(FAIL_SYSTEM, "cannot read:");
		b.n += n > 0 ? (size_t)n : 0;
		while (r == 0 && (len = json_scan(&scan, (char *)b.p, b.n)) > 0) {
			r = send_conversation(&b, (size_t)len);
			scan = (struct json_scan){0};
		}
		if (len < 0)
			r = -1;
		else if (r == 0 && b.n > TEXT_MAX)
			r = fail(FAIL_DATA, "a conversation has more than %u bytes", TEXT_MAX);
	}
	if (r == 0 && scan.depth > 0)
		r = fail(FAIL_DATA, "it ends in the middle of a conversation");
	buf_free(&b);
	return r;
}

static int
send_file(const char *path)
{
	int in = strcmp(path, "-") == 0;        /* standard input */
	int fd = in ? 0 : open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return fail(FAIL_SYSTEM, "cannot open '%s':", path);
	g.from = path;
	r = send_conversations(fd);
	g.from = NULL;
	if (!in)
		close(fd);
	return r < 0 ? fail_in("'%s'", path) : 0;
}

/* Standard input, as the options say.  */
static int
send_input(void)
{
	if (g.jsonl)
		return send_requests("-");
	if (g.messages)
		return send_conversations(0) < 0 ? fail_in("standard input") : 0;
	return g.many ? send_many() : send_all();
}

static int
send_operand(const char *arg)
{
	if (g.jsonl)
		return send_requests(arg);
	return g.messages ? send_file(arg) : send_text(arg, strlen(arg));
}

static int
send_end(void)
{
	struct frame f;
	int r;

	frame_init(&f);
	f.op = OP_END;
	r = stage_send(g.f.out, g.f.o.nout, &f);
	frame_free(&f);
	return r;
}

static void
check_options(int operands)
{
	if (g.many && operands)
		die(FAIL_USAGE, "%s reads standard input: give no TEXT with it",
		    g.lines ? "--lines" : "-0");
	if ((g.p.template_file || g.p.thinking >= 0) && !g.p.chat && !g.jsonl)
		die(FAIL_USAGE, "%s is for a chat: give -c with it",
		    g.p.template_file ? "--template" : "--thinking");
	if (g.many && g.messages)
		die(FAIL_USAGE, "%s does not go with --messages: "
		    "conversations follow one another as they are", g.lines ? "--lines" : "-0");
	if (g.jsonl && (g.many || g.messages))
		die(FAIL_USAGE, "%s does not go with --jsonl: each line is a request",
		    g.messages ? "--messages" : g.lines ? "--lines" : "-0");
	if ((g.given.seed || g.given.logprobs) && !g.jsonl)
		die(FAIL_USAGE,
		    "%s is for requests: give --jsonl with it, or the option to ds-sample",
		    g.given.seed ? "-S" : "--logprobs");
	if (g.done && !g.jsonl)
		die(FAIL_USAGE, "--done is for requests: give --jsonl with it");
	g.given.n = (int)g.samples;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seq", 1, NULL, SEQ}, {"template", 1, NULL, TEMPLATE},
		{"thinking", 1, NULL, THINKING}, {"messages", 0, NULL, MESSAGES},
		{"lines", 0, NULL, LINES}, {"jsonl", 0, NULL, JSONL}, {"seed", 1, NULL, 'S'},
		{"samples", 1, NULL, SAMPLES}, {"logprobs", 0, NULL, LOGPROBS},
		{"done", 1, NULL, DONE}, {0}
	};
	struct options *o = &g.f.o;
	int i, r = 0;

	*o = (struct options){.help = help, .letters = "abc0S:", .longs = longs, .own = own,
	    .operands = 1, .max_out = LINKS_MAX};
	i = options_parse(o, argc, argv);
	options_require_model(o);
	check_options(i < argc);
	filter_links(&g.f);
	g.p.model = o->model;
	g.p.t = tokenizer_open(o->model);
	if (!g.p.t || ((g.p.chat || g.p.template_file || g.p.thinking >= 0) &&
	    prompt_template(&g.p) < 0))
		filter_fail(&g.f);
	if (g.done && answer_file_load(&g.answers, g.done, NULL, NULL) < 0)
		filter_fail(&g.f);
	if (checkpoint_id(o->model, g.model) < 0)
		g.model[0] = 0;         /* a folder with only a tokenizer suffices */
	filter_ready(&g.f);
	if (g.many || i == argc)
		r = send_input();
	for (; r == 0 && i < argc; i++)
		r = send_operand(argv[i]);
	if (r < 0 || send_end() < 0)
		filter_fail(&g.f);
	if (o->verbose)
		warn("%llu sequences, %llu tokens", (unsigned long long)g.sent,
		    (unsigned long long)g.tokens);
	answer_file_free(&g.answers);
	prompt_close(&g.p);     /* not the tokenizer: that takes time for a large vocabulary */
	return filter_close(&g.f, 0);
}
