"""A Redis in memory for the simulation: hashes, scripts, an append-only file that can be cut anywhere, refusals.

It keeps the effects of every write in order, as Redis' append-only file does; after a cut only those before it have
happened. Scripts are run from their text (lua.py), whole, as Redis runs them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from redis.exceptions import OutOfMemoryError, ResponseError

from tests.faults.lua import LuaError, Table, compile_script

Hashes = dict[bytes, Any]
"""Key -> hash (dict of bytes), or a string (bytes) where a fault put one."""


_compiled = lru_cache(compile_script)


class Effect(NamedTuple):
    """One write as the append-only file has it: fields set, or names deleted (all of them: the key)."""

    key: bytes
    fields: dict[bytes, bytes]
    gone: tuple[bytes, ...] = ()
    is_key_gone: bool = False


class MemoryRedis:
    """Mutable state: the hashes, the effects since the last image, the image, and what is refused."""

    def __init__(self, changed: Callable[[bytes, frozenset[bytes]], None]) -> None:
        """`changed` is told the key and the fields of every effect, after it."""
        self._changed = changed
        self.hashes: Hashes = {}
        self._image: Hashes = {}
        self._tail: list[Effect] = []
        self.is_full = False

    # -- durability -------------------------------------------------------------------------------------------------

    @property
    def unsynced(self) -> int:
        """How many effects the next crash may take."""
        return len(self._tail)

    def fsync(self) -> None:
        """Make everything so far durable."""
        self._image = _copy(self.hashes)
        self._tail.clear()

    def roll_back(self, kept: int) -> None:
        """Come back with the first `kept` of the effects since the last fsync, and nothing later."""
        self.hashes = _copy(self._image)
        tail, self._tail = self._tail[:kept], []
        for effect in tail:
            self._apply(effect)
        self.fsync()
        for key in list(self.hashes):
            self._changed(key, frozenset((b"@off",)))

    def flush_all(self) -> None:
        """Forget everything, also on disk."""
        self.hashes = {}
        self.fsync()

    # -- commands ---------------------------------------------------------------------------------------------------

    def eval(self, script: str, keys: list[bytes], arguments: list[bytes]) -> Any:
        """Run a script; return what a client gets. Raises ResponseError."""

        def call(command: bytes, *parts: Any) -> list[Any]:
            return [self._call(command.decode().upper(), [_as_bytes(part) for part in parts])]

        redis = Table()
        redis.entries = {b"call": call}
        before = len(self._tail)
        try:
            return _reply(_compiled(script)({"redis": redis, "KEYS": Table(list(keys)), "ARGV": Table(arguments)}))
        except LuaError as error:
            raise ResponseError(str(error)) from error
        finally:
            # Others see a script's writes only together; but a crash may keep the first and lose the next.
            effects = self._tail[before:]
            for key in {effect.key for effect in effects}:
                names = [name for effect in effects if effect.key == key for name in (*effect.fields, *effect.gone)]
                self._changed(key, frozenset(names))

    def _call(self, command: str, parts: list[bytes]) -> Any:
        key, rest = parts[0], parts[1:]
        if command == "EXISTS":
            return int(key in self.hashes)
        if command == "TYPE":
            found = self.hashes.get(key)
            answer = Table()
            answer.entries = {b"ok": b"none" if found is None else b"hash" if isinstance(found, dict) else b"string"}
            return answer
        fields = self._hash(key)
        if command == "HGET":
            return fields.get(rest[0], False)
        if command == "HMGET":
            return Table([fields.get(name, False) for name in rest])
        if command == "HGETALL":
            return Table([part for pair in fields.items() for part in pair])
        if command == "HLEN":
            return len(fields)
        if command == "HEXISTS":
            return int(rest[0] in fields)
        if command == "HSET":
            if self.is_full:
                raise OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'.")
            if not rest or len(rest) % 2:
                raise ResponseError("wrong number of arguments for 'hset' command")
            return self._write(Effect(key, dict(zip(rest[::2], rest[1::2], strict=True))))
        if command == "HDEL":
            return self._write(Effect(key, {}, tuple(rest)))
        if command in ("DEL", "UNLINK"):
            return self._write(Effect(key, {}, is_key_gone=True))
        raise ResponseError(f"the stand-in does not know {command}")

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        found = self.hashes.get(key)
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        return found

    def _write(self, effect: Effect) -> int:
        number = self._apply(effect)
        self._tail.append(effect)
        return number

    def _apply(self, effect: Effect) -> int:
        if effect.is_key_gone:
            return int(self.hashes.pop(effect.key, None) is not None)
        fields = self.hashes.setdefault(effect.key, {})
        number = len(effect.fields.keys() - fields.keys()) + sum(name in fields for name in effect.gone)
        fields.update(effect.fields)
        for name in effect.gone:
            fields.pop(name, None)
        if not fields:
            del self.hashes[effect.key]
        return number


def _copy(hashes: Hashes) -> Hashes:
    return {key: dict(fields) if isinstance(fields, dict) else fields for key, fields in hashes.items()}


def _as_bytes(part: Any) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()


def _reply(value: Any) -> Any:
    """Return what a client gets for a script's value: false is nil, true is 1, numbers lose their fraction."""
    if isinstance(value, Table):
        if b"err" in value.entries:
            raise ResponseError(value.entries[b"err"].decode())
        if b"ok" in value.entries:
            return value.entries[b"ok"]
        return [_reply(entry) for entry in value.array()]
    if value is None or value is False:
        return None
    if value is True:
        return 1
    return int(value) if isinstance(value, int | float) else value
