"""However a reply is cut into pieces on its way, it is read alike; and no bytes at all break the reader."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from loader.decisions.http1 import MalformedReply, ReplyReader
from loader.decisions.wire import Reply

bodies = st.binary(max_size=300) | st.binary(max_size=20).map(lambda seed: b"\r\n0\r\n\r\n" + seed * 3)


def chunked(body: bytes, cuts: list[int], extension: bytes, trailer: bytes) -> bytes:
    borders = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:stop] for start, stop in pairwise(borders)]
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


def outcome(data: bytes, cuts: list[int]) -> Reply | str | None:
    """The reply, None where more is awaited, or why it is none."""
    reader = ReplyReader()
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    reply: Reply | None = None
    try:
        for start, stop in pairwise(borders):
            if reply is not None:
                return "bytes follow"
            reply = reader.feed(data[start:stop])
        return reply if reply is not None else reader.end()
    except MalformedReply as odd:
        return "bytes follow" if "follow" in str(odd) else "malformed"


cutting = st.lists(st.integers(0, 2000), max_size=12)
heads = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nX: 1\r\nX: 2\r\nContent-Length: %d\r\n\r\n",
    ]
)


@given(heads, bodies, cutting)
def test_a_reply_with_a_length_is_read_alike_however_it_is_cut(
    head: bytes, body: bytes, cuts: list[int]
) -> None:
    data = head % len(body) + body
    whole = outcome(data, [])
    assert isinstance(whole, Reply) and whole.body == body
    assert outcome(data, cuts) == whole
    assert outcome(data, list(range(len(data)))) == whole


@given(
    bodies,
    cutting,
    st.sampled_from([b"", b";a=b", b' ;q="x"']),
    st.sampled_from([b"", b"T: 1\r\n", b"T: 1\r\nU: 2\r\n"]),
    cutting,
)
def test_chunks_come_out_as_they_went_in(
    body: bytes, chunks: list[int], extension: bytes, trailer: bytes, cuts: list[int]
) -> None:
    data = chunked(body, chunks, extension, trailer)
    for pieces in ([], cuts, list(range(len(data)))):
        reply = outcome(data, pieces)
        assert isinstance(reply, Reply)
        assert reply.body == body


@given(bodies, cutting, st.integers(1, 400))
def test_a_reply_that_is_cut_short_is_never_taken_for_a_whole_one(
    body: bytes, cuts: list[int], missing: int
) -> None:
    for data in (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
        chunked(body, cuts, b"", b""),
    ):
        short = data[: max(0, len(data) - missing)]
        assert isinstance(outcome(short, cuts), str)


fragments = st.sampled_from(
    [
        *(
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 100 x\r\n\r\n",
            b"HTTP/1.0 204 \r\n",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
        ),
        *(b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"A: b\r\n"),
        *(b"2\r\n{}\r\n", b"0\r\n\r\n", b"{}", b"\0", b": \r\n", b" x\r\n", b"HTTP/1.1 304 x\r\n"),
    ]
)


@given(st.lists(fragments | st.binary(max_size=8), max_size=8).map(b"".join), cutting)
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", [50, 51])
def test_whatever_comes_it_is_a_reply_or_said_to_be_none_in_any_cut(data: bytes, cuts: list[int]) -> None:
    assert outcome(data, cuts) == outcome(data, [])
