#include "cpu/lanes_avx2.h"
#include "cpu/blocks_lanes.h"
