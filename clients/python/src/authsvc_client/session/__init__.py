"""
A session of a native application, a command line or a script (`native` delivery).

    session = NativeSession("https://auth.example.com", FileStore("~/.config/app/session.json"))
    session.login(email, password)
    api = httpx.Client(auth=SessionAuth(session, origins=["https://api.example.com"]))

It keeps the rules of docs/refresh-families.md: a key for each refresh, stored before it is sent
and repeated until an answer has been stored; one refresh at a time over all threads, tasks and
processes that share the store.
"""

from __future__ import annotations

from authsvc_client.clock import Clock, SystemClock
from authsvc_client.session.auth import SessionAuth
from authsvc_client.session.errors import (
    AuthsvcUnavailable,
    LoginRefused,
    NotLoggedIn,
    RequestRefused,
    SessionEnded,
    SessionProblem,
    StoreDamaged,
)
from authsvc_client.session.session import NativeSession
from authsvc_client.session.stores import FileStore, MemoryStore, SessionStore, StoredSession

__all__ = [
    "AuthsvcUnavailable",
    "Clock",
    "FileStore",
    "LoginRefused",
    "MemoryStore",
    "NativeSession",
    "NotLoggedIn",
    "RequestRefused",
    "SessionAuth",
    "SessionEnded",
    "SessionProblem",
    "SessionStore",
    "StoreDamaged",
    "StoredSession",
    "SystemClock",
]
