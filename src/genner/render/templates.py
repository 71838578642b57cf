"""Jinja templates and style sheets in `assets/`. Every value that a template prints is escaped for its language.

Each template language has one escape function: `environment` applies it to every printed value that is not
`markupsafe.Markup`, so no template can forget it.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from genner.render.layout import visible_line

if TYPE_CHECKING:
    from jinja2 import Environment


def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (files("genner") / "assets" / name).read_text(encoding="utf-8")


@cache
def environment(escape: Callable[[str], str], brackets: tuple[str, str] = ("{", "}")) -> "Environment":
    """An environment whose templates print values through `escape`; undefined names raise.

    `brackets` are the two characters that open and close tags: `{{ value }}`, `{% for %}`; or angle brackets if braces
    have a meaning in the language. The filter `line` puts a text on one line and shows unprintable characters as
    pictures.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def printed(value: Any) -> Any:
        return value if isinstance(value, Markup) else Markup(escape(str(value)))

    left, right = brackets
    made = Environment(
        loader=PackageLoader("genner", "assets"),
        autoescape=True,
        finalize=printed,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        variable_start_string=left * 2,
        variable_end_string=right * 2,
        block_start_string=f"{left}%",
        block_end_string=f"%{right}",
        comment_start_string=f"{left}#",
        comment_end_string=f"#{right}",
    )
    made.filters["line"] = visible_line
    return made
