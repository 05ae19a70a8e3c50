# kv: build, test, install. `make help` lists the targets.
#
#   make V=1            shows the commands
#   make WERROR=1       makes warnings errors
#   make VARIANT=asan   builds into build/asan, beside the plain build in build/. A variant is one or
#                       more of these words, joined by dashes (clang-tsan, asan-stress):
#                         clang   compiled by clang
#                         asan    AddressSanitizer and UBSan
#                         tsan    ThreadSanitizer
#                         stress  tiny pages and limits, so that rare paths become common
#                         fuzz    what libFuzzer needs (with clang)
#                         afl     compiled by AFL++, for it
#                         mutants seeded bugs that the tests must notice (src/mutant.h)
#                         coverage  the engine counts which of its branches were taken (gcc)
#   make test TESTS='unit/test_node crash/*'   runs only these
#
# Packagers: CC CXX AR CFLAGS CPPFLAGS LDFLAGS LDLIBS and DESTDIR PREFIX BINDIR LIBDIR INCLUDEDIR
# MANDIR PKGCONFIGDIR (or prefix bindir libdir includedir mandir) are yours; what the sources need
# stands in variables of its own and is added to them.

.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:

# ---- version: include/kv.h has it, everything else asks there ----

version_part = $(shell sed -n 's/^\#define KV_VERSION_$(1) //p' include/kv.h)
VERSION := $(call version_part,MAJOR).$(call version_part,MINOR).$(call version_part,PATCH)
SOVERSION := $(call version_part,MAJOR)

# ---- what a builder may set ----

VARIANT ?=
V ?=
WERROR ?=
TESTS ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

variant_words := $(subst -, ,$(VARIANT))
variant_has = $(filter $(1),$(variant_words))
unknown_words := $(filter-out clang asan tsan stress mutants fuzz afl coverage,$(variant_words))
ifneq ($(unknown_words),)
$(error VARIANT has unknown words: $(unknown_words))
endif

ifneq ($(call variant_has,clang),)
CC := clang
CXX := clang++
endif
ifneq ($(call variant_has,afl),)
CC := afl-clang-fast
CXX := afl-clang-fast++
endif
CFLAGS ?= $(if $(call variant_has,fuzz afl),-O2 -g1,$(if $(call variant_has,asan tsan mutants),-O1 -g1,\
            $(if $(call variant_has,coverage),-O0 -g,-O2 -g)))
CPPFLAGS ?=
LDFLAGS ?=
LDLIBS ?=

DESTDIR ?=
prefix ?= /usr/local
PREFIX ?= $(prefix)
bindir ?= $(PREFIX)/bin
BINDIR ?= $(bindir)
libdir ?= $(PREFIX)/lib
LIBDIR ?= $(libdir)
includedir ?= $(PREFIX)/include
INCLUDEDIR ?= $(includedir)
mandir ?= $(PREFIX)/share/man
MANDIR ?= $(mandir)
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
INSTALL ?= install

# ---- what the sources need ----

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings
ifneq ($(WERROR),)
WARNINGS += -Werror
endif

SANITIZE :=
ifneq ($(call variant_has,asan),)
SANITIZE += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
ifneq ($(call variant_has,fuzz),)
SANITIZE += -fsanitize=fuzzer-no-link
endif
ifneq ($(call variant_has,tsan),)
SANITIZE += -fsanitize=thread
# gcc has no model of fences under ThreadSanitizer and says so at each one.
ifeq ($(call variant_has,clang),)
SANITIZE += -Wno-tsan
endif
endif

# Only the engine's own functions count, and each stays whole. What XXH3 is made of is inlined.
COVERAGE := $(if $(call variant_has,coverage),--coverage -fprofile-update=atomic \
              -fprofile-filter-files='src/[^/]*$$')
ENGINE_COVERAGE = $(COVERAGE) $(if $(COVERAGE),$(if $(filter %/hash.o %/hash_wide.o,$@),-O2,-Dalways_inline=unused))

