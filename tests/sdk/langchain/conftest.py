"""The two handlers."""

from __future__ import annotations

import pytest

from agentops_local.partners.langchain_callback_handler import (
    AsyncLangchainCallbackHandler,
    LangchainCallbackHandler,
)
from tests.sdk.langchain.chains import Handler


@pytest.fixture(params=[LangchainCallbackHandler, AsyncLangchainCallbackHandler])
def handler(request: pytest.FixtureRequest) -> Handler:
    """Each of the two handlers, in a session that it has started."""
    made: Handler = request.param()
    return made
