FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /tenantgate ./cmd/tenantgate

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /tenantgate /tenantgate
USER 65532:65532
EXPOSE 6432 9127
ENTRYPOINT ["/tenantgate"]
CMD ["serve", "-config", "/etc/tenantgate/config.yaml"]
