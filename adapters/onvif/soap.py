"""SOAP 1.2 envelopes: a call to bytes, bytes to a reply or the error that they mean. No I/O."""

import base64
import dataclasses
import functools
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar
from xml.sax.saxutils import escape

from lxml import etree

from adapters.errors import AuthenticationFailed, Busy, NotSupported, ProtocolViolation
from adapters.events import Secret
from adapters.onvif import wsdl

T = TypeVar("T")

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""The profiles of a 128-channel recorder take about 1.3 MB."""

SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
_WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
_WSSE = f"{_WSS}wssecurity-secext-1.0.xsd"
_WSU = f"{_WSS}wssecurity-utility-1.0.xsd"
_HEAD: Final = f'<?xml version="1.0" encoding="utf-8"?>\n<s:Envelope xmlns:s="{SOAP_12}"><s:Header>'
_MIDDLE: Final = "</s:Header><s:Body>"
_TAIL: Final = "</s:Body></s:Envelope>"
_REFUSES_US = {"NotAuthorized", "FailedAuthentication", "FailedCheck", "InvalidSecurity",
               "AccountLocked"}  # fmt: skip
_WORDS_BYTES = 8_192
_LOCKED = re.compile(
    rb"accountlocked|\b(account|user|login)\b[^.<>]{0,60}\block(ed)?\b", re.IGNORECASE
)
_CANNOT = {"ActionNotSupported", "OptionalActionNotImplemented", "NoSuchService"}


class DeviceFault(ProtocolViolation):
    """The device understood the call and said no. subcodes: local names, outermost first."""

    def __init__(self, message: str, subcodes: tuple[str, ...]) -> None:
        super().__init__(message)
        self.subcodes = subcodes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One call of a service. service: name in onvif-zeep's table; read: its reply's meaning.

    lean: read gets the reply's XML element instead of zeep's object. For the long answers, and
    for what every device is asked all day: it takes a tenth of the time, and finds elements under
    whatever namespace the firmware put them.

    body: the call's own element, written by a template instead of zeep, for what is asked all day
    and for services whose WSDL is not carried; header: what goes beside the signature, and action:
    of SOAP, both with body only. address: where it goes, if not to the service itself. lasts_s:
    how long the device may take to answer beyond its usual time, for a long poll.
    """

    service: str
    operation: str
    read: Callable[[Any], T]
    lean: bool = False
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    body: str = ""
    header: str = ""
    action: str = ""
    address: str = ""
    lasts_s: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who signs a call, and by which clock: offset_s is the device's clock minus ours."""

    username: str
    password: Secret
    offset_s: float = 0.0


def encode(call: Call[T], login: Login | None) -> tuple[bytes, str]:
    """The request and its content type. Without a login the call carries no UsernameToken."""
    body, action = (call.body, call.action) if call.body else _built(call)
    security = token_header(login) if login is not None and login.username else ""
    envelope = f"{_HEAD}{call.header}{security}{_MIDDLE}{body}{_TAIL}"
    return envelope.encode(), f'application/soap+xml; charset=utf-8; action="{action}"'


def token_header(login: Login) -> str:
    """A WS-UsernameToken as text, dated by the device's clock.

    In Zulu form: newer Hikvision firmware refuses ``+00:00`` (home-assistant/core#119107).
    """
    created = datetime.now(UTC) + timedelta(seconds=login.offset_s)
    stamp = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    nonce = secrets.token_bytes(16)
    mix = nonce + stamp.encode() + login.password.reveal().encode()
    digest = base64.b64encode(hashlib.sha1(mix, usedforsecurity=False).digest()).decode()
    return (
        f'<w:Security xmlns:w="{_WSSE}"><w:UsernameToken>'
        f"<w:Username>{escape(login.username)}</w:Username>"
        f'<w:Password Type="{_WSS}username-token-profile-1.0#PasswordDigest">{digest}</w:Password>'
        f'<w:Nonce EncodingType="{_WSS}soap-message-security-1.0#Base64Binary">'
        f"{base64.b64encode(nonce).decode()}</w:Nonce>"
        f'<u:Created xmlns:u="{_WSU}">{stamp}</u:Created></w:UsernameToken></w:Security>'
    )


def _built(call: Call[T]) -> tuple[str, str]:
    """What zeep makes of the parameters."""
    described = wsdl.operation(call.service, call.operation)
    envelope = described.create(**call.parameters).content
    request = envelope.find(f"{{{SOAP_12}}}Body")[0]
    return etree.tostring(request, encoding="unicode"), described.soapaction


