# Throng for a CPU: no torch, no compiler, no root. One file of settings, one volume, one port.
#   docker build -t throng .        docker run --rm -p 8000:8000 -v throng-data:/data throng

FROM python:3.12.11-slim-bookworm AS build
ARG EXTRAS=openvino
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY models models
COPY distill distill
COPY deploy deploy
COPY service service
# The wheel is ours; what it needs comes in the versions the tests ran with.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist . \
    && python -m venv /opt/throng \
    && wheel="$(echo /dist/throng-*.whl)" \
    && /opt/throng/bin/pip install --no-cache-dir -c constraints.txt "${wheel}[${EXTRAS}]" \
    && /opt/throng/bin/throng --help > /dev/null

FROM python:3.12.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin throng \
    && install -d -o throng -g throng /data
COPY --from=build /opt/throng /opt/throng
# The root may be mounted read-only: nothing is written outside /data and /tmp.
ENV PATH=/opt/throng/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["throng"]
CMD ["serve", "--host", "0.0.0.0", "--data", "/data"]
