"""
Verbs and options.

The man page is made from `build_parser()` at build time, where none of the dependencies may be there: nothing
but the standard library and the light modules of `loader` is imported here.
"""

import argparse
from collections.abc import Sequence
from typing import TypeAlias

from cli import manpage, values
from cli.options import (
    CommandParser,
    add_log,
    add_number,
    add_output,
    add_plan,
    add_progress,
    add_source,
    add_table,
    add_types,
)
from loader import __version__
from loader.config import BATCH_LIMIT, TRANSPORTS
from loader.decisions.senders import FIRST

PROGRAM = "ddbload"
MODES = ("processes",)

REFUSED = ("2", "refused: this run wrote nothing, and the message says what to change")
FAILED = ("4", "failed on the way")
SIGNALS = (
    ("129", "hung up (SIGHUP)"),
    ("130", "interrupted (SIGINT, Ctrl-C)"),
    ("143", "terminated (SIGTERM)"),
)
OF_LOAD = (
    ("0", "every row was written (with --dry-run: would be), or superseded by a later row with its key"),
    ("1", "finished, and some rows were rejected"),
    REFUSED,
    ("3", "stopped by --max-rejects, or because everything was being rejected"),
    FAILED,
    *SIGNALS,
)
OF_GENERATE = (("0", "the file was written"), REFUSED, FAILED, *SIGNALS)
OF_VERIFY = (
    ("0", "the table is what the files say (rejected rows have no item, and are counted)"),
    ("1", "it is not"),
    REFUSED,
    FAILED,
    *SIGNALS,
)
OF_DEMO = (("0", "all items are equal"), ("1", "not all are"), REFUSED, FAILED, *SIGNALS)

_Verbs: TypeAlias = "argparse._SubParsersAction[CommandParser]"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """
    The options as given, `verb` among them. Raises BadOption; SystemExit after --help and --version.

    Without a verb it is `load`. A file named like a verb is `./verify`, or stands behind the verb.
    """
    parser = build_parser()
    if not arguments:
        parser.error("No verb and no file to load")
    if arguments[0] in ("-h", "--help", "--version"):
        parser.parse_args(arguments[:1])
    verb, rest = "load", list(arguments)
    if rest[0] in parser.verbs:
        verb, rest = rest[0], rest[1:]
    chosen = parser.verbs[verb]
    # Where files and options are mixed, argparse before 3.13 loses what stands behind `--`.
    end = rest.index("--") if "--" in rest else len(rest)
    options = chosen.parse_intermixed_args(rest[:end])
    options.verb = verb
    if files := rest[end + 1 :]:
        if not hasattr(options, "source"):
            chosen.error(f"Unrecognized arguments: {' '.join(files)}")
        options.source = [*options.source, *files]
    return options


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog=PROGRAM,
        description=(
            "Loads CSV files into a DynamoDB table, in parallel. When it is done the table is what writing "
            "the rows one by one, in file order, would have left; and every row is accounted for: "
            "rows = written + duplicates + rejected.\n\n"
            "Where no verb is given it is load. python -m loader is the same program.\n\n"
            "Examples:\n"
            "  ddbload data.csv --table people\n"
            "  ddbload verify data.csv --table people\n"
            "  ddbload demo\n"
        ),
        exit_statuses=OF_LOAD,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", parser_class=CommandParser)
    parser.verbs = {
        "load": _load(verbs),
        "generate": _generate(verbs),
        "verify": _verify(verbs),
        "demo": _demo(verbs),
    }
    parser._manpage = manpage.sections(parser)
    return parser


