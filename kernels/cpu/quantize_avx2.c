#define QUANTIZE quantize_avx2
#include "cpu/quantize_lanes.h"
