"""The house rules of CONTRIBUTING.md that a program can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import p2p_core.errors

MAX_LINES = 300
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def test_every_module_with_code_says_what_it_is_for(modules: list[Path]) -> None:
    silent = [str(path) for path in modules if (tree := ast.parse(path.read_text())).body and not ast.get_docstring(tree)]
    assert silent == []


def test_every_name_a_module_exports_exists_in_it(modules: list[Path]) -> None:
    wrong = []
    for path in modules:
        tree = ast.parse(path.read_text())
        wrong += [f"{path.name}: {name}" for name in sorted(_exported(tree) - _bound(tree))]
    assert wrong == []


def test_no_file_is_longer_than_300_lines(modules: list[Path], root: Path) -> None:
    files = [*modules, *(root / "tests").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]
    long = {str(path.relative_to(root)): n for path in files if (n := len(path.read_text().splitlines())) > MAX_LINES}
    assert long == {}


def test_the_packages_never_evaluate_or_unpickle(modules: list[Path], root: Path) -> None:
    found = [
        f"{path.relative_to(root)}: {offence}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if (offence := _offence(node))
    ]
    assert found == []


def test_the_policy_finds_evaluation_and_unpickling() -> None:
    allowed = "model.eval()\nimport json\ntorch.save(weights)\nnumpy.load(path)\ntorch.load(p, weights_only=True)"
    assert not any(_offence(node) for node in ast.walk(ast.parse(allowed)))
    for offending in (
        "eval('1')",
        "exec(x)",
        "import pickle",
        "from joblib import load",
        "torch.load(p)",
        "f(allow_pickle=True)",
    ):
        assert any(_offence(node) for node in ast.walk(ast.parse(offending))), offending


def test_all_exported_errors_are_the_errors_there_are() -> None:
    tree = ast.parse(Path(p2p_core.errors.__file__).read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert set(p2p_core.errors.__all__) == defined


def test_every_error_says_problem_and_remedy_and_exits_with_one_or_two() -> None:
    for name in p2p_core.errors.__all__:
        kind = getattr(p2p_core.errors, name)
        error = kind("The thing is wrong", remedy="Mend the thing")
        assert str(error) == "The thing is wrong. Mend the thing."
        assert error.exit_code in (1, 2)


def test_the_library_package_is_empty_so_that_a_room_loads_alone(root: Path) -> None:
    assert (root / "p2p_core" / "__init__.py").read_text() == ""


def test_making_pairs_and_reports_does_not_load_torch_dask_or_prefect(modules: list[Path], root: Path) -> None:
    light = ("preprocessing", "p2p_core/rasters", "p2p_core/pairstore", "p2p_core/card", "p2p_core/report")
    names = [_module_name(path, root) for path in modules if str(path.relative_to(root)).startswith(light)]
    names.remove("preprocessing.edges.torch_network")  # loaded where the engine torch is asked for
    heavy = "{'torch', 'dask', 'distributed', 'prefect', 'mlflow'}"
    program = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def _exported(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


def _bound(tree: ast.Module) -> set[str]:
    """Names that the module's top level defines or imports."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return names


def _offence(node: ast.AST) -> str | None:
    match node:
        case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
            return f"{name}()"
        case ast.Import(names=names) if modules := {alias.name.partition(".")[0] for alias in names} & UNPICKLERS:
            return f"import {modules.pop()}"
        case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in UNPICKLERS:
            return f"import {module.partition('.')[0]}"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load"), keywords=keywords):
            return None if any(_is_true(keyword, "weights_only") for keyword in keywords) else "torch.load"
        case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
            return "allow_pickle=True"
    return None


def _is_true(keyword: ast.keyword, name: str) -> bool:
    return keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
