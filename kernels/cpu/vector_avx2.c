#include "cpu/lanes_avx2.h"
#include "cpu/vector_lanes.h"
