"""What [train] says of single features and of the gradients' norm, on one step of one literal
batch.
"""

import numpy as np
import pytest
from model_data import make_model, make_spec, make_train
from test_model_trainer import FITTED, SPEC, make_batch, run

from features.errors import FunnelError
from model.embeddings.tables import row_ranges
from model.training.strategy import make_strategy
from model.training.trainer import Trainer

RATES = {"learning_rate": 1.0, "embedding_learning_rate": 1.0, "wide_learning_rate": 1.0}
SGD = {"optimizer": "sgd", "embedding_optimizer": "sgd"} | RATES


def stepped(**train):
    """({variable: its value before}, {variable: what a step of SGD took from it}): at rate 1 that
    is the gradient.
    """
    trainer = Trainer(
        SPEC, make_model("shared_bottom"), make_train(**SGD | train), FITTED, make_strategy(None)
    )
    before = {name: v.numpy().astype(float) for name, v in trainer.model.state.items()}
    run(trainer, make_batch([1, 0, 1, 0], [1, 0, 0, 0]))
    return before, {name: before[name] - v.numpy() for name, v in trainer.model.state.items()}


def norm(gradients):
    return sum((g**2).sum() for g in gradients.values()) ** 0.5


def test_clip_norm_bounds_all_gradients_together():
    _, free = stepped()
    for factor in (0.5, 2.0):
        _, clipped = stepped(clip_norm=factor * norm(free))
        assert norm(clipped) == pytest.approx(min(1, factor) * norm(free), rel=1e-3)
        for name, gradient in free.items():  # g · min(1, c / |g|)
            np.testing.assert_allclose(
                clipped[name], min(1, factor) * gradient, atol=1e-6, err_msg=name
            )


def test_weight_decay_is_of_dense_weights():
    before, free = stepped()
    _, decayed = stepped(optimizer={"name": "sgd", "weight_decay": 0.25})
    dense = [name for name in free if not name.startswith("embeddings_")]
    trained = [name for name in dense if (decayed[name] != free[name]).any()]
    assert any("kernel" in name for name in trained)
    for name in free:  # rate · decay · w
        share = 0.25 if name in trained else 0
        np.testing.assert_allclose(
            decayed[name], free[name] + share * before[name], atol=1e-5, err_msg=name
        )


def of(feature, found):
    """The feature's own rows."""
    dim = SPEC.features[feature].dim
    begin = row_ranges(SPEC, FITTED, dim)[0][feature]
    return found[f"embeddings_0/{dim}"][begin : begin + FITTED.table_rows(SPEC, feature)]


def test_a_feature_has_its_own_rate():
    _, common = stepped()
    _, own = stepped(features={"user": {"learning_rate": 3.0}})
    assert np.abs(of("user", common)).max() > 1e-4
    np.testing.assert_allclose(of("user", own), 3 * of("user", common), atol=1e-6)
    np.testing.assert_allclose(of("item", own), of("item", common), atol=1e-7)


def test_a_feature_has_its_own_l2():
    before, common = stepped()
    _, own = stepped(features={"user": {"l2": 0.25}})
    used = (of("user", own) != 0).any(1)
    assert 0 < used.sum() <= 4  # the rows of the batch, and no others
    # 2 · λ · w
    np.testing.assert_allclose(
        (of("user", own) - of("user", common))[used], 0.5 * of("user", before)[used], atol=1e-6
    )
    np.testing.assert_allclose(of("item", own), of("item", common), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "recent",
            "train.features.recent: 'recent' shares the table of 'tags'; give the options to that "
            "one",
        ),
        ("usr", "train.features names 'usr', which has no embedding table: did you mean 'user'"),
        ("price", "train.features names 'price', which has no embedding table"),
    ],
)
def test_features_without_a_table_of_their_own(name, said):
    with pytest.raises(FunnelError, match=said):
        make_train(features={name: {"l2": 0.1}}).check(make_spec())


def test_one_length():
    with pytest.raises(
        FunnelError,
        match=r"steps = 4 and epochs = 2\.0 both say how long to train: give one of them",
    ):
        make_train(epochs=2)
    assert make_train(steps=None).epochs is None
    assert make_train(steps=None, epochs=0.5).total_steps(320) == 10  # ½ · 320 / 16
