"""Durable state of the control server: records, tables, migrations, address allocation and the read model."""
