"""The HTTP servers of a running sync."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from cartridge_warp import health, metrics
from cartridge_warp.config import MonitoringSettings
from cartridge_warp.engine.progress import Progress
from cartridge_warp.errors import ConfigError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def serving(
    monitoring: MonitoringSettings, progress: Progress, *, required: bool
) -> Iterator[None]:
    """Answer /metrics and the probes during the block.

    required: a port that cannot be had is a ConfigError; otherwise it is a warning,
    and the block goes on without that server.
    """
    expose = metrics.exposition(progress.snapshot)
    wanted = (
        (
            "monitoring.prometheus.port",
            monitoring.prometheus,
            {monitoring.prometheus.path: lambda: health.Answer(200, *expose())},
        ),
        (
            "monitoring.health.port",
            monitoring.health,
            health.routes(progress.snapshot),
        ),
    )
    with contextlib.ExitStack() as open_servers:
        for setting, settings, routes in wanted:
            if not settings.enabled:
                continue
            try:
                server = health.Endpoint(
                    setting, monitoring.host, settings.port, routes
                )
            except ConfigError as error:
                if required:
                    raise
                log.warning("not served: %s", error, extra={"paths": sorted(routes)})
                continue
            open_servers.callback(server.close)
        yield
