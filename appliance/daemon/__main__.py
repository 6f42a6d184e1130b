"""`python -m appliance.daemon` is `waypostd`."""

from appliance.daemon.main import main

main()
