#include "cpu/lanes_neon.h"
#include "cpu/blocks_lanes.h"
