# The console is built with Node, the gateway runs on Python alone.
FROM node:24-bookworm-slim AS console
WORKDIR /src/gateway/console
COPY gateway/console/package.json gateway/console/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY gateway/console ./
RUN npm run build

FROM python:3.11-slim-bookworm
# libgl1, libglib2.0-0, libx11-6 and libxcb1 are what OpenCV's wheel links.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libx11-6 libxcb1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/hutong
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY adapters adapters
COPY registry registry
COPY simulators simulators
COPY gateway gateway
COPY --from=console /src/gateway/console/dist gateway/console/dist
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --system --home /var/lib/hutong --create-home hutong
USER hutong
ENV HUTONG_DATA_DIR=/var/lib/hutong HUTONG_HTTP_HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["hutong"]
CMD ["serve"]
