/*
 * checkstages: what one wrong byte in a frame can do to each stage, in TAP.
 *
 * A small frame in front of each stage is cut and changed at every byte: the reader must refuse
 * it.  Then the same with lengths and CRC put right again, so that the stage itself meets
 * what the byte says: it must take the frame or refuse it with one line, and go on
 * working.  The sanitizers watch.
 */
/* first: yes */
/* only: asan */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "stage/attn.h"
#include "stage/embed.h"
#include "stage/expert.h"
#include "stage/head.h"
#include "stage/join.h"
#include "stage/route.h"
#include "stage/sample.h"
#include "stage/detok.h"

static const char *model_dir = "tests/golden/v3", *tokenizer_dir = "examples/tiny-r1";

static int points, failures;

static void
point(int good, const char *who, const char *what)
{
	printf("%sok %d - %s: %s\n", good ? "" : "not ", ++points, who, what);
	failures += !good;
}

static void
must(int r, const char *what)
{
	if (r < 0) {
		printf("Bail out! %s: %s\n", what, fail_text());
		exit(1);
	}
}

/* The stages of one model, and the frame in front of each. */
static struct model model;
static struct stage stage = {.model = &model};
static struct attn attn;
static struct route route;
static struct expert expert, half;
static struct head head;
static struct tokenizer *tokenizer;
static struct buf before_embed, before_attn, before_route, before_expert, half_done, before_head, before_sample;

static int
parse(struct frame *f, const unsigned char *p, size_t n)
{
	unsigned char *raw = mem_raw(n, 1);

	if (!raw)
		return -1;
	memcpy(raw, p, n);
	frame_init(f);
	return frame_parse(f, raw, n);
}

/* --- one frame through one stage: 0 or 1, or -1 and a message --- */

static int
through(stage_fn *fn, void *arg, const unsigned char *p, size_t n, struct buf *to)
{
	struct frame f;
	int r = parse(&f, p, n);

	if (r == 0)
		r = fn(arg, &f, NULL, 0);
	if (r == 1)
		r = frame_bytes(&f, to);
	frame_free(&f);
	return r;
}

/* An input that holds a frame and the end. */
static void
input_open(struct link *l, const unsigned char *p, size_t n)
{
	struct frame end;
	struct buf b = {0};
	char name[64];
	int fd = memfd_create("frames", MFD_CLOEXEC);

	frame_init(&end);
	end.op = OP_END;
	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	must(fd, "memfd_create");
	must(frame_bytes(&end, &b), "end");
	must(io_write(fd, p, n), "write");
	must(io_write(fd, b.p, b.n), "write");
	must(link_open(l, name, LINK_IN), name);
	close(fd);
	buf_free(&b);
	frame_free(&end);
}

