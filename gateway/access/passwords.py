"""Hashing and checking of passwords: argon2id, in threads of its own."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from gateway.access.errors import SignInBusy
from registry.errors import Invalid

T = TypeVar("T")

MIN_LENGTH = 8
MAX_LENGTH = 256


class Passwords:
    """One hash takes 64 MiB and some 50 ms, so only `threads` are made at once, and no more than
    `waiting` calls are taken on before further ones are refused as SignInBusy.

    time_cost, memory_cost_kib: of argon2id; the defaults are RFC 9106's second recommendation.
    """

    def __init__(
        self,
        *,
        threads: int = 2,
        time_cost: int = 3,
        memory_cost_kib: int = 65_536,
        waiting: int = 100,
    ) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_cost_kib)
        self._room = waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._nobody = self.hash_now("nobody has this password")

    async def hash(self, password: str) -> str:
        """Raises: Invalid for a password that is too short or too long."""
        return await self._run(functools.partial(self.hash_now, password))

    def hash_now(self, password: str) -> str:
        """`hash` for a caller that is not asynchronous."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise Invalid.at("password", f"must have {MIN_LENGTH} to {MAX_LENGTH} characters")
        return self._hasher.hash(password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the hashed one. None takes as long as any and is False, so that
        nobody learns from the time which names there are."""
        return await self._run(functools.partial(self._verify, password_hash, password))

    def _verify(self, password_hash: str | None, password: str) -> bool:
        if len(password) > MAX_LENGTH:
            return False
        try:
            self._hasher.verify(password_hash or self._nobody, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        return password_hash is not None

    def close(self) -> None:
        """Wait for hashes that are being made."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _run(self, call: Callable[[], T]) -> T:
        if self._room <= 0:
            raise SignInBusy
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._room += 1
