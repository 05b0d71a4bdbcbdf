"""Strict configuration: schema base, YAML loader with overrides, and kind errors."""

from credit_like.config.errors import ConfigError, UserError, closest
from credit_like.config.schema import Settings

__all__ = ["ConfigError", "Settings", "UserError", "closest"]
