"""The `campaigns` command finds its commands without loading what only one of them needs."""

import subprocess
import sys


def test_no_driver_is_loaded_before_a_command_asks_for_it() -> None:
    code = "import sys, cli.main; assert not {'pymilvus', 'neo4j', 'pymongo', 'dagster'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
