"""The blocks in plain NumPy and float64, from the papers' equations: one network at a time, pairs,
levels and steps in loops.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

Array = np.ndarray
Weights = dict[str, Array]

EPSILON = 1e-3  # Keras' default


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0, z, 0),
    "sigmoid": sigmoid,
    "linear": lambda z: z,
}


def named(variables: Iterable) -> Weights:
    """{path below the layer: value} of its variables; the kernel of `dense_0` goes by `kernel_0`,
    as that of many experts does.
    """
    values = {v.path.partition("/")[2]: np.array(v.numpy(), np.float64) for v in variables}
    return {
        re.sub(r"dense_(\d+)/(kernel|bias)$", r"\2_\1", path): value
        for path, value in values.items()
    }


def under(w: Weights, scope: str) -> Weights:
    """The weights of the part called `scope`."""
    return {
        path.removeprefix(f"{scope}/"): value
        for path, value in w.items()
        if path.startswith(f"{scope}/")
    }


def own(w: Weights, network: int, count: int) -> Weights:
    """The weights of one of `count` networks that are held together: its matrix of [count, …], or
    its share of the columns.
    """

    def cut(value: Array) -> Array:
        return value[network] if value.ndim == 3 else np.split(value, count, axis=-1)[network]

    return {name: cut(value) for name, value in w.items()}


def batch_norm(h: Array, gamma: Array, beta: Array) -> Array:
    """γ·(h − μ) / √(σ² + ε) + β, μ and σ² over the batch (Ioffe and Szegedy, algorithm 1)."""
    return gamma * (h - h.mean(0)) / np.sqrt(h.var(0) + EPSILON) + beta


def layer_norm(h: Array, gamma: Array, beta: Array) -> Array:
    """γ·(h − μ) / √(σ² + ε) + β, μ and σ² over a row's units (Ba et al., eq. 3–4)."""
    return batch_norm(h.T, gamma[:, np.newaxis], beta[:, np.newaxis]).T


NORMS = {"batch": batch_norm, "layer": layer_norm}


def network(
    w: Weights,
    x: Array,
    activation: str = "tanh",
    residual: bool = False,
    normalize: str = "none",
    between: Callable = lambda _, h: h,
) -> Array:
    """h_l = act(W_l h_{l−1} + b_l) or act(norm(W_l h_{l−1})), plus h_{l−1} where residual and as
    wide.
    """
    for layer in range(sum(name.startswith("kernel_") for name in w)):
        h = x @ w[f"kernel_{layer}"]
        norm = NORMS.get(normalize)
        h = (
            norm(h, w[f"norm_{layer}/gamma"], w[f"norm_{layer}/beta"])
            if norm
            else h + w[f"bias_{layer}"]
        )
        h = ACTIVATIONS[activation](h)
        h = h + x if residual and layer > 0 and h.shape == x.shape else h
        x = between(layer, h)
    return x


def cross(w: Weights, x: Array, **options: object) -> Array:
    """x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l, then the deep network (DCN-V2, stacked)."""
    crossed = x
    for layer in range(sum(name.startswith("cross_") for name in w)):
        crossed = x * (crossed @ w[f"cross_{layer}"] + w[f"bias_{layer}"]) + crossed
    return network(under(w, "deep"), crossed, **options)


def fm(w: Weights, x: Array, fields: Sequence[Array], **options: object) -> Array:
    """W x + P Σ_{i<j} v_i ⊙ v_j + MLP(x); fields [B, F_d, d] for each dimension d, pairs within a
    dimension (DeepFM, eq. 1–3).
    """
    sums = []
    for v in fields:
        total = np.zeros_like(v[:, 0])
        for i in range(v.shape[1]):
            for j in range(i + 1, v.shape[1]):
                total = total + v[:, i] * v[:, j]
        sums.append(total)
    return (
        x @ w["first_order"]
        + np.concatenate(sums, 1) @ w["second_order"]
        + network(under(w, "deep"), x, **options)
    )


