"""Asking a server for answers, politely: not too often, again after a while, never without end."""

import datetime
import email.utils
import gzip
import http.client
import io
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import atomprint
from atomprint.ground.errors import DataError, UsageError

TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""

WAITS = (1.0, 4.0, 16.0, 60.0)
"""Seconds before another attempt; a request that fails is made again as many times in a row."""

MOST_WAITING = 900.0
"""Seconds; a server that asks for a longer pause is left alone, and the user told."""

MOST_BYTES = 1 << 29
"""Of one answer, unpacked."""

_BROKEN = (OSError, http.client.HTTPException, EOFError, zlib.error)
_AGAIN = (408, 425, 429)


class Missing(DataError):
    """The server says that there is no such thing, and will not have it later either."""


class Denied(DataError):
    """The server does not know who asks, or does not want them (401, 403)."""


class Web:
    """A way to servers, the same for all sources.

    Parameters
    ----------
    timeout, waits
        See :data:`TIMEOUT` and :data:`WAITS`.
    per_second
        At most so many requests; None for as many as come.
    tell
        Called with a sentence when there is something to wait for.

    Attributes
    ----------
    timeout, waits
        As given, for downloads.
    """

    def __init__(
        self,
        *,
        timeout: float = TIMEOUT,
        waits: Sequence[float] = WAITS,
        per_second: float | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.timeout, self.waits = timeout, tuple(waits)
        self._pause = 1 / per_second if per_second else 0.0
        self._tell = tell or (lambda text: None)
        self._not_before = float("-inf")
        self._reached = False
        self._opener = urllib.request.build_opener(_Redirects)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Body of an answer, unpacked.

        Parameters
        ----------
        url
            What to ask for.
        headers
            To send along; they go to no other server than the one that is asked.

        Raises
        ------
        Missing, Denied
            If the server says so (404, 410; 401, 403).
        DataError
            If there is no connection, or the server refuses, or is broken for longer than is
            waited.
        """
        body: bytes = self._asked(url, headers, lambda body: body)
        return body

    def json(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        """Answer in JSON; one that breaks off is asked for again.

        Raises
        ------
        DataError
            As :meth:`get`.
        """
        return self._asked(url, headers, json.loads)

    def pause(self, seconds: float) -> None:
        """Let the next request wait, as an answer asks for."""
        wait = time.monotonic() + min(seconds, MOST_WAITING)
        self._not_before = max(self._not_before, wait)

    def _asked(
        self, url: str, headers: Mapping[str, str] | None, decode: Callable[[bytes], Any]
    ) -> Any:
        where = url.partition("?")[0]
        for wait in (*self.waits, None):
            asked = None
            try:
                return decode(self._once(url, headers or {}))
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in _AGAIN:
                    raise self._refusal(where, error) from None
                reason, asked = reason_of(error), asked_to_wait(error)
            except _BROKEN as error:
                reason = reason_of(error)
                if not self._reached and _is_unknown(error):
                    raise DataError(
                        f"{where}: {reason}; this needs a network: check that there is one, and "
                        "the address"
                    ) from None
            except ValueError as error:  # decoding: the answer is no JSON, or half of it
                reason = f"the answer is no sound JSON ({str(error)[:80]})"
            if asked is not None and asked > MOST_WAITING:
                raise DataError(
                    f"{where}: the server asks to wait {asked / 60:,.0f} minutes; give the same "
                    "command again then, to go on from there"
                )
            if wait is None:
                break
            pause = max(asked if asked is not None else wait, 0.0)
            if pause >= 1:
                self._tell(f"{_host(url)}: {reason}; asking again in {pause:.0f} s")
            time.sleep(pause)
        raise DataError(
            f"{where}: {reason}, {len(self.waits) + 1} times in a row; check the network and give "
            "the same command again, to go on from there"
        )

    def _once(self, url: str, headers: Mapping[str, str]) -> bytes:
        time.sleep(max(0.0, self._not_before - time.monotonic()))
        self._not_before = time.monotonic() + self._pause
        try:
            request = urllib.request.Request(
                url,
                headers={
                    "Accept-Encoding": "gzip",
                    "User-Agent": f"atomprint/{atomprint.__version__}",
                    **headers,
                },
            )
        except ValueError:
            raise UsageError(f"{url!r} is no address; give one like https://...") from None
        if request.type not in ("http", "https"):
            raise UsageError(f"{url!r} is no address of a server; give one like https://...")
        with self._opener.open(request, timeout=self.timeout) as answer:
            self._reached = True
            body: bytes = answer.read(MOST_BYTES + 1)
            packed = answer.headers.get("Content-Encoding", "").lower() == "gzip"
            stated = answer.headers.get("Content-Length", "")
        # Reading a part of the body raises nothing where it breaks off.
        if stated.isdigit() and len(body) < int(stated) and len(body) <= MOST_BYTES:
            raise http.client.IncompleteRead(body, int(stated) - len(body))
        if packed:
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
                body = file.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise DataError(
                f"{url}: the answer is larger than {MOST_BYTES / 2**20:,.0f} MiB; ask for smaller "
                "pages"
            )
        return body

    def _refusal(self, where: str, error: urllib.error.HTTPError) -> DataError:
        reason = reason_of(error)
        if said := _said(error):
            reason += f": {said}"
        kinds: dict[int, type[DataError]] = dict.fromkeys((404, 410), Missing)
        kinds |= dict.fromkeys((401, 403), Denied)
        return kinds.get(error.code, DataError)(f"{where}: {reason}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as usual, but takes nobody's keys to another server."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and _host(new.full_url) != _host(req.full_url):
            kept = ("Accept-encoding", "User-agent")
            new.headers = {name: value for name, value in new.headers.items() if name in kept}
        return new


def _is_unknown(error: Exception) -> bool:
    """Whether there is no server of this name, or no network to ask for it."""
    return isinstance(error, urllib.error.URLError) and isinstance(error.reason, socket.gaierror)


def with_query(url: str, query: Mapping[str, str | int | float | bool]) -> str:
    """Address with a query; what is empty is left out."""
    texts = {n: str(v).lower() if isinstance(v, bool) else str(v) for n, v in query.items()}
    text = urllib.parse.urlencode({name: value for name, value in texts.items() if value})
    return f"{url}{'&' if '?' in url else '?'}{text}" if text else url


def reason_of(error: Exception) -> str:
    """What went wrong with a connection, in words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} ({error.reason})"
    inner = getattr(error, "reason", None) or error
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({inner})"
    return str(inner) or type(error).__name__


def asked_to_wait(error: Exception) -> float | None:
    """Seconds that a server asks for with Retry-After, as a number or as a date."""
    if not isinstance(error, urllib.error.HTTPError):
        return None
    stated = error.headers.get("Retry-After", "").strip()
    if not stated:
        return None
    if stated.isdigit():
        return float(stated)
    try:
        date = email.utils.parsedate_to_datetime(stated)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())


def _said(error: urllib.error.HTTPError) -> str:
    """What a server says in JSON about its refusal, as OPTIMADE and FastAPI do; else nothing."""
    try:
        content = json.loads(error.read(1 << 16))
        errors = content.get("errors")
        said = errors[0].get("detail") if errors else content.get("detail", content.get("message"))
    except (ValueError, AttributeError, IndexError, KeyError, TypeError, *_BROKEN):
        return ""
    return " ".join(said.split())[:300] if isinstance(said, str) else ""


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc
