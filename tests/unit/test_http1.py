"""Replies read from bytes, and every way in which they are none."""

import pytest

from loader.decisions.http1 import MAX_BODY, MAX_HEAD, MalformedReply, ReplyReader, request_start
from loader.decisions.wire import Reply


def read(*pieces: bytes, ended: bool = False) -> tuple[Reply | None, bool]:
    """The reply, and whether the connection can be kept."""
    reader = ReplyReader()
    reply = None
    for piece in pieces:
        assert reply is None
        reply = reader.feed(piece)
    if ended and reply is None:
        reply = reader.end()
    return reply, reader.keeps


def refusal(*pieces: bytes, ended: bool = False) -> str:
    with pytest.raises(MalformedReply) as caught:
        read(*pieces, ended=ended)
    return str(caught.value)


# --- requests -------------------------------------------------------------------------------------


def test_the_head_of_a_request_is_its_line_and_a_line_for_each_header() -> None:
    assert request_start("POST", "/", {"Host": "h:1", "User-Agent": "a b"}) == (
        b"POST / HTTP/1.1\r\nHost: h:1\r\nUser-Agent: a b\r\n"
    )


@pytest.mark.parametrize("bad", ["a\r\nb", "a\nb", "a\rb", "a\0b"])
def test_nothing_leaves_its_line(bad: str) -> None:
    for path, headers in ((f"/{bad}", {}), ("/", {"Host": bad}), ("/", {bad: "h"})):
        with pytest.raises(ValueError, match="line end"):
            request_start("POST", path, headers)


# --- replies --------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"


def test_a_reply_of_a_given_length() -> None:
    reply, keeps = read(OK + b"Content-Length: 2\r\nX-Amzn-RequestId:  ABC \r\n\r\n{}")
    assert reply == Reply(200, {"content-length": "2", "x-amzn-requestid": "ABC"}, b"{}")
    assert keeps


def test_headers_that_are_repeated_are_joined_and_names_are_in_lower_case() -> None:
    reply, _ = read(OK + b"A: 1\r\nVary: x\r\na: 2\r\nContent-Length: 0\r\nA:\r\n\r\n")
    assert reply is not None
    assert reply.headers == {"a": "1, 2, ", "vary": "x", "content-length": "0"}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 503 Service Unavailable", 503),
        (b"HTTP/1.1 400 ", 400),
        (b"HTTP/1.1 400", 400),
        (b"HTTP/1.1 200 Tr\xe8s bien", 200),
        (b"HTTP/1.1 999 ?", 999),
    ],
)
def test_a_status_line_needs_no_reason(line: bytes, status: int) -> None:
    reply, _ = read(line + b"\r\nContent-Length: 0\r\n\r\n")
    assert reply is not None and reply.status == status


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
        b"0005\r\nhello\r\n000\r\n\r\n",
        b'5;name=value;other="a;b"\r\nhello\r\n0;last\r\n\r\n',
        b"5 ;x\r\nhello\r\n0 \t\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nOther: 2\r\n\r\n",
    ],
)
def test_chunks_are_joined_and_extensions_and_trailers_dropped(body: bytes) -> None:
    assert read(CHUNKED + body) == (Reply(200, {"transfer-encoding": "chunked"}, b"hello"), True)


def test_hexadecimal_sizes_come_in_either_case() -> None:
    data = bytes(0x1AB)
    for size in (b"1ab", b"1AB"):
        reply, _ = read(CHUNKED + size + b"\r\n" + data + b"\r\n0\r\n\r\n")
        assert reply is not None and reply.body == data


def test_line_ends_within_a_chunk_are_data() -> None:
    reply, _ = read(CHUNKED + b"6\r\n\r\n0\r\n\r\r\n0\r\n\r\n")
    assert reply is not None and reply.body == b"\r\n0\r\n\r"


def test_without_a_length_the_body_ends_with_the_connection() -> None:
    assert read(OK + b"\r\n{", b"}", ended=True) == (Reply(200, {}, b"{}"), False)
    assert read(OK + b"\r\n", ended=True) == (Reply(200, {}, b""), False)


