"""An nftables table as data, and the transaction from one such table to another. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Table:
    """`hooks` are base chains, `chains` the others, body by name; `sets` and `maps` are (type, elements) by name, a
    map's elements with their values. A set whose type is another one needs another name."""

    name: str
    hooks: dict[str, str] = field(default_factory=dict)
    chains: dict[str, str] = field(default_factory=dict)
    sets: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    maps: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)

    def transaction(self, previous: Table | None) -> str:
        """What ``nft -f`` needs to get here from `previous`: only what differs, "" if nothing does. None: whatever
        stands in the kernel under that name is replaced."""
        if previous is None:
            previous = Table(self.name)
            begin = [f"table ip {self.name} {{}}", f"delete table ip {self.name}", f"table ip {self.name} {{}}"]
        else:
            begin = []
        lines = [
            *self._declarations(previous), *self._elements("add", self, previous), *self._bodies(previous),
            *self._map_elements(previous), *self._elements("delete", previous, self), *self._removals(previous),
        ]
        lines = begin + lines
        return "\n".join(lines) + "\n" if lines else ""

    def _declarations(self, previous: Table) -> Iterable[str]:
        t = self.name
        for name in self.chains.keys() - previous.chains.keys():
            yield f"add chain ip {t} {name}"
        for name in self.sets.keys() - previous.sets.keys():
            yield f"add set ip {t} {name} {{ type {self.sets[name][0]}; }}"
        for name in self.maps.keys() - previous.maps.keys():
            yield f"add map ip {t} {name} {{ type {self.maps[name][0]}; }}"

    def _elements(self, verb: str, whose: Table, other: Table) -> Iterable[str]:
        for name, (_, elements) in whose.sets.items():
            if verb == "delete" and name not in other.sets:
                continue  # The set itself goes.
            more = elements - (other.sets[name][1] if name in other.sets else frozenset())
            if more:
                yield f"{verb} element ip {self.name} {name} {{ {', '.join(sorted(more))} }}"

    def _bodies(self, previous: Table) -> Iterable[str]:
        before = {**previous.chains, **previous.hooks}
        for name, body in {**self.chains, **self.hooks}.items():
            if before.get(name) != body:
                if name in before:
                    yield f"flush chain ip {self.name} {name}"
                yield f"table ip {self.name} {{\n  chain {name} {{\n{body}  }}\n}}"

    def _map_elements(self, previous: Table) -> Iterable[str]:
        for name, (_, elements) in self.maps.items():
            before = previous.maps[name][1] if name in previous.maps else {}
            gone = [key for key, value in before.items() if elements.get(key) != value]
            more = [f"{key} : {value}" for key, value in elements.items() if before.get(key) != value]
            if gone:
                yield f"delete element ip {self.name} {name} {{ {', '.join(sorted(gone))} }}"
            if more:
                yield f"add element ip {self.name} {name} {{ {', '.join(sorted(more))} }}"

    def _removals(self, previous: Table) -> Iterable[str]:
        chains = sorted(previous.chains.keys() - self.chains.keys())
        for name in chains:
            yield f"flush chain ip {self.name} {name}"
        for name in chains:
            yield f"delete chain ip {self.name} {name}"
        for name in sorted(previous.sets.keys() - self.sets.keys()):
            yield f"delete set ip {self.name} {name}"
