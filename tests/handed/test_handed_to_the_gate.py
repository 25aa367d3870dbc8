"""A conftest.py hands over the model that a specification names; the gate takes it as any other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tests.loaded  # noqa: F401  (for the runs inside this process)
from tests.handed.tiny import CIRCUIT
from tests.huggingface.side import reference_text, spec

CONFTEST = """
import pytest_circuits
from tests.handed.tiny import PAIR, SITES, Words, build

PAIRS = {"model": PAIR, "candidate": (6, 1)}

def pytest_circuits_model(path, device):
    if path.name not in PAIRS:
        return None
    return pytest_circuits.hand_over(
        build(pair=PAIRS[path.name]).to(device),
        path=path,
        tokenizer=Words(),
        sites=SITES,
        max_tokens=32,
        text="text",
    )
"""


@pytest.fixture
def repository(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)  # of this suite
    (pytester.path / "circuits").mkdir()
    reference_text(pytester.path / "text")
    (pytester.path / "conftest.py").write_text(CONFTEST)
    (pytester.path / "circuits" / "side.circuit.yaml").write_text(spec(nodes=CIRCUIT))
    return pytester.path


def test_a_circuit_of_a_model_that_is_handed_over_passes(
    pytester: pytest.Pytester, repository: Path
) -> None:
    path = repository / "circuits" / "side.circuit.yaml"
    path.write_text(spec(nodes=CIRCUIT, faithful="{rate: 0.9, max_gap: 0.2}"))

    done = pytester.runpytest_inprocess("--circuits", "--circuits-report=evidence.json")

    assert done.ret == 0, done.stdout.str()
    done.stdout.fnmatch_lines(
        [
            "*model        model (????????????), named by the specs",
            "*made of      Tiny, 2 layers, vocabulary 26, no token put before a text",
            "*handed over  model by conftest.py",
            *(f"pass*side*{claim}*" for claim in ("behaves", "sufficient", "necessary")),
            "pass*side*faithful*",  # attention and norms too
            "gate: PASS*",
        ]
    )
    (circuit,) = json.loads((repository / "evidence.json").read_text())["circuits"]
    assert [(file["name"], file["role"]) for file in circuit["files"]] == [
        ("conftest.py", "model"),
        ("text", "model"),
        ("circuits/side.circuit.yaml", "specification"),
    ]


def test_workers_build_it_too_and_give_the_same_evidence(
    pytester: pytest.Pytester, repository: Path
) -> None:
    pytest.importorskip("xdist")
    alone = pytester.runpytest_inprocess("--circuits", "--circuits-report=alone.json")
    together = pytester.runpytest_inprocess("--circuits", "-n2", "--circuits-report=two.json")
    assert (alone.ret, together.ret) == (0, 0), together.stdout.str()
    records = [json.loads((repository / name).read_text()) for name in ("alone.json", "two.json")]
    assert records[0].pop("run") != records[1].pop("run")
    assert records[0] == records[1]


def test_a_candidate_that_does_it_by_other_heads_fails_beside_its_baseline(
    pytester: pytest.Pytester, repository: Path
) -> None:
    path = repository / "circuits" / "side.circuit.yaml"
    path.write_text(spec(nodes=CIRCUIT, stable="{max_drop: 0.06}"))
    (repository / "candidate").mkdir()
    (repository / "model").mkdir()
    recorded = pytester.runpytest_inprocess("--circuits", "--circuits-update=new")
    assert recorded.ret == 0, recorded.stdout.str()
    same = pytester.runpytest_inprocess("--circuits")
    same.stdout.fnmatch_lines(["pass*side*stable*", "gate: PASS*"])

    done = pytester.runpytest_inprocess("--circuits", "--circuits-model=candidate")

    assert done.ret == 1
    done.stdout.fnmatch_lines(
        [
            "*handed over  candidate by conftest.py*",
            "pass*side*behaves*",
            *(f"fail*side*{claim}*" for claim in ("sufficient", "necessary", "stable")),
        ]
    )


def test_a_conftest_that_returns_none_leaves_the_directory_to_be_loaded(
    pytester: pytest.Pytester, repository: Path
) -> None:
    path = repository / "circuits" / "side.circuit.yaml"
    path.write_text(path.read_text().replace("../model", "../elsewhere"))
    done = pytester.runpytest_inprocess("--circuits")
    assert done.ret == 2
    assert "elsewhere" in done.stdout.str()
    assert "handed over" not in done.stdout.str()


HANDS_OVER = "return pytest_circuits.hand_over("
REFUSED = {
    "raises": (
        HANDS_OVER,
        f"x = {{}}[path]\n    {HANDS_OVER}",
        "model: conftest.py:10: pytest_circuits_model raised KeyError",
    ),
    "trains": (
        ".to(device)",
        ".to(device).train()",
        "model: is in train mode (Tiny); call .eval()",
    ),
    "bare": (
        HANDS_OVER,
        "return (lambda module, **said: module)(",
        "conftest.py returned a Tiny, and no model; return what pytest_circuits.hand_over(module, ",
    ),
    "no text": ('text="text"', 'text="none.txt"', "none.txt: cannot be read: No such file"),
    "elsewhere": ("path=path", "path='other'", "returned a model of other; hand it over with"),
}


@pytest.mark.parametrize(("old", "new", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_in_words(
    pytester: pytest.Pytester, repository: Path, old: str, new: str, said: str
) -> None:
    (repository / "conftest.py").write_text(CONFTEST.replace(old, new))
    done = pytester.runpytest_inprocess("--circuits")
    text = done.stdout.str()
    assert done.ret == 2, text
    assert said in re.sub(r"\s+", " ", text), text
    assert "Traceback" not in text


SHARED = """
ONE = build()

