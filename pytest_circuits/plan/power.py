"""How many prompts a rate needs before it can be shown, and before it is likely to be.

All is said of what goes wrong: a rate that has to be at least 98 % allows 2 % of the prompts to.
The bound of Clopper and Pearson keeps to a share exactly when seeing so few wrong ones would have
at most the probability alpha if the share were the true one; no interval is needed to count.
"""

from __future__ import annotations

MOST = 10_000_000  # prompts


def allowed(share: float, *, n: int, alpha: float) -> int | None:
    """The most of n prompts that may go wrong if at most this share is to be shown.

    None: n prompts are too few to show it even when none goes wrong.
    """
    from scipy.special import bdtr  # noqa: PLC0415  (loaded when something is planned)

    if bdtr(0, n, share) > alpha:
        return None
    few, many = 0, n  # `few` may go wrong, `many` may not
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (middle, many) if bdtr(middle, n, share) <= alpha else (few, middle)
    return few


def least(share: float, *, alpha: float, true: float = 0.0, power: float = 0.99) -> int | None:
    """The fewest prompts with which a share that is really `true` is shown with this power.

    Each number of wrong prompts is first allowed at some number of prompts, and there the power is
    the greatest for it; so it is enough to look at those. None: more than ten million.
    """
    from scipy.special import bdtr  # noqa: PLC0415

    wrong = 0
    while (n := _first(share, wrong, alpha)) is not None:
        if bdtr(wrong, n, true) >= power:
            return n
        wrong += 1 + wrong // 200
    return None


def _first(share: float, wrong: int, alpha: float) -> int | None:
    """The fewest prompts of which so many may go wrong."""
    from scipy.special import bdtr  # noqa: PLC0415

    few, many = wrong, wrong + 1
    while bdtr(wrong, many, share) > alpha:
        few, many = many, 2 * many
        if many > MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if bdtr(wrong, middle, share) <= alpha else (middle, many)
    return many
