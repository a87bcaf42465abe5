"""Run the vector files of the areas that are built, where they are: beside the checkout. A source package has none."""

import importlib.util
import io
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[2] / "shared" / "vectors"
AREAS = (
    "smtp_address",
    "dns_domain",
    "base64writer",
    "bufpool_readline",
    "sasl",
    "smtp_client",
    "mtasts",
    "suppression_base",
    "extra_headers",
    "schedules",
    "message_parse",
    "webhook_payloads",
    "dsn_parse",
    "dsn_compose",
    "dkim_sign",
    "webapi_send",
    "webapi_json",
)

if VECTORS.is_dir():  # else there is nothing to collect, which is no skipped test

    @pytest.mark.parametrize("area", AREAS)
    def test_area_passes_whole(area: str) -> None:
        spec = importlib.util.spec_from_file_location("conformance_run", HERE / "run.py")
        assert spec is not None
        assert spec.loader is not None
        run = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(run)
        out = io.StringIO()
        assert run.main([str(VECTORS / f"{area}.json")], out) == 0, out.getvalue()
