# make            the programs, in bin/
# make demo       tiny-r1 answers through a pipeline
# make test       everything, with sanitizers too; installs what is missing
# make install    PREFIX=/usr/local DESTDIR=
# make SAN=1      the same programs with ASan and UBSan, in build-asan/bin
PREFIX = /usr/local
VERSION = 0.1.0
CC = cc
# a/b: the one that there is; Debian 13 has other names than Debian 12
LIBS = libzmq3-dev libmsgpack-c-dev/libmsgpack-dev libpcre2-dev libcjson-dev nettle-dev
TOOLS = gcc make git pkg-config perl python3 python3-msgpack python3-numpy python3-zmq mandoc jq pv iproute2 slurm-wlm munge
PACKAGES = $(LIBS) $(TOOLS)

W = -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
CFLAGS = -O2 -g
ifdef SAN
B = build-asan
BIN = build-asan/bin
# no instrumentation of what is called a billion times would be a hole: kernels are checked as well
S = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else
B = build
BIN = bin
S =
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
checks: $(CHECKS)

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
	@$(MAKE) -s -j2 all checks
	@$(MAKE) -s -j2 SAN=1 all checks
	@tests/run

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	for s in 1 5 7; do for m in man/*.$$s; do [ ! -e $$m ] || install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$$s; done; done

clean:
	rm -rf bin build build-asan

.PHONY: all checks deps demo test install clean
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
