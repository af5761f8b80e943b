"""Mutation test of josa stripping: removes the guards and the table entries one by one; reports undetected ones.

    python tests/support/josa_mutants.py

Run by hand; it takes a minute. A mutant is killed if it changes the result for a sentence of the rules, of the guards
or of josa_cases.py. Exits with status 1 if any mutant survives.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator

import josa_cases

from kobert_tf2.reading import josa_guards, josa_rules, josa_text
from kobert_tf2.reading.josa import JosaStripper

MODULES = (josa_guards, josa_rules, josa_text)
# Derived from other tables, or not tables of words.
NOT_TABLES = {"RULES", "GUARDS", "TWO_FORMS", "OPENERS", "CLOSERS"}


def main() -> int:
    stripper = JosaStripper()
    examples = [(rule.sentence, rule.given) for rule in josa_rules.RULES]
    before = results(stripper, examples)
    survivors, count = [], 0
    for name, mutation in mutations():
        count += 1
        with mutation():
            josa_guards.guards_of.cache_clear()
            stripper._rules_by_tag.clear()
            if results(stripper, examples) == before:
                survivors.append(name)
    josa_guards.guards_of.cache_clear()
    print(f"{count} mutants, {count - len(survivors)} killed; survivors: {survivors}")
    return int(bool(survivors))


def results(stripper: JosaStripper, examples: list[tuple[str, str]]) -> list:
    """The stripped result of every sentence in the tests."""
    spans = [(sentence, sentence.index(given), sentence.index(given) + len(given)) for sentence, given in examples]
    try:
        left = [stripper(*span) for span in spans] + [stripper(*case[:3]) for case in josa_cases.all_cases()]
        return [left, josa_cases.failures_of_names(), josa_cases.failures_of_finals()]
    except (KeyError, IndexError) as error:
        return [repr(error)]


def mutations() -> Iterator[tuple[str, Callable]]:
    for guard in josa_guards.GUARDS:
        others = tuple(other for other in josa_guards.GUARDS if other is not guard)
        yield f"guard {guard.name}", lambda others=others: rebound("GUARDS", others)
        if isinstance(guard.forms, set) and not any(guard.forms is table for _, table in tables()):
            for entry in sorted(guard.forms):
                yield f"{guard.name}.forms {entry}", lambda forms=guard.forms, entry=entry: without(forms, entry)
    for name, table in tables():
        for entry in list(table):
            if isinstance(table, set | dict):
                yield f"{name} {entry}", lambda table=table, entry=entry: without(table, entry)
            else:
                rest = [other for other in table if other != entry]
                rest = "".join(rest) if isinstance(table, str) else tuple(rest)
                yield f"{name} {entry}", lambda name=name, rest=rest: rebound(name, rest)


def tables() -> list[tuple[str, object]]:
    """The modules' tables by name, without duplicates."""
    found = {}
    for module in MODULES:
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, set | dict | tuple | str) and name not in NOT_TABLES:
                found.setdefault(id(value), (name, value))
    return list(found.values())


@contextlib.contextmanager
def without(table, entry) -> Iterator[None]:
    if isinstance(table, set):
        table.discard(entry)
        yield
        table.add(entry)
    else:
        whole = dict(table)
        del table[entry]
        yield
        table.clear()
        table.update(whole)


@contextlib.contextmanager
def rebound(name: str, value) -> Iterator[None]:
    whole = {module: getattr(module, name) for module in MODULES if hasattr(module, name)}
    for module in whole:
        setattr(module, name, value)
    yield
    for module, old in whole.items():
        setattr(module, name, old)


if __name__ == "__main__":
    sys.exit(main())
