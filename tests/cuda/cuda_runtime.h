/* CUDA's names as the host's C++ compiler can have them: see emulate.h. */
#ifndef DS_CUDA_RUNTIME_H
#define DS_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

#include "emulate.h"

#define DS_EMULATED 1

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __shared__ static       /* one block runs at a time */
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

/*
 * Types
 */

#define EMULATE_VECTOR(type, name, size) \
	struct name##2 { type x, y; } __attribute__((aligned(2 * size))); \
	struct name##3 { type x, y, z; }; \
	struct name##4 { type x, y, z, w; } __attribute__((aligned(4 * size > 16 ? 16 : 4 * size))); \
	static inline name##2 make_##name##2(type x, type y) { return { x, y }; } \
	static inline name##3 make_##name##3(type x, type y, type z) { return { x, y, z }; } \
	static inline name##4 make_##name##4(type x, type y, type z, type w) { return { x, y, z, w }; }
EMULATE_VECTOR(float, float, 4)
EMULATE_VECTOR(double, double, 8)
EMULATE_VECTOR(int, int, 4)
EMULATE_VECTOR(unsigned, uint, 4)
EMULATE_VECTOR(short, short, 2)
EMULATE_VECTOR(unsigned short, ushort, 2)
EMULATE_VECTOR(signed char, char, 1)
EMULATE_VECTOR(unsigned char, uchar, 1)
EMULATE_VECTOR(long long, longlong, 8)
EMULATE_VECTOR(unsigned long long, ulonglong, 8)

struct dim3 {
	unsigned x, y, z;
	constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) { }
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static const int warpSize = 32;

/*
 * What threads do together
 */

static inline void __syncthreads(void) { emulate_barrier(0, 0, 0); }
static inline int __syncthreads_count(int yes) { return *emulate_barrier(0, 0, yes != 0); }
static inline int __syncthreads_or(int yes) { return *emulate_barrier(0, 0, yes != 0) != 0; }
static inline int __syncthreads_and(int yes) { return *emulate_barrier(0, 0, yes == 0) == 0; }
static inline void __syncwarp(unsigned mask = ~0u) { emulate_warp(mask, NULL, NULL); }
static inline void __threadfence(void) { }
static inline void __threadfence_block(void) { }

template <class T> static inline T
emulate_shuffle(unsigned mask, T value, unsigned from)
{
	static char what;
	uint64_t mine = 0;

	static_assert(sizeof(T) <= sizeof(mine) && std::is_trivially_copyable<T>::value,
	    "a shuffle of 8 bytes at most");
	memcpy(&mine, &value, sizeof(T));
	memcpy(&value, &emulate_values(mask, mine, from, &what)[from], sizeof(T));
	return value;
}

template <class T> static inline T
__shfl_sync(unsigned mask, T value, int from, int width = 32)
{
	unsigned w = (unsigned)width, l = emulate_lane();

	return emulate_shuffle(mask, value, l / w * w + (unsigned)from % w);
}

template <class T> static inline T
__shfl_xor_sync(unsigned mask, T value, int with, int width = 32)
{
	unsigned w = (unsigned)width, l = emulate_lane(), from = l ^ (unsigned)with;

	return emulate_shuffle(mask, value, from >= (l / w + 1) * w ? l : from);
}

template <class T> static inline T
__shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32)
{
	unsigned w = (unsigned)width, l = emulate_lane();

	return emulate_shuffle(mask, value, l % w + by < w ? l + by : l);
}

template <class T> static inline T
__shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32)
{
	unsigned w = (unsigned)width, l = emulate_lane();

	return emulate_shuffle(mask, value, l % w >= by ? l - by : l);
}

static inline unsigned
__ballot_sync(unsigned mask, int yes)
{
	static char what;
	const uint64_t *all = emulate_values(mask, yes != 0, emulate_lane(), &what);
	unsigned r = 0;

	for (int i = 0; i < 32; i++)
		r |= (unsigned)all[i] << i;
	return r;
}

static inline int __any_sync(unsigned mask, int yes) { return __ballot_sync(mask, yes) != 0; }
static inline int __all_sync(unsigned mask, int yes) { return __ballot_sync(mask, !yes) == 0; }