# No path of the building machine reaches the objects: the build is reproducible.
BASE_CFLAGS := -std=c11 -pthread -fvisibility=hidden '-ffile-prefix-map=$(CURDIR)=.' $(SANITIZE) $(WARNINGS)
BASE_CPPFLAGS := -D_GNU_SOURCE -Iinclude $(if $(call variant_has,stress),-DKVI_STRESS=1) \
                 $(if $(call variant_has,mutants),-DKVI_MUTANTS=1)
BASE_LDFLAGS := -pthread $(SANITIZE) -Wl,--as-needed -Wl,-z,relro -Wl,-z,now \
                $(if $(COVERAGE),--coverage)
BASE_LDLIBS := -llz4

# The command and the examples see the public header only; tests see the engine's insides.
ENGINE_CPPFLAGS := $(BASE_CPPFLAGS) -DKV_BUILDING
TEST_CPPFLAGS := $(BASE_CPPFLAGS) -Isrc -Itest -Itest/support
# A test takes cmocka's state whether it needs it or not.
TEST_CFLAGS := -Wno-unused-parameter
# There is more of the tests than of the engine, and the time that they take is the engine's.
TEST_FAST := $(if $(filter file,$(origin CFLAGS)),$(if $(call variant_has,fuzz afl),,-O0))
# What takes time of its own stays optimised.
TEST_SLOW := test/support/% test/demo/% test/instructions/%

# Calls between our own exported functions need no detour: nobody may replace one of them.
SHARED_CFLAGS := -fPIC -fno-semantic-interposition
SHARED_LDFLAGS := -shared -Wl,-soname,libkv.so.$(SOVERSION) -Wl,--version-script=src/kv.map
# A sanitizer's own functions stay undefined until the program is linked.
SHARED_LDFLAGS += $(if $(SANITIZE),,-Wl,-z,defs)

# ---- files ----

B := build$(if $(VARIANT),/$(VARIANT))

ENGINE_C := $(sort $(wildcard src/*.c))
CLI_C := $(sort $(wildcard src/cli/*.c))
# One example shows libraries of others; where they are missing it is left out.
profiles_here := $(shell $(CC) $(CPPFLAGS) -include cjson/cJSON.h -include msgpack.h -E -x c \
                   /dev/null >/dev/null 2>&1 && echo yes)
EXAMPLE_C := $(filter-out $(if $(profiles_here),,examples/profiles.c), \
               $(sort $(wildcard examples/*.c)))
BENCH_C := $(sort $(wildcard test/bench/*.c))
DEMO_C := $(sort $(wildcard test/demo/*.c))
TORTURE_C := $(sort $(wildcard test/torture/*.c))
FUZZ_C := $(filter-out $(addprefix test/fuzz/,test_% entry.c main.c seed.c), \
            $(sort $(wildcard test/fuzz/*.c)))
SUPPORT_C := $(sort $(wildcard test/support/*.c))
MAN := $(sort $(wildcard docs/*.1))

# Tests are test/KIND/test_NAME.c, each a program, and test/KIND/test_NAME.sh.
tests_like = $(wildcard $(addprefix test/,$(addsuffix .$(1),$(if $(TESTS),$(TESTS),*/test_*))))
tests_named = $(sort $(foreach t,$(call tests_like,$(1)),$(if $(filter test_%,$(notdir $(t))),$(t))))
TEST_C := $(call tests_named,c)
TEST_SH := $(call tests_named,sh)
# Which of them say something new in a variant: packaging is the plain build's affair, the stress
# build is not meant for users, ThreadSanitizer is for threads.
ifneq ($(call variant_has,asan tsan stress),)
TEST_SH := $(filter-out test/install/%,$(TEST_SH))
endif
ifneq ($(call variant_has,stress),)
TEST_SH :=
endif
# Single steps through instructions of a sanitizer show nothing of those that users run.
ifneq ($(SANITIZE),)
TEST_C := $(filter-out test/unit/test_step.c,$(TEST_C))
endif
# Counting is slow: not every byte is flipped, only some (test_damage).
ifneq ($(call variant_has,coverage),)
TEST_C := $(filter-out test/corrupt/test_flip.c,$(TEST_C))
TEST_SH := $(filter-out test/cli/test_readme.sh,$(filter test/cli/%,$(TEST_SH)))
endif
ifneq ($(call variant_has,tsan),)
TEST_SH := $(filter test/examples/%,$(TEST_SH))
TEST_C := $(if $(TEST_C),$(shell grep -l pthread_create $(TEST_C)))
endif