def refuses_us(status: int, document: bytes) -> bool:
    """Whether an answer is about who asks: HTTP 401 or 403, or a fault that says so."""
    if status in (401, 403):
        return True
    if b"Fault" not in document:
        return False
    try:
        fault = parse(document, "the call", status).find(f".//{{{SOAP_12}}}Fault")
    except ProtocolViolation:
        return False
    return fault is not None and isinstance(_meaning(fault, ""), AuthenticationFailed)


def is_locked(document: bytes) -> bool:
    """Whether a refusal says that the account is locked: then no password is tried again."""
    return _LOCKED.search(document[:_WORDS_BYTES]) is not None


def decode(call: Call[T], status: int, document: bytes) -> T:
    """What the device answered.

    status: of HTTP. Raises: AuthenticationFailed, NotSupported, Busy, DeviceFault, or
    ProtocolViolation for anything that is not the reply of this call.
    """
    if status in (401, 403, 423):
        raise _refusal(call.operation, document if status != 423 else b"AccountLocked")
    if status == 503:
        raise Busy(f"it is too busy to answer {call.operation}")
    if 300 <= status < 400:
        raise ProtocolViolation(
            f"it redirects {call.operation} elsewhere; give the address it redirects to"
        )
    if status == 404:
        raise ProtocolViolation(f"it has no ONVIF service at this address (asked {call.operation})")
    envelope = parse(document, call.operation, status)
    body = next(envelope.iterchildren(f"{{{SOAP_12}}}Body"), None)
    fault = next(envelope.iter(f"{{{SOAP_12}}}Fault"), None)
    if fault is not None:
        raise _meaning(fault, call.operation)
    if status != 200:
        raise ProtocolViolation(f"it answered {call.operation} with HTTP status {status}")
    expected = f"{call.operation}Response"
    if body is None or len(body) == 0 or etree.QName(body[0]).localname != expected:
        raise ProtocolViolation(f"it answered {call.operation} with something else")
    return _read(call, envelope, body[0])


def _read(call: Call[T], envelope: Any, reply: Any) -> T:
    # zeep reports what it cannot read with whatever its code ran into, down to AttributeError.
    try:
        if not call.lean:
            reply = wsdl.operation(call.service, call.operation).process_reply(envelope)
        return call.read(reply)
    except ProtocolViolation:
        raise
    except Exception as error:
        raise ProtocolViolation(
            f"its answer to {call.operation} cannot be read ({type(error).__name__})"
        ) from error


@functools.cache
def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True,
        remove_comments=True,
    )  # fmt: skip


def parse(document: bytes, what: str, status: int = 200) -> Any:
    """A SOAP envelope, version 1.1 read as 1.2.

    Entities and document types are refused, nothing is fetched. Raises: ProtocolViolation.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise ProtocolViolation(f"its answer to {what} is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        # Some firmware pads its documents with blanks or zero bytes.
        root: Any = etree.fromstring(document.strip(b" \t\r\n\0"), _parser())
    except (etree.XMLSyntaxError, ValueError):
        raise ProtocolViolation(f"it answered {what} with no XML (HTTP status {status})") from None
    if root.getroottree().docinfo.doctype:
        raise ProtocolViolation(f"its answer to {what} declares a document type; refused")
    if root.tag == f"{{{SOAP_11}}}Envelope":
        for element in root.iter(f"{{{SOAP_11}}}*"):
            element.tag = f"{{{SOAP_12}}}{etree.QName(element).localname}"
    if root.tag != f"{{{SOAP_12}}}Envelope":
        raise ProtocolViolation(f"it answered {what} with XML that is not SOAP")
    return root


def _refusal(what: str, said: bytes) -> AuthenticationFailed:
    """said: words of the device's own."""
    if is_locked(said):
        return AuthenticationFailed(
            f"it has locked this account after wrong passwords (at {what}); wait until it unlocks "
            "it or unlock it there, then correct the password here: every wrong try locks it again"
        )
    return AuthenticationFailed(f"it refused the user name or password at {what}")


def _meaning(fault: Any, what: str) -> Exception:
    codes = tuple(
        (element.text or "").strip().rpartition(":")[2]
        for element in fault.iter(f"{{{SOAP_12}}}Value", "faultcode")
    )
    text = fault.findtext(f".//{{{SOAP_12}}}Text") or fault.findtext("faultstring") or ""
    reason = " ".join(text.split())[:200]
    # Some firmware sends a bare Sender code and says it in words alone.
    words = reason.lower()
    if _REFUSES_US.intersection(codes) or "not authorized" in words or "is locked" in words:
        return _refusal(what, " ".join((reason, *codes)).encode())
    if _CANNOT.intersection(codes):
        return NotSupported(f"it does not support {what}")
    said = reason or "/".join(codes) or "no reason given"
    return DeviceFault(f"it refused {what}: {said}", codes)
