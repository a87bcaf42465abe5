"""The code in README and in docs/ runs, and README shows the files of examples/ as they are.

A fence ```` ```python ```` is code that runs. The fences of a page run in order as one program, as if pasted into
`python -m asyncio`: `await` is allowed at the top level, and a later fence sees the names of the earlier ones.
What is not meant to run is fenced as `text`, `console` or `pycon`.
"""

import ast
import asyncio
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FENCE = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<path>examples/[\w.-]+\.py)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    path: Path
    line: int
    before: str
    code: str

    def compile(self) -> CodeType:
        padded = "\n" * self.line + self.code  # so that a traceback names the line of the page
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(padded, str(self.path), "exec", flags=flags, dont_inherit=True)
        return code


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(path=path, line=text.count("\n", 0, m.start()) + 1, before=text[: m.start()], code=m["code"])
        for m in FENCE.finditer(text)
    ]


def pages() -> list[str]:
    found = [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts and blocks(path)]
    return sorted(str(path.relative_to(ROOT)) for path in found)


@pytest.mark.parametrize("page", pages())
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    with asyncio.Runner() as runner:
        for block in blocks(ROOT / page):
            code = block.compile()
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(eval(code, module.__dict__))
            else:
                exec(code, module.__dict__)


def test_a_failing_block_is_reported_where_it_stands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nvalue = 1\n1 / 0\n```\n")
    [block] = blocks(page)
    with pytest.raises(ZeroDivisionError) as caught:
        exec(block.compile(), {})
    assert caught.traceback[-1].lineno + 1 == 5
    assert str(caught.traceback[-1].path) == str(page)


def test_readme_shows_the_examples_as_they_are() -> None:
    for block in blocks(README):
        links = LINK.findall(block.before)
        assert links, f"README line {block.line}: no link to the file in examples/ before this program"
        assert block.code == (ROOT / links[-1]).read_text(encoding="utf-8"), links[-1]


def test_readme_links_only_to_files_that_exist() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
