#include "token/template.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "token/settings.h"
#include "token/template_internal.h"

#define TEMPLATE_MAX (1u << 20)

static char *
copy(const char *s, size_t n)
{
	char *p = mem_raw(n + 1, 1);

	if (p) {
		memcpy(p, s, n);
		p[n] = 0;
	}
	return p;
}

/* The text as Jinja reads it: every line ends in
 * , and the last newline is dropped. To be freed. */
static char *
jinja_text(const char *s, size_t n)
{
	char *text = copy(s, n), *to = text;

	for (const char *p = s; text && p < s + n; p++) {
		*to++ = *p == '\r' ? '\n' : *p;
		if (*p == '\r' && p[1] == '\n')
			p++;
	}
	if (text) {
		*to = 0;
		if (to > text && to[-1] == '\n')
			to[-1] = 0;
	}
	return text;
}

/* --- templates of a checkpoint --- */

/* chat_template is a text, or a list of {"name", "template"} with one named "default" and
 * optionally one "tool_use". */
static int
settings_template(const cJSON *o, const char **text, const char **tool_use)
{
	const cJSON *v = NULL, *entry;

	if (json_get(o, "chat_template", JSON_OPTIONAL, &v) < 0)
		return -1;
	if (!cJSON_IsArray(v))
		return json_string(o, "chat_template", JSON_OPTIONAL, text) < 0 ? -1 : 0;
	cJSON_ArrayForEach(entry, v) {
		const char *name;

		if (json_string(entry, "name", JSON_REQUIRED, &name) < 0 ||
		    (strcmp(name, "default") == 0 &&
		    json_string(entry, "template", JSON_REQUIRED, text) < 0) ||
		    (strcmp(name, "tool_use") == 0 &&
		    json_string(entry, "template", JSON_REQUIRED, tool_use) < 0))
			return fail_in("chat_template");
	}
	return 0;
}

/* Read a template file of the checkpoint: 1, 0 if there is none, or -1 and a message. */
static int
file_template(const char *dir, const char *name, char **text)
{
	char path[PATH_MAX];
	struct buf b = {0};
	int r;

	if (io_path(path, sizeof(path), dir, name) < 0)
		return -1;
	if (!file_exists(path))
		return 0;
	r = file_read(path, &b, TEMPLATE_MAX);
	if (r == 0 && strlen((char *)b.p) != b.n)
		r = fail(FAIL_DATA, "'%s': a NUL in a chat template", path);
	if (r == 0)
		r = (*text = jinja_text((char *)b.p, b.n)) ? 1 : -1;
	buf_free(&b);
	return r;
}

/* Collect the tokens that templates may read, by their names in the transformers library. */
static int
settings_tokens(struct template *t, const cJSON *o)
{
	static const char *const names[] = {
		"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
		    "mask_token"
	};
	cJSON *tokens = cJSON_CreateObject();
	int r = tokens ? 0 : -1;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && r == 0 && o; i++) {
		const char *token;

		if (settings_token(o, names[i], &token) < 0)
			r = -1;
		else if (token && !cJSON_AddStringToObject(tokens, names[i], token))
			r = -1;
		else if (token && i < 2)
			r = (*(i == 0 ? &t->bos : &t->eos) = copy(token, strlen(token))) ? 0 : -1;
	}
	if (r == 0)
		t->tokens = cJSON_PrintUnformatted(tokens);
	cJSON_Delete(tokens);
	return t->tokens ? 0 : -1;
}

int
template_read(struct template *t, const char *dir, const cJSON *o)
{
	const char *text = NULL, *tool_use = NULL;
	char path[PATH_MAX];
	int r = file_template(dir, "chat_template.jinja", &t->text);

	if (r > 0)
		return asprintf(&t->from, "'%s/chat_template.jinja'", dir) < 0 ||
		    file_template(dir, "additional_chat_templates/tool_use.jinja",
		    &t->tool_use) < 0 ? -1 : 1;
	if (r < 0)
		return -1;
	if (o && settings_template(o, &text, &tool_use) < 0)
		return fail_in("'%s'", settings_path(path, sizeof(path), dir));
	if (!text)
		return 0;
	t->text = jinja_text(text, strlen(text));
	t->tool_use = tool_use ? jinja_text(tool_use, strlen(tool_use)) : NULL;
	return t->text && (t->tool_use || !tool_use) &&
	    asprintf(&t->from, "the chat template of '%s'",
	    settings_path(path, sizeof(path), dir)) > 0 ? 1 : -1;
}

static int
open_checkpoint(struct template *t, const char *dir, const cJSON *o)
{
	int r = template_read(t, dir, o);

	return r == 0 ? fail(FAIL_DATA, "'%s' has no chat template: give one with --template FILE",
	    dir) : r;
}

