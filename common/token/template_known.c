#include <string.h>

#include <nettle/sha2.h>

#include "base/fail.h"
#include "token/template_internal.h"

#define BOS "<｜begin▁of▁sentence｜>"
#define EOS "<｜end▁of▁sentence｜>"

/* How a family of templates renders messages of system, user and assistant. */
struct family {
	/* system messages: the last one first, all of them first, or each in its place */
	enum { SYSTEM_LAST, SYSTEM_ALL, SYSTEM_IN_PLACE } system;
	const char *system_end;         /* after each (in place), or between two (first) */
	const char *user, *user_end;
	const char *assistant;          /* before the assistant's text */
	int answers;                    /* 1: only after a user's turn */
	/* where the assistant's text begins: after the first or the last </think> */
	enum { CUT_NONE, CUT_FIRST, CUT_LAST } cut;
	int eos;                        /* 1: the variable eos_token; 0: V3's token as text */
	/* when `open` is appended to start the assistant's turn */
	enum { OPEN_ALWAYS, OPEN_AFTER_USER, OPEN_NOT_AFTER_USER } when;
	const char *open;
	const char *thinking[2];        /* appended after it: thinking off, on; NULL: nothing */
	const char *lead;               /* put first, once per system message (V2.5) */
};

#define USER "<｜User｜>"
#define ASSISTANT "<｜Assistant｜>"

static const struct family v2 = {SYSTEM_IN_PLACE, "\n\n", "User: ", "\n\n", "Assistant: ", 0,
	CUT_NONE, 1, OPEN_ALWAYS, "Assistant:", {NULL, NULL}, NULL};
static const struct family v3 = {SYSTEM_LAST, NULL, USER, "", ASSISTANT, 0, CUT_NONE, 0,
	OPEN_ALWAYS, ASSISTANT, {NULL, NULL}, NULL};
static const struct family v2_5 = {SYSTEM_LAST, NULL, USER, "", ASSISTANT, 0, CUT_NONE, 0,
	OPEN_ALWAYS, ASSISTANT, {NULL, NULL}, "        "};
static const struct family r1_january = {SYSTEM_LAST, NULL, USER, "", ASSISTANT, 0, CUT_LAST, 0,
	OPEN_ALWAYS, ASSISTANT, {NULL, NULL}, NULL};
static const struct family r1 = {SYSTEM_LAST, NULL, USER, "", ASSISTANT, 0, CUT_LAST, 0,
	OPEN_ALWAYS, ASSISTANT "<think>\n", {NULL, NULL}, NULL};
static const struct family r1_distill = {SYSTEM_ALL, "\n\n", USER, "", ASSISTANT, 0, CUT_LAST, 0,
	OPEN_ALWAYS, ASSISTANT "<think>\n", {NULL, NULL}, NULL};
static const struct family v3_0324 = {SYSTEM_ALL, "\n\n", USER, ASSISTANT, "", 0, CUT_NONE, 0,
	OPEN_NOT_AFTER_USER, ASSISTANT, {NULL, NULL}, NULL};
static const struct family r1_0528 = {SYSTEM_ALL, "\n\n", USER, ASSISTANT, "", 0, CUT_LAST, 0,
	OPEN_NOT_AFTER_USER, ASSISTANT, {NULL, NULL}, NULL};
static const struct family v3_1 = {SYSTEM_ALL, "\n\n", USER, "", ASSISTANT "</think>", 1,
	CUT_FIRST, 0,
	OPEN_AFTER_USER, ASSISTANT, {"</think>", "<think>"}, NULL};
static const struct family tiny_r1 = {SYSTEM_IN_PLACE, "", USER, "", ASSISTANT, 0, CUT_LAST, 1,
	OPEN_ALWAYS, ASSISTANT "<think>\n", {NULL, NULL}, NULL};
static const struct family terminus = {SYSTEM_ALL, "\n\n", USER, "", ASSISTANT "</think>", 1,
	CUT_FIRST, 0,
	OPEN_ALWAYS, ASSISTANT, {"</think>", "<think>"}, NULL};

