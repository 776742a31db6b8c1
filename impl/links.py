"""From the catalog's links, `module:Class`, to the classes."""

from importlib import import_module

import survey


def resolve(target: str) -> type:
    """Import a class by its link, `module:Class`.

    Raises:
        ImportError, AttributeError: there is no such module, or no such name in it.
    """
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def linked(contract: type = object, query: str = "") -> dict[str, type]:
    """Return the classes that the catalog links, by the work's id.

    Args:
        contract: only classes that subclass it.
        query: only works that it finds, in the catalog's grammar.
    """
    works = survey.load().query(f"status:implemented {query}")
    classes = {work.id: resolve(work.implementation) for work in works}
    return {work: cls for work, cls in classes.items() if issubclass(cls, contract)}
