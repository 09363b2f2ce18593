"""What became of the rows: counts that add up, per file and in all."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class FileCount:
    """What became of one file's rows: ``rows_in == rows_out + the sum of quarantined``.

    A file that cannot be read at all counts as one quarantined row. ``revision`` is the commit of the repository that
    the file was fetched from, if any.
    """

    name: str
    kind: str
    split: str
    revision: str = ""
    encoding: str = ""
    layouts: list[str] = field(default_factory=list)
    rows_in: int = 0
    rows_out: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)


@dataclass
class IngestResult:
    """What ``run`` did.

    Attributes:
        version: Dataset version of the written rows.
        rows_in: Rows read, a wholly unreadable file counted as one.
        rows_out: Rows written.
        quarantined: Rows per reason; ``rows_in == rows_out + sum(quarantined.values())``.
        languages: Written rows per language.
        splits: Written rows per split: ``test`` for held-out files, ``train`` for the rest.
        files: The same counts per file.
        ignored: Files of a named folder that are no data.
    """

    version: str = ""
    rows_in: int = 0
    rows_out: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    files: list[FileCount] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
