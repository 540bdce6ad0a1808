/*
 * Rotary embedding in metadata: rope_scaling as config.json has it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/config_gguf_internal.h"
#include "base/fail.h"

#define LOW 1.0                         /* of all releases with rope_type llama3 */
#define HIGH 4.0
#define ORIGINAL_MAX (1 << 20)
#define SAME 1e-4                       /* of factors that were computed in float32 */

static const char factors_name[] = "rope_freqs.weight";

/* --- llama3 --- */

static double
llama3_factor(double wave, double factor, double original)
{
	double smooth = (original / wave - LOW) / (HIGH - LOW);

	return wave < original / HIGH ? 1 : wave > original / LOW ? factor :
	    1 / ((1 - smooth) / factor + smooth);
}

static int
is_llama3(const float *factors, int half, double theta, double factor, double original)
{
	const double turn = 6.283185307179586;

	for (int i = 0; i < half; i++) {
		double wave = turn * pow(theta, (double)i / half);
		double want = llama3_factor(wave, factor, original);

		/* at an edge of the band both of its sides are right; NaN never is */
		if (isnan(factors[i]) || (fabs(factors[i] - want) > SAME * want &&
		    fabs(wave * LOW / original - 1) > SAME &&
		    fabs(wave * HIGH / original - 1) > SAME))
			return 0;
	}
	return 1;
}

/* The settings that a converter made the divisors of the frequencies from: frequencies that are
 * computed from the settings have the bits of the folder's. */
static int
find_llama3(const struct metadata *m, cJSON *scaling)
{
	const void *data = NULL;
	const struct tensor_entry *t = checkpoint_data(m->weights, factors_name, &data);
	const cJSON *head = cJSON_GetObjectItemCaseSensitive(m->config, "head_dim");
	const float *factors = data;
	double theta = 10000;
	int half, original = 1;

	if (!t || metadata_number(m, "rope.freq_base", JSON_OPTIONAL, &theta) < 0)
		return -1;
	if (strcmp(t->dtype_text, "F32") != 0 || t->rank != 1 ||
	    t->shape[0] > INT32_MAX)
		return fail(FAIL_DATA, "tensor '%s' is no vector of F32", factors_name);
	half = (int)t->shape[0];
	if (head && 2.0 * half != head->valuedouble)
		return fail(FAIL_DATA, "tensor '%s' has %d factors, must be half of head_dim, %g",
		    factors_name, half, head->valuedouble);
	while (original <= ORIGINAL_MAX &&
	    !is_llama3(factors, half, theta, factors[half - 1], original))
		original *= 2;
	if (original > ORIGINAL_MAX || !(factors[half - 1] >= 1))
		return fail(FAIL_DATA, "tensor '%s' has factors that are not those of rope_type "
		    "llama3 with low_freq_factor 1 and high_freq_factor 4", factors_name);
	cJSON_AddStringToObject(scaling, "rope_type", "llama3");
	cJSON_AddNumberToObject(scaling, "factor", factors[half - 1]);
	cJSON_AddNumberToObject(scaling, "low_freq_factor", LOW);
	cJSON_AddNumberToObject(scaling, "high_freq_factor", HIGH);
	cJSON_AddNumberToObject(scaling, "original_max_position_embeddings", original);
	return 0;
}

/* --- linear and yarn --- */

/* DeepSeek's scale; a converter multiplied it by 0.1. */
static int
add_mscale(const struct metadata *m, cJSON *scaling)
{
	char text[40];
	double x = 0;
	int got = metadata_number(m, "rope.scaling.yarn_log_multiplier", JSON_OPTIONAL, &x);

	if (got < 0)
		return -1;
	if (x == 0)
		return 0;
	if (strcmp(m->arch, "deepseek2") != 0)
		return fail(FAIL_DATA, "key '%s.rope.scaling.yarn_log_multiplier' is not supported",
		    m->arch);
	/* in decimal, so that 0.0707 is 0.707 */
	snprintf(text, sizeof(text), "%.9ge1", x);
	x = strtod(text, NULL);
	cJSON_AddNumberToObject(scaling, "mscale", x);
	cJSON_AddNumberToObject(scaling, "mscale_all_dim", x);
	return 0;
}

