"""How the Mozilla HTTP Observatory judges a Content-Security-Policy; see ``observatory``."""

BROAD = {
    *("ftp:", "http:", "https:", "*"),
    *("http://*", "http://*.*", "https://*", "https://*.*"),
}
INLINE = {"'unsafe-inline'", "data:"}
PASSIVE = ("img-src", "media-src")
#: Directives that may come twice; of any other that is a fault.
REPEATABLE = {"report-uri", "report-to"}
SHORTEST = 6
_EXACT = ("'sha256-", "'sha384-", "'sha512-", "'nonce-")
_INSECURE = ("http:", "ftp:")


def parsed_policy(text: str) -> dict[str, set[str]] | None:
    """The directives of one policy in lower case; ``None`` if it is not valid."""
    if "," in text:
        raise NotImplementedError("several policies at once are not graded here")
    policy: dict[str, set[str]] = {}
    if len(text.strip()) < SHORTEST:
        return None
    for directive in text.split(";"):
        if not (words := directive.lower().split()):
            continue
        name, *sources = words
        if name in policy and name not in REPEATABLE:
            return None
        empty = {"'none'"} if name.endswith("-src") else set()
        policy.setdefault(name, set(sources) or empty)
    return policy


def grade_policy(text: str) -> str:
    """The verdict's name, without its prefix."""
    if not text:
        return "not-implemented"
    policy = parsed_policy(text)
    if policy is None:
        return "header-invalid"
    scripts, objects, styles = (
        set(policy.get(name) or policy.get("default-src") or {"*"})
        for name in ("script-src", "object-src", "style-src")
    )
    for sources in (scripts, styles):
        if _has_exact(sources):
            sources.discard("'unsafe-inline'")
    if "'strict-dynamic'" in scripts:
        if not _has_exact(scripts):
            return "header-invalid"
        scripts = {
            each for each in scripts if not each.startswith(tuple(BROAD)) and each != "'self'"
        }
    verdict = _fault(policy, scripts, objects, styles)
    if verdict is not None:
        return verdict
    if styles & (BROAD | INLINE):
        return "implemented-with-unsafe-inline-in-style-src-only"
    if policy.get("default-src") == {"'none'"}:
        return "implemented-with-no-unsafe-default-src-none"
    return "implemented-with-no-unsafe"


def _fault(
    policy: dict[str, set[str]], scripts: set[str], objects: set[str], styles: set[str]
) -> str | None:
    if scripts & (BROAD | INLINE) or objects & BROAD:
        return "implemented-with-unsafe-inline"
    active = [sources for name, sources in policy.items() if name not in (*PASSIVE, "script-src")]
    if any(each.startswith(_INSECURE) for sources in (*active, scripts) for each in sources):
        return "implemented-with-insecure-scheme"
    if "'unsafe-eval'" in scripts | styles:
        return "implemented-with-unsafe-eval"
    passive = [policy.get(name) or policy.get("default-src", set()) for name in PASSIVE]
    if any(each.startswith(_INSECURE) for sources in passive for each in sources):
        return "implemented-with-insecure-scheme-in-passive-content-only"
    return None


def _has_exact(sources: set[str]) -> bool:
    return any(each.startswith(_EXACT) for each in sources)
