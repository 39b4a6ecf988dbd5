"""Entries of the configuration by name, each imported when it is first read.

A configuration is checked by the names and the options alone. The entries are Keras layers, and
to import them takes TensorFlow, some seconds.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Protocol, TypeVar

from features.errors import nearest
from features.settings import Settings


class HasParams(Protocol):
    """A class with its options in `Params`."""

    Params: Any


Entry = TypeVar("Entry", bound=HasParams)


class Registry(MutableMapping[str, type[Entry]]):
    """A dict of classes by name, which may be given by where they are.

    Args:
        entries: {name: a class, or where it is, as in "model.sharing.ple:PLE"}.
        params: the options of entries by name; those of the others are the `Params` of the class.

    Example:
        >>> registry = Registry({"ple": "model.sharing.ple:PLE"}, {})
        >>> "ple" in registry, list(registry)
        (True, ['ple'])
    """

    def __init__(
        self, entries: Mapping[str, type[Entry] | str], params: Mapping[str, type[Settings]]
    ) -> None:
        self._entries, self._params = dict(entries), params

    def __getitem__(self, name: str) -> type[Entry]:
        entry = self._entries[name]
        if isinstance(entry, str):
            entry = self._entries[name] = pkgutil.resolve_name(entry)
        return entry

    def __setitem__(self, name: str, entry: type[Entry] | str) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def params(self, name: str) -> type[Settings]:
        """The options of an entry. The entry itself is imported only where nothing else has them.

        Raises:
            KeyError: there is no entry of that name.
        """
        if isinstance(self._entries[name], str) and name in self._params:
            return self._params[name]
        found: type[Settings] = self[name].Params
        return found

    def imports(self, name: object) -> bool:
        """Whether `params` of that name imports the entry."""
        entry = self._entries.get(name) if isinstance(name, str) else None
        return isinstance(entry, str) and name not in self._params

    def by_class_name(self, name: str) -> type[Entry]:
        """The entry whose class has that name, for `from model.sharing import PLE`.

        Raises:
            AttributeError: there is none.
        """
        for entry, where in self._entries.items():
            if name == (where.rpartition(":")[2] if isinstance(where, str) else where.__name__):
                return self[entry]
        raise AttributeError(f"no entry has a class {name}: {nearest(name, self)}")


def named(value: Any) -> Any:
    """A bare name as the table that it stands for.

    Example:
        >>> named("ple")
        {'name': 'ple'}
    """
    return {"name": value} if isinstance(value, str) else value


def entry_params(value: Any, known: Registry[Any]) -> Any:
    """The Params of an entry of a registry, from {"name": …, options} or a bare name.

    Raises:
        ValueError: the name is unknown.
    """
    value = named(value)
    if not isinstance(value, Mapping):
        return value
    name = value.get("name")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"name = {name!r} is unknown: {nearest(str(name), known, listed=True)}")
    return known.params(name).model_validate(dict(value))
