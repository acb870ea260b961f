# Build: the wheel with its compiled core, and psycopg against the system's libpq.
FROM python:3.12-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev libpq-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md CHANGELOG.md LICENSE ./
COPY cwarp_core cwarp_core
COPY src src
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[c]' \
 && python -m venv /opt/cwarp \
 && /opt/cwarp/bin/pip install --no-cache-dir --no-index --find-links /wheels \
    'cartridge-warp[c]'

# Run: no compiler, no package manager's cache, no root. Writes nothing to its disk.
FROM python:3.12-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libpq5 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin cwarp
COPY --from=build /opt/cwarp /opt/cwarp
ENV PATH=/opt/cwarp/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080 8081
ENTRYPOINT ["cwarp"]
CMD ["--help"]
