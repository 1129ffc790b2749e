"""What the access section asks of a call: its tags, the networks it comes from, the classes of its data."""

from collections.abc import Iterable

from sallyport.exchange import Client, Exchange, Principal, ToolKind
from sallyport.policy.access import Access
from sallyport.policy.inputs import Facts, models_of, tools_of
from sallyport.policy.residency import address_of
from sallyport.policy.rulebook import Subjects
from sallyport.stages.stage import Ports

_NOBODY = Principal(id="", tenant="", source="none")


class TagError(ValueError):
    """A tag that is missing, unknown or given twice. reason: purpose or consent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def purpose_of(client: Client, section: Access) -> str:
    """Return the purpose a caller states, "" for none. Raises TagError."""
    if section.purpose is None:
        return ""
    stated = _values(client, section.purpose.header)
    if not stated and not section.purpose.required:
        return ""
    if len(stated) != 1 or stated[0] not in section.purpose.allow:
        raise TagError("purpose")
    return stated[0]


def consents_of(client: Client, section: Access) -> tuple[str, ...]:
    """Return the consents a caller states. Raises TagError."""
    asked = section.consents
    if asked is None:
        return ()
    values = _values(client, asked.header)
    stated = [tag for part in ",".join(values).split(",") if (tag := part.strip())]
    if len(values) > 1 or any(tag not in asked.allow for tag in stated):
        raise TagError("consent")
    if any(tag not in stated for tag in asked.required):
        raise TagError("consent")
    return tuple(dict.fromkeys(stated))


def _values(client: Client, header: str) -> list[str]:
    name = header.lower()
    return [value.strip() for key, value in client.headers if key == name]


def networks_of(client: Client, section: Access) -> tuple[str, ...]:
    """Return the names of the networks a client's address is in."""
    if not section.networks:
        return ()
    address = address_of(client.address)
    return tuple(net.name for net in section.networks if address is not None and net.holds(address))


async def classes_of(section: Access, ports: Ports) -> tuple[str, ...]:
    """Return the classes of the data that detection finds. Raises where not all could be looked at."""
    findings = await ports.scanner.with_names()
    return tuple(each.name for each in section.data_classes if each.holds(findings))


def subjects_of(exchange: Exchange, facts: Facts) -> Subjects:
    """Return what of a call the lists of rules speak of."""
    who = exchange.principal or _NOBODY
    request = exchange.request
    declared = request.declared
    return Subjects(
        tenant=who.tenant,
        principal=who.id,
        provider=request.provider,
        operation=request.operation.value,
        region=request.region,
        purpose=facts.purpose,
        arrived=exchange.received_at,
        roles=who.roles,
        networks=facts.networks,
        models=models_of(exchange),
        tools=_tuple(tools_of(exchange, ToolKind.FUNCTION)) if declared else (),
        hosted_tools=_tuple(tools_of(exchange, ToolKind.HOSTED)) if declared else (),
        mcp_servers=_tuple(tools_of(exchange, ToolKind.MCP)) if declared else (),
        data_classes=facts.data_classes,
    )


def _tuple(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
