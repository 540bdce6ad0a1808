#include "token/settings.h"

#include <limits.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"

#define SETTINGS_MAX (64u << 20)

int
settings_load(const char *dir, cJSON **o)
{
	char path[PATH_MAX];

	if (io_path(path, sizeof(path), dir, "tokenizer_config.json") < 0)
		return -1;
	if (!file_exists(path))
		return 0;
	*o = json_load(path, SETTINGS_MAX);
	return *o ? 1 : -1;
}

int
settings_token(const cJSON *o, const char *name, const char **token)
{
	const cJSON *v = NULL;

	*token = NULL;
	if (json_get(o, name, JSON_OPTIONAL, &v) < 0)
		return -1;
	if (cJSON_IsObject(v))
		return json_string(v, "content", JSON_REQUIRED, token) < 0 ? fail_in("%s", name) : 0;
	return json_string(o, name, JSON_OPTIONAL, token) < 0 ? -1 : 0;
}
