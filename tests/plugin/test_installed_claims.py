"""The claim that the page shows: it passes and fails as ours do, and a broken one is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_circuits.claims.registry import _card_of
from pytest_circuits.errors import UsageError
from pytest_circuits.spec import installed as module
from pytest_circuits.spec.types import Claims
from tests.plugin.conftest import Repository, spec_text

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")
SECTION = PAGE.partition("### In a package of your own")[2].partition("\n## ")[0]
TOML, LIMITS, CARD = re.findall(r"```(?:toml|python)\n(.*?)```", SECTION, re.DOTALL)
((GROUP, ENTRY),) = tomllib.loads(TOML)["project"]["entry-points"].items()
((NAME, VALUE),) = ENTRY.items()


def bring(site: Path, *, name: str = NAME, value: str = VALUE, limits: str = LIMITS) -> None:
    """A distribution, `tiny-claims`, in a folder of installed ones."""
    files = {
        "tiny/__init__.py": "",
        "tiny/limits.py": limits,
        "tiny/card.py": CARD,
        "tiny_claims-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-claims\n",
        "tiny_claims-1.dist-info/entry_points.txt": f"[{GROUP}]\n{name} = {value}\n",
    }
    for file, text in files.items():
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def site(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions that processes started from here see."""
    site = repository.path / "site"
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return site


