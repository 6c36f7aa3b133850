"""The files that the engines and SQLite keep their data in, by which one sees whether anything was written at all."""

from pathlib import Path

from local.engines import RunningEngines

DataFiles = dict[str, tuple[int, int]]


def data_files(engines: RunningEngines, database: Path) -> DataFiles:
    """Size and time of each data file of the engines, and of the SQLite database; logs are no data."""
    of_engines = {
        f"{name}/{path.relative_to(engines.place(name).data)}": path
        for name in engines.names
        for path in engines.place(name).data.rglob("*")
        if path.is_file() and "log" not in path.parts
    }
    of_sqlite = {f"sql/{path.name}": path for path in database.parent.glob(f"{database.name}*")}
    return {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in (of_engines | of_sqlite).items()}


def written(before: DataFiles, after: DataFiles) -> list[str]:
    """The names of the files that came, went or changed in between."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
