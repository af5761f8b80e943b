"""The rules of josa stripping: each at its own example, none for nothing, and what the table must hold."""

import pytest

from kobert_tf2.reading import josa, josa_rules
from kobert_tf2.reading.josa import JosaStripper, strip_josa


@pytest.fixture(scope="module")
def stripper():
    return JosaStripper()


def stripped(sentence, span, stripper=strip_josa):
    start = sentence.index(span)
    return sentence[slice(*stripper(sentence, start, start + len(span)))]


@pytest.mark.parametrize("rule", josa.RULES, ids=lambda rule: rule.name)
def test_a_rule_does_what_its_example_says(rule, stripper):
    start = rule.sentence.index(rule.given)
    steps = stripper.steps(rule.sentence, start, start + len(rule.given))
    assert rule.name in [step.rule for step in steps]
    assert rule.sentence[slice(*steps[-1][1:])] == rule.left


@pytest.mark.parametrize("rule", josa.RULES, ids=lambda rule: rule.name)
def test_no_rule_is_there_for_nothing(rule, stripper):
    """Without it, its example is left otherwise."""
    others = JosaStripper(stripper.analyser, rules=[other for other in josa.RULES if other != rule])
    assert stripped(rule.sentence, rule.given, others) != rule.left


def test_every_rule_has_a_name_of_its_own_and_an_example_that_holds_its_span():
    names = [rule.name for rule in josa_rules.RULES]
    assert len(set(names)) == len(names)
    for rule in josa_rules.RULES:
        assert rule.given in rule.sentence
        assert rule.left in rule.given
        assert rule.left != rule.given


@pytest.mark.parametrize(
    ("sentence", "span", "left"),
    [
        ("배는 나루터 에 닿았다.", " 나루터 ", "나루터"),
        ("누리는 강을 건넜다!", "건넜다!", "건넜다"),
        ("배 이름은 ‘물결’이다.", "‘물결’이다.", "물결"),
        ("해미(海美)는 노래했다.", "해미(海美)는", "해미"),
        ("나루(강가의 포구)는 좁다.", "나루(강가의", "나루"),
    ],
)
def test_marks_go_where_the_span_ran_to_the_end_of_an_eojeol(stripper, sentence, span, left):
    assert stripped(sentence, span, stripper) == left
