"""Adam (Kingma and Ba 2015) as `torch.optim.Adam` computes it, with AdamW's decoupled weight decay as a factor.

    m = m + (1 - b1) (g - m);  v = b2 v + (1 - b2) g g
    p = shrink p - lr/(1 - b1^t)  m / (sqrt(v)/sqrt(1 - b2^t) + eps)

`rates` holds, a step, the three numbers that depend on t: lr/(1 - b1^t), 1/sqrt(1 - b2^t), shrink; `hyper` holds
1 - b1, b2, 1 - b2, eps.
"""

from modelflow.kernels.emit import Array, Code, Num

RATES = 3
HYPER = 4


class Adam:
    """The constants of one step in every lane, and where parameters and averages lie."""

    def __init__(self, k: Code) -> None:
        self.k = k
        rates, hyper = k.array(k.rates), k.array(k.hyper)
        self.rate, self.correction, self.shrink = (rates.broadcast(i) for i in range(RATES))
        self.new1, self.old2, self.new2, self.eps = (hyper.broadcast(i) for i in range(HYPER))
        self.memories = k.vectors(k.params), k.vectors(k.first), k.vectors(k.second)

    def update(self, index: Num, gradient: Num) -> None:
        """One vector of parameters, `index` counting vectors."""
        k = self.k
        params, first, second = (memory.at(index) for memory in self.memories)
        m = k.fma(self.new1, gradient - first[0], first[0])
        v = k.fma(self.new2 * gradient, gradient, self.old2 * second[0])
        denominator = k.fma(k.sqrt(v), self.correction, self.eps)
        first[0], second[0] = m, v
        params[0] = params[0] * self.shrink - self.rate * m / denominator


def small(k: Code, count: int) -> None:
    """Arguments: params, first, second, rates, hyper, grads. Updates the first `count` vectors."""
    adam = Adam(k)
    grads: Array = k.vectors(k.grads)
    for i in k.loop(count):
        adam.update(i, grads[i])
