"""What asv measures, commit by commit: `hatch run asv run`. Importing a suite imports nothing of picows.

Each case runs in a process of its own, and which engine and which kernels that process has is decided at its first
import of picows (`setting.use`).
"""