static int
add_yarn(const struct metadata *m, cJSON *scaling)
{
	static const char *const keys[][2] = {
		{"rope.scaling.yarn_beta_fast", "beta_fast"},
		{"rope.scaling.yarn_beta_slow", "beta_slow"},
	};
	int original = 0;

	for (int i = 0; i < 2; i++) {
		double x = 0;
		int got = metadata_number(m, keys[i][0], JSON_OPTIONAL, &x);

		if (got < 0)
			return -1;
		if (got > 0)
			cJSON_AddNumberToObject(scaling, keys[i][1], x);
	}
	if (metadata_int(m, "context_length", JSON_REQUIRED, &original) < 0 ||
	    metadata_int(m, "rope.scaling.original_context_length", JSON_OPTIONAL, &original) < 0)
		return -1;
	cJSON_AddNumberToObject(scaling, "original_max_position_embeddings", original);
	return add_mscale(m, scaling);
}

/* The decimal number of the fewest digits that ds-quant made attn of: llama.cpp multiplies attn
 * by the default of YaRN. */
static double
attention_factor(double attn, double factor)
{
	double normal = 1 + 0.1 * log(factor), x = attn * normal;
	char text[40];

	for (int n = 1; n <= 9; n++) {
		snprintf(text, sizeof(text), "%.*g", n, x);
		if ((float)(strtod(text, NULL) / normal) == (float)attn)
			return strtod(text, NULL);
	}
	return x;
}

static int
add_scaling(const struct metadata *m, cJSON *scaling, const char *type, double attn)
{
	double factor = 1;

	if (metadata_number(m, "rope.scaling.factor", JSON_REQUIRED, &factor) < 0)
		return -1;
	cJSON_AddStringToObject(scaling, "rope_type", type);
	cJSON_AddNumberToObject(scaling, "factor", factor);
	if (attn != 1)
		cJSON_AddNumberToObject(scaling, "attention_factor",
		    attention_factor(attn, factor));
	return strcmp(type, "yarn") == 0 ? add_yarn(m, scaling) : 0;
}

enum { NONE, LINEAR, YARN };
static const char *const types[] = {[NONE] = "none", [LINEAR] = "linear", [YARN] = "yarn"};

/* Which it is; -1: an error.  With a factor alone it is linear. */
static int
find_type(const struct metadata *m, double factor)
{
	const char *type = types[factor == 0 || factor == 1 ? NONE : LINEAR];
	char key[METADATA_KEY];
	size_t n = strlen(type);

	if (gguf_string(m->gguf, metadata_key(m, "rope.scaling.type", key), JSON_OPTIONAL, &type,
	    &n) < 0)
		return -1;
	for (int i = NONE; i <= YARN; i++)
		if (strlen(types[i]) == n && memcmp(types[i], type, n) == 0)
			return i;
	return fail(FAIL_DATA, "key '%s' is '%.*s', which is not supported", key,
	    (int)(n < 100 ? n : 100), type);
}

int
metadata_rope(const struct metadata *m)
{
	double factor = 1, attn = 1;
	cJSON *scaling;
	int i;

	if (metadata_number(m, "rope.scaling.factor", JSON_OPTIONAL, &factor) < 0 ||
	    metadata_number(m, "rope.scaling.attn_factor", JSON_OPTIONAL, &attn) < 0 ||
	    (i = find_type(m, factor)) < 0)
		return -1;
	if (attn != 1 && (i != YARN || attn <= 0 || factor < 1 ||
	    strcmp(m->arch, "deepseek2") == 0))
		return fail(FAIL_DATA, "key '%s.rope.scaling.attn_factor' is %g, which is not "
		    "supported", m->arch, attn);
	if (metadata_has_tensor(m, factors_name) && (i != NONE || strcmp(m->arch, "llama") != 0))
		return fail(FAIL_DATA, "tensor '%s' is not supported with architecture '%s' and "
		    "%s.rope.scaling.type '%s'", factors_name, m->arch, m->arch, types[i]);
	if (i == NONE && !metadata_has_tensor(m, factors_name))
		return 0;
	scaling = cJSON_AddObjectToObject(m->config, "rope_scaling");
	return i == NONE ? find_llama3(m, scaling) : add_scaling(m, scaling, types[i], attn);
}
