"""The engine for data: session, work units, tables, stages."""