def lstm(w: Weights, sequence: Array, present: Array) -> Array:
    """h_t of every step, [B, T, U]: i, f, o = σ(s_t W + h_{t−1} R + b), g = tanh(…); c_t = f ⊙
    c_{t−1} + i ⊙ g; h_t = o ⊙ tanh(c_t).

    The columns of W, R and b are those of i, f, g, o. A row carries its state over a step that it
    does not have.
    """
    units, rows = w["recurrent"].shape[0], len(sequence)
    h, c, states = np.zeros([rows, units]), np.zeros([rows, units]), []
    for step in range(sequence.shape[1]):
        i, f, g, o = np.split(
            sequence[:, step] @ w["kernel"] + h @ w["recurrent"] + w["bias"], 4, axis=1
        )
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        there = present[:, step, np.newaxis]
        h, c = np.where(there, new_h, h), np.where(there, new_c, c)
        states.append(h)
    return np.stack(states, 1)


def lstm_expert(w: Weights, x: Array, sequence: Array, present: Array, **options: object) -> Array:
    """MLP([h_T, x])."""
    last = lstm(w, sequence, present)[:, -1]
    return network(under(w, "deep"), np.concatenate([last, x], 1), **options)


def gate(w: Weights, x: Array, **options: object) -> Array:
    """softmax(W h(x)), h the hidden layers."""
    exponents = np.exp(network(under(w, "hidden"), x, **options) @ w["softmax/kernel"])
    return exponents / exponents.sum(1, keepdims=True)


def mixture(weights: Array, experts: Sequence[Array]) -> Array:
    """Σ_i g_i · f_i."""
    return sum(weights[:, i : i + 1] * expert for i, expert in enumerate(experts))


def cross_stitch(alpha: Array, x: Sequence[Array]) -> list[Array]:
    """x̃_k = Σ_j α_kj x_j (Misra et al., eq. 1), α_kj a number or one for each unit."""
    return [sum(alpha[k, j] * x[j] for j in range(len(x))) for k in range(len(x))]


def layer_mixture(beta: Array, layers: Sequence[Sequence[Array]]) -> list[Array]:
    """h_k = Σ_l β_{k,l} h_{k,l} (Ruder et al., sec. 2); layers[l][k]."""
    return [
        sum(beta[k, n] * layers[n][k] for n in range(len(layers))) for k in range(len(layers[0]))
    ]


def transfer(w: Weights, p: Array, q: Array) -> Array:
    """z = Σ_{u ∈ {p, q}} w_u · h₁(u), w = softmax(<h₂(u), h₃(u)> / √d) (AITM)."""
    value, key, query = (w[f"{name}/kernel"] for name in ("value", "key", "query"))
    exponents = [
        np.exp(np.sum((u @ key) * (u @ query), 1, keepdims=True) / np.sqrt(q.shape[1]))
        for u in (p, q)
    ]
    return sum(e / sum(exponents) * (u @ value) for e, u in zip(exponents, (p, q), strict=True))


def orthogonality(kernels: Sequence[Array], subspaces: int) -> float:
    """Σ_k Σ_{s<t} ‖G_{k,s}ᵀ G_{k,t}‖²_F, G_{k,s} the columns of task k's kernel that make its
    subspace s.
    """
    total = 0.0
    for kernel in kernels:
        for g, h in itertools.combinations(np.split(kernel, subspaces, axis=1), 2):
            total += np.linalg.norm(g.T @ h, "fro") ** 2
    return total


def central_differences(
    scalar: Callable[[Weights], float], at: Weights, step: float = 1e-5
) -> Weights:
    """(f(v + h) − f(v − h)) / 2h for every number of every array of `at`."""
    found = {name: np.zeros_like(value) for name, value in at.items()}
    for name, value in at.items():
        for place in np.ndindex(value.shape):
            middle, ends = value[place], []
            for value[place] in (middle + step, middle - step):
                ends.append(scalar(at))
            value[place] = middle
            found[name][place] = (ends[0] - ends[1]) / (2 * step)
    return found
