/* TAP: lines of requests, right, wrong and damaged. */
/* check: yes */
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "point.h"
#include "stage/request.h"

static struct tokenizer *t;
static const struct request_defaults given = {.seed = 5, .n = 2};

/* The line has the message, and the id and the seed of the line or the defaults.  */
static void
wrong(const char *line, const char *id, uint64_t seed, const char *why)
{
	struct request q;
	int r = request_parse(&q, line, strlen(line), 3, &given, t);

	point(r < 0 && fail_status() == FAIL_DATA && strcmp(fail_text(), why) == 0 &&
	    strcmp(q.id, id) == 0 && q.seed == seed, why);
	request_free(&q);
}

static const struct {
	const char *line, *id;
	uint64_t seed;
	const char *why;
} lines[] = {
	{"", "3", 5, "empty, not JSON"},
	{" \t", "3", 5, "byte 2: not valid JSON"},
	{"nonsense", "3", 5, "byte 0: not valid JSON"},
	{"[1]", "3", 5, "not an object"},
	{"{}", "3", 5, "exactly one of prompt, messages and ids must be given"},
	{"{\"prompt\": \"a\", \"ids\": [1]}", "3", 5,
	    "exactly one of prompt, messages and ids must be given"},
	{"{\"prompt\": \"a\"} x", "3", 5, "byte 16: not valid JSON"},
	{"{\"prompt\": \"a\\u0000\"}", "3", 5, "byte 13: a NUL in a string"},
	{"{\"prompt\": \"\xff\"}", "3", 5, "byte 12 is not UTF-8"},
	{"{\"prompt\": 1}", "3", 5, "prompt must be a string"},
	{"{\"id\": \"x\", \"seed\": 7, \"promt\": \"a\"}", "\"x\"", 7, "unknown key 'promt'"},
	{"{\"id\": 1.5e3, \"prompt\": \"a\", \"n\": 0}", "1.5e3", 5,
	    "n is 0, must be between 1 and 65536"},
	{"{\"id\": 01, \"prompt\": \"a\"}", "3", 5, "id must be a string or a number"},
	{"{\"id\": [1], \"prompt\": \"a\"}", "3", 5, "id must be a string or a number"},
	{"{\"id\": 1, \"id\": 2, \"prompt\": \"a\"}", "3", 5, "id appears twice"},
	{"{\"i\\u0064\": 1, \"prompt\": \"a\"}", "3", 5, "the key id is written with escapes"},
	{"{\"prompt\": \"a\", \"prompt\": \"a\"}", "3", 5, "'prompt' appears twice"},
	{"{\"seed\": 18446744073709551616, \"prompt\": \"a\"}", "3", 5,
	    "seed is 18446744073709551616, must be an integer from 0 to 18446744073709551615"},
	{"{\"seed\": -1, \"prompt\": \"a\"}", "3", 5,
	    "seed is -1, must be an integer from 0 to 18446744073709551615"},
	{"{\"seed\": 1e3, \"prompt\": \"a\"}", "3", 5,
	    "seed is 1e3, must be an integer from 0 to 18446744073709551615"},
	{"{\"ids\": [1, 1e9]}", "3", 5, "ids: the vocabulary has no id 1000000000"},
	{"{\"ids\": [1, -1]}", "3", 5, "ids has an element that is not a token id"},
	{"{\"ids\": 7}", "3", 5, "ids must be an array of token ids"},
	{"{\"messages\": {}}", "3", 5, "messages must be an array"},
	{"{\"prompt\": \"a\", \"tools\": []}", "3", 5, "tools without messages"},
	{"{\"prompt\": \"a\", \"temperature\": 1e999}", "3", 5,
	    "temperature is inf, must be between 0 and 1000"},
	{"{\"prompt\": \"a\", \"top_k\": 1.5}", "3", 5, "top_k is 1.5, must be an integer"},
	{"{\"prompt\": \"a\", \"max_tokens\": \"9\"}", "3", 5,
	    "max_tokens is '9', must be a number"},
	{"{\"prompt\": \"a\", \"stop\": \"\"}", "3", 5,
	    "stop has a string of 0 bytes, must be 1 to 1024"},
	{"{\"prompt\": \"a\", \"stop\": [{}]}", "3", 5,
	    "stop has an element that is not a token id"},
	{"{\"prompt\": \"a\", \"logprobs\": 1}", "3", 5, "logprobs must be true or false"},
};

static int
entry_is(const struct request *q, int index, const char *text)
{
	struct buf b = {0};
	msgpack_unpacked u;
	char got[1000];
	size_t end = 0;
	int r;

	msgpack_unpacked_init(&u);
	r = request_entry(q, index, &b) == 0 &&
	    msgpack_unpack_next(&u, (char *)b.p, b.n, &end) == MSGPACK_UNPACK_SUCCESS && end == b.n;
	if (r && text) {
		msgpack_object_print_buffer(got, sizeof(got), u.data);
		if ((r = strcmp(got, text) == 0) == 0)
			printf("# %s\n", got);
	}
	msgpack_unpacked_destroy(&u);
	buf_free(&b);
	return r;
}

