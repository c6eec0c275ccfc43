"""What every test has: no credentials, no proxies and no settings of the person who runs it."""

import os

import pytest

PERSONAL = ("ANTHROPIC_", "CLAUDE", "AWS_", "GOOGLE_", "GIT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(scope="session", autouse=True)
def nobody():
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(PERSONAL):
                patch.delenv(name)
        yield
