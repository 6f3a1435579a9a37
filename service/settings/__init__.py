"""Every setting of the service: read from the environment in this one place, checked at the start."""

from service.settings.settings import Settings, SettingsInvalid, read_settings

__all__ = ["Settings", "SettingsInvalid", "read_settings"]
