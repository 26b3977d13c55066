# SPDX-License-Identifier: GPL-2.0
# The one entry. `make help` lists what it can do. Everything that is built or measured goes to build/.
SHELL := /bin/bash
BUILD := build
JOBS  := $(shell nproc)
PYTHON := /usr/bin/python3
PYTEST := $(PYTHON) -m pytest -p no:cacheprovider

.PHONY: all
all: userland module ## build everything: tools, tests and the kernel module

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+)[^:]*:.*## (.*)/  make \1\t\2/' | expand -t 20

$(BUILD)/.deps: scripts/install-deps.sh
	scripts/install-deps.sh
	@mkdir -p $(BUILD) && touch $@

$(BUILD)/cmake/Makefile: CMakeLists.txt $(BUILD)/.deps
	cmake -S . -B $(BUILD)/cmake >/dev/null

.PHONY: userland
userland: $(BUILD)/cmake/Makefile ## build everything that runs in user space
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory -j$(JOBS)

# The headers of the running kernel, or else of the newest kernel that has some.
KDIR = $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) $(lastword $(shell ls -dv /lib/modules/*/build 2>/dev/null)))
KSRC := $(BUILD)/kmod-src
KOUT := $(BUILD)/kmod
# Or one of those in vm/kernels.py: make module KERNEL=6.12
ifdef KERNEL
KDIR = $(shell vm/pavvm headers $(KERNEL))
KSRC := $(BUILD)/kmod-$(KERNEL)-src
KOUT := $(BUILD)/kmod-$(KERNEL)
endif
.PHONY: module
module: $(BUILD)/.deps ## build the kernel module: build/kmod/pavraid.ko
	@mkdir -p $(KSRC) $(KOUT)
	@scripts/mirror.sh kmod raid6 $(KSRC)
	+$(MAKE) -C $(KDIR) --no-print-directory -j$(JOBS) M=$(abspath $(KSRC))/kmod $(KFLAGS) modules
	@cmp -s $(KSRC)/kmod/pavraid.ko $(KOUT)/pavraid.ko || cp $(KSRC)/kmod/pavraid.ko $(KOUT)/

# --- the main job, and tests ---

.PHONY: demo test check test-long
demo: all ## the whole story in two guests, with figures
	$(PYTHON) tests/demo/demo.py

test: $(BUILD)/.deps ## all tests that fit into 25 minutes; tests/README.md says what there is
	$(PYTHON) tests/run.py test

check: $(BUILD)/.deps ## the quick loop: build, unit tests, 100 simulator seeds; no guest
	$(PYTHON) tests/run.py check

test-long: $(BUILD)/.deps ## everything, hours included
	$(PYTHON) tests/run.py long

SEEDS ?= 2000
MINUTES ?= 30
.PHONY: sim exhaustive mutants
sim: $(BUILD)/cmake/Makefile ## run the engine in the simulator: make sim SEEDS=N, on all cores
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory -j$(JOBS) pav_sim
	$(BUILD)/cmake/tests/sim/pav_sim --seeds $(SEEDS)

exhaustive: $(BUILD)/cmake/Makefile ## every moment of a power cut × every subset of what is not yet durable: make exhaustive MINUTES=N
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory -j$(JOBS) pav_sim
	$(BUILD)/cmake/tests/sim/pav_sim --exhaustive --minutes $(MINUTES)

mutants: $(BUILD)/cmake/Makefile ## put bugs into the engine, one by one: the simulator must find each
	$(PYTHON) tests/sim/mutants.py

SANITIZE := $(BUILD)/sanitize
SANITIZE_SEEDS ?= 300
.PHONY: sanitize
sanitize: $(BUILD)/.deps ## unit tests and simulator under AddressSanitizer and UBSan: make sanitize SANITIZE_SEEDS=N
	cmake -S . -B $(SANITIZE) -DPAV_SANITIZE=ON >/dev/null
	+$(MAKE) -C $(SANITIZE) --no-print-directory -j$(JOBS)
	ctest --test-dir $(SANITIZE) -L unit -j$(JOBS) --timeout 1200 --no-tests=error --output-on-failure
	$(SANITIZE)/tests/sim/pav_sim --seeds $(SANITIZE_SEEDS) --watchdog 600

FUZZ_SECONDS ?= 600
.PHONY: fuzz
fuzz: $(BUILD)/cmake/Makefile ## fuzz the on-disk format's validators: make fuzz FUZZ_SECONDS=N
	scripts/install-deps.sh fuzz
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory pav_raid6
	@mkdir -p $(BUILD)/fuzz/corpus
	clang-14 -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -DPAV_SIM -Wno-c2x-extensions -Itests/sim -Ikmod \
		tests/fuzz/format_fuzz.c kmod/format/format.c $(BUILD)/cmake/raid6/libpav_raid6.a -o $(BUILD)/fuzz/format_fuzz
	cd $(BUILD)/fuzz && ./format_fuzz -max_len=4097 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 corpus

# --- guests (vm/, tests/vm/, tests/bench/) ---

.PHONY: vm test-vm
vm: $(BUILD)/.deps ## boot a target and an initiator guest; a shell on each
	vm/pavvm up

test-vm: all ## the tests in guests, without the long ones
	$(PYTEST) tests/vm -m 'not long' --durations=10

.PHONY: guest-tools matrix test-debug
guest-tools: $(BUILD)/cmake/Makefile
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory nlpipe ledger

matrix: guest-tools ## the module on each kernel it is for, 6.1 and 6.12: a build without warnings, a short test in a guest
	$(PYTHON) tests/kernels.py matrix

test-debug: guest-tools ## the module's tests, and failing memory and I/O, under a kernel with every checker; it is built first, once
	$(PYTHON) tests/kernels.py debug

.PHONY: bench bench-raid6 bench-vm bench-scale
bench: bench-raid6 bench-vm ## all measurements: tables, and build/bench/*.json

bench-raid6: $(BUILD)/cmake/Makefile ## parity arithmetic beside libisal, GB/s
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory -j$(JOBS) bench_raid6
	@mkdir -p $(BUILD)/bench
	$(BUILD)/cmake/raid6/bench/bench_raid6 $(BUILD)/bench/raid6.json

bench-vm: all ## raw drive, md RAID-6 and our volume, counted in instructions
	$(PYTHON) tests/bench/md_bench.py

bench-scale: all ## random I/O with 1, 2 and 4 processors, in real time; no part of bench
	$(PYTHON) tests/bench/scale_bench.py

# --- quality ---

.PHONY: lint lint-kernel lint-user
lint: lint-kernel lint-user ## every static check; any finding is an error

lint-kernel: $(BUILD)/.deps ## checkpatch, sparse and extra warnings on the module
	scripts/lint-kernel.sh $(KDIR) $(BUILD)/lint-kernel

lint-user: userland ## cppcheck and clang-tidy on all C++; cppcheck on the engine
	scripts/install-deps.sh lint
	scripts/lint-user.sh $(BUILD)/cmake $(JOBS)

# --- installation ---

export DESTDIR PREFIX KVER
.PHONY: install
install: all ## into DESTDIR and PREFIX (/usr/local): tools, manuals, module, udev rule, service
	scripts/install.sh $(BUILD)

.PHONY: clean
clean: ## remove everything that was built
	rm -rf $(BUILD)
