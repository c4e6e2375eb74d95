# The gateway without a shell or a package manager, as a user without rights. It writes nothing but what its config
# names, such as the cache of tls.acme, so it runs with a read-only root file system:
#   docker run --read-only --stop-timeout 45 -v ./postern.yaml:/etc/postern/postern.yaml:ro -p 443:443 postern
# docs/compose.yaml has all of it, with an agent.
FROM denoland/deno:2.9.6 AS build
ENV DENO_DIR=/app/.deno
WORKDIR /app
COPY deno.json deno.lock LICENSE ./
COPY core core
COPY plugins plugins
COPY cli cli
RUN ["deno", "cache", "--frozen", "cli/main.ts", "core/data_plane/worker.ts", "core/admin/worker.ts", "core/acme/worker.ts", "core/plugin/worker.ts", "core/plugin/inspect_worker.ts", "core/service_manager/worker.ts", "plugins/"]

FROM denoland/deno:distroless-2.9.6
ENV DENO_DIR=/app/.deno DENO_NO_UPDATE_CHECK=1 NO_COLOR=1
COPY --from=build /app /app
# postern.yaml is looked for here, and paths in it start from here.
WORKDIR /etc/postern
USER 65532:65532
EXPOSE 80 443 9090
# Needs no admin token. For another admin.address, set POSTERN_HEALTH_URL; an agent has none: --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["/bin/deno", "eval", "const url = Deno.env.get('POSTERN_HEALTH_URL') ?? 'http://127.0.0.1:9090/healthz'; Deno.exit((await fetch(url)).ok ? 0 : 1)"]
ENTRYPOINT ["/bin/deno", "run", "--v8-flags=--max-semi-space-size=4", "--no-prompt", "--cached-only", "-A", "/app/cli/main.ts"]
CMD ["gateway"]
