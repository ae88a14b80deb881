"""What every replica does first, before it builds anything that might fail or log."""

import sys

from cluster.error_tracking import configure_error_tracking
from cluster.logs import configure_logging
from cluster.setting_sources import Role, load_settings
from cluster.settings import Settings

#: Seconds after which a thread that computes gives the interpreter back to the event loop.  By
#: Python's own 5 ms single predictions were seen to wait that long behind the look-ups of uploads.
SWITCH_INTERVAL_S = 0.0005


def begin_replica(role: Role) -> Settings:
    """
    The settings of this process with the secrets of its role; its logs and events are on.

    Raises:
        InsecureSettings: Naming every setting that cannot be used.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    settings = load_settings(role)
    configure_logging(settings, role.value)
    configure_error_tracking(settings, role.value)
    return settings
