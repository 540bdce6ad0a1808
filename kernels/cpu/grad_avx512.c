#include "cpu/lanes_avx512.h"
#include "cpu/grad_lanes.h"
