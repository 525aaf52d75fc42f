"""
The one module that imports boto3 and botocore: sessions, clients, and their errors made ours.

botocore resolves where and how to send (region, endpoint, FIPS, dual stack, account id, proxy, TLS,
signature), and carries the requests that the fast path does not. It is given the body ready made and its
reply is taken raw, so its serializer, validation, parser and retries decide nothing. It is imported inside
functions, where it is needed: it takes longer than all the rest of `import loader`.
"""

import logging
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from loader.config import ConnectionConfig
from loader.decisions.endpoint import plain_http_problem
from loader.decisions.wire import Reply
from loader.edges.boto3_transport import Boto3Transport, shape_of_batch
from loader.edges.connections import CONNECT_TIMEOUT, DROP_UNSENT, PROBE_TIMEOUT, READ_TIMEOUT
from loader.edges.credentials import NO_CREDENTIALS, CredentialChain, Credentials, HandedDown
from loader.edges.fast import Fallback, FastTransport
from loader.edges.table_client import TableClient
from loader.edges.target import Target, Unsuited, target_of
from loader.errors import BadConnection, ConnectionFault, Denied, Fatal, LoaderError

__all__ = [
    "ClientFactory",
    "Credentials",
    "Session",
    "TableClient",
    "open_session",
    "translate",
]

DEFAULT_REGION = "us-east-1"
# Before anything has begun, a wrong address is told soon. In seconds.
_FIRST_CONNECT_TIMEOUT = 3

# Within a URL, and followed by a password that is nobody else's business.
_USER_OF_URL = re.compile(r"(?<=://)[^/?#\s]*@")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientFactory:
    """
    All that a process needs to make its client; picklable.

    `profile` is where botocore reads its other settings (CA bundle, FIPS, endpoints), not credentials.
    `connections` is how many requests the client sends at a time. With a `target` batches take the fast path.
    Without `allow_http` no request leaves this machine over plain HTTP.
    """

    region: str
    endpoint_url: str | None
    credentials: Credentials
    connections: int
    profile: str | None = None
    target: Target | None = None
    allow_http: bool = False

    def table_client(self, patience: float | None = None) -> TableClient:
        """It waits `patience` seconds for a connection, and for each reply. Raises BadConnection."""
        return TableClient(_RawClient(self, patience or _FIRST_CONNECT_TIMEOUT, patience or READ_TIMEOUT))

    def transport(self, table: str = "") -> Boto3Transport | FastTransport:
        """
        What sends batches to `table`, whose name may be an ARN and tell the account to address. Raises Fatal.
        """
        if self.target is None:
            return self._boto3_transport(table)

        def client(credentials: Credentials) -> Boto3Transport:
            return replace(self, credentials=credentials)._boto3_transport(table)

        def target(credentials: Credentials) -> Target | None:
            with replace(self, credentials=credentials).table_client() as table_client:
                return table_client.target(table)

        return FastTransport(self.target, self.credentials, Fallback(client, target))

    def _prober(self, credentials: Credentials) -> "_RawClient":
        return _RawClient(replace(self, credentials=credentials), PROBE_TIMEOUT, PROBE_TIMEOUT)

    def _boto3_transport(self, table: str) -> Boto3Transport:
        try:
            return Boto3Transport(_RawClient(self, CONNECT_TIMEOUT, READ_TIMEOUT), self._prober, table)
        except BadConnection as problem:
            raise Fatal(str(problem)) from problem


class Session:
    """The coordinator's side: where the table is, and credentials resolved once for all workers."""

    def __init__(self, connection: ConnectionConfig) -> None:
        """Raises BadConnection."""
        self._profile = connection.profile
        self._endpoint_url = connection.endpoint_url
        self._allow_http = connection.allow_http
        try:
            session = _botocore_session(self._profile, self._allow_http)
            # botocore itself does not read AWS_REGION, which AWS's containers and other SDKs set.
            chain_region = session.get_config_variable("region") or os.environ.get("AWS_REGION")
        except Exception as error:
            raise translate(error) from error
        self.region: str = connection.region or chain_region or DEFAULT_REGION
        self._chain = CredentialChain(session)
        self.credentials = self._chain.freeze()
        self.serial = 0
        """Grows with each new credentials."""

    def factory(self, connections: int) -> ClientFactory:
        return ClientFactory(
            self.region,
            self._endpoint_url,
            self.credentials,
            connections,
            self._profile,
            allow_http=self._allow_http,
        )

    def due(self) -> bool:
        """Whether the credentials are about to expire. Asks nobody."""
        return self._chain.due()

    def refreshed(self) -> Credentials | None:
        """
        New ones once they are `due`, else None. Raises Denied when the old have expired and there are none.
        """
        if not self._chain.due():
            return None
        try:
            return self._changed_to(self._chain.freeze())
        except BadConnection as problem:
            if self._chain.expired():
                raise Denied(f"The credentials have expired and cannot be renewed. {problem}") from problem
            _log.warning("The credentials could not be renewed yet; this is tried again. %s", problem)
            return None

    def renewed(self) -> Credentials | None:
        """
        What the whole chain gives now, whatever the expiry says; None where it gives the same again.

        For when the service no longer accepts what the clock calls good. Raises Denied.
        """
        try:
            chain = CredentialChain(_botocore_session(self._profile, self._allow_http))
            credentials = chain.freeze()
        except BadConnection as problem:
            raise Denied(f"The credentials could not be renewed. {problem}") from problem
        self._chain = chain
        return self._changed_to(credentials)

    def _changed_to(self, credentials: Credentials) -> Credentials | None:
        if credentials == self.credentials:
            return None
        self.credentials = credentials
        self.serial += 1
        return credentials


