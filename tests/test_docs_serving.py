"""docs/serving.md: its requests are answered, by a server that implements TF Serving's
PredictionService with the C API.
"""

import json
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from features.fitted import Fitted
from features.spec import Spec
from model.config import ModelConfig
from model.ranking import RankingModel
from model.serving.loaders import c_api
from model.serving.loaders.inputs import array
from model.serving.saved_model import save

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/serving.md").read_text()
BLOCKS = {kind: re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("python", "json")}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The C API's session of a model of funnel/examples/ads.toml with small tables."""
    sections = tomllib.loads((ROOT / "funnel/examples/ads.toml").read_text())
    for feature in sections["features"].values():
        feature |= {"buckets": 100} if "buckets" in feature else {}
    spec = Spec.parse({name: sections[name] for name in ("features", "labels", "tasks")})
    small = {
        "sharing": {"name": "mmoe", "expert_units": [4]},
        "funnel": sections["model"]["funnel"],
    }
    path = tmp_path_factory.mktemp("serving") / "1"
    save(
        RankingModel(spec, ModelConfig.parse(small), Fitted(moments={"price": (2.0, 1.0)}), 1), path
    )
    with c_api.Model(str(path)) as model:
        yield model


class Server(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):
        assert request.model_spec.name == "ads"
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, values in self.model.run(request.model_spec.signature_name, inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return response


@pytest.fixture
def port(served):
    server = grpc.server(ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Server(served), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def by_rest(served):
    """What the JSON body is answered with: its lists become tensors of the signature's dtypes, as
    TF Serving's REST API makes them.
    """
    body = json.loads(BLOCKS["json"][0])
    declared = served.signatures[body["signature_name"]].inputs
    dtypes = {name: tf.dtypes.as_dtype(tensor.dtype).name for name, tensor in declared.items()}
    return served.run(
        body["signature_name"],
        {name: array(dtypes[name], values) for name, values in body["inputs"].items()},
    )


def test_the_requests_are_answered_alike(served, port):
    names = {}
    exec(BLOCKS["python"][0].replace("localhost:8500", f"127.0.0.1:{port}"), names)
    scores = by_rest(served)
    assert set(names["scores"]) == set(scores) == {"p_ctr", "p_cvr", "p_ctcvr"}
    for name, p in scores.items():
        np.testing.assert_array_equal(names["scores"][name], p)
        assert p.shape == (2,)
        assert p[0] != p[1]


def test_the_json_and_the_python_ask_the_same():
    asked = re.search(r"rows = (\{.*?\n\})", BLOCKS["python"][0], re.DOTALL)[1]
    assert json.loads(BLOCKS["json"][0])["inputs"] == eval(asked)