#define CHATML {"<|im_start|>", "<|im_start|>", "<|im_start|>"}, "\n", "<|im_end|>\n"
#define HEADER "<|start_header_id|>"
#define LLAMA3 {HEADER, HEADER, HEADER}, "<|end_header_id|>\n\n", "<|eot_id|>"
#define HELPFUL "You are a helpful assistant."

static const struct turns chatml = {CHATML, NULL, NULL, 0, 0, NULL, NULL};
static const struct turns qwen2 = {CHATML, HELPFUL, NULL, 0, 0, NULL, NULL};
static const struct turns qwen2_5 = {CHATML,
	"You are Qwen, created by Alibaba Cloud. " HELPFUL, NULL, 0, 0, NULL, NULL};
static const struct turns smollm2 = {CHATML,
	"You are a helpful AI assistant named SmolLM, trained by Hugging Face", NULL,
	0, 0, NULL, NULL};
static const struct turns qwen3 = {CHATML, NULL, NULL, 0, 1, NULL, "<think>\n\n</think>\n\n"};
static const struct turns qwen3_2507 = {CHATML, NULL, NULL, 0, 1, NULL, NULL};
static const struct turns qwen3_think = {CHATML, NULL, NULL, 0, 1, "<think>\n", NULL};
static const struct turns llama3 = {LLAMA3, NULL, NULL, 1, 0, NULL, NULL};
static const struct turns llama3_1 = {LLAMA3, "",
	"Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n", 1, 0, NULL, NULL};
static const struct turns moonlight = {{"<|im_system|>", "<|im_user|>", "<|im_assistant|>"},
	"<|im_middle|>", "<|im_end|>", "You are a helpful assistant", NULL, 0, 0, NULL, NULL};

/*
 * SHA-256 of templates. Some releases have two, which differ in writing a newline as
 *  or as the character. tests/golden/chat has the texts and Jinja's output.
 */
struct known {
	char digest[65];
	const struct family *family;
	int bos;                        /* 1: the variable bos_token; 0: V3's token as text */
	const struct turns *turns;      /* instead of family; bos 0: none */
};

