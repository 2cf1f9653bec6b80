"""Who may publish and read: the users and passwords of the table ``[door]``."""

from attrs import frozen

from penstock import Credentials, Plugin, hookimpl, option


@frozen
class DoorConfig:
    """Nobody is asked while there are no users."""

    users: dict[str, str] = option({}, "Passwords by user name.")


class DoorPlugin(Plugin):
    """Basic and Digest alike: `verify` knows how the peer gave its proof."""

    name = "door"
    version = "1.0.0"
    config = DoorConfig

    @hookimpl
    async def authorize(self, credentials: Credentials, config: DoorConfig) -> bool | str | None:
        if not config.users:
            return None
        password = config.users.get(credentials.user)
        return (password is not None and credentials.verify(password=password)) or "wrong user or password"


plugin = DoorPlugin()
