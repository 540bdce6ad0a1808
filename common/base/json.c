#include "base/json.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/table.h"
#include "base/utf8.h"

static int
is_zero(const unsigned char *s, size_t n)
{
	return n == 0 || (s[0] == 0 && memcmp(s, s + 1, n - 1) == 0);
}

static int
text_check(const unsigned char *s, size_t n)
{
	size_t i = 0, step;
	const unsigned char *p = s;
	uint64_t w;

	while (i < n) {
		if (n - i >= sizeof(w)) {   /* eight bytes at once if all are ASCII and none is 0 */
			memcpy(&w, s + i, sizeof(w));
			if (!(((w - 0x0101010101010101) | w) & 0x8080808080808080)) {
				i += sizeof(w);
				continue;
			}
		}
		if (!s[i] && is_zero(s + i, n - i))
			return fail(FAIL_DATA, "zeros from byte %zu to the end, byte %zu, as after an unfinished download", i, n);
		if (!s[i] || utf8_next(s + i, n - i, &step) != UTF8_CHAR)
			return fail(FAIL_DATA, s[i] ? "byte %zu is not UTF-8" : "byte %zu is NUL", i);
		i += step;
	}
	/* cJSON reads wrong digits as 0, ends the string there and ignores the rest */
	while ((p = memmem(p, n - (size_t)(p - s), "\\u", 2))) {
		size_t slashes = 0;

		while (p > s + slashes && p[-1 - (ptrdiff_t)slashes] == '\\')
			slashes++;
		p += 2;
		if (slashes % 2 != 0)
			continue;
		if (n - (size_t)(p - s) < 4 ||
		    strspn((const char *)p, "0123456789abcdefABCDEF") < 4)
			return fail(FAIL_DATA, "byte %zu: not valid JSON", (size_t)(p - 2 - s));
		if (memcmp(p, "0000", 4) == 0)
			return fail(FAIL_DATA, "byte %zu: a NUL in a string", (size_t)(p - 2 - s));
	}
	return 0;
}

/* Report where the text stops being JSON. */
static void
refuse_text(const char *text, size_t n, size_t at)
{
	/* not JSON, but written by Python's json module; the text ends in a NUL */
	static const char *const numbers[] = {"NaN", "Infinity", "-Infinity"};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (at < n && strncmp(text + at, numbers[i], strlen(numbers[i])) == 0) {
			fail(FAIL_DATA, "byte %zu: %s is not a JSON number", at, numbers[i]);
			return;
		}
	fail(FAIL_DATA, n == 0 ? "empty, not JSON" : "byte %zu: not valid JSON", at);
}

cJSON *
json_parse(const char *text, size_t n)
{
	const char *end = text;
	cJSON *o;

	if (text_check((const unsigned char *)text, n) < 0)
		return NULL;
	o = cJSON_ParseWithLengthOpts(text, n + 1, &end, 1);
	if (!o)
		refuse_text(text, n, (size_t)(end - text));
	return o;
}

cJSON *
json_load(const char *path, size_t max)
{
	struct buf b = {0};
	cJSON *o = NULL;

	if (file_read(path, &b, max) == 0) {
		o = json_parse((const char *)b.p, b.n);
		if (!o)
			fail_in("'%s'", path);
	}
	buf_free(&b);
	return o;
}

/* "KEY is VALUE, WHY" */
static int
refuse(const char *key, const cJSON *v, const char *why)
{
	char is[32];

	if (cJSON_IsString(v))
		return fail(FAIL_DATA, "%s is '%.100s', %s", key, v->valuestring, why);
	if (cJSON_IsNumber(v))
		snprintf(is, sizeof(is), "%.17g", v->valuedouble);
	else
		snprintf(is, sizeof(is), "%s", cJSON_IsTrue(v) ? "true" : cJSON_IsFalse(v) ? "false" :
		    cJSON_IsArray(v) ? "an array" : cJSON_IsObject(v) ? "an object" : "null");
	return fail(FAIL_DATA, "%s is %s, %s", key, is, why);
}

int
json_get(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out)
{
	const cJSON *v, *found = NULL;

	if (!cJSON_IsObject(o))
		return fail(FAIL_DATA, "not an object, so it has no %s", key);
	cJSON_ArrayForEach(v, o) {
		if (strcmp(v->string, key) != 0)
			continue;
		if (found)
			return fail(FAIL_DATA, "%s appears twice", key);
		found = v;
	}
	if (!found || cJSON_IsNull(found))
		return presence == JSON_REQUIRED ? fail(FAIL_DATA, "%s is missing", key) : 0;
	*out = found;
	return 1;
}

