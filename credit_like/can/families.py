"""Attack families: one word for what each data set calls its own way."""

from __future__ import annotations

import re

#: The families that several data sets share. A data set's other attacks keep their own word.
FAMILIES = ("dos", "fuzzing", "spoofing", "replay", "suspension", "masquerade")

#: Words of file and folder names. Earlier entries win: a masquerade is often named after the fabrication it hides.
_WORDS = {
    "masquerade": "masquerade",
    "suspension": "suspension",
    "payloadfuzzing": "payload_fuzzing",
    "messageidfuzzing": "fuzzing",
    "arbitrarysequencereplay": "sequence_replay",
    "singleidreplay": "replay",
    "denialofservice": "dos",
    "dos": "dos",
    "fuzzing": "fuzzing",
    "fuzzy": "fuzzing",
    "fuzz": "fuzzing",
    "replay": "replay",
    "spoofing": "spoofing",
    "spoof": "spoofing",
    "fabrication": "spoofing",
    "gear": "spoofing",
    "rpm": "spoofing",
}
_KNOWN = dict.fromkeys(_WORDS.values())

#: Words that say that a file is a log or holds an attack, not which one.
_NOISE = {"attack", "attacks", "can", "csv", "data", "dataset", "gz", "infected", "log", "test", "train", "txt", "zip"}


def attack_family(*names: str) -> str:
    """The family that ``names`` (a file's, its folder's, or a metadata word; the most telling first) speak of.

    Known words give their family; without any, the first name's own words in snake_case, or "attack" where it has
    none. ``attack_family("DoS-1.csv.gz") == "dos"``, ``attack_family("max_speedometer_attack_1") ==
    "max_speedometer"``.
    """
    for name in names:
        if name.lower() in _KNOWN:
            return name.lower()
        tokens = _tokens(name)
        found = {*tokens, "".join(tokens)}
        for word, family in _WORDS.items():
            if word in found:
                return family
    own = re.sub(r"([a-z])([A-Z])", r"\1 \2", names[0])
    words = [word for word in _tokens(own) if word not in _NOISE]
    return "_".join(words) or "attack"


def _tokens(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())
