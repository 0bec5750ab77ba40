"""What LLM calls cost: the price book in the database, and who fills it.

Prices come from the user's `prices.toml` and from the package genai-prices (extra `prices`). Whoever reads a cost looks
up what is not priced yet (`catch_up`), and keeps what was found in the table `prices`. A recorder looks there, and only
there (`book`): recording never waits for the import of a price list. The figure that a provider or the program itself
has reported stands above all others, and what has no price is unpriced: it is counted, never taken for nothing.
"""

from agentops_local.pricing.rates import Rates, Tokens, amount

__all__ = ["Rates", "Tokens", "amount"]
