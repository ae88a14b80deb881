"""
The Mozilla HTTP Observatory's grading, reimplemented without a network.

Twelve tests start from 100 points; deductions count always, bonuses only from 90 points on.  Names
and modifiers of the verdicts, and the rules that lead to them, are those of mdn-http-observatory
(its ``grader/charts.js`` and ``analyzer/tests``, August 2026); it grades one page by its headers,
cookies, scripts, its answer to a foreign origin, and where plain HTTP leads.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit

from tests.integration.edge.observatory_modifiers import MODIFIERS
from tests.integration.edge.observatory_policy import grade_policy, parsed_policy

SIX_MONTHS_S = 15_552_000
BASELINE = 100
#: Bonuses count only for what reached this without them.
BONUS_FLOOR = 90
#: Whom the Observatory claims to be when it looks for cross-origin sharing.
FOREIGN_ORIGIN = "https://http-observatory.security.mozilla.org"
PRIVATE_REFERRERS = {
    "no-referrer",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
}
UNSAFE_REFERRERS = {
    "origin",
    "origin-when-cross-origin",
    "unsafe-url",
    "no-referrer-when-downgrade",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """An answer over HTTPS, what a foreign origin gets, and where plain HTTP leads."""

    url: str
    headers: Mapping[str, str]
    cookies: tuple[str, ...] = ()
    body: str = ""
    #: Headers of the answer to a request from ``FOREIGN_ORIGIN``.
    foreign_headers: Mapping[str, str]
    #: URLs from http:// on, one a redirect; empty where nothing listens on plain HTTP.
    route: tuple[str, ...]


def grade(page: Page) -> tuple[int, dict[str, int]]:
    """The score, and the verdicts with their modifiers."""
    verdicts = (
        _content_security_policy(page),
        _cookies(page),
        _cross_origin(page, "embedder", {"require-corp", "credentialless", "unsafe-none"}),
        _cross_origin(
            page,
            "opener",
            {"same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none"},
        ),
        _cross_origin(page, "resource", {"same-origin", "same-site", "cross-origin"}),
        _cross_origin_sharing(page),
        _redirection(page),
        _referrer_policy(page),
        _strict_transport(page),
        _subresource_integrity(page),
        _content_type_options(page),
        _frame_options(page),
    )
    found = {verdict: MODIFIERS[verdict] for verdict in verdicts}
    without_bonuses = BASELINE + sum(each for each in found.values() if each < 0)
    score = without_bonuses
    if without_bonuses >= BONUS_FLOOR:
        score = BASELINE + sum(found.values())
    return max(0, score), found


def _content_security_policy(page: Page) -> str:
    if re.search(r"<meta[^>]+http-equiv", page.body, re.IGNORECASE):
        raise NotImplementedError("a page that sets headers by meta tags is not graded here")
    return "csp-" + grade_policy(page.headers.get("content-security-policy", ""))


#: From the best to the worst.
_COOKIE_FAULTS = (
    "without-secure-flag-but-protected-by-hsts",
    "without-secure-flag",
    "session-without-secure-flag-but-protected-by-hsts",
    "samesite-flag-invalid",
    "anticsrf-without-samesite-flag",
    "session-without-httponly-flag",
    "session-without-secure-flag",
)


def _cookies(page: Page) -> str:
    if not page.cookies:
        return "cookies-not-found"
    has_hsts = _strict_transport(page).endswith("at-least-six-months")
    faults: set[str] = set()
    is_same_site = True
    for cookie in page.cookies:
        name, *rest = (part.strip() for part in cookie.split(";"))
        attributes = {
            key.lower(): value for key, _, value in (part.partition("=") for part in rest)
        }
        name = name.partition("=")[0].lower()
        is_session = "login" in name or "sess" in name
        same_site = attributes.get("samesite", "").lower()
        is_same_site = is_same_site and bool(same_site)
        if "samesite" in attributes and same_site not in {"strict", "lax", "none"}:
            faults.add("samesite-flag-invalid")
        if "secure" not in attributes:
            suffix = "-but-protected-by-hsts" if has_hsts else ""
            faults.add(f"without-secure-flag{suffix}")
            faults |= {f"session-without-secure-flag{suffix}"} if is_session else set()
            faults |= {"samesite-flag-invalid"} if same_site == "none" else set()
        if "csrf" in name and not same_site:
            faults.add("anticsrf-without-samesite-flag")
        if is_session and "httponly" not in attributes:
            faults.add("session-without-httponly-flag")
    if faults:
        return "cookies-" + max(faults, key=_COOKIE_FAULTS.index)
    return "cookies-secure-with-httponly-sessions" + ("-and-samesite" if is_same_site else "")


def _cross_origin(page: Page, which: str, known: set[str]) -> str:
    name = {"embedder": "coep", "opener": "coop", "resource": "corp"}[which]
    text = page.headers.get(f"cross-origin-{which}-policy", "").strip()
    if not text:
        return f"{name}-not-implemented"
    return f"{name}-implemented-with-{text}" if text in known else f"{name}-header-invalid"


def _cross_origin_sharing(page: Page) -> str:
    allowed = page.foreign_headers.get("access-control-allow-origin", "")
    credentials = page.foreign_headers.get("access-control-allow-credentials", "")
    if not allowed:
        return "cors-not-implemented"
    if allowed.strip() == "*":
        return "cors-implemented-with-public-access"
    is_universal = allowed == FOREIGN_ORIGIN and credentials.strip().lower() == "true"
    return f"cors-implemented-with-{'universal' if is_universal else 'restricted'}-access"


def _redirection(page: Page) -> str:
    if not page.route:
        return "redirection-not-needed-no-http"
    if len(page.route) == 1:
        return "redirection-missing"
    first, second, last = (urlsplit(page.route[n]) for n in (0, 1, -1))
    if last.scheme != "https":
        return "redirection-not-to-https"
    if second.scheme == "http":
        return "redirection-not-to-https-on-initial-redirection"
    if first.hostname != second.hostname:
        return "redirection-off-host-from-http"
    return "redirection-to-https"


def _referrer_policy(page: Page) -> str:
    text = page.headers.get("referrer-policy", "").lower()
    if not text:
        return "referrer-policy-not-implemented"
    known = [
        word
        for part in text.split(",")
        if (word := part.strip()) in PRIVATE_REFERRERS | UNSAFE_REFERRERS
    ]
    if not known:
        return "referrer-policy-header-invalid"
    return f"referrer-policy-{'private' if known[-1] in PRIVATE_REFERRERS else 'unsafe'}"


def _strict_transport(page: Page) -> str:
    text = page.headers.get("strict-transport-security", "").lower()
    if not text:
        return "hsts-not-implemented"
    ages = [part.strip() for part in text.split(";") if part.strip().startswith("max-age=")]
    found = re.match(r"max-age=(\d+)", ages[-1]) if ages else None
    if found is None or "," in text:
        return "hsts-header-invalid"
    is_long = int(found[1]) >= SIX_MONTHS_S
    return f"hsts-implemented-max-age-{'at-least' if is_long else 'less-than'}-six-months"


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.found.append(dict(attrs))


def _subresource_integrity(page: Page) -> str:
    kind = page.headers.get("content-type", "").split(";")[0]
    if kind not in {"", "text/html", "application/xhtml+xml"}:
        return "sri-not-implemented-response-not-html"
    parser = _Scripts()
    parser.feed(page.body)
    if not parser.found:
        return "sri-not-implemented-but-no-scripts-loaded"
    here = urlsplit(page.url)
    foreign = [each for each in parser.found if _is_foreign(each.get("src") or "", here.hostname)]
    insecure = [each for each in foreign if urlsplit(each["src"] or "").scheme != "https"]
    if any(not each.get("integrity") for each in insecure):
        return "sri-not-implemented-and-external-scripts-not-loaded-securely"
    if insecure:
        return "sri-implemented-but-external-scripts-not-loaded-securely"
    if any(not each.get("integrity") for each in foreign):
        return "sri-not-implemented-but-external-scripts-loaded-securely"
    if foreign:
        return "sri-implemented-and-external-scripts-loaded-securely"
    if any(each.get("integrity") for each in parser.found):
        return "sri-implemented-and-all-scripts-loaded-securely"
    return "sri-not-implemented-but-all-scripts-loaded-from-secure-origin"


def _is_foreign(source: str, here: str | None) -> bool:
    # A source without a scheme but with a host is taken for foreign, wherever it leads.
    return source.startswith("//") or urlsplit(source).hostname not in {None, here}


def _content_type_options(page: Page) -> str:
    text = page.headers.get("x-content-type-options", "").strip().lower()
    verdict = "nosniff" if text == "nosniff" else "header-invalid" if text else "not-implemented"
    return f"x-content-type-options-{verdict}"


def _frame_options(page: Page) -> str:
    policy = parsed_policy(page.headers.get("content-security-policy", ""))
    text = page.headers.get("x-frame-options", "").strip().lower()
    if policy is not None and "frame-ancestors" in policy:
        return "x-frame-options-implemented-via-csp"
    if text in {"deny", "sameorigin"}:
        return "x-frame-options-sameorigin-or-deny"
    if text.startswith("allow-from"):
        return "x-frame-options-allow-from-origin"
    return f"x-frame-options-{'header-invalid' if text else 'not-implemented'}"
