"""What can be configured: values, the file and the environment they come from, and how they are shown."""

from antiphon.settings.checks import checked, is_loopback
from antiphon.settings.description import Setting, describe
from antiphon.settings.faults import ConfigurationError
from antiphon.settings.file import FILE_NAME, Loaded, load, read
from antiphon.settings.quantities import Duration, Secret, Size, Timeout
from antiphon.settings.values import (
    Admin,
    Background,
    Cache,
    Cassette,
    Downloads,
    Idempotency,
    Key,
    Log,
    MemoryLevel,
    Model,
    ModelCache,
    Provider,
    ProviderType,
    Redis,
    Responses,
    Server,
    Settings,
    Storage,
    Webhook,
)

__all__ = [
    "FILE_NAME",
    "Admin",
    "Background",
    "Cache",
    "Cassette",
    "ConfigurationError",
    "Downloads",
    "Duration",
    "Idempotency",
    "Key",
    "Loaded",
    "Log",
    "MemoryLevel",
    "Model",
    "ModelCache",
    "Provider",
    "ProviderType",
    "Redis",
    "Responses",
    "Secret",
    "Server",
    "Setting",
    "Settings",
    "Size",
    "Storage",
    "Timeout",
    "Webhook",
    "checked",
    "describe",
    "is_loopback",
    "load",
    "read",
]
