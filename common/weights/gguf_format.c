#include "weights/gguf_format.h"

#include <string.h>

#include "kernels.h"

/* The numbers and sizes are those of enum ggml_type and of gguf-py's GGML_QUANT_SIZES. */
static const struct gguf_format formats[] = {
	{0, "F32", 1, 4, F32},
	{1, "F16", 1, 2, F16},
	{2, "Q4_0", 32, 18, -1},
	{3, "Q4_1", 32, 20, -1},
	{6, "Q5_0", 32, 22, -1},
	{7, "Q5_1", 32, 24, -1},
	{8, "Q8_0", 32, 34, -1},
	{9, "Q8_1", 32, 40, -1},
	{10, "Q2_K", 256, 84, -1},
	{11, "Q3_K", 256, 110, -1},
	{12, "Q4_K", 256, 144, -1},
	{13, "Q5_K", 256, 176, -1},
	{14, "Q6_K", 256, 210, -1},
	{15, "Q8_K", 256, 292, -1},
	{16, "IQ2_XXS", 256, 66, -1},
	{17, "IQ2_XS", 256, 74, -1},
	{18, "IQ3_XXS", 256, 98, -1},
	{19, "IQ1_S", 256, 50, -1},
	{20, "IQ4_NL", 32, 18, -1},
	{21, "IQ3_S", 256, 110, -1},
	{22, "IQ2_S", 256, 82, -1},
	{23, "IQ4_XS", 256, 136, -1},
	{24, "I8", 1, 1, -1},
	{25, "I16", 1, 2, -1},
	{26, "I32", 1, 4, I32},
	{27, "I64", 1, 8, I64},
	{28, "F64", 1, 8, -1},
	{29, "IQ1_M", 256, 56, -1},
	{30, "BF16", 1, 2, BF16},
	{34, "TQ1_0", 256, 54, -1},
	{35, "TQ2_0", 256, 66, -1},
	{39, "MXFP4", 32, 17, -1},
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
