"""The data made for the quickstart: answers stand where they are said to, held-out names are unseen, particles fit."""

import itertools
import re

import pytest

from kobert_tf2 import sample_data


@pytest.mark.parametrize(
    ("word", "particle", "form"),
    [
        ("산", "은/는", "은"),
        ("나무", "은/는", "는"),
        ("서울", "으로/로", "로"),
        ("부산", "으로/로", "으로"),
        ("대구", "으로/로", "로"),
        ("3", "이/가", "이"),
        ("《약속》", "을/를", "을"),
        ("1,234", "과/와", "와"),
    ],
)
def test_particles_follow_the_sound_before_them(word, particle, form):
    assert sample_data.with_particle(word, particle) == form


def questions(data):
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield paragraph["context"], question


@pytest.mark.parametrize("held_out", [False, True])
def test_each_answer_stands_where_it_is_said_to(held_out):
    pairs = list(questions(sample_data.korquad(200, seed=3, held_out=held_out)))
    assert len(pairs) == 800
    for context, question in pairs:
        (answer,) = question["answers"]
        assert context[answer["answer_start"] :].startswith(answer["text"])
        assert "{" not in context + question["question"]
        assert "[" not in context + question["question"]


def test_held_out_names_and_numbers_never_occur_in_training():
    def answers(held_out):
        return {q["answers"][0]["text"] for _, q in questions(sample_data.korquad(500, seed=4, held_out=held_out))}

    common_nouns = set(sample_data._JOBS + sample_data._SPECIALITIES + sample_data._PRODUCTS)
    assert answers(False) & answers(True) <= common_nouns
    training_text = "\n".join(itertools.chain.from_iterable(sample_data.documents(500, seed=5)))
    years = set(re.findall(r"\d{4}년(?! \d)", training_text))
    assert years
    assert not any(sample_data.is_held_out(year) for year in years)


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data():
    assert sample_data.korquad(5, seed=1) == sample_data.korquad(5, seed=1) != sample_data.korquad(5, seed=2)
    assert list(sample_data.documents(5, seed=1)) == list(sample_data.documents(5, seed=1))


def test_answers_are_followed_by_many_particles():
    following = set()
    for context, question in questions(sample_data.korquad(400, seed=6)):
        answer = question["answers"][0]
        rest = context[answer["answer_start"] + len(answer["text"]) :]
        following.add(re.match(r"[가-힣》]*", rest).group())
    assert len(following) >= 25, following
