"""WS-Discovery of April 2005, the dialect of ONVIF: a Probe to bytes, ProbeMatches to finds.

Pure. Source: ONVIF Core Specification, chapter 7; WS-Discovery 2005/04 sections 5.2 and 5.3.
"""

import uuid
from ipaddress import IPv4Address, ip_address
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from adapters.events import Found
from adapters.onvif import soap

GROUP = "239.255.255.250"
PORT = 3702

_SCOPE = "onvif://www.onvif.org/"
_TYPES = ("NetworkVideoTransmitter", "Device", "NetworkVideoStorage")


def probe() -> bytes:
    """A Probe for network video transmitters, with a message id of its own."""
    return f"""<?xml version="1.0" encoding="utf-8"?>\
<s:Envelope xmlns:s="{soap.SOAP_12}"\
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"\
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"\
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl">\
<s:Header><a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>\
<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>\
<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action></s:Header>\
<s:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></s:Body>\
</s:Envelope>""".encode()


def probe_matches(document: bytes, sender: str) -> tuple[Found, ...]:
    """The ONVIF devices that an answer names; empty when it is of something else.

    sender: the address it came from. Answers without MetadataVersion, with foreign prefixes, or
    to another Probe's id are read: real devices send them. Raises: ProtocolViolation.
    """
    envelope = soap.parse(document, "the discovery probe")
    matches = [
        _found(match, sender)
        for match in envelope.iter("{*}ProbeMatch")
        if any(_words(match, "Types")) or any(_words(match, "Scopes"))
    ]
    return tuple(found for found in matches if found is not None)


def hello(document: bytes, sender: str) -> Found | None:
    """The ONVIF device that says it has come; None for any other message on the group, which is
    most of them. sender: the address it came from. Raises: ProtocolViolation."""
    if b"Hello" not in document:
        return None
    envelope = soap.parse(document, "the announcement")
    said = next(envelope.iter("{*}Hello"), None)
    return None if said is None else _found(said, sender)


def _found(match: Any, sender: str) -> Found | None:
    scopes = _words(match, "Scopes")
    types = [word.rpartition(":")[2] for word in _words(match, "Types")]
    is_onvif = any(word in _TYPES for word in types) or any(s.startswith(_SCOPE) for s in scopes)
    endpoint = _endpoint(_words(match, "XAddrs"), sender)
    if not is_onvif or endpoint is None:
        return None
    reference = " ".join((match.findtext(".//{*}EndpointReference/{*}Address") or "").split())
    return Found(
        endpoint=endpoint,
        endpoint_reference=reference[:200],
        name=_scope(scopes, "name"),
        hardware=_scope(scopes, "hardware"),
        location=_scope(scopes, "location"),
        answered_from=sender,
    )


def _words(match: Any, name: str) -> list[str]:
    return (match.findtext(f"{{*}}{name}") or "").split()


def _scope(scopes: list[str], category: str) -> str:
    """What the scopes say about a category; several parts joined by a blank."""
    prefix = f"{_SCOPE}{category}/"
    said = [unquote(scope.removeprefix(prefix)) for scope in scopes if scope.startswith(prefix)]
    return " ".join(said)[:200]


def _endpoint(addresses: list[str], sender: str) -> str | None:
    """The address to register: the sender's own if it is among them, else the first IPv4 one.

    An address that can only be the device's own loopback or none at all (Xiaomi firmware
    announces 127.0.0.1) gets the sender's host.
    """
    usable = [address for address in addresses if _is_http(address)]
    if not usable:
        return None
    own = [address for address in usable if urlsplit(address).hostname == sender]
    four = [address for address in usable if _host_kind(address) == 4]
    chosen = (own or four or usable)[0]
    host = urlsplit(chosen).hostname or ""
    if _nowhere(host) and not _nowhere(sender):
        parts = urlsplit(chosen)
        netloc = f"{sender}:{parts.port}" if parts.port else sender
        chosen = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
    return chosen


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False


def _host_kind(address: str) -> int:
    """4 or 6 for an IP address, 0 for a name; link-local counts as 0."""
    try:
        host = ip_address(urlsplit(address).hostname or "")
    except ValueError:
        return 0
    return 0 if host.is_link_local else host.version


def _nowhere(host: str) -> bool:
    try:
        parsed = ip_address(host)
    except ValueError:
        return host == "localhost"
    return isinstance(parsed, IPv4Address) and (parsed.is_loopback or parsed.is_unspecified)