STATIC_O := $(ENGINE_C:%.c=$(B)/obj/%.o)
SHARED_O := $(ENGINE_C:%.c=$(B)/pic/%.o)
CLI_O := $(CLI_C:%.c=$(B)/obj/%.o)
SUPPORT_O := $(SUPPORT_C:%.c=$(B)/obj/%.o)
BENCH_O := $(BENCH_C:%.c=$(B)/obj/%.o)
DEMO_O := $(DEMO_C:%.c=$(B)/obj/%.o)
TORTURE_O := $(TORTURE_C:%.c=$(B)/obj/%.o)
# One of the targets needs the command's parsers, and brings what these ask of the command.
PARSER_O := $(patsubst %,$(B)/obj/src/cli/%.o,dump dump_read escape lines pipe text units)
FUZZ_O := $(FUZZ_C:%.c=$(B)/obj/%.o)
TEST_O := $(TEST_C:%.c=$(B)/obj/%.o)
EXAMPLE_O := $(EXAMPLE_C:%.c=$(B)/obj/%.o)

LIBRARY_REAL := libkv.so.$(VERSION)
LIBRARY_SONAME := libkv.so.$(SOVERSION)
STATIC := $(B)/libkv.a
SHARED := $(B)/$(LIBRARY_REAL)
LIBRARIES := $(STATIC) $(SHARED) $(B)/$(LIBRARY_SONAME) $(B)/libkv.so
EXAMPLES := $(EXAMPLE_C:%.c=$(B)/%)
TEST_PROGRAMS := $(TEST_C:%.c=$(B)/%)

# ---- how a line of output looks ----

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(patsubst build/%,%,$(2))')

# ---- building ----

.PHONY: all
all: $(LIBRARIES) $(B)/kv $(B)/kv.pc $(EXAMPLES) ## build libraries, command and examples (the default)
	@:

# Objects depend on the Makefile, since it holds their flags.
define compile
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(1) $(CPPFLAGS) $(CFLAGS) $(2) -MMD -MP -c -o $@ $<
endef

$(B)/pic/src/%.o: src/%.c Makefile
	$(call compile,$(SHARED_CFLAGS) $(ENGINE_CPPFLAGS))
$(B)/obj/src/%.o: src/%.c Makefile
	$(call compile,$(ENGINE_COVERAGE) $(ENGINE_CPPFLAGS))
$(B)/obj/src/cli/%.o: src/cli/%.c Makefile
	$(call compile,$(BASE_CPPFLAGS))
$(B)/obj/examples/%.o: examples/%.c Makefile
	$(call compile,$(BASE_CPPFLAGS))
# Berkeley DB has a header that is called like one of the engine's.
$(B)/obj/test/bench/%.o: test/bench/%.c Makefile
	$(call compile,$(BASE_CPPFLAGS))
$(B)/obj/test/%.o: test/%.c Makefile
	$(call compile,$(TEST_CFLAGS) $(TEST_CPPFLAGS),$(if $(filter $(TEST_SLOW),$<),,$(TEST_FAST)))

define archive
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $(filter %.o,$^)
endef

$(STATIC): $(STATIC_O)
	$(archive)
$(B)/obj/test/support.a: $(SUPPORT_O)
	@mkdir -p $(@D)
	$(archive)

# $(1): flags, $(2): libraries of our own beyond those of the engine
define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_LDFLAGS) $(1) $(CFLAGS) $(LDFLAGS) -o $@ \
	    $(filter %.o,$^) $(filter %.a,$^) $(2) $(BASE_LDLIBS) $(LDLIBS)
endef

$(SHARED): $(SHARED_O) src/kv.map
	$(call link,$(SHARED_LDFLAGS))
$(B)/$(LIBRARY_SONAME): $(SHARED)
	$(Q)ln -sf $(LIBRARY_REAL) $@
$(B)/libkv.so: $(B)/$(LIBRARY_SONAME)
	$(Q)ln -sf $(LIBRARY_SONAME) $@
