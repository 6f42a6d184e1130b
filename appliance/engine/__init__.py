"""Data planes: each implements `appliance.ports.engine.Engine` and `appliance.ports.underlay.Underlay`."""
