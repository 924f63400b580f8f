"""Text constrained to the options: which tokens may come next."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.respondents.local.tree import Ids


class Allowed:
    """The forms that can still be written, each with its option; every form ends with the end of the turn."""

    def __init__(self, forms: Mapping[Ids, str], written: int = 0) -> None:
        self._forms = forms
        self._written = written

    @property
    def longest(self) -> int:
        """Tokens of the longest form, including the end of the turn."""
        return max(map(len, self._forms))

    def tokens(self) -> list[int]:
        """Return the tokens that may come next, in ascending order."""
        return sorted({form[self._written] for form in self._forms if len(form) > self._written})

    def take(self, token: int) -> Allowed:
        """Return what may be written after `token`."""
        at = self._written
        return Allowed({form: option for form, option in self._forms.items() if len(form) > at and form[at] == token}, at + 1)

    @property
    def option(self) -> str:
        """The option that was written, once it is complete."""
        (option,) = set(self._forms.values())
        return option
