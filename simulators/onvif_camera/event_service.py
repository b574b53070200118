"""The event service and its PullPoints. Sources: ONVIF Core specification, WS-BaseNotification."""

from typing import TYPE_CHECKING

from simulators.onvif_camera import durations, soap
from simulators.onvif_camera.device_service import EVENT_CAPABILITIES
from simulators.onvif_camera.events import (
    LIFETIME_S,
    PULL_LIMIT_S,
    CameraEvent,
    EventForm,
    EventKind,
    Subscription,
)
from simulators.onvif_camera.soap import BreaksOff, Element, Fault

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera

_TOPICS = "http://www.onvif.org/ver10/topics"
_DIALECT = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"


def get_service_capabilities(camera: "OnvifCamera", request: Element) -> str:
    return (
        f"<tev:GetServiceCapabilitiesResponse>{EVENT_CAPABILITIES}"
        "</tev:GetServiceCapabilitiesResponse>"
    )


def get_event_properties(camera: "OnvifCamera", request: Element) -> str:
    state = (
        '<tt:MessageDescription IsProperty="true"><tt:Source><tt:SimpleItemDescription'
        ' Name="Source" Type="tt:ReferenceToken"/></tt:Source><tt:Data>'
        '<tt:SimpleItemDescription Name="State" Type="xs:boolean"/></tt:Data>'
        "</tt:MessageDescription>"
    )
    return (
        "<tev:GetEventPropertiesResponse><tev:TopicNamespaceLocation>"
        "http://www.onvif.org/onvif/ver10/topics/topicns.xml</tev:TopicNamespaceLocation>"
        "<wsnt:FixedTopicSet>true</wsnt:FixedTopicSet><wstop:TopicSet><tns1:VideoSource>"
        f'<MotionAlarm wstop:topic="true">{state}</MotionAlarm>'
        f'<GlobalSceneChange><ImagingService wstop:topic="true">{state}</ImagingService>'
        f'</GlobalSceneChange><SignalLoss wstop:topic="true">{state}</SignalLoss>'
        "</tns1:VideoSource></wstop:TopicSet>"
        f"<wsnt:TopicExpressionDialect>{_DIALECT}</wsnt:TopicExpressionDialect>"
        "<tev:MessageContentFilterDialect>"
        "http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter"
        "</tev:MessageContentFilterDialect><tev:MessageContentSchemaLocation>"
        "http://www.onvif.org/onvif/ver10/schema/onvif.xsd</tev:MessageContentSchemaLocation>"
        "</tev:GetEventPropertiesResponse>"
    )


def create_pull_point(camera: "OnvifCamera", request: Element) -> str:
    if len(camera.events.alive) >= camera.quirks.max_subscriptions:
        raise Fault("no PullPoint is free", "wsnt:SubscribeCreationFailedFault", sender=False)
    lifetime_s = _lifetime_s(camera, request.value("InitialTerminationTime"))
    subscription = camera.events.subscribe(
        lifetime_s,
        camera.now_s,
        kept_alive=camera.quirks.pull_keeps_alive,
        gone_after_s=camera.quirks.pull_point_expires_s,
    )
    return (
        "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa:Address>"
        f"{camera.base_url}/onvif/subscription/{subscription.id}</wsa:Address>"
        f"</tev:SubscriptionReference>{_times(camera, subscription, 'wsnt')}"
        "</tev:CreatePullPointSubscriptionResponse>"
    )


async def pull_messages(camera: "OnvifCamera", request: Element, sub: Subscription) -> str:
    if sub.pulling:
        raise Fault("another PullMessages waits", "ter:Action", sender=False)
    timeout_s = durations.seconds(request.value("Timeout"), default_s=0.0)
    limit = request.value("MessageLimit")
    if not limit.isdecimal() or not int(limit[:9]):
        raise Fault("MessageLimit is no positive number", "ter:InvalidArgVal")
    breaks_s = camera.quirks.pull_breaks_s
    waits_s = 0.0 if camera.quirks.pull_at_once else min(timeout_s, PULL_LIMIT_S)
    events = await sub.pull(int(limit[:9]), min(waits_s, breaks_s or waits_s))
    if not events and 0 < breaks_s < waits_s:
        raise BreaksOff
    if sub.gone_s <= sub.now_s():
        raise Fault("the subscription is gone", "wsrf-rw:ResourceUnknownFault")
    messages = "".join(_message(camera, event) for event in events)
    return (
        f"<tev:PullMessagesResponse>{_times(camera, sub, 'tev')}{messages}"
        "</tev:PullMessagesResponse>"
    )


def set_synchronization_point(camera: "OnvifCamera", request: Element, sub: Subscription) -> str:
    camera.events.repeat_states(sub, camera.now_s)
    return "<tev:SetSynchronizationPointResponse/>"


def renew(camera: "OnvifCamera", request: Element, sub: Subscription) -> str:
    if camera.quirks.renew_refused:
        raise Fault("Renew is not possible", "ter:Action", sender=False)
    sub.renew(_lifetime_s(camera, request.value("TerminationTime")))
    ends = soap.utc(camera.now_s + camera.left_s(sub))
    return (
        f"<wsnt:RenewResponse><wsnt:TerminationTime>{ends}</wsnt:TerminationTime>"
        f"<wsnt:CurrentTime>{soap.utc(camera.now_s)}</wsnt:CurrentTime></wsnt:RenewResponse>"
    )


def unsubscribe(camera: "OnvifCamera", request: Element, sub: Subscription) -> str:
    camera.events.unsubscribe(sub)
    return "<wsnt:UnsubscribeResponse/>"


def _lifetime_s(camera: "OnvifCamera", value: str) -> float:
    lifetime_s = durations.seconds(value, default_s=LIFETIME_S, now_s=camera.now_s)
    if lifetime_s <= 0:
        raise Fault(
            "the termination time is past",
            "wsnt:UnacceptableInitialTerminationTimeFault",
        )
    return min(lifetime_s, 3600.0)


def _times(camera: "OnvifCamera", sub: Subscription, prefix: str) -> str:
    ends = soap.utc(camera.now_s + camera.left_s(sub))
    return (
        f"<{prefix}:CurrentTime>{soap.utc(camera.now_s)}</{prefix}:CurrentTime>"
        f"<{prefix}:TerminationTime>{ends}</{prefix}:TerminationTime>"
    )


def _message(camera: "OnvifCamera", event: CameraEvent) -> str:
    form = event.kind.form if isinstance(event.kind, EventKind) else EventForm(topic=event.kind)
    prefix = camera.quirks.topic_prefix
    namespace = "" if prefix == "tns1" else f' xmlns:{prefix}="{_TOPICS}"'
    operation = f' PropertyOperation="{event.operation}"' if event.operation else ""
    sources = "".join(
        f'<tt:SimpleItem Name="{name}" Value="{value.format(n=event.source)}"/>'
        for name, value in form.sources
    )
    return (
        f'<wsnt:NotificationMessage><wsnt:Topic Dialect="{_DIALECT}"{namespace}>'
        f"{prefix}:{soap.text(form.topic)}</wsnt:Topic><wsnt:Message>"
        f'<tt:Message UtcTime="{soap.utc(event.time_s)}"{operation}>'
        f'<tt:Source>{sources}</tt:Source><tt:Data><tt:SimpleItem Name="{form.state}"'
        f' Value="{str(event.active).lower()}"/></tt:Data></tt:Message></wsnt:Message>'
        "</wsnt:NotificationMessage>"
    )
