#include "inspect/info/info_gguf.h"

#include <string.h>

#include "base/mem.h"

#define TEXT_MAX 80             /* bytes of a string that is shown */

/* --- the object --- */

/* Keys that dspipe reads, but for those of the architecture. */
static int
is_read(const char *key, const char *arch, size_t n)
{
	static const char *const begins[] = {"general.architecture", "general.alignment",
	    "general.sampling.", "split.", "tokenizer."};

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (strncmp(key, begins[i], strlen(begins[i])) == 0)
			return 1;
	return strncmp(key, arch, n) == 0 && key[n] == '.';
}

/* Long strings and arrays by their sizes. */
static void
add_value(cJSON *to, const struct gguf_value *v)
{
	char text[TEXT_MAX + 1];

	if (v->array || (v->type == GGUF_STRING && (v->n > TEXT_MAX || memchr(v->p, 0, v->n)))) {
		snprintf(text, sizeof(text), "%llu %s", (unsigned long long)v->n, !v->array ?
		    "bytes" : v->type == GGUF_STRING ? "strings" : "numbers");
		cJSON_AddStringToObject(to, v->key, text);
	} else if (v->type == GGUF_STRING) {
		snprintf(text, sizeof(text), "%.*s", (int)v->n, (const char *)v->p);
		cJSON_AddStringToObject(to, v->key, text);
	} else if (v->type == GGUF_BOOL) {
		cJSON_AddBoolToObject(to, v->key, *v->p);
	} else {
		cJSON_AddNumberToObject(to, v->key, gguf_element_number(v, 0));
	}
}

static void
add_type(cJSON *types, const struct gguf_tensor *t)
{
	cJSON *o = cJSON_GetObjectItemCaseSensitive(types, t->format->name), *n, *bytes;

	if (!o) {
		o = cJSON_AddObjectToObject(types, t->format->name);
		cJSON_AddNumberToObject(o, "tensors", 0);
		cJSON_AddNumberToObject(o, "bytes", 0);
	}
	n = cJSON_GetObjectItemCaseSensitive(o, "tensors");
	bytes = cJSON_GetObjectItemCaseSensitive(o, "bytes");
	if (n && bytes) {
		cJSON_SetNumberValue(n, n->valuedouble + 1);
		cJSON_SetNumberValue(bytes, bytes->valuedouble + (double)(t->end - t->begin));
	}
}

cJSON *
info_gguf(const struct checkpoint *w)
{
	const struct gguf *g = checkpoint_gguf(w);
	cJSON *o, *types, *metadata;
	const char *arch = "";
	size_t n = 0;

	if (!g || !(o = cJSON_CreateObject()))
		return NULL;
	cJSON_AddNumberToObject(o, "version", g->version);
	types = cJSON_AddObjectToObject(o, "types");
	for (size_t i = 0; i < w->nshards; i++)
		for (size_t k = 0; k < w->shards[i].file.gguf->ntensors; k++)
			add_type(types, &w->shards[i].file.gguf->tensors[k]);
	(void)gguf_string(g, "general.architecture", JSON_OPTIONAL, &arch, &n);
	metadata = cJSON_AddObjectToObject(o, "metadata");
	for (size_t i = 0; i < g->nvalues; i++)
		if (is_read(g->values[i].key, arch, n))
			add_value(metadata, &g->values[i]);
	return o;
}

/* --- text --- */

static double
number(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return v ? v->valuedouble : 0;
}

/* Nothing that moves a terminal's cursor. */
static void
print_text(FILE *to, const char *s)
{
	for (; *s; s++)
		fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, to);
}

void
info_gguf_text(FILE *to, const cJSON *o)
{
	const cJSON *v;

	fprintf(to, "\n%-10s %12s %12s\n", "GGUF type", "tensors", "bytes");
	cJSON_ArrayForEach(v, cJSON_GetObjectItemCaseSensitive(o, "types"))
		fprintf(to, "%-10s %12.0f %12.0f\n", v->string, number(v, "tensors"),
		    number(v, "bytes"));
	fprintf(to, "\nmetadata of version %.0f\n", number(o, "version"));
	cJSON_ArrayForEach(v, cJSON_GetObjectItemCaseSensitive(o, "metadata")) {
		fputs("  ", to);
		print_text(to, v->string);
		fputc(' ', to);
		if (cJSON_IsString(v))
			print_text(to, v->valuestring);
		else if (cJSON_IsNumber(v))
			fprintf(to, "%.9g", v->valuedouble);
		else
			fputs(cJSON_IsTrue(v) ? "true" : "false", to);
		fputc('\n', to);
	}
}