$(B)/kv: $(CLI_O) $(STATIC)
	$(call link)
$(B)/examples/profiles: $(B)/obj/examples/profiles.o $(STATIC)
	$(call link,,-lcjson -lmsgpackc)
$(B)/examples/%: $(B)/obj/examples/%.o $(STATIC)
	$(call link)
$(B)/test/%: $(B)/obj/test/%.o $(B)/obj/test/support.a $(STATIC)
	$(call link,,-lcmocka)
# Threads that wait for each other give up the scheduler's baton (test/support/baton.h).
BATON_WRAP := $(foreach f,mutex_lock cond_wait cond_timedwait cond_signal,-Wl,--wrap=pthread_$(f))
$(B)/test/schedule/%: private LDFLAGS += $(BATON_WRAP)
# The test plays the kernel.
INTERRUPTED_WRAP := $(foreach f,open64 close pread64 pwrite64 pwritev64 write poll fdatasync ftruncate64 \
                      fsync fcntl64 fstatfs64 getrandom fopen64 statx fstatat64 nanosleep syscall,-Wl,--wrap=$(f))
$(B)/test/unit/test_os_interrupted: private LDFLAGS += $(INTERRUPTED_WRAP)
# The engine asks it which of its bugs is chosen.
$(TEST_PROGRAMS): $(if $(call variant_has,mutants),$(B)/obj/test/support/mutant.o)
$(TEST_PROGRAMS): $(if $(COVERAGE),$(B)/obj/test/coverage/exit.o)
$(B)/test/fuzz/test_replay: $(FUZZ_O) $(PARSER_O)
$(B)/obj/test/fuzz/entry-%.o: test/fuzz/entry.c Makefile
	$(call compile,$(TEST_CFLAGS) $(TEST_CPPFLAGS) -DFUZZ_TARGET=fuzz_$*)
FUZZ_PARTS := $(FUZZ_O) $(PARSER_O) $(B)/obj/test/support.a $(STATIC)
$(B)/fuzz-seed: $(B)/obj/test/fuzz/seed.o $(FUZZ_PARTS)
	$(call link)
# libFuzzer has a main function. Without it the program runs files, or serves AFL++.
$(B)/fuzz-%: $(B)/obj/test/fuzz/entry-%.o $(if $(call variant_has,fuzz),,$(B)/obj/test/fuzz/main.o) \
    $(FUZZ_PARTS)
	$(call link,$(if $(call variant_has,fuzz),-fsanitize=fuzzer))
fuse_flags = $(shell pkg-config --cflags --libs fuse3 2>/dev/null)
$(B)/device-disk: test/device/disk.c Makefile
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(CFLAGS) -o $@ $< $(fuse_flags)
$(B)/device-probe: $(B)/obj/test/device/probe.o $(STATIC)
	$(call link)
# The benchmark has those engines whose libraries are here (test/bench/engines.c asks the same).
library_here = $(shell $(CC) $(CPPFLAGS) -include $(1) -E -x c /dev/null >/dev/null 2>&1 && echo $(2))
bench_libraries = -lm -llmdb $(call library_here,rocksdb/c.h,-lrocksdb) \
    $(call library_here,leveldb/c.h,-lleveldb) $(call library_here,sqlite3.h,-lsqlite3) \
    $(call library_here,db.h,-ldb) $(call library_here,tkrzw_langc.h,-ltkrzw) \
    $(call library_here,wiredtiger.h,-lwiredtiger)
$(B)/bench: $(BENCH_O) $(STATIC)
	$(call link,,$(bench_libraries))
$(B)/count: $(B)/obj/test/instructions/count.o $(STATIC)
	$(call link)
$(B)/demo: $(DEMO_O) $(STATIC)
	$(call link)
# Without LMDB the torture driver has one engine less.
lmdb_here = $(call library_here,lmdb.h,-llmdb)
$(B)/torture: $(TORTURE_O) $(STATIC)
	$(call link,,$(lmdb_here))
HOSTILE_O := $(patsubst %,$(B)/obj/test/corrupt/%.o,hostile lmdb_victim trial)
$(B)/hostile: $(HOSTILE_O) $(B)/obj/test/support.a $(STATIC)
	$(call link,,$(lmdb_here))

