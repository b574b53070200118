"""Which actions a device answers at which path: the visible table."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from simulators.onvif_camera import device_service as device
from simulators.onvif_camera import event_service as event
from simulators.onvif_camera import media2_service as media2
from simulators.onvif_camera import media_service as media
from simulators.onvif_camera import ptz_service as ptz
from simulators.onvif_camera import soap
from simulators.onvif_camera.events import Subscription
from simulators.onvif_camera.soap import Element

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera

Call = Callable[["OnvifCamera", Element], str]
SubscriptionCall = Callable[["OnvifCamera", Element, Subscription], str | Awaitable[str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """call: makes the body of the answer. anonymous: needs no credentials."""

    call: Call
    anonymous: bool = False


_DEVICE: Final = {
    "GetSystemDateAndTime": Action(device.get_system_date_and_time, anonymous=True),
    "GetServices": Action(device.get_services, anonymous=True),
    "GetServiceCapabilities": Action(device.get_service_capabilities, anonymous=True),
    "GetCapabilities": Action(device.get_capabilities, anonymous=True),
    "GetEndpointReference": Action(device.get_endpoint_reference, anonymous=True),
    "SetSystemDateAndTime": Action(device.set_system_date_and_time),
    "GetDeviceInformation": Action(device.get_device_information),
    "GetScopes": Action(device.get_scopes),
    "GetHostname": Action(device.get_hostname),
    "GetNetworkInterfaces": Action(device.get_network_interfaces),
}
_MEDIA: Final = {
    "GetServiceCapabilities": Action(media.get_service_capabilities, anonymous=True),
    "GetVideoSources": Action(media.get_video_sources),
    "GetProfiles": Action(media.get_profiles),
    "GetProfile": Action(media.get_profile),
    "GetStreamUri": Action(media.get_stream_uri),
    "GetSnapshotUri": Action(media.get_snapshot_uri),
    "GetVideoSourceConfigurations": Action(media.get_video_source_configurations),
    "GetVideoEncoderConfigurations": Action(media.get_video_encoder_configurations),
    "SetSynchronizationPoint": Action(media.set_synchronization_point),
}
_MEDIA2: Final = {
    "GetServiceCapabilities": Action(media2.get_service_capabilities, anonymous=True),
    "GetProfiles": Action(media2.get_profiles),
    "GetStreamUri": Action(media2.get_stream_uri),
    "GetSnapshotUri": Action(media2.get_snapshot_uri),
    "SetSynchronizationPoint": Action(media2.set_synchronization_point),
}
_PTZ: Final = {
    "GetServiceCapabilities": Action(ptz.get_service_capabilities, anonymous=True),
    "GetNodes": Action(ptz.get_nodes),
    "GetConfigurations": Action(ptz.get_configurations),
    "GetNode": Action(ptz.get_node),
    "ContinuousMove": Action(ptz.continuous_move),
    "RelativeMove": Action(ptz.relative_move),
    "AbsoluteMove": Action(ptz.absolute_move),
    "Stop": Action(ptz.stop),
    "GetStatus": Action(ptz.get_status),
    "GetPresets": Action(ptz.get_presets),
    "SetPreset": Action(ptz.set_preset),
    "GotoPreset": Action(ptz.goto_preset),
    "RemovePreset": Action(ptz.remove_preset),
}
_EVENTS: Final = {
    "GetServiceCapabilities": Action(event.get_service_capabilities, anonymous=True),
    "GetEventProperties": Action(event.get_event_properties),
    "CreatePullPointSubscription": Action(event.create_pull_point),
}

MEDIA2_PATH: Final = "/onvif/media2_service"

SERVICES: Final[Mapping[str, tuple[str, Mapping[str, Action]]]] = MappingProxyType(
    {
        "/onvif/device_service": (soap.DEVICE, _DEVICE),
        "/onvif/media_service": (soap.MEDIA, _MEDIA),
        MEDIA2_PATH: (soap.MEDIA2, _MEDIA2),
        "/onvif/ptz_service": (soap.PTZ, _PTZ),
        "/onvif/event_service": (soap.EVENTS, _EVENTS),
    }
)
"""By path: the namespace of the service and its actions by local name."""

SUBSCRIPTION_PATH: Final = "/onvif/subscription/"
SUBSCRIPTION: Final[Mapping[tuple[str, str], SubscriptionCall]] = MappingProxyType(
    {
        (soap.EVENTS, "PullMessages"): event.pull_messages,
        (soap.EVENTS, "SetSynchronizationPoint"): event.set_synchronization_point,
        (soap.NOTIFICATION, "Renew"): event.renew,
        (soap.NOTIFICATION, "Unsubscribe"): event.unsubscribe,
    }
)
