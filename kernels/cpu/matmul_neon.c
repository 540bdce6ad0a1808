#include "cpu/lanes_neon.h"
#include "cpu/matmul_lanes.h"
#include "cpu/matmul_bf16_lanes.h"
