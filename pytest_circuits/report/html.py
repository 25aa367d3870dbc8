"""A run as one page: nothing is loaded or run when it is looked at.

Every text that comes from files or models is escaped, with control, bidirectional and invisible
characters spelt out. The page forbids itself scripts, images, frames, forms and the network; its
one stylesheet is named by its digest.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from pytest_circuits.report.page import page_of
from pytest_circuits.report.run import Run
from pytest_circuits.report.writing import Target
from pytest_circuits.show import svg
from pytest_circuits.show.drawing import Drawing, label_of
from pytest_circuits.show.heat import Heat
from pytest_circuits.spec.problems import visible

_BREAKS = re.compile(r"[\t-\r]+")  # lines are a matter of the page, runs of spaces are not


def make(run: Run, target: Target) -> bytes:
    record = target.record
    return html(run, record=f"{record.shown} (sha256 {record.sha256})" if record else "").encode()


def html(run: Run, *, record: str = "") -> str:
    """The page; record: where the evidence lies that it is made from."""
    page = page_of(run, record=record)
    return rendered("page.html.jinja", page=page, draw=_draw, sites=svg.sites, label=label_of)


def rendered(template: str, **values: object) -> str:
    """A page made of one of our templates, with the style and the policy of all of them."""
    css = _text("page.css") + svg.css()
    digest = b64encode(sha256(css.encode()).digest()).decode()
    return _template(template).render(
        css=Markup(css),  # noqa: S704  (our own file, which holds no text of others)
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
        **values,
    )


def _draw(drawing: Drawing, heat: Heat | None) -> Markup:
    return Markup(svg.svg(drawing, title=svg.caption(drawing), heat=heat))  # noqa: S704  (it escapes)


@cache
def _template(name: str) -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(_text(name))


def _shown(value: object) -> object:
    """What stands for a value: text has every character that is not shown spelt out."""
    if isinstance(value, Markup | int | float):
        return value
    return visible(_BREAKS.sub(" ", str(value)))


def _text(name: str) -> str:
    return (files("pytest_circuits.report") / name).read_text(encoding="utf-8")
