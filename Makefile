# The front door. `make demo` and `make test` do all their own set-up on a fresh Debian machine.
BUILD ?= build
MESON_FLAGS ?=

.PHONY: help setup build demo test test-san bench simulate cascade-example fuzz lint clean

help:
	@echo "make demo      install what is needed, build, judge three policies with a small model"
	@echo "make build     leave the program at $(BUILD)/safeguard"
	@echo "make test      install what is needed, build, run every test"
	@echo "make test-san  unit tests under clang's address, undefined-behaviour and thread sanitizers"
	@echo "make fuzz      every fuzz target for FUZZ_SECONDS (default 600) each"
	@echo "make bench     speed on a random-weight model of the 20b shape (12 GB of disk in BENCH_FOLDER; LLAMA_BENCH)"
	@echo "make simulate  do certificates keep their promises: 2,000 draws of each case (minutes)"
	@echo "make cascade-example  docs/cascade.md's example anew (needs the labelled data: SG_SHARED, default ../shared)"
	@echo "make lint      include order, formatting"

setup:
	@tools/setup.sh build

# Configured anew when packages were installed since: what is there decides which tests are built.
$(BUILD)/build.ninja: $(wildcard .installed) | setup
	@meson setup $(MESON_FLAGS) $(if $(wildcard $(BUILD)/meson-private/coredata.dat),--wipe) $(BUILD)

build: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD)
	@ln -sf src/cli/safeguard $(BUILD)/safeguard

demo:
	@tools/setup.sh demo
	@$(MAKE) --no-print-directory build
	@tools/demo.sh $(BUILD)/safeguard

test:
	@tools/setup.sh test
	@$(MAKE) --no-print-directory build
	@tools/run_tests.py $(BUILD)

test-san:
	@tools/setup.sh test sanitizers
	@tools/sanitize.sh

simulate: build
	@ninja -C $(BUILD) src/certify/simulate_certify
	@$(BUILD)/src/certify/simulate_certify $(or $(DRAWS),2000)

cascade-example:
	@tools/setup.sh demo
	@$(MAKE) --no-print-directory build
	@tools/cascade_example.py --safeguard $(BUILD)/safeguard --data $(or $(SG_SHARED),../shared)/data --write

fuzz:
	@tools/setup.sh test sanitizers
	@tools/fuzz.sh

bench: build
	@bench/run.sh $(BUILD)/safeguard

lint:
	@tools/setup.sh lint
	@tools/check_includes.py
	@clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h' | grep -v _tables.h)

clean:
	rm -rf $(BUILD) build-asan build-tsan build-fuzz
