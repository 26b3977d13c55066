# SPDX-License-Identifier: GPL-2.0
# The one entry. `make help` lists what it can do.
SHELL := /bin/bash
BUILD := build
JOBS  := $(shell nproc)

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(BUILD)/.deps: scripts/install-deps.sh
	scripts/install-deps.sh
	@mkdir -p $(BUILD) && touch $@

$(BUILD)/cmake/Makefile: CMakeLists.txt $(BUILD)/.deps
	cmake -S . -B $(BUILD)/cmake >/dev/null

.PHONY: userland
userland: $(BUILD)/cmake/Makefile ## build everything that runs in user space
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory -j$(JOBS)

# The newest kernel whose headers are installed, if those of the running one are not.
KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) $(lastword $(sort $(wildcard /lib/modules/*/build))))
KSRC := $(BUILD)/kmod-src
.PHONY: module
module: $(BUILD)/.deps ## build the kernel module: build/kmod/pavraid.ko
	@mkdir -p $(KSRC) $(BUILD)/kmod
	@scripts/mirror.sh kmod raid6 $(KSRC)
	+$(MAKE) -C $(KDIR) --no-print-directory M=$(abspath $(KSRC))/kmod $(KFLAGS) modules
	@cmp -s $(KSRC)/kmod/pavraid.ko $(BUILD)/kmod/pavraid.ko || cp $(KSRC)/kmod/pavraid.ko $(BUILD)/kmod/

# --- guests (vm/, tests/vm/, tests/bench/) ---
PYTEST := /usr/bin/python3 -m pytest -p no:cacheprovider

.PHONY: vm test-vm test-long bench-vm
vm: $(BUILD)/.deps ## boot a target and an initiator guest; a shell on each
	vm/pavvm up

test-vm: $(BUILD)/.deps ## the quick tests in guests
	$(PYTEST) tests/vm -m smoke --durations=10

test-long: $(BUILD)/.deps ## all tests in guests
	$(PYTEST) tests/vm --durations=20

bench-vm: $(BUILD)/.deps ## raw drive, md RAID-6 and our volume, counted in instructions
	/usr/bin/python3 tests/bench/md_bench.py
# --- end of guests ---

.PHONY: lint-kernel
lint-kernel: $(BUILD)/.deps ## checkpatch, sparse and extra warnings on the module
	scripts/lint-kernel.sh $(KDIR) $(BUILD)/lint-kernel

.PHONY: clean
clean: ## remove everything that was built
	rm -rf $(BUILD)

SEEDS ?= 2000
.PHONY: sim
sim: $(BUILD)/cmake/Makefile ## run the engine in the simulator: make sim SEEDS=N, on all cores
	+$(MAKE) -C $(BUILD)/cmake --no-print-directory -j$(JOBS) pav_sim
	$(BUILD)/cmake/tests/sim/pav_sim --seeds $(SEEDS)

.PHONY: mutants
mutants: $(BUILD)/cmake/Makefile ## put bugs into the engine, one by one: the simulator must find each
	/usr/bin/python3 tests/sim/mutants.py
