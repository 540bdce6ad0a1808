#include "token/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

int
prompt_template(struct prompt *p)
{
	if (p->opened)
		return 0;
	if (template_open(&p->template, p->model, p->template_file, p->thinking) < 0)
		return -1;
	p->opened = 1;
	return 0;
}

static int
add_ids(struct prompt *p, const int32_t *ids, size_t n)
{
	if (n == 0)
		return 0;
	if (mem_grow(&p->ids, &p->cap, p->n + n, sizeof(*p->ids)) < 0)
		return -1;
	memcpy(p->ids + p->n, ids, n * sizeof(*ids));
	p->n += n;
	return 0;
}

/* The ids of p->text, which the template has written.  */
static int
encode_chat(struct prompt *p)
{
	const char *bos = p->bare ? p->template.bos : NULL, *text = (const char *)p->text.p;
	size_t skip = bos ? strlen(bos) : 0;

	if (skip > p->text.n || (skip > 0 && memcmp(text, bos, skip) != 0))
		skip = 0;
	p->n = 0;
	return tokenizer_encode(p->t, skip ? text + skip : text, p->text.n - skip,
	    &p->ids, &p->n, &p->cap);
}

static int
encode_message(struct prompt *p, const char *text, size_t n)
{
	struct buf clean = {0};
	int r;

	p->text.n = 0;
	r = prompt_template(p) < 0 || utf8_clean(&clean, text, n) < 0 ||
	    template_user(&p->template, &p->text, (const char *)clean.p, clean.n) < 0 ? -1 : 0;
	buf_free(&clean);
	return r < 0 ? -1 : encode_chat(p);
}

int
prompt_text(struct prompt *p, const char *text, size_t n)
{
	size_t around, before;
	const int32_t *ids = tokenizer_around(p->t, &around, &before);

	if (p->chat)
		return encode_message(p, text, n);
	if (p->bare)
		around = before = 0;
	p->n = 0;
	if (add_ids(p, ids, before) < 0 ||
	    tokenizer_encode(p->t, text, n, &p->ids, &p->n, &p->cap) < 0)
		return -1;
	return add_ids(p, ids + before, around - before);
}

int
prompt_conversation(struct prompt *p, const char *json, size_t n)
{
	p->text.n = 0;
	if (prompt_template(p) < 0 || template_conversation(&p->template, &p->text, json, n) < 0)
		return -1;
	return encode_chat(p);
}

void
prompt_close(struct prompt *p)
{
	if (p->opened)
		template_close(&p->template);
	free(p->ids);
	buf_free(&p->text);
}
