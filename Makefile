# make            build the programs in bin/; V=1 prints each command
# make help       print this list
# make demo       build, and let tiny-r1 answer a question
# make check      run a quick test of each kind: under a minute on two cores
# make test       run all tests, also with sanitizers
# make test-gpu   run the checks that need an NVIDIA GPU
# make test-arm   cross-build for aarch64; compare its results with x86-64 under qemu-user
# make install    install in PREFIX (/usr/local), below DESTDIR
# make uninstall  remove the installed files
# make deps       install the Debian packages for the build; demo and check do so, too
# make test-deps  install those for the tests; test does so, too
# make clean      remove bin/, build/ and all build-*/
#
# Variables, also with a target:
# SAN=1           build with ASan and UBSan, in build-asan/bin
# TRAP=           with SAN=1: UBSan explains what it found (a little slower)
# CUDA=0          build without the GPU library, which needs nvcc of CUDA 12.9 or later
# WERROR=-Werror  make warnings errors
# STRIP=          install programs with their debug information
# CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++
#                 build for another architecture, in build-aarch64/bin
#
# CC, CXX, CFLAGS, CPPFLAGS, LDFLAGS, PREFIX and STRIP may come from the environment.
VERSION = 0.2.0
PREFIX ?= /usr/local
LDFLAGS ?=
STRIP ?= strip
WERROR =

# What the compiler makes code for, and what the names of files end in that only one architecture
# compiles.
ARCH := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
ONLY_x86_64 = avx2 avx512 vbmi amx
ONLY_aarch64 = neon dot i8mm
FOREIGN = $(filter-out $(ONLY_$(ARCH)),$(ONLY_x86_64) $(ONLY_aarch64))
sources = $(filter-out $(foreach s,$(FOREIGN),%_$(s).c),$(wildcard $(1)))
CROSS := $(if $(filter-out $(shell uname -m),$(ARCH)),-$(ARCH))
ARM_CC = aarch64-linux-gnu-gcc
ifneq (,$(CROSS))
AR = $(ARCH)-linux-gnu-ar
STRIP = $(ARCH)-linux-gnu-strip
export PKG_CONFIG_LIBDIR ?= /usr/lib/$(ARCH)-linux-gnu/pkgconfig
endif

ifndef V
ifeq (,$(findstring s,$(firstword -$(MAKEFLAGS))))
SAY = @echo "  $@";
endif
endif
# (clang calls a field that {.designated} initializers leave out missing; gcc does not)
CLANG_W := $(if $(findstring clang,$(shell $(CC) --version)),-Wno-missing-field-initializers)
W = -std=gnu11 -D_GNU_SOURCE -Wall -Wextra $(WERROR) -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith $(CLANG_W)
ifdef SAN
B = build-asan$(CROSS)
BIN = $(B)/bin
# (instrumented, all but kernels takes half the time to compile so; a report has the lines)
CFLAGS ?= -O1 -g1
EMULATED_O = -O2
# (-O3 takes seven times as long to compile with sanitizers)
ISA_O = -O2
$(B)/kernels/%.o: KERNEL_O = -O2
# ASan checks each access of a kernel.  UBSan adds overflow, shifts, bounds and conversions there;
# its checks of pointers would be second ones, for a fifth more time to run.
$(B)/kernels/%.o $(B)/emulated/%.o: \
	S += -fno-sanitize=null,alignment,pointer-overflow,object-size
# UBSan's checks end in a trap, which ASan reports with its stack.  Their texts would be 17,000 more
# variables for ASan to protect, a sixth of the time of a start.  TRAP= has them.
TRAP = -fsanitize-undefined-trap-on-error
S = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer $(TRAP)
# Within the program, at a fixed address, the sanitizers start in two thirds of the time; a library
# that the program loads finds them there.  (gcc's; clang's are within the program anyway)
# (of what is left, tests/asan.c saves half)
SAN_IN := $(and $(findstring Free Software,$(shell $(CC) --version)),\
	$(wildcard $(shell $(CC) -print-file-name=libasan.a)),\
	$(wildcard $(shell $(CC) -print-file-name=libubsan.a)))
S_PROGRAM = $(S) $(if $(SAN_IN),-static-libasan -static-libubsan -static-libgcc -no-pie \
	-Wl$(comma)--wrap=dlsym$(comma)--wrap=_ZN6__lsan23GetAllocatorGlobalRangeEPmS0_ \
	-Wl$(comma)--wrap=_ZN11__sanitizer15internal_memsetEPvim \
	$(patsubst %,-Wl$(comma)--export-dynamic-symbol='__%_*',asan ubsan sanitizer))
