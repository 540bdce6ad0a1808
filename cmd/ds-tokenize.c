/* ds-tokenize: texts in, frames with their ids out, each a sequence of its own.  */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "base/utf8.h"
#include "filter.h"
#include "token/template.h"
#include "token/token.h"

#define TEXT_MAX (1u << 30)

static const char help[] =
"usage: ds-tokenize -m MODEL [-a] [-b] [-c [--template FILE] [--thinking HOW]]\n"
"                   [--messages | -0 | --lines] [--seq N] [-o TO ...] [-r FD]\n"
"                   [-v] [TEXT ...]\n"
"\n"
"Encodes each TEXT, or standard input, as token ids and sends it as a frame.\n"
"Each text is a sequence of its own.\n"
"\n"
"  -m, --model MODEL  checkpoint folder or GGUF file (or DS_MODEL)\n"
"  -a                 request logits for all positions, not only the last\n"
"  -b                 do not add special tokens around a text\n"
"  -c                 chat: each text is a user message in the chat template\n"
"  --template FILE    another template: FILE.jinja, or text with {} for TEXT\n"
"  --thinking HOW     on or off: template variables thinking, enable_thinking\n"
"  --messages         each TEXT is a file of conversations in JSON (implies -c)\n"
"  -0                 standard input is texts, each ended by a NUL\n"
"  --lines            standard input is texts, one per line\n"
"  --seq N            id of the first sequence (0)\n"
"  -o, --output TO    output, repeatable; each gets every frame (standard output)\n"
"  -r FD              when ready, write a newline to file descriptor FD\n"
"  -v                 print a summary at the end\n"
"  -V, -h             print the version; print this text\n";

static struct {
	struct filter f;
	int all, bare, chat, many, lines, messages;
	int thinking;                   /* 1, 0; -1: not given */
	const char *template_file;
	const char *from;               /* the current file, or NULL */
	uint64_t seq, sent, tokens;
	struct tokenizer *t;
	struct template template;
	char model[17];
	int32_t *ids;                   /* of the current text */
	size_t nids, cap;
	struct buf text;                /* the current text in its template */
} g = {.thinking = -1};

enum { SEQ = 256, TEMPLATE, THINKING, MESSAGES, LINES };

static int
own(int c, const char *arg, void *to)
{
	char *end;

	(void)to;
	if (c == 'a')
		g.all = 1;
	else if (c == 'b')
		g.bare = 1;
	else if (c == 'c')
		g.chat = 1;
	else if (c == '0')
		g.many = 1;
	else if (c == LINES)
		g.many = g.lines = 1;
	else if (c == TEMPLATE)
		g.template_file = arg;
	else if (c == THINKING)
		return options_switch("--thinking", arg, &g.thinking);
	else if (c == MESSAGES)
		g.messages = g.chat = 1;
	else {
		errno = 0;
		g.seq = strtoull(arg, &end, 10);
		if (errno || *end || *arg < '0' || *arg > '9')
			return fail(FAIL_USAGE, "--seq '%s': give an integer from 0 to %llu", arg, (unsigned long long)UINT64_MAX);
	}
	return 0;
}

/* Write the prompt of a chat to g.text, for a user's n bytes or a conversation.  */
static int
fill_template(const char *text, size_t n)
{
	struct buf clean = {0};
	int r;

	g.text.n = 0;
	if (g.messages)
		return template_conversation(&g.template, &g.text, text, n);
	r = utf8_clean(&clean, text, n);
	if (r == 0)
		r = template_user(&g.template, &g.text, (const char *)clean.p, clean.n);
	buf_free(&clean);
	return r;
}

static int
add_ids(const int32_t *ids, size_t n)
{
	if (n == 0)
		return 0;
	if (mem_grow(&g.ids, &g.cap, g.nids + n, sizeof(*g.ids)) < 0)
		return -1;
	memcpy(g.ids + g.nids, ids, n * sizeof(*ids));
	g.nids += n;
	return 0;
}

/* Write the ids of the text to g.ids.  */
static int
encode(const char *text, size_t n)
{
	size_t around, before;
	const int32_t *ids = tokenizer_around(g.t, &around, &before);

	g.nids = 0;
	if (g.chat || g.bare)
		around = before = 0;
	if (g.chat) {
		size_t skip = g.bare && g.template.bos ? strlen(g.template.bos) : 0;

		if (fill_template(text, n) < 0)
			return -1;
		if (skip > g.text.n || (skip > 0 && memcmp(g.text.p, g.template.bos, skip) != 0))
			skip = 0;
		text = (const char *)g.text.p + skip;
		n = g.text.n - skip;
	}
	if (add_ids(ids, before) < 0 || tokenizer_encode(g.t, text, n, &g.ids, &g.nids, &g.cap) < 0)
		return -1;
	return add_ids(ids + before, around - before);
}