def see(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process import from a folder, as if for the first time."""
    monkeypatch.syspath_prepend(site)
    for loaded in [key for key in sys.modules if key.split(".")[0] == "tiny"]:
        monkeypatch.delitem(sys.modules, loaded)


def with_claim(line: str, *, more: str = "") -> str:
    text = spec_text(claims=("behaves",))
    return text.replace("\nprotocol:", f"\n{line}protocol:") + more


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_claim_of_another_distribution_passes_and_fails(
    repository: Repository, site: Path
) -> None:
    bring(site)
    repository.write("pytest.ini", "[pytest]\ncircuits_require = behaves decisive\n")
    for name, nats in (("clear", 1.0), ("vague", 99.0)):
        text = with_claim(f"  decisive: {{nats: {nats}}}\n").replace("quote_close", name)
        repository.write(f"circuits/{name}.circuit.yaml", text)
    result = repository.pytester.runpytest_subprocess("--circuits", "--circuits-report", "run.json")

    assert result.ret == 1, result.stdout.str()
    result.stdout.re_match_lines(
        [
            "  reason    the median preference is .* nats; at least 99 are needed",
            "pass +clear +decisive .*",
            "fail +vague +decisive .*",
        ]
    )
    circuits = json.loads((repository.path / "run.json").read_text())["circuits"]
    assert {
        (circuit["name"], claim["claim"], claim["verdict"])
        for circuit in circuits
        for claim in circuit["claims"]
        if claim["claim"] == "decisive"
    } == {("clear", "decisive", "pass"), ("vague", "decisive", "fail")}


def test_it_is_read_written_waived_and_completed_as_ours_are(site: Path) -> None:
    bring(site)
    made = with_claim(
        "  decisive: {nats: 1.0}\n", more="waivers:\n  decisive: {until: 2030-01-01, reason: x}\n"
    )
    left_out = with_claim("", more='undeclared:\n  decisive: "not meant: too easy"\n')
    out = run_python(
        "import json, sys; from pathlib import Path\n"
        "from pytest_circuits.errors import SpecError\n"
        "from pytest_circuits.spec.load import parse_spec\n"
        "from pytest_circuits.spec.schema import json_schema\n"
        "from pytest_circuits.spec.write import dump_spec\n"
        "for text in sys.argv[1:3]:\n"
        "    print(dump_spec(parse_spec(text, path=Path('q')).spec))\n"
        "for text in sys.argv[3:]:\n"
        "    try: parse_spec(text, path=Path('q'))\n"
        "    except SpecError as error: print(error)\n"
        "print([*json_schema()['$defs']['Claims']['properties']][-2:], 'torch' in sys.modules)",
        *(made, left_out),
        *(with_claim(f"  {said}\n") for said in ("decisve: {nats: 1}", "decisive: {nats: 100}")),
    )

    lines = out.splitlines()
    assert "  decisive: {nats: 1.0}" in lines
    assert "  decisive: {until: 2030-01-01, reason: x}" in lines
    assert '  decisive: "not meant: too easy"' in lines
    assert "unknown key 'decisve' in claims; did you mean 'decisive'?" in out
    assert "'nats' of claim 'decisive' must be a number above 0 and below 100, not 100" in out
    assert lines[-1] == "['depends_on', 'decisive'] False"


def test_a_broken_one_is_named_and_nothing_is_tested(repository: Repository, site: Path) -> None:
    bring(site, value="tiny.nowhere:Limits")
    repository.write_good_spec(claims=("behaves",))
    result = repository.pytester.runpytest_subprocess("--circuits")

    assert result.ret == 2
    said = "claim 'decisive' of tiny-claims: tiny.nowhere:Limits cannot be imported: "
    assert f"{said}ModuleNotFoundError: No module named 'tiny.nowhere'" in result.stdout.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_card_that_cannot_be_imported_is_named_whoever_makes_the_claim(
    repository: Repository, site: Path
) -> None:
    bring(site)
    (site / "tiny/card.py").write_text("raise ImportError('no such thing')\n")
    repository.write_good_spec(claims=("behaves",))
    result = repository.pytester.runpytest_subprocess("--circuits", "--circuits-report", "run.json")

    assert result.ret == 4
    why = "tiny.card:DECISIVE cannot be imported: ImportError: no such thing"
    result.stderr.fnmatch_lines([f"ERROR: claim 'decisive' of tiny-claims: {why}"])
    assert not (repository.path / "run.json").exists()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_card_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(tmp_path)
    see(tmp_path, monkeypatch)
    claim = module.installed.__wrapped__()[0]["decisive"]

    for card, why in {
        "tiny.card:OTHER": "tiny.card:OTHER cannot be imported: AttributeError: ",
        "tiny.card:WHOLE": "tiny.card:WHOLE is not the card of a claim 'decisive'",
    }.items():
        with pytest.raises(UsageError, match=f"claim 'decisive' of tiny-claims: {why}"):
            _card_of(replace(claim, card=card))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        *(({"name": n}, "a claim cannot have this name") for n in ("Tiny", "selfcheck", "items")),
        ({"value": "tiny.limits:Field"}, "tiny.limits:Field is not a pydantic class"),
        (
            {"limits": LIMITS.replace("strict=True, ", "")},
            "tiny.limits:Limits needs ConfigDict(strict=True)",
        ),
        (
            {"limits": LIMITS.replace("tiny.card:DECISIVE", "tiny.card")},
            "the card of tiny.limits:Limits is not 'module:ATTRIBUTE'",
        ),
    ],
)
def test_what_is_wrong_with_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], why: str
) -> None:
    bring(tmp_path, **given)
    see(tmp_path, monkeypatch)

    name = given.get("name", "decisive")
    assert module.installed.__wrapped__() == ({}, (f"claim '{name}' of tiny-claims: {why}",))


def test_two_of_one_name_and_one_of_ours_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(tmp_path, name="behaves")
    again = tmp_path / "zz-1.dist-info"
    again.mkdir()
    (again / "METADATA").write_text("Metadata-Version: 2.1\nName: zz\n")
    (again / "entry_points.txt").write_text(f"[{GROUP}]\nbehaves = tiny.limits:Limits\n")
    see(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "installed", module.installed.__wrapped__)

    with pytest.raises(UsageError) as caught:
        module.refuse_broken(Claims)

    assert str(caught.value).splitlines() == [
        "claim 'behaves' of zz: tiny-claims brings a claim of this name too",
        "claim 'behaves' of tiny-claims: there is such a claim already",
    ]
