# The image of the registry, from source: `docker build .`, or `make image`. It builds with
# BuildKit, with Docker's legacy builder and with Podman; so it does not name a
# $BUILDPLATFORM, which the legacy builder does not know.
#
# `make image-local` and `make release` build the last stage alone, with files that were built
# outside of containers.

ARG GO_VERSION=1.26

FROM docker.io/library/golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG REVISION=unknown
ARG TARGETARCH
RUN make rootfs ARCH=$TARGETARCH VERSION=$VERSION REVISION=$REVISION

FROM scratch
ARG TARGETARCH
COPY --from=build /src/dist/image/rootfs/$TARGETARCH/ /
COPY --chown=65532:65532 --from=build /src/dist/image/data/ /var/lib/registry/
# Blobs on their way from other registries are temporary files.
COPY --chown=65532:65532 --from=build /src/dist/image/data/ /tmp/
LABEL org.opencontainers.image.title="registry" \
      org.opencontainers.image.description="A container registry with ORAS artifacts and OCI 1.1 referrers, on distribution" \
      org.opencontainers.image.source="https://github.com/oras-distribution/registry" \
      org.opencontainers.image.documentation="https://github.com/oras-distribution/registry/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/bin
EXPOSE 5000
VOLUME ["/var/lib/registry"]
USER 65532:65532
ENTRYPOINT ["registry"]
CMD ["serve", "/etc/distribution/config.yml"]
