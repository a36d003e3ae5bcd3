"""Tables of getting in: what people prove themselves with, and who is signed in where."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table

from agent.store.columns import Name, Utc, Word, metadata, one_of, refers

credential = Table(
    "credential",
    metadata,
    refers("user_id", "user.id", primary_key=True, autoincrement=False),
    Column("password", Name),  # Argon2, as is the PIN
    Column("pin", Name),
    Column("pin_failures", Integer, nullable=False),  # in a row
)

session = Table(
    "session",
    metadata,
    Column("id", Word, primary_key=True),  # random, so that nobody guesses it
    refers("user_id", "user.id"),
    Column("terminal", Word, nullable=False),  # the browser, by a cookie of its own
    Column("method", Word, one_of("method", "password", "pin", "provider"), nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),  # when somebody last touched a page
    Column("ended_at", Utc),
    Index("ix_session_seen_at", "seen_at"),
    Index("ix_session_terminal_opened_at", "terminal", "opened_at"),
    Index("ix_session_user_id_ended_at", "user_id", "ended_at"),
)
