# Builds the service alone: no training module, no torch, no compiler, no pip.
#
#   docker build -t facet .
#
# Behind a private package mirror, two optional build secrets reach pip and stay out of every layer:
#
#   docker build --secret id=pip_conf,src=pip.conf --secret id=ca_bundle,src=ca.crt -t facet .
#
# EXTRAS names optional parts to install, by spaces: postgres, milvus, tracing.
# RUNTIME is what models run on: cpu, or cuda on a base that has CUDA and cuDNN; deploy/compose/cuda.yml names one.
# BASE is any Debian or Ubuntu with a python3 of at least 3.11; where it has none, its own package is installed.
ARG BASE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS build
ENV PIP_CONFIG_FILE=/run/secrets/pip_conf \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends binutils \
    && { python3 -c 'import ensurepip' || apt-get install -y --no-install-recommends python3 python3-venv; } \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/facet
WORKDIR /src

ARG RUNTIME=cpu
ARG EXTRAS=""
# The dependencies make one layer that changes only with their list, which names every file by its SHA-256.
COPY deploy/hashes/*.txt hashes/
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    for part in ${RUNTIME} ${EXTRAS}; do set -- "$@" -r "hashes/${part}.txt"; done \
    && /opt/facet/bin/pip install --only-binary :all: --require-hashes "$@"
COPY pyproject.toml README.md LICENSE ./
COPY service service
# onnxruntime-gpu is what pyproject.toml calls onnxruntime, under another name.
RUN /opt/facet/bin/pip install --no-index --no-deps --no-build-isolation . \
    && { /opt/facet/bin/pip check || true; } > broken \
    && ! grep -vE '^(No broken requirements found.|facet .* requires onnxruntime, which is not installed.)$' broken
COPY deploy/slim.sh ./
RUN ./slim.sh /opt/facet

# hadolint ignore=DL3006
FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Facet" \
      org.opencontainers.image.description="Self-hosted face verification: enrol, verify and identify over HTTP at a stated false match rate" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# hadolint ignore=DL3008
RUN command -v python3 || { apt-get update && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*; }

# Everything that is ever written goes to /data; the rest of the file system may be read-only.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin facet \
    && install --directory --owner=facet --group=facet --mode=0750 /data
COPY --from=build /opt/facet /opt/facet
COPY deploy/healthcheck.py /opt/facet/healthcheck.py

ARG RUNTIME=cpu
ENV PATH="/opt/facet/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    FACET_HOST=0.0.0.0 \
    FACET_PORT=8000 \
    FACET_DATA=/data \
    FACET_PROVIDERS=${RUNTIME}
WORKDIR /opt/facet
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=4 \
    CMD ["python", "/opt/facet/healthcheck.py"]
ENTRYPOINT ["facet"]
CMD ["serve"]
