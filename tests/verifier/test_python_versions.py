"""What the client evaluates at run time is of Python 3.9; `test_oldest_versions.py` runs it."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

import pytest

from tests.support.wheels import CLIENT

OLDEST = (3, 9)
SOURCES = sorted((CLIENT / "src").rglob("*.py"))
# Of Python 3.10 and later, by module; what a static check must know, since 3.9 may not be here.
LATER = {
    "asyncio": {"Barrier", "Runner", "TaskGroup", "timeout", "timeout_at"},
    "contextlib": {"aclosing", "chdir"},
    "dataclasses": {"KW_ONLY"},
    "datetime": {"UTC"},
    "enum": {"StrEnum", "member", "nonmember", "verify"},
    "http": {"HTTPMethod"},
    "inspect": {"get_annotations"},
    "itertools": {"batched", "pairwise"},
    "types": {"EllipsisType", "NoneType", "UnionType"},
    "typing": {
        "Concatenate", "LiteralString", "Never", "NotRequired", "ParamSpec", "Required", "Self",
        "TypeAlias", "TypeAliasType", "TypeGuard", "TypeIs", "Unpack", "assert_never",
        "assert_type", "dataclass_transform", "override", "reveal_type",
    },
}  # fmt: skip
KEYWORDS = {"dataclass": {"kw_only", "slots", "weakref_slot"}, "zip": {"strict"}}
TYPES = {name for name, value in vars(builtins).items() if isinstance(value, type)} | {"None"}


def too_new(source: str) -> list[str]:
    """What of it needs a later Python; annotations are strings, and TYPE_CHECKING is never true."""
    tree = ast.parse(source, feature_version=OLDEST)
    return [wrong for node in _evaluated(tree) for wrong in _too_new(node)]


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" == ast.unparse(node.test):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in {"annotation", "returns"}:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _evaluated(child)


def _too_new(node: ast.AST) -> list[str]:
    match node:
        case ast.ImportFrom(module=str(module), names=names):
            return [alias.name for alias in names if alias.name in LATER.get(module, ())]
        case ast.Attribute(value=value, attr=name) if name in LATER.get(ast.unparse(value), ()):
            return [name]
        case ast.Call(func=function, keywords=given):
            later = KEYWORDS.get(ast.unparse(function), set())
            return [keyword.arg for keyword in given if keyword.arg in later]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right) if _is_type(left) or _is_type(right):
            return [ast.unparse(node)]
    return []


def _is_type(operand: ast.expr) -> bool:
    """None, a built-in type, or a class by the spelling of its name."""
    name = ast.unparse(operand).partition("[")[0].rpartition(".")[2]
    return name in TYPES or (name[:1].isupper() and not name.isupper())


def test_the_client_evaluates_nothing_of_a_later_python() -> None:
    found = {path.name: too_new(path.read_text(encoding="utf-8")) for path in SOURCES}

    assert {} == {name: wrong for name, wrong in found.items() if wrong}
    assert all(
        "from __future__ import annotations" in path.read_text(encoding="utf-8")
        for path in SOURCES
        if path.name != "__init__.py"
    )


@pytest.mark.parametrize(
    "source",
    [
        "from typing import ParamSpec",
        "import datetime\nnow = datetime.UTC",
        "isinstance(1, int | float)",
        "Origin = tuple[str, int | None]",
        "Either = Entry | Feed",
        "@dataclass(slots=True)\nclass A: ...",
        "zip(a, b, strict=True)",
    ],
)
def test_the_rule_sees(source: str) -> None:
    assert too_new(source)


def test_the_rule_refuses_a_syntax_of_a_later_python() -> None:
    with pytest.raises(SyntaxError):
        too_new("match a:\n    case 1: ...")


@pytest.mark.parametrize(
    "source",
    [
        "def f(a: int | None) -> str | None: ...",
        "class A:\n    b: int | None = None",
        "if TYPE_CHECKING:\n    from typing import ParamSpec",
        "flags = os.O_RDONLY | os.O_CLOEXEC",
        "merged = {} | other",
    ],
)
def test_the_rule_leaves_alone(source: str) -> None:
    assert [] == too_new(source)
