import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("version", Path(__file__).parent.parent / "version.py")
assert spec
assert spec.loader
version = importlib.util.module_from_spec(spec)
spec.loader.exec_module(version)


@pytest.mark.parametrize(
    ("described", "want"),
    [
        ("v1.2.3", "1.2.3"),
        ("v1.2.3-4-gabc1234", "1.2.3.post4+gabc1234"),
        ("v1.2.3-rc.1", "1.2.3rc1"),
        ("v1.2.3-dirty", "1.2.3+dirty"),
        ("abc1234-dirty", "0.dev0+gabc1234.dirty"),
        ("dev", "0.dev0"),
    ],
)
def test_pep440(described: str, want: str) -> None:
    assert version.pep440(described) == want
