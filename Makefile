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

.PHONY: clean
clean: ## remove everything that was built
	rm -rf $(BUILD)
