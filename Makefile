# `make run` starts Ticketwire and `make test` runs its tests, also on a bare machine: both install
# what is missing first. ARGS is passed on to the program or to the tests:
#
#   make run ARGS='--listen 127.0.0.1:9000'
#   make test ARGS='ticket'

.DEFAULT_GOAL := help
.PHONY: help run test build lint audit pictures setup verify-long

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: setup ## Start the server, with a database of its own unless DATABASE_URL names one
	cargo run --locked -- serve $(ARGS)

test: ## Run all tests
	@scripts/setup test
	cargo test --locked $(ARGS)

build: setup ## Build the binary to deploy, target/release/ticketwire
	cargo build --release --locked $(ARGS)

lint: setup ## Check the formatting and the lints
	cargo fmt --all --check
	cargo clippy --all-targets --locked -- -D warnings

audit: setup ## Look for known vulnerabilities in the dependencies (needs the network)
	scripts/cargo-deny --locked check advisories

pictures: ## Take the pictures of README again, by the tests in a browser
	@scripts/setup test
	cargo test --locked --test it -- a_customer_opens_a_ticket_and_follows_it_in_a_browser an_agent_works_a_day_by_keyboard_alone a_browser_completes_the_tour
	cp target/tmp/pictures/portal.png target/tmp/pictures/desk.png target/tmp/pictures/playground.png docs/

verify-long: ## Run the long tests, within two hours: kills, random input, large data, drills, the version before, the package
	@scripts/verify-long $(ARGS)

setup: ## Install what is missing (Debian packages, as root), or say what to install
	@scripts/setup
