"""How many connections there are, of all protocols and by address."""

from __future__ import annotations

from collections.abc import Callable

from penstock.settings import ServerConfig


class Places:
    """Places for connections, as many as the configuration allows."""

    def __init__(self) -> None:
        self._taken = 0
        self._by_address: dict[str, int] = {}

    def refusal(self, host: str, limits: ServerConfig) -> str:
        """Why there is no place for another connection from `host`, empty where there is one."""
        most, each = limits.max_connections, limits.max_connections_per_address
        if self._taken >= most:
            return f"server.max_connections ({most}) reached"
        if each and self._by_address.get(host, 0) >= each:
            return f"server.max_connections_per_address ({each}) reached"
        return ""

    def take(self, host: str) -> Callable[[], None]:
        """Take a place; what is returned gives it back, however often it is called."""
        self._taken += 1
        self._by_address[host] = self._by_address.get(host, 0) + 1
        held = True

        def release() -> None:
            nonlocal held
            if not held:
                return
            held = False
            self._taken -= 1
            left = self._by_address[host] - 1
            if left:
                self._by_address[host] = left
            else:
                del self._by_address[host]

        return release
