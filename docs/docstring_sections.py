"""How our docstrings appear on the site: an extension of Griffe, which reads them there."""

import re
from typing import Any

from griffe import Extension, Object


class Sections(Extension):
    """Names the examples of our docstrings as Griffe does, and sets the word References in bold."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of a module, a class, a function or an attribute."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"^References: ", "**References:** ", text, flags=re.MULTILINE)