# (each library within the program saves another twentieth of a start)
ARCHIVES := $(wildcard $(shell for l in msgpackc msgpack-c pcre2-8 cjson utf8proc nettle; do \
	$(CC) -print-file-name=lib$$l.a; done))
START = $(if $(SAN_IN),$(B)/tests/asan.o)
$(B)/tests/asan.o: S =
S_SHARED = $(if $(SAN_IN),-Wl$(comma)-z$(comma)undefs,$(S) -Wl$(comma)-z$(comma)defs)
else
CFLAGS ?= -O2 -g
B = build$(CROSS)
BIN = $(if $(CROSS),$(B)/bin,bin)
S =
S_PROGRAM =
S_SHARED = -Wl,-z,defs
EMULATED_O =
ARCHIVES =
# (where variables are, in code unrolled as far as this, takes a third of the time to find out)
ISA_O = -O3 -fno-var-tracking
# (as fast as -O3, and compiled in half the time)
$(patsubst %,$(B)/kernels/cpu/matmul_i8_%.o,avx2 vnni_avx2 avx512 amx): \
	ISA_O = -O2 -fpeel-loops -fno-var-tracking
endif
ISA =
KERNEL_O =
# (asked for once, and only where something is compiled or linked: `make deps` may come before)
PC = $(shell pkg-config --exists msgpack-c && echo msgpack-c || echo msgpack) \
	libpcre2-8 libcjson libutf8proc nettle
PC_CFLAGS = $(eval PC_CFLAGS := $(shell pkg-config --cflags $(PC) libzmq))$(PC_CFLAGS)
PC_LIBS = $(eval PC_LIBS := $(shell pkg-config --libs $(PC)))$(PC_LIBS)
ALL_CFLAGS = $(W) $(CPPFLAGS) $(CFLAGS) $(S) -ffp-contract=off -fno-math-errno -fno-trapping-math \
	-Icommon -Ikernels -Icmd -DDS_VERSION='"$(VERSION)"' $(PC_CFLAGS)
ALL_LIBS = -Wl,--as-needed $(ARCHIVES) $(PC_LIBS) -lpthread -lm -ldl

