# `make demo` and `make test` do everything on a machine with python3 and make. ARGS passes options on.
.DEFAULT_GOAL := help
.PHONY: help env demo test crash scenarios bench words lock clean

help:
	@echo "make demo  [ARGS='--seconds 60 --no-dashboard']   train, inspect and review on this machine, in one command"
	@echo "make test                                         every check that continuous integration runs"
	@echo "make crash [ROUNDS=100 DATABASE=postgresql]       pull plugs under running agents, and count what is lost"
	@echo "make scenarios [ARGS='--data SETS']               play drift and wrong approvals through the whole loop, and report"
	@echo "make bench                                        measure speed on this machine"
	@echo "make words                                        gather the dashboard's words for translators"
	@echo "make env                                          only create .venv"
	@echo "make lock                                         pin the newest dependencies in requirements.lock"

env:
	@.ci/bootstrap

demo: env
	@.venv/bin/goodpart demo $(ARGS)

test: env
	@.ci/test $(ARGS)

ROUNDS ?= 100
DATABASE ?= sqlite
crash: env
	@.ci/kafka/fetch
	@.venv/bin/python -m tests.crash.rounds --rounds $(ROUNDS) --database $(DATABASE)

scenarios: env
	@.ci/kafka/fetch
	@.venv/bin/python -m tests.scenarios $(ARGS)

bench: env
	@.venv/bin/python -m bench $(ARGS)

words: env
	@.venv/bin/python -m tests.words_template > dashboard/words.pot.new
	@mv dashboard/words.pot.new dashboard/words.pot

lock: env
	@PATH=".uv/bin:.uv/venv/bin:$$PATH" uv pip compile --universal --upgrade --no-emit-index-url --no-header --quiet \
		--python-version 3.11 --extra demo --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .kafka
