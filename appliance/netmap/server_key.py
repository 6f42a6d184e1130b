"""Fetches the control server's Noise key: `GET /key` (control-protocol spec section 2), the only trust anchor.

An ordinary HTTP/1.1 request; over https the certificate is checked.
"""

from __future__ import annotations

import ssl

from appliance.netmap.address import ControlAddress
from appliance.netmap.errors import ControlUnreachable, NotAControlServer
from appliance.ports.streams import ByteStream, StreamDialer, TlsPolicy
from appliance.proto.control.upgrade import MAX_KEY_RESPONSE_SIZE, key_target, parse_key_response
from appliance.proto.http1.head import ResponseHead, encode_request_head, parse_response_head
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import MachinePublicKey

OUTSIDE_ITS_DATES = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED."""
DATE_MEND = "check the date of this machine (timedatectl set-ntp true); if it is right, renew the server's certificate"
URL_MEND = "check the URL given with --login-server"


async def fetch_server_key(
    dialer: StreamDialer, address: ControlAddress, *, ca_file: str = "", timeout_s: float = 10.0
) -> MachinePublicKey:
    """Raises `ControlUnreachable` and `NotAControlServer`, both saying what was found."""
    try:
        stream = await dialer.dial(address.host, address.key_port, tls=_policy(address, ca_file), timeout_s=timeout_s)
    except ssl.SSLCertVerificationError as error:
        text = f"the certificate of {address} is not trusted: {error.verify_message}"
        if error.verify_code in OUTSIDE_ITS_DATES:
            raise ControlUnreachable(f"{text}, by this machine's date", mend=DATE_MEND) from error
        raise ControlUnreachable(
            text, mend="give the CA's file with control.ca_file, or mend the certificate"
        ) from error
    except ssl.SSLError as error:
        text = f"{address} does not speak TLS: {error.reason or error}"
        raise NotAControlServer(text, mend="if the server has no TLS, write http:// in the URL") from error
    except OSError as error:
        raise ControlUnreachable(f"cannot reach the control server {address}: {plain(error)}", mend=URL_MEND) from error
    try:
        head, body = await _exchange(stream, address)
    except OSError as error:
        text = f"the control server {address} closed the connection: {plain(error)}"
        raise ControlUnreachable(text, mend=URL_MEND) from error
    except DecodeError as error:
        raise NotAControlServer(f"{address} does not speak HTTP: {error.text}", mend=URL_MEND) from error
    finally:
        stream.close()
    return _key_from(head, body, address)


def plain(error: OSError) -> str:
    """The error without Python's decoration."""
    return error.strerror or str(error) or type(error).__name__


def _policy(address: ControlAddress, ca_file: str) -> TlsPolicy | None:
    if address.scheme == "http":
        return None
    return TlsPolicy(address.sni, ca_file=ca_file)


async def _exchange(stream: ByteStream, address: ControlAddress) -> tuple[ResponseHead, bytes]:
    headers = (("Host", address.host_header), ("Accept", "application/json"), ("Connection", "close"))
    stream.write(encode_request_head("GET", key_target(), headers))
    await stream.drain()
    buffer = bytearray()
    while (parsed := parse_response_head(buffer)) is None:
        buffer += await _some(stream)
    head, size = parsed
    del buffer[:size]
    if head.status == 200:
        await _read_body(stream, head, buffer)
    return head, bytes(buffer)


async def _read_body(stream: ByteStream, head: ResponseHead, buffer: bytearray) -> None:
    """Complete the body in `buffer`: by length, in chunks, or to the end of the connection."""
    if "chunked" in head.tokens("transfer-encoding"):
        while (body := parse_chunks(buffer)) is None:
            _check_size(buffer)
            buffer += await _some(stream)
        buffer[:] = body
        return
    length = head.content_length()
    while length is None or len(buffer) < length:
        _check_size(buffer)
        data = await stream.read()
        if not data:
            if length is None:
                return
            raise ConnectionResetError("it ended in the middle of an answer")
        buffer += data
    del buffer[length:]


def parse_chunks(data: bytes | bytearray) -> bytes | None:
    """The body of a chunked message (RFC 9112 section 7.1); None while it is incomplete. Raises `DecodeError`."""
    body = bytearray()
    place = 0
    while True:
        end = data.find(b"\r\n", place)
        if end < 0:
            return None
        text = bytes(data[place:end]).split(b";")[0].strip()
        try:
            size = int(text, 16) if len(text) <= 8 else -1
        except ValueError:
            size = -1
        if size < 0:
            raise DecodeError(DecodeReason.BAD_LENGTH, "chunk size")
        place = end + 2
        if size == 0:
            return bytes(body)
        if len(data) < place + size + 2:
            return None
        body += data[place : place + size]
        place += size + 2


def _check_size(buffer: bytearray) -> None:
    if len(buffer) > MAX_KEY_RESPONSE_SIZE:
        raise DecodeError(DecodeReason.TOO_LONG, "its answer is too long")


async def _some(stream: ByteStream) -> bytes:
    data = await stream.read()
    if not data:
        raise ConnectionResetError("it ended before the answer was complete")
    return data


def _key_from(head: ResponseHead, body: bytes, address: ControlAddress) -> MachinePublicKey:
    if head.status in (301, 302, 303, 307, 308):
        text = f"{address} redirects to {head.header('location') or 'another place'}"
        raise NotAControlServer(text, mend="give that server's own URL with --login-server")
    if head.status >= 500:
        text = f"the control server {address} answers with an error: {head.status} {head.reason}"
        raise ControlUnreachable(text, mend="look at the server, or at the proxy before it")
    kind = (head.header("content-type") or "no content type").partition(";")[0]
    if head.status != 200:
        text = f"{address} is not a control server: it answers /key with {head.status} {head.reason} ({kind})"
        raise NotAControlServer(text, mend=URL_MEND)
    try:
        return parse_key_response(body)
    except DecodeError as error:
        text = f"{address} is not a control server: its answer to /key holds no key ({kind})"
        raise NotAControlServer(text, mend=URL_MEND) from error
