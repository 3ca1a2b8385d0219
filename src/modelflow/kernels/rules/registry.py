"""The update rules, found in the files of this folder.

rules()["SGD"].of({"momentum": 0.9, "nesterov": False})  ->  SGD(momentum=True, nesterov=False)
"""

from functools import cache

import modelflow.kernels.rules as folder
from modelflow.io.found import classes_in
from modelflow.kernels.rules.rule import Rule


@cache
def rules() -> dict[str, type[Rule]]:
    """Each by the names of the classes of torch.optim that it computes."""
    return {name: rule for rule in classes_in(folder, Rule) for name in rule.optimizers}
