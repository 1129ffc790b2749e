"""The policy's words on the directory: what its absence means."""

from pydantic import Field

from sallyport.policy.vocabulary import Section


class DirectorySection(Section):
    """People, tenants, keys, approvals and kill switches that are kept in the store."""

    required: bool = Field(
        default=True,
        description="Refuse to start while neither the store nor the last good copy can be read; "
        "false starts with a directory that knows nobody, and no kill switch.",
    )
