"""Models whose circuits are known because their weights were set by hand.

`copier` is one model with paths at fixed places, for tests of claims, gate and views. The four
kinds of `KINDS` give another model for every seed, whose true circuit is the one that a pruner has
to find; `answer` says what makes a circuit the true one.
"""

from tests.known_models.answer import KnownAnswer
from tests.known_models.bracket import bracket_counter
from tests.known_models.copier import (
    BIAS,
    BIAS_NODE,
    BRACKET_PATH,
    D_HEAD,
    D_MLP,
    D_MODEL,
    DETECT,
    DETECT_AGAIN,
    DETECT_BRACKET,
    NAMES,
    NOISE,
    NOISE_HEADS,
    NOWHERE,
    OTHER,
    OUT,
    OUT_BRACKET,
    QUOTE_PATH,
    READ,
    TYPE,
    TYPE_AGAIN,
    TYPE_BRACKET,
    WEAK_OUT,
    WEAK_PATH,
    WORDS,
    Circuit,
    Weights,
    merged,
    quote_spec,
    write_quote_copier,
)
from tests.known_models.quote import quote_copier, redundant_quote
from tests.known_models.two_hop import two_hop_lookup

KINDS = (quote_copier, bracket_counter, two_hop_lookup, redundant_quote)

__all__ = [
    "BIAS",
    "BIAS_NODE",
    "BRACKET_PATH",
    "DETECT",
    "DETECT_AGAIN",
    "DETECT_BRACKET",
    "D_HEAD",
    "D_MLP",
    "D_MODEL",
    "KINDS",
    "NAMES",
    "NOISE",
    "NOISE_HEADS",
    "NOWHERE",
    "OTHER",
    "OUT",
    "OUT_BRACKET",
    "QUOTE_PATH",
    "READ",
    "TYPE",
    "TYPE_AGAIN",
    "TYPE_BRACKET",
    "WEAK_OUT",
    "WEAK_PATH",
    "WORDS",
    "Circuit",
    "KnownAnswer",
    "Weights",
    "bracket_counter",
    "merged",
    "quote_copier",
    "quote_spec",
    "redundant_quote",
    "two_hop_lookup",
    "write_quote_copier",
]
