from __future__ import annotations

import decimal
from typing import Any

import pytest

from agentops_local.serialize import dump
from tests.unit.encoders import read
from tests.unit.hostile import generator


def test_pydantic_models() -> None:
    """A model is stored by its own dump: without excluded fields and open secrets, its generators unread."""
    pydantic = pytest.importorskip("pydantic")
    stream = generator()

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
        items: Any
        hidden: str = pydantic.Field("canary", exclude=True)
        key: pydantic.SecretStr = pydantic.SecretStr("canary")  # type: ignore[name-defined, unused-ignore]
        amount: decimal.Decimal = decimal.Decimal("1.10")

    Model.model_rebuild(_types_namespace={"pydantic": pydantic, "Any": Any, "decimal": decimal})
    stored = dump([Model(items=stream), Model(items=[stream])])
    assert b"canary" not in stored
    assert read(stored)[0]["amount"] == "1.10"
    assert list(stream) == [1, 2, 3]
    model = Model(items=None)
    model.items = model
    read(dump(model))


def test_pydantic_1_models() -> None:
    """The own dict() of an old model consumes generators: its fields are read instead."""
    pydantic = pytest.importorskip("pydantic.v1")
    stream = generator()
    model = pydantic.create_model(
        "Model", items=(Any, None), hidden=(str, pydantic.Field("canary", exclude=True)), n=(int, 1)
    )
    assert read(dump(model(items=stream))) == {"items": "<generator object generator>", "n": 1}
    assert list(stream) == [1, 2, 3]


def test_numpy() -> None:
    """Scalars are numbers, small arrays lists, and large ones are told by their shape."""
    np = pytest.importorskip("numpy")
    scalars = [np.float32(1.5), np.int64(2), np.bool_(True), np.str_("x"), np.float64("nan"), np.longdouble(1.5)]
    assert read(dump(scalars)) == [1.5, 2, True, "x", "NaN", "1.5"]
    assert read(dump({np.int64(1): np.arange(3)})) == {"1": [0, 1, 2]}
    assert read(dump(np.zeros((100, 200)))) == {"type": "numpy.ndarray", "shape": [100, 200], "dtype": "float64"}
    stream = generator()
    read(dump(np.array([stream, None], dtype=object)))
    assert list(stream) == [1, 2, 3]


def test_pandas() -> None:
    """A frame is told by its shape and columns, a timestamp is a time."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1], "b": [2]})
    assert read(dump(frame)) == {"type": "pandas.DataFrame", "shape": [1, 2], "columns": ["a", "b"]}
    assert read(dump([pd.Timestamp("2020-01-01"), pd.NaT])) == ["2020-01-01T00:00:00", "NaT"]


def test_attrs_classes() -> None:
    """A class made by attrs is stored by its fields."""
    attrs = pytest.importorskip("attrs")
    made = attrs.make_class("Made", {"x": attrs.field(), "y": attrs.field(default=2)})
    assert read(dump(made([object()]))) == {"x": ["<object object>"], "y": 2}