/* The current text is no prompt: its sequence fails with the message that fail() keeps, and the
 * next one may follow.  */
static int
send_failed(void)
{
	struct frame f;
	int r;

	if (fail_status() != FAIL_DATA)
		return -1;
	frame_init(&f);
	if (g.from)
		fail_in("'%s'", g.from);
	fail_in("%s", program);
	r = frame_set_failed(&f, g.seq, fail_text());
	if (r == 0)
		r = stage_send(g.f.out, g.f.o.nout, &f);
	frame_free(&f);
	g.sent++;
	g.seq++;
	return r;
}

static int
send_text(const char *text, size_t n)
{
	struct span span = {.seq = g.seq, .flags = SPAN_SAMPLE | (g.all ? SPAN_LOGITS : 0)};
	struct tensor *t;
	struct frame f;
	uint64_t shape[1];
	int r = -1;

	if (g.sent > 0 && g.seq == 0)
		return fail(FAIL_DATA, "there is no sequence number after %llu", (unsigned long long)UINT64_MAX);
	if (encode(text, n) < 0)
		return send_failed();
	if (g.nids > FRAME_PAYLOAD_MAX / sizeof(*g.ids)) {
		fail(FAIL_DATA, "%zu tokens do not fit into a frame", g.nids);
		return send_failed();
	}
	frame_init(&f);
	span.n = (uint32_t)g.nids;
	shape[0] = g.nids;
	frame_set_at(&f, AT_EMBED, -1);
	strcpy(f.model, g.model);
	if (frame_set_spans(&f, &span, 1) < 0 || !(t = frame_add(&f, "ids", I32, 1, shape)))
		goto done;
	if (g.nids > 0)
		memcpy(t->data, g.ids, t->bytes);
	r = stage_send(g.f.out, g.f.o.nout, &f);
	g.tokens += g.nids;
	g.sent++;
	g.seq++;
done:
	frame_free(&f);
	return r < 0 ? fail_in("sequence %llu", (unsigned long long)span.seq) : 0;
}

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
	if (g.messages)
		return send_conversations(0) < 0 ? fail_in("standard input") : 0;
	return g.many ? send_many() : send_all();
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

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seq", required_argument, NULL, SEQ}, {"template", required_argument, NULL, TEMPLATE},
		{"thinking", required_argument, NULL, THINKING}, {"messages", no_argument, NULL, MESSAGES},
		{"lines", no_argument, NULL, LINES}, {0}
	};
	struct options *o = &g.f.o;
	int i, r = 0;

	*o = (struct options){.help = help, .letters = "abc0", .longs = longs, .own = own,
	    .operands = 1, .max_out = LINKS_MAX};
	i = options_parse(o, argc, argv);
	options_require_model(o);
	if (g.many && i < argc)
		die(FAIL_USAGE, "%s reads standard input: give no TEXT with it", g.lines ? "--lines" : "-0");
	if ((g.template_file || g.thinking >= 0) && !g.chat)
		die(FAIL_USAGE, "%s is for a chat: give -c with it", g.template_file ? "--template" : "--thinking");
	if (g.many && g.messages)
		die(FAIL_USAGE, "%s does not go with --messages: conversations follow one another as they are", g.lines ? "--lines" : "-0");
	filter_links(&g.f);
	g.t = tokenizer_open(o->model);
	if (!g.t || (g.chat && template_open(&g.template, o->model, g.template_file, g.thinking) < 0))
		filter_fail(&g.f);
	if (checkpoint_id(o->model, g.model) < 0)
		g.model[0] = 0;         /* a folder with only a tokenizer suffices */
	filter_ready(&g.f);
	if (g.many || i == argc)
		r = send_input();
	for (; r == 0 && i < argc; i++)
		r = g.messages ? send_file(argv[i]) : send_text(argv[i], strlen(argv[i]));
	if (r < 0 || send_end() < 0)
		filter_fail(&g.f);
	if (o->verbose)
		warn("%llu sequences, %llu tokens", (unsigned long long)g.sent, (unsigned long long)g.tokens);
	template_close(&g.template);
	return filter_close(&g.f, 0);   /* the tokenizer is not freed: that takes time for a large
					 * vocabulary */
}