/* --- templates from a file --- */

static int
is_jinja(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && strcmp(dot, ".jinja") == 0;
}

static int
open_file(struct template *t, const char *path)
{
	struct buf b = {0};
	char *hole = NULL;
	int r = io_file(path, &b, TEMPLATE_MAX);

	if (r == 0 && is_jinja(path)) {
		if (strlen((char *)b.p) != b.n)
			r = fail(FAIL_DATA, "'%s': a NUL in a chat template", path);
		else
			r = (t->text = jinja_text((char *)b.p, b.n)) &&
			    asprintf(&t->from, "'%s'", path) > 0 ? 0 : -1;
	} else if (r == 0) {
		hole = strstr((char *)b.p, "{}");
		if (!hole || strstr(hole + 2, "{}") || strlen((char *)b.p) != b.n)
			r = fail(FAIL_DATA,
			    "'%s' must be text with {} in one place, where the user's text goes "
			    "(--template)", path);
		else
			r = (t->before = copy((char *)b.p, (size_t)(hole - (char *)b.p))) &&
			    (t->after = copy(hole + 2, strlen(hole + 2))) ? 0 : -1;
	}
	buf_free(&b);
	return r;
}

/* --- variables --- */

/* 1 if `name` is one of the words, separated by single blanks. */
static int
is_among(const char *names, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = names; (p = strstr(p, name)); p += n)
		if ((p == names || p[-1] == ' ') && (p[n] == ' ' || p[n] == 0))
			return 1;
	return 0;
}

/* Check that the variables which the template reads are defined. A token without any entry would
 * be made up by transformers. */
static int
check_reads(const struct template *t, const char *dir, const cJSON *o, int bos, int eos,
    int thinking)
{
	if (thinking == 0 && t->thinking >= 0)
		return fail(FAIL_USAGE,
		    "--thinking: %s uses neither of the variables thinking and enable_thinking",
		    t->from);
	for (int i = 0; i < 2; i++) {
		const char *name = i == 0 ? "bos_token" : "eos_token";

		if ((i == 0 ? bos : eos) && (!o || !cJSON_GetObjectItemCaseSensitive(o, name)))
			return fail(FAIL_DATA, "%s has no %s, which %s uses", settings_name(dir),
			    name, t->from);
	}
	return 0;
}

static int
start(struct template *t, const char *dir, const cJSON *o)
{
	char *names = NULL;
	int r = jinja_open(t, &names);

	if (r < 0 && fail_status() == FAIL_DATA)
		fail_in("%s", t->from);
	if (r == 0)
		r = check_reads(t, dir, o, is_among(names, "bos_token"),
		    is_among(names, "eos_token"),
		    is_among(names, "thinking") || is_among(names, "enable_thinking"));
	free(names);
	return r;
}

int
template_open(struct template *t, const char *dir, const char *file, int thinking)
{
	char path[PATH_MAX];
	cJSON *o = NULL;
	int r = settings_load(dir, &o);

	memset(t, 0, sizeof(*t));
	t->thinking = thinking;
	if (r >= 0 && settings_tokens(t, o) < 0)
		r = fail_in("'%s'", settings_path(path, sizeof(path), dir));
	if (r >= 0)
		r = file ? open_file(t, file) : open_checkpoint(t, dir, o);
	if (r >= 0 && t->before && thinking >= 0)
		r = fail(FAIL_USAGE, "--thinking: '%s' is text with {}, and has no variables",
		    file);
	if (r >= 0 && t->text) {
		t->known = known_find(t->text, strlen(t->text));
		r = t->known ? check_reads(t, dir, o, known_reads_bos(t->known),
		    known_reads_eos(t->known),
		    known_reads_thinking(t->known)) : start(t, dir, o);
	}
	cJSON_Delete(o);
	if (r < 0)
		template_close(t);
	return r < 0 ? -1 : 0;
}

void
template_close(struct template *t)
{
	jinja_close(t->jinja);
	free(t->before);
	free(t->after);
	free(t->text);
	free(t->tool_use);
	free(t->tokens);
	free(t->bos);
	free(t->eos);
	free(t->from);
	memset(t, 0, sizeof(*t));
}

/* --- conversations --- */

/* Convert messages that known_render can render. Returns their number, or 0 if it cannot. */
static size_t
plain_turns(const cJSON *list, struct turn *turns)
{
	static const char *const roles[] = {"system", "user", "assistant"};
	const cJSON *message, *v;
	size_t n = 0;

	cJSON_ArrayForEach(message, list) {
		const char *role = NULL, *content = NULL;
		int nkeys = 0, k = 0;

		cJSON_ArrayForEach(v, message) {
			nkeys++;
			if (v->string && cJSON_IsString(v) && strcmp(v->string, "role") == 0)
				role = v->valuestring;
			else if (v->string && cJSON_IsString(v) &&
			    strcmp(v->string, "content") == 0)
				content = v->valuestring;
		}
		while (role && k < 3 && strcmp(role, roles[k]) != 0)
			k++;
		if (!role || !content || nkeys != 2 || k == 3)
			return 0;
		turns[n++] = (struct turn){(enum role)k, content, strlen(content)};
	}
	return n;
}

