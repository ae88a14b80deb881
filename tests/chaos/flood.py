"""
More requests than can be answered, made by wrk, which leaves the platform more of the processor.

Each of many kept connections waits at random before it asks again, so that together they ask at a
rate that hardly depends on how long answers take.
"""

import json
import re
import resource
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.closed_loop import Target

_SCRIPT = """
wrk.method = 'POST'
wrk.body = %(body)s
%(headers)s
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) math.randomseed(7); counts = {}; samples = {} end
local function count(what) counts[what] = (counts[what] or 0) + 1 end
local function has_retry_after(headers)
  for name in pairs(headers) do
    if name:lower() == 'retry-after' then return true end
  end
end
%(delay)s
function response(status, headers, body)
  count('status ' .. status)
  if status == 200 then
    local value = tonumber(body:match('"predictions":%%s*%%[([^%%],]+)'))
    if not value or math.abs(value - %(value)r) > 1e-6 then count('wrong') end
  elseif not has_retry_after(headers) then
    count('without Retry-After')
    samples[status] = samples[status] or body:gsub('%%s+', ' '):sub(1, 200)
  end
end
function done()
  for _, thread in ipairs(threads) do
    for what, times in pairs(thread:get('counts')) do print('COUNT ' .. what .. ': ' .. times) end
    for status, body in pairs(thread:get('samples')) do print('BODY ' .. status .. ': ' .. body) end
  end
end
"""
_DELAY = "function delay() return math.random(0, %d) end"


@dataclass(frozen=True, kw_only=True)
class Flood:
    """What came back in one run."""

    connections: int
    seconds: float
    #: "status 200" and the like, "wrong", "without Retry-After", "connect", "read", "timeout"...
    counts: Counter[str]
    #: Status -> the first body that came with it and without Retry-After.
    samples: dict[str, str]
    #: Cores that making the load took from the platform.
    cores: float

    @property
    def offered_per_s(self) -> float:
        """Requests that were answered or failed."""
        told = ("wrong", "without Retry-After")
        return sum(n for what, n in self.counts.items() if what not in told) / self.seconds

    @property
    def goodput_per_s(self) -> float:
        """Predictions."""
        return (self.counts["status 200"] - self.counts["wrong"]) / self.seconds


def flood(
    target: Target, value: float, *, connections: int, seconds: int, scratch: Path, pause_s: float
) -> Flood:
    """
    Ask ``target``, whose right answer is ``value``.

    Args:
        target: What to send.
        value: The one prediction in a right answer.
        connections: At most so many requests are open at a time.
        seconds: Of load.
        scratch: A directory for wrk's script.
        pause_s: Mean time a connection waits before it asks again; 0 makes the loop a closed one.
    """
    script = scratch / "flood.lua"
    headers = {"Content-Type": "application/json", **target.headers}
    script.write_text(
        _SCRIPT
        % {
            "body": json.dumps(json.dumps(target.body)),
            "headers": "\n".join(f"wrk.headers['{k}'] = '{v}'" for k, v in headers.items()),
            "delay": _DELAY % int(2000 * pause_s) if pause_s else "",
            "value": value,
        },
        encoding="utf-8",
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "40s"]
    before_s = _children_cpu_s()
    done = subprocess.run(
        [*command, "-s", str(script), target.url],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    lasted = re.search(r"requests in ([\d.]+)(m?s|m),", done.stdout)
    if lasted is None:
        raise RuntimeError(f"wrk said:\n{done.stdout}{done.stderr}")
    lasted_s = float(lasted.group(1)) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[lasted.group(2)]
    return Flood(
        connections=connections,
        seconds=lasted_s,
        cores=(_children_cpu_s() - before_s) / lasted_s,
        counts=_counts(done.stdout),
        samples=dict(re.findall(r"^BODY (\d+): (.*)$", done.stdout, re.MULTILINE)),
    )


def _children_cpu_s() -> float:
    """Of those that have ended; the platform, which lives on, is not among them."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _counts(text: str) -> Counter[str]:
    found = re.findall(r"^COUNT (.+): (\d+)$", text, re.MULTILINE)
    # `Socket errors: connect 0, read 3, write 0, timeout 1`
    for line in re.findall(r"Socket errors: (.+)", text):
        found += re.findall(r"(\w+) (\d+)", line)
    return Counter({what: int(times) for what, times in found if int(times)})