/* What a link wrote to a file of memory, without the end frame. */
static int
output_take(struct link *l, int fd, struct buf *to)
{
	off_t n = lseek(fd, 0, SEEK_END);
	unsigned char *p = n > 0 ? mmap(NULL, (size_t)n, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;

	(void)link_close(l);
	if (p) {
		must(buf_add(to, p, frame_size(p)), "output");
		munmap(p, (size_t)n);
	}
	close(fd);
	return 0;
}

static int
output_open(struct link *l)
{
	int fd = memfd_create("out", MFD_CLOEXEC);
	char name[64];

	snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	must(link_open(l, name, LINK_OUT), name);
	return fd;
}

static int
feed_embed(const unsigned char *p, size_t n, struct buf *to)
{
	static struct embed e;
	struct link in, out;
	int fd = output_open(&out), r;

	input_open(&in, p, n);
	must(embed_open(&e, &stage, &in, 1, &out, 1, 3), "embed");
	r = embed_run(&e);
	if (r < 0)
		(void)link_flush(&out);
	embed_close(&e);
	(void)link_close(&in);
	output_take(&out, fd, to);
	return r;
}

static int
join(const unsigned char *p, size_t n, const struct buf *with, struct buf *to)
{
	struct link in[2], out;
	int fd = output_open(&out), r;

	input_open(&in[0], with->p, with->n);
	input_open(&in[1], p, n);
	r = join_run(&stage, in, 2, &out, 1);
	(void)link_close(&in[0]);
	(void)link_close(&in[1]);
	output_take(&out, fd, to);
	return r;
}

static int
feed_join(const unsigned char *p, size_t n, struct buf *to)
{
	return join(p, n, &before_expert, to);
}

static int
feed_join_same(const unsigned char *p, size_t n, struct buf *to)
{
	struct buf same = {.p = (unsigned char *)(uintptr_t)p, .n = n};

	return join(p, n, &same, to);
}

static int
feed_attn(const unsigned char *p, size_t n, struct buf *to)
{
	return through(attn_frame, &attn, p, n, to);
}

static int
feed_route(const unsigned char *p, size_t n, struct buf *to)
{
	return through(route_frame, &route, p, n, to);
}

static int
feed_expert(const unsigned char *p, size_t n, struct buf *to)
{
	return through(expert_frame, &expert, p, n, to);
}

static int
feed_half(const unsigned char *p, size_t n, struct buf *to)
{
	return through(expert_frame, &half, p, n, to);
}

static int
feed_head(const unsigned char *p, size_t n, struct buf *to)
{
	return through(head_frame, &head, p, n, to);
}

static int
feed_sample(const unsigned char *p, size_t n, struct buf *to)
{
	struct sampling greedy = {.greedy = 1, .top_p = 1, .max_new = 10, .think_max = THINK_MAX};
	struct sample sample;
	struct frame f;
	struct link out;
	int fd = output_open(&out), r;

	must(sample_open(&sample, &stage, &greedy), "sample");
	r = parse(&f, p, n);
	if (r == 0)
		r = sample_frame(&sample, &f, &out, 1);
	frame_free(&f);
	sample_close(&sample);
	output_take(&out, fd, to);
	return r;
}

static int
feed_detok(const unsigned char *p, size_t n, struct buf *to)
{
	struct detok detok;
	struct frame f;
	int r;

	detok_open(&detok, tokenizer);
	r = parse(&f, p, n);
	if (r == 0)
		r = detok_frame(&detok, &f, to);
	if (r == 0)
		must(detok_end(&detok, to), "detokenize");
	frame_free(&f);
	detok_close(&detok);
	return r;
}

/* --- the frames --- */

static void
make_prompt(struct buf *b)
{
	static const struct span spans[] = {{UINT64_MAX - 1, 0, 2, 1}, {3, 0, 1, 2}};
	static const unsigned char params[] = {0x83, 0xa5, 't', 'o', 'p', '_', 'k', 5, 0xa4, 's', 'e', 'e', 'd', 7, 0xa4, 's', 't', 'o', 'p', 0x91, 6};
	struct frame_seq seq = {UINT64_MAX - 1, params, sizeof(params)};
	struct frame f;
	struct tensor *ids;

	frame_init(&f);
	frame_set_at(&f, AT_EMBED, -1);
	must(frame_set_spans(&f, spans, 2), "spans");
	must(frame_add_seq(&f, &seq), "seqs");
	ids = frame_add(&f, "ids", I32, 1, (uint64_t[]){3});
	must(ids ? 0 : -1, "ids");
	memcpy(ids->data, (int32_t[]){5, 60, 7}, 12);
	must(frame_bytes(&f, b), "prompt");
	frame_free(&f);
}

/* The frame as it waits for layer 1, where there are experts to choose; or for the head. */
static void
move_to(struct buf *to, const struct buf *from, enum at at, int layer)
{
	struct frame f;

	must(parse(&f, from->p, from->n), "frame");
	frame_set_at(&f, at, layer);
	must(frame_bytes(&f, to), "frame");
	frame_free(&f);
}

static void
make_frames(void)
{
	struct buf embedded = {0};

	make_prompt(&before_embed);
	must(feed_embed(before_embed.p, before_embed.n, &embedded), "embed");
	move_to(&before_attn, &embedded, AT_ATTN, 1);
	must(feed_attn(before_attn.p, before_attn.n, &before_route), "attn");
	must(feed_route(before_route.p, before_route.n, &before_expert), "route");
	must(feed_half(before_expert.p, before_expert.n, &half_done), "expert");
	move_to(&before_head, &embedded, AT_HEAD, model.config.num_layers);
	must(feed_head(before_head.p, before_head.n, &before_sample), "head");
	buf_free(&embedded);
}

/* --- faults --- */

/* Bytes as they come: cut after each, each changed. */
static int
check_reader(const struct buf *b)
{
	unsigned char *p = mem_raw(b->n, 1);
	struct frame f;
	int good = 1;

	must(p ? 0 : -1, "memory");
	memcpy(p, b->p, b->n);
	for (size_t i = 0; i < b->n && good; i++) {
		p[i] ^= (unsigned char)(1u << i % 8);
		if ((i >= FRAME_PREAMBLE || frame_size(p) == b->n) && frame_check_prefix(p) == 0) {
			good = parse(&f, p, b->n) < 0;
			frame_free(&f);
		}
		p[i] = b->p[i];
		if (i >= FRAME_PREAMBLE && good) {
			good = parse(&f, p, i) < 0;
			frame_free(&f);
		}
		if (!good)
			printf("# byte %zu\n", i);
	}
	free(p);
	return good;
}

static void
put_crc(unsigned char *p, size_t n)
{
	size_t header = (size_t)p[7] << 16 | (size_t)p[8] << 8 | p[9], data = FRAME_PREAMBLE + header + 5;
	uint32_t crc = crc32c(crc32c(0, p + FRAME_PREAMBLE, header), p + data, n - data);

	for (int i = 0; i < 4; i++)
		p[14 + i] = (unsigned char)(crc >> (24 - 8 * i));
}

/* A message of one line. */
static int
is_message(void)
{
	const char *s = fail_text();

	return *s && !strchr(s, '\n') && fail_status() >= FAIL_DATA && fail_status() <= FAIL_SYSTEM;
}

/* What byte i becomes, the v-th time; -1: no more.  All of the data's are floats and ids: each byte
 * has one other value there. */
static int
wrong_byte(size_t i, int was, int v)
{
	static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0x90, 0xc0, 0xca, 0xcf, 0xff};

	if (i > 400)
		return v > 0 ? -1 : i / 4 % 2 ? was ^ 1 << (i + i / 8) % 8 : 0xff;
	return v < 8 ? was ^ 1 << v : v < 17 ? values[v - 8] : -1;
}