def open_session(connection: ConnectionConfig) -> Session:
    """Resolve region and credentials along the AWS chain. Raises BadConnection."""
    return Session(connection)


class _Exchange(threading.local):
    """The request that this thread is in the middle of."""

    body: bytes = b""
    reply: Reply | None = None
    probing: bool = False
    """The request is to be made, and not sent."""
    unsent: Any = None


class _NoReply:
    """The stream of a reply that stands for one to a request that was not sent."""

    def stream(self, *_: object) -> Iterator[bytes]:
        return iter(())


class _RawClient:
    """A boto3 client whose request bodies are ours and whose replies are taken before they are parsed."""

    def __init__(self, factory: ClientFactory, connect_timeout: float, read_timeout: float) -> None:
        self.region = factory.region
        self.held = HandedDown(factory.credentials)
        self._exchange = _Exchange()
        try:
            session = _botocore_session(factory.profile, factory.allow_http)
            self._client = _boto3_client(session, factory, self.held, connect_timeout, read_timeout)
            self._ca_file = _ca_file(session)
        except Exception as error:
            raise translate(error) from error
        self.endpoint: str = _USER_OF_URL.sub("", self._client.meta.endpoint_url)
        self._client.meta.events.register("before-call.dynamodb", self._swap_body)
        self._client.meta.events.register("before-send.dynamodb.BatchWriteItem", self._hold_back)
        self._client.meta.events.register("before-parse.dynamodb", self._take_reply)

    def call(self, operation: str, body: bytes, shape: Mapping[str, Any]) -> Reply:
        """One try. `shape` is for botocore to find the endpoint by. Raises ConnectionFault, BadConnection."""
        from botocore import xform_name

        exchange = self._exchange
        exchange.body = body
        exchange.reply = None
        try:
            getattr(self._client, xform_name(operation))(**shape)
        except Exception as error:
            # With a reply in hand its own judgement of it (an error status, a checksum) is of no interest.
            if exchange.reply is None:
                raise translate(error) from error
        finally:
            exchange.body = b""
        reply = exchange.reply
        exchange.reply = None
        if reply is None:
            raise ConnectionFault("The request ended without a reply.")
        return reply

    def target(self, table: str) -> Target:
        """Where it sends batches to `table`; none is sent. Raises Unsuited and BadConnection."""
        exchange = self._exchange
        exchange.unsent = None
        exchange.probing = True
        try:
            # Without a reply where botocore did not come as far as to send.
            with suppress(ConnectionFault):
                self.call("BatchWriteItem", b"{}", shape_of_batch(table))
        finally:
            exchange.probing = False
        request, exchange.unsent = exchange.unsent, None
        if request is None:
            raise Unsuited("botocore made no request to look at")
        if self._goes_through_a_proxy(request.url):
            raise Unsuited("a proxy is configured for the endpoint")
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        return target_of(request.url, headers, request.body, self._ca_file, self.held.current)

    def close(self) -> None:
        self._client.close()

    def _goes_through_a_proxy(self, url: str) -> bool:
        """As botocore decides it: whether there are any by the endpoint, and which one by the URL."""
        from botocore.utils import get_environ_proxies

        proxies = self._client.meta.config.proxies
        if proxies is None:
            proxies = get_environ_proxies(self._client.meta.endpoint_url)
        return bool(proxies.get(url.partition(":")[0]))

    def _hold_back(self, request: Any, **_: object) -> Any:
        if not self._exchange.probing:
            return None
        from botocore.awsrequest import AWSResponse

        self._exchange.unsent = request
        return AWSResponse(request.url, 200, {}, _NoReply())

    def _swap_body(self, params: dict[str, Any], **_: object) -> None:
        params["body"] = self._exchange.body

    def _take_reply(self, response_dict: dict[str, Any], **_: object) -> None:
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        self._exchange.reply = Reply(response_dict["status_code"], headers, response_dict["body"])
        # Parsing it would be work for nothing, and fail on what is not JSON.
        response_dict["body"] = b"{}"


