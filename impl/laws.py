"""Sets of laws: what a contract asks of a class, each law a function of the class, registered under its own name."""

from collections.abc import Callable

import torch
from torch import Tensor

Law = Callable[[type], None]


class LawError(AssertionError):
    """A class breaks one or more laws; the message names each."""


class Laws(dict[str, Law]):
    """Laws by name. A class declares those that it cannot keep in `exempt_laws`, {name: reason}."""

    def register(self, function: Law) -> Law:
        """Add a function as a law under its own name; for use as a decorator."""
        self[function.__name__] = function
        return function

    def check(self, cls: type) -> None:
        """Run every law on a class, but those in its `exempt_laws`.

        Raises:
            LawError: naming all the laws that failed and how, or an exempt law that is unknown.
        """
        failures = [f"unknown exempt law {name}" for name in cls.exempt_laws if name not in self]
        for name, law in self.items():
            if name in cls.exempt_laws:
                continue
            try:
                law(cls)
            except Exception as error:  # whatever goes wrong inside a law is a failure of that law
                failures.append(f"{name}: {type(error).__name__}: {error}")
        if failures:
            raise LawError(f"{cls.__name__} breaks {len(failures)} law(s):\n" + "\n".join(failures))


def demand(condition: bool, message: str) -> None:
    """Raise `LawError(message)` unless the condition holds."""
    if not condition:
        raise LawError(message)


def demand_refusal(name: str, attempt: Callable[[], object]) -> None:
    """Raise `LawError` naming what was attempted, unless the attempt raises ValueError or TypeError."""
    try:
        attempt()
    except (ValueError, TypeError):
        return
    raise LawError(f"{name} was accepted")


def same_state(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two state dicts hold the same names and bit-identical tensors."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
