"""What may be written where text is constrained to the options: a walk along their token forms."""

from __future__ import annotations

from collections.abc import Mapping

from valuestrata.respondents.local.tree import Ids


class Allowed:
    """The forms that may still be written, each with the option it stands for; each ends with the end of turn."""

    def __init__(self, forms: Mapping[Ids, str], written: int = 0) -> None:
        self._forms = forms
        self._written = written

    @property
    def longest(self) -> int:
        """Tokens of the longest form, its end of turn among them."""
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
        """The option that was written, once nothing more may come."""
        (option,) = set(self._forms.values())
        return option
