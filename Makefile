# make serve    start the service on 127.0.0.1:8000 with its data in ./data
# make test     everything that needs only the repository and the package registries
# make help     the rest

PYTHON ?= python3
SERVE := .venv
DEV := .venv-dev
PIP := pip install --quiet --disable-pip-version-check -c requirements.lock
RUN := $(DEV)/bin/python -m
export SHARED ?= ../shared
RECIPE ?= facet-m

.PHONY: serve test check test-data test-slow test-browser test-engines test-milvus test-image starter device-pack lock docs sbom hashes scan format clean help

serve: $(SERVE)/.ready ## start the service; the first start creates and prints the admin key
	@$(SERVE)/bin/facet serve

test: $(DEV)/.ready ## the test suite, a file to each core
	$(RUN) pytest -q -n 2 --dist loadfile

check: $(DEV)/.ready ## style, types, import contracts
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(DEV)/bin/lint-imports

test-data: $(DEV)/.ready ## tests that need the research data in $(SHARED)
	$(RUN) pytest -q -m "data and not slow"

test-slow: $(DEV)/.ready ## the long ones: hostile inputs, durability, full recipes
	$(RUN) pytest -q -m "slow and not data"

test-browser: $(DEV)/.ready ## the console in a real Chromium (Debian's package)
	$(RUN) pytest -q -m browser

test-engines: $(DEV)/.ready ## against real PostgreSQL, haproxy, Prometheus, kubectl, wrk (Debian's packages)
	@$(DEV)/bin/$(PIP) -e '.[engines]'
	$(RUN) pytest -q -m engines -k "not milvus"

test-milvus: $(DEV)/.ready ## against a real Milvus, which wants two cores to itself
	@$(DEV)/bin/$(PIP) -e '.[engines]'
	$(RUN) pytest -q -m engines -k "milvus and not alone"
	$(RUN) pytest -q -m engines -k "milvus and alone"

test-image: $(DEV)/.ready ## build the container image and run it (root, buildah, debootstrap)
	$(RUN) pytest -q -m image

starter: $(DEV)/.ready ## train the bundled models again from $(SHARED); hours
	$(DEV)/bin/facet-train starter --shared $(SHARED)

device-pack: $(DEV)/.ready ## what travels to a lent accelerator, to train $(RECIPE) there for minutes
	$(DEV)/bin/facet-train starter --shared $(SHARED) --prepare
	$(DEV)/bin/facet-train device-pack training/recipes/$(RECIPE).yaml data/device/$(RECIPE) \
	    --data data/starter/sets --models data/starter/models --runs data/starter/runs

lock: $(DEV)/.ready ## resolve requirements.lock again
	$(DEV)/bin/pip install --quiet pip-tools
	$(RUN) piptools compile --quiet --all-extras --strip-extras --allow-unsafe --no-annotate --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-options --output-file requirements.lock.new pyproject.toml
	{ sed -n '1,2p' requirements.lock; sed 's/+cpu$$//' requirements.lock.new; } > requirements.lock.tmp
	mv requirements.lock.tmp requirements.lock && rm requirements.lock.new

docs: $(DEV)/.ready ## write what is derived again: the tables of settings, the OpenAPI document, the Postman collection
	$(RUN) service.settings.table docs/operations.md
	$(RUN) tests.api.openapi
	$(DEV)/bin/python deploy/postman/collection.py docs/openapi.json deploy/postman/facet.json

sbom: $(SERVE)/.ready ## sbom.json: the packages of the service, as CycloneDX lists them
	$(DEV)/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom
	$(RUN) cyclonedx_py environment --pyproject pyproject.toml --output-reproducible --output-file sbom.json $(SERVE)/bin/python

scan: $(DEV)/.ready ## known vulnerabilities of what is locked, or that no advisory source can be reached
	$(DEV)/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(DEV)/bin/python deploy/scan.py

hashes: $(DEV)/.ready ## deploy/hashes: what the images install, with the SHA-256 of each file; minutes
	$(DEV)/bin/pip install --quiet --disable-pip-version-check pip-tools
	$(DEV)/bin/python deploy/hashes/lock.py

format: $(DEV)/.ready ## put the code into its style
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

clean: ## remove what was installed here; never touches ./data
	rm -rf $(SERVE) $(DEV) build dist *.egg-info

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(SERVE)/.ready: pyproject.toml requirements.lock
	@$(call venv,$(SERVE))
	@echo "Installing the service into $(SERVE) ..."
	@$(SERVE)/bin/$(PIP) -e .
	@touch $@

$(DEV)/.ready: pyproject.toml requirements.lock deploy/client/pyproject.toml
	@$(call venv,$(DEV))
	@echo "Installing everything the tests need into $(DEV) ..."
	@$(DEV)/bin/$(PIP) -e '.[train,test]' -e deploy/client
	@touch $@

define venv
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || { echo "Facet needs Python 3.11 or newer; set PYTHON=python3.12, say." >&2; exit 1; }; \
$(PYTHON) -m venv $(1) \
    || { echo "No venv module: apt install python3-venv, then again." >&2; rm -rf $(1); exit 1; }
endef