static void
check_right(void)
{
	static const char all[] = "\xef\xbb\xbf{\"id\": \"a\\u0062\\n\", "
	    "\"messages\": [{\"role\": \"user\"}], "
	    "\"tools\": [1], \"n\": 3, \"temperature\": 0.5, \"top_p\": 1, \"top_k\": 4, "
	    "\"seed\": 18446744073709551615, \"max_tokens\": 4294967295, \"stop\": [13, \"x\"], "
	    "\"logprobs\": true, \"think_min\": 1, \"think_max\": null}";
	struct sampling_options sampling = SAMPLING_UNSET;
	const struct request_defaults more = {.n = 1, .sampling = &sampling};
	struct request q;

	point(request_parse(&q, all, sizeof(all) - 1, 0, &given, t) == 0 && q.n == 3 &&
	    strcmp(q.id, "\"ab\\n\"") == 0 && q.seed == UINT64_MAX, "a line with all keys");
	point(q.conversation && !q.prompt &&
	    strcmp(q.conversation, "{\"messages\": [{\"role\": \"user\"}], \"tools\": [1]}") == 0,
	    "tools go with the conversation");
	point(entry_is(&q, 2, "{\"temperature\"=>0.500000, \"top_p\"=>1.000000, \"top_k\"=>4, "
	    "\"max_new\"=>4294967295, \"stop_ids\"=>[13], \"stop_text\"=>[\"x\"], "
	    "\"logprobs\"=>true, "
	    "\"think_min\"=>1, \"seed\"=>18446744073709551615, \"stream\"=>2, "
	    "\"request\"=>{\"id\"=>\"\"ab\\n\"\", \"index\"=>2, \"n\"=>3, "
	    "\"seed\"=>18446744073709551615}}"),
	    "its entry of seqs");
	request_free(&q);
	point(request_parse(&q, "{\"ids\": [0, 5]}", 15, 9, &given, t) == 0 && q.nids == 2 &&
	    q.ids[1] == 5 && q.n == 2 && q.seed == 5 && strcmp(q.id, "9") == 0, "defaults");
	request_free(&q);
	sampling.temperature = 0.5;
	sampling.max_new = 7;
	point(request_parse(&q, "{\"ids\": [0], \"max_tokens\": 3}", 29, 9, &more, t) == 0 &&
	    entry_is(&q, 0, "{\"max_new\"=>3, \"temperature\"=>0.500000, \"seed\"=>0, "
	    "\"stream\"=>0, "
	    "\"request\"=>{\"id\"=>\"9\", \"index\"=>0, \"n\"=>1, \"seed\"=>0}}"),
	    "sampling options are those that the line has not");
	request_free(&q);
}

static uint32_t
next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	return *x ^= *x << 5;
}

/* Change, drop, repeat or add bytes.  */
static size_t
damage(char *line, size_t n, size_t cap, uint32_t *x)
{
	static const char bytes[] = "{}[]\",:\\0123456789eE+-.u\xff\xc3\x01 nt";

	for (uint32_t k = 1 + next(x) % 3; k > 0 && n > 0; k--) {
		size_t at = next(x) % n, len = 1 + next(x) % 9;

		len = len < n - at ? len : n - at;
		switch (next(x) % 3) {
		case 0:
			line[at] = bytes[next(x) % (sizeof(bytes) - 1)];
			break;
		case 1:
			memmove(line + at, line + at + len, n - at - len);
			n -= len;
			break;
		default:
			if (n + len < cap) {
				memmove(line + at + len, line + at, n - at);
				n += len;
			}
		}
	}
	line[n] = 0;
	return n;
}

/* Whatever a line is, there is a request, or a message and an id that is JSON.  */
static int
holds(const char *line, size_t n)
{
	struct request q;
	int r = request_parse(&q, line, n, 1, &given, t), good = q.id != NULL;
	cJSON *id = good ? json_parse(q.id, strlen(q.id)) : NULL;

	good &= id && (cJSON_IsString(id) || cJSON_IsNumber(id)) && strlen(q.id) <= REQUEST_ID_MAX;
	good &= r < 0 ? fail_status() == FAIL_DATA && !strchr(fail_text(), '\n') :
	    entry_is(&q, 0, NULL) && q.n >= 1;
	cJSON_Delete(id);
	request_free(&q);
	return good;
}

static void
check_damaged(void)
{
	static const char whole[] = "{\"id\": \"a\\\"b\", "
	    "\"prompt\": \"x\\u00e9\\n\", \"stop\": [1, \"]\"], "
	    "\"seed\": 12345678901234567890, \"n\": 2, \"temperature\": 1.5, \"logprobs\": false}",
	    ids[] = "{\"ids\": [1, 2, 3], \"id\": -1.5e+7, \"tools\": null, \"messages\": null}",
	    talk[] = "{\"messages\": [{\"role\": \"user\", "
	    "\"content\": \"}]\\\\\"}], \"tools\": [{}]}";
	const char *from[] = {whole, ids, talk};
	uint32_t x = 2463534242;
	char line[1000];
	int good = 1;

	for (int i = 0; i < 20000 && good; i++) {
		size_t n = strlen(from[i % 3]);

		memcpy(line, from[i % 3], n + 1);
		n = damage(line, n, sizeof(line), &x);
		if (!(good = holds(line, n)))
			printf("# %.*s\n", (int)n, line);
	}
	point(good, "20000 damaged lines are requests or have a message of one line");
}

static void
check_deep(void)
{
	size_t n = 1 << 20;
	char *s = malloc(n + 40);

	if (!s)
		die_failed();
	memset(s, '[', n);
	s[n] = 0;
	point(holds(s, n), "a million brackets");
	memcpy(s, "{\"prompt\": ", 11);
	point(holds(s, n), "as a value");
	memset(s, 'x', n);
	memcpy(s, "{\"id\": \"", 8);
	strcpy(s + n, "\", \"prompt\": \"a\"}");
	point(holds(s, strlen(s)) && strcmp(fail_text(), "id has more than 1024 bytes") == 0,
	    "an id of a megabyte");
	free(s);
}

int
main(void)
{
	t = tokenizer_open("examples/tiny-r1");
	if (!t)
		die_failed();
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		wrong(lines[i].line, lines[i].id, lines[i].seed, lines[i].why);
	check_right();
	check_damaged();
	check_deep();
	tokenizer_close(t);
	printf("1..%d\n", points);
	return failures != 0;
}
