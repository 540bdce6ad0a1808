#include "token/template.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "token/settings.h"

#define TEMPLATE_MAX (1u << 20)

/*
 * What a family's template must have: `user`, an expression that puts a user turn into the text and writes
 * before_user and after_user around it, and at its very end one of `ends`, which opens the assistant's turn.
 */
struct end {
	const char *jinja;              /* what follows the last "add_generation_prompt", as squeeze() spells it */
	const char *text;
};

struct family {
	const char *user;               /* as squeeze() spells it */
	const char *before, *after;
	const struct end *ends;
};

#define TURN "<｜Assistant｜>"
#define OPEN "%}{{'" TURN

/* V2.5, V3 and R1; then V3.1, which thinks only when told to. */
static const struct end turn_ends[] = {
	{OPEN "'}}{%endif%}", TURN},
	{OPEN "<think>\\n'}}{%endif%}", TURN "<think>\n"},
	{OPEN "<think>'}}{%endif%}", TURN "<think>"},
	{"andns.is_last_userandnotns.is_tool" OPEN "'}}{%ifnotthinking%}{{'</think>'}}{%else%}{{'<think>'}}{%endif%}{%endif%}",
	    TURN "</think>"},
	{NULL, NULL}
};

static const struct end plain_ends[] = {
	{"%}{{'Assistant:'}}{%endif%}", "Assistant:"},
	{NULL, NULL}
};

static const struct family families[] = {
	{"{{'<｜User｜>'+message['content']}}", "<｜User｜>", "", turn_ends},
	{"{{'User: '+message['content']+'\\n\\n'}}", "User: ", "\n\n", plain_ends},
};

