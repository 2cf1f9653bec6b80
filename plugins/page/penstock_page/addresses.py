"""Where else a stream is to be had: URLs to copy, and those that the page itself plays."""

from __future__ import annotations

from urllib.parse import quote

from penstock import Server

EXAMPLE = "/live/stream"
"""The path in the URL templates of endpoints."""

PLAYED = {
    "hls": {"ll": ".m3u8?variant=ll", "hls": ".m3u8?variant=fmp4"},
    "progressive": {"flv": ".flv"},
    "webrtc": {"whep": "/whep"},
}
"""What follows the stream's path where the page plays it, by the plugin that serves it and the page's word for it."""

COPIED = {
    "hls": {"HLS": ".m3u8", "HLS of MPEG-TS": ".m3u8?variant=ts"},
    "dash": {"DASH": ".mpd"},
    "progressive": {"HTTP-FLV": ".flv", "MPEG-TS": ".ts", "MP4": ".mp4"},
}
"""The same for other players, by the name that is shown."""

Address = dict[str, str]


def media(server: Server, path: str, root: str, query: str) -> dict[str, str]:
    """The URLs that the page plays, of the plugins that run, by its word for each."""
    return _urls(server, PLAYED, f"{root}/{quote(path, safe='/')}", query)


def addresses(server: Server, path: str, root: str, query: str) -> list[Address]:
    """What to copy into another player or an encoder. ``{host}`` and ``{origin}`` are for the browser to fill in: only it
    knows by which name it came.
    """
    found: list[Address] = []
    for endpoint in server.endpoints:
        if endpoint.what in ("http", "https"):
            continue
        name = endpoint.what.upper()
        named = [(name, url) for url in endpoint.urls]
        named += [(f"{name} (publish)", url) for url in endpoint.publish]
        named += [(f"{name} (play)", url) for url in endpoint.play]
        for name, template in named:
            url = template.replace("{port}", str(endpoint.port)).replace(EXAMPLE, f"/{quote(path, safe='/')}")
            found.append({"name": name, "url": _with_query(url, query)})
    urls = _urls(server, COPIED, f"{{origin}}{root}/{quote(path, safe='/')}", query)
    return found + [{"name": name, "url": url} for name, url in urls.items()]


def _urls(server: Server, served: dict[str, dict[str, str]], base: str, query: str) -> dict[str, str]:
    return {
        name: _with_query(base + suffix, query)
        for plugin, suffixes in served.items()
        if _runs(server, plugin)
        for name, suffix in suffixes.items()
    }


def _runs(server: Server, plugin: str) -> bool:
    record = server.plugins.get(plugin)
    return record is not None and record.status == "loaded"


def _with_query(url: str, query: str) -> str:
    if not query:
        return url
    return url + ("&" + query[1:] if "?" in url else query)
