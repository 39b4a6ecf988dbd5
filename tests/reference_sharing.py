"""The sharings in plain NumPy and float64, from the papers' equations: loops over tasks, experts
and levels.

Each takes a layer's weights by name, what it reads, its options and the heads, and gives ({head:
[B, H]}, {gate: [B, n]}).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from reference_layers import (
    Array,
    Weights,
    cross,
    cross_stitch,
    fm,
    gate,
    layer_mixture,
    lstm,
    lstm_expert,
    mixture,
    network,
    own,
    under,
)

Options = dict[str, Any]
Found = tuple[dict[str, Array], dict[str, Array]]


class Read(NamedTuple):
    """x [B, I]; the fields of each dimension [B, F_d, d]; the sequences side by side [B, T, D], and
    their steps [B, T].
    """

    x: Array
    fields: Sequence[Array]
    sequence: Array
    present: Array


EXPERTS = {
    "mlp": lambda w, read, **options: network(w, read.x, **options),
    "cross": lambda w, read, **options: cross(w, read.x, **options),
    "fm": lambda w, read, **options: fm(w, read.x, read.fields, **options),
    "lstm": lambda w, read, **options: lstm_expert(
        w, read.x, read.sequence, read.present, **options
    ),
}


def dense(options: Options) -> Options:
    """The options of dense layers that change what is computed."""
    names = ("activation", "residual", "normalize")
    return {name: options[name] for name in names if name in options}


def experts(
    w: Weights, reads: Sequence[Read], options: Options, kind: str | None = None
) -> list[Array]:
    """f_i of what each of them reads."""
    compute = EXPERTS[kind or options.get("expert", "mlp")]
    return [compute(own(w, i, len(reads)), read, **dense(options)) for i, read in enumerate(reads)]


def kind_above(options: Options) -> str:
    """Above the first level there are no embeddings."""
    return "cross" if options.get("expert") == "cross" else "mlp"


def vector(x: Array) -> Read:
    return Read(x, (), np.empty(0), np.empty(0))


def single_task(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """h_k = f_k(x)."""
    return {k: network(under(w, f"bottom_{k}"), read.x, **dense(options)) for k in heads}, {}


def shared_bottom(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """h_k = f(x)."""
    return dict.fromkeys(heads, network(under(w, "bottom"), read.x, **dense(options))), {}


def asymmetric(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """h_k = [f_k(x), f_j(x) for the j that k reads: those named, or all before it]."""
    f = dict(zip(heads, experts(under(w, "bottoms"), [read] * len(heads), options), strict=True))
    if "reads" in options:
        reads = {k: options["reads"].get(k, []) for k in heads}
    else:
        reads = {k: [j for j in heads if heads.index(j) < heads.index(k)] for k in heads}
    return {k: np.concatenate([f[k], *(f[j] for j in reads[k])], 1) for k in heads}, {}


def customized(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """h_k = [f_shared(x), f_k(x)]."""
    shared, *f = experts(under(w, "bottoms"), [read] * (1 + len(heads)), options)
    return {k: np.concatenate([shared, f_k], 1) for k, f_k in zip(heads, f, strict=True)}, {}


def moe(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """y = Σ_i g(x)_i f_i(x), the same for all."""
    f, g = (
        experts(under(w, "experts"), [read] * options["experts"], options),
        gate(under(w, "gate"), read.x, **dense(options)),
    )
    return {k: mixture(g, f) for k in heads}, {f"level_0/{k}": g for k in heads}


def mmoe(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """f^k(x) = Σ_i g^k(x)_i f_i(x), g^k(x) = softmax(W_gk x)."""
    f = experts(under(w, "experts"), [read] * options["experts"], options)
    g = {k: gate(under(w, f"gate_{k}"), read.x, **dense(options)) for k in heads}
    return {k: mixture(g[k], f) for k in heads}, {f"level_0/{k}": g[k] for k in heads}


def ml_mmoe(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """x_i^{l+1} = Σ_j g^{l,i}(x)_j f_j^l(x_j^l), and of the last level f^k = Σ_j g^{L,k}(x)_j
    f_j^L(x_j^L): all gates read x.
    """
    n, levels = options["experts"], options["levels"]
    reads, kind, gates, given = [read] * n, None, {}, {}
    for level in range(levels):
        part = under(w, f"level_{level}")
        f = experts(under(part, "experts"), reads, options, kind)
        readers = heads if level == levels - 1 else [f"_expert_{i}" for i in range(n)]
        g = {
            reader: gate(under(part, f"gate_{reader}"), read.x, **dense(options))
            for reader in readers
        }
        given = {reader: mixture(g[reader], f) for reader in readers}
        gates |= {f"level_{level}/{reader}": g[reader] for reader in readers}
        reads, kind = [vector(x) for x in given.values()], kind_above(options)
    return given, gates


def cgc(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """PLE of one level."""
    return ple(w, read, options | {"levels": 1}, heads)


def ple(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """g^{k,j} = w^{k,j}(g^{k,j−1}) S^{k,j}; S^{k,j} the experts of task k, which read g^{k,j−1},
    and the shared, which read g^{s,j−1}.

    g^{s,j}, below the last level, is over the experts of all tasks and the shared.
    """
    groups, gates = [*heads, "_shared"], {}
    counts = dict.fromkeys(heads, options["task_experts"]) | {"_shared": options["shared_experts"]}
    g = dict.fromkeys(groups, read)
    for level in range(options["levels"]):
        part = under(w, f"level_{level}")
        if level == 0:
            together = experts(under(part, "experts"), [read] * sum(counts.values()), options)
            f = {group: [together.pop(0) for _ in range(counts[group])] for group in groups}
        else:
            kind = kind_above(options)
            f = {
                group: experts(
                    under(part, f"experts_{group}"), [g[group]] * counts[group], options, kind
                )
                for group in groups
            }
        seen = {k: f[k] + f["_shared"] for k in heads}
        if level < options["levels"] - 1:
            seen["_shared"] = [expert for group in groups for expert in f[group]]
        weights = {
            group: gate(under(part, f"gate_{group}"), g[group].x, **dense(options))
            for group in seen
        }
        gates |= {f"level_{level}/{group}": weights[group] for group in seen}
        g = {group: vector(mixture(weights[group], seen[group])) for group in seen}
    return {k: g[k].x for k in heads}, gates


def layered(w: Weights, x: Array, options: Options, count: int, mix: Any) -> None:
    """Networks side by side: after each layer `mix`(layer, [h_k]) gives what the next reads."""
    reads = [x] * count
    for layer in range(len(options["units"])):
        names = {f"{kind}_{layer}": f"{kind}_0" for kind in ("kernel", "bias")}
        parts = [
            own({short: w[name] for name, short in names.items()}, k, count) for k in range(count)
        ]
        reads = mix(
            layer,
            [network(part, h, options["activation"]) for part, h in zip(parts, reads, strict=True)],
        )


def cross_stitch_network(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """x̃_{k,l} = Σ_j α_kj,l x_{j,l}, x_{k,l} = f_{k,l}(x̃_{k,l−1})."""
    w, last = under(w, "networks"), []

    def stitch(layer: int, h: list[Array]) -> list[Array]:
        last[:] = cross_stitch(w[f"stitch_{layer}/alpha"], h)
        return last

    layered(w, read.x, options, len(heads), stitch)
    return dict(zip(heads, last, strict=True)), {}


def sluice(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """h̃_{k,l} = [Σ_{j,t} α_{ks,jt,l} h_{j,t,l} for each subspace s], h_k = Σ_l β_{k,l} h̃_{k,l}."""
    subspaces, beta, w, layers = options["subspaces"], w["beta/beta"], under(w, "networks"), []

    def mix(layer: int, h: list[Array]) -> list[Array]:
        parts = [part for task in h for part in np.split(task, subspaces, axis=1)]
        mixed = cross_stitch(w[f"alpha_{layer}/alpha"], parts)
        layers.append(
            [
                np.concatenate(mixed[k * subspaces : (k + 1) * subspaces], 1)
                for k in range(len(heads))
            ]
        )
        return layers[-1]

    layered(w, read.x, options, len(heads), mix)
    return dict(zip(heads, layer_mixture(beta, layers), strict=True)), {}


def mose(w: Weights, read: Read, options: Options, heads: list[str]) -> Found:
    """f^k(s_t) = Σ_i g^k(x)_i f_i(f(s_t)); h_k = [the last state of t^k over f^k(s_1) … f^k(s_T),
    x]; f, f_i and t^k are LSTMs.
    """
    below = lstm(own(under(w, "bottom"), 0, 1), read.sequence, read.present)
    n = options["experts"]
    f = [
        lstm(own(under(w, "experts"), i, n), below, read.present) for i in range(n)
    ]  # [B, T, U] each
    g = {k: gate(under(w, f"gate_{k}"), read.x, **dense(options)) for k in heads}
    given = {}
    for place, k in enumerate(heads):
        stream = sum(g[k][:, i, np.newaxis, np.newaxis] * f[i] for i in range(n))
        state = lstm(own(under(w, "lstms"), place, len(heads)), stream, read.present)[:, -1]
        given[k] = np.concatenate([state, read.x], 1)
    return given, {f"level_0/{k}": g[k] for k in heads}


SHARING = {
    "single_task": single_task,
    "shared_bottom": shared_bottom,
    "asymmetric": asymmetric,
    "customized": customized,
    "moe": moe,
    "mmoe": mmoe,
    "ml_mmoe": ml_mmoe,
    "cgc": cgc,
    "ple": ple,
    "cross_stitch": cross_stitch_network,
    "sluice": sluice,
    "mose": mose,
}
