#!/usr/bin/env python3
"""The async loader's command of the tool this one succeeds: the verb load, with the same options."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # A clone need not be installed for this to work; what it needs may be in its .venv.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

    from cli.installed import start_anew

    start_anew()

    from cli.main import main
    from cli.streams import say

    say(["ddbload: The async mode is not there yet; this loads with worker processes (--mode processes)."])
    sys.exit(main(["load", *sys.argv[1:]]))