def _load(verbs: _Verbs) -> CommandParser:
    parser = verbs.add_parser(
        "load",
        help="load CSV files into a table",
        description=(
            "Loads CSV files into a DynamoDB table. The first line of each file names the columns. Keys and "
            "their types follow the table; other columns are strings unless --types says otherwise. Of rows "
            "with one key the last one wins.\n\n"
            "A row that cannot become an item is rejected alone, into a file that can be mended and loaded. "
            "Ctrl-C finishes what is in flight and keeps a checkpoint; a second Ctrl-C ends at once. A load "
            "that ends with an exit status of 3 or above keeps its checkpoint, and says how to continue "
            "it.\n\n"
            "Examples:\n"
            "  ddbload load data.csv --table people\n"
            "  ddbload load 'part-*.csv' -t people -r eu-west-1 --types age=N,active=BOOL\n"
            "  ddbload load data.csv -t people --max-rejects 1% --json\n"
            "  ddbload load data.csv -t people --dry-run --price-per-million 0.625\n"
            "  ddbload load data.csv -t people --endpoint-url http://127.0.0.1:8000\n"
        ),
        exit_statuses=OF_LOAD,
    )
    add_source(parser)
    add_table(parser)

    writing = parser.add_argument_group("how to write")
    writing.add_argument(
        "--mode",
        type=values.one_of("--mode", MODES),
        default=MODES[0],
        metavar="MODE",
        help="processes: worker processes on this machine (the only mode so far, and the default)",
    )
    add_number(
        writing,
        "-w",
        "--workers",
        "worker processes; default: one for each CPU this process may use, fewer for small files and where "
        "the table's capacity does not feed so many",
    )
    add_number(
        writing,
        "--threads",
        f"threads of each worker that send requests; default: {FIRST} to begin with, more while that helps "
        "and fewer while the table throttles",
    )
    add_number(
        writing, "-b", "--batch-size", f"items in a request, 1 to {BATCH_LIMIT}; default: {BATCH_LIMIT}"
    )
    parser.set_defaults(batch_size=BATCH_LIMIT)
    add_number(
        writing,
        "--max-retries",
        "how often an item that got no answer, or a failing one, is tried again before it is rejected; "
        "throttles do not count; default: no limit while the table makes progress",
    )
    add_number(
        writing,
        "--max-wcu",
        "write units a second that all workers together use at most, those of indexes included; default: "
        "what the table takes",
    )
    writing.add_argument(
        "--transport",
        type=values.one_of("--transport", TRANSPORTS),
        default=TRANSPORTS[0],
        metavar="WAY",
        help="fast: the program itself signs and sends requests, and leaves to a boto3 client what is "
        "unusual, such as a proxy; boto3: that client sends all, at several times the cost; default: fast",
    )
    writing.add_argument(
        "--stall-timeout",
        type=values.seconds("--stall-timeout"),
        default=300.0,
        metavar="S",
        help="give up when nothing at all was written for S seconds; default: 300",
    )

    rows = parser.add_argument_group("rows")
    add_types(rows)
    rows.add_argument(
        "--max-rejects",
        type=values.reject_limit,
        metavar="LIMIT",
        help="stop when more rows are rejected than that, over all runs of the load: a number, such as 100, "
        "or a share, such as 2%%, which counts once there are 1,000 rows; the load stops when it next "
        "hears of its workers, so some more may be counted; default: no limit",
    )
    rows.add_argument(
        "--rejects",
        type=values.filled("--rejects"),
        metavar="FILE",
        help="where rejected rows go; default: the name of the first source with .rejects.csv, in the "
        "working directory. An earlier file is never overwritten",
    )
    rows.add_argument(
        "--include-superseded",
        action="store_true",
        help="when a file of rejects is loaded: also take the rows whose key a later row wrote",
    )
    add_number(rows, "--limit", "the first N rows only")

    again = parser.add_argument_group("checkpoint")
    again.add_argument(
        "--state-dir",
        type=values.filled("--state-dir"),
        metavar="DIR",
        help="where checkpoints and scratch files lie; default: $XDG_STATE_HOME/ddbload, or "
        "~/.local/state/ddbload",
    )
    again.add_argument("--restart", action="store_true", help="forget a saved checkpoint and begin anew")
    again.add_argument(
        "--window-size",
        type=values.size("--window-size"),
        metavar="BYTES",
        help="how much of the source is sorted at a time, such as 64MiB: less takes less memory; "
        "default: 1GiB, less where memory is short",
    )

    add_plan(parser)
    add_output(
        parser,
        "; its numbers are of all runs of a load that was continued, but for seconds, items_per_second and "
        "reject_codes, which are of this run alone",
    )
    add_log(parser)
    return parser