def pytest_circuits_model(path, device):
    module = ONE
    module.load_state_dict(build(pair=PAIRS[path.name]).state_dict())
"""


def test_one_module_for_two_models_is_refused(pytester: pytest.Pytester, repository: Path) -> None:
    start, _, rest = CONFTEST.partition("\ndef pytest_circuits_model(path, device):\n")
    built = rest[rest.index("    return pytest") :].replace(
        "build(pair=PAIRS[path.name])", "module"
    )
    path = repository / "circuits" / "side.circuit.yaml"
    path.write_text(spec(nodes=CIRCUIT, stable="{max_drop: 0.06}"))
    for name in ("candidate", "model"):
        (repository / name).mkdir()
    assert pytester.runpytest_inprocess("--circuits", "--circuits-update=new").ret == 0
    (repository / "conftest.py").write_text(start + SHARED + built)

    for asked in ([], ["--circuits-baseline=model"]):
        done = pytester.runpytest_inprocess("--circuits", "--circuits-model=candidate", *asked)
        text = done.stdout.str()
        assert done.ret == 2, text
        assert "candidate: its module was changed after it was handed over" in text
        assert "gate: NO VERDICT" in text


@pytest.mark.parametrize(
    "later", ["train()", "unembed.weight.data.mul_(-1)", "blocks[0].drop.train()"]
)
def test_a_module_that_is_changed_later_is_refused(
    pytester: pytest.Pytester, repository: Path, later: str
) -> None:
    (repository / "conftest.py").write_text(
        CONFTEST.replace("return pytest_circuits.hand", "global M\n    M = pytest_circuits.hand")
        + f"    return M\n\ndef pytest_runtest_setup(item):\n    M.module.{later}\n"
    )
    done = pytester.runpytest_inprocess("--circuits")
    text = done.stdout.str()
    assert done.ret != 0, text
    assert "model: its module was changed after it was handed over" in text
    assert "Traceback" not in text
    assert "gate: PASS" not in text


def test_two_conftests_that_hand_over_one_model_are_refused(
    pytester: pytest.Pytester, repository: Path
) -> None:
    (repository / "circuits" / "conftest.py").write_text(CONFTEST)
    done = pytester.runpytest_inprocess("--circuits", "circuits")
    assert done.ret == 2
    assert "is handed over by circuits/conftest.py and conftest.py" in done.stdout.str()


def test_a_run_without_the_gate_does_not_ask(pytester: pytest.Pytester, repository: Path) -> None:
    (repository / "conftest.py").write_text("def pytest_circuits_model(path):\n    1 / 0\n")
    pytester.makepyfile(test_other="def test_other():\n    pass\n")
    assert pytester.runpytest_inprocess("test_other.py").ret == 0