LIB = $(patsubst %.c,$(B)/%.o,$(filter-out cmd/ds-%, \
	$(call sources,common/*/*.c common/*/*/*.c kernels/*.c kernels/cpu/*.c cmd/*.c)))
PROGRAMS = $(patsubst cmd/%.c,$(BIN)/%,$(wildcard cmd/ds-*.c))
CHECKS = $(patsubst tests/unit/%.c,$(B)/tests/%,$(call sources,tests/unit/*.c))

all: $(PROGRAMS)
help:
	@sed -n '/^#/!q; s/^# \?//p' Makefile
checks: $(CHECKS) $(B)/tests/limit $(B)/tests/py $(B)/tests/libdspipe-cuda.so $(B)/tests/checkemulate

$(B)/%_avx2.o: ISA = $(ISA_O) -mtune=haswell -mavx2 -mfma -mf16c
$(B)/%_avx512.o: ISA = $(ISA_O) -mtune=skylake-avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
$(B)/%_vnni_avx2.o: ISA += -mavxvnni
$(B)/%_i8_avx512.o: ISA += -mavx512vnni -mavx512vbmi
# (that other instructions are right, not fast)
$(B)/tests/unit/%.o: ISA_O = -O1
$(B)/%_vbmi.o: ISA = $(ISA_O) -mtune=skylake-avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl \
	-mavx512vbmi -mavx2 -mfma -mf16c
$(B)/%_amx.o: ISA = $(ISA_O) -mtune=sapphirerapids -mamx-tile -mamx-bf16 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi -mavx512bf16 \
	-mavx2 -mfma -mf16c
$(B)/%_i8_amx.o: ISA += -mavx512vnni
$(B)/%_neon.o $(B)/%_bf16_ref.o: ISA = $(ISA_O)
# (gcc's -O2 uses no vectors for this one)
$(B)/common/learn/adamw.o: ISA = $(ISA_O)
$(B)/%_dot.o: ISA = $(ISA_O) -march=armv8.2-a+dotprod
$(B)/%_i8mm.o: ISA = $(ISA_O) -march=armv8.2-a+dotprod+i8mm
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(SAY)$(CC) $(ALL_CFLAGS) $(KERNEL_O) $(ISA) -MMD -MP -c -o $@ $<
$(B)/lib.a: $(filter-out $(B)/kernels/%,$(LIB))
$(B)/kernels.a: $(filter $(B)/kernels/%,$(LIB))
$(B)/lib.a $(B)/kernels.a:
	@rm -f $@
	@$(AR) rcs $@ $^
$(BIN)/%: $(START) $(B)/cmd/%.o $(B)/lib.a $(B)/kernels.a
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS) $(S_PROGRAM) $(LDFLAGS) -o $@ $^ $(ALL_LIBS)
$(B)/tests/%: $(START) $(B)/tests/unit/%.o $(B)/lib.a $(B)/kernels.a
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS) $(S_PROGRAM) $(LDFLAGS) -o $@ $^ $(ALL_LIBS)
# (tests start them thousands of times: a static program starts faster, where there is a libc.a)
STATIC = $(if $(wildcard $(shell $(CC) -print-file-name=libc.a)),-static)
$(B)/tests/limit $(B)/tests/py: $(B)/tests/%: tests/%.c Makefile
	@mkdir -p $(@D)
	$(SAY)$(CC) $(W) $(CFLAGS) $(LDFLAGS) $(STATIC) -o $@ $<
# what tests/bench/net measures with
$(B)/bench/%: $(START) $(B)/tests/bench/%.o $(B)/lib.a $(B)/kernels.a
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS) $(S_PROGRAM) $(LDFLAGS) -o $@ $^ $(ALL_LIBS)

# Most scripts run with these, if with sanitizers: kernels without them take a quarter of the time.
# tests/README.md describes which do not.
ifdef SAN
checks: $(PROGRAMS:$(BIN)/%=$(B)/quick/%)
$(B)/quick/%: $(START) $(B)/cmd/%.o $(B)/lib.a build/kernels.a
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS) $(S_PROGRAM) $(LDFLAGS) -o $@ $^ $(ALL_LIBS)
build/kernels.a: FORCE
	@$(MAKE) --no-print-directory SAN= $@
FORCE:
endif

# The library for GPUs.  Its code for cards between sm_80 and those named is made by their driver, from PTX.
comma = ,
NVCC := $(shell command -v nvcc)
NVCC_OLD = $(shell $(NVCC) --version 2>/dev/null | sed -n 's/.*release \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | awk '$$1 * 100 + $$2 < 1209')
CUDA := $(if $(NVCC),$(if $(SAN)$(CROSS)$(NVCC_OLD),0,1),0)
ifeq ($(CUDA),1)
ifeq ($(NVCC),)
$(error CUDA=1, and there is no nvcc in PATH)
endif
all: bin/libdspipe-cuda.so
endif
CUDA_CARDS = -gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_100,code=sm_100
CUDA_W = -Wall,-Wextra$(if $(WERROR),$(comma)-Werror)
CUDA_FLAGS = -std=c++17 -O3 -Ikernels -Ikernels/cuda --fmad=false -prec-div=true -prec-sqrt=true -ftz=false \
	-Xcompiler $(CUDA_W),-fPIC,-fvisibility=hidden $(if $(WERROR),-Werror all-warnings) --threads 2 $(CUDA_CARDS)
build/cuda/matmul_fp8.o: CUDA_CARDS += -gencode arch=compute_89,code=[sm_89,compute_89]
build/cuda/%.o: kernels/cuda/%.cu Makefile
	@mkdir -p $(@D)
	$(SAY)$(NVCC) $(CUDA_FLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
bin/libdspipe-cuda.so: $(patsubst kernels/cuda/%.cu,build/cuda/%.o,$(wildcard kernels/cuda/*.cu))
	@mkdir -p $(@D)
	$(SAY)$(NVCC) -shared -cudart static -Xlinker --exclude-libs,ALL -Xlinker -z,defs -o $@ $^ -lcublasLt

# The same sources with a GPU emulated on the CPU, for tests.
# (a GPU has FMA; without the instruction each is a call.  Tests run where they are built.)
EMULATED_ISA := $(and $(filter x86_64,$(ARCH)),$(shell grep -wm1 avx2 /proc/cpuinfo),\
	$(shell grep -wm1 fma /proc/cpuinfo),-mavx2 -mfma)
EMULATED_FLAGS = -std=c++17 -Wall -Wextra $(WERROR) -Wno-unknown-pragmas -Wno-pass-failed \
	$(CPPFLAGS) $(CFLAGS) $(S) $(EMULATED_O) $(EMULATED_ISA) -ffp-contract=off -fno-math-errno \
	-fno-strict-aliasing -fPIC -fvisibility=hidden -Itests/cuda -Ikernels -Ikernels/cuda
EMULATED = $(patsubst %,$(B)/emulated/%.o,$(wildcard kernels/cuda/*.cu tests/cuda/*.cc))
$(B)/tests/checkemulate: $(START) $(B)/emulated/tests/cuda/checkemulate.cu.o $(EMULATED)
	@mkdir -p $(@D)
	$(SAY)$(CXX) $(S_PROGRAM) $(LDFLAGS) -o $@ $^ -lpthread
$(B)/emulated/%.o: % Makefile
	@mkdir -p $(@D)
	$(SAY)$(CXX) $(EMULATED_FLAGS) -MMD -MP -c -o $@ -x c++ $<
$(B)/tests/libdspipe-cuda.so: $(EMULATED)
	@mkdir -p $(@D)
	$(SAY)$(CXX) -shared $(S_SHARED) $(LDFLAGS) -o $@ $^ -lpthread

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

deps:
	@tests/deps build
test-deps:
	@tests/deps test

# (the library for GPUs takes minutes to build, and the demo computes on the CPU)
demo: deps
	@$(MAKE) -q CUDA=0 all >/dev/null 2>&1 || echo "building the programs in bin/: about a minute on two cores"
	@$(MAKE) -j$$(nproc) --no-print-directory CUDA=0 all
	@tests/demo

check: deps
	@$(MAKE) -s -j$$(nproc) CUDA=0 all checks
	@tests/run --check

test: test-deps
	@echo "building the programs twice, plain and with sanitizers"
	@$(MAKE) -s -j2 CUDA=0 WERROR=-Werror all checks
	@$(MAKE) -s -j2 SAN=1 WERROR=-Werror all checks
	@tests/run

# (first of all: is there a card?)
test-gpu:
	@tests/gpu-card --card
	@$(MAKE) -s -j$$(nproc) all $(B)/tests/limit $(B)/tests/py $(filter $(B)/tests/checkgpu_%,$(CHECKS))
	@tests/gpu-card

ARM_CHECKS = checkkernels checkarithmetic checkblocks checki8
test-arm:
	@tests/deps arm
	@$(MAKE) -s -j$$(nproc) CUDA=0 all build/tests/limit build/tests/py
	@$(MAKE) -s -j$$(nproc) WERROR=-Werror CC="$(ARM_CC)" all \
		$(ARM_CHECKS:%=build-aarch64/tests/%)
	@sh tests/arm.sh

# Completion for shells is made from -h.
COMPLETIONS = $(PROGRAMS:$(BIN)/%=$(B)/completion/%) $(B)/completion/_dspipe
$(B)/completion/_dspipe: cmd/completion $(PROGRAMS)
	@mkdir -p $(@D)
	@cmd/completion zsh $(PROGRAMS) >$@ || { rm -f $@; false; }
$(B)/completion/%: $(BIN)/% cmd/completion
	@mkdir -p $(@D)
	@cmd/completion bash $< >$@ || { rm -f $@; false; }

# What is installed, as TO:FROM.
EXAMPLES = $(wildcard examples/tiny-r1/*.* examples/tiny-r1/LICENSE examples/cookbook/* \
	examples/learn/* examples/tiny-r1/train/problems.py examples/paths/* examples/*.* \
	tests/golden/v3/*)
CUDA_LIB = lib/dspipe/libdspipe-cuda.so
INSTALLED = $(foreach f,$(PROGRAMS),bin/$(notdir $f):$f) lib/dspipe/template.py:common/token/template.py \
	$(foreach f,$(wildcard man/*.[1-9]),share/man/man$(subst .,,$(suffix $f))/$(notdir $f):$f) \
	$(foreach f,$(COMPLETIONS),share/$(if $(findstring _,$(notdir $f)),zsh/site-functions,bash-completion/completions)/$(notdir $f):$f) \
	$(foreach f,$(EXAMPLES),share/dspipe/$f:$f) $(if $(filter 1,$(CUDA)),$(CUDA_LIB):bin/libdspipe-cuda.so)
TO = $(DESTDIR)$(PREFIX)
install: all $(COMPLETIONS)
	$(SAY)for f in $(INSTALLED); do \
		case $$f in share/*) m=644; [ ! -x $${f#*:} ] || m=755 ;; *) m=755 ;; esac; \
		install -D -m $$m $${f#*:} "$(TO)/$${f%%:*}" || exit 1; \
	done
	$(if $(STRIP),@$(STRIP) $(PROGRAMS:$(BIN)/%="$(TO)/bin/%"))
uninstall:
	$(SAY)for f in $(INSTALLED) $(CUDA_LIB); do rm -f "$(TO)/$${f%%:*}" || exit 1; done
	@for d in lib share; do [ ! -d "$(TO)/$$d/dspipe" ] || find "$(TO)/$$d/dspipe" -depth -type d -empty -delete; done

clean:
	rm -rf bin build build-*/

.PHONY: all help checks lint-cuda deps test-deps demo check test test-gpu test-arm install \
	uninstall clean
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
