"""What the process was told to do: ``load`` reads it, the structs hold it."""

from .connector import options, secrets
from .detection import zone
from .load import load
from .model import (
    DestinationSettings,
    ErrorSettings,
    HealthSettings,
    MonitoringSettings,
    PrometheusSettings,
    SchemaSettings,
    Settings,
    SourceSettings,
    TableSettings,
)
from .uri import redact

__all__ = [
    "DestinationSettings",
    "ErrorSettings",
    "HealthSettings",
    "MonitoringSettings",
    "PrometheusSettings",
    "SchemaSettings",
    "Settings",
    "SourceSettings",
    "TableSettings",
    "load",
    "options",
    "redact",
    "secrets",
    "zone",
]
