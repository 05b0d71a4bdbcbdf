"""Strict configuration: schema base, YAML loader with overrides, and kind errors."""

from credit_like.config.dump import dump_config, flat
from credit_like.config.errors import ConfigError, UserError, closest
from credit_like.config.expanded import ExpandedPath
from credit_like.config.loader import find_config, load_config, read_config, validate
from credit_like.config.schema import Settings
from credit_like.config.shipped import shipped_configs
from credit_like.config.yaml_nodes import Document

__all__ = [
    "ConfigError",
    "Document",
    "ExpandedPath",
    "Settings",
    "UserError",
    "closest",
    "dump_config",
    "find_config",
    "flat",
    "load_config",
    "read_config",
    "shipped_configs",
    "validate",
]
