# make            the programs, in bin/
# make demo       tiny-r1 answers through a pipeline
# make test       everything, with sanitizers too; installs what is missing
# make test-gpu   what can be shown on an NVIDIA GPU alone
# make install    PREFIX=/usr/local DESTDIR=
# make SAN=1      the same programs with ASan and UBSan, in build-asan/bin
# make CUDA=0     without the library for GPUs, which is built where there is an nvcc (of CUDA 12.9 or later)
PREFIX = /usr/local
VERSION = 0.1.0
CC = cc
CXX = g++
# a/b: the one that there is; Debian 13 has other names than Debian 12
LIBS = libzmq3-dev libmsgpack-c-dev/libmsgpack-dev libpcre2-dev libcjson-dev nettle-dev
TOOLS = gcc g++ make git pkg-config perl python3 python3-msgpack python3-numpy python3-zmq mandoc jq pv iproute2 slurm-wlm munge
PACKAGES = $(LIBS) $(TOOLS)

W = -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
CFLAGS = -O2 -g
ifdef SAN
B = build-asan
BIN = build-asan/bin
EMULATED_O = -O1 -g1
# no instrumentation of what is called a billion times would be a hole: kernels are checked as well
S = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else
B = build
BIN = bin
S =
EMULATED_O =
endif
ISA =
PC = $$(pkg-config --exists msgpack-c && echo msgpack-c || echo msgpack) libpcre2-8 libcjson nettle
ALL_CFLAGS = $(W) $(CFLAGS) $(S) -ffp-contract=off -fno-math-errno -fno-trapping-math \
	-Icommon -Ikernels -Icmd -DDS_VERSION='"$(VERSION)"' $$(pkg-config --cflags $(PC) libzmq)
ALL_LIBS = -Wl,--as-needed $$(pkg-config --libs $(PC)) -lpthread -lm -ldl

