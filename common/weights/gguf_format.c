#include "weights/gguf_format.h"

#include <string.h>

#include "kernels.h"

/* The numbers and sizes are those of enum ggml_type and of gguf-py's GGML_QUANT_SIZES. */
static const struct gguf_format formats[] = {
	{0, "F32", 1, 4, F32},
	{1, "F16", 1, 2, F16},
	{30, "BF16", 1, 2, BF16},
#define BLOCK_TYPE(name, number, cols, bytes) {number, #name, cols, bytes, name},
	EACH_BLOCK_TYPE(BLOCK_TYPE)
#undef BLOCK_TYPE
	{9, "Q8_1", 32, 40, -1},
	{15, "Q8_K", 256, 292, -1},
	{24, "I8", 1, 1, -1},
	{25, "I16", 1, 2, -1},
	{26, "I32", 1, 4, -1},
	{27, "I64", 1, 8, -1},
	{28, "F64", 1, 8, -1},
	{40, "NVFP4", 64, 36, -1},
	{41, "Q1_0", 128, 18, -1},
};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

const struct gguf_format *
gguf_format(uint32_t number)
{
	for (size_t i = 0; i < FORMATS; i++)
		if (formats[i].number == number)
			return &formats[i];
	return NULL;
}

const struct gguf_format *
gguf_format_named(const char *name)
{
	for (size_t i = 0; i < FORMATS; i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

int
gguf_format_bytes(const struct gguf_format *f, uint64_t n, uint64_t *bytes)
{
	if (n % (uint64_t)f->block)
		return -1;
	return __builtin_mul_overflow(n / (uint64_t)f->block, (uint64_t)f->bytes, bytes) ? -1 : 0;
}
