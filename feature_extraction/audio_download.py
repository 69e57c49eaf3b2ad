"""Audio behind a URL: fetched over http and https only, within limits of size and time."""

import ipaddress
import queue
import re
import socket
import threading
import time

DOWNLOAD_BYTES = 50 * 1024**2
DOWNLOAD_SECONDS = 30.0
# One wait for the network; a further one is begun only if it can end in time.
DOWNLOAD_WAIT_SECONDS = 5.0
DOWNLOAD_REDIRECTS = 5

_TOO_SLOW = (
    "{}: the download would take longer than {:g} s; try again, or download the file yourself and give its path."
)
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+://)[^/]*@")
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")


def download(url: str, name: str) -> bytes:
    """Read a URL within the limits of size and time."""
    answers: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()

    def fetch() -> None:
        try:
            answers.put(_fetch(url, name))
        except BaseException as error:
            answers.put(error)

    # A server that sends its headers bit by bit, or a name that nobody resolves, can be waited for from outside only.
    threading.Thread(target=fetch, daemon=True).start()
    try:
        answer = answers.get(timeout=DOWNLOAD_SECONDS)
    except queue.Empty:
        raise TimeoutError(_TOO_SLOW.format(name, DOWNLOAD_SECONDS)) from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _fetch(url: str, name: str) -> bytes:
    """Follow redirects to what a URL stands for, and read it."""
    from huggingface_hub import get_session
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # whichever version of it the session is made of

    session = get_session()
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    _check_scheme(url, name)
    try:
        asked_for = httpx.URL(url).host
        for _ in range(DOWNLOAD_REDIRECTS + 1):
            # Redirects are followed here, so that each is checked and all share the time.
            with session.stream("GET", url, follow_redirects=False, timeout=DOWNLOAD_WAIT_SECONDS) as response:
                _check_time(deadline, name)
                if response.is_redirect:
                    if "location" not in response.headers:
                        raise ConnectionError(
                            f"{name}: the server redirects (HTTP {response.status_code}) and does not say where to; "
                            "give the file's final URL."
                        )
                    place = response.url.join(response.headers["location"])
                    _check_scheme(url := str(place), name)
                    if place.host != asked_for:
                        _check_host(place.host, name)
                    continue
                _check_status(response.status_code, name)
                _check_size(int(response.headers.get("content-length", 0)), name)
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    _check_size(len(content), name)
                    _check_time(deadline, name)
                return bytes(content)
    except httpx.TimeoutException as error:
        raise TimeoutError(
            f"{name}: no answer for {DOWNLOAD_WAIT_SECONDS:g} s; try again, or download the file and give its path."
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, OfflineModeIsEnabled) as error:
        raise ConnectionError(f"{name}: the download failed ({error}); check the URL and the network.") from error
    raise ConnectionError(f"{name}: more than {DOWNLOAD_REDIRECTS} redirects; give the file's final URL.")


def is_url(source: str) -> bool:
    """Whether a text is a URL, of whatever scheme."""
    return _SCHEME.match(source) is not None


def public_url(url: str) -> str:
    """Return a URL without its query, and without the user and password before its host."""
    return _USER.sub(r"\1", url.split("?", 1)[0])


def _check_scheme(url: str, name: str) -> None:
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() not in ("http", "https"):
        raise ValueError(
            f"{name}: audio is fetched over http and https only, not from {public_url(url)}; "
            "download the file and give its path."
        )


def _check_host(host: str, name: str) -> None:
    """Refuse a redirect into this machine or a private network; what the user's own URL names is asked for."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return  # no such name, or only a proxy knows it
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]).split("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if not address.is_global or address.is_multicast:
            raise ConnectionError(
                f"{name}: redirects to {host}, an address of this machine or of a private network; give that URL "
                "itself if it is meant."
            )


def _check_status(status: int, name: str) -> None:
    if status in (404, 410):
        raise FileNotFoundError(f"{name}: the server has no such file (HTTP {status}); check the URL.")
    if status != 200:
        raise ConnectionError(f"{name}: the server answered HTTP {status}; check the URL and the right to read it.")


def _check_size(size: int, name: str) -> None:
    if size > DOWNLOAD_BYTES:
        raise ValueError(
            f"{name}: larger than {DOWNLOAD_BYTES / 1024**2:g} MB, the limit of a download; "
            "download the file yourself and give its path."
        )


def _check_time(deadline: float, name: str) -> None:
    if time.monotonic() + DOWNLOAD_WAIT_SECONDS > deadline:
        raise TimeoutError(_TOO_SLOW.format(name, DOWNLOAD_SECONDS))