/* Check what both renderers refuse. Returns 0, or -1 and a message. */
static int
check_conversation(const cJSON *o, const cJSON **messages)
{
	const cJSON *v = NULL;

	*messages = o;
	if (cJSON_IsObject(o)) {
		if (json_array(o, "messages", JSON_REQUIRED, messages) < 0 ||
		    json_array(o, "tools", JSON_OPTIONAL, &v) < 0)
			return -1;
		cJSON_ArrayForEach(v, o)
			if (strcmp(v->string, "messages") != 0 && strcmp(v->string, "tools") != 0)
				return fail(FAIL_DATA,
				    "unknown key '%.100s': a conversation has messages and tools",
				    v->string);
	}
	if (!cJSON_IsArray(*messages))
		return fail(FAIL_DATA,
		    "a conversation is an array of messages, or an object that has one as "
		    "'messages'");
	if (cJSON_GetArraySize(*messages) == 0)
		return fail(FAIL_DATA, "a conversation without messages");
	cJSON_ArrayForEach(v, *messages) {
		const char *role;

		if (!cJSON_IsObject(v))
			return fail(FAIL_DATA, "a message is not an object");
		if (json_string(v, "role", JSON_REQUIRED, &role) < 0)
			return fail_in("a message");
	}
	return 0;
}

static int
by_jinja(struct template *t, struct buf *to, const char *json, size_t n, int *refused)
{
	char *names = NULL;
	int r = t->jinja ? 0 : jinja_open(t, &names);

	free(names);
	if (r == 0)
		r = jinja_render(t, to, json, n, refused);
	return r < 0 ? fail_in("%s", t->from) : 0;
}

int
template_conversation(struct template *t, struct buf *to, const char *json, size_t n)
{
	cJSON *o = json_parse(json, n);
	const cJSON *messages;
	struct turn *turns = NULL;
	size_t count = 0;
	int r = o ? check_conversation(o, &messages) : -1;

	if (r == 0 && !(turns = mem_new((size_t)cJSON_GetArraySize(messages), sizeof(*turns))))
		r = -1;
	if (r == 0 && (messages == o || !cJSON_GetObjectItemCaseSensitive(o, "tools")))
		count = plain_turns(messages, turns);
	if (r == 0 && t->before)
		r = count == 1 && turns[0].role == ROLE_USER ?
		    template_user(t, to, turns[0].text, turns[0].n) :
		    fail(FAIL_DATA, "a template with {} takes exactly one user message");
	else if (r == 0)
		r = t->known && count > 0 ? known_render(t, to, turns, count) :
		    by_jinja(t, to, json, n, NULL);
	free(turns);
	cJSON_Delete(o);
	return r;
}

static int
render_user(struct template *t, struct buf *to, const char *text, size_t n, int *refused)
{
	struct turn turn = {ROLE_USER, text, n};
	struct buf json = {0};
	int r;

	if (t->before)
		return buf_add(to, t->before, strlen(t->before)) < 0 || buf_add(to, text, n) < 0 ||
		    buf_add(to, t->after, strlen(t->after)) < 0 ? -1 : 0;
	if (t->known)
		return known_render(t, to, &turn, 1);
	r = buf_addf(&json, "[{\"role\": \"user\", \"content\": ") < 0 ||
	    json_quote(&json, text, n) < 0 ||
	    buf_addf(&json, "}]") < 0 ? -1 : 0;
	if (r == 0)
		r = by_jinja(t, to, (char *)json.p, json.n, refused);
	buf_free(&json);
	return r;
}

int
template_user(struct template *t, struct buf *to, const char *text, size_t n)
{
	return render_user(t, to, text, n, NULL);
}

int
template_thinks(struct template *t)
{
	static const char mark[] = "<think>";
	struct buf b = {0};
	int refused = 0, r = render_user(t, &b, "?", 1, &refused);

	while (b.n > 0 && strchr(" \t\n", b.p[b.n - 1]))
		b.n--;
	if (r == 0)
		r = b.n >= sizeof(mark) - 1 &&
		    memcmp(b.p + b.n - (sizeof(mark) - 1), mark, sizeof(mark) - 1) == 0;
	else if (refused)
		r = 0;          /* it refuses this conversation; others will show */
	buf_free(&b);
	return r;
}

int
template_is_multi_turn(const char *file)
{
	return !file || is_jinja(file);
}
