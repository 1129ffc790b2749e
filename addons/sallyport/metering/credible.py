"""What a provider reports, as far as it can be: a mistake in a report must not lock a budget."""

from sallyport.exchange import Usage

_INCREDIBLE = 2**30
"""A report of more tokens than this for one exchange is a mistake, not a use that locks a budget."""

_MOST_SEARCHES = 2**12
"""The same of web searches, each of which costs as much as thousands of tokens."""


def is_credible(usage: Usage) -> bool:
    """Say whether one exchange can have used so much; every part that has a price counts, not the wholes alone."""
    tokens = (
        *(usage.input, usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.audio_input),
        *(usage.output, usage.reasoning, usage.audio_output),
    )
    return all((count or 0) <= _INCREDIBLE for count in tokens) and (usage.searches or 0) <= _MOST_SEARCHES
