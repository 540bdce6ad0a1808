#include "cpu/lanes_neon.h"
#include "cpu/grad_lanes.h"
