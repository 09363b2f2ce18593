import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_flywheel.components.curate.neighbours import Pairs, banding, clusters, first_of_each, similar_pairs
from llm_flywheel.components.curate.shingles import joined, shingle_sets


def pairs_of(texts: list[str], threshold: float, words: int = 2) -> list[tuple[int, int, float]]:
    pairs = similar_pairs(shingle_sets(texts, words), threshold)
    return [
        (left, right, round(value, 3))
        for left, right, value in zip(pairs.left.tolist(), pairs.right.tolist(), pairs.similarity.tolist(), strict=True)
    ]


def brute_force(texts: list[str], threshold: float, words: int) -> set[tuple[int, int]]:
    sets = []
    for text in texts:
        parts = text.split()
        size = min(words, len(parts))
        sets.append({tuple(parts[at : at + size]) for at in range(len(parts) - size + 1)})
    return {
        (left, right)
        for right in range(len(sets))
        for left in range(right)
        if len(sets[left] & sets[right]) / len(sets[left] | sets[right]) >= threshold
    }


def test_jaccard_is_exact_on_word_pairs_without_case_and_punctuation() -> None:
    texts = ["Can I track my card?", "can i TRACK my card", "can i track my order", "제 카드 어디 있나요", "!?", "..."]
    sets = shingle_sets(texts, 2)
    left, right = np.array([0, 0, 0, 4, 4]), np.array([1, 2, 3, 5, 4])
    assert sets.jaccard(left, right).tolist() == [1.0, 3 / 5, 0.0, 0.0, 1.0]
    assert sets.sizes.tolist() == [4, 4, 4, 3, 1, 1]


def test_the_same_words_asked_and_answered_are_different_shingles() -> None:
    one, other = shingle_sets(["a b", "c d"], 2), shingle_sets(["c d", "a b"], 2)
    both = joined(one, other)
    assert both.sizes.tolist() == [2, 2]
    assert both.jaccard(np.array([0]), np.array([1])).tolist() == [0.0]


@given(st.lists(st.text(st.characters(max_codepoint=0x31000), max_size=30), max_size=5))
def test_words_are_runs_of_letters_digits_and_marks_of_every_script(texts: list[str]) -> None:
    def is_word(character: str) -> bool:
        category = unicodedata.category(character)
        return category[0] in "LMN" or category == "Pc"

    sets = shingle_sets(texts, 1)
    for text, size in zip(texts, sets.sizes.tolist(), strict=True):
        lower = "".join(low if len(low := one.lower()) == 1 else one for one in text)
        words = "".join(one if is_word(one) else " " for one in lower).split()
        assert size == max(1, len(set(words)))


def test_lone_surrogates_and_astral_letters_are_read() -> None:
    texts = ["\ud800 a", "a", "𠮷野 屋", "𠮷野屋", "🙂", "🙃", "🙂"]
    left, right = np.array([0, 2, 4, 4]), np.array([1, 3, 5, 6])
    assert shingle_sets(texts, 1).jaccard(left, right).tolist() == [1.0, 0.0, 0.0, 1.0]


@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=8).map(" ".join), min_size=2, max_size=8), st.floats(0, 1)
)
def test_counting_stops_early_only_below_what_is_asked_for(texts: list[str], least: float) -> None:
    sets = shingle_sets(texts, 1)
    left, right = np.triu_indices(len(texts), 1)
    exact, quick = sets.jaccard(left, right), sets.jaccard(left, right, least)
    assert ((exact == quick) | ((exact < least) & (quick < least))).all()


def test_more_texts_than_fit_into_one_batch_keep_their_numbers() -> None:
    texts = [f"number {n} of many" for n in range(1_203)]
    sets = shingle_sets([*texts, texts[700]], 2)
    both = joined(sets, sets)
    assert both.sizes.tolist() == [6] * 1_204
    for found in (sets, both):
        assert found.jaccard(np.array([1_203, 1_203]), np.array([700, 701])).tolist() == [1.0, 1 / 5]


def test_similar_texts_are_found_whatever_their_place() -> None:
    texts = ["alpha beta gamma delta", "nothing alike here", "alpha beta gamma delta epsilon", "", ""]
    assert pairs_of(texts, 0.7) == [(0, 2, 0.75), (3, 4, 1.0)]
    assert pairs_of([], 0.7) == pairs_of(["one"], 0.7) == []


@pytest.mark.parametrize(("threshold", "words"), [(0.4, 2), (0.5, 1), (0.5, 2), (0.8, 2), (0.8, 5)])
def test_the_search_finds_what_comparing_all_pairs_finds(threshold: float, words: int) -> None:
    rng = random.Random(7)
    vocabulary = [f"w{number}" for number in range(200)]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(1, 30))) for _ in range(150)]
    for _ in range(250):
        parts = rng.choice(texts).split()
        parts[rng.randrange(len(parts))] = rng.choice(vocabulary)
        texts.append(" ".join(parts))
    expected = brute_force(texts, threshold, words)
    found = {(left, right) for left, right, _ in pairs_of(texts, threshold, words)}
    assert len(expected) > 20
    assert found <= expected
    assert len(found) >= 0.99 * len(expected)


def test_thousands_of_rows_from_one_template_are_connected_without_comparing_all() -> None:
    texts = [f"please tell me where my order {number} is right now and when it will be here" for number in range(3_000)]
    pairs = similar_pairs(shingle_sets(texts, 2), 0.6)
    assert len(pairs.left) < 300_000
    assert set(clusters(3_000, pairs).tolist()) == {0}


def test_more_rows_per_band_are_taken_for_higher_thresholds() -> None:
    assert banding(0.5) == (52, 3)
    assert banding(0.8) == (23, 6)
    assert banding(1.0) == (1, 8)


def test_a_text_is_dropped_for_a_kept_one_only() -> None:
    chain = ["a b c d e f g h i j k l", "a b c d e f g h i j k x", "z b c d e f g h i j k x"]
    pairs = similar_pairs(shingle_sets(chain, 2), 0.8)
    assert list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == [(0, 1), (1, 2)]
    assert first_of_each(pairs) == {1: 0}


def test_clusters_are_named_by_their_smallest_member() -> None:
    pairs = Pairs(np.array([4, 1, 2]), np.array([5, 4, 3]), np.ones(3))
    assert clusters(6, pairs).tolist() == [0, 1, 2, 2, 1, 1]
    assert clusters(2, Pairs.merged([])).tolist() == [0, 1]
