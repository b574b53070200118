"""The device service (ver10/device). Source: ONVIF Core specification."""

import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from simulators.onvif_camera import soap
from simulators.onvif_camera.soap import Element, text

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera

_SCOPE: Final = "onvif://www.onvif.org/"


def scopes(camera: "OnvifCamera") -> list[str]:
    """The scopes a device announces; also in WS-Discovery."""
    spec = camera.spec
    found = [
        f"{_SCOPE}type/Network_Video_Transmitter",
        f"{_SCOPE}type/video_encoder",
        f"{_SCOPE}Profile/Streaming",
        f"{_SCOPE}name/{quote(spec.name, safe='')}",
        f"{_SCOPE}hardware/{quote(spec.model, safe='')}",
    ]
    if spec.location:
        found.append(f"{_SCOPE}location/{quote(spec.location, safe='')}")
    if spec.ptz:
        found.append(f"{_SCOPE}type/ptz")
    return found


def get_system_date_and_time(camera: "OnvifCamera", request: Element) -> str:
    now = datetime.datetime.fromtimestamp(camera.now_s, datetime.UTC)
    moment = (
        f"<tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
        f"<tt:Second>{now.second}</tt:Second></tt:Time>"
        f"<tt:Date><tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month>"
        f"<tt:Day>{now.day}</tt:Day></tt:Date>"
    )
    return (
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
        "<tt:DateTimeType>NTP</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
        f"<tt:TimeZone><tt:TZ>UTC0</tt:TZ></tt:TimeZone><tt:UTCDateTime>{moment}</tt:UTCDateTime>"
        f"<tt:LocalDateTime>{moment}</tt:LocalDateTime>"
        "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def set_system_date_and_time(camera: "OnvifCamera", request: Element) -> str:
    if request.value("DateTimeType") not in ("Manual", "NTP"):
        raise soap.Fault("neither Manual nor NTP", "ter:InvalidArgVal", "ter:InvalidDateTime")
    if request.value("DateTimeType") == "Manual":
        camera.set_clock(_utc_of(request))
    return "<tds:SetSystemDateAndTimeResponse/>"


def _utc_of(request: Element) -> float:
    """Seconds since 1970. Raises: Fault."""
    fields = [("Date", "Year"), ("Date", "Month"), ("Date", "Day"),
              ("Time", "Hour"), ("Time", "Minute"), ("Time", "Second")]  # fmt: skip
    try:
        numbers = [int(request.value("UTCDateTime", *path)) for path in fields]
        moment = datetime.datetime(*numbers, tzinfo=datetime.UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        raise soap.Fault("no such time", "ter:InvalidArgVal", "ter:InvalidDateTime") from None
    return moment.timestamp()


def get_device_information(camera: "OnvifCamera", request: Element) -> str:
    spec = camera.spec
    return (
        "<tds:GetDeviceInformationResponse>"
        f"<tds:Manufacturer>{text(spec.manufacturer)}</tds:Manufacturer>"
        f"<tds:Model>{text(spec.model)}</tds:Model>"
        f"<tds:FirmwareVersion>{text(spec.firmware)}</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{text(spec.serial)}</tds:SerialNumber>"
        f"<tds:HardwareId>{text(spec.model)}</tds:HardwareId>"
        "</tds:GetDeviceInformationResponse>"
    )


def get_services(camera: "OnvifCamera", request: Element) -> str:
    include = request.value("IncludeCapability") in ("true", "1")
    services = ""
    for namespace, path, capabilities in _services(camera):
        inner = f"<tds:Capabilities>{capabilities}</tds:Capabilities>" if include else ""
        services += (
            f"<tds:Service><tds:Namespace>{namespace}</tds:Namespace>"
            f"<tds:XAddr>{camera.base_url}{path}</tds:XAddr>{inner}"
            "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version>"
            "</tds:Service>"
        )
    return f"<tds:GetServicesResponse>{services}</tds:GetServicesResponse>"


def _services(camera: "OnvifCamera") -> list[tuple[str, str, str]]:
    found = [
        (soap.DEVICE, "/onvif/device_service", _DEVICE_CAPABILITIES),
        (soap.MEDIA, "/onvif/media_service", MEDIA_CAPABILITIES),
    ]
    if camera.quirks.events:
        found.append((soap.EVENTS, "/onvif/event_service", EVENT_CAPABILITIES))
    if camera.quirks.media2:
        found.append((soap.MEDIA2, "/onvif/media2_service", MEDIA2_CAPABILITIES))
    if camera.spec.ptz:
        found.append((soap.PTZ, "/onvif/ptz_service", PTZ_CAPABILITIES))
    return found


_DEVICE_CAPABILITIES: Final = (
    '<tds:Capabilities><tds:Network NTP="1"/>'
    '<tds:Security UsernameToken="true" HttpDigest="true"/>'
    '<tds:System DiscoveryBye="true"/></tds:Capabilities>'
)
MEDIA_CAPABILITIES: Final = (
    '<trt:Capabilities SnapshotUri="true"><trt:ProfileCapabilities MaximumNumberOfProfiles="32"/>'
    '<trt:StreamingCapabilities RTPMulticast="false" RTP_TCP="true" RTP_RTSP_TCP="true"/>'
    "</trt:Capabilities>"
)
MEDIA2_CAPABILITIES: Final = (
    '<tr2:Capabilities SnapshotUri="true"><tr2:ProfileCapabilities MaximumNumberOfProfiles="32"'
    ' ConfigurationsSupported="VideoSource VideoEncoder PTZ"/>'
    '<tr2:StreamingCapabilities RTSPStreaming="true" RTPMulticast="false" RTP_RTSP_TCP="true"/>'
    "</tr2:Capabilities>"
)
EVENT_CAPABILITIES: Final = (
    '<tev:Capabilities WSSubscriptionPolicySupport="false" WSPullPointSupport="true"'
    ' MaxPullPoints="10"/>'
)
PTZ_CAPABILITIES: Final = '<tptz:Capabilities EFlip="false" Reverse="false" MoveStatus="true"/>'


def get_service_capabilities(camera: "OnvifCamera", request: Element) -> str:
    return (
        f"<tds:GetServiceCapabilitiesResponse>{_DEVICE_CAPABILITIES}"
        "</tds:GetServiceCapabilitiesResponse>"
    )


def get_capabilities(camera: "OnvifCamera", request: Element) -> str:
    base = camera.base_url
    parts = {
        "Device": f"<tt:Device><tt:XAddr>{base}/onvif/device_service</tt:XAddr></tt:Device>",
        "Events": (
            f"<tt:Events><tt:XAddr>{base}/onvif/event_service</tt:XAddr>"
            "<tt:WSSubscriptionPolicySupport>false</tt:WSSubscriptionPolicySupport>"
            "<tt:WSPullPointSupport>true</tt:WSPullPointSupport>"
            "<tt:WSPausableSubscriptionManagerInterfaceSupport>false"
            "</tt:WSPausableSubscriptionManagerInterfaceSupport></tt:Events>"
        ),
        "Media": (
            f"<tt:Media><tt:XAddr>{base}/onvif/media_service</tt:XAddr>"
            "<tt:StreamingCapabilities><tt:RTPMulticast>false</tt:RTPMulticast>"
            "<tt:RTP_TCP>true</tt:RTP_TCP><tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP>"
            "</tt:StreamingCapabilities></tt:Media>"
        ),
    }
    if not camera.quirks.events:
        del parts["Events"]
    if camera.spec.ptz:
        parts["PTZ"] = f"<tt:PTZ><tt:XAddr>{base}/onvif/ptz_service</tt:XAddr></tt:PTZ>"
    wanted = {child.text for child in request if child.name == "Category"} or {"All"}
    if unknown := wanted - {"All", "Analytics", "Imaging", "PTZ", *parts}:
        raise soap.Fault(f"no category {min(unknown)}", "ter:InvalidArgVal")
    chosen = (xml for name, xml in parts.items() if "All" in wanted or name in wanted)
    return (
        f"<tds:GetCapabilitiesResponse><tds:Capabilities>{''.join(chosen)}"
        "</tds:Capabilities></tds:GetCapabilitiesResponse>"
    )


def get_scopes(camera: "OnvifCamera", request: Element) -> str:
    items = "".join(
        "<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef>"
        f"<tt:ScopeItem>{text(scope)}</tt:ScopeItem></tds:Scopes>"
        for scope in scopes(camera)
    )
    return f"<tds:GetScopesResponse>{items}</tds:GetScopesResponse>"


def get_hostname(camera: "OnvifCamera", request: Element) -> str:
    return (
        "<tds:GetHostnameResponse><tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP>"
        f"<tt:Name>camera-{text(camera.spec.serial)}</tt:Name>"
        "</tds:HostnameInformation></tds:GetHostnameResponse>"
    )


def get_network_interfaces(camera: "OnvifCamera", request: Element) -> str:
    return (
        '<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0">'
        "<tt:Enabled>true</tt:Enabled><tt:Info><tt:Name>eth0</tt:Name>"
        f"<tt:HwAddress>{camera.spec.mac_address}</tt:HwAddress><tt:MTU>1500</tt:MTU></tt:Info>"
        "<tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config><tt:Manual>"
        f"<tt:Address>{camera.host}</tt:Address><tt:PrefixLength>8</tt:PrefixLength>"
        "</tt:Manual><tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4>"
        "</tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>"
    )


def get_endpoint_reference(camera: "OnvifCamera", request: Element) -> str:
    return (
        "<tds:GetEndpointReferenceResponse>"
        f"<tds:GUID>{camera.spec.endpoint_reference.removeprefix('urn:uuid:')}</tds:GUID>"
        "</tds:GetEndpointReferenceResponse>"
    )
