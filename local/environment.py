"""The variables that everything on this machine runs with, and the file in which other terminals find them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from local.programs import write_private
from stores.settings import ENV_FILE_VARIABLE, PREFIX, BadSetting, Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: `workspace.yaml`, `dagster.yaml` and `data/` lie here."""

ENV_FILE = "platform.env"
IN_QUOTES = str.maketrans({"\\": "\\\\", "'": "\\'"})


def asked_for(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """The CAMPAIGNS_* variables that a person set, in the environment or in the file that CAMPAIGNS_ENV_FILE names.

    The file that a stack on the same state wrote is not a person's: its engines are gone.

    Raises:
        BadSetting: a value cannot be used, or the named file is not there.
    """
    variables = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name != ENV_FILE_VARIABLE}
    named = environ.get(ENV_FILE_VARIABLE)
    if named and Path(named).absolute() != state / ENV_FILE:
        if not Path(named).is_file():
            raise BadSetting(f"{ENV_FILE_VARIABLE}: there is no file {named}")
        variables = {name: value for name, value in dotenv_values(named).items() if value is not None} | variables
    settings_of(variables)
    return variables


def settings_of(variables: Mapping[str, str]) -> Settings:
    """The settings of exactly these variables, whatever file lies around."""
    with tempfile.NamedTemporaryFile() as empty:
        return load_settings({**variables, ENV_FILE_VARIABLE: empty.name})


def platform_variables(
    asked: Mapping[str, str], engines: Mapping[str, str], *, state: Path, api_url: str, dagster_url: str
) -> dict[str, str]:
    """Every CAMPAIGNS_* variable of this stack. Paths are absolute, so that they hold wherever a process runs."""
    inbox = Path(asked.get("CAMPAIGNS_INBOX_DIR", ROOT / "data" / "inbox")).absolute()
    sql_url = asked.get("CAMPAIGNS_SQL_URL", f"sqlite:///{state / 'metrics.sqlite3'}")
    quality = Path(asked.get("CAMPAIGNS_QUALITY_DIR", state / "quality")).absolute()
    own = {"CAMPAIGNS_INBOX_DIR": str(inbox), "CAMPAIGNS_SQL_URL": sql_url, "CAMPAIGNS_QUALITY_DIR": str(quality)}
    return {**asked, **engines, **own, "CAMPAIGNS_API_URL": api_url, "CAMPAIGNS_DAGSTER_URL": dagster_url}


def write_env_file(file: Path, variables: Mapping[str, str]) -> None:
    """Writes the variables for other terminals; only the owner may read the file, since it holds passwords."""
    quoted = (f"{name}='{value.translate(IN_QUOTES)}'" for name, value in variables.items())
    write_private(file, "# Written by `campaigns up` and removed when it stops.\n" + "\n".join(quoted) + "\n")
