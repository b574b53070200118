"""Whatever a device sends about events and heads is read or refused with a declared error."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.errors import AdapterError
from adapters.onvif import events_wire, ptz_wire, soap
from adapters.onvif.events_topics import TOPICS, Notification, Places, condition, known, topic_path

SUBSCRIPTION = events_wire.Subscription(address="http://it/")
CALLS: tuple[soap.Call[Any], ...] = (
    events_wire.subscribe(60),
    events_wire.pull(SUBSCRIPTION, "http://it/", 1),
    events_wire.renew(SUBSCRIPTION, "http://it/", 60),
    events_wire.GET_SOURCE_CONFIGURATIONS,
    ptz_wire.GET_NODES,
    ptz_wire.get_presets("p"),
    ptz_wire.get_status("p"),
)
NAMES = (
    "SubscriptionReference", "Address", "ReferenceParameters", "CurrentTime", "TerminationTime",
    "NotificationMessage", "Topic", "Message", "Source", "Data", "SimpleItem", "ElementItem",
    "Configurations", "SourceToken", "PTZNode", "SupportedPTZSpaces",
    "ContinuousPanTiltVelocitySpace", "AbsoluteZoomPositionSpace", "URI", "XRange", "YRange",
    "Min", "Max", "Preset", "Name",
)  # fmt: skip
TEXTS = st.sampled_from(
    ["", " ", "true", "-1", "1e400", "nan", "PT60S", "P", "PT", "PT9999999999S",
     "2026-11-21T08:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00",
     "tns1:VideoSource/MotionAlarm", "a:b/c:", "//", "tns1:RuleEngine/LineDetector/Crossed", "大门"]
)  # fmt: skip


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> Any:
    element = etree.Element(f"{{urn:{draw(st.sampled_from('ab'))}}}{draw(st.sampled_from(NAMES))}")
    element.text = draw(TEXTS)
    for name in draw(st.lists(st.sampled_from(["token", "Name", "Value", "PropertyOperation",
                                               "UtcTime"]), max_size=3)):  # fmt: skip
        element.set(name, draw(TEXTS))
    if depth:
        for _ in range(draw(st.integers(0, 3))):
            element.append(draw(trees(depth=depth - 1)))
    return element


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(CALLS))
def test_any_shape_of_an_answer(data: st.DataObject, call: soap.Call[Any]) -> None:
    reply = etree.Element(f"{call.operation}Response")
    for _ in range(data.draw(st.integers(0, 3))):
        reply.append(data.draw(trees()))
    envelope = etree.Element(f"{{{soap.SOAP_12}}}Envelope")
    etree.SubElement(envelope, f"{{{soap.SOAP_12}}}Body").append(reply)
    read: Any = None
    with contextlib.suppress(AdapterError):
        read = soap.decode(call, 200, etree.tostring(envelope))
    if isinstance(read, events_wire.Pulled):
        assert read.left_s is None or read.left_s > 0
        where = Places(sources=("s",), aliases={})
        for received in read.notifications:
            events_wire.sample(received)
            if topic := known(received.notification.topic):
                condition(received.notification, topic, where, datetime.now(UTC))


@pytest.mark.parametrize("path", TOPICS)
def test_each_row_of_the_table_is_found_by_what_devices_send(path: str) -> None:
    sent = "/".join(f"tns1:{part}" for part in path.replace("*", "Anything").split("/"))
    assert known(topic_path(f" {sent} ")) is TOPICS[path]


@settings(deadline=None)
@given(st.text(max_size=60), st.dictionaries(st.text(max_size=10), st.text(max_size=10)))
def test_any_topic_and_items(expression: str, items: dict[str, str]) -> None:
    path = topic_path(expression)
    assert not path.startswith("/")
    where = Places(sources=("s1", "s2"), aliases={"c1": "s1"})
    for topic in (known(path), *TOPICS.values()):
        if topic is not None:
            told = Notification(topic=path, operation="Changed", source=items, data=items)
            event = condition(told, topic, where, datetime.now(UTC))
            assert event is None or event.address in ("", "s1", "s2")
