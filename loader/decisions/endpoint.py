"""What may be sent where: plain HTTP is for this machine, unless the user says otherwise."""

from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """
    Whether `host`, as it stands in a URL (an IPv6 address without its brackets), is this machine for sure.

    No name is looked up: who answers for it may change. `localhost` and what ends in it are ours by RFC 6761.
    """
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def plain_http_problem(scheme: str, host: str, proxy: str | None, allow_http: bool) -> str | None:
    """
    Why a signed request to this host must not be sent, a sentence; None where it may.

    `proxy` is the host that it would be handed to instead, None without one: what is meant for this machine
    leaves it all the same by way of another.
    """
    if scheme.lower() == "https" or allow_http:
        return None
    if not is_loopback(host):
        return (
            "This is plain http to another machine: whoever is on the way could read and change the rows. "
            "Use https, or give --allow-http."
        )
    if proxy is not None and not is_loopback(proxy):
        return (
            f"This is plain http by way of a proxy on another machine, {proxy}: whoever is on the way could "
            "read and change the rows. Name the host in NO_PROXY, or give --allow-http."
        )
    return None
