"""The optimizers and schedules that can be asked for by name; see `optimizers` and `schedules`. No torch."""

from typing import Literal, get_args

Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Schedule = Literal["constant", "one-cycle", "cosine"]
OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)
SCHEDULES: tuple[str, ...] = get_args(Schedule)
