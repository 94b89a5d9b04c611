"""Plugins: where they are found, and the registry of what they provide."""

from .catalog import KINDS
from .places import GROUP
from .record import PluginRecord
from .registry import Registry

__all__ = ["GROUP", "KINDS", "PluginRecord", "Registry"]
