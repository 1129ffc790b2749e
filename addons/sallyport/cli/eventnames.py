"""What commands write of people into events: names, or what stands for them, as the gateway of a folder does."""

from pathlib import Path

from sallyport.audit.store import Store
from sallyport.audit.text import coded
from sallyport.cli.last_run import policy_in_use, was_run
from sallyport.cli.options import store_address
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.state.content.keys import SubjectKeys, keys_address
from sallyport.state.content.naming import PREFIX
from sallyport.state.content.people import lasting_person
from sallyport.state.content.subjects import Forgotten, Subject
from sallyport.state.masterkey import MasterKeys, NotOpened


def stand_in(store: str | None, confdir: Path | None, whom: Subject, *, new: bool) -> str:
    """Return what the detail of an event may say of a person; "" where nothing may be said, or can be.

    new: whether a person who has no pseudonym yet gets one; who is removed, perhaps after it was forgotten, does not.
    Raises OperatorError where nobody can tell whether that may be the name: a pseudonym then could not be taken back,
    since where there is one all others follow.
    """
    if not whom.principal:
        return ""
    try:
        if not writes_pseudonyms(store, confdir):
            return coded(whom.principal)
    except OperatorError as error:
        what = f"{error.what}; it says whether the log may name people, so the change is not made"
        raise OperatorError(
            error.where, what, f"{error.todo.rstrip('.')}. {_AT_ONCE}", exit_code=error.exit_code
        ) from None
    masters = MasterKeys(confdir or default_confdir())
    if not masters.is_configured:
        return ""
    keys = SubjectKeys(keys_address(masters), masters)
    try:
        if not new:
            return next(iter(keys.pseudonyms(whom.principal, whom.tenant)), "")
        return lasting_person(keys, whom).pseudonym
    except (OperatorError, NotOpened, Forgotten):
        return ""
    finally:
        keys.close()


def has_pseudonyms(confdir: Path | None) -> bool:
    """Say whether pseudonyms were written with these keys; where the keys cannot be read, that they may have been."""
    masters = MasterKeys(confdir or default_confdir())
    keys = SubjectKeys(keys_address(masters), masters)
    try:
        return keys.names_people()
    except OperatorError:
        return True
    finally:
        keys.close()


def may_name(store: str | None, confdir: Path | None) -> bool:
    """Say whether an event may name a person; where nobody can tell, it may not. Raises nothing."""
    try:
        return not writes_pseudonyms(store, confdir)
    except OperatorError:
        return False


def writes_pseudonyms(store: str | None, confdir: Path | None) -> bool:
    """Say whether names are kept out of events: there are pseudonyms already, or the policy wants them.

    Where no gateway was started with the folder, the newest events of the store tell. Raises OperatorError where
    there are no pseudonyms yet and the policy of the last start cannot be read.
    """
    if has_pseudonyms(confdir):
        return True
    if not was_run(confdir):
        return _names_no_more(store_address(store, confdir))
    from sallyport.cli.detection import read_policy
    from sallyport.policy.audit import People

    return read_policy(policy_in_use(None, confdir)).audit.people is People.PSEUDONYMISED


def _names_no_more(url: str) -> bool:
    """Say whether the newest events of a store hold pseudonyms. One that is not there yet holds none."""
    try:
        log = Store.open(url, create=False)
    except OperatorError:
        return False  # and takes no event, unless it is made anew
    try:
        return any(event.principal.startswith(PREFIX) for event in log.events(_NEWEST))
    finally:
        log.close()


_NEWEST = 1000
_AT_ONCE = "To stop a person at once, whatever the policy is: sallyport stop principal"