static const struct known releases[] = {
	/* V2, V2-Lite */
	{"8aeba567270fa9a8d5372caf4b04affea947c4421d96adc01e3ff94021b0ae8e", &v2, 1, NULL},
	{"5b0c475e85b3954175a606f8e7540ec0c6a16edb516e2b8cd0c000dff7b1ad65", &v2, 1, NULL},
	/* V2.5 */
	{"cac8d3ea82bac9a92114e474c67bed1497208570426258f9c447a1b355322117", &v2_5, 1, NULL},
	{"b6393ba31b03906b9c898fca7fe9c1179f11d2390787797764eec36766e3564a", &v2_5, 1, NULL},
	{"1b9fb2a108a31e3a8064e6bd824c80961665bec6e5de1b0fe865e7ceae88f4bd", &v2_5, 0, NULL},
	{"5e7e2cf1ec1d53247e4ad44c197b361f48edc1891fe713c1c1dc629d213af065", &v2_5, 0, NULL},
	/* V3 */
	{"54d400beedcd17f464e10063e0577f6f798fa896266a912d8a366f8a2fcc0bca", &v3, 1, NULL},
	{"2ee825e9d6cde8f3d4161138b8abd0e4069d8a67d85e8b6c031eb3b75e1af1f2", &v3, 1, NULL},
	/* R1 as released and since February 2025; its distilled students */
	{"b6835114b7303ddd78919a82e4d9f7d8c26ed0d7dfc36beeb12d524f6144eab1", &r1_january, 1, NULL},
	{"1546232b56f9c33a5d7fcdc270b0014d67dff9c3df06737f091a4a7dee729c3a", &r1_january, 1, NULL},
	{"56a1447ad31926fdc21fb07e56e5642bd9c850c4f52d8c8af7bbe5f079a84f5f", &r1, 1, NULL},
	{"795ba6276beff6e84e75213f77a7e7fff71b6c587618a6ed43c1f90c2ad2334a", &r1, 1, NULL},
	{"563b1ce7d61d50a9b4c7439a912a1116f095b712df5b5e4d3e1116049874eb64", &r1_distill, 1, NULL},
	{"5b7a90c17faa4288745d78ec7097e9a571a3bb7cddc0ab0282d552bd63c7fb51", &r1_distill, 1, NULL},
	/* V3-0324 */
	{"22e97ba043dacf9df1f071a9de9d2bb6b0757491f16e96e810834b86e1641286", &v3_0324, 1, NULL},
	{"86c9eb894f13402f6a30ad06ba7b05d436db0c7e1cc2ba84791a957fb4f6210d", &v3_0324, 1, NULL},
	/* R1-0528 */
	{"53671bac29bcb3e1f95f51b8c77d85a6011b66dc38bd23dce64eef04384a976b", &r1_0528, 1, NULL},
	{"f04e2c07c639ea5fb4d3ce97d23b64236bf28b2a7b28a280e41176abf393f5fb", &r1_0528, 1, NULL},
	/* V3.1 */
	{"45690185067ea25c073bff2d3e425a45ee2564d2bbf6cdf7d885e139d460b8e0", &v3_1, 1, NULL},
	{"37cabd20b2b62e3efe7fa55533ef0bc6e1eae63b60cf77265b2a09632aa1358d", &v3_1, 1, NULL},
	/* V3.1-Terminus and V3.2-Exp */
	{"6e50812c1ed791d81930e675021f2524b075f5f23558305b7eef5c030b4c61f2", &terminus, 1, NULL},
	{"53163748371ddd5efad7a4cb7d977cccab8f95c85b8b3a65d2c2c00527613051", &terminus, 1, NULL},
	/* ChatML */
	{"153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3", NULL, 0, &chatml},
	{"fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e", NULL, 0, &chatml},
	{"58c1a1f04baa7adaeaba1f90267c3d57d9396f0c1f0129bdde9e76d3c6784af7", NULL, 0, &chatml},
	{"d7b5b8c7b58f7a6bf868aa46a5f73ee976d7292f40fcb9c3e7a1defd8d235cfb", NULL, 0, &chatml},
	/* Qwen2 */
	{"793202280c0910ab26bc6eb57c8212c2417324c6d8c4efd0d10d59092ab3e3eb", NULL, 0, &qwen2},
	{"f0206845c9ebc3abb4735d44f286eb81ce99238ad2accc710c6fc60e6cb8ccc8", NULL, 0, &qwen2},
	/* SmolLM2 */
	{"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", NULL, 0, &smollm2},
	{"de9cde7d1b0ca0cc87459a6673e0d12fb89c070bdb24e4a30b6e4d187b226221", NULL, 0, &smollm2},
	/* Qwen2.5 */
	{"55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a", NULL, 0, &qwen2_5},
	/* Qwen2.5-Coder */
	{"e7ef0c0550d1e3baa43eda35eaaf927e2e0af29a5c052c45c811201acbea4090", NULL, 0, &qwen2},
	/* Qwen3 */
	{"87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5", NULL, 0, &qwen3},
	{"13e4d4e5d0161c2d6625008905857c049f60f2ebbacf1ba2796cec9daf11c483", NULL, 0, &qwen3},
	/* Qwen3-Instruct-2507 */
	{"40c21f34cf67d8c760ef72f8ad3ae5afad514299d4b06e91dd9a8d705af7b541", NULL, 0, &qwen3_2507},
	/* Qwen3-Thinking-2507 */
	{"3802169b2a02b81e6adb7ab4f64f91ff02db753c8c3a64a01c35192d3a61d8d7", NULL, 0, &qwen3_think},
	/* Llama 3 */
	{"ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122", NULL, 1, &llama3},
	{"4f46ecd43418f216df8c26936c60e5d04bcc81db47db5d86fbe889f64212dd4c", NULL, 1, &llama3},
	/* Llama 3.1 and 3.3 */
	{"93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7", NULL, 1, &llama3_1},
	/* Moonlight */
	{"0af7f5845651f3ba85a82d70d8af968a1da0a60f4c7bb662a9c305cfc9cc224c", NULL, 0, &moonlight},
	/* tiny-r1, in examples */
	{"c65fb888db853e2950836d4ec20f600bd75463baf19447b1e33ecd858261dbd2", &tiny_r1, 1, NULL},
};