def _generate(verbs: _Verbs) -> CommandParser:
    parser = verbs.add_parser(
        "generate",
        help="make a CSV file to try a load with",
        description=(
            "Makes a CSV file of realistic mixed columns: names, numbers, booleans, dates, and text with "
            "commas, quotes, line ends and non-ASCII characters; id comes first and is unique. The same seed "
            "gives the same bytes on every machine.\n\n"
            "Examples:\n"
            "  ddbload generate --output people.csv --count 100000\n"
            "  ddbload generate -o repeats.csv -c 10000 --duplicates 20% --seed 7\n"
            "  ddbload generate -o hot.csv -c 1000000 --sorted-keys 50\n"
        ),
        exit_statuses=OF_GENERATE,
    )
    parser.add_argument(
        "-o",
        "--output",
        type=values.filled("--output", needed=True),
        required=True,
        metavar="FILE",
        help="the file to write; an earlier one is replaced when the new one is whole",
    )
    add_number(parser, "-c", "--count", "how many rows; default: 10,000")
    add_number(parser, "--seed", "which of all such files; default: 0")
    parser.set_defaults(count=10_000, seed=0)
    add_number(parser, "--row-bytes", "bytes of a row, on average; default: about 200")
    parser.add_argument(
        "--duplicates",
        type=values.share("--duplicates"),
        default=0.0,
        metavar="SHARE",
        help="the share of rows that repeat an earlier key, such as 0.2 or 20%%; default: 0",
    )
    add_number(
        parser,
        "--sorted-keys",
        "N partition keys with many sort keys each, in order: what makes hot partitions; the key is "
        "id and seq",
    )
    add_progress(parser)
    add_log(parser)
    return parser


def _verify(verbs: _Verbs) -> CommandParser:
    parser = verbs.add_parser(
        "verify",
        help="compare a table with what the files say",
        description=(
            "Reads the files as load does, scans the whole table, compares every item, and names what is "
            "missing, different or extra. Numbers are compared by value, sets without order, all else "
            "exactly. The scan costs read units; nothing is written.\n\n"
            "Examples:\n"
            "  ddbload verify data.csv --table people\n"
            "  ddbload verify 'part-*.csv' -t people --types age=N,active=BOOL --json\n"
        ),
        exit_statuses=OF_VERIFY,
    )
    add_source(parser)
    add_table(parser)
    rows = parser.add_argument_group("rows")
    add_types(rows)
    add_number(rows, "--limit", "the first N rows only, as they were loaded")
    add_output(parser)
    add_log(parser)
    return parser


def _demo(verbs: _Verbs) -> CommandParser:
    parser = verbs.add_parser(
        "demo",
        help="a local server, a table, a file, a load and a check: one command",
        description=(
            "Starts a local DynamoDB-compatible server, makes a table and a file, loads the file, verifies "
            "the table and stops the server. It touches nothing but this machine: settings for AWS in the "
            "environment are dropped, and what it makes is removed at the end. The server comes with "
            "pip install 'ddbload[demo]'.\n\n"
            "Examples:\n"
            "  ddbload demo\n"
            "  ddbload demo --rows 100000 --workers 4\n"
        ),
        exit_statuses=OF_DEMO,
    )
    add_number(parser, "--rows", "rows to load; default: 10,000")
    parser.set_defaults(rows=10_000)
    add_number(parser, "-w", "--workers", "worker processes; default: one for each CPU this process may use")
    parser.add_argument(
        "--endpoint-url",
        type=values.filled("--endpoint-url"),
        metavar="URL",
        help="a server that runs on this machine already, such as http://127.0.0.1:8000; others are refused",
    )
    add_progress(parser)
    add_log(parser)
    return parser
