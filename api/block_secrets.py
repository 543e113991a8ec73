"""Sealing and showing the data of block documents: encrypted at rest, with secrets hidden unless they are asked for.

Data is sealed by Fernet (AES-128-CBC with HMAC-SHA256). Which fields are secret is said by their schema, as paths of
names with dots, of which `*` stands for all that is below. Source of the paths and of the mask: server 3.9.1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic_core import from_json, to_json

from api.reads import Reads
from projections.encryption_key import kept_key

MASK = "********"

Path = tuple[str, ...]


class WrongKey(Exception):
    """The data of a block document was sealed with a key that is not among ours."""

    def __init__(self) -> None:
        super().__init__("The data of this block was encrypted with another key than the one that is set")


class Sealer:
    """Seals data with the first of its keys, and opens what any of them sealed. Keys are those of Fernet, as base64.

    Raises ValueError for what is no such key.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, data: Mapping[str, Any]) -> str:
        return self._fernet.encrypt(to_json(data)).decode()

    def open(self, sealed: str) -> dict[str, Any]:
        """The data that was sealed. Raises WrongKey."""
        try:
            data: dict[str, Any] = from_json(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise WrongKey from None
        return data


def hidden(data: Mapping[str, Any], secrets: Iterable[str]) -> dict[str, Any]:
    """The data with a mask in the place of every secret that is not null."""
    paths = [tuple(secret.split(".")) for secret in secrets]
    return {name: _hidden(value, (name,), paths) for name, value in data.items()}


def _hidden(value: Any, at: Path, secrets: list[Path]) -> Any:
    if value is None:
        return None
    if any(_is_secret(at, secret) for secret in secrets):
        return _masked(value)
    if isinstance(value, Mapping):
        return {name: _hidden(content, (*at, name), secrets) for name, content in value.items()}
    return value


def _is_secret(at: Path, secret: Path) -> bool:
    if "*" not in secret:
        return at == secret
    begin = secret[: secret.index("*")]
    return len(at) > len(begin) and at[: len(begin)] == begin


def _masked(value: Any) -> Any:
    """A mask for a value; objects keep the names of their fields, and null stays null."""
    if isinstance(value, Mapping):
        return {name: _masked(content) for name, content in value.items()}
    return None if value is None else MASK


def merged(
    data: Mapping[str, Any], changes: Mapping[str, Any], secrets: Iterable[str], *, whole: bool
) -> dict[str, Any]:
    """The data after changes: these alone if they are the `whole`, else these over what was there.

    Where a change gives a mask for a secret, its sender has only seen the mask, and the secret stays as it was.
    """
    paths = [tuple(secret.split(".")) for secret in secrets]
    kept = {name: _unmasked(value, data.get(name), (name,), paths) for name, value in changes.items()}
    return kept if whole else {**data, **kept}


def _unmasked(value: Any, before: Any, at: Path, secrets: list[Path]) -> Any:
    if isinstance(value, Mapping):
        was = before if isinstance(before, Mapping) else {}
        return {name: _unmasked(content, was.get(name), (*at, name), secrets) for name, content in value.items()}
    is_secret = any(_is_secret(at, secret) or at[: len(secret)] == secret for secret in secrets)
    return before if is_secret and value == MASK and before is not None else value


class Sealing:
    """The sealer of one server process: with the keys of its settings, else with a key that the database keeps.

    Whoever wants secrets to be safe from who gets hold of the database names a key in the settings.
    """

    def __init__(self, reads: Reads, keys: str | None) -> None:
        self._reads = reads
        self._sealer = None if keys is None else Sealer(keys.split(","))

    async def sealer(self) -> Sealer:
        """The sealer; it is made when it is first asked for."""
        if self._sealer is None:
            self._sealer = Sealer([await self._reads.run(kept_key, Fernet.generate_key().decode())])
        return self._sealer