def translate(error: Exception) -> ConnectionFault | BadConnection:
    """What an exception of botocore's or its helpers is to us; ours, and bugs, are raised as they are."""
    if isinstance(error, LoaderError):
        raise error
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    not_sent = (
        exceptions.EndpointConnectionError,
        exceptions.ConnectTimeoutError,
        exceptions.ProxyConnectionError,
    )
    no_reply = (
        exceptions.HTTPClientError,
        exceptions.ConnectionError,
        exceptions.ChecksumError,
        exceptions.IncompleteReadError,
        ResponseParserError,
    )
    if isinstance(error, not_sent):
        return ConnectionFault(_with_cause(error), sent=False)
    if isinstance(error, exceptions.SSLError):
        return ConnectionFault(f"{_sentence(error)} Check AWS_CA_BUNDLE and the endpoint's certificate.")
    if isinstance(error, no_reply):
        return ConnectionFault(_with_cause(error))
    if isinstance(error, exceptions.ProfileNotFound):
        return BadConnection(f"{_sentence(error)} Check --profile, AWS_PROFILE and the AWS config files.")
    if isinstance(error, exceptions.NoCredentialsError):
        return BadConnection(NO_CREDENTIALS)
    if isinstance(error, exceptions.InvalidRegionError):
        return BadConnection(f"{_sentence(error)} Check --region.")
    if isinstance(error, ValueError) and "endpoint" in str(error):
        return BadConnection(f"{_sentence(error)} Check --endpoint-url; it looks like http://127.0.0.1:8000.")
    if isinstance(error, exceptions.BotoCoreError | exceptions.ClientError | ValueError | OSError):
        return BadConnection(f"The AWS settings cannot be used. {_sentence(error)}")
    raise error


def _with_cause(error: Exception) -> str:
    """botocore's sentence, and in brackets what the operating system said, which it often keeps to itself."""
    inner: BaseException = error
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    said = (inner.strerror or str(inner)) if isinstance(inner, OSError) else ""
    text = _sentence(error)
    return f"{text[:-1]} ({said})." if said and said not in text else text


def _sentence(error: Exception) -> str:
    text = _USER_OF_URL.sub("", " ".join(str(error).split())) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _botocore_session(profile: str | None, allow_http: bool) -> Any:
    """All of botocore's requests, those for credentials too, are made by clients of such a session."""
    import botocore.session

    session = botocore.session.Session(profile=profile)

    def guard(request: Any, **_: object) -> None:
        _require_private(request.url, allow_http)

    # As it is about to be sent: whatever made the URL (option, variable, profile, account), this sees it.
    session.register("before-send", guard)
    return session


def _require_private(url: str, allow_http: bool) -> None:
    """Raises BadConnection for a request that must not be sent: see plain_http_problem."""
    if url.startswith("https://") or allow_http:
        return
    from botocore.utils import get_environ_proxies

    parts = urlsplit(url)
    # Not every parser ends a host at a backslash, so that there are two opinions on who is meant.
    host = "" if "\\" in url else parts.hostname or ""
    proxy = get_environ_proxies(url).get(parts.scheme)
    through = None if proxy is None else urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname or ""
    problem = plain_http_problem(parts.scheme, host, through, allow_http)
    if problem is not None:
        endpoint = _USER_OF_URL.sub("", url).partition("?")[0].removesuffix("/")
        raise BadConnection(f"Nothing is sent to {endpoint}. {problem}")


def _ca_file(session: Any) -> str:
    """The certificates that botocore trusts: of its settings, of all Python's requests, or those it has."""
    from botocore.httpsession import get_cert_path

    path: str = get_cert_path(
        session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
    )
    return path


def _text(header: str | bytes) -> str:
    return header if isinstance(header, str) else header.decode("utf-8")


def _boto3_client(
    session: Any, factory: ClientFactory, held: HandedDown, connect_timeout: float, read_timeout: float
) -> Any:
    import boto3.session
    from botocore.config import Config

    session.register_component("credential_provider", held)
    config = Config(
        # One owner of retries: retry.py. With retries off, only the legacy mode still checks the CRC.
        retries={"mode": "legacy", "total_max_attempts": 1},
        max_pool_connections=factory.connections,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        tcp_keepalive=True,
        parameter_validation=False,
        # `auto` would ask the metadata service where it is.
        defaults_mode="legacy",
    )
    client = boto3.session.Session(botocore_session=session).client(
        "dynamodb", region_name=factory.region, endpoint_url=factory.endpoint_url, config=config
    )
    # As on our own connections; there is no setting for it.
    client._endpoint.http_session._socket_options.append((socket.SOL_SOCKET, socket.SO_LINGER, DROP_UNSENT))
    return client
