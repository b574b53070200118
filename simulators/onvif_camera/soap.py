"""SOAP 1.2 envelopes of ONVIF: requests read with lxml, answers written from templates; pure.

Sources: ONVIF Core specification, SOAP 1.2, WS-Security UsernameToken profile 1.0.
"""

import dataclasses
import datetime
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

ENVELOPE: Final = "http://www.w3.org/2003/05/soap-envelope"
DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
MEDIA: Final = "http://www.onvif.org/ver10/media/wsdl"
MEDIA2: Final = "http://www.onvif.org/ver20/media/wsdl"
PTZ: Final = "http://www.onvif.org/ver20/ptz/wsdl"
EVENTS: Final = "http://www.onvif.org/ver10/events/wsdl"
NOTIFICATION: Final = "http://docs.oasis-open.org/wsn/b-2"
ADDRESSING: Final = "http://www.w3.org/2005/08/addressing"

_SECURITY: Final = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
)
_UTILITY: Final = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
)
_DIGEST: Final = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0"
    "#PasswordDigest"
)
_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    f'<s:Envelope xmlns:s="{ENVELOPE}" xmlns:tds="{DEVICE}" xmlns:trt="{MEDIA}"'
    f' xmlns:tr2="{MEDIA2}" xmlns:tptz="{PTZ}" xmlns:tev="{EVENTS}" xmlns:wsnt="{NOTIFICATION}"'
    f' xmlns:wsa="{ADDRESSING}" xmlns:tt="http://www.onvif.org/ver10/schema"'
    ' xmlns:tns1="http://www.onvif.org/ver10/topics"'
    ' xmlns:wstop="http://docs.oasis-open.org/wsn/t-1"'
    ' xmlns:ter="http://www.onvif.org/ver10/error"'
    ' xmlns:xs="http://www.w3.org/2001/XMLSchema">'
)

text = escape
"""Escape for the content of an element."""
attribute = quoteattr
"""Escape and quote for the value of an attribute."""


class Fault(Exception):
    """Answered as a SOAP fault.

    sender: the client is to blame (HTTP 400), else the device (HTTP 500). codes: subcodes from
    the outside in, such as `ter:InvalidArgVal`, `ter:NoProfile`.
    """

    def __init__(self, reason: str, *codes: str, sender: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.codes = codes
        self.sender = sender


class BreaksOff(Exception):
    """Not answered: the connection is broken off."""


class Element:
    """A read-only view of an element of a request that finds children by local name."""

    __slots__ = ("_element",)

    def __init__(self, element: etree._Element) -> None:
        self._element = element

    @property
    def name(self) -> str:
        return etree.QName(self._element).localname

    @property
    def namespace(self) -> str:
        return etree.QName(self._element).namespace or ""

    @property
    def text(self) -> str:
        return (self._element.text or "").strip()

    def __iter__(self) -> Iterator["Element"]:
        return (Element(child) for child in self._element.iterchildren("{*}*"))

    def child(self, name: str, namespace: str = "*") -> "Element | None":
        found = next(self._element.iterchildren(f"{{{namespace}}}{name}"), None)
        return None if found is None else Element(found)

    def value(self, *path: str) -> str:
        """The text at a path of local names; empty when it is not there."""
        found: etree._Element | None = self._element
        for name in path:
            found = None if found is None else next(found.iterchildren(f"{{*}}{name}"), None)
        return "" if found is None else (found.text or "").strip()

    def attribute(self, name: str) -> str:
        return self._element.get(name) or ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsernameToken:
    """WS-Security credentials as sent; nonce in base64."""

    username: str
    password: str
    digest: bool
    nonce: str
    created: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request: its one body element, and what its header carries."""

    action: Element
    token: UsernameToken | None
    message_id: str


class Reader:
    """Parses requests; entities, document types and network access are off."""

    def __init__(self) -> None:
        self._parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
        )

    def parse(self, data: bytes) -> etree._Element:
        """The root element. Raises: Fault (ter:WellFormed)."""
        try:
            root = etree.fromstring(data, self._parser)
        except (etree.XMLSyntaxError, ValueError):
            raise Fault("the request is not well-formed XML", "ter:WellFormed") from None
        if root.getroottree().docinfo.internalDTD is not None:
            raise Fault("a document type is not accepted", "ter:WellFormed")
        return root

    def request(self, data: bytes) -> Request:
        """Read an envelope. Raises: Fault."""
        root = self.parse(data)
        envelope = Element(root)
        body = envelope.child("Body", ENVELOPE)
        if root.tag != f"{{{ENVELOPE}}}Envelope" or body is None:
            raise Fault("the request is no SOAP 1.2 envelope", "ter:WellFormed")
        action = next(iter(body), None)
        if action is None:
            raise Fault("the body is empty", "ter:WellFormed")
        header = envelope.child("Header")
        return Request(
            action=action,
            token=_token(header) if header else None,
            message_id=header.value("MessageID") if header else "",
        )


def _token(header: Element) -> UsernameToken | None:
    security = header.child("Security", _SECURITY)
    token = security.child("UsernameToken") if security else None
    if token is None:
        return None
    password = token.child("Password")
    return UsernameToken(
        username=token.value("Username"),
        password=password.text if password else "",
        digest=password is not None and password.attribute("Type") == _DIGEST,
        nonce=token.value("Nonce"),
        created=token.value("Created"),
    )


def envelope(body: str, header: str = "") -> bytes:
    head = f"<s:Header>{header}</s:Header>" if header else ""
    return f"{_HEAD}{head}<s:Body>{body}</s:Body></s:Envelope>".encode()


def foreign(document: bytes) -> bytes:
    """As firmware answers that puts schema elements under a namespace of its vendor's own, or
    under none."""
    document = document.replace(b"http://www.onvif.org/ver10/schema", b"urn:vendor:own-schema")
    return document.replace(b"tt:SourceToken>", b"SourceToken>")


def addressing_header(action: str, message_id: str) -> str:
    """The header of an answer to a request that used WS-Addressing."""
    relates = f"<wsa:RelatesTo>{text(message_id)}</wsa:RelatesTo>" if message_id else ""
    return f"<wsa:Action>{text(action)}</wsa:Action>{relates}"


def fault(error: Fault) -> bytes:
    """The envelope of a fault."""
    code = ""
    for subcode in reversed(error.codes):
        code = f"<s:Subcode><s:Value>{subcode}</s:Value>{code}</s:Subcode>"
    who = "s:Sender" if error.sender else "s:Receiver"
    return envelope(
        f"<s:Fault><s:Code><s:Value>{who}</s:Value>{code}</s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{text(error.reason)}</s:Text></s:Reason></s:Fault>'
    )


def utc(time_s: float) -> str:
    """An xs:dateTime in UTC. time_s: since 1970."""
    moment = datetime.datetime.fromtimestamp(time_s, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
