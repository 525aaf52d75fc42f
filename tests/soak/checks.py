"""What is compared after a load: failures are gathered, so that a run tells all that is wrong with it."""

import csv
from pathlib import Path

from tests.server.client import Server
from tests.soak.files import File, Right
from tests.soak.processes import Ended

TABLE = "soak"
_NAMED = 3


class Checks:
    """Collects sentences about what is not as it should be."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def that(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.failures.append(otherwise)

    def ended_well(self, ended: Ended, right: Right) -> None:
        """Complete, with the counts and the exit status that the file calls for."""
        status = 1 if right.rejects else 0
        why = "; ".join(filter(None, [ended.error, *ended.warnings[-_NAMED:]]))
        self.that(ended.status == status, f"it ended with status {ended.status}, not {status}: {why}")
        self.that(ended.complete, "its summary does not say that it is complete")
        found = (ended.rows, ended.written, ended.duplicates, ended.rejected)
        rejected = len(right.rejects)
        wanted = (right.written + right.duplicates + rejected, right.written, right.duplicates, rejected)
        self.that(
            found == wanted,
            f"rows, written, duplicates, rejected are {found}, not {wanted}; rejects: {ended.reject_codes}",
        )

    def table_is(self, server: Server, file: File) -> None:
        """The table holds the last good row of each key, and nothing else."""
        found = {
            item["id"]["S"]: (item["n"]["N"], item["age"]["N"], item["text"]["S"])
            for item in server.items(TABLE)
        }
        right = file.table()
        if found == right:
            return
        missing, more = right.keys() - found.keys(), found.keys() - right.keys()
        other = [key for key in right.keys() & found.keys() if right[key] != found[key]]
        named = [*sorted(missing), *sorted(more), *sorted(other)][:_NAMED]
        self.that(
            False,
            f"the table misses {len(missing)} items, has {len(more)} too many and {len(other)} of another"
            f" row: {', '.join(named)}",
        )

    def nothing_overtaken(self, server: Server) -> None:
        """No older row replaced a newer one, and no request broke a rule of the service's."""
        stats = server.stats()
        table = stats["tables"][TABLE]
        self.that(
            table["older_over_newer"] == 0,
            f"{table['older_over_newer']} times an older row replaced a newer one:"
            f" {table['older_over_newer_examples'][:_NAMED]}",
        )
        self.that(
            table["without_place"] == 0, f"{table['without_place']} items do not tell their row's place"
        )
        self.that(not stats["violations"], f"requests broke rules: {stats['violations'][:_NAMED]}")

    def rejects_are(self, path: str | None, right: Right) -> None:
        """The reject file names exactly the bad rows, in file order, once each."""
        found: list[int] = []
        if path is not None:
            with open(path, encoding="utf-8", newline="") as file:
                found = [int(row["_line"]) for row in csv.DictReader(file)]
        self.that(
            found == list(right.rejects),
            f"the reject file has {len(found)} rows ({len(set(found))} different), not {len(right.rejects)}"
            f"{'' if found == sorted(found) else ', and not in file order'}",
        )

    def nothing_left(self, *folders: Path) -> None:
        """No file in the making, and no state."""
        left = [path for folder in folders for path in folder.rglob("*.part")]
        left += [path for folder in folders for path in (folder / "state").rglob("*") if path.is_file()]
        self.that(not left, f"files are left: {', '.join(path.name for path in left[:_NAMED])}")
