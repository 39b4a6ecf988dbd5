"""The funnels in plain NumPy and float64, from their papers' equations: weights by name and
representations in, losses out.

p are probabilities, not logarithms. Labels are −1 where unknown. Heads come in the order of the
chain.
"""

from __future__ import annotations

import numpy as np

Weights = dict[str, np.ndarray]
Rows = dict[str, np.ndarray]  # by head or label
LABEL = {"ctr": "click", "cvr": "convert", "add": "cart", "buy": "buy"}  # of each head


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def dense(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}/kernel"] + w.get(f"{name}/bias", 0.0)


def towers(w: Weights, h: Rows) -> Rows:
    return {head: np.tanh(dense(w, f"tower_{head}/dense_0", x)) for head, x in h.items()}


def logit(w: Weights, head: str, x: np.ndarray) -> np.ndarray:
    return dense(w, f"logit_{head}", x)[:, 0]


def cross_entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -np.where(y == 1, np.log(p), np.log(1 - p))


def mean(losses: np.ndarray, space: np.ndarray, over: np.ndarray | None = None) -> float:
    """The sum over the rows of the space divided by their number, or by that of `over`."""
    return losses[space].sum() / (space if over is None else over).sum()


def both(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a and b: 0 if either is 0, unknown if either is, else 1."""
    return np.where((a == 0) | (b == 0), 0, np.where((a < 0) | (b < 0), -1, 1))


def independent(w: Weights, h: Rows, labels: Rows) -> float:
    t = towers(w, h)
    click, convert = labels["click"], labels["convert"]
    ctr = mean(cross_entropy(sigmoid(logit(w, "ctr", t["ctr"])), click), click >= 0)
    return ctr + mean(
        cross_entropy(sigmoid(logit(w, "cvr", t["cvr"])), convert), (click == 1) & (convert >= 0)
    )


def esmm(w: Weights, h: Rows, labels: Rows) -> float:
    t, p, joint, total = towers(w, h), 1.0, np.array(1), 0.0
    for head in h:
        p, joint = p * sigmoid(logit(w, head, t[head])), both(joint, labels[LABEL[head]])
        total += mean(cross_entropy(p, joint), joint >= 0)
    return total


def esm2(w: Weights, h: Rows, labels: Rows) -> float:
    """Heads y₁ ctr, y₂ action, y₃ cvr_action, y₄ cvr_other."""
    t = towers(w, h)
    y1, y2, y3, y4 = (
        sigmoid(logit(w, head, t[head])) for head in ("ctr", "action", "cvr_action", "cvr_other")
    )
    click, action, buy = (
        labels["click"],
        both(labels["click"], labels["cart"]),
        both(labels["click"], labels["convert"]),
    )
    chances = [(y1, click), (y1 * y2, action), (y1 * (y4 * (1 - y2) + y3 * y2), buy)]
    return sum(mean(cross_entropy(p, y), y >= 0) for p, y in chances)


def dbmtl(w: Weights, h: Rows, labels: Rows) -> float:
    t, relations, given, total = towers(w, h), [], np.array(1), 0.0
    for head in h:
        relations.append(
            np.tanh(dense(w, f"relation_{head}/dense_0", np.concatenate([t[head], *relations], 1)))
        )
        label = labels[LABEL[head]]
        total += mean(
            cross_entropy(sigmoid(logit(w, head, relations[-1])), label),
            (given == 1) & (label >= 0),
        )
        given = label
    return total


def aitm(w: Weights, h: Rows, labels: Rows) -> float:
    t, joint, total, z, before = towers(w, h), np.array(1), 0.0, None, None
    for head in h:
        z = (
            t[head]
            if z is None
            else _transfer(w, head, np.tanh(dense(w, f"handed_to_{head}/dense_0", z)), t[head])
        )
        y, joint = sigmoid(logit(w, head, z)), both(joint, labels[LABEL[head]])
        total += mean(cross_entropy(y, joint), joint >= 0)
        total += 0.0 if before is None else 0.6 * np.maximum(y - before, 0).mean()
        before = y
    return total


def _transfer(w: Weights, head: str, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    values, scores = [], []
    for u in (p, q):
        v, k, query = (dense(w, f"transfer_{head}/{name}", u) for name in ("value", "key", "query"))
        values.append(v)
        scores.append((k * query).sum(1) / np.sqrt(u.shape[1]))
    shares = np.exp(scores) / np.exp(scores).sum(0)
    return shares[0][:, None] * values[0] + shares[1][:, None] * values[1]


def escm2(w: Weights, h: Rows, labels: Rows, fixed: dict[str, np.ndarray]) -> float:
    """With an imputation head the doubly robust estimator. `fixed` holds what has no gradient, from
    the first call on: o's propensity and, for the imputation's loss, δ.
    """
    t = towers(w, h)
    ctr, cvr = (sigmoid(logit(w, head, t[head])) for head in ("ctr", "cvr"))
    click, convert = labels["click"], labels["convert"]
    joint, clicked = both(click, convert), (click == 1) & (convert >= 0)
    error = cross_entropy(cvr, convert)
    propensity, held = (
        fixed.setdefault("propensity", np.maximum(ctr, 0.4)),
        fixed.setdefault("error", error),
    )
    total = mean(cross_entropy(ctr, click), click >= 0) + mean(
        cross_entropy(ctr * cvr, joint), joint >= 0
    )
    if "imputation" not in h:
        return total + mean(error / propensity, clicked, joint >= 0)
    imputed = np.log1p(np.exp(logit(w, "imputation", t["imputation"])))
    robust = imputed + np.where(clicked, (error - imputed) / propensity, 0)
    return (
        total
        + mean(robust, joint >= 0)
        + mean((held - imputed) ** 2 / propensity, clicked, joint >= 0)
    )


REFERENCES = {
    "independent": independent,
    "esmm": esmm,
    "esm2": esm2,
    "dbmtl": dbmtl,
    "aitm": aitm,
    "escm2": escm2,
}
