"""Bounds of mean losses: how often they miss, and how much wider than a normal approximation.

Draws many samples of pairs from a distribution whose mean is known, each loss counted as at most
the cap, and asks each bound whether that mean lies beyond it. For every distribution and size of
sample, at alpha 0.01:

    upper_missed, lower_missed                 share of samples with the mean beyond the bound: at
                                               most alpha, give or take what simulation can tell
    normal_upper_missed, normal_lower_missed   the same of Student's bounds
    upper_wider, lower_wider                   how far from what was seen, over Student's; of the
                                               means over all samples

- `softplus`: what a preference costs that is normal, 3 nats with a deviation of 2.
- `rare_6`, `rare_10`, `rare_40`: 6 nats on 5 % of pairs, 10 on 2 %, 40 on 0.5 %; else nothing.

And `gap_0.05_settled`, `gap_0.1_settled`: with how many pairs a loss that is so much above the
whole model's, give or take half of that from pair to pair, is shown to be at most 0.25 nats above
it, in nine of ten samples.

Run: python tests/benchmarks/bounds.py [--samples 2000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import sqrt

import numpy as np
from scipy.special import stdtrit

from pytest_circuits.claims import statistics
from pytest_circuits.claims.statistics import GAPS, LOSS_CAP, LOSSES, Floats, softplus

ALPHA = 0.01
SIZES = (16, 100, 500)
MANY = 10_000_000  # draws on which the mean of a distribution is measured
MOST_GAP = 0.25  # nats
Draw = Callable[[np.random.Generator, int], Floats]


def rare(share: float, loss: float) -> Draw:
    """A loss on a share of the pairs, and none on the others."""
    return lambda generator, n: np.where(generator.random(n) < share, min(loss, LOSS_CAP), 0.0)


def ordinary(generator: np.random.Generator, n: int) -> Floats:
    """Losses of normal margins."""
    return softplus(generator.normal(3, 2, size=n)).clip(max=LOSS_CAP)


DISTRIBUTIONS: dict[str, Draw] = {
    "softplus": ordinary,
    "rare_6": rare(0.05, 6),
    "rare_10": rare(0.02, 10),
    "rare_40": rare(0.005, 40),
}


def measure(draw: Draw, *, n: int, samples: int, mean: float) -> dict[str, float]:
    """The figures of one distribution at one size of sample."""
    generator = np.random.default_rng(n)
    reaches, normal_reaches = np.zeros((samples, 2)), np.zeros((samples, 2))  # lower, upper
    centres = np.zeros(samples)
    for place in range(samples):
        losses = draw(generator, n)
        found = statistics.mean(losses, ALPHA, LOSSES)
        centres[place] = found.estimate
        reaches[place] = found.estimate - found.lower, found.upper - found.estimate
        normal_reaches[place] = stdtrit(n - 1, 1 - ALPHA) * losses.std(ddof=1) / sqrt(n)
    figures = {}
    for name, each in (("", reaches), ("normal_", normal_reaches)):
        figures[f"{name}upper_missed"] = np.mean(centres + each[:, 1] < mean)
        figures[f"{name}lower_missed"] = np.mean(centres - each[:, 0] > mean)
    lower, upper = reaches.mean(axis=0) / normal_reaches.mean(axis=0)
    return {**figures, "upper_wider": upper, "lower_wider": lower}


def settled(gap: float, *, samples: int) -> int:
    """Pairs with which a gap is shown to be at most `MOST_GAP`, in nine of ten samples."""
    n = 10
    while True:
        generator = np.random.default_rng(n)
        shown = [
            statistics.mean(generator.normal(gap, gap / 2, size=n), ALPHA, GAPS).upper <= MOST_GAP
            for _ in range(samples)
        ]
        if np.mean(shown) >= 0.9:
            return n
        n += 1


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    samples = parser.parse_args().samples
    for name, draw in DISTRIBUTIONS.items():
        mean = float(draw(np.random.default_rng(1), MANY).mean())
        for n in SIZES:
            for what, value in measure(draw, n=n, samples=samples, mean=mean).items():
                print(f"{name}_{n}_{what}: {value:.4g}", flush=True)
    for gap in (0.05, 0.1):
        print(f"gap_{gap:g}_settled: {settled(gap, samples=min(samples, 50))}", flush=True)


if __name__ == "__main__":
    main()
