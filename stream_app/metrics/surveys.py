"""What an answer to a survey counts as."""

from typing import Literal


def nps_kind(score: float) -> Literal["promoter", "passive", "detractor"] | None:
    """Return what an answer to "how likely are you to recommend us", 0 to 10, counts as; None for any other number.

    Source: F. Reichheld (2003), "The one number you need to grow", Harvard Business Review. A score of 8.5 is none
    of the eleven answers, and neither rounding it up nor down would be honest.
    """
    if score not in range(11):
        return None
    if score >= 9:
        return "promoter"
    return "passive" if score >= 7 else "detractor"


def is_satisfied(rating: float) -> bool | None:
    """Say whether a rating of 1 to 5 is satisfied, which 4 and 5 are; None for any other number."""
    return rating >= 4 if rating in range(1, 6) else None
