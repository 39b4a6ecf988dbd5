"""The static check of a written graph: what signatures read is filled by the restore op or by the
init op, and nothing else is restored.
"""

import keras
import pytest
import tensorflow as tf
from model_data import EVERY_KIND, make_model, make_spec, write_data
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from features.errors import FunnelError
from model.data.input import Data
from model.ranking import RankingModel
from model.serving import export as export_module
from model.serving import saved_model
from model.serving.graph_check import check_graph
from model.serving.merged_tables import MergedTables

OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


def write(folder, *tracked, reads):
    """A SavedModel whose root tracks some variables and whose signature adds up others."""
    root = tf.Module()
    root.tracked = list(tracked)

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])
    def total(x):
        return {"y": tf.add_n([x, *map(tf.convert_to_tensor, reads)])}

    tf.saved_model.save(root, str(folder), signatures={"serving_default": total}, options=OPTIONS)
    return folder


def test_raw_variables_pass(tmp_path):
    raw, layers = tf.Variable([1.0], name="raw"), keras.Variable([2.0], name="kernel")
    check_graph(write(tmp_path, raw, layers.value, reads=[raw, layers]))


def test_a_keras_variable_is_restored_into_a_copy(tmp_path):
    raw, layers = tf.Variable([1.0], name="raw"), keras.Variable([2.0], name="kernel")
    with pytest.raises(
        FunnelError,
        match=r": signatures read kernel, which neither the restore op nor the init op fills",
    ):
        check_graph(write(tmp_path, raw, layers, reads=[raw, layers]))


def test_what_no_signature_reads_is_not_restored(tmp_path):
    raw, other = tf.Variable([1.0], name="raw"), tf.Variable([2.0], name="moments")
    with pytest.raises(FunnelError, match=r": moments is restored, but no signature reads it"):
        check_graph(write(tmp_path, raw, other, reads=[raw]))


def test_handles_in_branches_and_loops(tmp_path):
    first, second, copied = (
        tf.Variable([1.0], name=name) for name in ("first", "second", "copied")
    )
    layers = keras.Variable([2.0], name="inner")
    root = tf.Module()
    root.tracked = [first, second, copied, layers]

    @tf.function(input_signature=[tf.TensorSpec([], name="x")])
    def total(x):
        chosen = tf.cond(x > 0, lambda: first + copied, lambda: second + layers)
        return {
            "y": tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: [y + first], [chosen])[0]
        }

    tf.saved_model.save(root, str(tmp_path), signatures={"serving_default": total}, options=OPTIONS)
    with pytest.raises(FunnelError, match=r": signatures read inner, which neither"):
        check_graph(tmp_path)


def test_a_table_that_the_init_op_forgets(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n")
    table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(tmp_path / "words.txt"), tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        ),
        -1,
    )
    table._shared_name = "words"
    root = tf.Module()
    root.table = table
    look_up = tf.function(
        lambda x: {"y": table.lookup(x)},
        input_signature=[tf.TensorSpec([None], tf.string, name="x")],
    )
    tf.saved_model.save(
        root, str(tmp_path / "1"), signatures={"serving_default": look_up}, options=OPTIONS
    )
    check_graph(tmp_path / "1")
    content = SavedModel.FromString((tmp_path / "1/saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    for function in graph.library.function:
        for node in list(function.node_def):
            if node.op.startswith("InitializeTable"):
                function.node_def.remove(node)
    (tmp_path / "1/saved_model.pb").write_bytes(content.SerializeToString())
    with pytest.raises(
        FunnelError,
        match=r": signatures read words, which neither the restore op nor the init op fills",
    ):
        check_graph(tmp_path / "1")


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(FunnelError, match=r"saved_model.pb: is not a SavedModel"):
        check_graph(tmp_path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder, spec = tmp_path_factory.mktemp("graph"), make_spec(features=EVERY_KIND)
    fitted = Data(write_data(folder, spec), spec).fitted
    return RankingModel(
        spec, make_model("mmoe", "escm2", dropout=0.2, normalize="batch"), fitted, 1
    ), folder / "data/sample.parquet"


PLANTED = {
    "in place of the raw variable": (
        lambda kernel: {kernel.path: kernel},
        r": signatures read \S+kernel\S*, which neither",
    ),
    "beside the raw variable": (
        lambda kernel: {"planted": kernel},
        r": Variable\w* is restored, but no signature reads it",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_an_export_with_a_keras_variable_in_its_root_is_refused(
    model, tmp_path, monkeypatch, planted
):
    read, (plant, said) = saved_model.variables_read, PLANTED[planted]
    kernel = next(w for w in model[0].weights if w.path.endswith("kernel"))
    monkeypatch.setattr(
        saved_model, "variables_read", lambda *given: dict(read(*given)) | plant(kernel)
    )
    with pytest.raises(FunnelError, match=said):
        export_module.export(*model, tmp_path, version=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def graph(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "1"
    saved_model.save(model[0], path)
    return SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]


def test_the_graph_holds_only_what_inference_needs(model, graph):
    functions = {f.signature.name: f for f in graph.graph_def.library.function}
    called = set()
    left = list(graph.graph_def.node)
    while left:
        for value in left.pop().attr.values():
            for name in {value.func.name} - called - {""}:
                called.add(name)
                left += functions[name].node_def
    loading = {
        name
        for name in functions
        if name.startswith(("__inference__creator", "__inference__destroyer"))
    }
    assert set(functions) == called | loading  # a table's own, which Python's loader calls
    assert len(loading) == 2
    nodes = [node for function in functions.values() for node in function.node_def]
    assert [
        node.name for node in nodes if any(name.startswith("_gradient") for name in node.attr)
    ] == []
    assert not {node.op for node in nodes} & {
        "StatelessRandomUniformV2",
        "RandomUniform",
        "IdentityN",
    }  # dropout's, custom gradients'
    merged = MergedTables(model[0]).state  # in place of the tables
    state = [name for name in model[0].state if name not in model[0].named_tables] + [*merged]
    unread = [name for name in state if "seed_generator" in name or "imputation" in name]
    assert (
        len([node for node in graph.graph_def.node if node.op == "VarHandleOp"])
        == len(state) - len(unread) + 1
    )  # an asset's path
    assert unread


def test_names_of_this_machine_stay_here(model, graph, tmp_path_factory):
    assert str(tmp_path_factory.getbasetemp()).encode() not in graph.SerializeToString()
