#include "cpu/lanes_neon.h"
#include "cpu/vector_lanes.h"
