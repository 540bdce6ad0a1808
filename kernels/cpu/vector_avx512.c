#include "cpu/lanes_avx512.h"
#include "cpu/vector_lanes.h"