const struct known *
known_find(const char *text, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t digest[SHA256_DIGEST_SIZE];
	char hex[2 * SHA256_DIGEST_SIZE + 1] = "";
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, n, (const uint8_t *)text);
	sha256_digest(&sha, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	for (size_t i = 0; i < sizeof(releases) / sizeof(*releases); i++)
		if (strcmp(hex, releases[i].digest) == 0)
			return &releases[i];
	return NULL;
}

int
known_reads_thinking(const struct known *k)
{
	return k->turns ? k->turns->unthinking != NULL : k->family->thinking[0] != NULL;
}

int
known_reads_bos(const struct known *k)
{
	return k->bos;
}

int
known_reads_eos(const struct known *k)
{
	return k->family && k->family->eos;
}

static int
add(struct buf *to, const char *s)
{
	return s ? buf_add(to, s, strlen(s)) : 0;
}

static int
add_system(const struct family *f, struct buf *to, const struct turn *turns, size_t n)
{
	const struct turn *last = NULL;

	for (size_t i = 0; i < n; i++) {
		if (turns[i].role != ROLE_SYSTEM)
			continue;
		if (f->system == SYSTEM_ALL &&
		    ((last && add(to, f->system_end) < 0) ||
		    buf_add(to, turns[i].text, turns[i].n) < 0))
			return -1;
		last = &turns[i];
	}
	return f->system == SYSTEM_LAST && last ? buf_add(to, last->text, last->n) : 0;
}

/* Append the assistant's text, without the reasoning if the family cuts it. */
static int
add_answer(const struct family *f, struct buf *to, const struct turn *turn)
{
	static const char mark[] = "</think>";
	const char *from = turn->text, *end = turn->text + turn->n, *found;

	while (f->cut != CUT_NONE &&
	    (found = memmem(from, (size_t)(end - from), mark, sizeof(mark) - 1))) {
		from = found + sizeof(mark) - 1;
		if (f->cut == CUT_FIRST)
			break;
	}
	return buf_add(to, from, (size_t)(end - from));
}

int
known_render(const struct template *t, struct buf *to, const struct turn *turns, size_t n)
{
	const struct family *f = t->known->family;
	int after_user = 0, r = 0;

	if (t->known->turns)
		return turns_render(t->known->turns, t->known->bos ? t->bos : NULL, t->thinking, to,
		    turns, n);
	for (size_t i = 0; i < n && r == 0; i++)
		r = turns[i].role == ROLE_SYSTEM ? add(to, f->lead) : 0;
	if (r < 0 || add(to, t->known->bos ? t->bos : BOS) < 0 ||
	    (f->system != SYSTEM_IN_PLACE && add_system(f, to, turns, n) < 0))
		return -1;
	for (size_t i = 0; i < n && r == 0; i++) {
		const struct turn *turn = &turns[i];

		if (turn->role == ROLE_USER) {
			r = add(to, f->user) < 0 || buf_add(to, turn->text, turn->n) < 0 ||
			    add(to, f->user_end) < 0;
			after_user = 1;
		} else if (turn->role == ROLE_ASSISTANT) {
			r = (!(f->answers && !after_user) && add(to, f->assistant) < 0) ||
			    add_answer(f, to, turn) < 0 || add(to, f->eos ? t->eos : EOS) < 0;
			after_user = 0;
		} else if (f->system == SYSTEM_IN_PLACE) {
			r = buf_add(to, turn->text, turn->n) < 0 || add(to, f->system_end) < 0;
		}
	}
	if (r == 0 && (f->when == OPEN_ALWAYS || after_user == (f->when == OPEN_AFTER_USER)))
		r = add(to, f->open) < 0 || add(to, f->thinking[t->thinking == 1]) < 0;
	return r ? -1 : 0;
}