int
json_number(const cJSON *o, const char *key, enum json_presence presence, double min, double max, double *out)
{
	const cJSON *v;
	char why[100];
	int r = json_get(o, key, presence, &v);

	if (r <= 0)
		return r;
	if (!cJSON_IsNumber(v))
		return refuse(key, v, "must be a number");
	snprintf(why, sizeof(why), "must be between %.10g and %.10g", min, max);
	if (!(v->valuedouble >= min && v->valuedouble <= max))
		return refuse(key, v, why);
	*out = v->valuedouble;
	return 1;
}

int
json_int(const cJSON *o, const char *key, enum json_presence presence, int min, int max, int *out)
{
	double d = 0;
	const cJSON *v;
	int r = json_number(o, key, presence, min, max, &d);

	if (r <= 0)
		return r;
	if (d != (int)d)
		return json_get(o, key, presence, &v) < 0 ? -1 : refuse(key, v, "must be an integer");
	*out = (int)d;
	return 1;
}

/* Get a value that passes cJSON's type test `is`. */
static int
json_typed(const cJSON *o, const char *key, enum json_presence presence, cJSON_bool (*is)(const cJSON *),
    const char *why, const cJSON **out)
{
	const cJSON *v;
	int r = json_get(o, key, presence, &v);

	if (r <= 0)
		return r;
	if (!is(v))
		return refuse(key, v, why);
	*out = v;
	return 1;
}

int
json_bool(const cJSON *o, const char *key, enum json_presence presence, int *out)
{
	const cJSON *v = NULL;
	int r = json_typed(o, key, presence, cJSON_IsBool, "must be true or false", &v);

	if (r > 0)
		*out = cJSON_IsTrue(v) != 0;
	return r;
}

int
json_string(const cJSON *o, const char *key, enum json_presence presence, const char **out)
{
	const cJSON *v = NULL;
	int r = json_typed(o, key, presence, cJSON_IsString, "must be a string", &v);

	if (r > 0)
		*out = v->valuestring;
	return r;
}

int
json_object(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out)
{
	return json_typed(o, key, presence, cJSON_IsObject, "must be an object", out);
}

int
json_array(const cJSON *o, const char *key, enum json_presence presence, const cJSON **out)
{
	return json_typed(o, key, presence, cJSON_IsArray, "must be an array", out);
}

int
json_choice(const cJSON *o, const char *key, enum json_presence presence, const char *const *names, int *out)
{
	const char *s = NULL;
	struct buf known = {0};
	int r = json_string(o, key, presence, &s);

	if (r <= 0)
		return r;
	for (int i = 0; names[i]; i++) {
		if (strcmp(s, names[i]) == 0) {
			*out = i;
			return 1;
		}
	}
	for (int i = 0; names[i]; i++)
		if (buf_addf(&known, " %s", names[i]) < 0)
			break;
	fail(FAIL_DATA, "%s is '%.100s', which is not supported (known:%.*s)", key, s, (int)known.n,
	    known.p ? (const char *)known.p : "");
	buf_free(&known);
	return -1;
}

int
json_whole(const cJSON *v, uint64_t max, uint64_t *out)
{
	double d = v && cJSON_IsNumber(v) ? v->valuedouble : -1;

	if (!(d >= 0 && d <= 9007199254740992.0) || (double)(uint64_t)d != d || (uint64_t)d > max)
		return -1;
	*out = (uint64_t)d;
	return 0;
}

int
json_unique(const cJSON *o)
{
	const cJSON *v;
	struct table t = {0};
	size_t count = 0;
	int r = 0;

	cJSON_ArrayForEach(v, o) {
		count++;
		r = table_put(&t, v->string, strlen(v->string), v->string);
		if (r == 0 && t.n != count)
			r = fail(FAIL_DATA, "'%.200s' appears twice", v->string);
		if (r < 0)
			break;
	}
	table_free(&t);
	return r;
}

/* The end of the value, or the string of a key, at p in valid JSON; an object or array to its end,
 * a number or word to the delimiter. */
