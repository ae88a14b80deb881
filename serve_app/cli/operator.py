"""Settings as the operator of this machine gives them, for commands that start and stop things."""

import os

from cluster.secrets import forget_handed
from cluster.setting_sources import Role, load_settings
from cluster.settings import Settings


def operator_settings() -> Settings:
    """
    Settings of the environment and ENV_FILE, less what `slipway env` put into this shell.

    Raises:
        InsecureSettings: If a value cannot be read.
    """
    forget_handed(load_settings(Role.PREDICTOR).slipway_home, os.environ)
    return load_settings(Role.OPERATOR)
