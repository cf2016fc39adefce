# What can be done with this project; `make help` lists it. Work longer than a line is in scripts/.
VERSION := 0.1.0

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PREPARE := scripts/prepare.sh

# `make build CC=gcc` compiles the module with the local compiler; without it, scripts/zig.sh targets glibc 2.17.
ifneq ($(filter command line environment,$(origin CC)),)
MODULE_CC := $(CC)
endif
export MODULE_CC VERSION

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the module and the programs, into build/
	$(PREPARE) --for build -- scripts/build.sh

.PHONY: test
test: ## everything: build, lint, unit and integration tests; ends with the count
	$(PREPARE) --for test -- scripts/test.sh lint unit integration

.PHONY: check
check: ## before a commit: lint, unit tests, and the images of one release
	$(PREPARE) --for check -- scripts/test.sh lint unit image

.PHONY: unit
unit: ## Go and C tests that need no container
	$(PREPARE) --for unit -- scripts/test.sh unit

.PHONY: integration
integration: ## real tools in containers, against the mock service over TLS
	$(PREPARE) --for integration -- scripts/test.sh integration

.PHONY: lint
lint: ## formatting, static analysis, shell scripts, Dockerfiles, workflows
	$(PREPARE) --for lint -- scripts/lint.sh

.PHONY: demo
demo: ## sign a file with openssl through the mock service, verify it outside
	$(PREPARE) --for demo -- scripts/demo.sh

.PHONY: images
images: ## every image of images/matrix.json that can be built here
	$(PREPARE) --for images -- scripts/images.sh

.PHONY: bench
bench: ## the module beside SoftHSM2 and openssl, both sides in one run
	$(PREPARE) --for bench -- bash -c 'scripts/build.sh && go run ./scripts/bench'

# `make soak SOAK="--duration 60s --clients 16"`
.PHONY: soak
soak: ## an hour of many clients of one agent: nothing wrong, lost or growing
	$(PREPARE) --for bench -- bash -c 'scripts/build.sh && go run ./scripts/soak $(SOAK)'

.PHONY: dist
dist: ## tarballs, .deb and .rpm packages for amd64 and arm64, into build/dist
	$(PREPARE) --for build -- scripts/dist.sh

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each (default 60s)
	$(PREPARE) --for fuzz -- scripts/fuzz.sh

.PHONY: clean
clean: ## remove build/ (downloads stay in ~/.cache/signkit)
	rm -rf build
