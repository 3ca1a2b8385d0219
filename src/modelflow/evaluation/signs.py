"""The words by which a stored warning is known as a sign that its run died. No torch.

Records of before hold these words: one that changes keeps its old form in `SIGNS_OF_DEATH`.
"""

ONE_CLASS = "of the images are called"
GUESSING = "is no better than guessing"
DEAD_UNITS = "units never fire"
SIGNS_OF_DEATH = (ONE_CLASS, GUESSING, DEAD_UNITS)


def is_sign_of_death(warning: str) -> bool:
    """Whether a warning is the health rule's (evaluation/health.py), and not of another kind."""
    return any(sign in warning for sign in SIGNS_OF_DEATH)
