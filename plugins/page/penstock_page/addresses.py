"""Where else a stream is to be had: URLs to copy, and those that the page itself plays."""

from __future__ import annotations

from urllib.parse import quote

from penstock import Server

EXAMPLE = "/live/stream"
"""The path in the URL templates of endpoints."""

HLS = (("ll", "Low-latency HLS", ".m3u8?variant=ll"), ("hls", "HLS", ".m3u8"))
PROGRESSIVE = (("flv", "HTTP-FLV", ".flv"), ("ts", "MPEG-TS", ".ts"), ("mp4", "MP4", ".mp4"))
DASH = (("dash", "DASH", ".mpd"),)
BY_PLUGIN = (("hls", HLS), ("progressive", PROGRESSIVE), ("dash", DASH))
"""What each plugin of the HTTP port serves: a word for it, its name, and what follows the stream's path."""

Address = dict[str, str]


def media(server: Server, path: str, root: str, query: str) -> dict[str, str]:
    """The URLs on this port, by a word for each, of the plugins that run."""
    found: dict[str, str] = {}
    for plugin, kinds in BY_PLUGIN:
        if _runs(server, plugin):
            for word, _, suffix in kinds:
                found[word] = _with_query(f"{root}/{quote(path, safe='/')}{suffix}", query)
    return found


def addresses(server: Server, path: str, root: str, query: str) -> list[Address]:
    """What to copy into another player or an encoder. ``{host}`` and ``{origin}`` are for the browser to fill in: only it
    knows by which name it came.
    """
    found: list[Address] = []
    for endpoint in server.endpoints:
        for template in endpoint.urls:
            if template.startswith(("http:", "https:")):
                continue
            url = template.replace("{port}", str(endpoint.port)).replace(EXAMPLE, f"/{quote(path, safe='/')}")
            found.append({"name": endpoint.what.upper(), "url": _with_query(url, query)})
    urls = media(server, path, root, query)
    for _, kinds in BY_PLUGIN:
        found += [{"name": name, "url": f"{{origin}}{urls[word]}"} for word, name, _ in kinds if word in urls]
    return found


def _runs(server: Server, plugin: str) -> bool:
    record = server.plugins.get(plugin)
    return record is not None and record.status == "loaded"


def _with_query(url: str, query: str) -> str:
    if not query:
        return url
    return url + ("&" + query[1:] if "?" in url else query)
