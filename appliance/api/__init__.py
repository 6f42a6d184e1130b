"""The public plugin API. Everything that a plugin needs is importable from here or from `appliance.types`."""

from appliance.api.hookspecs import hookimpl as hookimpl
from appliance.api.host import HostHandle as HostHandle
from appliance.api.host import Service as Service
from appliance.api.settings import SettingError as SettingError
from appliance.api.values import API_VERSION as API_VERSION
from appliance.api.values import AttachedPrefix as AttachedPrefix
from appliance.api.values import FirewallPart as FirewallPart
from appliance.api.values import HealthItem as HealthItem
from appliance.api.values import HostFacts as HostFacts
from appliance.api.values import HostinfoPart as HostinfoPart
from appliance.api.values import HostinfoService as HostinfoService
from appliance.api.values import JsonValue as JsonValue
from appliance.api.values import LogLevel as LogLevel
from appliance.api.values import Metric as Metric
from appliance.api.values import MetricKind as MetricKind
from appliance.api.values import NetmapChange as NetmapChange
from appliance.api.values import NetmapSnapshot as NetmapSnapshot
from appliance.api.values import NodeInfo as NodeInfo
from appliance.api.values import OfferedRoute as OfferedRoute
from appliance.api.values import Panel as Panel
from appliance.api.values import PanelAction as PanelAction
from appliance.api.values import PanelRow as PanelRow
from appliance.api.values import Placement as Placement
from appliance.api.values import RefreshKind as RefreshKind
from appliance.api.values import RefusedRoute as RefusedRoute
from appliance.api.values import RouteSelection as RouteSelection
