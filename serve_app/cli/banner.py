"""What a person reads once the platform answers."""

from collections.abc import Mapping
from pathlib import Path


def banner_lines(document: Mapping[str, object], home: Path) -> list[str]:
    """Addresses, first-start credentials where there are any, and a line to paste."""
    lines = [
        "",
        f"  Slipway   {document['url']}",
        f"  Docs      {document['docs_url']}",
        f"  Ray       {document['dashboard_url']}  (token: {home / 'secrets' / 'ray_token'})",
    ]
    if document["admin_password"]:
        lines += [
            "",
            f"  Admin     {document['admin']}",
            f"  Password  {document['admin_password']}  (shown this once)",
        ]
    if document["curl"]:
        lines += ["", "  Try it:", "", f"{document['curl']}"]
    return [*lines, "", "  Ctrl-C drains and stops everything.", ""]
