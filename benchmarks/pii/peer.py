"""Presidio, as a process of its own environment: a line of texts in, a line of spans and CPU time out.

``python peer.py kr|trimmed`` answers every line ``["text", …]`` with ``{"cpu_s", "spans": [[[start, end, type], …],
…]}``; its first line is ``{"cpu_s"}`` of its start. Nothing is downloaded: spaCy runs with a blank English pipeline,
as no trained one is on a package index, and the public suffixes are those that tldextract ships.
"""

import json
import logging
import sys
import time
from typing import Any

logging.disable(logging.WARNING)

import spacy  # type: ignore[import-not-found]  # noqa: E402
import tldextract  # type: ignore[import-not-found]  # noqa: E402
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # type: ignore[import-not-found]  # noqa: E402
from presidio_analyzer import predefined_recognizers as known  # noqa: E402
from presidio_analyzer.nlp_engine import SpacyNlpEngine  # type: ignore[import-not-found]  # noqa: E402

KOREAN = ("KrRrn", "KrFrn", "KrBrn", "KrDriverLicense", "KrPassport")
OURS = ("CreditCard", "Email", "Iban", "Ip", "UsSsn", "UsPassport", *KOREAN)


class BlankEngine(SpacyNlpEngine):  # type: ignore[misc]
    """Tokens only."""

    def __init__(self) -> None:
        super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
        self.nlp = {"en": spacy.blank("en")}


def registry(variant: str) -> Any:
    """Recognisers: ``kr`` is the default of Presidio plus Korea, ``trimmed`` only what finds our types."""
    made = RecognizerRegistry()
    regions: tuple[str, ...] = ("US", "GB", "KR")
    names: tuple[str, ...] = OURS
    if variant == "kr":
        made.load_predefined_recognizers(languages=["en"])
        made.remove_recognizer("PhoneRecognizer")
        regions = (*known.PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS, "KR")
        names = KOREAN
    for name in names:
        made.add_recognizer(getattr(known, f"{name}Recognizer")(supported_language="en"))
    made.add_recognizer(known.PhoneRecognizer(supported_regions=regions))
    return made


def main() -> None:
    """Answer until standard input ends."""
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = AnalyzerEngine(registry=registry(sys.argv[1]), nlp_engine=BlankEngine(), supported_languages=["en"])
    print(json.dumps({"cpu_s": time.process_time()}), flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        started = time.process_time()
        found = [engine.analyze(text, language="en") for text in texts]
        cpu_s = time.process_time() - started
        spans = [[(item.start, item.end, item.entity_type) for item in items] for items in found]
        print(json.dumps({"cpu_s": cpu_s, "spans": spans}), flush=True)


if __name__ == "__main__":
    main()
