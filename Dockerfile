# The image of the registry is the last stage: `make image`.
#
# The stage `local` is the same image made from a binary that was built outside,
# for a machine that cannot pull the Go image: `make image-local`. It stands
# first so that builders which run all stages in order need nothing else.

ARG GO_VERSION=1.26

# What both images have in common.
FROM scratch AS base
ENV PATH=/bin
EXPOSE 5000
USER 65532:65532
ENTRYPOINT ["registry"]
CMD ["serve", "/etc/distribution/config.yml"]

FROM base AS local
COPY dist/rootfs/ /
COPY --chown=65532:65532 dist/data/ /var/lib/registry/
VOLUME ["/var/lib/registry"]

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG TARGETOS
ARG TARGETARCH
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH make rootfs VERSION=$VERSION

FROM base
COPY --from=build /src/dist/rootfs/ /
COPY --from=build --chown=65532:65532 /src/dist/data/ /var/lib/registry/
VOLUME ["/var/lib/registry"]
