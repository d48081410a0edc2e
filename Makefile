# On a fresh machine: `make demo` shows the main job, `make test` runs every test. Both set up what is missing.
.PHONY: demo test setup bench soak mutants contract model storm audit

demo: setup
	scripts/demo

test:
	@scripts/setup tests
	@scripts/check-fuzz
	scripts/test

# Installs what is missing; says so where it cannot.
setup:
	@scripts/setup

# Against the bare limit and other systems, in half an hour; `make bench SCENARIO=latency,queued` for some.
bench: setup
	@scripts/bench $(SCENARIO)

# What takes its time, two hours in all: tables full of what has ended, a snapshot that is held for ten minutes, an
# hour at half load. Sizes are in docs/performance.md; `make soak BENCH_SOAK_S=600` is a short one.
soak: setup
	@scripts/bench growth,snapshot,soak

# The HTTP contract at full size: what `make test` tries on a few examples of each operation, on many.
contract:
	@scripts/setup tests
	SEXTON_CONTRACT_EXAMPLES=300 SEXTON_TEST_PATIENCE_S=3600 scripts/test --no-capture -E 'test(/http_contract::|agno_os::/)'

# The model of the protocol within larger bounds than `make test` has time for.
model: setup
	SEXTON_MODEL_LONG=1 scripts/test -E 'binary(model) & test(/^invariant_/)'

# 20,000 deletions while everything fails; ends with what was lost, done twice or stuck. `make storm SEED=7` asks for the
# same and fails the same again.
storm: setup
	@scripts/storm $(if $(SEED),--seed $(SEED))

# Takes out the mechanism behind each invariant in turn; a test named after it must fail.
mutants: setup
	scripts/mutants

# On a connected machine: licenses, sources, known vulnerabilities.
audit:
	@scripts/audit
