"""Settings, frozen; the only reader of the environment (CONTRACT §2)."""

from authsvc.settings.errors import SettingsError
from authsvc.settings.rules import OWASP_ARGON2
from authsvc.settings.settings import Settings, unknown_names
from authsvc.settings.sources import service_links
from authsvc.settings.values import APP_ORIGIN, LOOPBACK_NAMES, is_loopback, usable_cores

__all__ = [
    "APP_ORIGIN",
    "LOOPBACK_NAMES",
    "OWASP_ARGON2",
    "Settings",
    "SettingsError",
    "is_loopback",
    "service_links",
    "unknown_names",
    "usable_cores",
]