LIB = $(patsubst %.c,$(B)/%.o,$(wildcard common/*/*.c kernels/*.c kernels/cpu/*.c cmd/options.c))
PROGRAMS = $(patsubst cmd/%.c,$(BIN)/%,$(wildcard cmd/ds-*.c))
CHECKS = $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/*.c))

all: $(PROGRAMS)
checks: $(CHECKS) $(B)/tests/libdspipe-cuda.so $(B)/tests/checkemulate

$(B)/%_avx2.o: ISA = -O3 -mtune=haswell -mavx2 -mfma -mf16c
$(B)/%_avx512.o: ISA = -O3 -mtune=skylake-avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
$(B)/%_amx.o: ISA = -O3 -mtune=sapphirerapids -mamx-tile -mamx-bf16 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi -mavx512bf16 \
	-mavx2 -mfma -mf16c
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ISA) -MMD -MP -c -o $@ $<
$(B)/lib.a: $(LIB)
	@rm -f $@
	ar rcs $@ $(LIB)
$(BIN)/%: $(B)/cmd/%.o $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(S) -o $@ $^ $(ALL_LIBS)
$(B)/tests/%: $(B)/tests/unit/%.o $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(S) -o $@ $^ $(ALL_LIBS)
# what tests/bench/net measures with
$(B)/bench/%: $(B)/tests/bench/%.o $(B)/lib.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(S) -o $@ $^ $(ALL_LIBS)

# The library for GPUs.  Its code for cards between sm_80 and those named is made by their driver, from PTX.
NVCC := $(shell command -v nvcc)
NVCC_OLD = $(shell $(NVCC) --version 2>/dev/null | sed -n 's/.*release \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | awk '$$1 * 100 + $$2 < 1209')
CUDA := $(if $(NVCC),$(if $(SAN)$(NVCC_OLD),0,1),0)
ifeq ($(CUDA),1)
ifeq ($(NVCC),)
$(error CUDA=1, and there is no nvcc in PATH)
endif
all: bin/libdspipe-cuda.so
endif
CUDA_CARDS = -gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_100,code=sm_100
CUDA_W = -Wall,-Wextra,-Werror
CUDA_FLAGS = -std=c++17 -O3 -Ikernels -Ikernels/cuda --fmad=false -prec-div=true -prec-sqrt=true -ftz=false \
	-Xcompiler $(CUDA_W),-fPIC,-fvisibility=hidden -Werror all-warnings --threads 2 $(CUDA_CARDS)
build/cuda/matmul_fp8.o: CUDA_CARDS += -gencode arch=compute_89,code=[sm_89,compute_89]
build/cuda/%.o: kernels/cuda/%.cu Makefile
	@mkdir -p $(@D)
	$(NVCC) $(CUDA_FLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
bin/libdspipe-cuda.so: $(patsubst kernels/cuda/%.cu,build/cuda/%.o,$(wildcard kernels/cuda/*.cu))
	@mkdir -p $(@D)
	$(NVCC) -shared -cudart static -Xlinker --exclude-libs,ALL -Xlinker -z,defs -o $@ $^ -lcublasLt

# The same sources with a GPU emulated on the CPU, for tests.
EMULATED_FLAGS = -std=c++17 -Wall -Wextra -Werror -Wno-unknown-pragmas $(CFLAGS) $(S) $(EMULATED_O) -ffp-contract=off -fno-math-errno \
	-fno-strict-aliasing -fPIC -fvisibility=hidden -Itests/cuda -Ikernels -Ikernels/cuda
EMULATED = $(patsubst %,$(B)/emulated/%.o,$(wildcard kernels/cuda/*.cu tests/cuda/*.cc))
$(B)/tests/checkemulate: $(B)/emulated/tests/cuda/checkemulate.cu.o $(EMULATED)
	@mkdir -p $(@D)
	$(CXX) $(S) -o $@ $^ -lpthread
$(B)/emulated/%.o: % Makefile
	@mkdir -p $(@D)
	$(CXX) $(EMULATED_FLAGS) -MMD -MP -c -o $@ -x c++ $<
$(B)/tests/libdspipe-cuda.so: $(EMULATED)
	@mkdir -p $(@D)
	$(CXX) -shared $(S) -Wl,-z,defs -o $@ $^ -lpthread

# cppcheck and clang-tidy read them as they are for tests; neither is installed by this Makefile.  What is left out: names and parameters
# that CUDA wants, macros that take types, offsets of int within a block's memory, structs of two sources that have one name (functions
# are static), what cppcheck says of templates' < and of the arguments of a launch, and a false report of clang-tidy 14 about va_list.
# The analyzer looks less deep than it would: templates that are unrolled take it minutes.
TIDY = -*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-narrowing-conversions, \
	-bugprone-macro-parentheses,-bugprone-implicit-widening-of-multiplication-result,-clang-analyzer-valist.Uninitialized
CPPCHECK = --language=c++ --std=c++17 --enable=warning,performance,portability --suppress=passedByValue --suppress=invalidPointerCast \
	--suppress=compareBoolExpressionWithInt --suppress=ctunullpointer --suppress=ctuOneDefinitionRuleViolation \
	-DDS_EMULATED -Itests/cuda -Ikernels -Ikernels/cuda
CUDA_SOURCES = $(wildcard kernels/cuda/*.cu tests/cuda/*.cu tests/cuda/*.cc)
lint-cuda:
	@! grep -n '^\(template.*> \)*__global__' $(CUDA_SOURCES) || { echo 'kernels are to be static: the sources share their names'; exit 1; }
	cppcheck -q --error-exitcode=1 $(CPPCHECK) $(CUDA_SOURCES)
	printf '%s\n' $(CUDA_SOURCES) | xargs -P 2 -I {} clang-tidy --quiet --warnings-as-errors='*' --header-filter='(kernels|tests)/' \
		--checks='$(TIDY)' {} -- -x c++ -std=c++17 \
		-Itests/cuda -Ikernels -Ikernels/cuda -Xclang -analyzer-config -Xclang max-nodes=2000,max-inlinable-size=4

# what Debian packages are missing, installed; silent where there are none
deps:
	@missing=; for p in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}\n' $$(echo $$p | tr / ' ') 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	test -n "$$missing" || exit 0; echo "installing$$missing"; \
	root=; test "$$(id -u)" = 0 || root=sudo; $$root apt-get update -qq || exit; \
	names=; for p in $$missing; do \
		for q in $$(echo $$p | tr / ' '); do apt-cache show $$q >/dev/null 2>&1 && break; done; names="$$names $$q"; done; \
	$$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$names >/dev/null

demo: deps
	@$(MAKE) -s all
	@tests/demo

test: deps
	@$(MAKE) -s -j2 CUDA=0 all checks
	@$(MAKE) -s -j2 SAN=1 all checks
	@tests/run

# (first of all: is there a card?)
test-gpu:
	@tests/gpu-card --card
	@$(MAKE) -s -j$$(nproc) all $(filter $(B)/tests/checkgpu_%,$(CHECKS))
	@tests/gpu-card

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	[ $(CUDA) != 1 ] || install -D -t $(DESTDIR)$(PREFIX)/lib/dspipe bin/libdspipe-cuda.so
	for s in 1 5 7; do for m in man/*.$$s; do [ ! -e $$m ] || install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$$s; done; done

clean:
	rm -rf bin build build-asan

.PHONY: all checks lint-cuda deps demo test test-gpu install clean
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