/* Each byte that the CRC covers is given other values. */
static void
check_stage(const char *who, const struct buf *b, int (*feed)(const unsigned char *p, size_t n, struct buf *to))
{
	unsigned char *p = mem_raw(b->n, 1);
	struct buf want = {0}, got = {0};
	int good = 1, taken = 0, refused = 0;

	must(p ? 0 : -1, "memory");
	memcpy(p, b->p, b->n);
	point(check_reader(b), who, "a frame that is cut or changed at any byte is refused by its reader");
	must(feed(b->p, b->n, &want), who);
	for (size_t i = FRAME_PREAMBLE; i < b->n; i++) {
		for (int v = 0, is; (is = wrong_byte(i, b->p[i], v)) >= 0; v++) {
			p[i] = (unsigned char)is;
			put_crc(p, b->n);
			got.n = 0;
			if (feed(p, b->n, &got) >= 0)
				taken++;
			else if (is_message())
				refused++;
			else
				good = printf("# byte %zu as %#x: no message: %s\n", i, p[i], fail_text()) < 0;
		}
		p[i] = b->p[i];
	}
	printf("# %d frames refused, %d taken\n", refused, taken);
	point(good && refused > 0 && taken > 0, who, "one with a wrong byte that the CRC does not tell is taken, or refused with a message");
	got.n = 0;
	must(feed(b->p, b->n, &got), who);
	point(got.n > 0 && got.n == want.n && memcmp(got.p, want.p, got.n) == 0, who, "afterwards the right one gives the same bits as before");
	buf_free(&want);
	buf_free(&got);
	free(p);
}

/* The stages of bf16 refuse these frames, which are of f32; tokens are of neither. */
static void
check_precision(void)
{
	int (*const feed[])(const unsigned char *p, size_t n, struct buf *to) = {feed_attn, feed_route, feed_expert, feed_head};
	const struct buf *before[] = {&before_attn, &before_route, &before_expert, &before_head};
	const struct kernels *f32 = stage.k;
	struct buf got = {0};
	struct frame f;
	int refused = 0, embedded;

	stage.k = stage.device->k = kernels_precision(f32, PRECISION_BF16);
	for (int i = 0; i < 4; i++)
		refused += feed[i](before[i]->p, before[i]->n, &got) < 0 && strstr(fail_text(), "precision f32, this stage of bf16");
	point(refused == 4, "bf16", "stages that multiply refuse frames of f32");
	got.n = 0;
	embedded = feed_embed(before_embed.p, before_embed.n, &got) >= 0 && parse(&f, got.p, frame_size(got.p)) == 0;
	point(embedded && f.precision == PRECISION_BF16, "bf16", "tokens become frames of bf16");
	if (embedded)
		frame_free(&f);
	stage.k = stage.device->k = f32;
	buf_free(&got);
}

int
main(void)
{
	program = "checkstages";
	stage.k = kernels_choose();
	must(model_open(&model, model_dir), model_dir);
	must(layers_parse(&stage.layers, NULL, model.config.num_layers), "layers");
	must((stage.pool = pool_new(1)) ? 0 : -1, "threads");
	must((stage.device = device_new(-1, stage.pool, stage.k)) ? 0 : -1, "a device");
	must((tokenizer = tokenizer_open(tokenizer_dir)) ? 0 : -1, tokenizer_dir);
	must(attn_open(&attn, &stage), "attn");
	must(route_open(&route, &stage), "route");
	must(expert_open(&expert, &stage, NULL), "expert");
	must(expert_open(&half, &stage, "0-8,s"), "expert");
	must(head_open(&head, &stage), "head");
	make_frames();

	check_stage("embed", &before_embed, feed_embed);
	check_stage("attn", &before_attn, feed_attn);
	check_stage("route", &before_route, feed_route);
	check_stage("expert", &before_expert, feed_expert);
	check_stage("some experts", &before_expert, feed_half);
	check_stage("the other experts", &half_done, feed_expert);
	check_stage("join, one input wrong", &half_done, feed_join);
	check_stage("join, all inputs wrong", &before_expert, feed_join_same);
	check_stage("head", &before_head, feed_head);
	check_stage("sample", &before_sample, feed_sample);
	check_stage("detokenize", &before_embed, feed_detok);
	check_precision();

	attn_close(&attn);
	route_close(&route);
	expert_close(&expert);
	expert_close(&half);
	head_close(&head);
	tokenizer_close(tokenizer);
	device_close(stage.device);
	pool_free(stage.pool);
	model_close(&model);
	struct buf *all[] = {&before_embed, &before_attn, &before_route, &before_expert, &half_done, &before_head, &before_sample};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		buf_free(all[i]);
	printf("1..%d\n", points);
	return failures > 0;
}
