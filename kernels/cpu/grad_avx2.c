#include "cpu/lanes_avx2.h"
#include "cpu/grad_lanes.h"
