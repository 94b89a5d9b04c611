"""Plugins: where they are found, and the registry of what they provide."""

from .registry import KINDS, PluginRecord, Registry

__all__ = ["KINDS", "PluginRecord", "Registry"]
