# Slipway's image: the platform, its command line, the backup service and the edge's renderer.
#
#   docker build -t slipway:0.1 .
#
# The final stage has no compiler, no pip and no shell history; it runs as uid 10001 with a read-only
# root file system: only /var/lib/slipway, /backups, /edge, /tmp and /dev/shm are written.

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
# Dependencies first: they change less often than the code, and their layer is kept.
COPY requirements.lock ./
RUN python -m venv /opt/slipway \
    && /opt/slipway/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md serve_config.yaml ./
COPY cluster cluster
COPY deployments deployments
COPY serve_app serve_app
# What nothing needs at run time goes: the packages' tests and pip itself.
RUN /opt/slipway/bin/pip install --no-deps . \
    && cp serve_config.yaml /opt/slipway/lib/python3.12/site-packages/ \
    && /opt/slipway/bin/python -m compileall -q -j 0 /opt/slipway/lib \
    && find /opt/slipway/lib -type d -name tests -prune -exec rm -rf {} + \
    && /opt/slipway/bin/pip uninstall -q -y pip

FROM python:3.12-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Slipway" \
      org.opencontainers.image.description="Upload a fitted scikit-learn model, get an authenticated, validated, versioned prediction API" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="see the repository"
RUN groupadd --gid 10001 slipway \
    && useradd --uid 10001 --gid slipway --no-create-home --home-dir /var/lib/slipway \
       --shell /usr/sbin/nologin slipway \
    && install -d -o slipway -g slipway -m 0700 /var/lib/slipway /backups /edge
COPY --from=build /opt/slipway /opt/slipway
ENV PATH=/opt/slipway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/slipway \
    SLIPWAY_HOME=/var/lib/slipway/home \
    ENV_FILE=
USER 10001:10001
WORKDIR /var/lib/slipway
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=120s --retries=3 \
    CMD ["python", "-m", "cluster.container_health", "serve"]
CMD ["slipway", "up"]
