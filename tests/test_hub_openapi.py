"""The hub is what its OpenAPI says: schemathesis makes requests up from it, for people, for a board and for nobody.

What is well-formed and refused all the same (a name of no board, a runtime of no campaign) is not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from edgecost.db import Store
from tests.fleet_store import campaign, enrol
from tests.hub_server import QUICK, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
]
#: For each route and kind of caller: a wide net, not a deep one. The seed is fixed, so that a failure comes again.
BOUNDED = settings(
    max_examples=3,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def tokens_and_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], str]]:
    with Store(tmp_path_factory.mktemp("hub") / "store.sqlite") as store:
        board = enrol(store)
        campaign(store, 3)
        tokens = {"agent": board.token, "person": store.fleet.make_token("root", "admin")}
        with served(store, replace(QUICK, wait_s=0.01)) as hub:
            yield tokens, hub.url


@pytest.mark.parametrize("who", ["person", "agent"])
def test_every_answer_is_one_that_is_described(tokens_and_url: tuple[dict[str, str], str], who: str) -> None:
    tokens, url = tokens_and_url
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json")
    headers = {"Authorization": f"Bearer {tokens[who]}"}
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:

            @BOUNDED
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(headers=headers, checks=CHECKS)

            with suppress(Unsatisfiable):  # there is nothing to get wrong in a request without parameters and body
                ask()
    assert asked > 60