static int
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The tag {{ {% or {# at s, of the template that starts at `first`, begins: drop the blanks before it that Jinja drops
 * (a dash: all; lstrip_blocks: the indentation of a tag that writes nothing). */
static char *
drop_blanks(char *to, const char *start, const char *s, const char *first)
{
	const char *line = s;

	while (line > first && (line[-1] == ' ' || line[-1] == '\t'))
		line--;
	if (s[2] == '-')
		while (to > start && is_blank(to[-1]))
			to--;
	else if (s[1] != '{' && (line == first || line[-1] == '\n'))
		while (to > start && (to[-1] == ' ' || to[-1] == '\t'))
			to--;
	return to;
}

/* What follows the tag whose last two characters are at s, without the blanks that Jinja drops there
 * (a dash: all; trim_blocks: a newline behind a tag that writes nothing). */
static const char *
skip_blanks(const char *s)
{
	const char *next = s + 2;

	if (s[-1] == '-')
		while (is_blank(*next))
			next++;
	else if (*s != '}' && *next == '\n')
		next++;
	return next;
}

/*
 * The template in one spelling: without what Jinja, as the transformers library sets it up, drops; no blanks inside of its
 * tags (but in literals), no dashes at their ends, literals in single quotes, a newline in one as \n.
 */
static char *
squeeze(const char *s)
{
	const char *first = s;
	char *start = mem_new(2 * strlen(s) + 1, 1), *to = start;
	char quote = 0;
	int inside = 0;

	while (start && *s) {
		if (quote && *s == '\n') {
			*to++ = '\\';
			*to++ = 'n';
			s++;
		} else if (quote && *s == '\\' && s[1]) {
			*to++ = *s++;
			*to++ = *s++;
		} else if (inside && (quote ? *s == quote : *s == '\'' || *s == '"')) {
			quote = quote ? 0 : *s;
			*to++ = '\'';
			s++;
		} else if (!inside && *s == '{' && s[1] && strchr("{%#", s[1])) {
			inside = 1;
			to = drop_blanks(to, start, s, first);
			*to++ = *s++;
			*to++ = *s++;
			s += *s == '-';
		} else if (inside && !quote && strchr("}%#", *s) && s[1] == '}') {
			inside = 0;
			*to++ = s[0];
			*to++ = s[1];
			s = skip_blanks(s);
		} else {
			if (!inside || quote || !(is_blank(*s) || (*s == '-' && s[1] && strchr("}%#", s[1]))))
				*to++ = *s;
			s++;
		}
	}
	if (start && to > start && to[-1] == '\n')      /* Jinja drops the last one */
		to[-1] = 0;
	else if (start)
		*to = 0;
	return start;
}

/*
 * 1 if a user turn that comes first is what the family says and nothing else: before it the template may write only the
 * beginning-of-sequence token, once, and the system prompt, which is empty unless there is a message for it.
 */
static int
user_turn(const char *s, const struct family *f)
{
	static const char bos[] = "{{bos_token}}", system_prompt[] = "{{ns.system_prompt}}";
	const char *user = strstr(s, f->user), *behind = user ? user + strlen(f->user) : "";
	int nbos = 0;

	if (strncmp(behind, "{%endif%}", 9) != 0 && strncmp(behind, "{%elif", 6) != 0)
		return 0;
	for (const char *end; s < user; s = end + 2) {
		end = strchr(s, '}');
		if (s[0] != '{' || !end)
			return 0;               /* text outside of a tag */
		if (s[1] == '%' && end[-1] == '%')
			end--;
		else if (strncmp(s, bos, sizeof(bos) - 1) == 0)
			nbos++;
		else if (strncmp(s, system_prompt, sizeof(system_prompt) - 1) != 0)
			return 0;
	}
	return nbos == 1;
}

static const char *
end_of(const struct family *f, const char *s)
{
	static const char mark[] = "add_generation_prompt";
	const char *last = NULL;

	for (const char *p = s; (p = strstr(p, mark)); )
		last = p += sizeof(mark) - 1;
	for (const struct end *e = f->ends; last && e->jinja; e++)
		if (strcmp(last, e->jinja) == 0 ||
		    (strncmp(last, "andnotns.is_tool", 16) == 0 && strcmp(last + 16, e->jinja) == 0))
			return e->text;
	return NULL;
}

static int
template_set(struct template *t, const char *bos, const char *before, const char *after_user, const char *after)
{
	size_t n = strlen(after_user) + strlen(after);

	t->nbos = strlen(bos);
	t->before = mem_raw(t->nbos + strlen(before) + 1, 1);
	t->after = mem_raw(n + 1, 1);
	if (!t->before || !t->after)
		return -1;
	strcat(strcpy(t->before, bos), before);
	strcat(strcpy(t->after, after_user), after);
	t->thinks = (n >= 7 && strcmp(t->after + n - 7, "<think>") == 0) ||
	    (n >= 8 && strcmp(t->after + n - 8, "<think>\n") == 0);
	return 0;
}

/* Find the family of a template in Jinja. */
static int
recognise(struct template *t, const char *jinja, const char *bos)
{
	char *s = squeeze(jinja);
	int r = 1;

	if (!s)
		return -1;
	for (size_t i = 0; i < sizeof(families) / sizeof(*families) && r > 0; i++) {
		const struct family *f = &families[i];
		const char *after = end_of(f, s);

		if (after && user_turn(s, f))
			r = template_set(t, bos, f->before, f->after, after);
	}
	free(s);
	return r > 0 ? fail(FAIL_DATA, "the chat template is of no known family: give it with --template FILE") : r;
}

/* chat_template is text, or a list of {"name", "template"} with one named "default". */
static int
settings_template(const cJSON *o, const char **text)
{
	const cJSON *v = NULL, *entry;

	if (json_get(o, "chat_template", JSON_OPTIONAL, &v) < 0)
		return -1;
	if (!cJSON_IsArray(v))
		return json_string(o, "chat_template", JSON_OPTIONAL, text) < 0 ? -1 : 0;
	cJSON_ArrayForEach(entry, v) {
		const char *name;

		if (json_string(entry, "name", JSON_REQUIRED, &name) < 0)
			return fail_in("chat_template");
		if (strcmp(name, "default") == 0)
			return json_string(entry, "template", JSON_REQUIRED, text) < 0 ? fail_in("chat_template") : 0;
	}
	return 0;
}

static int
open_checkpoint(struct template *t, const char *dir)
{
	char path[PATH_MAX];
	const char *text = NULL, *bos = NULL;
	struct buf file = {0};
	cJSON *o = NULL;
	int r = settings_load(dir, &o);

	if (r > 0 && (settings_template(o, &text) < 0 || settings_bos(o, &bos) < 0))
		r = -1;
	if (r < 0)
		fail_in("'%s/tokenizer_config.json'", dir);
	else if (io_path(path, sizeof(path), dir, "chat_template.jinja") < 0 ||
	    (file_there(path) && file_read(path, &file, TEMPLATE_MAX) < 0))
		r = -1;
	else if (file.p)
		text = (const char *)file.p;
	if (r >= 0 && !text)
		r = fail(FAIL_DATA, "'%s' has no chat template: give one with --template FILE", dir);
	else if (r >= 0 && !bos)
		r = fail(FAIL_DATA, "'%s' has no bos_token for its chat template: give one with --template FILE", dir);
	else if (r >= 0 && recognise(t, text, bos) < 0)
		r = fail_in("'%s'", dir);
	buf_free(&file);
	cJSON_Delete(o);
	return r < 0 ? -1 : 0;
}

static int
open_file(struct template *t, const char *dir, const char *path)
{
	struct buf b = {0};
	const char *bos = NULL;
	cJSON *o = NULL;
	char *hole = NULL;
	int r = io_file(path, &b, TEMPLATE_MAX);

	if (r == 0) {
		hole = strstr((char *)b.p, "{}");
		if (!hole || strstr(hole + 2, "{}") || strlen((char *)b.p) != b.n)
			r = fail(FAIL_DATA, "'%s' must be text with {} in one place, where the user's text goes (--template)", path);
	}
	if (r == 0) {
		*hole = 0;
		r = template_set(t, "", (char *)b.p, "", hole + 2);
	}
	if (r == 0 && (settings_load(dir, &o) < 0 || (o && settings_bos(o, &bos) < 0)))
		r = fail_in("'%s/tokenizer_config.json'", dir);
	if (r == 0 && bos && strncmp(t->before, bos, strlen(bos)) == 0)
		t->nbos = strlen(bos);
	buf_free(&b);
	cJSON_Delete(o);
	return r;
}

int
template_open(struct template *t, const char *dir, const char *file)
{
	int r;

	memset(t, 0, sizeof(*t));
	r = file ? open_file(t, dir, file) : open_checkpoint(t, dir);
	if (r < 0)
		template_close(t);
	return r;
}

void
template_close(struct template *t)
{
	free(t->before);
	free(t->after);
	memset(t, 0, sizeof(*t));
}
