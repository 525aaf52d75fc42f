"""Options that several verbs have, and the parser that refuses in words."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

from cli import values
from loader.config import TYPES_SO_FAR
from loader.errors import BadOption

PROGRESS = ("auto", "rich", "plain", "none")
LOG_LEVELS = ("debug", "info", "warning", "error")

Statuses: TypeAlias = Sequence[tuple[str, str]]
"""Exit statuses and what each means."""
Group: TypeAlias = "argparse._ArgumentGroup | argparse.ArgumentParser"


class _HelpText(argparse.HelpFormatter):
    """Fills paragraphs to the width of the terminal; one with indented lines stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(part if "\n  " in part else fill(part, width, indent) for part in paragraphs)


class CommandParser(argparse.ArgumentParser):
    """A parser that raises BadOption where argparse would print its usage and exit."""

    def __init__(self, *, exit_statuses: Statuses = (), **options: Any) -> None:
        # A shortened option would change its meaning on the day another one begins like it.
        super().__init__(formatter_class=_HelpText, allow_abbrev=False, **options)
        self.verbs: dict[str, CommandParser] = {}
        self.exit_statuses = exit_statuses
        self._manpage: list[dict[str, str]] = []

    def format_help(self) -> str:
        lines = [f"  {status:<5} {meaning}\n" for status, meaning in self.exit_statuses]
        told = f"\nExit status:\n{''.join(lines)}" if lines else ""
        # The epilog is what argparse-manpage puts under COMMENTS; statuses have a section of their own there.
        return super().format_help() + told

    def error(self, message: str) -> NoReturn:
        sentence = message[:1].upper() + message[1:].rstrip(".")
        raise BadOption(f"{sentence}. See {self.prog} --help for what there is.")


def add_number(to: Group, *names_and_help: str) -> None:
    *names, text = names_and_help
    to.add_argument(*names, type=values.whole_number(names[-1]), metavar="N", help=text)


def add_source(parser: CommandParser) -> None:
    source = parser.add_argument_group("source")
    source.add_argument(
        "source",
        nargs="*",
        type=values.filled("SOURCE", needed=True),
        metavar="SOURCE",
        help="a CSV file, or a pattern such as 'part-*.csv'; several are read one behind the other, in the "
        "order given (matches of a pattern in byte order, reject files among them left out)",
    )
    source.add_argument(
        "--csv",
        action="append",
        default=[],
        type=values.filled("--csv", needed=True),
        metavar="FILE",
        help="another way to write SOURCE",
    )


def add_table(parser: CommandParser) -> None:
    table = parser.add_argument_group("table")
    table.add_argument(
        "-t",
        "--table",
        required=True,
        type=values.filled("--table", needed=True),
        metavar="NAME",
        help="the DynamoDB table",
    )
    table.add_argument(
        "-r",
        "--region",
        type=values.filled("--region"),
        metavar="REGION",
        help="its region; default: as the AWS tools find it, at last us-east-1",
    )
    table.add_argument(
        "--profile",
        type=values.filled("--profile"),
        metavar="NAME",
        help="the profile in the AWS configuration that gives credentials and region",
    )
    table.add_argument(
        "--endpoint-url",
        type=values.filled("--endpoint-url"),
        metavar="URL",
        help="another server than AWS, such as http://127.0.0.1:8000",
    )
    table.add_argument(
        "--allow-http",
        action="store_true",
        help="send over plain http to another machine too, where everybody on the way can read and change "
        "the rows; default: over plain http to this machine alone, whatever option, variable or profile "
        "the endpoint comes from",
    )


def add_plan(parser: CommandParser) -> None:
    plan = parser.add_argument_group("plan")
    plan.add_argument(
        "--dry-run",
        action="store_true",
        help="do everything but the writes, and print the plan: rows, duplicates, rejects, item sizes, write "
        "units, what limits the load, how long it will take and what it costs. Nothing is written and no "
        "checkpoint is touched; rejected rows are named, and go to a file where --rejects names one",
    )
    plan.add_argument(
        "--price-per-million",
        type=values.price("--price-per-million"),
        metavar="P",
        help="the price of a million write units in the table's region, in any currency: the plan then tells "
        "the cost in money, replicas included",
    )


def add_types(to: Group) -> None:
    to.add_argument(
        "--types",
        action="append",
        default=[],
        metavar="COL=TYPE,...",
        help=f"the type of columns that are not strings: {', '.join(TYPES_SO_FAR)}; may be repeated",
    )


def add_output(parser: CommandParser, about_json: str = "") -> None:
    text = "the outcome as one JSON object, the last line of standard output"
    parser.add_argument("--json", action="store_true", help=text + about_json)
    add_progress(parser)


def add_progress(parser: CommandParser) -> None:
    parser.add_argument(
        "--progress",
        type=values.one_of("--progress", PROGRESS),
        default="auto",
        metavar="STYLE",
        help="on standard error: auto, rich (live bars, on a terminal only), plain (a line every 5 seconds) "
        "or none; default: auto, which is rich on a terminal and plain elsewhere",
    )


def add_log(parser: CommandParser) -> None:
    log = parser.add_argument_group("log")
    log.add_argument(
        "--log-level",
        type=values.one_of("--log-level", LOG_LEVELS),
        default="warning",
        metavar="LEVEL",
        help=f"{', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}; default: warning",
    )
    log.add_argument(
        "--log-file",
        type=values.filled("--log-file"),
        metavar="FILE",
        help="append the log to FILE, which only its owner can read, instead of standard error",
    )
