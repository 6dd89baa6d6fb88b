"""The version of the package: the project's, as PEP 440 writes it."""

import os
import re
import subprocess
from pathlib import Path


def version() -> str:
    folder = Path(__file__).parent
    info = folder / "PKG-INFO"  # of an sdist
    if info.exists() and (m := re.search(r"^Version: (.+)$", info.read_text(), re.MULTILINE)):
        return m[1]
    described = os.environ.get("HOOKMUX_VERSION")
    if not described:
        try:
            described = subprocess.run(
                ["git", "describe", "--tags", "--always", "--dirty"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            described = "dev"
    return pep440(described)


def pep440(described: str) -> str:
    """v1.2.3 is 1.2.3; v1.2.3-4-gabc is 1.2.3.post4+gabc; abc, without a tag, 0.dev0+gabc."""
    described, dirty = re.subn("-dirty$", "", described)
    base, local = "0.dev0", []
    if m := re.fullmatch(r"v?(\d+(?:\.\d+)*)(?:-?(a|alpha|b|beta|rc)\.?(\d+))?(?:-(\d+)-(g[0-9a-f]+))?", described):
        release, pre, number, commits, commit = m.groups()
        base = release
        if pre:
            base += {"alpha": "a", "beta": "b"}.get(pre, pre) + number
        if commits:
            base += f".post{commits}"
            local.append(commit)
    elif re.fullmatch("[0-9a-f]{7,}", described):
        local.append("g" + described)
    if dirty:
        local.append("dirty")
    return base + ("+" + ".".join(local) if local else "")


__version__ = version()
