"""Which rows are the same again: exactly, nearly, or as a held-out row."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_flywheel.components.curate.neighbours import Pairs, clusters, first_of_each, similar_pairs
from llm_flywheel.components.curate.rows import Drop, Row
from llm_flywheel.components.curate.shingles import I64, joined, shingle_sets

DedupOn = Literal["conversation", "user"]
Parted = tuple[list[Row], list[Drop]]


def drop_exact(rows: Sequence[Row], on: DedupOn) -> Parted:
    """Keep the first of rows that differ in white space only (reason ``exact_duplicate``)."""
    first: dict[bytes, Row] = {}
    kept, dropped = [], []
    for row in rows:
        same = first.setdefault(row.conversation_key if on == "conversation" else row.user_text.encode(), row)
        if same is row:
            kept.append(row)
        else:
            dropped.append(Drop(row.input_id, "exact_duplicate", same.id))
    return kept, dropped


def drop_near(rows: Sequence[Row], on: DedupOn, words: int, threshold: float) -> tuple[Parted, int]:
    """Keep rows of which no earlier kept one is a near-duplicate (reason ``near_duplicate``).

    On ``conversation`` both what the user wrote and what was answered must be alike, each at the threshold: the same
    question with another answer (or label) is another example. Rows with different system messages are never alike.

    Returns:
        Kept and dropped rows, and how many texts were not compared with all of a bucket.
    """
    user = shingle_sets([row.user_text for row in rows], words)
    if on == "user":
        pairs = similar_pairs(user, threshold)
    else:
        answers = shingle_sets([row.text_of("assistant") for row in rows], words)
        systems = np.unique([row.text_of("system") for row in rows], return_inverse=True)[1]

        def similarity(left: I64, right: I64) -> NDArray[np.float64]:
            both = np.minimum(user.jaccard(left, right), answers.jaccard(left, right))
            return np.where(systems[left] == systems[right], both, 0.0)

        # Where both parts are at least t alike, so is their disjoint union: no pair is missed.
        pairs = similar_pairs(joined(user, answers), threshold, similarity)
    duplicate_of = first_of_each(pairs)
    kept = [row for index, row in enumerate(rows) if index not in duplicate_of]
    dropped = [
        Drop(rows[index].input_id, "near_duplicate", rows[other].id) for index, other in sorted(duplicate_of.items())
    ]
    return (kept, dropped), pairs.uncompared


def drop_leaks(rows: Sequence[Row], held_out: Sequence[Row], words: int, threshold: float) -> tuple[Parted, int]:
    """Drop rows whose user text is, exactly or nearly, that of a held-out row (reason ``leaks_into_test``).

    Answers do not count: a model that saw the test's question with another answer has seen the test's question.

    Returns:
        Kept and dropped rows, and how many texts were not compared with all of a bucket.
    """
    if not held_out:
        return (list(rows), []), 0
    # Held-out texts stand first, so that they are the ones that all others are compared with.
    texts: dict[str, int] = {}
    test_row: dict[int, Row] = {}
    for row in held_out:
        test_row.setdefault(texts.setdefault(row.user_text, len(texts)), row)
    for row in rows:
        texts.setdefault(row.user_text, len(texts))
    pairs = similar_pairs(shingle_sets(list(texts), words), threshold)
    nearest = _nearest(pairs, len(test_row))
    kept, dropped = [], []
    for row in rows:
        number = texts[row.user_text]
        number = nearest.get(number, number)
        if number in test_row:
            dropped.append(Drop(row.input_id, "leaks_into_test", test_row[number].id))
        else:
            kept.append(row)
    return (kept, dropped), pairs.uncompared


def _nearest(pairs: Pairs, tests: int) -> dict[int, int]:
    """Per text that is no test text the most similar test text; test texts are numbered below ``tests``."""
    best: dict[int, tuple[float, int]] = {}
    for left, right, similarity in zip(
        pairs.left.tolist(), pairs.right.tolist(), pairs.similarity.tolist(), strict=True
    ):
        if left < tests <= right and similarity > best.get(right, (0.0, 0))[0]:
            best[right] = (similarity, left)
    return {right: left for right, (_, left) in best.items()}


def leakage_clusters(rows: Sequence[Row], words: int, threshold: float) -> tuple[list[int], int]:
    """Number the rows so that rows with the same or a similar user text have the same number.

    Returns:
        Per row the number of its cluster, and how many texts were not compared with all of a bucket.
    """
    texts: dict[str, int] = {}
    numbers = [texts.setdefault(row.user_text, len(texts)) for row in rows]
    pairs = similar_pairs(shingle_sets(list(texts), words), threshold)
    component = clusters(len(texts), zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    return [component[number] for number in numbers], pairs.uncompared
