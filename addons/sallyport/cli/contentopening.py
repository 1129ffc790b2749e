"""What the commands on kept content share: its store, its keys, and the events of what is done with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from sallyport.cli.operator import act, put
from sallyport.cli.options import store_address
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.state.content.keys import SubjectKeys, subject_keys_of
from sallyport.state.content.store import ContentStore, content_address
from sallyport.state.masterkey import MasterKeys, NotOpened


@dataclass(frozen=True, slots=True)
class Content:
    """Kept content, its keys, and the log that tells of what is done with them."""

    store: ContentStore
    keys: SubjectKeys
    log: str

    def check_keys(self) -> None:
        """Raise OperatorError where no gateway has made keys: none are made here, by another account than its own."""
        if not self.keys.is_there:
            raise OperatorError(
                f"content keys {self.keys.name}",
                "there are none, so nothing was ever sealed with them",
                "Name the gateway's folder with --confdir, or the keys with SALLYPORT_CONTENT_KEYS as it has them",
            )

    def exchange_of(self, prefix: str) -> str:
        """Return the exchange of the event whose id begins so, as `audit list` prints ids; "" where there is none."""
        opened = Store.open(self.log, create=False)
        try:
            return opened.decision(prefix)[0].exchange
        except OperatorError:
            return ""
        finally:
            opened.close()

    def tell(
        self,
        kind: EventKind,
        detail: str,
        *,
        reason: str = "content.reveal",
        tenant: str = "",
        exchange: str = "",
        id: str = "",
        at: datetime | None = None,
    ) -> None:
        """Write one event of an operator's act, durable when this returns; an id that is there already is no second.

        Raises OperatorError.
        """
        done = act(kind, stage="content", reason=reason, detail=detail, tenant=tenant, exchange=exchange)
        event = replace(done, id=id or done.id, at=at or done.at)
        opened = Store.open(self.log, create=False)
        try:
            put(opened, event)
        finally:
            opened.close()


@contextmanager
def opened_content(store: str | None, confdir: Path | None) -> Iterator[Content]:
    """Open what a gateway keeps. Raises OperatorError, also where it cannot be opened with the keys that are here."""
    masters = MasterKeys(confdir or default_confdir())
    if not masters.is_configured:
        raise OperatorError(
            "content",
            "there is no master key here, so nothing was ever sealed with this folder",
            "Name the gateway's folder with --confdir, or its master key as the gateway has it",
        )
    log = store_address(store, confdir)
    content = Content(ContentStore(content_address(log)), subject_keys_of(masters), log)
    try:
        yield content
    except NotOpened as error:
        raise OperatorError(
            f"content keys {content.keys.name}",
            str(error).rstrip("."),
            "Give the master keys of the gateway, those before the last rotation too",
        ) from None
    finally:
        content.store.close()
        content.keys.close()
