"""With this folder on PYTHONPATH a study trains and evaluates by autograd: its machine is none that the kernels were tried on."""

import platform

platform.machine = lambda: "any"
