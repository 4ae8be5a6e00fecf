# docker build --target web    -t rhocast-web    --build-arg COMMIT="$(git rev-parse --short HEAD)" .
# docker build --target worker -t rhocast-worker --build-arg COMMIT="$(git rev-parse --short HEAD)" .

FROM python:3.12-slim AS base
ARG COMMIT=""
ENV RHOCAST_COMMIT=${COMMIT} \
    RHOCAST_DATA=/data \
    PYTHONUNBUFFERED=1
WORKDIR /srv/rhocast
RUN useradd --uid 10001 --no-create-home rhocast && mkdir /data && chown 10001 /data
COPY pyproject.toml constraints.txt ./
COPY sdk sdk

# The web server has no torch and no weights.
FROM base AS web
RUN pip install --no-cache-dir --constraint constraints.txt pip \
 && pip install --no-cache-dir --constraint constraints.txt --group web --editable sdk
COPY jobs jobs
COPY app app
COPY web web
COPY examples examples
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "-m", "app.web", "--host", "0.0.0.0", "--port", "8000"]

# The registry's torch carries CUDA. One worker a GPU.
FROM base AS worker
RUN pip install --no-cache-dir --constraint constraints.txt pip \
 && pip install --no-cache-dir --constraint constraints.txt --group worker --editable sdk
COPY jobs jobs
COPY models models
COPY dynamics dynamics
COPY workers workers
ENV NUMBA_CACHE_DIR=/tmp/numba
USER 10001
CMD ["python", "-m", "workers"]
