# An image that only brings plugins: an init container copies them to where hookmux
# starts them. Here they are two of the examples. From the repository's root:
#   docker build -f deploy/docker/plugins.Dockerfile -t hookmux-plugins:dev .
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /plugins/ ./examples/go/login ./examples/go/topics

FROM busybox:1.37-musl
COPY --from=build /plugins /plugins
USER 65532:65532
CMD ["cp", "-R", "/plugins/.", "/target/"]
