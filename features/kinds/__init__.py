"""The kinds of features that a configuration file can declare, by name.

What goes in: a feature's declaration. What comes out: the columns it reads, its encoding on Arrow
columns and on tensors, and how the model reads it. It never imports TensorFlow.

A new kind is a file here with a subclass of `FeatureKind`, and a line in KINDS.
"""

from features.kinds.base import FeatureKind
from features.kinds.categorical import Categorical
from features.kinds.cross import Cross
from features.kinds.numeric import Bucketized, Numeric
from features.kinds.product import Product
from features.kinds.sequence import Sequence
from features.kinds.time import Time

KINDS: dict[str, type[FeatureKind]] = {
    "categorical": Categorical,
    "sequence": Sequence,
    "cross": Cross,
    "time": Time,
    "numeric": Numeric,
    "bucketized": Bucketized,
    "product": Product,
}
