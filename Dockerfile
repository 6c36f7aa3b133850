# Two images from one file: `api` answers requests and holds neither torch nor Dagster; `pipeline` runs Dagster and the model.
# Both install as `make` does: one extra of this package, with the versions of constraints.txt.
FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/venv/bin:$PATH
RUN useradd --uid 10001 --create-home --home-dir /home/campaigns campaigns

FROM base AS source
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --no-cache-dir -c constraints.txt uv && python -m venv /opt/venv
ENV VIRTUAL_ENV=/opt/venv
COPY stores stores
COPY ranking ranking
COPY platform_assets platform_assets
COPY retrieval retrieval
COPY cli cli
COPY local local

FROM source AS install-api
RUN uv pip install --no-cache --compile-bytecode -c constraints.txt ".[api]"

FROM source AS install-pipeline
RUN uv pip install --no-cache --compile-bytecode -c constraints.txt ".[pipeline]"

FROM base AS api
COPY --from=install-api /opt/venv /opt/venv
USER campaigns
WORKDIR /home/campaigns
EXPOSE 8000
# All interfaces of the container; compose publishes the port on the host's loopback only.
CMD ["python", "-m", "retrieval", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS pipeline
COPY --from=install-pipeline /opt/venv /opt/venv
COPY deploy/dagster.yaml deploy/workspace.yaml /opt/dagster/
# Named volumes take the owner of the folder they are first mounted over.
RUN mkdir -p /var/lib/campaigns/inbox /var/lib/campaigns/models /var/lib/campaigns/logs && chown -R campaigns: /var/lib/campaigns
ENV DAGSTER_HOME=/opt/dagster
USER campaigns
WORKDIR /home/campaigns
EXPOSE 3000 4000
CMD ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "4000", "--module-name", "platform_assets.definitions", "--location-name", "platform_assets"]
