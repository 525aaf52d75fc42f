"""What the man page has beyond what argparse-manpage makes of the parser: a section EXIT STATUS."""

from collections.abc import Iterator

from cli.options import CommandParser


def sections(parser: CommandParser) -> list[dict[str, str]]:
    """As argparse-manpage takes them from the parser's attribute `_manpage`."""
    return [{"heading": "exit status", "content": "\n".join(_exit_statuses(parser))}]


def _exit_statuses(parser: CommandParser) -> Iterator[str]:
    for name, verb in parser.verbs.items():
        yield f".SS {_plain(name)}"
        for status, meaning in verb.exit_statuses:
            yield from (".TP", f".B {_plain(status)}", _plain(meaning))


def _plain(text: str) -> str:
    """Text that groff sets as it is: a dot or a quote that begins a line would make it a request."""
    return "\\&" + text.replace("\\", "\\e").replace("-", "\\-")
