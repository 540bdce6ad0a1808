#define QUANTIZE quantize_avx512
#include "cpu/quantize_lanes.h"