/* One thread runs at a time. */
template <class T, class F> static inline T
emulate_atomic(T *p, F next)
{
	T old = *p;

	*p = next(old);
	return old;
}
#define EMULATE_ATOMICS(T) \
	static inline T atomicAdd(T *p, T v) { return emulate_atomic(p, [v](T o) { return (T)(o + v); }); } \
	static inline T atomicExch(T *p, T v) { return emulate_atomic(p, [v](T) { return v; }); }
#define EMULATE_ATOMICS_INT(T) \
	static inline T atomicMin(T *p, T v) { return emulate_atomic(p, [v](T o) { return o < v ? o : v; }); } \
	static inline T atomicMax(T *p, T v) { return emulate_atomic(p, [v](T o) { return o > v ? o : v; }); } \
	static inline T atomicOr(T *p, T v) { return emulate_atomic(p, [v](T o) { return o | v; }); } \
	static inline T atomicAnd(T *p, T v) { return emulate_atomic(p, [v](T o) { return o & v; }); } \
	static inline T atomicCAS(T *p, T is, T v) { return emulate_atomic(p, [is, v](T o) { return o == is ? v : o; }); }
EMULATE_ATOMICS(float)
EMULATE_ATOMICS(unsigned)
EMULATE_ATOMICS(unsigned long long)
EMULATE_ATOMICS_INT(int)
EMULATE_ATOMICS_INT(unsigned)
EMULATE_ATOMICS_INT(unsigned long long)
static inline int atomicExch(int *p, int v) { return emulate_atomic(p, [v](int) { return v; }); }
static inline int atomicAdd(int *p, int v) { return emulate_atomic(p, [v](int o) { return (int)((unsigned)o + (unsigned)v); }); }
static inline long long atomicMin(long long *p, long long v) { return emulate_atomic(p, [v](long long o) { return o < v ? o : v; }); }
static inline long long atomicMax(long long *p, long long v) { return emulate_atomic(p, [v](long long o) { return o > v ? o : v; }); }

/*
 * What a thread does alone
 */

template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T __ldcg(const T *p) { return *p; }
template <class T> static inline T __ldcs(const T *p) { return *p; }
template <class T> static inline void __stcg(T *p, T v) { *p = v; }
template <class T> static inline void __stcs(T *p, T v) { *p = v; }
static inline size_t __cvta_generic_to_shared(const void *p) { return (size_t)p; }

template <class To, class From> static inline To
emulate_bits(From v)
{
	To to;

	static_assert(sizeof(To) == sizeof(From), "as many bytes");
	memcpy(&to, &v, sizeof(to));
	return to;
}
static inline unsigned __float_as_uint(float x) { return emulate_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return emulate_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return emulate_bits<float>(x); }
static inline float __int_as_float(int x) { return emulate_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return emulate_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return emulate_bits<double>(x); }

static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return sqrt(a); }

/* To integers: what does not fit becomes the nearest that does, not a number 0, or -2^63 from double. */
static inline int
emulate_int(double x)
{
	return x != x ? 0 : x >= 0x1p31 ? INT32_MAX : x < -0x1p31 ? INT32_MIN : (int)x;
}
static inline long long
emulate_long(double x, long long not_a_number)
{
	return x != x ? not_a_number : x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : (long long)x;
}
static inline int __float2int_rn(float x) { return emulate_int(rint(x)); }
static inline int __float2int_rz(float x) { return emulate_int(x); }
static inline int __float2int_rd(float x) { return emulate_int(floor(x)); }
static inline int __float2int_ru(float x) { return emulate_int(ceil(x)); }
static inline int __double2int_rn(double x) { return emulate_int(rint(x)); }
static inline int __double2int_rz(double x) { return emulate_int(x); }
static inline long long __double2ll_rn(double x) { return emulate_long(rint(x), INT64_MIN); }
static inline long long __double2ll_rz(double x) { return emulate_long(x, INT64_MIN); }
static inline long long __float2ll_rn(float x) { return emulate_long(rint(x), INT64_MIN); }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline double __int2double_rn(int x) { return x; }
static inline double __ll2double_rn(long long x) { return (double)x; }
static inline float __ll2float_rn(long long x) { return (float)x; }
static inline float __double2float_rn(double x) { return (float)x; }

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }

static inline unsigned
__byte_perm(unsigned a, unsigned b, unsigned which)
{
	unsigned long long from = (unsigned long long)b << 32 | a;
	unsigned r = 0;

	for (int i = 0; i < 4; i++) {
		unsigned c = which >> 4 * i, byte = (unsigned)(from >> 8 * (c & 7)) & 0xff;

		r |= (c & 8 ? byte >> 7 ? 0xffu : 0 : byte) << 8 * i;
	}
	return r;
}

