"""Small mistakes that a module could have, as cosmic-ray makes them: one operator, number or decorator is another.

Some of all that there are, in turn from every kind of operator: those with eleven variants would crowd out the others.
"""

import ast
import difflib
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice, zip_longest
from typing import NamedTuple


class Mutant(NamedTuple):
    """A module with one mistake; the first four tell it from others, wherever its line moves."""

    module: str
    operator: str
    was: str  # the lines that change, without their indentation
    becomes: str
    line: int
    source: str


def draw(module: str, source: str, count: int, seed: int = 0) -> Iterator[Mutant]:
    """So many mutants of a module; a change of one line leaves the rest of what is drawn as it was."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    kinds, lines, nodes = defaultdict(list), source.splitlines(), list(ast_nodes(get_ast(source)))
    for name in operator_names():
        if get_operator(name).arguments():  # two of them put random numbers for variables that one has to name
            continue
        places = [start for node in nodes for start, _ in get_operator(name)().mutation_positions(node)]
        for number, (line, column) in enumerate(places):
            chance = random.Random(f"{seed} {name} {lines[line - 1]} {column} {places[:number].count((line, column))}")
            kinds[name.partition("_")[0]].append((chance.random(), name, number))

    def of_kind(places: list) -> Iterator[Mutant]:
        for _, name, number in sorted(places):
            mutated = mutate_code(source, get_operator(name)(), number)
            with suppress(SyntaxError):
                if bare(mutated) != bare(source):
                    yield Mutant(module, name.removeprefix("core/"), *change(lines, mutated.splitlines()), mutated)

    return islice(filter(None, chain.from_iterable(zip_longest(*map(of_kind, kinds.values())))), count)


def bare(source: str) -> str:
    """A program without annotations: a mistake in one is no mistake in what is computed."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        vars(node).update({name: None for name in ("annotation", "returns") if hasattr(node, name)})
    return ast.dump(tree)


def change(old: list[str], new: list[str]) -> tuple[str, str, int]:
    """The lines that change, what they become, and where they begin."""
    changes = difflib.SequenceMatcher(None, old, new).get_opcodes()
    a, b, c, d = next(place for tag, *place in changes if tag != "equal")
    missing = c == d  # a decorator that is gone, with blank lines before it: which function's?
    was, becomes = (" ".join(" ".join(part).split()) for part in (old[a : b + missing], new[c : d + missing]))
    return was, becomes, a + 1 + sum(not line for line in old[a:b])
