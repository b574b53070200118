"""PullPoints as documents: the calls of a subscription, and what their answers mean. Pure.

Sources: ONVIF Core specification (event handling), WS-BaseNotification, WS-Addressing.
"""

import copy
import dataclasses
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from adapters.errors import ProtocolViolation
from adapters.onvif.events_topics import Notification, topic_path
from adapters.onvif.soap import SOAP_12, Call

_TEV = "http://www.onvif.org/ver10/events/wsdl"
_TRT = "http://www.onvif.org/ver10/media/wsdl"
_WSNT = "http://docs.oasis-open.org/wsn/b-2"
_WSA = "http://www.w3.org/2005/08/addressing"
_PULL_POINT = f"{_TEV}/PullPointSubscription"
_MANAGER = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager"
_MESSAGES_AT_ONCE = 100
_MAX_REFERENCE_BYTES = 4_096
_DURATION = re.compile(
    r"P(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})(?:\.\d*)?S)?)?"
)
_FRACTION = re.compile(r"\.\d+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A PullPoint that a device gave us.

    address: as the device announced it. parameters: XML that it wants back in the header of every
    call. granted_s: how long it lives without a sign of life; None where it did not say.
    """

    address: str
    parameters: str = ""
    granted_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """An answer to PullMessages. left_s: how long the subscription lives from now on, None where
    the answer does not say."""

    notifications: tuple["Received", ...]
    left_s: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A notification, and its element for whoever has to show it. at: by the device's clock, None
    where it does not say."""

    notification: Notification
    at: datetime | None
    element: Any = dataclasses.field(repr=False, compare=False)

    @property
    def is_state(self) -> bool:
        return self.notification.operation == "Initialized"


def subscribe(lives_s: float) -> Call[Subscription]:
    return Call(
        service="events",
        operation="CreatePullPointSubscription",
        read=_subscription,
        lean=True,
        action=f"{_TEV}/EventPortType/CreatePullPointSubscriptionRequest",
        body=(
            f'<e:CreatePullPointSubscription xmlns:e="{_TEV}"><e:InitialTerminationTime>'
            f"PT{lives_s:.0f}S</e:InitialTerminationTime></e:CreatePullPointSubscription>"
        ),
    )


def pull(subscription: Subscription, reached: str, timeout_s: float) -> Call[Pulled]:
    """Wait for messages, at most timeout_s. reached: the subscription's address as we reach it."""
    return _call(
        subscription,
        reached,
        "PullMessages",
        f"{_PULL_POINT}/PullMessagesRequest",
        f'<e:PullMessages xmlns:e="{_TEV}"><e:Timeout>PT{timeout_s:.0f}S</e:Timeout>'
        f"<e:MessageLimit>{_MESSAGES_AT_ONCE}</e:MessageLimit></e:PullMessages>",
        _pulled,
        lasts_s=timeout_s,
    )


def renew(subscription: Subscription, reached: str, lives_s: float) -> Call[float | None]:
    return _call(
        subscription,
        reached,
        "Renew",
        f"{_MANAGER}/RenewRequest",
        f'<n:Renew xmlns:n="{_WSNT}"><n:TerminationTime>PT{lives_s:.0f}S</n:TerminationTime>'
        "</n:Renew>",
        _left_s,
    )


def synchronize(subscription: Subscription, reached: str) -> Call[None]:
    """Ask for all states as they stand now; they come as messages."""
    return _call(
        subscription,
        reached,
        "SetSynchronizationPoint",
        f"{_PULL_POINT}/SetSynchronizationPointRequest",
        f'<e:SetSynchronizationPoint xmlns:e="{_TEV}"/>',
        lambda _reply: None,
    )


def unsubscribe(subscription: Subscription, reached: str) -> Call[None]:
    return _call(
        subscription,
        reached,
        "Unsubscribe",
        f"{_MANAGER}/UnsubscribeRequest",
        f'<n:Unsubscribe xmlns:n="{_WSNT}"/>',
        lambda _reply: None,
    )


def _call(
    subscription: Subscription,
    reached: str,
    operation: str,
    action: str,
    body: str,
    read: Callable[[Any], Any],
    lasts_s: float = 0.0,
) -> Call[Any]:
    # To is what the device calls itself, not how we reach it: some compare it.
    header = (
        f'<a:Action xmlns:a="{_WSA}">{action}</a:Action>'
        f'<a:MessageID xmlns:a="{_WSA}">urn:uuid:{uuid.uuid4()}</a:MessageID>'
        f'<a:To xmlns:a="{_WSA}">{escape(subscription.address)}</a:To>{subscription.parameters}'
    )
    return Call(
        service="events",
        operation=operation,
        read=read,
        lean=True,
        address=reached,
        action=action,
        header=header,
        body=body,
        lasts_s=lasts_s,
    )


def _source_configurations(reply: Any) -> dict[str, str]:
    return {
        each.get("token"): (each.findtext("{*}SourceToken") or "").strip()
        for each in reply.iterchildren("{*}Configurations")
        if each.get("token")
    }


GET_SOURCE_CONFIGURATIONS: Call[dict[str, str]] = Call(
    service="media",
    operation="GetVideoSourceConfigurations",
    read=_source_configurations,
    lean=True,
    action=f"{_TRT}/GetVideoSourceConfigurations",
    body=f'<t:GetVideoSourceConfigurations xmlns:t="{_TRT}"/>',
)
"""Configuration to source: a rule names the configuration that it watches."""


# --- reading ----------------------------------------------------------------------------------


def _subscription(reply: Any) -> Subscription:
    reference = reply.find("{*}SubscriptionReference")
    address = "" if reference is None else (reference.findtext("{*}Address") or "").strip()
    if not address:
        raise ProtocolViolation("it gave no address of its PullPoint")
    return Subscription(
        address=address,
        parameters=_parameters(reference.find("{*}ReferenceParameters")),
        granted_s=_left_s(reply),
    )


def _parameters(parameters: Any) -> str:
    """What a device tells its subscriptions apart by, if not by address (Axis)."""
    if parameters is None:
        return ""
    written = "".join(_standing_alone(each) for each in parameters.iterchildren("{*}*"))
    if len(written) > _MAX_REFERENCE_BYTES:
        raise ProtocolViolation("the reference of its PullPoint is longer than any should be")
    return written


def _standing_alone(element: Any) -> str:
    element = copy.deepcopy(element)
    element.tail = None
    element.set(f"{{{_WSA}}}IsReferenceParameter", "true")
    etree.cleanup_namespaces(element)
    return etree.tostring(element, encoding="unicode")


def _left_s(reply: Any) -> float | None:
    """Time until the termination: both by the device's own clock, so its offset does not matter.

    A termination may be a duration. A time that is past, as of firmware that mixes its zones, is
    none: renewing by it would go on without end (home-assistant/core#92551).
    """
    stated = (reply.findtext("{*}TerminationTime") or "").strip()
    if (lasts_s := _duration_s(stated)) is not None:
        return lasts_s if lasts_s > 0 else None
    ends = _moment(stated)
    now = _moment((reply.findtext("{*}CurrentTime") or "").strip())
    if ends is None or now is None or ends <= now:
        return None
    return (ends - now).total_seconds()


def _duration_s(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, rest_s = (int(group or 0) for group in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=rest_s).total_seconds()


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _pulled(reply: Any) -> Pulled:
    return Pulled(
        notifications=tuple(map(_received, reply.iterchildren("{*}NotificationMessage"))),
        left_s=_left_s(reply),
    )


def _received(element: Any) -> Received:
    """Found by local names: what is not there, or blank (some topics are), is empty."""
    message = element.find("{*}Message/{*}Message")
    if message is None:
        message = element.find("{*}Message")  # some leave out the inner one
    return Received(
        notification=Notification(
            topic=topic_path(element.findtext("{*}Topic") or ""),
            operation="" if message is None else message.get("PropertyOperation") or "",
            source=_items(message, "{*}Source"),
            data=_items(message, "{*}Data"),
        ),
        at=None if message is None else _moment(message.get("UtcTime") or ""),
        element=element,
    )


def _items(message: Any, where: str) -> dict[str, str]:
    part = None if message is None else message.find(where)
    if part is None:
        return {}
    return {
        item.get("Name"): item.get("Value") or ""
        for item in part.iterchildren("{*}SimpleItem")
        if item.get("Name")
    }


# --- showing what is not known ----------------------------------------------------------------

_MAX_SAMPLE = 4_000
_KEPT = frozenset({"true", "false", "0", "1"})
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")


def sample(received: Received) -> str:
    """The notification as the answer to a PullMessages, to be saved as ``input.xml`` of a case.

    Values of items are masked but for yes and no: what a device recognised, a name or a number
    plate, goes into no log.
    """
    element = copy.deepcopy(received.element)
    for item in element.iter("{*}SimpleItem"):
        value = item.get("Value") or ""
        if value.lower() not in _KEPT:
            item.set("Value", _DIGIT.sub("9", _LETTER.sub("x", value))[:64])
    for each in element.iter("{*}ElementItem"):
        del each[:]
        each.text = None
    envelope = etree.fromstring(
        f'<s:Envelope xmlns:s="{SOAP_12}"><s:Body><e:PullMessagesResponse xmlns:e="{_TEV}">'
        "</e:PullMessagesResponse></s:Body></s:Envelope>"
    )
    element.tail = None
    envelope[0][0].append(element)
    etree.cleanup_namespaces(envelope)
    return etree.tostring(envelope, encoding="unicode")[:_MAX_SAMPLE]
