#include "cpu/lanes_avx512.h"
#include "cpu/matmul_lanes.h"
#include "cpu/matmul_bf16_lanes.h"