static const char *
skip_value(const char *p)
{
	int depth = 0, quoted = 0;

	for (const char *from = p;; p++) {
		if (quoted && *p == '\\')
			p++;
		else if (*p == '"' && quoted && depth == 0)
			return p + 1;
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && depth == 0 && p > from &&
		    ((unsigned char)*p <= ' ' || strchr(",:]}", *p)))
			return p;
		else if (!quoted && (*p == '{' || *p == '['))
			depth++;
		else if (!quoted && (*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
	}
}

static const char *
skip_space(const char *p)
{
	while (*p && (unsigned char)*p <= ' ')  /* as cJSON does */
		p++;
	return p;
}

const char *
json_raw(const char *text, const char *key, size_t *n)
{
	size_t len = strlen(key);
	const char *p = skip_space(strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text);

	for (p = skip_space(p + 1); *p == '"'; p = skip_space(p + 1)) {
		const char *end = skip_value(p), *value = skip_space(skip_space(end) + 1);
		int found = (size_t)(end - p) == len + 2 && memcmp(p + 1, key, len) == 0;

		p = skip_value(value);
		if (found) {
			*n = (size_t)(p - value);
			return value;
		}
		p = skip_space(p);
		if (*p != ',')
			break;
	}
	return NULL;
}

int
json_quote(struct buf *to, const char *text, size_t n)
{
	static const char escaped[] = "\"\\\n\r\t";
	const char *at;
	int r = buf_addc(to, '"');

	for (size_t i = 0; i < n && r == 0; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			r = buf_addc(to, c);
		else if (c != 0 && (at = strchr(escaped, c)) != NULL)
			r = buf_addf(to, "\\%c", "\"\\nrt"[at - escaped]);
		else
			r = buf_addf(to, "\\u%04x", c);
	}
	return r < 0 ? -1 : buf_addc(to, '"');
}

/* 1 if the n bytes are a number as RFC 8259 defines it; cJSON reads more.  */
static int
is_number(const char *s, size_t n)
{
	size_t i = n > 0 && s[0] == '-', from = i;

	while (i < n && s[i] >= '0' && s[i] <= '9')
		i++;
	if (i == from || (i - from > 1 && s[from] == '0'))
		return 0;
	if (i < n && s[i] == '.') {
		for (from = ++i; i < n && s[i] >= '0' && s[i] <= '9'; i++)
			;
		if (i == from)
			return 0;
	}
	if (i < n && (s[i] == 'e' || s[i] == 'E')) {
		i += i + 1 < n && (s[i + 1] == '+' || s[i + 1] == '-') ? 2 : 1;
		for (from = i; i < n && s[i] >= '0' && s[i] <= '9'; i++)
			;
		if (i == from)
			return 0;
	}
	return i == n;
}

int
json_name(const cJSON *o, const char *text, const char *key, struct buf *to)
{
	const cJSON *v;
	const char *raw = NULL;
	size_t n = 0;
	int r = json_get(o, key, JSON_OPTIONAL, &v);

	if (r <= 0)
		return r;
	if (cJSON_IsString(v))
		r = json_quote(to, v->valuestring, strlen(v->valuestring));
	else if (cJSON_IsNumber(v) && !(raw = json_raw(text, key, &n)))
		return fail(FAIL_DATA, "the key %s is written with escapes", key);
	else if (raw && is_number(raw, n))
		r = buf_add(to, raw, n);
	else
		return fail(FAIL_DATA, "%s must be a string or a number", key);
	return r < 0 ? -1 : 1;
}

ptrdiff_t
json_scan(struct json_scan *s, const char *p, size_t n)
{
	for (; s->at < n; s->at++) {
		char c = p[s->at];

		if (s->quoted) {
			s->quoted = c != '"' || s->escaped;
			s->escaped = c == '\\' && !s->escaped;
		} else if (c == '"' && s->depth > 0) {
			s->quoted = 1;
		} else if (c == '[' || c == '{') {
			s->depth++;
		} else if ((c == ']' || c == '}') && s->depth > 0) {
			if (--s->depth == 0)
				return (ptrdiff_t)++s->at;
		} else if (s->depth == 0 && !strchr(" \t\r\n", c)) {
			return fail(FAIL_DATA, "'%.*s' where an array or an object must begin", n - s->at < 20 ? (int)(n - s->at) : 20, p + s->at);
		}
	}
	return 0;
}