# Directories below the prefix are written relative to it, so that an installed tree can be moved.
below_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
pkg_config = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(call below_prefix,$(LIBDIR))|' \
    -e 's|@INCLUDEDIR@|$(call below_prefix,$(INCLUDEDIR))|' -e 's|@VERSION@|$(VERSION)|' kv.pc.in

$(B)/kv.pc: kv.pc.in include/kv.h Makefile
	@mkdir -p $(@D)
	$(Q)$(pkg_config) >$@

-include $(patsubst %.o,%.d,$(STATIC_O) $(SHARED_O) $(CLI_O) $(SUPPORT_O) $(BENCH_O) $(DEMO_O) \
    $(TORTURE_O) $(HOSTILE_O) $(FUZZ_O) $(TEST_O) $(EXAMPLE_O))

# ---- checking ----

# Steps that first install what is missing build in a make of their own, afterwards, on all
# processors unless the caller said otherwise. What looks at the machine belongs into that make, too:
# a recipe is expanded as a whole before its first line runs.
build = +@$(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))
in_build = BUILD='$(CURDIR)/$(B)' SRC='$(CURDIR)' CC='$(CC)' CXX='$(CXX)' VARIANT='$(VARIANT)'

# Scripts run the command and the examples, that of the installation takes the libraries as well.
SCRIPTS_NEED := $(if $(TEST_SH),torture-program \
                  $(if $(filter test/install/%,$(TEST_SH)),all,$(B)/kv example-programs))

# The plain run includes the test programs of the stress build.
WITH_STRESS := $(if $(VARIANT)$(if $(TEST_C),,none),,stress)

.PHONY: deps demo demo-program test test-programs stress-programs example-programs torture-program
.PHONY: hostile flip fuzz fuzz-here fuzz-run fuzz-skip fuzz-keep fuzz-keep-run fuzz-seeds afl afl-skip afl-programs
.PHONY: bench bench-all device device-build instructions models crash fault-sites simulate mutants mutants-run asan tsan stress coverage coverage-run lint format
deps: ## install what building, testing and the demo need
	@$(in_build) .ci/deps build test demo

demo: ## the database at work on real data: start here
	@$(in_build) .ci/deps build demo
	$(build) all demo-program
	@$(in_build) test/demo/demo.sh

demo-program: $(B)/demo
	@:

test: ## build and run all tests (TESTS=... for some of them)
	@$(in_build) .ci/deps build test
	$(build) test-programs $(SCRIPTS_NEED) $(WITH_STRESS:%=%-programs)
	@$(in_build) test/run $(TEST_SH) $(TEST_PROGRAMS) \
	    $(if $(WITH_STRESS),$(TEST_C:%.c=build/stress/%))

test-programs: $(TEST_PROGRAMS)
	@:

example-programs: $(EXAMPLES)
	@:

torture-program: $(B)/torture
	@:

stress-programs:
	+@$(MAKE) VARIANT=stress test-programs

mutants: ## seeded bugs, each found by some test within a minute (MUTANTS=--quick)
	@$(in_build) .ci/deps build test
	$(build) VARIANT=mutants TESTS="$$(test/mutants/run $(MUTANTS) --programs)" mutants-run

mutants-run: test-programs
	@$(in_build) test/mutants/run $(MUTANTS)

crash: ## search crash states for as long as CRASH_STATES=... takes
	@$(in_build) .ci/deps build test
	$(build) TESTS='crash/test_*' test-programs
	@for program in $(filter $(B)/test/crash/%,$(TEST_PROGRAMS)); do \
	    CRASH_STATES=$${CRASH_STATES:-10000000} $$program || exit 1; done

# Without optimisation, so that each call of the table is a place of its own.
fault-sites: ## is every system call and allocation of the engine failed by some test?
	@$(in_build) .ci/deps build test
	$(build) VARIANT=coverage TESTS='$(FAULT_TESTS)' test-programs
	@$(in_build) test/fault/sites $(patsubst %,build/coverage/test/%,$(FAULT_TESTS))
