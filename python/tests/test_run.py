"""`python -m bursa.run`: which function, which arguments, what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List, Optional, Union  # what users write

import pytest
from fake_service import TOKEN, fake_service

from bursa import run
from bursa.arguments import Usage, bind


def typed(
    a: int, b: float = 1.0, *, flag: bool = False, items: Optional[List[int]] = None, name: str = "n"
) -> None: ...


def loose(a, b=2, *rest, **more) -> None: ...


def union(x: Union[int, str, None], table: Optional[Dict[str, int]] = None) -> None: ...


def test_words_become_arguments() -> None:
    assert bind(typed, ["-1"]) == ((-1,), {})
    assert bind(typed, ["--a", "3", "--flag", "no", "--items", "[1]", "--name", "5"]) == (
        (3,),
        {"flag": False, "items": [1], "name": "5"},
    )
    assert bind(loose, ["1", "x", "[2]", "true", "--z", "null"]) == ((1, "x", [2], True), {"z": None})
    assert bind(union, ["7", "--table", '{"a": 1}']) == ((7, {"a": 1}), {})
    assert bind(union, ["none"]) == ((None,), {})
    assert bind(union, ["seven"]) == (("seven",), {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "missing"),
        (["x"], "a is 'x', which is no int"),
        (["1", "2", "3"], "too many"),
        (["1", "--nope", "2"], "nope"),
        (["1", "--items", "{}"], "items"),
        (["1", "--name"], "--name has no value"),
        (["1", "--flag", "perhaps"], "flag"),
    ],
)
def test_words_that_do_not_fit(words: list[str], message: str) -> None:
    with pytest.raises(Usage, match=message):
        bind(typed, words)


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(
        "import helper_of_program\n"
        "def greet(name: str = 'world') -> str:\n    return helper_of_program.hello(name)\n"
        "def area(w: float, h: float) -> float:\n    return w * h\n"
        "def fail():\n    print('about to')\n    raise ValueError('bad')\n"
    )
    (tmp_path / "helper_of_program.py").write_text("def hello(name):\n    return f'Hello, {name}!'\n")
    (tmp_path / "single.py").write_text("from math import sqrt\ndef only():\n    return [1, 'a']\n")
    return str(path)


def test_calls(program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_service() as service:
        monkeypatch.setenv("BURSA_URL", service.url)
        monkeypatch.setenv("BURSA_TOKEN", TOKEN)
        assert run.main([f"{program}::greet", "--name", "Ada"]) == 0
        assert capsys.readouterr().out == "Hello, Ada!\n"
        assert run.main(["--json", f"{program}::area", "2", "3.5"]) == 0
        assert json.loads(capsys.readouterr().out)["result"] == 7.0
        assert run.main([program.replace("program.py", "single.py")]) == 0
        assert capsys.readouterr().out == "[1, 'a']\n"
        assert run.main([f"{program}::fail"]) == 1
        assert "Traceback (remote)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("program.py", "area, fail, greet"),
        ("program.py::nope", "no function nope"),
        ("nowhere.py", "there is no file"),
    ],
)
def test_what_is_wrong_is_said(
    program: str, target: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([program.replace("program.py", target)]) == 2
    assert message in capsys.readouterr().err
    assert run.main([]) == 2
    assert run.main(["--wrong", program]) == 2
