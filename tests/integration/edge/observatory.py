"""
The Mozilla HTTP Observatory's grading, reimplemented without a network.

Ten tests start from 100 points; deductions count always, bonuses only from 90 points on.  Modifiers
are those of mdn-http-observatory (2024), where a page of ours can meet them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit

SIX_MONTHS_S = 15_768_000
BASELINE = 100
#: Bonuses count only for what reached this without them.
BONUS_FLOOR = 90
PRIVATE_REFERRERS = {
    "no-referrer",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
}
UNSAFE_REFERRERS = {"origin", "origin-when-cross-origin", "unsafe-url"}
FETCH = ("script-src", "object-src", "style-src", "img-src", "connect-src", "font-src")
BROAD = {"*", "https:", "http:", "ws:", "wss:", "data:", "https://*"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """An answer over HTTPS, and where plain HTTP led to."""

    url: str
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    body: str
    #: Locations from http:// on; empty if plain HTTP is not redirected.
    redirects: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One test's verdict and its modifier."""

    test: str
    verdict: str
    modifier: int


def grade(page: Page) -> tuple[int, list[Result]]:
    """The score, and what each test gave."""
    policy = _parsed_policy(page.headers.get("content-security-policy", ""))
    results = [
        _content_security_policy(policy),
        _cookies(page),
        _cross_origin_sharing(page),
        _redirection(page),
        _referrer_policy(page),
        _strict_transport(page),
        _subresource_integrity(page),
        _content_type_options(page),
        _frame_options(page, policy),
        _cross_origin_resource_policy(page),
    ]
    score = BASELINE + sum(result.modifier for result in results if result.modifier < 0)
    if score >= BONUS_FLOOR:
        score += sum(result.modifier for result in results if result.modifier > 0)
    return max(0, score), results


def _parsed_policy(text: str) -> dict[str, list[str]]:
    policy: dict[str, list[str]] = {}
    for directive in text.split(";"):
        if words := directive.split():
            policy.setdefault(words[0].lower(), [word.lower() for word in words[1:]])
    return policy


def _content_security_policy(policy: dict[str, list[str]]) -> Result:
    def result(verdict: str, modifier: int) -> Result:
        return Result(test="content-security-policy", verdict=verdict, modifier=modifier)

    if not policy:
        return result("not-implemented", -25)
    sources = {name: policy.get(name, policy.get("default-src", ["*"])) for name in FETCH}
    scripts, objects, styles = (set(sources[name]) for name in FETCH[:3])
    is_strict = any(word.startswith(("'nonce-", "'sha")) for word in scripts)
    if scripts & BROAD or objects & BROAD or ("'unsafe-inline'" in scripts and not is_strict):
        return result("implemented-with-unsafe-inline", -20)
    if "'unsafe-eval'" in scripts:
        return result("implemented-with-unsafe-eval", -10)
    if any(word.startswith("http:") for words in sources.values() for word in words):
        return result("implemented-with-insecure-scheme", -20)
    if "'unsafe-inline'" in styles or styles & BROAD:
        return result("implemented-with-unsafe-inline-in-style-src-only", 0)
    if policy.get("default-src") == ["'none'"]:
        return result("implemented-with-no-unsafe-default-src-none", 10)
    return result("implemented-with-no-unsafe", 5)


def _cookies(page: Page) -> Result:
    worst = 0
    for cookie in page.cookies:
        attributes = {part.split("=")[0].strip().lower() for part in cookie.split(";")[1:]}
        is_session = re.match(r"[^=]*(sess|login|token)", cookie, re.IGNORECASE) is not None
        if "secure" not in attributes:
            worst = min(worst, -40 if is_session else -20)
        elif is_session and "httponly" not in attributes:
            worst = min(worst, -30)
    return Result(test="cookies", verdict="none" if not page.cookies else "some", modifier=worst)


def _cross_origin_sharing(page: Page) -> Result:
    allowed = page.headers.get("access-control-allow-origin", "")
    with_credentials = page.headers.get("access-control-allow-credentials", "") == "true"
    modifier = -50 if allowed and with_credentials else 0
    return Result(test="cross-origin-resource-sharing", verdict=allowed, modifier=modifier)


def _redirection(page: Page) -> Result:
    def result(verdict: str, modifier: int) -> Result:
        return Result(test="redirection", verdict=verdict, modifier=modifier)

    if not page.redirects:
        return result("missing", -20)
    first = urlsplit(page.redirects[0])
    if first.scheme != "https":
        return result("not-to-https-on-initial-redirection", -10)
    if first.hostname != urlsplit(page.url).hostname:
        return result("off-host-from-http", -5)
    return result("to-https", 0)


def _referrer_policy(page: Page) -> Result:
    text = page.headers.get("referrer-policy", "").lower()
    chosen = [word.strip() for word in text.split(",")][-1]
    modifier = 5 if chosen in PRIVATE_REFERRERS else -5 if chosen in UNSAFE_REFERRERS else 0
    return Result(test="referrer-policy", verdict=chosen, modifier=modifier)


def _strict_transport(page: Page) -> Result:
    text = page.headers.get("strict-transport-security", "")
    found = re.search(r"max-age=(\d+)", text)
    if found is None:
        return Result(test="strict-transport-security", verdict="missing", modifier=-20)
    modifier = 0 if int(found[1]) >= SIX_MONTHS_S else -10
    return Result(test="strict-transport-security", verdict=text, modifier=modifier)


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and dict(attrs).get("src"):
            self.found.append(dict(attrs))


def _subresource_integrity(page: Page) -> Result:
    def result(verdict: str, modifier: int) -> Result:
        return Result(test="subresource-integrity", verdict=verdict, modifier=modifier)

    parser = _Scripts()
    if "html" in page.headers.get("content-type", ""):
        parser.feed(page.body)
    foreign = []
    for script in parser.found:
        source = urlsplit(script["src"] or "")
        if source.scheme == "http":
            return result("external-scripts-loaded-insecurely", -50)
        if source.netloc and source.hostname != urlsplit(page.url).hostname:
            foreign.append(script)
    if any("integrity" not in script for script in foreign):
        return result("not-implemented-but-external-scripts-loaded-securely", -5)
    return result("all-scripts-from-here" if parser.found else "no-scripts", 0)


def _content_type_options(page: Page) -> Result:
    text = page.headers.get("x-content-type-options", "").lower()
    modifier = 0 if text == "nosniff" else -5
    return Result(test="x-content-type-options", verdict=text, modifier=modifier)


def _frame_options(page: Page, policy: dict[str, list[str]]) -> Result:
    if "frame-ancestors" in policy and not set(policy["frame-ancestors"]) & BROAD:
        return Result(test="x-frame-options", verdict="via-csp", modifier=5)
    text = page.headers.get("x-frame-options", "").upper()
    modifier = 0 if text in {"DENY", "SAMEORIGIN"} else -20
    return Result(test="x-frame-options", verdict=text, modifier=modifier)


def _cross_origin_resource_policy(page: Page) -> Result:
    text = page.headers.get("cross-origin-resource-policy", "").lower()
    modifier = 10 if text in {"same-origin", "same-site"} else 0
    return Result(test="cross-origin-resource-policy", verdict=text, modifier=modifier)