#define EMULATE_LEAST(T) \
	static inline T min(T a, T b) { return b < a ? b : a; } \
	static inline T max(T a, T b) { return b > a ? b : a; }
EMULATE_LEAST(int)
EMULATE_LEAST(unsigned)
EMULATE_LEAST(long)
EMULATE_LEAST(unsigned long)
EMULATE_LEAST(long long)
EMULATE_LEAST(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

/*
 * The runtime: as much of it as the library uses
 */

enum cudaError_t {
	cudaSuccess = 0,
	cudaErrorInvalidValue = 1,
	cudaErrorMemoryAllocation = 2,
	cudaErrorInvalidConfiguration = 9,
	cudaErrorInsufficientDriver = 35,
	cudaErrorNoDevice = 100,
	cudaErrorInvalidDevice = 101,
	cudaErrorDeviceUninitialized = 201,
	cudaErrorInvalidResourceHandle = 400,
	cudaErrorNotReady = 600,
	cudaErrorStreamCaptureUnsupported = 900,
	cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamNonBlocking = 1, cudaEventRecordDefault = 0, cudaEventRecordExternal = 1, cudaHostAllocDefault = 0,
	cudaIpcMemLazyEnablePeerAccess = 1 };

typedef struct emulate_stream *cudaStream_t;
typedef struct emulate_event *cudaEvent_t;
typedef struct emulate_graph *cudaGraph_t, *cudaGraphExec_t;
struct cudaIpcMemHandle_t {
	char reserved[64];
};
struct cudaDeviceProp {
	char name[256];
	size_t totalGlobalMem, sharedMemPerBlockOptin;
	int major, minor, multiProcessorCount;
};
struct cudaLaunchConfig_t {
	dim3 gridDim, blockDim;
	size_t dynamicSmemBytes;
	cudaStream_t stream;
	struct cudaLaunchAttribute *attrs;
	unsigned numAttrs;
};

const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaGetLastError(void);
cudaError_t cudaDriverGetVersion(int *v);
cudaError_t cudaRuntimeGetVersion(int *v);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int ordinal);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int ordinal);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaMalloc(void **p, size_t n);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamQuery(cudaStream_t s);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *to, int byte, size_t n, cudaStream_t s);
cudaError_t cudaEventCreate(cudaEvent_t *e);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned flags);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t *h, void *p);
cudaError_t cudaIpcOpenMemHandle(void **p, cudaIpcMemHandle_t h, unsigned flags);
cudaError_t cudaIpcCloseMemHandle(void *p);

/* What a launch of that shape is refused for. */
cudaError_t emulate_refuses(const cudaLaunchConfig_t *c);
cudaError_t emulate_allow(size_t shared);

template <class K> static inline cudaError_t
cudaFuncSetAttribute(K, cudaFuncAttribute, int bytes)
{
	return emulate_allow((size_t)bytes);
}

template <class F> struct emulate_launch {
	unsigned grid[3], block[3];
	size_t shared;
	F call;
};

template <class F> static inline cudaError_t
emulate_queue(const cudaLaunchConfig_t *c, F call)
{
	emulate_launch<F> l = { { c->gridDim.x, c->gridDim.y, c->gridDim.z },
	    { c->blockDim.x, c->blockDim.y, c->blockDim.z }, c->dynamicSmemBytes, call };

	static_assert(std::is_trivially_copyable<F>::value, "arguments of kernels are copied as bytes");
	return (cudaError_t)emulate_put(c->stream, [](void *data) {
		emulate_launch<F> *l = (emulate_launch<F> *)data;

		emulate_grid(l->grid, l->block, l->shared, [](void *f) { (*(F *)f)(); }, &l->call);
	}, &l, sizeof(l));
}

template <class... P> static inline cudaError_t
emulate_bind(const cudaLaunchConfig_t *c, void (*kernel)(P...), P... p)
{
	return emulate_queue(c, [=] { kernel(p...); });
}

template <class... P, class... A> static inline cudaError_t
cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(P...), A... args)
{
	cudaError_t e = emulate_refuses(c);

	return e ? e : emulate_bind<P...>(c, kernel, static_cast<P>(args)...);
}

#endif
