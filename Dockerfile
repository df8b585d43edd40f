# syntax=docker/dockerfile:1
# The image of the gateway. `docs/operations.md#image` explains its arguments.
#
#   docker build -t powerstream-gateway .
#   docker build --target debug --output . .        # the debug symbols of the same build
#   docker build --build-arg SOURCE=prebuilt .      # packs dist/ of `.ci/image`

# Images may come from a mirror. A release pins both by digest.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG RUN_IMAGE=gcr.io/distroless/cc-debian12:nonroot
# `build` compiles; `prebuilt` takes the binary from dist/.
ARG SOURCE=build

FROM ${BUILD_IMAGE} AS build
ARG SOURCE_DATE_EPOCH
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin powerstream-gateway \
    && mkdir -p /out/data \
    && objcopy --only-keep-debug target/release/powerstream-gateway /out/powerstream-gateway.debug \
    && objcopy --strip-all --add-gnu-debuglink=/out/powerstream-gateway.debug \
        target/release/powerstream-gateway /out/powerstream-gateway

FROM scratch AS prebuilt
COPY dist/ /out/

# hadolint ignore=DL3006
FROM ${SOURCE} AS binary

FROM scratch AS debug
COPY --from=binary /out/powerstream-gateway.debug /

# hadolint ignore=DL3006
FROM ${RUN_IMAGE} AS image
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="powerstream-gateway" \
    org.opencontainers.image.description="Gateway between X's Powerstream and gRPC subscribers" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="https://github.com/powerstream-gateway/powerstream-gateway" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# Owned by root and not writable, whoever runs it.
COPY --from=binary --chown=0:0 --chmod=0555 /out/powerstream-gateway /usr/local/bin/powerstream-gateway
# Empty: a new volume takes its owner.
COPY --from=binary --chown=65532:65532 /out/data /var/lib/powerstream-gateway
USER 65532:65532
EXPOSE 50051 9600
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/powerstream-gateway"]
CMD ["serve", "--config", "/etc/powerstream-gateway/config/gateway.yaml"]
