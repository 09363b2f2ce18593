"""Optional models for names and addresses beside the rules: spaCy, GLiNER, and Kiwi for Korean.

Each is one function from text to spans behind `NerBackend`. Nothing is ever downloaded: a model is a folder, or a name
that its library has installed; what is missing is an error that prints the command.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from llm_flywheel.components.common.errors import FlywheelError, first_line
from llm_flywheel.components.scan_pii.fold import BLANK
from llm_flywheel.components.scan_pii.spans import PiiType, Span

Tag = Callable[[str], Iterable[Span]]

# Labels of OntoNotes, WikiNER and KLUE models of spaCy.
_SPACY_LABELS: dict[str, PiiType] = {"PERSON": "PERSON", "PER": "PERSON", "PS": "PERSON"}
_GLINER_LABELS: dict[str, PiiType] = {"person": "PERSON", "address": "ADDRESS"}
_SPACY_SCORE = 0.65
_KIWI_SCORE = 0.7


class NerBackend(Protocol):
    """A model beside the rules."""

    def find(self, text: str) -> Iterator[Span]:
        """Yield what the model finds in a folded text, in code points of it."""


@dataclass(frozen=True)
class Model:
    """A tagger whose spans are checked before anyone relies on them.

    Attributes:
        name: Back end and model, for errors.
        tag: Text to spans; sees a piece of at most ``piece`` characters.
        piece: Characters that the model takes at a time.
        overlap: Characters that two pieces share, so that a name at the seam is whole in one of them.
    """

    name: str
    tag: Tag
    piece: int = 50_000
    overlap: int = 200

    def find(self, text: str) -> Iterator[Span]:
        """Yield the model's spans.

        Args:
            text: Folded text of any length.

        Raises:
            FlywheelError: A span is empty or outside the text that the model was given.
        """
        for offset in range(0, max(1, len(text) - self.overlap), self.piece - self.overlap):
            part = text[offset : offset + self.piece]
            for start, end, kind, score in self.tag(part):
                if not 0 <= start < end <= len(part):
                    raise FlywheelError(
                        f"the model returned the span {start}:{end} for a text of {len(part)} characters",
                        where=f"ner {self.name}",
                        fix="use another model, or leave the key ner out",
                        reason="ner_bad_span",
                    )
                if BLANK not in part[start:end]:
                    yield Span(start + offset, end + offset, kind, score)


def load(backend: str, model: str = "") -> NerBackend:
    """Make a back end.

    Args:
        backend: ``spacy``, ``gliner`` or ``kiwi``.
        model: Folder of the model, or the name under which its library has it; ``kiwi`` brings its own.

    Returns:
        The back end, its model in memory.

    Raises:
        FlywheelError: The package or the model is missing, or nobody knows the back end.
    """
    loaders = {"spacy": _spacy, "gliner": _gliner, "kiwi": _kiwi}
    if backend not in loaders:
        raise FlywheelError(
            f"got {backend!r}; expected one of {', '.join(loaders)}", where="ner.backend", reason="ner_unknown"
        )
    return loaders[backend](model)


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FlywheelError(
            f"the package {name} is not installed",
            where="ner.backend",
            fix=f"pip install 'llm-flywheel[{extra}]'",
            reason="ner_missing_package",
        ) from error


def _missing_model(backend: str, model: str, error: BaseException, fix: str) -> FlywheelError:
    return FlywheelError(
        f"{backend} has no model {model!r}: {first_line(error)}" if model else f"{backend} needs a model",
        where="ner.model",
        fix=fix,
        reason="ner_missing_model",
    )


def _spacy(model: str) -> Model:
    spacy = _package("spacy", "presidio")
    # Names such as ko-core-news-sm on PyPI are not spaCy's: its models are files of its GitHub releases.
    fix = "pip install the wheel from https://github.com/explosion/spacy-models/releases, or give its unpacked folder"
    try:
        pipeline = spacy.load(model)
    except (OSError, ValueError) as error:
        raise _missing_model("spacy", model, error, fix) from error

    def tag(text: str) -> Iterator[Span]:
        for entity in pipeline(text).ents:
            if entity.label_ in _SPACY_LABELS:
                yield Span(entity.start_char, entity.end_char, _SPACY_LABELS[entity.label_], _SPACY_SCORE)

    return Model(f"spacy {model}", tag)


def _gliner(model: str) -> Model:
    # Read when huggingface_hub is imported: the tokenizer would ask the hub even for a model in a folder.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    gliner = _package("gliner", "gliner")
    fix = "download the model where there is a network, and give its folder as ner.model"
    try:
        network = gliner.GLiNER.from_pretrained(model, local_files_only=True)
    except (OSError, ValueError) as error:
        raise _missing_model("gliner", model, error, fix) from error

    def tag(text: str) -> Iterator[Span]:
        for entity in network.predict_entities(text, list(_GLINER_LABELS), threshold=0.5):
            yield Span(entity["start"], entity["end"], _GLINER_LABELS[entity["label"]], float(entity["score"]))

    # It reads 384 words and drops the rest.
    return Model(f"gliner {model}", tag, piece=1_200, overlap=120)


def _kiwi(model: str) -> Model:
    from llm_flywheel.components.scan_pii.rules.person_ko import has_evidence

    kiwi = _package("kiwipiepy", "ko").Kiwi(**({"model_path": model} if model else {}))

    def tag(text: str) -> Iterator[Span]:
        for token in kiwi.tokenize(text):
            start, end = token.start, token.start + token.len
            if token.tag == "NNP" and 2 <= token.len <= 5 and has_evidence(text, start, end):
                yield Span(start, end, "PERSON", _KIWI_SCORE)

    return Model("kiwi", tag)
