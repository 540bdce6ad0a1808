#include "quant/folder.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "arch/config.h"
#include "arch/config_gguf.h"
#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "token/export.h"
#include "weights/folder_file.h"

#define PATH_BYTES 4096

static int
write_json(const char *dir, const char *name, cJSON *o)
{
	char *text = cJSON_Print(o);
	int r = text ? folder_file_write(dir, name, text, strlen(text)) : fail(FAIL_SYSTEM, "no memory for %s", name);

	free(text);
	return r;
}

/* What is written anew, or not at all. */
static int
is_made(const char *name)
{
	return name[0] == '.' || folder_file_is_weights(name) || folder_file_is_index(name) ||
	    strcmp(name, "config.json") == 0;
}

/* The files of a folder that the metadata of a GGUF file stand for. */
static int
write_tokenizer(const struct quant *q)
{
	struct export e = {0};
	struct buf tokenizer = {0}, settings = {0};
	int r;

	if (!gguf_find(checkpoint_gguf(&q->model->weights), "tokenizer.ggml.tokens"))
		return 0;
	r = export_open(&e, q->model->weights.dir) < 0 || export_tokenizer(&e, &tokenizer) < 0 ||
	    export_settings(&e, &settings) < 0 ||
	    folder_file_write(q->out, "tokenizer.json", tokenizer.p, tokenizer.n) < 0 ||
	    folder_file_write(q->out, "tokenizer_config.json", settings.p, settings.n) < 0 ? -1 : 0;
	export_close(&e);
	buf_free(&tokenizer);
	buf_free(&settings);
	return r;
}

int
folder_copy(const struct quant *q)
{
	DIR *d;
	struct dirent *e;
	int r = 0;

	if (checkpoint_gguf(&q->model->weights))
		return write_tokenizer(q);
	if (!(d = opendir(q->model->weights.dir)))
		return fail(FAIL_SYSTEM, "cannot read '%s':", q->model->weights.dir);
	while (r == 0 && (e = readdir(d)))
		r = is_made(e->d_name) ? 0 :
		    folder_file_copy(q->model->weights.dir, q->out, e->d_name);
	closedir(d);
	return r;
}

int
folder_index(const struct quant *q, const struct table *files)
{
	cJSON *o, *map, *meta;
	int r;

	if (!q->model->weights.indexed && q->model->weights.nshards == 1)
		return 0;
	o = cJSON_CreateObject();
	meta = cJSON_AddObjectToObject(o, "metadata");
	cJSON_AddNumberToObject(meta, "total_size", (double)q->after);
	map = cJSON_AddObjectToObject(o, "weight_map");
	for (struct table_slot *s = NULL; (s = table_next(files, s)); )
		cJSON_AddStringToObject(map, s->key, s->value);
	r = write_json(q->out, CHECKPOINT_INDEX, o);
	cJSON_Delete(o);
	return r;
}

/* NULL: the key is to go. */
static cJSON *
new_config(const struct quant *q)
{
	cJSON *c;

	if (q->to == F8_E4M3)
		return config_fp8();
	if (q->to != Q8 && q->to != Q4)
		return NULL;
	c = cJSON_CreateObject();
	cJSON_AddStringToObject(c, "quant_method", "dspipe");
	cJSON_AddStringToObject(c, "format", q->to == Q8 ? "q8" : "q4");
	cJSON_AddNumberToObject(c, "group_size", QUANT_GROUP);
	cJSON_AddBoolToObject(c, "experts_only", q->experts);
	cJSON_AddBoolToObject(c, "head", q->head && !q->model->config.tie_word_embeddings);
	if (q->experts && q->model->config.fp8)
		cJSON_AddStringToObject(c, "others", "fp8");
	return c;
}

/* With experts alone the others stay as they were, and so does what is said of them. */
static void
edit_config(const struct quant *q, cJSON *o)
{
	static const char *const names[] = {[F32] = "float32", [BF16] = "bfloat16", [F16] = "float16"};
	cJSON *c = new_config(q);

	if (q->to <= F16 && q->experts)
		return;
	cJSON_DeleteItemFromObjectCaseSensitive(o, "quantization_config");
	if (c)
		cJSON_AddItemToObject(o, "quantization_config", c);
	for (int i = 0; q->to <= F16 && i < 2; i++) {
		const char *key = i ? "dtype" : "torch_dtype";

		if (cJSON_HasObjectItem(o, key))
			cJSON_ReplaceItemInObjectCaseSensitive(o, key, cJSON_CreateString(names[q->to]));
	}
}

/* The keys of generation_config.json go from o, which has those of both files, to a file. */
static int
split_generation(const struct quant *q, cJSON *o)
{
	static const char *const both[] = {"bos_token_id", "eos_token_id"};
	static const char *const own[] = {"do_sample", "temperature", "top_p", "top_k"};
	cJSON *made = cJSON_CreateObject(), *v;
	int r;

	for (int i = 0; i < 2; i++)
		if ((v = cJSON_GetObjectItemCaseSensitive(o, both[i])))
			cJSON_AddItemToObject(made, both[i], cJSON_Duplicate(v, 1));
	for (int i = 0; i < 4; i++)
		if ((v = cJSON_DetachItemFromObjectCaseSensitive(o, own[i])))
			cJSON_AddItemToObject(made, own[i], v);
	r = write_json(q->out, "generation_config.json", made);
	cJSON_Delete(made);
	return r;
}

static cJSON *
load_config(const struct quant *q)
{
	char path[PATH_BYTES];
	cJSON *o;

	if (!checkpoint_gguf(&q->model->weights))
		return io_path(path, sizeof(path), q->model->weights.dir, "config.json") < 0 ? NULL :
		    json_load(path, 1 << 20);
	if (!(o = config_of_gguf(&q->model->weights)))
		return NULL;
	cJSON_DeleteItemFromObjectCaseSensitive(o, "kv_b_split");       /* it is whole there */
	if (split_generation(q, o) == 0)
		return o;
	cJSON_Delete(o);
	return NULL;
}

int
folder_config(const struct quant *q)
{
	cJSON *o = load_config(q);
	int r;

	if (!o)
		return -1;
	edit_config(q, o);
	r = write_json(q->out, "config.json", o);
	cJSON_Delete(o);
	return r;
}
