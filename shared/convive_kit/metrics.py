"""Metrics: one registry per process, passed in. Names start with `convive_`, durations are seconds, and a label never
holds an id, an address or anything else without bound."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Histogram buckets that fit HTTP calls, database calls and mails alike."""


def new_registry() -> CollectorRegistry:
    """A registry that already tells of the process itself: memory, CPU, open files, garbage collection."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
