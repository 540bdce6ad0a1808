#include "cpu/lanes_avx512.h"
#include "cpu/blocks_lanes.h"
