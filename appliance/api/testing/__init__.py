"""What plugin authors test with: a fake host, a virtual clock, a contract per hook."""

from appliance.api.testing.contracts import HOOK_CONTRACTS as HOOK_CONTRACTS
from appliance.api.testing.contracts import call_hook as call_hook
from appliance.api.testing.contracts import round_trip as round_trip
from appliance.api.testing.fake_host import FakeHost as FakeHost
from appliance.api.testing.kernel_relay import check_kernel_relay as check_kernel_relay
from appliance.api.testing.plugin_contract import PluginContract as PluginContract
from appliance.api.testing.virtual_time import VirtualTime as VirtualTime
from appliance.api.testing.virtual_time import settle as settle
