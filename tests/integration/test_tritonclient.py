"""The stock Triton client against our application over a real socket."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn
from numpy.typing import NDArray

from cluster.contracts import Feature, OutputSpec
from serve_app.middleware.body_limit import BodyBounds, BodyLimit
from tests.unit.serve_app.api.test_open_inference import FRAME, PROBA, classify, describe
from tests.unit.serve_app.predicting import double, number, resolved, service, signature

# gevent, which the client brings, patches as it is imported and warns of threads that exist.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")


def key() -> dict[str, str]:
    """Fresh headers: the client writes its own into what it is given."""
    return {"X-API-Key": "good"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    matrix = signature(number("x0"), number("x1"))
    text = Feature(name="text", type="string", nullable=False, dtype="object")
    served = service(
        {
            "double": (resolved("double", matrix), double),
            "classifier": (
                resolved("classifier", signature(number("x"), number("y"), outputs=PROBA)),
                classify,
            ),
            "frame": (resolved("frame", FRAME), describe),
            "text": (
                resolved(
                    "text",
                    signature(
                        text,
                        container="documents",
                        outputs={"predict": OutputSpec(type="BYTES", shape=(-1,))},
                    ),
                ),
                describe,
            ),
        }
    )
    mebibyte = 1024 * 1024
    bounds = BodyBounds(json_bytes=mebibyte, binary_bytes=256 * mebibyte, upload_bytes=mebibyte)
    served.app.add_middleware(BodyLimit, bounds=bounds)
    config = uvicorn.Config(served.app, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    connected = triton.InferenceServerClient(address)
    yield connected
    connected.close()


def tensor(values: NDArray[Any], datatype: str, *, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("input", list(values.shape), datatype)
    given.set_data_from_numpy(values, binary_data=binary)
    return given


def test_health_and_descriptions(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double", headers=key())
    assert client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("double", "1", headers=key())["versions"] == ["1"]
    assert client.get_model_config("double", headers=key())["max_batch_size"] > 0


@pytest.mark.parametrize("binary", [True, False])
def test_a_stock_script_gets_its_answer(
    client: triton.InferenceServerClient, *, binary: bool
) -> None:
    values = np.array([[1.5, 2.0], [3.0, 4.0]])
    answer = client.infer(
        "double", [tensor(values, "FP64", binary=binary)], request_id="r-7", headers=key()
    )

    assert answer.as_numpy("predict").tolist() == [3.0, 6.0]
    assert answer.get_response()["id"] == "r-7"


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_by_name(client: triton.InferenceServerClient, *, binary: bool) -> None:
    wanted = [
        triton.InferRequestedOutput(name, binary_data=binary)
        for name in ("predict", "predict_proba")
    ]
    values = np.array([[1.0, 0.0]])
    answer = client.infer("classifier", [tensor(values, "FP64")], outputs=wanted, headers=key())

    assert answer.as_numpy("predict").tolist() == [0]
    assert answer.as_numpy("predict_proba").tolist() == [[0.9, 0.1]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client: triton.InferenceServerClient, algorithm: str) -> None:
    values = np.arange(20_000, dtype=np.float64).reshape(-1, 2)
    answer = client.infer(
        "double",
        [tensor(values, "FP64")],
        request_compression_algorithm=algorithm,
        headers=key(),
    )

    assert (answer.as_numpy("predict") == values[:, 0] * 2).all()


def test_strings_both_ways(client: triton.InferenceServerClient) -> None:
    documents = np.array(["grüezi", ""], dtype=object)
    answer = client.infer("text", [tensor(documents, "BYTES")], headers=key())

    assert [text.decode() for text in answer.as_numpy("predict")] == ["grüezi", ""]


def test_a_tensor_for_each_feature(client: triton.InferenceServerClient) -> None:
    columns = {
        "age": (np.array([41.5]), "FP64"),
        "city": (np.array(["Bern"], dtype=object), "BYTES"),
        "member": (np.array([True]), "BOOL"),
    }
    inputs = []
    for name, (values, datatype) in columns.items():
        given = triton.InferInput(name, [1], datatype)
        given.set_data_from_numpy(values)
        inputs.append(given)
    answer = client.infer("frame", inputs, headers=key())

    assert answer.as_numpy("predict")[0] == b"41.5/Bern/True"


def test_a_tensor_that_arrives_in_many_pieces(client: triton.InferenceServerClient) -> None:
    values = np.random.default_rng(0).random((100_000, 2))
    answer = client.infer("double", [tensor(values, "FP64")], headers=key())

    assert (answer.as_numpy("predict") == values[:, 0] * 2).all()


def test_errors_are_sentences(client: triton.InferenceServerClient) -> None:
    with pytest.raises(triton.InferenceServerException, match="has 3 values a row"):
        client.infer("double", [tensor(np.zeros((1, 3)), "FP64")], headers=key())
    with pytest.raises(triton.InferenceServerException, match="no model 'nobody'"):
        client.infer("nobody", [tensor(np.zeros((1, 2)), "FP64")], headers=key())
