"""Options of a wrong kind are refused before they reach a batch; an error without a number is an answer."""

from __future__ import annotations

import re

import pytest
from fake_service import TOKEN, FakeService, error

import bursa
from bursa.options import checked
from bursa.resources import from_specification


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("retries", "x"),
        ("retries", -1),
        ("retries", True),
        ("retries", 10**12),
        ("retry_on_error", 1.5),
        ("timeout", "a"),
        ("timeout", float("nan")),
        ("deadline", float("inf")),
        ("memoize", "yes"),
        ("memoize", 1),
    ],
)
def test_wrong_kinds(service: FakeService, option: str, value: object) -> None:
    with bursa.Client(service.url, TOKEN) as client:
        with pytest.raises(bursa.Invalid, match=f"^{option} is {value!r}; give "):
            client.submit(pow, [2, 9], **{option: value})
        assert client.submit(pow, [2, 9]).result(10) == 512, "the client goes on"


@pytest.mark.parametrize(("right", "wrong"), [(1, True), (1, 1.0), (0, False), (1, [1])])
def test_what_a_right_option_equals_is_still_refused(service: FakeService, right: int, wrong: object) -> None:
    with bursa.Client(service.url, TOKEN) as client:
        assert client.submit(pow, [2, 9], retries=right).result(10) == 512
        with pytest.raises(bursa.Invalid, match=f"^retries is {re.escape(repr(wrong))}; give "):
            client.submit(pow, [2, 9], retries=wrong)


def test_resources_are_sent_as_they_were_given(service: FakeService) -> None:
    seen, accept = [], service.on_submit
    service.on_submit = lambda stream, message: seen.extend(message["calls"]) or accept(stream, message)
    with bursa.Client(service.url, TOKEN) as client:
        for asked in ({"cores": 2, "memory": "4 gb"}, {"nodes": 2, "ranks_per_node": 4}, {}, None):
            assert client.submit(pow, [2, 9], resources=asked).result(10) == 512
    assert [call.get("resources") for call in seen] == [
        {"cores": 2, "memory": "4 gb"},
        {"nodes": 2, "ranks_per_node": 4},
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (None, None),
        ({"num_nodes": 2, "ranks_per_node": 4}, {"nodes": 2, "ranks_per_node": 4}),
        ({"num_nodes": 2, "num_ranks": 8}, {"nodes": 2, "ranks_per_node": 4}),
        ({"num_ranks": 8, "ranks_per_node": 4}, {"nodes": 2, "ranks_per_node": 4}),
        ({"num_nodes": 2}, {"nodes": 2}),
        ({"num_nodes": 2, "num_ranks": 8, "ranks_per_node": 4}, {"nodes": 2, "ranks_per_node": 4}),
        ({"num_nodes": 2, "num_ranks": 7}, "num_ranks 7, and 2 nodes"),
        ({"nodes": 2}, "has 'nodes'; use some of num_nodes"),
    ],
)
def test_globus_compute_s_words(given: dict | None, asked: object) -> None:
    if isinstance(asked, str):
        with pytest.raises(bursa.Invalid, match=asked):
            from_specification(given)
    else:
        assert from_specification(given) == asked


def test_an_endpoint_of_no_kind_is_refused(service: FakeService) -> None:
    with bursa.Client(service.url, TOKEN) as client, pytest.raises(bursa.NotFound, match="the name"):
        client.run(pow, 2, 9, endpoint_id=["x"])


def test_numpy_and_whole_numbers_will_do() -> None:
    numpy = pytest.importorskip("numpy")
    options = numpy.int64(3), None, numpy.float32(1.5), 2, numpy.bool_(True)
    assert checked(options) == {"retries": 3, "timeout": 1.5, "deadline": 2.0, "memoize": True}
    assert [type(value) for value in checked(options).values()] == [int, float, float, bool]


def test_an_error_without_a_number_is_the_answer_to_what_is_unanswered(service: FakeService) -> None:
    def refuse(stream, message) -> bool:
        stream.send({"type": "error", "id": None, **error("invalid", "This cannot be read.")})
        return True

    accept, service.on_submit = service.on_submit, refuse
    with bursa.Client(service.url, TOKEN) as client:
        with pytest.raises(bursa.Invalid, match="This cannot be read"):
            client.run(pow, 2, 9).result(10)
        service.on_submit = accept
        assert client.run(pow, 2, 9).result(10) == 512