FAULT_TESTS := $(addprefix fault/test_fault_,calls runs whole salvage) \
               $(addprefix unit/test_,cursor_cases group guest inspect merge no_memory space)

simulate: ## search interleavings of processes, and kills, for SEEDS=... seeds (FIRST_SEED=1)
	@$(in_build) .ci/deps build test
	$(build) TESTS='schedule/test_*' test-programs
	@for program in $(filter $(B)/test/schedule/%,$(TEST_PROGRAMS)); do \
	    SEEDS='$(or $(SEEDS),10000)' $$program || exit 1; done

# Which targets: test/fuzz/NAME.c.
FUZZ ?= $(filter-out $(FUZZ_BUT),backup file node import ops side tuple)
fuzz_main := int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }
fuzz_here = $(shell echo '$(fuzz_main)' | \
    clang -fsanitize=fuzzer,address -x c -o /dev/null - >/dev/null 2>&1 && echo yes)

fuzz: ## search inputs that break something (FUZZ=file FUZZ_SECONDS=60)
	@$(in_build) .ci/deps build sanitize
	$(build) fuzz-here

fuzz-here:
	$(build) $(if $(fuzz_here),VARIANT=clang-asan-fuzz fuzz-run,fuzz-skip)

fuzz-skip:
	@echo 'skip  fuzz (clang without libFuzzer)'
	@echo '0 passed, 0 failed'

fuzz-run: $(FUZZ:%=$(B)/fuzz-%)
	@$(in_build) test/fuzz/run $(FUZZ)

fuzz-keep: ## keep the inputs that the search found worth trying (FUZZ=file)
	$(build) VARIANT=clang-asan-fuzz fuzz-keep-run

fuzz-keep-run: $(FUZZ:%=$(B)/fuzz-%)
	@$(in_build) test/fuzz/keep $(FUZZ)

fuzz-seeds: $(B)/fuzz-seed
	@$(B)/fuzz-seed test/fuzz/seeds

afl: ## the same programs for AFL++
	$(build) $(if $(shell command -v afl-clang-fast),VARIANT=asan-afl afl-programs,afl-skip)

afl-skip:
	@echo 'skip  afl (AFL++ is not installed)'

afl-programs: $(FUZZ:%=$(B)/fuzz-%)
	@for target in $(FUZZ); do echo "afl-fuzz -i test/fuzz/seeds/$$target" \
	    "-o $(B)/afl-$$target -- $(B)/fuzz-$$target"; done

hostile: ## damaged headers behind right checksums, under ASan; LMDB beside it (HOSTILE_FILES=100000)
	@$(in_build) .ci/deps build test
	$(build) VARIANT=asan hostile-kv
	$(build) hostile-lmdb

hostile-%: $(B)/hostile
	@$(B)/hostile $* $(HOSTILE_FILES)

flip: ## each single bit of a file flipped, and read; LMDB beside it, one bit in FLIP_EVERY=1
	@$(in_build) .ci/deps build test
	$(build) TESTS='corrupt/test_flip' test-programs $(B)/hostile
	@KV_FLIP=bits $(B)/test/corrupt/test_flip
	@$(B)/hostile lmdb-bits $(FLIP_EVERY)

asan: ## all tests under AddressSanitizer and UBSan
	+@$(MAKE) VARIANT=asan test

tsan: ## the tests with threads under ThreadSanitizer
	+@$(MAKE) VARIANT=tsan test

stress: ## the test programs with tiny pages and limits
	+@$(MAKE) VARIANT=stress test

# Branches of the plain build and of tiny pages and limits together: it is the same source.
coverage: ## which lines and branches of the engine the tests reach (with gcc)
	@$(in_build) .ci/deps build test
	$(build) VARIANT=coverage coverage-run

coverage-run: test-programs $(B)/kv
	+@$(MAKE) VARIANT=coverage-stress B=$(B)-stress test-programs
	@$(in_build) test/coverage/run $(B)-stress $(TEST_SH) $(TEST_PROGRAMS) \
	    $(TEST_C:%.c=$(B)-stress/%)

device: ## failing flushes and power cuts under ext4 and xfs, on a disk of our own (as root; CUTS=60)
	@$(in_build) .ci/deps build device
	$(build) device-build
	@$(in_build) test/device/run ext4 xfs

