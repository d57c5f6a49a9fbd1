# Two commands matter: `make demo` and `make test`. Both set up what they need.
VENV ?= .venv
BIN  := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format lock bench coverage simulate chaos soak measure clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## real clicks and a simulated shop on a live wall (ARGS="--help" for more)
	@deploy/bootstrap.sh runtime
	@$(BIN)/lynceus demo $(ARGS)

test: ## the whole suite, with a real Kafka and a real Redis where the machine has them
	@deploy/bootstrap.sh dev
	@$(BIN)/python -m pytest -n 3 --dist loadfile --max-worker-restart 0 $(ARGS)

lint: ## ruff, mypy --strict, codespell, yamllint, compose and Dockerfile checks
	@deploy/bootstrap.sh dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/yamllint --strict docker-compose.yml deploy
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(BIN)/hadolint deploy/Dockerfile

format: ## ruff format, and the fixes that are safe
	@deploy/bootstrap.sh dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: ## events per second of the worker beside a plain Faust app, in one run
	@deploy/bootstrap.sh dev
	@$(BIN)/python -m benchmarks.throughput $(ARGS)

coverage: ## how often each interval covers the truth, by simulation (minutes; ARGS="--only nps")
	@deploy/bootstrap.sh dev
	@$(BIN)/python -m benchmarks.coverage $(ARGS)

simulate: ## false alarms and delays of verdicts, and what peeking does, by simulation (minutes)
	@deploy/bootstrap.sh dev
	@$(BIN)/python -m benchmarks.simulate $(ARGS)

chaos: ## faults all the time, then every cell recounted (MINUTES=10 SEED=1)
	@deploy/bootstrap.sh dev
	@$(BIN)/python -m tests.faults.chaos --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1) $(ARGS)

soak: ## a steady rate for long: memory of worker and Redis, minute by minute (HOURS=1)
	@deploy/bootstrap.sh dev
	@$(BIN)/python -m tests.faults.chaos --soak-hours $(or $(HOURS),1) --seed $(or $(SEED),1) $(ARGS)

measure: ## recovery and overload in seconds and MB (ARGS="takeover", redis-back, spike, mutated, cardinality, backlog)
	@deploy/bootstrap.sh dev
	@$(BIN)/python -m tests.faults.measure $(ARGS)

lock: ## resolve the locks anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	  --custom-compile-command "make lock" --extra embedded pyproject.toml deploy/locks/build.in -o deploy/locks/runtime.txt $(ARGS)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	  --custom-compile-command "make lock" --extra dev pyproject.toml deploy/locks/build.in -o deploy/locks/dev.txt $(ARGS)

clean: ## remove the environment and every cache of this checkout
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