@pytest.mark.parametrize("status", [b"204", b"304"])
@pytest.mark.parametrize("header", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_some_replies_have_no_body_whatever_they_announce(status: bytes, header: bytes) -> None:
    reply, keeps = read(b"HTTP/1.1 " + status + b" x\r\n" + header + b"\r\n")
    assert reply is not None and (reply.status, reply.body, keeps) == (int(status), b"", True)


def test_interim_replies_are_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    reply, keeps = read(interim + OK + b"Content-Length: 2\r\n\r\n{}")
    assert reply == Reply(200, {"content-length": "2"}, b"{}")
    assert keeps


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nconnection: Close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x ,\tCLOSE\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: enclose\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", False),
    ],
)
def test_whether_the_connection_can_be_kept(head: bytes, keeps: bool) -> None:
    assert read(head + b"Content-Length: 0\r\n\r\n")[1] is keeps


# --- what is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x00\x01\x02\r\n\r\n", "control characters"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "'SSH-2.0-OpenSSH', which is no status line"),
        (b"HTTP/2 200 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "no status line"),
        (b"http/1.1 200 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "no status line"),
        (b" HTTP/1.1 200 OK\r\n\r\n", "no status line"),
        ("HTTP/1.1 ٢٠٠ OK\r\n\r\n".encode(), "no status line"),
        (b"\r\n\r\n", "no status line"),
        (OK + b"no colon\r\n\r\n", "the header line 'no colon'"),
        (OK + b": empty\r\n\r\n", "a header named ''"),
        (OK + b"a b: c\r\n\r\n", "a header named 'a b'"),
        (OK + b"Content-Length : 2\r\n\r\n{}", "a header named 'Content-Length '"),
        (OK + b"A: 1\r\n folded\r\n\r\n", "folded"),
        (OK + b"A: 1\nContent-Length: 2\r\n\r\n{}", "control characters"),
        (OK + b"A: 1\rB: 2\r\n\r\n", "control characters"),
        (OK + b"A: \0\r\n\r\n", "control characters"),
        (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "a Content-Length of '2, 3'"),
        (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", "a Content-Length of '2, 2'"),
        (OK + b"Content-Length: -2\r\n\r\n{}", "a Content-Length of '-2'"),
        (OK + b"Content-Length: +2\r\n\r\n{}", "a Content-Length of '+2'"),
        (OK + b"Content-Length: 0x2\r\n\r\n{}", "a Content-Length of '0x2'"),
        (OK + b"Content-Length: 2.0\r\n\r\n{}", "a Content-Length of '2.0'"),
        (OK + b"Content-Length:\r\n\r\n{}", "a Content-Length of ''"),
        (OK + b"Content-Length: \xb2\r\n\r\n{}", "a Content-Length of '²'"),
        (OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", "a Content-Length of '999"),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", "where it ends is not clear"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "where it ends is not clear"),
        (OK + b"Transfer-Encoding: identity\r\n\r\n", "where it ends is not clear"),
        (OK.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", "where it ends is not clear"),
        (OK + b"Content-Length: 2\r\n\r\n{}HTTP", "more follows than is part of it (bytes: 4)"),
        (b"HTTP/1.1 204 x\r\n\r\nx", "more follows than is part of it (bytes: 1)"),
        (CHUNKED + b"0\r\n\r\nHTTP", "more follows than is part of it (bytes: 4)"),
        (CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n", "behind its end"),
        (CHUNKED + b"5\r\nhello0\r\n\r\n", "behind its end"),
        (CHUNKED + b"\r\n", "a chunk begins without its size"),
        (CHUNKED + b"x\r\n", "a chunk begins without its size"),
        (CHUNKED + b"0x5\r\nhello\r\n", "a chunk begins without its size"),
        (CHUNKED + b"-5\r\nhello\r\n", "a chunk begins without its size"),
        (CHUNKED + b" 5\r\nhello\r\n", "a chunk begins without its size"),
        (CHUNKED + b"5\nhello\r\n", "a chunk begins with"),
        (CHUNKED + b"5;\n\r\nhello\r\n", "a chunk begins with"),
        (CHUNKED + b"0\r\nno trailer\r\n\r\n", "its trailer has a line of 10 bytes that is no header"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "another protocol"),
    ],
)
def test_a_reply_that_is_none_is_told_by_what_is_odd(data: bytes, said: str) -> None:
    assert said in refusal(data)


SECRET = b'{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"name":{"S":"Jane Doe"}}}}]}}'


@pytest.mark.parametrize(
    "body",
    [
        SECRET + b"\r\n",
        b"5\r\n" + SECRET + b"\r\n",
        b"5;" + SECRET + b"\0\r\n",
        b"0\r\n" + SECRET + b"\r\n\r\n",
        b"0\r\n\r\n" + SECRET,
    ],
)
def test_nothing_of_a_body_is_quoted(body: bytes) -> None:
    """It can be a piece of somebody's data, and goes to the log."""
    said = refusal(CHUNKED + body)
    assert not any(word in said for word in ("Unprocessed", "PutRequest", "Jane"))


def test_the_head_of_a_reply_is_told_from_that_of_an_interim_one() -> None:
    reader = ReplyReader()
    told = []
    for piece in (b"HTTP/1.1 1", b"00 Continue\r\n\r\n", OK, b"Content-Length: 2\r\n\r\n", b"{}"):
        reader.feed(piece)
        told.append(reader.answered)
    assert told == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "closed before it came"),
        (b"HTTP/1.1 200", "in the middle of its head"),
        (OK + b"Content-Length: 2\r\n", "in the middle of its head"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "in the middle of its head"),
        (OK + b"Content-Length: 2\r\n\r\n{", "before its end (bytes missing: 1)"),
        (OK + b"Content-Length: 2000\r\n\r\n", "before its end (bytes missing: 2,000)"),
        (CHUNKED, "in the middle of its chunks"),
        (CHUNKED + b"5\r\nhel", "in the middle of its chunks"),
        (CHUNKED + b"5\r\nhello\r\n", "in the middle of its chunks"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", "in the middle of its chunks"),
        (CHUNKED + b"5\r\nhello\r\n0\r\nA: 1\r\n", "in the middle of its chunks"),
    ],
)
def test_a_reply_that_ends_too_early_is_none(data: bytes, said: str) -> None:
    pieces = [data] if data else []
    assert said in refusal(*pieces, ended=True)


def test_a_head_has_a_limit() -> None:
    long = OK + b"A: " + b"x" * MAX_HEAD
    assert refusal(long) == "its head is longer than 65,536 bytes"
    assert refusal(long + b"\r\n\r\n") == "its head is longer than 65,536 bytes"
    interim = b"HTTP/1.1 100 Continue\r\nA: " + b"x" * 30_000 + b"\r\n\r\n"
    assert read(interim, interim) == (None, True)
    assert refusal(interim * 3) == "its head is longer than 65,536 bytes"
    fits = OK + b"Content-Length: 0\r\nA: "
    whole = fits + b"x" * (MAX_HEAD - len(fits)) + b"\r\n\r\n"
    assert read(whole)[0] is not None


def test_a_body_has_a_limit() -> None:
    said = "its body is longer than 67,108,864 bytes"
    assert refusal(OK + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1)) == said
    assert read(OK + b"Content-Length: %d\r\n\r\n" % MAX_BODY) == (None, True)
    assert refusal(CHUNKED + b"%x\r\n" % (MAX_BODY + 1)) == said
    assert refusal(CHUNKED + b"%x\r\n" % MAX_BODY, bytes(MAX_BODY), b"\r\n1\r\n") == said
    assert refusal(OK + b"\r\n", bytes(MAX_BODY), b"x") == said


def test_lines_between_chunks_have_a_limit() -> None:
    assert "line between chunks is longer" in refusal(CHUNKED + b"5;" + b"x" * MAX_HEAD)
    assert "line between chunks is longer" in refusal(CHUNKED + b"5\r\nhello" + b"x" * (MAX_HEAD + 1))
    trailers = (b"A: " + b"x" * 30_000 + b"\r\n") * 3
    assert refusal(CHUNKED + b"0\r\n" + trailers) == "its trailer is longer than 65,536 bytes"
