# What envkit's image is measured against: the same lock, the same base and the same system packages, the way one writes
# it by hand. The secrets are those of envkit's own build: a package index and certificates, where the machine has any.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
ARG SYSTEM_PACKAGES
RUN apt-get update && \
    apt-get install -y --no-install-recommends ${SYSTEM_PACKAGES} && \
    rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/venv && pip install --no-cache-dir --upgrade pip
COPY requirements.lock /opt/requirements.lock
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install --no-cache-dir --require-hashes -r /opt/requirements.lock
WORKDIR /workspace
CMD ["llamafactory-cli", "webui"]
