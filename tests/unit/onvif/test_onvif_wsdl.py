"""What is written by template is what the published WSDLs, as onvif-zeep carries them, demand."""

from typing import Any

import pytest
from lxml import etree

from adapters.onvif import soap, wire, wsdl

TEMPLATED: list[tuple[soap.Call[Any], dict[str, Any]]] = [
    (wire.GET_CLOCK, {}),
    (wire.GET_SERVICES, {"IncludeCapability": False}),
    (wire.GET_IDENTITY, {}),
    (wire.GET_ENDPOINT_REFERENCE, {}),
    (wire.GET_VIDEO_SOURCES, {}),
    (wire.GET_PROFILES, {}),
]


def _plain(element: Any) -> tuple[str, str, tuple[Any, ...]]:
    """An element without its prefixes: name with namespace, text, children."""
    return element.tag, (element.text or "").strip(), tuple(_plain(each) for each in element)


@pytest.mark.parametrize(("call", "parameters"), TEMPLATED, ids=lambda each: str(each)[:60])
def test_templates_are_what_zeep_would_send(
    call: soap.Call[Any], parameters: dict[str, Any]
) -> None:
    wsdl.load()
    described = wsdl.operation(call.service, call.operation)
    wanted = described.create(**parameters).content.find(f"{{{soap.SOAP_12}}}Body")[0]
    assert _plain(etree.fromstring(call.body)) == _plain(wanted)
    # The published WSDL has a slash in the wrong place here; devices answer to either.
    published = described.soapaction.replace("wsdlGetVideoSources/", "wsdl/GetVideoSources")
    assert call.action == published


@pytest.mark.parametrize(
    "call", [wire.GET_CAPABILITIES, wire.get_stream_uri("a<b", "udp"), wire.get_snapshot_uri("p&q")]
)
def test_rare_calls_are_built_from_the_wsdls(call: soap.Call[Any]) -> None:
    wsdl.load()
    body, content_type = soap.encode(call, None)
    sent: Any = etree.fromstring(body)
    assert etree.QName(sent[1][0]).localname == call.operation
    assert call.operation in content_type
    if token := call.parameters.get("ProfileToken"):
        assert sent.findtext(".//{*}ProfileToken") == token
