"""The one version number: all three distributions of this repository read it from here."""

__version__ = "3.0.0.dev0"
