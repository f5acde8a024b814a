# The static binary and nothing else.
#
#   docker build -t chancery .
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges --tmpfs /tmp \
#       -v chancery-data:/var/lib/chancery -v /etc/chancery:/etc/chancery:ro -p 8440:8440 chancery serve \
#       --public-url https://id.example \
#       --tls-certificate /etc/chancery/tls.crt --tls-key /etc/chancery/tls.key
#
# Off loopback it serves only with a certificate, or behind proxies named by `--trusted-proxies`.
# The root file system is read-only in use: only /var/lib/chancery (database and root key, with SQLite) is
# written. The process runs as user 65532 and needs no capability.
#
# Health is asked from outside, since there is no shell in here:
#   /healthz  the process answers: restart it if not
#   /readyz   it may serve: its database answers and its view of revocations is fresh; send it no traffic if not
# In Kubernetes these are livenessProbe and readinessProbe. There is no HEALTHCHECK for the same reason.

FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base linux-headers perl
# The image has the toolchain that rust-toolchain.toml asks for; its lints and formatter are not needed.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --package chancery \
    && install -D target/dist/chancery /out/usr/bin/chancery \
    && install -d -m 0700 -o 65532 -g 65532 /out/var/lib/chancery \
    && install -D /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt

FROM scratch
COPY --from=build /out /
USER 65532:65532
VOLUME /var/lib/chancery
ENV CHANCERY_DATA=/var/lib/chancery CHANCERY_LISTEN=0.0.0.0:8440
EXPOSE 8440
ENTRYPOINT ["/usr/bin/chancery"]
CMD ["serve"]