device-build:
	$(build) $(B)/kv $(B)/device-probe $(if $(fuse_flags),$(B)/device-disk)

bench: ## kv beside LMDB: speed and size (BENCH_ARGS=... for the program)
	@$(in_build) .ci/deps build bench
	$(build) $(B)/bench
	@$(in_build) $(B)/bench $(BENCH_ARGS)

SUITE ?= $(B)/bench.jsonl
bench-all: ## kv beside all engines that are here, for docs/performance.md (N=1000000 ROUNDS=5)
	@$(in_build) .ci/deps build bench
	$(build) $(B)/bench $(B)/kv
	@$(in_build) test/bench/suite $(SUITE)

instructions: ## instructions of the main operations, beside those kept (INSTRUCTIONS_ARGS=--write)
	@$(in_build) .ci/deps build instructions
	$(build) $(B)/count
	@$(in_build) CFLAGS='$(strip $(CFLAGS))' test/instructions/run $(B)/count $(INSTRUCTIONS_ARGS)

models: ## check the models of sharing with Spin (MODEL_ARGS=--ci for smaller bounds)
	@$(in_build) .ci/deps models
	@$(in_build) test/models/run $(MODEL_ARGS)

lint: $(LIBRARIES) ## layers, names, headers, style, static analysis
	@$(in_build) WARNINGS='$(WARNINGS)' test/lint/run

FORMATTED := $(wildcard include/*.h src/*.[ch] src/cli/*.[ch] examples/*.c test/*/*.[ch] test/*/*.cc)
format: ## format the sources in place
	clang-format -i $(FORMATTED)

# ---- installing ----

.PHONY: install uninstall clean help
install: $(STATIC) $(SHARED) $(B)/kv ## install below PREFIX (/usr/local), staged into DESTDIR
	$(Q)$(INSTALL) -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(INCLUDEDIR)' \
	    '$(DESTDIR)$(PKGCONFIGDIR)' $(if $(MAN),'$(DESTDIR)$(MANDIR)/man1')
	$(Q)$(INSTALL) -m 755 $(B)/kv '$(DESTDIR)$(BINDIR)/kv'
	$(Q)$(INSTALL) -m 644 include/kv.h '$(DESTDIR)$(INCLUDEDIR)/kv.h'
	$(Q)$(INSTALL) -m 644 $(STATIC) '$(DESTDIR)$(LIBDIR)/libkv.a'
	$(Q)$(INSTALL) -m 755 $(SHARED) '$(DESTDIR)$(LIBDIR)/$(LIBRARY_REAL)'
	$(Q)ln -sf $(LIBRARY_REAL) '$(DESTDIR)$(LIBDIR)/$(LIBRARY_SONAME)'
	$(Q)ln -sf $(LIBRARY_SONAME) '$(DESTDIR)$(LIBDIR)/libkv.so'
	$(Q)$(pkg_config) >'$(DESTDIR)$(PKGCONFIGDIR)/kv.pc'
	$(Q)chmod 644 '$(DESTDIR)$(PKGCONFIGDIR)/kv.pc'
	$(if $(MAN),$(Q)$(INSTALL) -m 644 $(MAN) '$(DESTDIR)$(MANDIR)/man1')
	$(if $(DESTDIR),,@ldconfig 2>/dev/null || true)

uninstall: ## remove what install put there
	$(Q)rm -f '$(DESTDIR)$(BINDIR)/kv' '$(DESTDIR)$(INCLUDEDIR)/kv.h' '$(DESTDIR)$(LIBDIR)/libkv.a' \
	    '$(DESTDIR)$(LIBDIR)/$(LIBRARY_REAL)' '$(DESTDIR)$(LIBDIR)/$(LIBRARY_SONAME)' \
	    '$(DESTDIR)$(LIBDIR)/libkv.so' '$(DESTDIR)$(PKGCONFIGDIR)/kv.pc' \
	    $(patsubst docs/%,'$(DESTDIR)$(MANDIR)/man1/%',$(MAN))

clean: ## remove build/
	$(Q)rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
